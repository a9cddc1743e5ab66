// What a client, a stream or a log has shown so far, and waiting for something in it.

/** No single step takes longer on a busy machine with two cores. */
export const PATIENCE = 30_000;

const SHOWN = 25;

export class Record {
  #entries = [];
  #waiters = new Set();

  constructor(name) {
    this.name = name;
  }

  get entries() {
    return this.#entries;
  }

  add(entry) {
    this.#entries.push(entry);
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** The first entry, past or future, for which `pick` gives something. */
  async find(what, pick, { from = 0, patience = PATIENCE } = {}) {
    let next = from;
    const look = () => {
      while (next < this.#entries.length) {
        const found = pick(this.#entries[next++]);
        if (found !== undefined && found !== null && found !== false) return { found };
      }
      return undefined;
    };
    const now = look();
    if (now) return now.found;
    return new Promise((resolve, reject) => {
      const finish = (act) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        act();
      };
      const waiter = () => {
        const hit = look();
        if (hit) finish(() => resolve(hit.found));
      };
      const late = new Error(`${this.name}: ${what} did not come in ${patience / 1000} s`);
      const timer = setTimeout(() => {
        late.message += `; the last it saw:\n${this.tail()}`;
        finish(() => reject(late));
      }, patience);
      this.#waiters.add(waiter);
    });
  }

  /** The first entry that has all of `part`. */
  matching(what, part, options) {
    const wanted = Object.entries(part);
    return this.find(what, (entry) => wanted.every(([key, value]) => entry[key] === value) && entry, options);
  }

  tail() {
    return this.#entries
      .slice(-SHOWN)
      .map((entry) => `  ${told(entry)}`.slice(0, 600))
      .join('\n');
  }
}

/** An entry as text. */
export function told(entry) {
  return typeof entry === 'string' ? entry : JSON.stringify(entry, plain);
}

function plain(_key, value) {
  if (value instanceof Error) return value.stack;
  return value?.type === 'Buffer' || value instanceof Uint8Array ? `<${(value.data ?? value).length} bytes>` : value;
}

/** Asks again until the answer is there: for what can only be asked, not listened to. */
export async function eventually(what, ask, { patience = PATIENCE } = {}) {
  const late = new Error(`${what}: not so in ${patience / 1000} s`);
  const end = Date.now() + patience;
  let last;
  for (;;) {
    last = await ask();
    if (last !== undefined && last !== null && last !== false) return last;
    if (Date.now() > end) throw late;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
