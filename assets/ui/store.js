// What this tab knows. Views read it and listen.
import { api, EventStream, instancePath } from './api.js';

const KEPT_EVENTS = 500;
const KEPT_MESSAGES = 50;
const REFILLED_EVENTS = 100;
const RESUME_FROM = 'whatisup.resume';
const REFRESH_MS = 30_000;
const GATHER_MS = 150;

const RANK = { sending: 0, queued: 1, sent: 2, delivered: 3, read: 4, played: 5, failed: 9 };
const MESSAGE_STATES = {
  'message.sent': 'sent', 'message.delivered': 'delivered', 'message.read': 'read', 'message.played': 'read', 'message.failed': 'failed',
};

class Store extends EventTarget {
  instances = new Map();
  events = [];
  link = 'connecting';
  retryAt = 0;
  freshAt = 0;
  loaded = false;
  sandbox = null;
  endpoints = [];
  endpointsToo = true;
  #chats = new Map();
  #states = new Map();
  #seen = new Set();
  #stream = null;
  #dirty = new Set();
  #gathering = 0;
  #timer = 0;
  #lostAt = 0;
  #seam = null;
  #openedAt = 0;
  #loading = null;

  async start() {
    this.#timer = setInterval(() => { if (!document.hidden && this.link !== 'gone') this.load().catch(() => {}); }, REFRESH_MS);
    this.#stream = new EventStream();
    this.#stream.addEventListener('open', ({ detail }) => this.#opened(detail));
    this.#stream.addEventListener('alive', () => { this.freshAt = Date.now(); });
    this.#stream.addEventListener('event', ({ detail }) => this.#take(detail.event));
    this.#stream.addEventListener('closed', ({ detail }) => this.#closed(detail));
    this.#stream.addEventListener('refused', ({ detail }) => this.#setLink('refused', detail));
    this.#stream.start(sessionStorage.getItem(RESUME_FROM));
    api.get('/v1/system').then(async ({ sandbox }) => {
      if (!sandbox) return;
      this.sandbox = await api.get('/v1/sandbox');
      this.#tell('sandbox');
    }).catch(() => {});
    await this.load();
  }

  stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#gathering);
    this.#stream?.stop();
    this.#stream = null;
    sessionStorage.removeItem(RESUME_FROM);
    Object.assign(this, { instances: new Map(), events: [], endpoints: [], endpointsToo: true, link: 'connecting', loaded: false, sandbox: null });
    this.#chats.clear();
    this.#states.clear();
    this.#seen.clear();
    this.#dirty.clear();
    this.#lostAt = 0;
    this.#seam = null;
    this.#loading = null;
  }

  retryNow() { this.#stream?.nudge(); }

  load() {
    this.#loading ??= this.#load(this.#stream).finally(() => { this.#loading = null; });
    return this.#loading;
  }

  async #load(stream) {
    const list = await api.list('/v1/instances');
    if (stream !== this.#stream) return;
    if (this.endpointsToo) this.loadEndpoints().catch(({ status }) => { this.endpointsToo = status !== 403; });
    this.instances = new Map(list.map((instance) => [instance.id, instance]));
    this.loaded = true;
    this.freshAt = Date.now();
    this.#tell('instances');
  }

  async loadEndpoints() {
    this.endpoints = await api.list('/v1/webhook-endpoints');
    this.#tell('endpoints');
  }

  get failing() { return this.endpoints.filter(({ health }) => health.status === 'failing').length; }

  put(instance) {
    if (!instance?.id) return;
    this.instances.set(instance.id, instance);
    this.#tell('instances');
  }

  async create(name) {
    const instance = await api.post('/v1/instances', { name });
    this.put(instance);
    return instance;
  }

  async rename(id, name) { this.put(await api.call('PATCH', instancePath(id), { name })); }

  async act(id, verb) { this.put(await api.post(`${instancePath(id)}/${verb}`)); }

  async remove(id) {
    await api.call('DELETE', instancePath(id));
    this.instances.delete(id);
    this.#tell('instances');
  }

  chat(id) {
    if (!this.#chats.has(id)) this.#chats.set(id, []);
    return this.#chats.get(id);
  }

  async send(id, to, text) {
    const message = { id: null, mine: true, to, text, at: Date.now(), state: 'sending', error: null };
    this.#say(id, message);
    try {
      const answer = await api.post(`${instancePath(id)}/messages`, { to, body: { type: 'text', text } });
      message.id = answer.message_id;
      // Its events may have overtaken the answer.
      const known = this.#states.get(message.id);
      this.#advance(message, known?.state ?? (answer.status === 'queued' ? 'queued' : 'sending'), known);
    } catch (error) {
      Object.assign(message, { state: 'failed', error });
      throw error;
    } finally {
      this.#tell('chat', { id });
    }
  }

  #opened({ resumed }) {
    this.#openedAt = api.now();
    if (resumed && this.#lostAt) this.#seam = { seam: 'resumed', from: this.#lostAt, to: Date.now(), count: 0 };
    this.#lostAt = 0;
    this.freshAt = Date.now();
    this.#setLink('live');
    this.load().catch((error) => this.#tell('trouble', { error }));
  }

  #closed({ error, attempt, retryAt }) {
    if (!this.#lostAt) this.#lostAt = this.freshAt || Date.now();
    this.retryAt = retryAt;
    if (error || attempt > 1) this.#setLink('gone', { error });
  }

  #setLink(link, detail = {}) {
    this.link = link;
    this.#tell('link', detail);
  }

  #take(event) {
    if (event.event_id) {
      if (this.#seen.has(event.event_id)) return;
      this.#seen.add(event.event_id);
      if (this.#seen.size > 4 * KEPT_EVENTS) this.#seen = new Set([...this.#seen].slice(-2 * KEPT_EVENTS));
    }
    const added = [];
    if (event.event === 'stream.gap') {
      added.push({ seam: 'gap', event });
    } else {
      this.#joinSeam(event, added);
      added.push(event);
      this.#follow(event);
    }
    this.events.unshift(...added.toReversed());
    this.events.length = Math.min(this.events.length, KEPT_EVENTS);
    const oldest = this.events.slice(0, REFILLED_EVENTS).findLast((kept) => kept.event_id);
    if (oldest) sessionStorage.setItem(RESUME_FROM, oldest.event_id);
    this.#tell('events', { added });
  }

  #joinSeam(event, added) {
    if (!this.#seam) return;
    if (Date.parse(event.occurred_at) < this.#openedAt) {
      this.#seam.count += 1;
      if (this.#seam.count === 1) added.push(this.#seam);
    } else {
      this.#seam = null;
    }
  }

  #follow(event) {
    const id = event.instance_id;
    const state = MESSAGE_STATES[event.event];
    if (event.event === 'qr.updated') this.#tell('qr', { event });
    if (event.event.startsWith('instance.') || event.event === 'qr.updated') {
      const instance = this.instances.get(id);
      const status = event.event === 'instance.connected' ? 'connected' : event.status;
      if (instance && typeof status === 'string' && status !== instance.status && event.occurred_at >= instance.updated_at) {
        this.put({ ...instance, status, status_reason: event.status_reason ?? null, status_since: event.occurred_at });
      }
      if (event.event !== 'qr.updated' || instance?.status !== 'qr') this.#refresh(id);
    }
    if (event.event === 'message.received' && event.body) {
      this.#say(id, {
        id: event.message_id, mine: false, from: event.from ?? event.sender?.phone, name: event.push_name ?? event.sender?.name,
        text: event.body.text ?? null, type: event.body.type, at: Date.parse(event.occurred_at), state: null,
      });
    } else if (event.event === 'message.sent' && event.origin === 'device' && event.body) {
      this.#say(id, {
        id: event.message_id, mine: true, to: event.to, text: event.body.text ?? null, type: event.body.type,
        at: Date.parse(event.occurred_at), state: 'sent', byPhone: true,
      });
    } else if (state) {
      const known = this.#states.get(event.message_id);
      const next = { state, error: event.error ?? null, at: Date.parse(event.occurred_at) };
      if (!known || RANK[state] > RANK[known.state]) this.#states.set(event.message_id, next);
      if (this.#states.size > KEPT_EVENTS) this.#states.delete(this.#states.keys().next().value);
      const message = this.chat(id).find((candidate) => candidate.id === event.message_id);
      if (message) {
        this.#advance(message, state, next);
        this.#tell('chat', { id });
      }
    }
  }

  #advance(message, state, fact = null) {
    if (RANK[state] < RANK[message.state] || message.state === 'failed') return;
    message.state = state;
    if (fact?.error) message.error = fact.error;
    if (state === 'delivered' && fact) message.deliveredAfter = Math.max(0, fact.at - api.skew - message.at);
  }

  #say(id, message) {
    const chat = this.chat(id);
    if (message.id && chat.some((known) => known.id === message.id)) return;
    chat.push(message);
    if (chat.length > KEPT_MESSAGES) chat.shift();
    this.#tell('chat', { id });
  }

  #refresh(id) {
    if (!id) return;
    this.#dirty.add(id);
    if (this.#gathering) return;
    this.#gathering = setTimeout(async () => {
      this.#gathering = 0;
      const ids = [...this.#dirty];
      this.#dirty.clear();
      if (ids.length > 4) return void this.load().catch(() => {});
      for (const dirty of ids) {
        try {
          this.put(await api.get(instancePath(dirty)));
        } catch (error) {
          if (error.status === 404 && this.instances.delete(dirty)) this.#tell('instances');
        }
      }
    }, GATHER_MS);
  }

  #tell(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}

export const store = new Store();
