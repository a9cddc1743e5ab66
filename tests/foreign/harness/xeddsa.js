// Verifies XEdDSA signatures (https://signal.org/docs/specifications/xeddsa/) with noble, which shares no code with
// any of the clients or with the simulator.
import { ed25519 } from '@noble/curves/ed25519';

const { Fp } = ed25519.Point;

/** The Edwards point of a Montgomery key, compressed, with the sign that the signature carries. */
function edwardsKey(montgomery, sign) {
  const bytes = Uint8Array.from(montgomery);
  bytes[31] &= 0x7f;
  const u = Fp.fromBytes(bytes);
  const y = Fp.toBytes(Fp.mul(Fp.sub(u, Fp.ONE), Fp.inv(Fp.add(u, Fp.ONE))));
  y[31] |= sign;
  return y;
}

/** Whether `signature` over `message` is by the owner of the X25519 key, given raw or with its type byte. */
export function verify(publicKey, message, signature) {
  const key = publicKey.length === 33 && publicKey[0] === 5 ? publicKey.subarray(1) : publicKey;
  if (key.length !== 32 || signature.length !== 64) return false;
  const plain = Uint8Array.from(signature);
  const sign = plain[63] & 0x80;
  plain[63] &= 0x7f;
  try {
    return ed25519.verify(plain, Uint8Array.from(message), edwardsKey(key, sign), { zip215: false });
  } catch {
    return false;
  }
}
