// Groups: made by one client, read and written by all.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';

const here = stage();

for (const [One, Other] of [
  [Baileys, Baileys],
  [Baileys, Zapo],
  [Zapo, Baileys],
]) {
  suite(`a group of ${One.label}, ${Other.label} and a phone`, () => {
    let one;
    let other;
    let friend;
    let group;

    /** Everybody but the sender shows it, on client and phone. */
    async function arrives(id, text, from) {
      for (const client of [one, other].filter((client) => client !== from)) {
        const got = await client.message(`"${text}"`, { id, kind: 'text', text });
        assert.equal(got.chat, group);
      }
      for (const phone of [one.phone, other.phone, friend]) {
        await here.simulator.inInbox(phone, `"${text}"`, { id, text });
      }
    }

    test('is made', async () => {
      one = await here.link(One);
      other = await here.link(Other);
      friend = await here.simulator.addPhone();
      group = await one.createGroup('Reading circle', [other.phone, friend]);
      assert.match(group, /@g\.us$/);
      for (const client of [one, other]) {
        const { subject, size } = await client.group(group);
        assert.deepEqual([subject, size], ['Reading circle', 3]);
      }
    });

    test('carries texts from everybody to everybody', async () => {
      for (const from of [one, other]) {
        for (const text of ['with a new sender key', 'with the same sender key']) {
          const words = `${from.record.name} ${text}`;
          await arrives(await from.sendText(group, words), words, from);
        }
      }
      const id = await here.simulator.phoneSendsBody(friend, group, { type: 'text', text: 'from the phone' });
      for (const client of [one, other]) await client.message('the text', { id, text: 'from the phone', chat: group });
    });

    test('takes in a member, who reads what comes then, and lets one go', async () => {
      const late = await here.link(Other);
      await one.addToGroup(group, late.phone);
      const id = await one.sendText(group, 'welcome');
      assert.equal((await late.message('the welcome', { id, text: 'welcome' })).chat, group);
      assert.equal((await late.group(group)).size, 4);
      await late.message('the answer', { id: await other.sendText(group, 'hello'), text: 'hello' });

      await one.removeFromGroup(group, late.phone);
      const after = await one.sendText(group, 'without the late one');
      await other.message('the text', { id: after });
      assert.equal((await one.group(group)).size, 3);
      await here.simulator.inInbox(friend, 'the text', { id: after });
      assert.ok(!(await here.simulator.inbox(late.phone)).some((entry) => entry.id === after));
      assert.ok(!late.record.entries.some((entry) => entry.event === 'message' && entry.id === after));
    });

    test('gets another subject', async () => {
      await one.setSubject(group, 'Writing circle');
      assert.equal((await other.group(group)).subject, 'Writing circle');
    });
  });
}
