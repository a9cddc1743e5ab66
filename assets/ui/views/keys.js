// API keys: who may call, what each may do, when it was used. A new one is shown once.
import { api } from '../api.js';
import { ask, askSure, codeBlock, curl, field, h, icon, living, quoted, setText, table, time } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { relative } from '../words.js';

const DAY = 86_400_000;
const GROUPS = {
  'kind.instances': ['instances:read', 'instances:write'], 'kind.messages': ['messages:send', 'messages:read', 'events:read'],
  webhooks: ['webhooks:read', 'webhooks:write'], keys: ['keys:read', 'keys:write'],
};
const ALL = Object.values(GROUPS).flat();
const PRESETS = { everything: ALL, sendOnly: ['messages:send'], readOnly: ALL.filter((scope) => scope.endsWith('read')) };
const verb = (scope) => t(scope === 'events:read' ? 'events' : `may.${scope.split(':')[1]}`);
const presetOf = (scopes) => Object.keys(PRESETS).find((name) => ALL.every((scope) => PRESETS[name].includes(scope) === scopes.includes(scope)));

/** "Send only", or "Instances: read; Messages: send, read". */
const rights = (scopes) => t(presetOf(scopes) ?? '') || Object.entries(GROUPS)
  .map(([group, all]) => [t(group), all.filter((scope) => scopes.includes(scope)).map(verb).join(', ').toLowerCase()])
  .filter(([, verbs]) => verbs).map((part) => part.join(': ')).join('; ');

const left = (key) => (key.expires_at ? Date.parse(key.expires_at) - api.now() : Infinity);

function expiry(key) {
  const over = left(key) <= 0;
  const near = left(key) < 7 * DAY;
  return key.expires_at ? h('span', { class: near && `st ${over ? 'bad' : 'warn'}` }, near && icon(over ? 'failed' : 'disconnected'),
    time(key.expires_at, t(over ? 'expired' : 'expires', relative(key.expires_at)))) : t('never');
}

/** Shows a key the only time it can be shown; whoever has not copied it is told before it is gone. */
function reveal({ secret, name, scopes = ALL, instance_id: instance = [...store.instances.keys()][0] ?? 'INSTANCE' }) {
  const key = codeBlock(name, 'new-key');
  const call = codeBlock(t('keyTry'), 'new-key-curl');
  const [path, json] = scopes.includes('instances:read') ? ['instances']
    : scopes.includes('messages:send') ? [`instances/${instance}/messages`, { to: '5511999998888', body: { type: 'text', text: t('helloText') } }] : ['limits'];
  key.put([secret]);
  // Every other call that this page shows uses $KEY as well.
  call.put([`KEY=${quoted(secret)}\n`, ...curl(`${location.origin}/v1/${path}`, { json })]);
  let safe = false;
  const copied = () => { safe = true; };
  return ask({
    title: t('keyOnce'), text: t('keyKept'), verb: t('close'), testid: 'key-made', alone: true,
    fields: [h('div', { class: 'stack', oncopy: copied, onclick: ({ target }) => target.closest('button') && copied() }, key.block, call.block)],
    work: (problem) => {
      if (safe) return true;
      copied();
      problem.append(h('p', { class: 'warn sm', role: 'alert' }, t('keyNotCopied')));
      return undefined;
    },
  });
}

/** Chips that fill in what stands below them; the one that is filled in is pressed. */
function presets(label, choices, get, set) {
  const row = h('div', { class: 'chips', role: 'group', 'aria-label': label });
  const mark = () => { for (const chip of row.children) chip.setAttribute('aria-pressed', String(chip.value === get())); };
  row.append(...choices.map(([value, text]) => h('button', { class: 'chip', type: 'button', value, onclick: () => { set(value); mark(); } }, text)));
  return [row, mark];
}

