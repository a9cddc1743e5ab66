// The gateway and each foreign client, which share no code but the wire.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const here = stage({ gateway: true });

for (const Client of [Baileys, Zapo]) {
  suite(`the gateway and ${Client.label}`, () => {
    let ours;
    let theirs;

    test('link by QR code', async () => {
      ours = await here.gateway.link(newPhone());
      theirs = await here.link(Client);
    });

    test('exchange texts in both directions, with all receipts', async () => {
      for (const text of ['opens a session', 'uses it', 'ünïcödé 👍🏽']) {
        const out = await ours.sendText(theirs.phone, text);
        const got = await theirs.message('the text', { id: out, kind: 'text', text });
        for (const state of ['sent', 'delivered']) await ours.receipt(out, state);
        await theirs.markRead(got);
        await ours.receipt(out, 'read');

        const back = await theirs.sendText(ours.phone, text);
        const event = await ours.message('the text', { id: back, text });
        assert.equal(event.from, theirs.phone);
        assert.equal(event.sender.phone, theirs.phone);
        assert.equal(event.is_group, false);
        assert.deepEqual(event.body, { type: 'text', text });
        await theirs.receipt(back, 'delivered');
      }
    });

    test('tell of each state once and in order', async () => {
      const id = await ours.sendText(theirs.phone, 'states');
      await theirs.markRead(await theirs.message('the text', { id }));
      await ours.receipt(id, 'read');
      const states = ours.record.entries.filter((entry) => entry.message_id === id).map((entry) => entry.event);
      assert.deepEqual(states, ['message.sent', 'message.delivered', 'message.read']);
    });

    test('deliver what was sent while the client was away', async () => {
      await theirs.disconnect();
      const ids = [];
      for (const text of ['away 1', 'away 2', 'away 3']) ids.push(await ours.sendText(theirs.phone, text));
      for (const id of ids) await ours.receipt(id, 'sent');
      const { mark } = theirs;
      await theirs.connect();
      await theirs.message('the last text', { id: ids.at(-1) }, { from: mark });
      const got = theirs.record.entries.slice(mark).filter((entry) => entry.event === 'message' && ids.includes(entry.id));
      assert.deepEqual(got.map((entry) => entry.text), ['away 1', 'away 2', 'away 3']);
    });

    test('deliver what was sent while the gateway was away', async () => {
      await ours.disconnect();
      const ids = [];
      for (const text of ['away 1', 'away 2', 'away 3']) ids.push(await theirs.sendText(ours.phone, text));
      await here.simulator.inInbox(ours.phone, 'the last on the phone', { id: ids.at(-1) });
      await ours.connect();
      await ours.message('the last text', { id: ids.at(-1) });
      const got = ours.record.entries.filter((entry) => entry.event === 'message.received' && ids.includes(entry.message_id));
      assert.deepEqual(got.map((entry) => entry.body.text), ['away 1', 'away 2', 'away 3']);
    });

    test('share an account, where each sees what the other writes', async () => {
      const second = await here.link(Client, ours.phone);
      const out = await ours.sendText(theirs.phone, 'by the gateway');
      assert.equal((await second.message('the copy', { id: out, text: 'by the gateway' })).fromMe, true);
      const own = await second.sendText(theirs.phone, 'by the other companion');
      await theirs.message('the text', { id: own });
      const event = await ours.event('message.sent', 'the copy', { message_id: own });
      assert.equal(event.origin, 'device');
      assert.equal(event.body.text, 'by the other companion');
      const incoming = await theirs.sendText(ours.phone, 'for both');
      await second.message('the text', { id: incoming });
      await ours.message('the text', { id: incoming });
      await second.logout();
      await here.simulator.unlinked(second.phone, second.device);
    });

    test('ask each other again for what arrived damaged', async () => {
      const before = await here.simulator.strikes('corrupt-ciphertext');
      await here.simulator.fault('corrupt-ciphertext', { phone: ours.phone });
      const inward = await theirs.sendText(ours.phone, 'damaged on its way in');
      await ours.message('the text', { id: inward, text: 'damaged on its way in' });
      await here.simulator.fault('corrupt-ciphertext', { phone: theirs.phone });
      const outward = await ours.sendText(theirs.phone, 'damaged on its way out');
      await theirs.message('the text', { id: outward, kind: 'text', text: 'damaged on its way out' });
      await here.simulator.struck('corrupt-ciphertext', before + 2);
    });

    test('go on after the gateway was unlinked by its phone and linked again', async () => {
      const from = ours.mark;
      await here.simulator.unlink(ours.phone, ours.device);
      const ended = await ours.event('instance.disconnected', 'the end of the link', {}, { from });
      assert.deepEqual([ended.reason, ended.will_retry], ['logout', false]);
      await ours.becomes('failed');
      await ours.link(ours.phone);
      await theirs.message('the text', { id: await ours.sendText(theirs.phone, 'linked again') });
      await ours.message('the answer', { id: await theirs.sendText(ours.phone, 'welcome back') });
    });

    test('part when the gateway logs out', async () => {
      await ours.logout();
      await here.simulator.unlinked(ours.phone, ours.device);
      await ours.becomes('pending');
    });
  });
}

suite('the gateway', () => {
  test('links by a code that is typed on the phone, and writes to both clients', async () => {
    const ours = await here.gateway.link(newPhone(), 'linkByCode');
    for (const Client of [Baileys, Zapo]) {
      const theirs = await here.link(Client);
      await theirs.message('the text', { id: await ours.sendText(theirs.phone, 'linked by code') });
      await ours.message('the answer', { id: await theirs.sendText(ours.phone, 'so I see') });
    }
    await ours.logout();
  });
});
