// What views are built of; the frame: who is there, and the view the address names; and the door: password, key or set-up.
import { answer, api, ApiError, choose, clock, exact, explain, has, language, languages, preferred, relative, stateOf, store, t, trail, use } from './store.js';

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
    const { signal } = this.#life;
    let running = false;
    const timer = setInterval(async () => {
      if (signal.aborted) return clearInterval(timer);
      if (running) return;
      running = true;
      try { await tick(); } finally { running = false; }
    }, milliseconds);
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
    this.every(this.seconds * 1000, () => !document.hidden && this.load(false));
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

const entry = (props) => h('input', { class: 'input', autocomplete: 'off', 'data-first': true, ...props });

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

function strength(text) {
  if (text.length < 10) return 0;
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^a-zA-Z\d]/].filter((kind) => kind.test(text)).length;
  const worth = Math.min(new Set(text).size, text.length / 1.5) * (3 + kinds);
  return worth < 36 ? 1 : worth < 60 ? 2 : 3;
}

// The door.

const STORED = 'whatisup.setup';

function progress(next) {
  if (next) sessionStorage.setItem(STORED, JSON.stringify(next));
  else if (next === null) sessionStorage.removeItem(STORED);
  return JSON.parse(sessionStorage.getItem(STORED));
}

const heading = (title, ...text) => h('div', {}, h('h1', {}, title), h('p', { class: 'muted' }, text));
const shell = (command) => h('div', { class: 'code' }, h('pre', { tabindex: '0' }, command));
const quiet = (testid, label, onclick) => h('button', { class: 'btn ghost small', type: 'button', 'data-testid': testid, onclick }, label);

function form({ testid, label, input, field = input, parts, verb, cause, work }) {
  const problem = h('div', { id: `${testid}-problem`, role: 'alert', 'data-testid': `${testid}-problem` });
  const submit = h('button', { class: 'btn go', type: 'submit', 'data-testid': `${testid}-go` }, verb);
  const refuse = (error) => {
    const left = error.details?.attempts_left;
    problem.replaceChildren(h('p', { class: 'bad sm' }, ...(left === undefined ? [explain(error), ' ', h('span', { class: 'mono trail' }, trail(error))] : [t('wrongPassword', left, error.status)])));
    input?.setAttribute('aria-invalid', 'true');
    input?.select();
    const until = Date.now() + (error.retryAfter || 0) * 1000;
    const tick = () => {
      const seconds = Math.ceil((until - Date.now()) / 1000);
      submit.disabled = seconds > 0;
      setText(submit, seconds > 0 ? t('waitFor', seconds) : verb);
      if (seconds > 0) setTimeout(tick, 250);
    };
    tick();
  };
  const submitted = (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    busy(submit, async () => {
      problem.replaceChildren();
      input?.removeAttribute('aria-invalid');
      await work(input?.value).catch(refuse);
    });
  };
  input?.setAttribute('aria-describedby', problem.id);
  if (cause) queueMicrotask(() => refuse(cause));
  return h('form', { class: 'labelled', novalidate: true, 'data-testid': `${testid}-form`, onsubmit: submitted }, label && h('label', { for: input.id }, label), field, parts?.(submit), problem, submit);
}

function login({ cause, open, toKey }) {
  const { input, field } = passwordField('password', 'current-password');
  return [
    heading(t('signIn'), cause ? t('signInAgain') : t('signInText')),
    h('div', { class: 'sheet pad' }, form({
      testid: 'login', label: t('password'), input, field, verb: t('signIn'), cause: cause?.status === 401 ? null : cause,
      work: async (password) => {
        if (!password) throw new Error(t('passwordEmpty'));
        await api.post('/v1/session', { password });
        open();
      },
    })),
    quiet('use-key', t('useKey'), toKey),
  ];
}

function byKey({ cause, open, toPassword }) {
  const input = entry({ class: 'input mono', id: 'key', type: 'password', spellcheck: 'false', placeholder: 'zpk_live_…', 'data-testid': 'key-input' });
  return [
    heading(t('keyTitle'), t('keyWhy')),
    h('div', { class: 'sheet pad' }, form({
      testid: 'key', label: t('keyLabel'), input, verb: t('keyOpen'), cause,
      work: async (text) => {
        const key = text.trim();
        if (!key) throw new Error(t('keyEmpty'));
        if (!/^[\x21-\x7e]+$/.test(key)) throw new Error(t('error.auth_malformed'));
        api.key = key;
        try {
          await api.get('/v1/instances?limit=1');
        } catch (error) {
          if (error.status !== 403) {
            api.key = null;
            throw error;
          }
        }
        open();
      },
    })),
    toPassword ? quiet('use-password', t('usePassword'), toPassword) : h('div', {}, h('p', { class: 'sm muted' }, t('keyNone')), shell('whatisup keys create --name dashboard')),
  ];
}

