// The simulator as a process, and its admin interface.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Program, built } from './process.js';
import { eventually } from './record.js';

let lastPhone = 5_511_988_000_000;

/** A number that no other test of this file has. */
export function newPhone() {
  lastPhone += 1;
  return String(lastPhone);
}

export class Simulator {
  #args;
  #folder;

  /** Starts one on a free port; with `keep` it has a state folder and can be started again. */
  static async start({ keep = false, args = [] } = {}) {
    const simulator = new Simulator();
    simulator.#args = args;
    if (keep) simulator.#folder = await mkdtemp(join(tmpdir(), 'foreign-simulator-'));
    await simulator.#run(0);
    return simulator;
  }

  async #run(port) {
    const state = this.#folder ? ['--state', this.#folder] : [];
    const args = ['--port', String(port), ...state, ...this.#args];
    this.program = new Program('the simulator', built('WHATSAPP_SIMULATOR_BIN'), args);
    this.port = await this.program.port('listening on');
    this.rootKey = Buffer.from((await this.get('root-key')).publicKeyHex, 'hex');
  }

  /** Where media are, over TLS. */
  get host() {
    return `127.0.0.1:${this.port}`;
  }

  /** Where clients connect. */
  get url() {
    return `ws://127.0.0.1:${this.port}/ws/chat`;
  }

  /** Ends it and starts it again at the same address. */
  async restart({ kill = false } = {}) {
    await (kill ? this.program.kill() : this.program.stop());
    await this.#run(this.port);
  }

  async stop() {
    await this.program.stop();
    if (this.#folder) await rm(this.#folder, { recursive: true });
  }

  async #call(method, path, query = {}, body = undefined) {
    const url = new URL(`http://127.0.0.1:${this.port}/admin/${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const response = await fetch(url, { method, body });
    return { status: response.status, body: await response.json() };
  }

  async get(path, query) {
    const { status, body } = await this.#call('GET', path, query);
    assert.equal(status, 200, `GET ${path}: ${JSON.stringify(body)}`);
    return body;
  }

  async post(path, query, body) {
    const answer = await this.#call('POST', path, query, body);
    assert.equal(answer.status, 200, `POST ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** What the simulator says to a call that must fail. */
  async refusal(path, query, body) {
    const answer = await this.#call('POST', path, query, body);
    assert.notEqual(answer.status, 200, `POST ${path} should have been refused`);
    return answer.body.error;
  }

  /** The phone scans; answers the companion once it is linked. */
  scan(phone, qr) {
    return this.post('mock-phone/scan-qr', { phone }, qr);
  }

  /** What the phone says to a QR code that it must not link. */
  scanRefused(phone, qr) {
    return this.refusal('mock-phone/scan-qr', { phone }, qr);
  }

  /** The phone types a pairing code, once the client has asked the server for one; answers the linked companion. */
  async enterCode(phone, code) {
    return eventually(`the simulator to hear of the code for ${phone}`, async () => {
      const { status, body } = await this.#call('POST', 'mock-phone/enter-code', { phone, code });
      if (status === 404 || /asked for a code/.test(body.error)) return undefined;
      assert.equal(status, 200, `enter-code: ${JSON.stringify(body)}`);
      return body;
    });
  }

  /** What the phone says to a wrong code. */
  async codeRefused(phone, code) {
    return eventually(`the simulator to hear of a code for ${phone}`, async () => {
      const { status, body } = await this.#call('POST', 'mock-phone/enter-code', { phone, code });
      assert.notEqual(status, 200, 'the code should have been refused');
      return /asked for a code/.test(body.error) ? undefined : body.error;
    });
  }

  /** Makes a phone that is on WhatsApp without any companion. */
  async addPhone() {
    const phone = newPhone();
    await this.inbox(phone);
    return phone;
  }

  /** A phone writes a text; answers its id. */
  async phoneSends(from, to, text, more = {}) {
    return (await this.post('mock-phone/send', { from, to, text, ...more })).id;
  }

  /** A phone sends something that has fields. */
  async phoneSendsBody(from, to, body) {
    return (await this.post('mock-phone/send', {}, JSON.stringify({ from, to, ...body }))).id;
  }

  /** The phone's owner opens a message. */
  phoneReads(phone, id) {
    return this.post('mock-phone/read', { phone, id });
  }

  unlink(phone, device) {
    return this.post('mock-phone/unlink', { phone, device });
  }

  inbox(phone) {
    return this.get('mock-phone/inbox', { phone });
  }

  /** Waits until the phone has something with all of `part`; fails if it could not read a message. */
  async inInbox(phone, what, part) {
    const wanted = Object.entries(part);
    let seen = [];
    try {
      return await eventually(what, async () => {
        seen = await this.inbox(phone);
        const unreadable = seen.find((entry) => entry.error);
        assert.equal(unreadable, undefined, `the phone could not read ${JSON.stringify(unreadable)}`);
        return seen.find((entry) => wanted.every(([key, value]) => entry[key] === value));
      });
    } catch (error) {
      error.message += `; the inbox of ${phone}: ${JSON.stringify(seen.slice(-10))}`;
      throw error;
    }
  }

  /** What the phone gets when it fetches and opens the medium of a message; waits until it has the message. */
  async media(phone, id) {
    await this.inInbox(phone, 'the message', { id });
    const response = await fetch(`http://127.0.0.1:${this.port}/admin/mock-phone/media?phone=${phone}&id=${id}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, 200, bytes.toString());
    return bytes;
  }

  /** The certificate of the media servers, as PEM. */
  async certificate() {
    return (await fetch(`http://127.0.0.1:${this.port}/admin/certificate`)).text();
  }

  fault(kind, more = {}) {
    return this.post('fault', {}, JSON.stringify({ kind, ...more }));
  }

  stats() {
    return this.get('stats');
  }

  /** How often a fault has struck. */
  async strikes(kind) {
    return (await this.stats()).faults[kind] ?? 0;
  }

  /** Waits until a fault has struck so often: what nobody met has shown nothing. */
  struck(kind, times) {
    return eventually(`${times} strikes of ${kind}`, async () => (await this.strikes(kind)) >= times);
  }

  /** How the simulator sees one companion. */
  async companion(phone, device) {
    const { phones } = await this.stats();
    return phones.find((entry) => entry.phone === phone)?.companions.find((entry) => entry.device === device);
  }

  /** Waits until a companion is settled: others can open sessions with it, and it has read its phone's greeting. */
  reachable(phone, device) {
    return eventually(`${phone}:${device} to be settled`, async () => {
      const companion = await this.companion(phone, device);
      return companion?.prekeys > 0 && companion.waiting === 0;
    });
  }

  /** Waits until the account has no such companion. */
  unlinked(phone, device) {
    return eventually(`${phone}:${device} to be unlinked`, async () => !(await this.companion(phone, device)));
  }

  /** Waits until the simulator knows that a companion is gone from its socket. */
  disconnected(phone, device) {
    return eventually(`${phone}:${device} to be disconnected`, async () => {
      const companion = await this.companion(phone, device);
      return companion && !companion.connected;
    });
  }
}
