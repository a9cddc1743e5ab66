// The page: takes the key, builds the frame, shows the view the address names.
import { api } from './api.js';
import { h, icon, Part, say, setText } from './dom.js';
import './elements/chat-check.js';
import './elements/event-list.js';
import './elements/qr-panel.js';
import './elements/sandbox-phone.js';
import { choose, language, languages, preferred, t, use } from './i18n/index.js';
import { store } from './store.js';
import { signIn } from './views/sign-in.js';
import { answer, clock, stateOf } from './words.js';

const THEMES = ['system', 'light', 'dark'];
const THEME = 'whatisup.theme';

/** A printed link carries the key behind the `#`, which never reaches the server; it is taken and removed at once. */
function takeKeyFromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const key = parts.get('key');
  if (key === null) return;
  if (key) api.key = key;
  const instance = parts.get('instance');
  history.replaceState(null, '', `${location.pathname}${instance ? `#/instances/${encodeURIComponent(instance)}` : '#/'}`);
}

function themeButton() {
  const now = () => document.documentElement.dataset.theme ?? 'system';
  const button = h('button', { class: 'btn ghost small icon', type: 'button', 'aria-label': t('theme', now()), title: t('theme', now()), 'data-testid': 'theme' }, icon('sun'));
  button.addEventListener('click', () => {
    const next = THEMES[(THEMES.indexOf(now()) + 1) % THEMES.length];
    if (next === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try { localStorage.setItem(THEME, next); } catch { /* lasts as long as the page then */ }
    button.title = t('theme', next);
    button.setAttribute('aria-label', button.title);
  });
  return button;
}

function languageSwitch() {
  const select = h('select', { class: 'input quiet', 'aria-label': t('language'), 'data-testid': 'language' },
    Object.entries(languages).map(([code, name]) => h('option', { value: code, lang: code, selected: code === language }, name)));
  select.addEventListener('change', async () => {
    await choose(select.value);
    build();
    document.querySelector('[data-testid="language"]')?.focus();
  });
  return select;
}

const settings = () => h('div', { class: 'row settings' }, languageSwitch(), themeButton());

function frame() {
  const link = (href, symbol, label, extra) => h('li', {}, h('a', { href, 'data-nav': href }, icon(symbol), label, extra));
  const needed = h('span', { class: 'n turn', hidden: true, id: 'needed' });
  const ribbon = h('p', { class: 'ribbon', id: 'sandbox', hidden: !store.sandbox, 'data-testid': 'sandbox-ribbon' }, h('b', {}, t('sandbox')), ' ', h('span', {}, t('sandboxWhat')));
  return [
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, t('skip')),
    h('div', { class: 'app' },
      h('header', { class: 'rail' },
        h('a', { class: 'brand', href: '#/', 'aria-label': `WhatIsUp, ${t('overview').toLowerCase()}` }, icon('logo', 'i')),
        h('nav', { class: 'nav', 'aria-label': t('main') }, h('ul', {},
          link('#/', 'overview', t('overview'), needed), link('#/events', 'events', t('events')), link('#/webhooks', 'hook', t('webhooks')),
          link('#/keys', 'key', t('keys')), link('#/system', 'system', t('system')), link('/openapi.json', 'docs', t('api')))),
        h('div', { class: 'rail-live' }, h('wu-live'))),
      h('main', { class: 'main', id: 'main', tabindex: '-1' }, ribbon, h('wu-gone'), h('div', { id: 'notices' }), h('div', { id: 'view' })),
      h('footer', { class: 'foot' }, h('wu-live'), settings(),
        h('button', { class: 'btn ghost small', type: 'button', 'data-testid': 'forget-key', onclick: leave }, icon('key'), t('forget')),
        h('span', { class: 'ver' }, location.host))),
    h('div', { class: 'sr', role: 'status', id: 'spoken' }),
  ];
}

