// Pictures and voice notes: sealed by one client, opened by another, over verified TLS.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';

import { Baileys } from '../clients/baileys.js';
import { Zapo } from '../clients/zapo.js';
import { stage } from '../harness/stage.js';

const here = stage({ media: true });

/** Not one block of the cipher, and not a multiple of its size. */
const picture = randomBytes(70_001);
const sound = randomBytes(9_999);

for (const [One, Other] of [
  [Baileys, Baileys],
  [Baileys, Zapo],
  [Zapo, Baileys],
  [Zapo, Zapo],
]) {
  suite(`${One.label} to ${Other.label}`, () => {
    let one;
    let other;

    test('a picture with a caption', async () => {
      one = await here.link(One);
      other = await here.link(Other);
      const id = await one.sendImage(other.phone, picture, 'look');
      const got = await other.message('the picture', { id, kind: 'image', caption: 'look' });
      assert.ok((await other.download(got)).equals(picture));
      assert.ok((await here.simulator.media(other.phone, id)).equals(picture));
    });

    test('a voice note', async () => {
      const id = await one.sendVoice(other.phone, sound, 7);
      const got = await other.message('the voice note', { id, kind: 'voice', seconds: 7 });
      assert.ok((await other.download(got)).equals(sound));
      assert.ok((await here.simulator.media(other.phone, id)).equals(sound));
    });
  });
}

for (const Client of [Baileys, Zapo]) {
  suite(`a phone to ${Client.label}`, () => {
    test('a picture and a voice note', async () => {
      const client = await here.link(Client);
      const friend = await here.simulator.addPhone();
      for (const [kind, body, bytes] of [
        ['image', { type: 'image', caption: 'from the phone' }, picture],
        ['voice', { type: 'audio', voice: true }, sound],
      ]) {
        const base64 = bytes.toString('base64');
        const id = await here.simulator.phoneSendsBody(friend, client.phone, { ...body, base64 });
        assert.ok((await client.download(await client.message(`the ${kind}`, { id, kind }))).equals(bytes));
      }
    });
  });
}
