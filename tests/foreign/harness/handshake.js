// The beginning of a Noise XX handshake as a client sees it, with nothing but Node's own cryptography: far enough to
// hold the server's static key and its certificates, which the clients do not show.
import { createDecipheriv, createHash, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync } from 'node:crypto';
import { once } from 'node:events';

import { WebSocket } from 'ws';

const PROLOGUE = Buffer.from([0x57, 0x41, 6, 3]);
const NAME = Buffer.from('Noise_XX_25519_AESGCM_SHA256\0\0\0\0');
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');
const TAG = 16;

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();
const publicKey = (raw) => createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' });

/** One field with length-delimited contents. */
const field = (number, content) => Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);

/** The length-delimited fields of a protobuf message, by number. */
function fields(message) {
  const found = {};
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    if ((key & 7) !== 2) throw new Error(`field ${key >> 3} is not of bytes`);
    const length = varint();
    found[key >> 3] = message.subarray(at, at + length);
    at += length;
  }
  return found;
}

/** What the server sends before it knows who calls: its static key and the encoded certificate chain. */
export async function serverHello(url) {
  const own = generateKeyPairSync('x25519');
  const ephemeral = own.publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI.length);
  const socket = new WebSocket(url);
  await once(socket, 'open');
  const hello = field(2, field(1, ephemeral));
  socket.send(Buffer.concat([PROLOGUE, Buffer.from([0, 0, hello.length]), hello]));
  const [frame] = await once(socket, 'message');
  socket.terminate();

  const { 1: theirs, 2: sealedStatic, 3: sealedPayload } = fields(fields(frame.subarray(3))[3]);
  let hash = sha256(NAME, PROLOGUE);
  hash = sha256(hash, ephemeral);
  hash = sha256(hash, theirs);
  let salt = NAME;
  let key;
  const mix = (peer) => {
    const secret = diffieHellman({ privateKey: own.privateKey, publicKey: publicKey(peer) });
    const derived = Buffer.from(hkdfSync('sha256', secret, salt, Buffer.alloc(0), 64));
    salt = derived.subarray(0, 32);
    key = derived.subarray(32);
  };
  const open = (sealed) => {
    const cipher = createDecipheriv('aes-256-gcm', key, Buffer.alloc(12));
    cipher.setAAD(hash);
    cipher.setAuthTag(sealed.subarray(-TAG));
    const text = Buffer.concat([cipher.update(sealed.subarray(0, -TAG)), cipher.final()]);
    hash = sha256(hash, sealed);
    return text;
  };
  mix(theirs);
  const staticKey = open(sealedStatic);
  mix(staticKey);
  return { staticKey, certificates: open(sealedPayload) };
}
