// The public API, by this tab's key, else by the cookie of a sign-in; what this tab knows, which views read and listen to; and the words for it.
class Source extends EventTarget {
  tell(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}

export class ApiError extends Error {
  constructor(status, code, message, details = null, requestId = null) {
    super(message);
    Object.assign(this, { status, code, details, requestId });
  }
}

const STORED_KEY = 'whatisup.key';
const ANSWER_WITHIN_MS = 30_000;

class Api extends Source {
  skew = 0;
  #key = sessionStorage.getItem(STORED_KEY);

  get key() { return this.#key; }

  set key(key) {
    this.#key = key;
    if (key) sessionStorage.setItem(STORED_KEY, key);
    else sessionStorage.removeItem(STORED_KEY);
  }

  now() { return Date.now() + this.skew; }

  async fetch(path, { headers = {}, ...options } = {}) {
    let answer;
    try {
      answer = await fetch(path, {
        ...options,
        cache: 'no-store',
        credentials: this.#key ? 'omit' : 'same-origin',
        headers: this.#key ? { ...headers, Authorization: `Bearer ${this.#key}` } : headers,
      });
    } catch (cause) {
      throw new ApiError(0, 'gateway_gone', cause.name === 'TimeoutError' ? 'No answer in time.' : 'The gateway does not answer.');
    }
    const date = Date.parse(answer.headers.get('Date') ?? '');
    // It has whole seconds: less is only rounding.
    const ahead = date + 500 - Date.now();
    if (date) this.skew = Math.abs(ahead) > 1500 ? ahead : 0;
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null);
    const { code = `http_${answer.status}`, message = answer.statusText, details = null } = body?.error ?? {};
    const error = new ApiError(answer.status, code, message, details, body?.request_id ?? answer.headers.get('X-Request-Id'));
    error.retryAfter = Number(answer.headers.get('Retry-After')) || 0;
    if (answer.status === 401 && details?.attempts_left === undefined) this.tell('refused', error);
    throw error;
  }

  async call(method, path, body) {
    const answer = await this.fetch(path, {
      method,
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
    });
    if (answer.status === 204) return null;
    return answer.json();
  }

  get(path) { return this.call('GET', path); }

  post(path, body) { return this.call('POST', path, body); }

