// A group of the gateway's phone, a foreign client and a simulated phone; made by the client.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const here = stage({ gateway: true });
const jid = (phone) => `${phone}@s.whatsapp.net`;

for (const Client of [Baileys, Zapo]) {
  suite(`a group of the gateway, ${Client.label} and a phone`, () => {
    let ours;
    let theirs;
    let friend;
    let group;

    /** Who an event of the group says did it. */
    function comesFrom(event, phone) {
      assert.equal(event.from, phone);
      assert.deepEqual(event.chat, { jid: group, type: 'group' });
      assert.deepEqual([event.sender.jid, event.sender.phone], [jid(phone), phone]);
    }

    test('is made by the client', async () => {
      ours = await here.gateway.link(newPhone());
      theirs = await here.link(Client);
      friend = await here.simulator.addPhone();
      group = await theirs.createGroup('Reading circle', [ours.phone, friend]);
      assert.match(group, /@g\.us$/);
    });

    test('carries texts of the gateway, which hears who got and who read them', async () => {
      for (const text of ['with a new sender key', 'with the same sender key']) {
        const id = await ours.sendText(group, text);
        const sent = await ours.receipt(id, 'sent');
        assert.deepEqual([sent.to, sent.chat], [group, { jid: group, type: 'group' }]);
        const got = await theirs.message('the text', { id, kind: 'text', text });
        assert.equal(got.chat, group);
        for (const phone of [ours.phone, theirs.phone, friend]) {
          await here.simulator.inInbox(phone, 'the text', { id, text });
        }
        assert.equal((await ours.receipt(id, 'delivered')).to, group);
        await theirs.markRead(got);
        const read = await ours.receipt(id, 'read');
        assert.deepEqual([read.to, read.participant], [group, jid(theirs.phone)]);
      }
    });

    test('carries texts of the client and of the phone to the gateway', async () => {
      for (const text of ['with a new sender key', 'with the same sender key']) {
        const id = await theirs.sendText(group, text);
        const event = await ours.message('the text', { id });
        comesFrom(event, theirs.phone);
        assert.equal(event.is_group, true);
        assert.deepEqual(event.body, { type: 'text', text });
        await theirs.record.find('the receipt of the gateway itself', ({ node }) => {
          const { id: of, participant } = node?.tag === 'receipt' ? node.attrs : {};
          return of === id && participant?.includes(`:${ours.device}@`);
        });
      }
      const id = await here.simulator.phoneSendsBody(friend, group, { type: 'text', text: 'from the phone' });
      comesFrom(await ours.message('the text', { id, text: 'from the phone' }), friend);
      await theirs.message('the text', { id, text: 'from the phone', chat: group });
    });

    test('carries replies and mentions in both directions', async () => {
      const mention = await theirs.mention(group, `@${ours.phone} and @${friend}, come`, [ours.phone, friend]);
      const event = await ours.message('the mention', { id: mention });
      comesFrom(event, theirs.phone);
      assert.deepEqual(event.mentions, [jid(ours.phone), jid(friend)]);

      const body = { type: 'text', text: `@${theirs.phone} coming` };
      const id = await ours.send(group, body, { reply_to: mention, mentions: [theirs.phone] });
      const got = await theirs.message('the answer', { id, text: body.text });
      assert.deepEqual([got.quoted, got.mentions], [mention, [jid(theirs.phone)]]);

      const reply = await ours.message('the reply', { id: await theirs.reply(got, 'good') });
      comesFrom(reply, theirs.phone);
      assert.equal(reply.reply_to, id);
    });

    test('carries reactions, edits and revocations to the gateway', async () => {
      const target = await theirs.message('the text', { id: await ours.sendText(group, 'who comes?') });
      for (const emoji of ['🙋', '']) {
        await theirs.react(target, emoji);
        comesFrom(await ours.event('message.reaction', `"${emoji}"`, { message_id: target.id, emoji }), theirs.phone);
      }
      const id = await theirs.sendText(group, 'I do nto');
      await ours.message('the text', { id });
      await theirs.edit(group, id, 'I do not');
      const edited = await ours.event('message.edited', 'the edit', { message_id: id });
      comesFrom(edited, theirs.phone);
      assert.deepEqual(edited.body, { type: 'text', text: 'I do not' });
      await theirs.revoke(group, id);
      comesFrom(await ours.event('message.revoked', 'the revocation', { message_id: id }), theirs.phone);
    });

    test('keeps for the gateway what was written while it was away', async () => {
      await ours.disconnect();
      const ids = [];
      for (const text of ['away 1', 'away 2', 'away 3']) ids.push(await theirs.sendText(group, text));
      await here.simulator.inInbox(ours.phone, 'the last on the phone', { id: ids.at(-1) });
      const from = ours.mark;
      await ours.connect();
      await ours.message('the last text', { id: ids.at(-1) });
      const got = ours.messages(from).filter(({ event }) => event === 'message.received');
      assert.deepEqual(got.map((entry) => entry.message_id), ids);
      assert.deepEqual(got.map((entry) => entry.body.text), ['away 1', 'away 2', 'away 3']);
    });

    test('told everything once, and nothing was unreadable or unknown', async () => {
      await ours.message('the last text', { id: await theirs.sendText(group, 'the end') });
      ours.toldWell();
    });
  });
}
