// Every signature that the simulator makes or passes on, checked by a verifier of nobody's; and its own checks.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { before, suite, test } from 'node:test';

import { Baileys, Curve, proto } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { serverHello } from '../harness/handshake.js';
import { stage } from '../harness/stage.js';
import { newPhone } from '../harness/simulator.js';
import { verify } from '../harness/xeddsa.js';

const here = stage();
const DJB = Buffer.from([5]);
const ACCOUNT = Buffer.from([6, 0]);
const DEVICE = Buffer.from([6, 1]);
const KEY_INDEXES = Buffer.from([6, 2]);

const joined = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));

/** The same with one bit turned: a check that still passes has checked nothing. */
function turned(bytes) {
  const copy = Buffer.from(bytes);
  copy[7] ^= 1;
  return copy;
}

/** The signature is right, and wrong for any other message, key or signature. */
function signed(key, message, signature, what) {
  assert.ok(verify(key, message, signature), `${what}: the signature is wrong`);
  assert.ok(!verify(key, turned(message), signature), `${what}: another message passes`);
  assert.ok(!verify(key, message, turned(signature)), `${what}: another signature passes`);
}

function child(node, ...path) {
  return path.reduce((at, tag) => at?.content?.find?.((inner) => inner.tag === tag), node);
}

suite('the verifier', () => {
  test('is what a client that shows the wrong signature to Baileys meets', () => {
    const pair = Curve.generateKeyPair();
    const message = Buffer.from('to be signed');
    const signature = Curve.sign(pair.private, message);
    assert.ok(Curve.verify(pair.public, message, signature));
    assert.ok(!Curve.verify(pair.public, turned(message), signature));
    assert.ok(!Curve.verify(pair.public, message, Buffer.alloc(64)));
    assert.ok(!Curve.verify(Curve.generateKeyPair().public, message, signature));
  });
});

suite('the simulator signs', () => {
  let account;
  let other;
  let seen;

  before(async () => {
    account = await here.link(Baileys);
    other = await here.link(Baileys);
    await account.message('the text', { id: await other.sendText(account.phone, 'fetches devices and keys') });
    seen = (what, pick, client = other) => client.record.find(what, ({ node }) => node && pick(node));
  });

  test('its certificates, from the root to the key of the handshake', async () => {
    const { staticKey, certificates } = await serverHello(here.simulator.url);
    const { intermediate, leaf } = proto.CertChain.decode(certificates);
    signed(here.simulator.rootKey, intermediate.details, intermediate.signature, 'the intermediate certificate');
    const issuer = proto.CertChain.NoiseCertificate.Details.decode(intermediate.details);
    signed(issuer.key, leaf.details, leaf.signature, 'the leaf certificate');
    const own = proto.CertChain.NoiseCertificate.Details.decode(leaf.details);
    assert.equal(issuer.issuerSerial, 0);
    assert.equal(own.issuerSerial, issuer.serial);
    assert.deepEqual(Buffer.from(own.key), staticKey);
    for (const { notBefore, notAfter } of [issuer, own]) {
      assert.ok(Number(notBefore) <= Date.now() / 1000 && Date.now() / 1000 < Number(notAfter), 'valid now');
    }
  });

  test('the identity of a companion, for the account and with the secret of the code', async () => {
    const success = await seen('pair-success', (node) => child(node, 'pair-success'), account);
    const { details, hmac } = proto.ADVSignedDeviceIdentityHMAC.decode(child(success, 'device-identity').content);
    const expected = createHmac('sha256', Buffer.from(account.creds.advSecretKey, 'base64')).update(details).digest();
    assert.deepEqual(Buffer.from(hmac), expected);
    const identity = proto.ADVSignedDeviceIdentity.decode(details);
    const message = joined(ACCOUNT, identity.details, account.creds.signedIdentityKey.public);
    signed(identity.accountSignatureKey, message, identity.accountSignature, 'the account');
    assert.ok(proto.ADVDeviceIdentity.decode(identity.details).keyIndex > 0);
  });

  test('the list of valid companions', async () => {
    const users = await seen('the devices', (node) => child(node, 'usync', 'list')?.content);
    const list = users.map((user) => child(user, 'devices', 'key-index-list')).find((node) => node?.content);
    const { details, accountSignature, accountSignatureKey } = proto.ADVSignedKeyIndexList.decode(list.content);
    signed(accountSignatureKey, joined(KEY_INDEXES, details), accountSignature, 'the list');
    const { validIndexes, currentIndex } = proto.ADVKeyIndexList.decode(details);
    assert.ok(validIndexes.includes(currentIndex), `${validIndexes} and ${currentIndex}`);
  });

  test('prekeys of phones, and passes on those of companions with both signatures of their identity', async () => {
    const kinds = new Set();
    for (const { node } of other.record.entries.filter((entry) => child(entry.node, 'list', 'user', 'skey'))) {
      for (const user of child(node, 'list').content) {
        const identity = child(user, 'identity').content;
        const value = child(user, 'skey', 'value').content;
        signed(identity, joined(DJB, value), child(user, 'skey', 'signature').content, `${user.attrs.jid}: skey`);
        const chain = child(user, 'device-identity');
        kinds.add(chain ? 'companion' : 'phone');
        if (!chain) continue;
        const device = proto.ADVSignedDeviceIdentity.decode(chain.content);
        const key = device.accountSignatureKey;
        signed(key, joined(ACCOUNT, device.details, identity), device.accountSignature, 'account');
        signed(identity, joined(DEVICE, device.details, identity, key), device.deviceSignature, 'device');
      }
    }
    assert.deepEqual([...kinds].sort(), ['companion', 'phone']);
  });
});

suite('the simulator refuses', () => {
  test('a companion whose device signature is wrong', async () => {
    const client = here.client(Baileys);
    const qr = await client.qr();
    const right = Curve.sign;
    Curve.sign = (key, message) => (message[0] === 6 && message[1] === 1 ? turned(right(key, message)) : right(key, message));
    try {
      const reason = await here.simulator.scanRefused(newPhone(), qr);
      assert.match(reason, /the device's signature is wrong/);
    } finally {
      Curve.sign = right;
    }
    assert.equal((await client.closed('the end of the socket')).code, 401);
  });

  test('prekeys whose signature is wrong, and keeps those it has', async () => {
    const client = await here.link(Baileys);
    const { prekeys } = await here.simulator.companion(client.phone, client.device);
    client.creds.signedPreKey.signature = turned(client.creds.signedPreKey.signature);
    await assert.rejects(client.uploadPreKeys(), /not-acceptable/);
    assert.equal((await here.simulator.companion(client.phone, client.device)).prekeys, prekeys);
  });

  test('a login with another Noise key than the linked one', async () => {
    const client = await here.link(Baileys);
    await client.disconnect();
    client.creds.noiseKey = Curve.generateKeyPair();
    assert.equal((await client.connectInVain()).code, 401);
  });

  test('nothing of zapo-js, which signs with code of its own', async () => {
    const [client, friend] = [await here.link(Zapo), await here.link(Baileys)];
    await friend.message('the text', { id: await client.sendText(friend.phone, 'signed elsewhere') });
    await client.message('the text', { id: await friend.sendText(client.phone, 'and back') });
  });
});
