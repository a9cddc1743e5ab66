// Makes Baileys check signatures. As published it calls its signature library, ignores the answer and goes on; for the
// signed prekeys of others the library is even asked not to look. Both go through this one function of the library, so
// that a throwing one makes every check of Baileys a real one. Must run before Baileys is loaded.
import { createRequire } from 'node:module';

import { verify } from '../harness/xeddsa.js';

const curve = createRequire(import.meta.url)('libsignal/src/curve.js');

curve.verifySignature = (publicKey, message, signature) => {
  if (!verify(publicKey, message, signature)) throw new Error('the signature is wrong');
  return true;
};
