// Building and living in the page without a framework: one element maker, one base for custom elements, the icons.

/** Makes an element. Functions under `on…` are listeners, `null`/`false` leaves an attribute out. Strings become text, never markup. */
export function h(tag, props = {}, ...children) {
  const element = typeof tag === 'string' ? document.createElement(tag) : tag;
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(2)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child);
  }
}

/** Writes text only if it differs: screen readers and selections stay undisturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Splits a sentence at **bold** marks, so that translators own the whole sentence. */
export function rich(sentence) {
  return sentence.split('**').map((part, index) => (index % 2 ? h('b', {}, part) : part));
}

/** A light-DOM custom element whose listeners and timers end with it. */
export class Part extends HTMLElement {
  #life = null;

  connectedCallback() {
    this.#life = new AbortController();
    this.show();
  }

  disconnectedCallback() {
    this.#life.abort();
    this.gone?.();
  }

  listen(target, types, listener) {
    for (const type of types.split(' ')) target.addEventListener(type, listener, { signal: this.#life.signal });
  }

  every(milliseconds, tick) {
    const timer = setInterval(tick, milliseconds);
    this.#life.signal.addEventListener('abort', () => clearInterval(timer));
  }

  get alive() {
    return this.#life !== null && !this.#life.signal.aborted;
  }
}

/** Keeps the label while something runs, so that the button neither jumps nor can be pressed twice. */
export async function busy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return undefined;
  button.setAttribute('aria-busy', 'true');
  try {
    return await work();
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/** Copies text and says so on the button for two seconds. */
export function copier(label, copied, text, className = 'btn ghost small') {
  const word = h('span', {}, label);
  const button = h('button', { class: className, type: 'button' });
  let timer = 0;
  button.addEventListener('click', async () => {
    const value = text();
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      // Plain http on another machine has no clipboard API: select and copy the old way.
      const area = h('textarea', { class: 'sr', 'aria-hidden': 'true' });
      area.value = value;
      (button.closest('dialog') ?? document.body).append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      button.focus();
    }
    word.textContent = copied;
    clearTimeout(timer);
    timer = setTimeout(() => { word.textContent = label; }, 2000);
  });
  return { button, word };
}

// Icons live in one drawing, /icons.svg; each use clones its shapes, so that page styles reach inside.
const sheet = await fetch('/icons.svg')
  .then((answer) => answer.text())
  .then((text) => new DOMParser().parseFromString(text, 'image/svg+xml'))
  .catch(() => new DOMParser().parseFromString('<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml'));

/** A decorative icon: its meaning is always written beside it or in the label of its control. */
export function icon(name, className = 'i') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const symbol = sheet.getElementById(name);
  svg.setAttribute('class', className);
  svg.setAttribute('viewBox', symbol?.getAttribute('viewBox') ?? '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  for (const shape of symbol?.children ?? []) svg.append(document.importNode(shape, true));
  return svg;
}
