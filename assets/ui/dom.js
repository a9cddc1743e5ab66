// What every view is built of.
import { exact, explain, has, relative, t, trail } from './words.js';

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

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function rich(sentence) {
  return sentence.split('**').map((part, index) => (index % 2 ? h('b', {}, part) : part));
}

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

export async function busy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return undefined;
  button.setAttribute('aria-busy', 'true');
  try {
    return await work();
  } finally {
    button.removeAttribute('aria-busy');
  }
}

export function copier(label, copied, text, className = 'btn ghost small') {
  const word = h('span', {}, label);
  const button = h('button', { class: className, type: 'button' });
  let timer = 0;
  button.addEventListener('click', async () => {
    const value = text();
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      // Plain http on another machine has no clipboard API.
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

const sheet = await fetch('/icons.svg')
  .then((answer) => answer.text())
  .then((text) => new DOMParser().parseFromString(text, 'image/svg+xml'))
  .catch(() => new DOMParser().parseFromString('<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml'));

export function svg(tag, facts, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name, className = 'i') {
  const symbol = sheet.getElementById(name);
  return svg('svg', { class: className, viewBox: symbol?.getAttribute('viewBox') ?? '0 0 16 16', 'aria-hidden': 'true' },
    ...[...(symbol?.children ?? [])].map((shape) => document.importNode(shape, true)));
}

export function trouble(title, error, ...buttons) {
  return h('div', { class: 'banner bad-edge', role: 'alert', 'data-testid': 'error', 'data-code': error.code },
    icon('failed'),
    h('div', {}, h('b', {}, title), h('p', {}, explain(error)), h('p', { class: 'mono trail' }, trail(error))),
    h('div', { class: 'row' }, buttons));
}

export const unread = (error) => (error.status === 403
  ? h('p', { class: 'hint', 'data-testid': 'may-not' }, explain(error), explain(error) !== error.message && ` ${error.details?.required_scope ?? ''}`)
  : trouble(t('couldNotLoad'), error));

const SHAPES = { idle: 'pending', good: 'connected', work: 'connecting', warn: 'disconnected', bad: 'failed' };
export const mark = (tone, text) => h('span', { class: tone && `st ${tone}` }, tone && icon(SHAPES[tone]), text);

export const time = (at, text = relative(at)) => h('time', { datetime: at, title: exact(at) }, text);

class Living extends Part {
  show() {
    this.every(this.seconds * 1000, () => { if (!document.hidden) this.load(false); });
    this.load();
  }

  async load(now = true) {
    let made;
    try {
      made = this.paint(await this.get());
    } catch (error) {
      if (this.firstChild && error.status !== 403) return;
      made = unread(error);
    }
    if (this.textContent !== made.textContent && (now || !this.matches(':hover, :focus-within'))) this.replaceChildren(made);
  }
}

customElements.define('wu-living', Living);
export const living = (seconds, get, paint) => Object.assign(h('wu-living', { class: 'sheet' }), { seconds, get, paint });

export const table = (heads, rows) => h('table', { class: 't' }, h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, t(head))))), h('tbody', {}, rows));

export function chips(label, choices, get, set) {
  const row = h('div', { class: 'chips', role: 'group', 'aria-label': label });
  const mark = () => { for (const chip of row.children) chip.setAttribute('aria-pressed', String(chip.value === get())); };
  row.append(...choices.map(([value, text]) => h('button', { class: 'chip', type: 'button', value, onclick: () => { set(value); mark(); } }, text)));
  mark();
  return [row, mark];
}

export function notice(what, error) {
  const area = document.getElementById('notices');
  if (!area || error.status === 401) return;
  const close = h('button', { class: 'btn ghost small icon', type: 'button', 'aria-label': t('close') }, icon('close'));
  const { button, word } = copier(t('copy'), t('copied'), () => `${what}\n${error.message}\n${trail(error)}`, 'btn small');
  button.append(word);
  const box = trouble(t('didNot', what), error, button, close);
  close.addEventListener('click', () => box.remove());
  area.replaceChildren(box);
  box.scrollIntoView({ block: 'nearest' });
}

let spokenAt = 0;

export function say(sentence) {
  const region = document.getElementById('spoken');
  if (!region) return;
  const wait = Math.max(0, spokenAt + 2000 - Date.now());
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { spokenAt = Date.now(); region.textContent = sentence; }, wait);
}

let serial = 0;

export const field = (name, label, control) => h('div', { class: 'labelled' }, h('label', { for: `f-${name}` }, label), h(control, { id: `f-${name}`, name }));

