// The public API, by this tab's key, else by the cookie of a sign-in.

export class ApiError extends Error {
  constructor(status, code, message, details = null, requestId = null) {
    super(message);
    Object.assign(this, { status, code, details, requestId });
  }
}

const STORED_KEY = 'whatisup.key';
const ANSWER_WITHIN_MS = 30_000;

class Api extends EventTarget {
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
    if (answer.status === 401 && details?.attempts_left === undefined) this.dispatchEvent(new CustomEvent('refused', { detail: error }));
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

export class EventStream extends EventTarget {
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
        this.#tell('refused', { error });
        return;
      }
      if (error?.status === 400 || error?.status === 404) this.lastEventId = null;
      const backoff = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#attempt) * (0.75 + Math.random() / 4);
      const wait = Math.max(backoff, Math.min(LONGEST_WAIT_MS, (error?.retryAfter ?? 0) * 1000));
      this.#attempt += 1;
      this.#tell('closed', { error, attempt: this.#attempt, retryAt: Date.now() + wait });
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
      this.#tell('open', { resumed: this.lastEventId !== null });
      let rest = '';
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(this.#abort, SILENCE_MS);
        this.#tell('alive');
        const frames = (rest + value).split('\n\n');
        rest = frames.pop();
        for (const frame of frames) {
          const { id, data, '': comment } = Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/s)));
          if (comment === 'caught up') this.#tell('present');
          if (id) this.lastEventId = id;
          if (data) this.#tell('event', { event: JSON.parse(data) });
        }
      }
    } finally {
      clearTimeout(silence);
      clearTimeout(settled);
      abort.abort();
    }
  }

  #tell(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
