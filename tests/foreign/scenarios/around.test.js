// What surrounds messages: presence, typing, calls, the blocklist, app state and history.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { address } from '../clients/content.js';
import { Zapo } from '../clients/zapo.js';
import { eventually } from '../harness/record.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const here = stage();

for (const Client of [Baileys, Zapo]) {
  suite(Client.label, () => {
    let client;
    let friend;
    const phoneDoes = (what, more) => here.simulator.post(`mock-phone/${what}`, { phone: friend, ...more });
    const own = (what, body) =>
      here.simulator.post(`mock-phone/${what}`, {}, JSON.stringify({ phone: client.phone, ...body }));
    const chat = async () => {
      const { chats } = await here.simulator.get('mock-phone/app-state', { phone: client.phone });
      return chats.find(({ jid }) => jid === address(friend));
    };

    test('sees a phone type, and is seen typing', async () => {
      client = await here.link(Client);
      friend = await here.simulator.addPhone();
      await client.message('a text', { id: await here.simulator.phoneSends(friend, client.phone, 'hello') });
      await client.goOnline();
      await eventually('the phone to be heard typing', async () => {
        await phoneDoes('typing', { to: client.phone, state: 'composing' });
        return client.sawTyping(friend);
      });
      await client.type(friend);
      await eventually('the phone to hear it', async () => {
        const heard = await here.simulator.get('mock-phone/heard', { phone: friend });
        return heard.some(({ from, state }) => from === client.phone && state === 'composing');
      });
    });

    test('follows when a phone comes and goes', async () => {
      await client.subscribe(friend);
      await eventually('the phone to be seen', async () => {
        await phoneDoes('presence', { state: 'available' });
        return client.sawPresence(friend, 'available');
      });
      await phoneDoes('presence', { state: 'unavailable' });
      await eventually('the phone to be seen leaving', () => client.sawPresence(friend, 'unavailable'));
    });

    test('hears a call ring and end', async () => {
      const { id } = await here.simulator.post('mock-phone/call', { from: friend, to: client.phone, video: true });
      await client.call(id, 'offer');
      await phoneDoes('hang-up', { call: id });
      await client.call(id, 'terminate');
    });

    test('blocks a number and takes that back', async () => {
      assert.equal((await client.blocklist()).length, 0);
      await client.block(friend, true);
      assert.equal((await client.blocklist()).length, 1);
      await client.block(friend, false);
      assert.equal((await client.blocklist()).length, 0);
    });

    test('follows what its phone does with a chat', async () => {
      for (const [action, body] of [
        ['pin', { pinned: true }],
        ['mute', { muted_until: -1 }],
        ['archive', { archived: true }],
      ]) {
        await own('chat', { chat: friend, ...body });
        await client.chatChanged(action, friend);
      }
    });

    test('changes a chat, which its phone verifies', async () => {
      await client.pin(friend, false);
      await eventually('the phone to know', async () => !(await chat()).pinned);
      await client.pin(friend, true);
      await eventually('the phone to know', async () => (await chat()).pinned);
      const { errors, complaints } = await here.simulator.get('mock-phone/app-state', { phone: client.phone });
      assert.deepEqual([errors, complaints], [[], []]);
    });

    test('gets the past when it is linked', async () => {
      const phone = newPhone();
      for (const text of ['long ago', 'yesterday']) await here.simulator.phoneSends(friend, phone, text);
      const late = await here.link(Client, phone);
      assert.ok((await late.historyMessages()) >= 2);
    });
  });
}

suite('Baileys', () => {
  test('rejects a call', async () => {
    const client = await here.link(Baileys);
    const friend = await here.simulator.addPhone();
    const { id } = await here.simulator.post('mock-phone/call', { from: friend, to: client.phone });
    const { from } = await client.call(id, 'offer');
    await client.socket.rejectCall(id, from);
    await eventually('the caller to know', async () => {
      const calls = await here.simulator.get('mock-phone/calls', { phone: friend });
      return JSON.stringify(calls).includes('rejected');
    });
  });

  test('learns the names of its phone’s address book', async () => {
    const client = await here.link(Baileys);
    const friend = await here.simulator.addPhone();
    const body = JSON.stringify({ phone: client.phone, contact: friend, name: 'Ana from work' });
    await here.simulator.post('mock-phone/contact', {}, body);
    await client.record.find(
      'the name',
      ({ event, data }) => event === 'contacts.upsert' && data.some((contact) => contact.name === 'Ana from work'),
    );
  });
});
