// The frame: who is there, and the view the address names.
import { api, ApiError } from './api.js';
import { busy, h, icon, notice, Part, say, setText, trouble } from './dom.js';
import { choose, language, languages, preferred, t, use } from './i18n/index.js';
import { store } from './store.js';
import { door, progress } from './views/sign-in.js';
import { answer, clock, stateOf } from './words.js';

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