const noPassword = ({ cause, toKey }) => [
  heading(t('noPassword'), cause && h('b', { class: 'bad' }, explain(cause), ' '), t('noPasswordText')), shell('whatisup setup-link'), quiet('use-key', t('useKey'), toKey),
];

const STEPS = [
  function choosePassword(open) {
    const { input, field } = passwordField('password', 'new-password');
    return form({
      testid: 'setup', label: t('password'), input, field, verb: t('setPassword'),
      work: async (password) => {
        if (!strength(password)) throw new Error(t('strength', 0));
        try {
          await api.post('/v1/setup', { token: progress().token, password });
          progress({});
          open();
        } catch (error) {
          if (error.status !== 401 && error.status !== 409) throw error;
          progress(null);
          open(error.status === 401 ? new Error(t('linkUsed')) : null);
        }
      },
    });
  },
  function takeKey(open) {
    const { key } = progress();
    const { block, put } = codeBlock(t('keyOnce'), 'first-key');
    put([key ?? '']);
    const stored = (submit) => {
      submit.disabled = true;
      return [block, h('label', { class: 'check' }, h('input', { type: 'checkbox', 'data-first': true, 'data-testid': 'stored', onchange: (event) => { submit.disabled = !event.target.checked; } }), t('stored'))];
    };
    return form({
      testid: 'first-key', verb: t(key ? 'goOn' : 'keyMake'), parts: key ? stored : () => h('p', { class: 'sm muted' }, t('keyFor')),
      work: async () => {
        progress(key ? { last: true } : { key: (await api.post('/v1/api-keys', { name: t('firstKey') })).secret });
        open();
      },
    });
  },
  function firstInstance(open) {
    const input = entry({ id: 'name', maxlength: 100, placeholder: t('nameHint'), 'data-testid': 'name-input' });
    const end = (place) => {
      progress(null);
      history.replaceState(null, '', place);
      open();
    };
    return form({
      testid: 'first-instance', label: t('name'), input, verb: t('create'), parts: () => h('p', { class: 'sm muted' }, t('createText')),
      work: async (name) => {
        if (!name.trim()) throw new Error(t('nameEmpty'));
        const { id } = await store.create(name.trim());
        end(`#/instances/${id}/qr`);
      },
    });
  },
];

function setUp(at, open) {
  const now = at.token ? 0 : at.last ? 2 : 1;
  return [heading(t('setUp'), t('setUpText')), h('ol', { class: 'steps setup' }, STEPS.map((step, index) => h('li', { class: 'sheet', 'aria-current': index === now && 'step' },
    h('h2', {}, t(`setUp.${index}`), index < now && [icon('tick'), h('span', { class: 'sr' }, t('done'))]), index === now && step(open))))];
}

function door({ password_set: known, session, cause, refusedKey, open, settings }) {
  const main = h('main', { class: 'door', id: 'main', tabindex: '-1' });
  const at = progress();
  const show = (...parts) => {
    main.replaceChildren(icon('logo', 'i mark'), ...parts, settings());
    main.querySelector('[data-first]')?.focus();
  };
  const toPassword = () => show(...login({ open, toKey }));
  function toKey() { show(...byKey({ open, toPassword: known ? toPassword : null })); }
  if (refusedKey || known === undefined) show(...byKey({ cause, open, toPassword: known ? toPassword : null }));
  else if (at && (session || at.token)) show(...setUp(at, open));
  else show(...(known ? login : noPassword)({ cause, open, toKey }));
  return main;
}

const THEMES = ['system', 'light', 'dark'];

function takeFromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const [key, token, instance] = ['key', 'setup', 'instance'].map((name) => parts.get(name));
  if (key === null && token === null) return false;
  if (key) api.key = key;
  if (token) {
    api.key = null;
    progress({ token });
  }
  history.replaceState(null, '', instance ? `#/instances/${encodeURIComponent(instance)}` : '#/');
  return true;
}

