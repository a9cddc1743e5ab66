// Things that the simulator makes wrong on purpose: each client must notice, for the right reason, and recover.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const here = stage();

const REASONS = {
  Baileys: {
    'cert-intermediate': /noise intermediate certificate signature invalid/,
    'cert-leaf': /noise certificate signature invalid/,
    hmac: /Invalid account signature/,
    'account-signature': /Failed to verify account signature/,
  },
  zapo: {
    'cert-intermediate': /intermediate certificate signature is invalid/,
    'cert-leaf': /leaf certificate signature is invalid/,
    hmac: /pair-success HMAC validation failed/,
    'account-signature': /pair-success account signature validation failed/,
  },
};

for (const Client of [Baileys, Zapo]) {
  const { label } = Client;
  const reasons = REASONS[label];

  suite(label, () => {
    for (const kind of ['cert-intermediate', 'cert-leaf']) {
      test(`refuses a server with a wrong signature: ${kind}`, async () => {
        const client = here.client(Client);
        const failed = (await here.simulator.stats()).handshakes.failed;
        const before = await here.simulator.strikes(kind);
        await here.simulator.fault(kind);
        await client.refusesServer(reasons[kind]);
        await here.simulator.struck(kind, before + 1);
        assert.equal((await here.simulator.stats()).handshakes.failed, failed + 1);
      });
    }

    for (const kind of ['hmac', 'account-signature']) {
      test(`refuses to be linked with a wrong ${kind}`, async () => {
        const phone = newPhone();
        const client = here.client(Client);
        const qr = await client.qr();
        await here.simulator.fault(kind, { phone });
        const refused = here.simulator.scanRefused(phone, qr);
        assert.match(await client.error('the reason', reasons[kind]), reasons[kind]);
        await client.dispose();
        assert.match(await refused, /closed its socket before it answered/);
        const { companions } = (await here.simulator.stats()).phones.find((entry) => entry.phone === phone);
        assert.deepEqual(companions, []);
      });
    }

    test('asks again for a message that arrived damaged, and reads it then', async () => {
      const client = await here.link(Client);
      const friend = await here.simulator.addPhone();
      const whole = await here.simulator.phoneSends(friend, client.phone, 'arrives whole');
      await client.message('the whole text', { id: whole });
      const before = await here.simulator.strikes('corrupt-ciphertext');
      await here.simulator.fault('corrupt-ciphertext', { phone: client.phone });
      const id = await here.simulator.phoneSends(friend, client.phone, 'arrives damaged');
      await client.message('the text after a repetition', { id, kind: 'text', text: 'arrives damaged' });
      await here.simulator.struck('corrupt-ciphertext', before + 1);
      const { receiptsToPhones } = await here.simulator.stats();
      assert.ok(receiptsToPhones.retry > 0, `the phone got no request: ${JSON.stringify(receiptsToPhones)}`);
    });

    test('shows no QR code when it is offered none, and one when it is', async () => {
      const client = here.client(Client);
      const before = await here.simulator.strikes('no-qr');
      await here.simulator.fault('no-qr');
      await client.connectUnlinked();
      await here.simulator.struck('no-qr', before + 1);
      await client.ping();
      assert.ok(!client.record.entries.some((entry) => entry.event === 'qr'));
      await client.dispose();
      await client.qr();
    });

    test('is refused at login with the reason that the server gives', async () => {
      for (const reason of [402, 403, 405, 406, 409, 500, 503]) {
        const client = await here.link(Client);
        await client.disconnect();
        await here.simulator.fault('failure', { phone: client.phone, reason, expire: reason === 402 ? 600 : undefined });
        assert.equal(await client.refusedLogin(), reason);
      }
    });

    test('comes back after a temporary refusal', async () => {
      const client = await here.link(Client);
      await client.disconnect();
      await here.simulator.fault('failure', { phone: client.phone, reason: 503 });
      await client.refusedLogin();
      await client.connect();
      const friend = await here.simulator.addPhone();
      await here.simulator.inInbox(friend, 'the text', { id: await client.sendText(friend, 'back again') });
    });

    test('comes back after a stream error without losing a message', async () => {
      const client = await here.link(Client);
      const friend = await here.simulator.addPhone();
      for (const code of [500, 503]) {
        const { mark } = client;
        const before = await here.simulator.strikes('stream-error');
        await here.simulator.fault('stream-error', { phone: client.phone, code });
        await here.simulator.struck('stream-error', before + 1);
        await client.comesBack(mark, code);
        const id = await here.simulator.phoneSends(friend, client.phone, `after ${code}`);
        await client.message('the text', { id, text: `after ${code}` });
      }
    });

    test('is told that its message was refused', async () => {
      const client = await here.link(Client);
      const friend = await here.simulator.addPhone();
      for (const code of [463, 479]) {
        await here.simulator.fault('nack', { phone: client.phone, code });
        assert.equal(await client.sendRefused(friend, 'refused'), code);
      }
      await here.simulator.inInbox(friend, 'the next text', { id: await client.sendText(friend, 'accepted') });
      assert.equal((await here.simulator.inbox(friend)).length, 1);
    });
  });
}

suite('zapo', () => {
  for (const deliver of [true, false]) {
    test(`sends again what was ${deliver ? '' : 'not '}delivered and not acknowledged, and it is shown once`, async () => {
      const client = await here.client(Zapo, { messageAckTimeoutMs: 1000, messageRetryDelayMs: 10 }).link(newPhone());
      await here.simulator.reachable(client.phone, client.device);
      const friend = await here.simulator.addPhone();
      await here.simulator.fault('no-ack', { phone: client.phone, deliver });
      const id = await client.sendText(friend, 'sent twice');
      await here.simulator.inInbox(friend, 'the text', { id });
      const after = await client.sendText(friend, 'after it');
      await here.simulator.inInbox(friend, 'the next text', { id: after });
      assert.deepEqual((await here.simulator.inbox(friend)).map((entry) => entry.id), [id, after]);
    });
  }
});

suite('Baileys', () => {
  // zapo-js 0.3.0 cannot take part: it reads the signature of others' prekeys and never looks at it.
  test('opens no session with a wrongly signed prekey', async () => {
    const client = await here.link(Baileys);
    const friend = await here.simulator.addPhone();
    const before = await here.simulator.strikes('skey');
    await here.simulator.fault('skey', { phone: friend, times: 'always' });
    // Whether the rest of the message, for the own phone, goes out is the client's own choice.
    await client.sendText(friend, 'must not arrive').catch((error) => client.logged.add(error.message));
    await client.logs('the reason', /the signature is wrong/);
    await here.simulator.struck('skey', before + 1);
    await here.simulator.fault('none');
    const id = await client.sendText(friend, 'the signature is right again');
    await here.simulator.inInbox(friend, 'the text', { id });
    assert.equal((await here.simulator.inbox(friend)).length, 1);
  });

  test('goes on without the ack, for which it never waits', async () => {
    const client = await here.link(Baileys);
    const friend = await here.simulator.addPhone();
    await here.simulator.fault('no-ack', { phone: client.phone });
    const id = await client.sendText(friend, 'never acknowledged');
    await here.simulator.inInbox(friend, 'the text', { id });
    await client.receipt(id, 'delivered');
  });
});