  async list(path, cap = 2000) {
    const items = [];
    let cursor = null;
    do {
      const page = await this.get(`${path}${path.includes('?') ? '&' : '?'}limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      items.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor && items.length < cap);
    return items;
  }
}

export const api = new Api();
export const instancePath = (id) => `/v1/instances/${encodeURIComponent(id)}`;

const SILENCE_MS = 35_000;
const LONGEST_WAIT_MS = 10_000;
const SETTLED_MS = 5_000;

export class EventStream extends Source {
  lastEventId = null;
  #running = false;
  #attempt = 0;
  #wake = () => {};
  #abort = () => {};

  constructor(query = '') { super(); this.path = `/v1/events${query}`; }

  start(lastEventId) {
    this.lastEventId = lastEventId;
    this.#running = true;
    this.#run();
  }

  stop() {
    this.#running = false;
    this.#abort();
    this.#wake();
  }

  nudge() { this.#wake(); }

  async #run() {
    while (this.#running) {
      let error = null;
      try {
        await this.#read();
      } catch (cause) {
        error = cause;
      }
      if (!this.#running) return;
      if (error?.status === 401 || error?.status === 403) {
        this.#running = false;
        this.tell('refused', { error });
        return;
      }
      if (error?.status === 400 || error?.status === 404) this.lastEventId = null;
      const backoff = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#attempt) * (0.75 + Math.random() / 4);
      const wait = Math.max(backoff, Math.min(LONGEST_WAIT_MS, (error?.retryAfter ?? 0) * 1000));
      this.#attempt += 1;
      this.tell('closed', { error, attempt: this.#attempt, retryAt: Date.now() + wait });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.#wake = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  async #read() {
    const abort = new AbortController();
    this.#abort = () => abort.abort();
    let silence = setTimeout(this.#abort, SILENCE_MS);
    let settled = 0;
    try {
      const answer = await api.fetch(this.path, {
        signal: abort.signal,
        headers: { Accept: 'text/event-stream', ...(this.lastEventId ? { 'Last-Event-ID': this.lastEventId } : {}) },
      });
      settled = setTimeout(() => { this.#attempt = 0; }, SETTLED_MS);
      this.tell('open', { resumed: this.lastEventId !== null });
      let rest = '';
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(this.#abort, SILENCE_MS);
        this.tell('alive');
        const frames = (rest + value).split('\n\n');
        rest = frames.pop();
        for (const frame of frames) {
          const { id, data, '': comment } = Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/s)));
          if (comment === 'caught up') this.tell('present');
          if (id) this.lastEventId = id;
          if (data) this.tell('event', { event: JSON.parse(data) });
        }
      }
    } finally {
      clearTimeout(silence);
      clearTimeout(settled);
      abort.abort();
    }
  }
}

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

class Store extends Source {
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
      this.tell('sandbox');
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
    this.tell('instances');
  }

  async loadEndpoints() {
    this.endpoints = await api.list('/v1/webhook-endpoints');
    this.tell('endpoints');
  }

  get failing() { return this.endpoints.filter(({ health }) => health.status === 'failing').length; }

  put(instance) {
    if (!instance?.id) return;
    this.instances.set(instance.id, instance);
    this.tell('instances');
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
    this.tell('instances');
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
      this.tell('chat', { id });
    }
  }

  #opened({ resumed }) {
    this.#openedAt = api.now();
    if (resumed && this.#lostAt) this.#seam = { seam: 'resumed', from: this.#lostAt, to: Date.now(), count: 0 };
    this.#lostAt = 0;
    this.freshAt = Date.now();
    this.#setLink('live');
    this.load().catch((error) => this.tell('trouble', { error }));
  }

  #closed({ error, attempt, retryAt }) {
    if (!this.#lostAt) this.#lostAt = this.freshAt || Date.now();
    this.retryAt = retryAt;
    if (error || attempt > 1) this.#setLink('gone', { error });
  }

  #setLink(link, detail = {}) {
    this.link = link;
    this.tell('link', detail);
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
    this.tell('events', { added });
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
    if (event.event === 'qr.updated') this.tell('qr', { event });
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
        this.tell('chat', { id });
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
    this.tell('chat', { id });
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
          if (error.status === 404 && this.instances.delete(dirty)) this.tell('instances');
        }
      }
    }, GATHER_MS);
  }
}

export const store = new Store();

export const languages = { en: 'English', pt: 'Português', es: 'Español' };
const STORED = 'whatisup.language';

let words = {};
export let language = 'en';

export function preferred() {
  let stored = null;
  try { stored = localStorage.getItem(STORED); } catch { /* storage may be switched off */ }
  const wishes = [stored, ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wishes.find((wish) => wish in languages) ?? 'en';
}

export async function use(wanted) {
  words = (await import(`./i18n/${wanted}.js`)).default;
  language = wanted;
  document.documentElement.lang = language === 'pt' ? 'pt-BR' : language;
}

export async function choose(wanted) {
  await use(wanted);
  try { localStorage.setItem(STORED, wanted); } catch { /* lasts as long as the page then */ }
}

export function t(key, ...parts) {
  const word = words[key] ?? key;
  return typeof word === 'function' ? word(...parts) : word;
}

export const has = (key) => key in words;

const locale = () => ({ pt: 'pt-BR', es: 'es', en: 'en-GB' })[language];

export function clock(time, milliseconds = false) {
  const date = new Date(time);
  return Number.isNaN(+date) ? '' : new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(11, milliseconds ? 23 : 19);
}

const formatters = {};

export function exact(time) {
  formatters[language] ??= new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' });
  return formatters[language].format(new Date(time));
}

const STEPS = [[86_400, 'day'], [3600, 'hour'], [60, 'minute'], [0, 'second']];

export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [step, unit] = STEPS.find(([from]) => seconds >= from);
  const many = Math.floor(seconds / (step || 1));
  return unit === 'day' ? t('day', many) : `${many} ${{ hour: 'h', minute: 'min', second: 's' }[unit]}`;
}

export function relative(time) {
  const [then, now] = [Date.parse(time), api.now()];
  const seconds = (then - now) / 1000;
  if (seconds <= 0 && seconds > -3) return t('justNow');
  const [step, unit] = Math.abs(seconds) < 3 ? [Infinity, 'second'] : STEPS.find(([from]) => Math.abs(seconds) >= from);
  // Days are those of the calendar: what ends on the thirtieth day from now ends in 30 days, in the morning as in the evening.
  const day = (at) => new Date(at).setHours(0, 0, 0, 0) / 1000;
  return new Intl.RelativeTimeFormat(locale(), { numeric: 'auto' }).format(Math.round((unit === 'day' ? day(then) - day(now) : seconds) / (step || 1)), unit);
}

export const area = (name) => t(has(`kind.${name}`) ? `kind.${name}` : name);

export function bytes(count) {
  const [size, unit] = count >= 1e9 ? [1e9, 'gigabyte'] : count >= 1e6 ? [1e6, 'megabyte'] : [1e3, 'kilobyte'];
  return new Intl.NumberFormat(locale(), { style: 'unit', unit, maximumSignificantDigits: 3 }).format(count / size);
}

export const number = (value) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 1 }).format(value);
export const short = (seconds) => `${number(seconds)} s`;

export const dialled = (phone) => (phone ? `+${String(phone).replace(/^\+/, '')}` : '');

export const masked = (address) => String(address ?? '').split(/[@:]/)[0].replace(/^.+(?=.{4}$)/, '…');

const TONES = { pending: 'idle', qr: 'turn', connecting: 'work', connected: 'good', disconnected: 'warn', failed: 'bad' };

export const isOff = ({ status, status_reason: given }) => status === 'disconnected' && given?.code === 'stopped';

export const groupOf = (instance) => (isOff(instance) ? 'off' : { connected: 'up', disconnected: 'work', connecting: 'work' }[instance.status] ?? 'need');

export function stateOf(instance) {
  const { status } = instance;
  return isOff(instance) ? { icon: 'pending', tone: 'idle', word: t('off') } : { icon: status in TONES ? status : 'pending', tone: TONES[status] ?? 'idle', word: t(status) };
}

export function whyOf(instance) {
  const { status, status_reason: given } = instance;
  if (isOff(instance)) return t('why.off');
  const reason = (otherwise) => ((given && (has(`reason.${given.code}`) ? t(`reason.${given.code}`) : given.message)) || t(otherwise)).replace(/^.+?[.!?](?=\s|$)|^.+$/, '**$&**');
  const next = given?.next_attempt_at;
  const wait = Date.parse(next) - api.now();
  const then = wait > 500 ? t('next.attempt', span(wait)) : t(next ? 'next.now' : 'next.itself');
  if (status === 'disconnected') return `${reason('why.disconnected')} ${then}`;
  if (status === 'failed') return `${reason('why.failed')} ${t('next.link')}`;
  return status === 'pending' && given ? `${reason('pending')} ${next ? then : ''}` : t(`why.${status}`);
}

export const sinceOf = ({ status, status_reason: given, status_since: since, created_at: made, updated_at: changed }) => Date.parse(given?.since ?? since ?? (status === 'pending' ? made : changed));

export function sinceText(instance) {
  const age = api.now() - sinceOf(instance);
  return age < 2000 ? t('justNow') : t('sinceFor', span(age));
}

export function answer(instances) {
  const counts = { need: 0, work: 0, up: 0, off: 0 };
  for (const instance of instances) counts[groupOf(instance)] += 1;
  const { need, work, up, off } = counts;
  const total = instances.length;
  if (!total) return { counts, title: t('emptyTitle'), lead: t('emptyLead') };
  if (total === 1) return { counts, title: t({ need: 'oneNeeds', work: 'oneWaits', up: 'oneUp', off: 'oneOff' }[groupOf(instances[0])], instances[0].name), lead: t('quiet') };
  const title = [up === total ? t('allUp', total) : up ? t('someUp', up, total) : t('noneUp', total), need && t('needYou', need)];
  const lead = [work && t('reconnecting', work), off && t('switchedOff', off)];
  return { counts, title: title.filter(Boolean).join(' '), lead: lead.filter(Boolean).join(' ') || t('quiet') };
}

export function explain(error) {
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  return [error.message, error.details?.fields?.map(({ path, problem }) => `${path}: ${problem}`).join('; ')].filter(Boolean).join(' ');
}

export const trail = (error) => [error.code, error.requestId].filter(Boolean).join(' · ');

const LOOKS = {
  'message.received': 'in', 'message.sent': 'tick', 'message.delivered': 'ticks', 'message.read': 'eye', 'message.played': 'eye', 'message.failed': 'failed bad',
  'message.edited': 'out', 'message.revoked': 'out', 'message.reaction': 'in', 'message.undecryptable': 'disconnected warn', 'qr.updated': 'qr turn',
  'instance.connected': 'link good', 'instance.disconnected': 'disconnected warn', 'instance.status': 'overview', 'call.offered': 'call', 'call.ended': 'call',
};

export const looksOf = ({ event }) => (LOOKS[event] ?? 'events').split(' ');

export const KINDS = {
  messages: ['message.received', 'message.sent', 'message.failed', 'message.edited', 'message.revoked', 'message.reaction', 'message.poll_vote', 'message.undecryptable'],
  receipts: ['message.delivered', 'message.read', 'message.played'],
  instances: ['instance.status', 'instance.connected', 'instance.disconnected', 'qr.updated'],
  other: ['call.offered', 'call.ended', 'presence.updated', 'chat.updated', 'contact.updated', 'group.updated', 'group.participants'],
};

export const kindOf = ({ event }) => Object.keys(KINDS).find((kind) => KINDS[kind].includes(event)) ?? 'other';

export function eventLine(event) {
  const { body, error, from, to } = event;
  const [family, fact] = event.event.split('.');
  const at = event.next_attempt_at;
  const parts = {
    'instance.connected': () => [t('ev.linked', masked(event.phone_number))],
    'instance.disconnected': () => [event.reason, at && t('ev.next', clock(at))],
    'instance.status': () => [stateOf(event).word.toLowerCase()],
    'qr.updated': () => [t('ev.qr')],
  }[event.event]?.() ?? [
    /read|played/.test(fact) ? t('ev.by', masked(event.participant ?? to)) : family === 'message' && to ? t('ev.to', masked(to))
      : (from || family === 'message') && t('ev.from', masked(from ?? event.sender?.phone ?? event.chat?.jid)),
    event.is_group && t('ev.group'), event.origin === 'device' && t('ev.device'),
  ];
  parts.push(body?.type === 'text' ? t('ev.text', [...(body.text ?? '')].length) : body?.type, error?.message);
  return parts.filter(Boolean).join(', ');
}
