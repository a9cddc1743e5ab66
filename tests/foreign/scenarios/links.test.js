// How links begin and end, with each client.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';
import { newPhone } from '../harness/simulator.js';

const here = stage();
/** How each client names a link that is no more. */
const GONE = { Baileys: { code: 401 }, zapo: { isLogout: true } };

for (const Client of [Baileys, Zapo]) {
  const { label } = Client;
  const Other = Client === Baileys ? Zapo : Baileys;

  suite(label, () => {
    test('links by the code that the phone is given', async () => {
      const client = await here.link(Client, newPhone(), 'linkByCode');
      const friend = await here.simulator.addPhone();
      const id = await client.sendText(friend, 'linked by code');
      await here.simulator.inInbox(friend, 'the text', { id, text: 'linked by code' });
    });

    test('is not linked by a wrong code', async () => {
      const phone = newPhone();
      const client = here.client(Client);
      const code = await client.showCode(phone);
      const wrong = `${code[0] === 'A' ? 'B' : 'A'}${code.slice(1)}`;
      assert.match(await here.simulator.codeRefused(phone, wrong), /code is wrong/);
    });

    test('writes to a phone and reads what it writes', async () => {
      const client = await here.link(Client);
      const friend = await here.simulator.addPhone();
      const sent = await client.sendText(friend, 'to the phone');
      await here.simulator.inInbox(friend, 'the text', { id: sent, text: 'to the phone', from: client.phone });
      await client.receipt(sent, 'delivered');
      await here.simulator.phoneReads(friend, sent);
      await client.receipt(sent, 'read');

      const got = await here.simulator.phoneSends(friend, client.phone, 'from the phone');
      const message = await client.message('the text', { id: got, text: 'from the phone' });
      assert.ok(message.live, 'it came while the client was there');
      await client.markRead(message);
    });

    test('shares its account with a second companion', async () => {
      const phone = newPhone();
      const [first, second] = [await here.link(Client, phone), await here.link(Other, phone)];
      assert.notEqual(first.device, second.device);
      const friend = await here.link(Client);

      const incoming = await friend.sendText(phone, 'for both');
      for (const device of [first, second]) await device.message('the text', { id: incoming, text: 'for both' });

      for (const [writes, sees] of [[first, second], [second, first]]) {
        const id = await writes.sendText(friend.phone, 'written on one device');
        const copy = await sees.message('the copy', { id });
        assert.equal(copy.text, 'written on one device');
        assert.equal(copy.fromMe, true);
        await friend.message('the text', { id, text: 'written on one device' });
      }
    });

    test('is told that a friend has a new device, and writes to it', async () => {
      const client = await here.link(Client);
      const friend = await here.link(Other);
      await friend.message('the first text', { id: await client.sendText(friend.phone, 'one device') });
      const late = await here.link(Client, friend.phone);
      await client.record.find('the news', ({ node }) => node?.tag === 'notification' && node.attrs.type === 'devices');
      await late.message('the second text', { id: await client.sendText(friend.phone, 'two devices') });
    });

    test('logs out', async () => {
      const client = await here.link(Client);
      await client.logout();
      await here.simulator.unlinked(client.phone, client.device);
      await assert.rejects(here.simulator.unlink(client.phone, client.device), /no linked companion/);
    });

    test('learns that its phone has removed it', async () => {
      const client = await here.link(Client);
      const { mark } = client;
      await here.simulator.unlink(client.phone, client.device);
      const closed = await client.closed('the end of the link', mark);
      for (const [key, value] of Object.entries(GONE[label])) assert.equal(closed[key], value, JSON.stringify(closed));
    });

    test('gives way to a newer socket of its own', async () => {
      const client = await here.link(Client);
      const { mark } = client;
      await client.connectTwin();
      const closed = await client.closed('the end of the older socket', mark);
      assert.match(`${closed.reason}`, /conflict|replaced/);
    });
  });
}
