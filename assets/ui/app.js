// The frame: who is there, and the view the address names; and the door: password, key or set-up.
import { busy, codeBlock, entry, h, icon, notice, Part, passwordField, say, setText, strength, trouble } from './dom.js';
import { api, ApiError, store } from './store.js';
import { answer, choose, clock, explain, language, languages, preferred, stateOf, t, trail, use } from './words.js';

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

const ROOMS = { '': 'overview', instances: 'instance', events: 'overview', webhooks: 'webhooks', keys: 'admin', system: 'admin' };
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
  store.start().catch((error) => store.dispatchEvent(new CustomEvent('trouble', { detail: { error } })));
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