function complain(form, error) {
  const rest = error.details?.fields?.filter(({ path, problem }) => {
    const control = form.elements[path.split(/[.[]/)[1]];
    if (!control) return true;
    const id = `${control.id}-problem`;
    control.setAttribute('aria-invalid', 'true');
    control.setAttribute('aria-describedby', id);
    (control.closest('.row') ?? control).after(h('p', { class: 'bad sm complaint', id, role: 'alert' }, has(`problem.${problem}`) ? t(`problem.${problem}`) : problem));
    return false;
  });
  form.querySelector('[aria-invalid]')?.focus();
  return rest?.length !== 0;
}

export function ask({ title, text, fields = [], verb, verbClass = 'go', testid, alone = false, work }) {
  return new Promise((resolve) => {
    serial += 1;
    const submit = h('button', { class: `btn ${verbClass}`, type: 'submit', 'data-testid': `${testid}-confirm` }, verb);
    const cancel = !alone && h('button', { class: 'btn', type: 'button', onclick: () => dialog.close() }, t('cancel'));
    const problem = h('div', { class: 'problem' });
    const form = h('form', { class: 'pad', novalidate: true },
      h('h2', { id: `ask-${serial}` }, title), text && h('p', { class: 'muted' }, text), fields, problem, h('div', { class: 'row end' }, cancel, submit));
    const dialog = h('dialog', { class: 'sheet dialog', 'aria-labelledby': `ask-${serial}`, 'data-testid': testid }, form);
    let result = null;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      busy(submit, async () => {
        problem.replaceChildren();
        for (const control of form.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
        for (const complaint of form.querySelectorAll('.complaint')) complaint.remove();
        try {
          result = await work(problem);
          if (result !== undefined) dialog.close();
        } catch (error) {
          if (complain(form, error)) problem.replaceChildren(trouble(t('didNot', verb), error));
        }
      });
    });
    if (alone) dialog.addEventListener('cancel', (event) => { event.preventDefault(); form.requestSubmit(); });
    dialog.addEventListener('close', () => { dialog.remove(); resolve(result ?? null); });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('input')?.select();
  });
}

export function askName({ value = '', work, ...rest }) {
  const input = h('input', { class: 'input', maxlength: 100, autocomplete: 'off', placeholder: t('nameHint'), 'data-testid': 'name-input', value });
  return ask({
    ...rest, fields: [field('name', t('name'), input)],
    work: async (problem) => {
      const name = input.value.trim();
      if (name) return (await work(name)) ?? true;
      problem.replaceChildren(h('p', { class: 'bad sm', role: 'alert' }, t('nameEmpty')));
      return void input.focus();
    },
  });
}

export function askSure({ danger = true, name = null, work, ...rest }) {
  const input = h('input', { class: 'input', autocomplete: 'off', 'data-testid': 'confirm-input' });
  return ask({
    ...rest, fields: name !== null && field('sure', rich(t('typeName', name)), input), verbClass: danger ? 'solid-danger' : 'go',
    work: async () => {
      if (name === null || input.value.trim() === name.trim()) return (await work()) ?? true;
      input.focus();
      return void input.select();
    },
  });
}

const paint = (pre, parts) => pre.replaceChildren(...parts.map((part) => (typeof part === 'string' ? part : h('span', { class: part[0] }, part[1]))));

export function codeBlock(caption, testid) {
  const pre = h('pre', { tabindex: '0', 'data-testid': testid });
  const { button, word } = copier(t('copy'), t('copied'), () => pre.dataset.copy ?? pre.textContent);
  button.prepend(icon('copy'));
  button.append(word);
  const block = h('div', { class: 'code' }, h('div', { class: 'code-bar' }, h('span', {}, caption), button), pre);
  return { block, put: (parts) => paint(pre, parts), pre, button };
}

export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(url, { stream = false, json } = {}) {
  const parts = [['p', 'curl'], `${stream ? ' -N' : ''} ${url} \\\n  -H `, ['v', '"Authorization: Bearer $KEY"']];
  if (json) parts.push(' \\\n  --json ', ['v', quoted(JSON.stringify(json))]);
  return parts;
}

export function jsonInto(pre, value) {
  pre.dataset.copy = JSON.stringify(value, null, 2);
  const parts = [];
  for (const [token, string, colon] of pre.dataset.copy.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(:?)|[\w.+-]+|[^"\w.+-]+/g)) {
    const cut = string?.startsWith('"data:') ? string.length - 42 : 0;
    if (cut > 160) parts.push(['v', string.slice(0, 41)], ['p', `… ${t('bytes', cut)}`], ['v', '"']);
    else if (string) parts.push([colon ? 'k' : 'v', string], colon);
    else parts.push(/\w/.test(token) ? ['m', token] : token);
  }
  paint(pre, parts);
}

export const entry = (props) => h('input', { class: 'input', autocomplete: 'off', 'data-first': true, ...props });

export function passwordField(id, autocomplete) {
  const input = entry({ id, type: 'password', autocomplete, maxlength: 200, 'data-testid': id });
  const show = h('button', { class: 'btn', type: 'button', 'aria-pressed': 'false', 'aria-controls': id }, t('show'));
  show.addEventListener('click', () => {
    const hidden = input.type === 'password';
    input.type = hidden ? 'text' : 'password';
    show.setAttribute('aria-pressed', hidden);
  });
  const field = h('div', { class: 'row secret' }, input, show);
  if (autocomplete !== 'new-password') return { input, field };
  const verdict = h('p', { class: 'sm muted', role: 'status', 'data-testid': 'strength' }, t('strength', 0));
  input.addEventListener('input', () => setText(verdict, t('strength', strength(input.value))));
  return { input, field: [field, verdict] };
}

export function strength(text) {
  if (text.length < 10) return 0;
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^a-zA-Z\d]/].filter((kind) => kind.test(text)).length;
  const worth = Math.min(new Set(text).size, text.length / 1.5) * (3 + kinds);
  return worth < 36 ? 1 : worth < 60 ? 2 : 3;
}