/** Asks for a new key with rights out of `own`: a key makes none that may do more than itself. */
function askKey(own) {
  const boxes = own.map((value) => h('input', { type: 'checkbox', value }));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const [rightsRow, markRights] = presets(t('may'), Object.keys(PRESETS).map((name) => [name, t(name)]), () => presetOf(chosen()),
    (name) => { for (const box of boxes) box.checked = PRESETS[name].includes(box.value); });
  const ticks = Object.entries(GROUPS).map(([group, scopes]) => h('div', { role: 'group', 'aria-label': t(group) }, h('h3', {}, t(group)),
    boxes.filter((box) => scopes.includes(box.value)).map((box) => h('label', { class: 'check' }, box, verb(box.value)))));
  const name = h('input', { class: 'input', maxlength: 100, autocomplete: 'off', placeholder: 'crm' });
  const bound = h('select', { class: 'input' }, [{ id: '', name: t('allInstances') }, ...store.instances.values()].map((one) => h('option', { value: one.id }, one.name)));
  const day = h('input', { class: 'input', type: 'date', onchange: () => markDay() });
  const [dayRow, markDay] = presets(t('expiry'), [[0, t('never')], [30, t('day', 30)], [365, t('day', 365)]].map(([days, text]) => [days && new Date(api.now() + days * DAY).toLocaleDateString('sv'), text]),
    () => day.value || '0', (value) => { day.value = value; });
  const test = h('input', { type: 'checkbox', name: 'mode' });
  const ends = field('expires_at', t('expiry'), day);
  ends.firstChild.after(dayRow);
  rightsRow.firstChild.click();
  markDay();
  return ask({
    title: t('newKey'), verb: t('create'), testid: 'key-dialog',
    fields: [field('name', t('name'), name), h('fieldset', { class: 'labelled', name: 'scopes', id: 'f-scopes', onchange: markRights }, h('legend', {}, t('may')), rightsRow, h('div', { class: 'ticks' }, ticks)),
      field('instance_id', t('instance'), bound), ends, h('label', { class: 'check' }, test, t('testKey'))],
    work: () => api.post('/v1/api-keys', {
      name: name.value.trim(), instance_id: bound.value || null, scopes: chosen().length < ALL.length ? chosen() : null, mode: test.checked ? 'test' : 'live',
      // It lasts until that day ends where the reader is.
      expires_at: day.value ? new Date(`${day.value}T23:59:59`) : null,
    }),
  });
}

export function view() {
  const heading = h('h1', { 'data-testid': 'keys-answer' }, t('keys'));
  const lead = h('p', {});
  let own = [];
  /** What was asked for is seen at once; the focus returns to what is still there. */
  const after = async (asked) => { if (await asked) await list.load().then(() => create.focus()); };
  const create = h('button', { class: 'btn', type: 'button', hidden: true, 'data-write': true, 'data-testid': 'new-key-button', onclick: () => after(askKey(own).then((made) => made && reveal(made))) }, icon('plus'), t('newKey'));
  const list = living(15, async () => {
    await (store.loaded || store.load().catch(() => {}));
    return api.list('/v1/api-keys');
  }, (keys) => {
    const self = keys.find(({ prefix }) => api.key?.startsWith(prefix));
    own = self?.scopes ?? ALL;
    const write = own.includes('keys:write');
    const over = keys.filter((key) => left(key) <= 0).length;
    const soon = keys.filter((key) => left(key) < 7 * DAY).length - over;
    setText(heading, [t('keysWork', keys.length - over), over && t('keysOver', over), soon && t('keysSoon', soon)].filter(Boolean).join(' '));
    setText(lead, t(write ? 'keysLead' : 'keysOnlyRead'));
    create.hidden = !write;
    create.classList.toggle('go', !keys.length);
    return table(t('keys'), [t('name'), t('may'), t('instance'), t('lastUsed'), t('expiry'), ''], keys.map((key) => h('tr', { 'data-testid': 'key', 'data-id': key.id },
      h('td', {}, h('b', {}, key.name), key === self && h('span', { class: 'faint' }, ` ${t('thisOne')}`), h('div', { class: 'mono faint' }, `${key.prefix}…`)),
      h('td', { class: 'wide' }, rights(key.scopes ?? ALL)),
      h('td', {}, key.instance_id ? store.instances.get(key.instance_id)?.name ?? h('code', {}, key.instance_id) : t('allInstances')),
      h('td', {}, key.last_used_at ? time(key.last_used_at, t('used', relative(key.last_used_at))) : t('neverUsed')),
      h('td', {}, expiry(key)),
      h('td', { class: 'num' }, write && h('button', { class: 'btn small', type: 'button', 'data-write': true, 'data-testid': 'revoke', onclick: () => after(askSure({
        title: t('askRevoke', key.name), text: `${t('askRevokeText')} ${key === self ? t('askRevokeOwn') : ''}`, verb: t('revoke'), testid: 'revoke-dialog',
        work: () => api.call('DELETE', `/v1/api-keys/${key.id}`),
      })) }, t('revoke'))))));
  });
  return h('div', {}, h('div', { class: 'head' }, h('div', {}, heading, lead), h('div', { class: 'row' }, create)), list);
}
