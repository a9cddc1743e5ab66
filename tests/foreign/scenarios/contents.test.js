// Everything that is not a plain text: between clients, and as the simulated phones read and write it.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';

const here = stage();
const inInbox = (...given) => here.simulator.inInbox(...given);

for (const [One, Other] of [
  [Baileys, Baileys],
  [Baileys, Zapo],
  [Zapo, Baileys],
]) {
  suite(`${One.label} to ${Other.label}`, () => {
    let one;
    let other;
    let first;

    test('a text to build on', async () => {
      one = await here.link(One);
      other = await here.link(Other);
      const id = await other.sendText(one.phone, 'the beginning');
      first = await one.message('the text', { id });
    });

    test('a reply names the message it answers', async () => {
      const id = await one.reply(first, 'an answer');
      const got = await other.message('the reply', { id, kind: 'text', text: 'an answer' });
      assert.equal(got.quoted, first.id);
      await inInbox(other.phone, 'the reply', { id, replyTo: first.id });
    });

    test('a reaction is set and taken away', async () => {
      for (const emoji of ['👍', '']) {
        const id = await one.react(first, emoji);
        const got = await other.message('the reaction', { id, kind: 'reaction' });
        assert.deepEqual([got.target, got.text ?? ''], [first.id, emoji]);
        const shown = await inInbox(other.phone, 'the reaction', { id, type: 'reaction' });
        assert.deepEqual(shown.reaction, { to: first.id, emoji });
      }
    });

    test('an edit changes what was written', async () => {
      const id = await one.sendText(other.phone, 'with a tpyo');
      await other.message('the text', { id });
      const edit = await one.edit(other.phone, id, 'without a typo');
      const got = await other.message('the edit', { id: edit, kind: 'edit' });
      assert.deepEqual([got.target, got.text], [id, 'without a typo']);
      await inInbox(other.phone, 'the new text', { id, text: 'without a typo', edited: true });
    });

    test('a message is taken back for everybody', async () => {
      const id = await one.sendText(other.phone, 'better not');
      await other.message('the text', { id });
      const revoke = await one.revoke(other.phone, id);
      assert.equal((await other.message('the revocation', { id: revoke, kind: 'revoke' })).target, id);
      await inInbox(other.phone, 'the revocation', { id, revoked: true });
    });
  });
}

for (const Client of [Baileys, Zapo]) {
  suite(`${Client.label} and a phone`, () => {
    let client;
    let friend;
    const send = (body) => here.simulator.phoneSendsBody(friend, client.phone, body);

    test('the phone replies to, reacts to, edits and takes back', async () => {
      client = await here.link(Client);
      friend = await here.simulator.addPhone();
      const target = await client.sendText(friend, 'from the client');
      await inInbox(friend, 'the text', { id: target });

      const reply = await send({ type: 'text', text: 'a reply', reply_to: target });
      assert.equal((await client.message('the reply', { id: reply, text: 'a reply' })).quoted, target);
      const reaction = await send({ type: 'reaction', message_id: target, emoji: '🎉' });
      const got = await client.message('the reaction', { id: reaction, kind: 'reaction' });
      assert.deepEqual([got.target, got.text], [target, '🎉']);
      const edit = await send({ type: 'edit', message_id: reply, text: 'another reply' });
      const edited = await client.message('the edit', { id: edit, kind: 'edit' });
      assert.deepEqual([edited.target, edited.text], [reply, 'another reply']);
      const revoke = await send({ type: 'revoke', message_id: reply });
      assert.equal((await client.message('the revocation', { id: revoke, kind: 'revoke' })).target, reply);
    });

    test('the phone sends a place, a contact and a poll', async () => {
      const place = await send({ type: 'location', latitude: -23.5, longitude: -46.6, name: 'Sé' });
      const { latitude, longitude } = await client.message('the place', { id: place, kind: 'location' });
      assert.deepEqual([latitude, longitude], [-23.5, -46.6]);
      const contact = await send({ type: 'contact', contacts: [{ name: 'Ana', phones: ['+5511999990001'] }] });
      await client.message('the contact', { id: contact, kind: 'contact', text: 'Ana' });
      const poll = await send({ type: 'poll', question: 'Which?', options: ['a', 'b'] });
      const got = await client.message('the poll', { id: poll, kind: 'poll', text: 'Which?' });
      assert.deepEqual(got.options, ['a', 'b']);
    });
  });
}

suite('Baileys', () => {
  // zapo-js 0.3.0 cannot take part: it takes its own address with the device in it for the author of its polls, which no
  // phone does, and so opens no vote.
  test('reads the vote of a phone in its poll', async () => {
    const client = await here.link(Baileys);
    const friend = await here.simulator.addPhone();
    const poll = await client.sendPoll(friend, 'Tea?', ['yes', 'no']);
    const shown = await inInbox(friend, 'the poll', { id: poll, type: 'poll' });
    assert.deepEqual(shown.poll.options, ['yes', 'no']);
    await here.simulator.phoneSendsBody(friend, client.phone, { type: 'vote', message_id: poll, options: ['no'] });
    assert.deepEqual(await client.votes(poll), ['no']);
  });
});