/** What the address names: `#/<room>/<id>/<more>`; without a room it is the overview. Views are loaded when they are first shown. */
const ROOMS = {
  '': () => import('./views/overview.js'), instances: () => import('./views/instance.js'), events: () => import('./views/events.js'),
  webhooks: () => import('./views/webhooks.js'), keys: () => import('./views/keys.js'), system: () => import('./views/system.js'),
};
const address = () => location.hash.replace(/^#\/?/, '').split('?')[0].split('/').map(decodeURIComponent);
let shown = 0;

/** A view's module exports `view(id, more)`, which makes its element. */
async function route() {
  takeKeyFromAddress();
  const [named, id, more] = address();
  const room = named in ROOMS && (id || named !== 'instances') ? named : '';
  shown += 1;
  const turn = shown;
  const { view } = await ROOMS[room]();
  const place = document.getElementById('view');
  // Somebody went on while the module was loaded.
  if (!place || turn !== shown) return;
  document.getElementById('notices').replaceChildren();
  place.replaceChildren(view(id, more));
  const current = `#/${room === 'instances' ? '' : room}`;
  for (const link of document.querySelectorAll('[data-nav]')) {
    if (link.dataset.nav === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  count();
}

/** What waits, in the menu and in the tab's title. */
function count() {
  const needed = document.getElementById('needed');
  if (!needed) return;
  const { counts } = answer([...store.instances.values()]);
  needed.hidden = !counts.need;
  needed.replaceChildren(h('span', { class: 'sr' }, t('needYouSr')), String(counts.need));
  const [room, id] = address();
  const name = store.instances.get(id)?.name ?? t(room in ROOMS && room && room !== 'instances' ? room : 'overview');
  setText(document.querySelector('title'), `${counts.need ? `(${counts.need}) ` : ''}${name} · WhatIsUp`);
}

const spoken = new Map();

/** Tells a screen reader what changed state, not what it already knew. */
function speak() {
  for (const instance of store.instances.values()) {
    const { word } = stateOf(instance);
    const before = spoken.get(instance.id);
    spoken.set(instance.id, word);
    if (before && before !== word) say(t('said', instance.name, word));
  }
}

// Whether the gateway answers: "Live" in the rail, and a banner with a countdown when it is gone.

class Live extends Part {
  show() {
    this.className = 'live';
    const render = () => {
      this.dataset.link = store.link;
      setText(this, {
        live: t('live'), connecting: t('connecting'), refused: t('noEvents'), gone: t('from', clock(store.freshAt || Date.now())),
      }[store.link]);
    };
    render();
    this.listen(store, 'link', render);
  }
}

class GoneBanner extends Part {
  show() {
    this.text = h('p', {});
    const retry = h('button', { class: 'btn small', type: 'button', onclick: () => store.retryNow() }, t('tryNow'));
    this.box = h('div', { class: 'banner soft', 'data-testid': 'banner', hidden: true },
      icon('connecting'), h('div', { role: 'status' }, h('b', {}, t('gone')), this.text), retry);
    this.replaceChildren(this.box);
    this.render();
    this.listen(store, 'link', () => this.render());
    this.every(500, () => this.render());
  }

  render() {
    const gone = store.link === 'gone';
    this.box.hidden = !gone;
    document.documentElement.toggleAttribute('data-gone', gone);
    for (const control of document.querySelectorAll('[data-write]')) control.disabled = gone;
    if (!gone) return;
    const wait = Math.ceil((store.retryAt - Date.now()) / 1000);
    setText(this.text, t('goneText', clock(store.freshAt || Date.now()), wait > 0 ? t('goneRetry', wait) : t('goneNow')));
  }
}

customElements.define('wu-live', Live);
customElements.define('wu-gone', GoneBanner);

let entered = false;

function enter() {
  entered = true;
  build();
  store.start().catch((error) => store.dispatchEvent(new CustomEvent('trouble', { detail: { error } })));
}

function leave(event, error = null) {
  api.key = null;
  entered = false;
  store.stop();
  spoken.clear();
  build(error);
}

function build(error = null) {
  if (entered) {
    document.body.replaceChildren(...frame());
    route();
  } else {
    document.title = 'WhatIsUp';
    document.documentElement.removeAttribute('data-gone');
    document.body.replaceChildren(signIn({ enter, error, settings }));
    document.querySelector('[data-testid="key-input"]').focus();
  }
}

addEventListener('hashchange', () => {
  if (/[#&]key=/.test(location.hash)) {
    // A printed link opened in a tab that already shows the page.
    if (entered) store.stop();
    takeKeyFromAddress();
    return enter();
  }
  route();
  document.getElementById('main')?.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener('online', () => store.retryNow());
document.addEventListener('visibilitychange', () => { if (!document.hidden && store.link === 'gone') store.retryNow(); });
api.addEventListener('refused', ({ detail }) => { if (entered) leave(null, detail); });
store.addEventListener('instances', () => { count(); speak(); });
store.addEventListener('sandbox', () => {
  const ribbon = document.getElementById('sandbox');
  if (ribbon) ribbon.hidden = false;
});

takeKeyFromAddress();
await use(preferred());
if (api.key) enter();
else build();
