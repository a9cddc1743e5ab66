// The public API, called with the key of this tab. Nothing here knows the page.

/** What went wrong, in the API's own shape; `gateway_gone` is ours: no answer at all. */
export class ApiError extends Error {
  constructor(status, code, message, details = null, requestId = null) {
    super(message);
    Object.assign(this, { status, code, details, requestId });
  }
}

const STORED_KEY = 'whatisup.key';
const ANSWER_WITHIN_MS = 30_000;

class Api extends EventTarget {
  /** Milliseconds the server's clock is ahead of ours: countdowns must not depend on this computer's clock. */
  skew = 0;
  #key = sessionStorage.getItem(STORED_KEY);

  get key() { return this.#key; }

  /** Kept for this tab only; `null` forgets it. */
  set key(key) {
    this.#key = key;
    if (key) sessionStorage.setItem(STORED_KEY, key);
    else sessionStorage.removeItem(STORED_KEY);
  }

  /** The server's time now, in milliseconds. */
  now() { return Date.now() + this.skew; }

  /** `fetch` with the key and the clock; throws `ApiError` for anything but a success. */
  async fetch(path, { headers = {}, ...options } = {}) {
    let answer;
    try {
      answer = await fetch(path, {
        ...options,
        cache: 'no-store',
        credentials: 'omit',
        headers: { ...headers, Authorization: `Bearer ${this.#key}` },
      });
    } catch (cause) {
      throw new ApiError(0, 'gateway_gone', cause.name === 'TimeoutError' ? 'No answer in time.' : 'The gateway does not answer.');
    }
    const date = Date.parse(answer.headers.get('Date') ?? '');
    // The header has whole seconds: take the middle, and ignore what is only rounding.
    if (date) this.skew = Math.abs(date + 500 - Date.now()) > 1500 ? date + 500 - Date.now() : 0;
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null);
    const { code = `http_${answer.status}`, message = answer.statusText, details = null } = body?.error ?? {};
    const error = new ApiError(answer.status, code, message, details, body?.request_id ?? answer.headers.get('X-Request-Id'));
    error.retryAfter = Number(answer.headers.get('Retry-After')) || 0;
    if (answer.status === 401) this.dispatchEvent(new CustomEvent('refused', { detail: error }));
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

  /** Every page of a list, up to `cap` items. */
  async list(path, cap = 2000) {
    const items = [];
    let cursor = null;
    do {
      const page = await this.get(`${path}?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      items.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor && items.length < cap);
    return items;
  }
}

export const api = new Api();
export const instancePath = (id) => `/v1/instances/${encodeURIComponent(id)}`;
