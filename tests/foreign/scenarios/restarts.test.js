// A simulator that is stopped or killed comes back with its links, sessions and what waited.
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';

const here = stage({ keep: true });

for (const Client of [Baileys, Zapo]) {
  suite(Client.label, () => {
    for (const [word, how] of [['stopped', {}], ['killed', { kill: true }]]) {
      test(`goes on with a simulator that was ${word} and started again`, async () => {
        const client = await here.link(Client);
        const friend = await here.simulator.addPhone();
        const before = await client.sendText(friend, 'before');
        await here.simulator.inInbox(friend, 'the text', { id: before });

        await client.disconnect();
        const waited = await here.simulator.phoneSends(friend, client.phone, 'waits on the server');
        await here.simulator.restart(how);
        await here.simulator.inInbox(friend, 'the text from before', { id: before, text: 'before' });

        await client.connect();
        await client.message('what waited', { id: waited, text: 'waits on the server' });
        const after = await client.sendText(friend, 'after');
        await here.simulator.inInbox(friend, 'the text', { id: after, text: 'after' });
      });
    }
  });
}
