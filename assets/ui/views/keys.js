// API keys: who may call, what each may do, when it was used. A new one is shown once.
import { api } from '../api.js';
import { ask, askSure, chips, codeBlock, curl, field, h, icon, living, mark, quoted, setText, table, time } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { area, relative } from '../words.js';

const KEYS = '/v1/api-keys';
const DAY = 86_400_000;
const ALL = 'instances:read instances:write messages:send messages:read events:read webhooks:read webhooks:write keys:read keys:write'.split(' ');
const PRESETS = { everything: () => true, sendOnly: (scope) => scope === 'messages:send', readOnly: (scope) => scope.endsWith('read') };
const names = Object.keys(PRESETS);
const presetOf = (scopes) => names.find((name) => ALL.every((scope) => PRESETS[name](scope) === scopes.includes(scope)));
const grouped = (scopes) => Object.entries(Object.groupBy(scopes, (scope) => scope.split(':')[0].replace('events', 'messages')));
const verb = (scope) => t(scope === 'events:read' ? 'events' : scope.split(':')[1].replace('write', 'update'));
/** "Send only", or "Instances: read; Messages: send, read". */
const rights = (scopes = ALL) => t(presetOf(scopes) ?? '') || grouped(scopes).map(([group, members]) => `${area(group)}: ${members.map(verb).join(', ').toLowerCase()}`).join('; ');

function fate({ expires_at: at }) {
  const left = at ? Date.parse(at) - api.now() : Infinity;
  return left <= 0 ? 'bad' : left < 7 * DAY ? 'warn' : '';
}

/** Shows a key the only time it can be shown; whoever has not copied it is told before it is gone. */
function reveal({ secret, name, scopes = ALL, instance_id: instance = [...store.instances.keys()][0] ?? 'INSTANCE' }) {
  const key = codeBlock(name, 'new-key');
  const call = codeBlock(t('keyTry'), 'new-key-curl');
  const [path, json] = scopes.includes('instances:read') ? ['instances']
    : scopes.includes('messages:send') ? [`instances/${instance}/messages`, { to: '5511999998888', body: { type: 'text', text: t('helloText') } }] : ['limits'];
  key.put([secret]);
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

/** Asks for a new key with rights out of `own`: a key makes none that may do more than itself. */
function askKey(own) {
  const boxes = own.map((value) => h('input', { type: 'checkbox', value, checked: true }));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const [may, look] = chips(t('may'), names.map((name) => [name, t(name)]), () => presetOf(chosen()), (name) => { for (const box of boxes) box.checked = PRESETS[name](box.value); });
  const ticks = grouped(own).map(([group, scopes]) => h('div', { role: 'group', 'aria-label': area(group) }, h('h3', {}, area(group)),
    boxes.filter((box) => scopes.includes(box.value)).map((box) => h('label', { class: 'check' }, box, verb(box.value)))));
  const name = h('input', { class: 'input', maxlength: 100, autocomplete: 'off', placeholder: 'crm' });
  const bound = h('select', { class: 'input' }, [{ id: '', name: t('allInstances') }, ...store.instances.values()].map((one) => h('option', { value: one.id }, one.name)));
  const day = h('input', { class: 'input', type: 'date', onchange: () => lookAgain() });
  const [terms, lookAgain] = chips(t('expiry'), [0, 30, 365].map((days) => (days ? [new Date(api.now() + days * DAY).toLocaleDateString('sv'), t('day', days)] : ['', t('never')])), () => day.value, (value) => { day.value = value; });
  const until = field('expires_at', t('expiry'), day);
  until.firstChild.after(terms);
  const test = h('input', { type: 'checkbox', name: 'mode' });
  return ask({
    title: t('newKey'), verb: t('create'), testid: 'key-dialog',
    fields: [field('name', t('name'), name), h('fieldset', { class: 'labelled', name: 'scopes', id: 'f-scopes', onchange: look }, h('legend', {}, t('may')), may, h('div', { class: 'ticks' }, ticks)),
      field('instance_id', t('instance'), bound), until, h('label', { class: 'check' }, test, t('testKey'))],
    work: () => api.post(KEYS, {
      name: name.value.trim(), instance_id: bound.value || null, scopes: chosen().length < ALL.length ? chosen() : null, mode: test.checked ? 'test' : 'live',
      // Until that day ends where the reader is.
      expires_at: day.value ? new Date(`${day.value}T23:59:59`) : null,
    }),
  });
}

export function view() {
  const heading = h('h1', { 'data-testid': 'keys-answer' }, t('keys'));
  const lead = h('p', {});
  let own = ALL;
  // The focus returns to what is still there.
  const after = async (asked) => { if (await asked) await list.load().then(() => create.focus()); };
  const create = h('button', { class: 'btn', type: 'button', hidden: true, 'data-write': true, 'data-testid': 'new-key-button', onclick: () => after(askKey(own).then((made) => made && reveal(made))) }, icon('plus'), t('newKey'));
  const list = living(15, async () => {
    await (store.loaded || store.load().catch(() => {}));
    return api.list(KEYS);
  }, (keys) => {
    const self = keys.find(({ prefix }) => api.key?.startsWith(prefix));
    own = self?.scopes ?? ALL;
    const write = own.includes('keys:write');
    const { bad = [], warn = [] } = Object.groupBy(keys, fate);
    setText(heading, [t('keysWork', keys.length - bad.length), bad[0] && t('keysOver', bad.length), warn[0] && t('keysSoon', warn.length)].filter(Boolean).join(' '));
    setText(lead, t(write ? 'keysLead' : 'keysOnlyRead'));
    create.hidden = !write;
    create.classList.toggle('go', !keys.length);
    return table(t('keys'), [t('name'), t('may'), t('instance'), t('lastUsed'), t('expiry'), ''], keys.map((key) => h('tr', { 'data-testid': 'key' },
      h('td', {}, h('b', {}, key.name), key === self && h('span', { class: 'faint' }, ` ${t('thisOne')}`), h('div', { class: 'mono faint' }, `${key.prefix}…`)),
      h('td', { class: 'wide' }, rights(key.scopes)),
      h('td', {}, key.instance_id ? store.instances.get(key.instance_id)?.name ?? h('code', {}, key.instance_id) : t('allInstances')),
      h('td', {}, key.last_used_at ? time(key.last_used_at, t('used', relative(key.last_used_at))) : t('neverUsed')),
      h('td', {}, key.expires_at ? mark(fate(key), time(key.expires_at, t(fate(key) === 'bad' ? 'expired' : 'expires', relative(key.expires_at)))) : t('never')),
      h('td', { class: 'num' }, write && h('button', { class: 'btn small', type: 'button', 'data-write': true, 'data-testid': 'revoke', onclick: () => after(askSure({
        title: t('askRevoke', key.name), text: `${t('askRevokeText')} ${key === self ? t('askRevokeOwn') : ''}`, verb: t('revoke'), testid: 'revoke-dialog', work: () => api.call('DELETE', `${KEYS}/${key.id}`),
      })) }, t('revoke'))))));
  });
  return h('div', {}, h('div', { class: 'head' }, h('div', {}, heading, lead), h('div', { class: 'row' }, create)), list);
}
