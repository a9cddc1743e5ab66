// What each foreign client can send that is not a plain text, as the gateway's stream of events tells it.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const here = stage({ gateway: true });
const jid = (phone) => `${phone}@s.whatsapp.net`;
const card = (name, phone) => ({
  displayName: name,
  vcard: `BEGIN:VCARD\nVERSION:3.0\nFN:${name}\nTEL;type=CELL;waid=${phone}:+${phone}\nEND:VCARD`,
});

/** Who an event of a direct chat says did it. */
function comesFrom(event, client) {
  assert.equal(event.from, client.phone);
  assert.deepEqual(event.chat, { jid: jid(client.phone), type: 'direct' });
  assert.deepEqual([event.sender.jid, event.sender.phone], [jid(client.phone), client.phone]);
  assert.ok(Number.isFinite(Date.parse(event.timestamp)), `a time: ${event.timestamp}`);
}

for (const Client of [Baileys, Zapo]) {
  suite(`from ${Client.label} to the gateway`, () => {
    let ours;
    let theirs;
    let first;

    test('a text to build on', async () => {
      ours = await here.gateway.link(newPhone());
      theirs = await here.link(Client);
      first = await theirs.message('the text', { id: await ours.sendText(theirs.phone, 'the beginning') });
      await ours.receipt(first.id, 'delivered');
    });

    test('a reply names the message it answers, in both directions', async () => {
      const id = await theirs.reply(first, 'an answer');
      const event = await ours.message('the reply', { id });
      comesFrom(event, theirs);
      assert.deepEqual(event.body, { type: 'text', text: 'an answer' });
      assert.equal(event.reply_to, first.id);
      const back = await ours.send(theirs.phone, { type: 'text', text: 'to the answer' }, { reply_to: id });
      assert.equal((await theirs.message('the reply', { id: back, text: 'to the answer' })).quoted, id);
    });

    test('a reaction is set, changed and taken away', async () => {
      const from = ours.mark;
      for (const emoji of ['👍', '❤️', '']) {
        await theirs.react(first, emoji);
        const event = await ours.event('message.reaction', `"${emoji}"`, { message_id: first.id, emoji }, { from });
        comesFrom(event, theirs);
      }
    });

    test('an edit says what the message says now', async () => {
      const id = await theirs.sendText(ours.phone, 'with a tpyo');
      await ours.message('the text', { id, text: 'with a tpyo' });
      await theirs.edit(ours.phone, id, 'without a typo');
      const event = await ours.event('message.edited', 'the edit', { message_id: id });
      comesFrom(event, theirs);
      assert.deepEqual(event.body, { type: 'text', text: 'without a typo' });
    });

    test('a revocation names what is taken back', async () => {
      const id = await theirs.sendText(ours.phone, 'better not');
      await ours.message('the text', { id });
      await theirs.revoke(ours.phone, id);
      comesFrom(await ours.event('message.revoked', 'the revocation', { message_id: id }), theirs);
    });

    test('a place has coordinates, name and address', async () => {
      const place = { degreesLatitude: -23.5505, degreesLongitude: -46.6333, name: 'Sé', address: 'Praça da Sé' };
      const event = await ours.message('the place', { id: await theirs.sendLocation(ours.phone, place) });
      comesFrom(event, theirs);
      const body = { type: 'location', latitude: -23.5505, longitude: -46.6333, name: 'Sé', address: 'Praça da Sé' };
      assert.deepEqual(event.body, body);
    });

    test('one contact and several have names and numbers', async () => {
      const contacts = [
        { name: 'Ana', phones: ['+5511999990001'] },
        { name: 'Zoë', phones: ['+4930999990002'] },
      ];
      const cards = [card('Ana', '5511999990001'), card('Zoë', '4930999990002')];
      for (const count of [1, 2]) {
        const id = await theirs.sendContacts(ours.phone, cards.slice(0, count));
        const event = await ours.message('the contacts', { id });
        comesFrom(event, theirs);
        assert.deepEqual(event.body, { type: 'contact', contacts: contacts.slice(0, count) });
      }
    });

    test('a poll has its options, and says how many may be chosen', async () => {
      for (const selectable_count of [1, 0]) {
        const id = await theirs.sendPoll(ours.phone, 'Which?', ['a', 'b', 'c'], selectable_count);
        const event = await ours.message('the poll', { id });
        comesFrom(event, theirs);
        assert.deepEqual(event.body, { type: 'poll', question: 'Which?', options: ['a', 'b', 'c'], selectable_count });
      }
    });

    test('what a companion of the same account pins is told, and so is what the phone does', async () => {
      const second = await here.link(Client, ours.phone);
      const chat = { jid: jid(theirs.phone), type: 'direct' };
      const own = (body) =>
        here.simulator.post('mock-phone/chat', {}, JSON.stringify({ phone: ours.phone, chat: theirs.phone, ...body }));
      await own({ archived: true });
      assert.deepEqual((await ours.event('chat.updated', 'the archived chat', { archived: true })).chat, chat);
      // Only then it has the key to say something itself.
      await second.chatChanged('archive', theirs.phone);
      for (const pinned of [true, false]) {
        await second.pin(theirs.phone, pinned);
        assert.deepEqual((await ours.event('chat.updated', `pinned: ${pinned}`, { pinned })).chat, chat);
      }
      await second.logout();
      await here.simulator.unlinked(second.phone, second.device);
    });

    test('what came while the gateway was away is told afterwards, in order', async () => {
      await ours.disconnect();
      const from = ours.mark;
      const text = await theirs.sendText(ours.phone, 'written in a hurry');
      await theirs.edit(ours.phone, text, 'written with care');
      await theirs.react(first, '🎉');
      await theirs.revoke(ours.phone, text);
      await here.simulator.inInbox(ours.phone, 'the revocation on the phone', { id: text, revoked: true });
      await ours.connect();
      await ours.event('message.revoked', 'the revocation', { message_id: text }, { from });
      const told = ours.messages(from);
      assert.deepEqual(
        told.map(({ event, message_id }) => [event, message_id]),
        [
          ['message.received', text],
          ['message.edited', text],
          ['message.reaction', first.id],
          ['message.revoked', text],
        ],
      );
      assert.equal(told[1].body.text, 'written with care');
      assert.equal(told[2].emoji, '🎉');
    });

    test('everything was told once, and nothing was unreadable or unknown', async () => {
      await ours.message('the last text', { id: await theirs.sendText(ours.phone, 'the end') });
      ours.toldWell();
    });

    // The last one: from here on the phone holds what it refused.
    test('nobody changes what the gateway wrote', async () => {
      const id = await ours.sendText(theirs.phone, 'my own words');
      await theirs.message('the text', { id });
      const from = ours.mark;
      await theirs.edit(ours.phone, id, 'words put in my mouth');
      await theirs.revoke(ours.phone, id);
      await ours.message('the text after', { id: await theirs.sendText(ours.phone, 'honest again') });
      const changes = ours.messages(from).filter(({ event }) => /edited|revoked|undecryptable/.test(event));
      assert.deepEqual(changes, []);
      const refused = (await here.simulator.inbox(ours.phone)).filter((entry) => entry.error);
      assert.equal(refused.length, 2, 'the phone believes neither');
    });
  });
}

suite('the gateway beside Baileys on one account', () => {
  // zapo-js 0.3.0 has no call that names a contact.
  test('hears which name a contact got there', async () => {
    const ours = await here.gateway.link(newPhone());
    const second = await here.link(Baileys, ours.phone);
    const friend = await here.simulator.addPhone();
    const chat = { phone: ours.phone, chat: friend, pinned: true };
    await here.simulator.post('mock-phone/chat', {}, JSON.stringify(chat));
    await second.chatChanged('pin', friend);
    for (const name of ['Ana', 'Ana Souza']) {
      const from = ours.mark;
      await second.nameContact(friend, name);
      const { contact } = await ours.event('contact.updated', `the name ${name}`, {}, { from });
      assert.deepEqual([contact.jid, contact.phone, contact.name], [jid(friend), friend, name]);
    }
  });
});
