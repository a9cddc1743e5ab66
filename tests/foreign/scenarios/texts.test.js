// Two clients, every pair of kinds: what one writes the other reads.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';

const here = stage();

for (const [One, Other] of [
  [Baileys, Baileys],
  [Zapo, Zapo],
  [Zapo, Baileys],
]) {
  suite(`${One.label} and ${Other.label}`, () => {
    let one;
    let other;

    test('link by QR code', async () => {
      one = await here.link(One);
      other = await here.link(Other);
      assert.match(one.jid, /^\d+:\d+@s\.whatsapp\.net$/);
      assert.match(other.lid, /^\d+:\d+@lid$/);
    });

    test('exchange texts in both directions, with a receipt for each', async () => {
      for (const [from, to] of [[one, other], [other, one]]) {
        for (const text of ['the first opens a session', 'the second uses it', 'ünïcödé 👍🏽']) {
          const id = await from.sendText(to.phone, text);
          const message = await to.message(`"${text}"`, { id, kind: 'text', text });
          assert.equal(message.fromMe, false);
          await from.receipt(id, 'delivered');
          await here.simulator.inInbox(to.phone, `"${text}" on the phone`, { id, text });
        }
      }
    });

    test('tell each other what was read', async () => {
      for (const [from, to] of [[one, other], [other, one]]) {
        const id = await from.sendText(to.phone, 'read this');
        await to.markRead(await to.message('the text', { id }));
        await from.receipt(id, 'read');
      }
    });

    test('show on their own phone what they sent', async () => {
      for (const [from, to] of [[one, other], [other, one]]) {
        const id = await from.sendText(to.phone, 'a copy for my phone');
        const copy = await here.simulator.inInbox(from.phone, 'the copy', { id });
        assert.equal(copy.text, 'a copy for my phone');
        assert.ok(copy.dsmTo.startsWith(to.phone) || copy.dsmTo.endsWith('@lid'), copy.dsmTo);
      }
    });

    test('get what was sent while they were away, in order', async () => {
      for (const [from, to] of [[one, other], [other, one]]) {
        await to.disconnect();
        const texts = ['while away 1', 'while away 2', 'while away 3'];
        const ids = [];
        for (const text of texts) ids.push(await from.sendText(to.phone, text));
        await here.simulator.inInbox(to.phone, 'the last on the phone', { id: ids.at(-1) });
        const { mark } = to;
        await to.connect();
        await to.message('the last text', { id: ids.at(-1) }, { from: mark });
        const got = to.record.entries.slice(mark).filter((entry) => entry.event === 'message' && ids.includes(entry.id));
        assert.deepEqual(got.map((entry) => entry.text), texts);
      }
    });
  });
}
