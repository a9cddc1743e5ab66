// One test file's simulator and everybody who uses it; all of it is ended after the last test.
import { after, before } from 'node:test';

import { Gateway } from './gateway.js';
import { Simulator, newPhone } from './simulator.js';
import { trust } from './trust.js';

/** A simulator that starts before the file's first test; `stage.link(Client)` gives a linked client of a new phone. */
export function stage({ gateway = false, media = false, ...options } = {}) {
  const things = { clients: [] };
  before(async () => {
    things.simulator = await Simulator.start(options);
    if (media) trust(await things.simulator.certificate());
    if (gateway) things.gateway = await Gateway.start(things.simulator);
  });
  after(async () => {
    // Not waited for: on a busy machine a client may never come to its end, and without a server it has one.
    for (const client of things.clients) client.dispose().catch(() => {});
    await things.gateway?.stop();
    await things.simulator?.stop();
  });
  return {
    get simulator() {
      return things.simulator;
    },
    get gateway() {
      return things.gateway;
    },
    /** A client that is not linked. */
    client(Client, ...more) {
      const client = new Client(things.simulator, `${Client.label} ${things.clients.length + 1}`, ...more);
      things.clients.push(client);
      return client;
    },
    /** A client linked to a phone, a new one and by QR code unless said. */
    async link(Client, phone = newPhone(), how = 'link') {
      const client = await this.client(Client)[how](phone);
      await things.simulator.reachable(client.phone, client.device);
      return client;
    },
  };
}
