// The door: password, key or set-up.
import { api } from '../api.js';
import { busy, codeBlock, h, icon, setText } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { explain, trail } from '../words.js';

const STORED = 'whatisup.setup';

export function progress(next) {
  if (next) sessionStorage.setItem(STORED, JSON.stringify(next));
  else if (next === null) sessionStorage.removeItem(STORED);
  return JSON.parse(sessionStorage.getItem(STORED));
}

const heading = (title, ...text) => h('div', {}, h('h1', {}, title), h('p', { class: 'muted' }, text));
const shell = (command) => h('div', { class: 'code' }, h('pre', { tabindex: '0' }, command));
const quiet = (testid, label, onclick) => h('button', { class: 'btn ghost small', type: 'button', 'data-testid': testid, onclick }, label);
const entry = (props) => h('input', { class: 'input', autocomplete: 'off', 'data-first': true, ...props });

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

export function door({ password_set: known, session, cause, refusedKey, open, settings }) {
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
