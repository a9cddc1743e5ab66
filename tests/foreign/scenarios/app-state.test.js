// What is set on a phone or a client reaches all others; a new client learns what was before it.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { eventually } from '../harness/record.js';
import { newPhone } from '../harness/simulator.js';
import { stage } from '../harness/stage.js';

const RECENT = 3;

const here = stage();
const jid = (phone) => `${phone}@s.whatsapp.net`;

const setChat = (phone, chat, settings) =>
  here.simulator.post('mock-phone/chat', {}, JSON.stringify({ phone, chat, ...settings }));
const state = (phone) => here.simulator.get('mock-phone/app-state', { phone });

/** Waits until the phone shows a chat with all of `part`, and believed everything that led there. */
async function shown(phone, chat, part) {
  const found = await eventually(`${chat} with ${JSON.stringify(part)} on the phone`, async () => {
    const { chats, errors } = await state(phone);
    assert.deepEqual(errors, []);
    const entry = chats.find((entry) => entry.jid === jid(chat));
    return entry && Object.entries(part).every(([key, value]) => entry[key] === value) && entry;
  });
  return found;
}

/** What each client calls a changed chat, and how it changes one. */
const ways = {
  Baileys: {
    archived: (client, chat, archived, from) =>
      client.record.find(
        `${chat} archived: ${archived}`,
        (entry) =>
          // While Baileys catches up, it folds what app state says into the history.
          (entry.event === 'chats.update' ? entry.data : entry.event === 'messaging-history.set' ? entry.data.chats : [])
            .some((one) => one.id === jid(chat) && one.archived === archived),
        { from },
      ),
    pin: (client, chat, pin) => client.socket.chatModify({ pin }, jid(chat)),
    mute: (client, chat) => client.socket.chatModify({ mute: 4_102_444_800_000 }, jid(chat)),
    learned: async (client, text) => {
      const chunk = (what, pick) =>
        client.record.find(what, (entry) => entry.event === 'messaging-history.set' && pick(entry.data));
      await chunk('the history', ({ messages }) => messages.some((one) => one.message?.conversation === text));
      // Until then Baileys holds back what app state says of a chat.
      await chunk('the recent part', ({ syncType }) => syncType === RECENT);
    },
  },
  zapo: {
    archived: (client, chat, archived, from) =>
      client.record.matching(
        `${chat} archived: ${archived}`,
        { event: 'chat_event', chatJid: jid(chat), action: 'archive', archived },
        { from },
      ),
    pin: (client, chat, pin) => client.client.chat.setChatPin(jid(chat), pin),
    mute: (client, chat) => client.client.chat.setChatMute(jid(chat), true, 4_102_444_800_000),
    learned: (client) => client.record.matching('a piece of history', { event: 'history_sync_chunk' }),
  },
};

for (const Client of [Baileys, Zapo]) {
  const way = ways[Client.label];
  suite(Client.label, () => {
    const phone = newPhone();
    let friend;
    let client;

    test('learns what was written and set before it was linked', async () => {
      friend = await here.simulator.addPhone();
      await here.simulator.phoneSends(friend, phone, 'from before');
      await setChat(phone, friend, { archived: true });
      client = await here.link(Client, phone);
      await way.learned(client, 'from before');
      await way.archived(client, friend, true, 0);
    });

    test('hears what is set on the phone', async () => {
      const { mark } = client;
      await setChat(phone, friend, { archived: false });
      await way.archived(client, friend, false, mark);
    });

    test('sets something itself, which the phone believes', async () => {
      await way.pin(client, friend, true);
      await shown(phone, friend, { pinned: true, archived: false });
      await way.mute(client, friend);
      await shown(phone, friend, { pinned: true, mutedUntil: 4_102_444_800_000 });
      await way.pin(client, friend, false);
      await shown(phone, friend, { pinned: false });
    });

    test('goes on under another key when a companion was removed', async () => {
      const second = await here.link(Baileys, phone);
      await here.simulator.unlink(phone, second.device);
      await eventually('another key', async () => (await state(phone)).keys.length > 1);
      const { mark } = client;
      await setChat(phone, friend, { archived: true });
      await way.archived(client, friend, true, mark);
      await way.pin(client, friend, true);
      await shown(phone, friend, { pinned: true });
    });
  });
}
