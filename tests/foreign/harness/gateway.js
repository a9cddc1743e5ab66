// The gateway as a process, its HTTP API, and an instance behind the interface that the clients of these tests have.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { Program, built } from './process.js';
import { Record, eventually } from './record.js';

const run = promisify(execFile);

export class Gateway {
  static async start(simulator) {
    const gateway = new Gateway();
    gateway.simulator = simulator;
    gateway.folder = await mkdtemp(join(tmpdir(), 'foreign-gateway-'));
    const state = join(gateway.folder, 'state');
    const program = built('WHATISUP_SANDBOX_BIN');
    const args = ['serve', '--listen', '127.0.0.1:0', '--state', state, '--simulator', simulator.url];
    // A bucket for people would make tests wait.
    gateway.program = new Program('the gateway', program, args, { WHATISUP_LIMITS_BURST: '0' });
    gateway.base = `http://127.0.0.1:${await gateway.program.port('listening on http')}`;
    await eventually('/readyz', async () => (await fetch(`${gateway.base}/readyz`).catch(() => undefined))?.ok);
    const { stdout } = await run(program, ['keys', 'create', '--name', 'foreign', '--state', state]);
    gateway.key = stdout.trim();
    await gateway.#listen();
    return gateway;
  }

  /** Follows `/v1/events` until the end. */
  async #listen() {
    this.events = new Record('the stream of events');
    this.hangUp = new AbortController();
    const headers = { authorization: `Bearer ${this.key}` };
    const stream = await fetch(`${this.base}/v1/events`, { headers, signal: this.hangUp.signal });
    assert.equal(stream.status, 200);
    const decoder = new TextDecoder();
    const read = async () => {
      let text = '';
      for await (const chunk of stream.body) {
        text += decoder.decode(chunk, { stream: true });
        const frames = text.split('\n\n');
        text = frames.pop();
        for (const frame of frames) {
          const data = frame.split('\n').find((line) => line.startsWith('data: '));
          if (data) this.events.add(JSON.parse(data.slice('data: '.length)));
        }
      }
    };
    this.reading = read().catch((error) => this.events.add(`the stream ended: ${error.message}`));
  }

  async call(method, path, status, body) {
    const response = await fetch(`${this.base}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = response.status === 204 ? undefined : await response.json();
    assert.equal(response.status, status, `${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async stop() {
    this.hangUp.abort();
    await this.reading;
    await this.program.stop();
    await rm(this.folder, { recursive: true });
  }

  /** An instance linked to a phone. */
  async link(phone, how = 'link') {
    const made = await this.call('POST', '/v1/instances', 201, { name: phone });
    const instance = new Instance(this, made.id);
    return instance[how](phone);
  }
}

/** One instance of the gateway. */
export class Instance {
  static label = 'the gateway';

  constructor(gateway, id) {
    this.gateway = gateway;
    this.id = id;
    this.record = gateway.events;
  }

  /** A call below the instance. */
  call(method, path, status, body) {
    return this.gateway.call(method, `/v1/instances/${this.id}${path}`, status, body);
  }

  get mark() {
    return this.record.entries.length;
  }

  /** Waits for an event of this instance that has all of `part`. */
  event(name, what, part = {}, options = {}) {
    return this.record.matching(what, { event: name, instance_id: this.id, ...part }, options);
  }

  async link(phone) {
    const from = this.mark;
    const { code } = await this.call('GET', '/qr', 200);
    Object.assign(this, await this.gateway.simulator.scan(phone, code));
    await this.event('instance.connected', 'the connection', { phone_number: phone }, { from });
    return this;
  }

  async linkByCode(phone) {
    const from = this.mark;
    const { code } = await this.call('POST', '/pair-code', 200, { phone_number: phone });
    Object.assign(this, await this.gateway.simulator.enterCode(phone, code));
    await this.event('instance.connected', 'the connection', { phone_number: phone }, { from });
    return this;
  }

  async connect() {
    const from = this.mark;
    await this.call('POST', '/connect', 200);
    await this.event('instance.connected', 'the connection', {}, { from });
  }

  async disconnect() {
    await this.call('POST', '/disconnect', 200);
    await this.gateway.simulator.disconnected(this.phone, this.device);
  }

  logout() {
    return this.call('POST', '/logout', 200);
  }

  /** Waits until the instance stands where it should. */
  becomes(status) {
    return eventually(`the status ${status}`, async () => {
      const now = await this.call('GET', '', 200);
      return now.status === status && now;
    });
  }

  async send(to, body, more = {}) {
    return (await this.call('POST', '/messages', 202, { to, body, ...more })).message_id;
  }

  sendText(to, text) {
    return this.send(to, { type: 'text', text });
  }

  message(what, { id, text }, options) {
    return this.record.find(
      what,
      (entry) =>
        entry.event === 'message.received' &&
        entry.instance_id === this.id &&
        (id === undefined || entry.message_id === id) &&
        (text === undefined || entry.body.text === text) &&
        entry,
      options,
    );
  }

  receipt(id, state, options) {
    return this.event(`message.${state}`, `"${state}" for ${id}`, { message_id: id }, options);
  }

  /** What was told about messages since a mark, in order. */
  messages(from = 0) {
    const own = ({ event, instance_id }) => instance_id === this.id && event.startsWith('message.');
    return this.record.entries.slice(from).filter(own);
  }

  /** Fails unless all that was told about messages so far was told once, and was readable and of a known kind. */
  toldWell() {
    const seen = new Set();
    for (const entry of this.messages()) {
      const { event, message_id, participant, emoji, body } = entry;
      const news = [event, message_id, participant, emoji].join(' ');
      assert.ok(!seen.has(news), `told twice: ${JSON.stringify(entry)}`);
      seen.add(news);
      assert.notEqual(event, 'message.undecryptable', JSON.stringify(entry));
      assert.notEqual(body?.type, 'unsupported', JSON.stringify(entry));
    }
  }
}