function themeButton() {
  const root = document.documentElement;
  const button = h('button', { class: 'btn ghost small icon', type: 'button', 'data-testid': 'theme' }, icon('sun'));
  const show = (theme) => {
    button.title = t('theme', theme);
    button.setAttribute('aria-label', button.title);
  };
  const now = () => root.dataset.theme ?? 'system';
  show(now());
  button.addEventListener('click', () => {
    const next = THEMES[(THEMES.indexOf(now()) + 1) % 3];
    if (next === 'system') delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem('whatisup.theme', next); } catch { /* lasts as long as the page then */ }
    show(next);
  });
  return button;
}

function settings() {
  const select = h('select', { class: 'input quiet', 'aria-label': t('language'), 'data-testid': 'language' },
    Object.entries(languages).map(([code, name]) => h('option', { value: code, lang: code, selected: code === language }, name)));
  select.addEventListener('change', async () => {
    await choose(select.value).catch(() => {});
    build();
    document.querySelector('[data-testid="language"]')?.focus();
  });
  return h('div', { class: 'row settings' }, select, themeButton());
}

function frame() {
  const badge = (id) => h('span', { class: 'n turn', hidden: true, id });
  const link = (href, symbol, label, extra) => h('li', {}, h('a', { href, 'data-nav': href }, icon(symbol), label, extra));
  const docs = (className) => h('a', { class: className, href: '/docs' }, icon('docs'), t('api'));
  const out = h('button', { class: 'btn ghost small', type: 'button', 'data-testid': api.key ? 'forget-key' : 'sign-out', onclick: () => signOut(out) }, icon(api.key ? 'key' : 'out'), t(api.key ? 'forget' : 'signOut'));
  return [
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, t('skip')),
    h('div', { class: 'app' },
      h('header', { class: 'rail' },
        h('a', { class: 'brand', href: '#/', 'aria-label': `WhatIsUp, ${t('overview').toLowerCase()}` }, icon('logo', 'i')),
        h('nav', { class: 'nav', 'aria-label': t('main') }, h('ul', {},
          link('#/', 'overview', t('overview'), badge('needed')), link('#/events', 'events', t('events')), link('#/webhooks', 'hook', t('webhooks'), badge('failing')),
          link('#/keys', 'key', t('keys')), link('#/system', 'system', t('system')), h('li', { class: 'wide' }, docs()))),
        h('div', { class: 'rail-live' }, h('wu-live'))),
      h('main', { class: 'main', id: 'main', tabindex: '-1' },
        h('p', { class: 'ribbon', id: 'sandbox', hidden: !store.sandbox, 'data-testid': 'sandbox-ribbon' }, h('b', {}, t('sandbox')), ' ', h('span', {}, t('sandboxWhat'))),
        h('div', { class: 'sr', role: 'status', id: 'spoken' }), h('wu-gone'), h('div', { id: 'notices' }), h('div', { id: 'view' })),
      h('footer', { class: 'foot' }, h('wu-live'), settings(), out, docs('btn ghost small narrow'), h('span', { class: 'ver' }, location.host))),
  ];
}

const ROOMS = { '': 'overview', instances: 'instance', events: 'overview', webhooks: 'webhooks', keys: 'webhooks', system: 'webhooks' };
const address = () => location.hash.replace(/^#\/?/, '').split('?')[0].split('/').map(decodeURIComponent);
let shown = 0;
let failed = 0;

async function route() {
  const [named, id, more] = address();
  const room = named in ROOMS && (id || named !== 'instances') ? named : '';
  shown += 1;
  const turn = shown;
  let make;
  try {
    // Browsers may remember a failure.
    ({ view: make, [room]: make = make } = await import(`./views/${ROOMS[room]}.js${failed ? `?${failed}` : ''}`));
  } catch {
    failed += 1;
    make = () => trouble(t('roomFailed'), new ApiError(0, 'gateway_gone'), h('button', { class: 'btn small', type: 'button', onclick: route }, t('tryAgain')));
    const again = () => {
      if (store.link !== 'live') return;
      store.removeEventListener('link', again);
      if (turn === shown) route();
    };
    store.addEventListener('link', again);
  }
  const place = document.getElementById('view');
  if (!place || turn !== shown) return;
  document.getElementById('notices').replaceChildren();
  place.replaceChildren(make(id, more));
  const current = `#/${room === 'instances' ? '' : room}`;
  for (const link of document.querySelectorAll('[data-nav]')) {
    if (link.dataset.nav === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  count();
}

function count() {
  const { counts } = answer([...store.instances.values()]);
  const put = (id, number, words) => {
    const badge = document.getElementById(id);
    if (!badge) return;
    badge.hidden = !number;
    badge.replaceChildren(h('span', { class: 'sr' }, t(words)), String(number));
  };
  put('needed', counts.need, 'needYouSr');
  put('failing', store.failing, 'failingSr');
  if (!entered) return;
  const [room, id] = address();
  const name = store.instances.get(id)?.name ?? t(room in ROOMS && room && room !== 'instances' ? room : 'overview');
  setText(document.querySelector('title'), `${counts.need ? `(${counts.need}) ` : ''}${name} · WhatIsUp`);
}

const spoken = new Map();

function speak() {
  for (const instance of store.instances.values()) {
    const { word } = stateOf(instance);
    const before = spoken.get(instance.id);
    spoken.set(instance.id, word);
    if (before && before !== word) say(t('said', instance.name, word));
  }
}

const seenAt = () => clock(store.freshAt || Date.now());

customElements.define('wu-live', class extends Part {
  show() {
    this.className = 'live';
    const render = () => {
      this.dataset.link = store.link;
      setText(this, { live: t('live'), connecting: t('connecting'), refused: t('noEvents'), gone: t('from', seenAt()) }[store.link]);
    };
    render();
    this.listen(store, 'link', render);
  }
});

customElements.define('wu-gone', class extends Part {
  show() {
    const text = h('p', {});
    const box = h('div', { class: 'banner soft', 'data-testid': 'banner', hidden: true }, icon('connecting'), h('div', { role: 'status' }, h('b', {}, t('gone')), text),
      h('button', { class: 'btn small', type: 'button', onclick: () => store.retryNow() }, t('tryNow')));
    this.replaceChildren(box);
    const render = () => {
      const gone = store.link === 'gone';
      box.hidden = !gone;
      document.documentElement.toggleAttribute('data-gone', gone);
      for (const control of document.querySelectorAll('[data-write]')) control.disabled = gone;
      const wait = Math.ceil((store.retryAt - Date.now()) / 1000);
      if (gone) setText(text, t('goneText', seenAt(), wait > 0 ? t('goneRetry', wait) : t('goneNow')));
    };
    render();
    this.listen(store, 'link', render);
    this.every(500, render);
  }
});

let entered = false;
let outside = {};

function enter() {
  entered = true;
  build();
  store.start().catch((error) => store.tell('trouble', { error }));
}

async function open(error = null, refusedKey = false) {
  if (entered) store.stop();
  entered = false;
  spoken.clear();
  takeFromAddress();
  if (api.key) return enter();
  outside = { refusedKey, ...await api.get('/v1/session').catch((cause) => ({ cause })) };
  if (outside.password_set && progress()?.token) progress(null);
  if (outside.session && !progress()) return enter();
  outside.cause ??= error;
  build();
  if (outside.cause?.status === 0) setTimeout(() => { if (!entered) open(); }, 3000);
  return undefined;
}

async function signOut(button) {
  try {
    if (!api.key) await busy(button, () => api.call('DELETE', '/v1/session'));
    api.key = null;
    open();
  } catch (error) {
    notice(t('signOut'), error);
  }
}

function build() {
  if (entered) {
    document.body.replaceChildren(...frame());
    route();
  } else {
    document.documentElement.removeAttribute('data-gone');
    document.body.replaceChildren(door({ ...outside, open, settings }));
    document.title = `${document.querySelector('h1').textContent.replace(/\.$/, '')} · WhatIsUp`;
    document.querySelector('[data-first]')?.focus();
  }
}

addEventListener('hashchange', () => {
  if (/[#&](key|setup)=/.test(location.hash)) return open();
  if (!entered) return undefined;
  route();
  document.getElementById('main').focus({ preventScroll: true });
  return scrollTo(0, 0);
});
addEventListener('online', () => store.retryNow());
document.addEventListener('visibilitychange', () => { if (!document.hidden && store.link === 'gone') store.retryNow(); });
api.addEventListener('refused', ({ detail }) => {
  if (!entered) return;
  const refusedKey = Boolean(api.key);
  api.key = null;
  open(detail, refusedKey);
});
store.addEventListener('instances', () => { count(); speak(); });
store.addEventListener('endpoints', count);
store.addEventListener('sandbox', () => {
  const ribbon = document.getElementById('sandbox');
  if (ribbon) ribbon.hidden = false;
});

await use(preferred());
open();
