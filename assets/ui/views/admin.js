// Two views for whoever runs the gateway: its keys, and the gateway itself.
import { ask, askSure, busy, chips, codeBlock, curl, field, h, icon, living, mark, notice, passwordField, quoted, rich, setText, table, time } from '../app.js';
import { api, area, bytes, has, relative, span, store, t } from '../store.js';

const KEYS = '/v1/api-keys';
const LOGINS = '/v1/sessions';
const DAY = 86_400_000;
const PAGE = 25;
const ALL = 'instances:read instances:write messages:send messages:read events:read webhooks:read webhooks:write keys:read keys:write'.split(' ');
const PRESETS = { everything: () => true, sendOnly: (scope) => scope === 'messages:send', readOnly: (scope) => scope.endsWith('read') };
const presetOf = (scopes) => Object.keys(PRESETS).find((name) => ALL.every((scope) => PRESETS[name](scope) === scopes.includes(scope)));
const grouped = (scopes) => Object.entries(Object.groupBy(scopes, (scope) => scope.split(':')[0].replace('events', 'messages')));
const verb = (scope) => t(scope === 'events:read' ? 'events' : scope.split(':')[1].replace('write', 'update'));
const rights = (scopes) => t(presetOf(scopes) ?? '') || grouped(scopes).map(([group, members]) => `${area(group)}: ${members.map(verb).join(', ').toLowerCase()}`).join('; ');
const button = (name, onclick, props) => h('button', { class: 'btn small', type: 'button', 'data-write': true, 'data-testid': name, onclick, ...props }, t(name));
const thisOne = (is) => is && h('span', { class: 'faint' }, ` ${t('thisOne')}`);
const head = (level, title, text, ...buttons) => h('div', { class: 'head' }, h('div', {}, h(level, {}, title), text), h('div', { class: 'row wrap' }, buttons));

function fate({ expires_at: at }) {
  const left = at ? Date.parse(at) - api.now() : Infinity;
  return left <= 0 ? 'bad' : left < 7 * DAY ? 'warn' : '';
}

/** Shows a key the only time it can be shown; whoever has not copied it is told before it is gone. */
function reveal({ secret, name, scopes = ALL }) {
  const key = codeBlock(name, 'new-key');
  const call = codeBlock(t('keyTry'), 'new-key-curl');
  key.put([secret]);
  call.put([`KEY=${quoted(secret)}\n`, ...curl(`${location.origin}/v1/${scopes.includes('instances:read') ? 'instances' : 'limits'}`)]);
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
  const [may, look] = chips(t('may'), Object.keys(PRESETS).map((name) => [name, t(name)]), () => presetOf(chosen()), (name) => { for (const box of boxes) box.checked = PRESETS[name](box.value); });
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

export function keys() {
  const lead = h('p', {});
  let own = ALL;
  // The focus returns to what is still there.
  const after = async (asked) => { if (await asked) await list.load().then(() => create.focus()); };
  const create = h('button', { class: 'btn', type: 'button', hidden: true, 'data-write': true, 'data-testid': 'newKey', onclick: () => after(askKey(own).then((made) => made && reveal(made))) }, icon('plus'), t('newKey'));
  const top = head('h1', t('keys'), lead, create);
  const list = living(15, async () => {
    await (store.loaded || store.load().catch(() => {}));
    return api.list(KEYS);
  }, (all) => {
    const self = all.find(({ prefix }) => api.key?.startsWith(prefix));
    own = self?.scopes ?? ALL;
    create.hidden = !own.includes('keys:write');
    list.hidden = !all.length;
    create.classList.toggle('go', list.hidden);
    const { bad = [], warn = [] } = Object.groupBy(all, fate);
    setText(top.querySelector('h1'), [t('keysWork', all.length - bad.length), bad[0] && t('keysOver', bad.length), warn[0] && t('keysSoon', warn.length)].filter(Boolean).join(' '));
    setText(lead, t(create.hidden ? 'keysOnlyRead' : 'keysLead'));
    return table(['name', 'may', 'instance', 'lastUsed', 'expiry', ''], all.map((key) => h('tr', { 'data-testid': 'key' },
      h('td', {}, h('b', {}, key.name), thisOne(key === self), h('div', { class: 'mono faint' }, `${key.prefix}…`)),
      h('td', { class: 'wide' }, rights(key.scopes ?? ALL)),
      h('td', {}, key.instance_id ? store.instances.get(key.instance_id)?.name ?? key.instance_id : t('allInstances')),
      h('td', {}, key.last_used_at ? time(key.last_used_at, t('used', relative(key.last_used_at))) : t('neverUsed')),
      h('td', {}, key.expires_at ? mark(fate(key), time(key.expires_at, t(fate(key) === 'bad' ? 'expired' : 'expires', relative(key.expires_at)))) : t('never')),
      h('td', { class: 'num' }, !create.hidden && button('revoke', () => after(askSure({
        title: t('askRevoke', key.name), text: `${t('askRevokeText')} ${key === self ? t('askRevokeOwn') : ''}`, verb: t('revoke'), testid: 'revoke-dialog', work: () => api.call('DELETE', `${KEYS}/${key.id}`),
      })))))));
  });
  return h('div', {}, top, list);
}

function factsOf({ version, started_at: started, memory, disk, store: file, queues, instances, streams_open: streams, limits }) {
  const used = disk && 1 - disk.free_bytes / disk.total_bytes;
  const full = used > 0.95 ? 'bad' : used > 0.85 ? 'warn' : 'good';
  const failed = queues.deliveries_retrying;
  const waiting = queues.deliveries_waiting + failed;
  const age = api.now() - Date.parse(queues.oldest_delivery_at);
  return [
    ['good', 'version', version, relative(started)],
    memory && ['good', 'memory', bytes(memory.resident_bytes), bytes(memory.peak_bytes ?? memory.resident_bytes)],
    disk && [full, 'disk', Math.round(used * 100), bytes(disk.free_bytes), t(`full.${full}`)],
    ['good', 'store', bytes(disk?.state_bytes ?? file.file_bytes), file.journal_events, limits.journal_max_age_days],
    [queues.outbox ? 'work' : 'good', 'outbox', queues.outbox],
    [!waiting ? 'good' : age > 60_000 ? 'warn' : 'work', 'deliveries', waiting, failed, span(age || 0)],
    [instances.failed ? 'bad' : instances.disconnected ? 'warn' : 'good', 'instances', Object.entries(instances).map(([status, n]) => n && `${n} ${t(status).toLowerCase()}`).filter(Boolean).join(', ')],
    ['good', 'streams', streams],
  ].filter(Boolean);
}

/** "Chrome, Windows" out of what the browser says of itself. */
const device = (agent = '') => ['Edge Firefox Chrome Safari curl', 'Windows Android iPhone iPad Mac Linux'].map((all) => all.split(' ').find((name) => agent.includes(name.slice(0, 3)))).filter(Boolean).join(', ') || agent || '?';

const tell = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

function change({ occurred_at: at, actor, action, target, changes = {}, request_id: request }) {
  const [noun, what] = action.replace('delete', 'remove').replace('.change', '.update').replace('session.', 'sessions.').split('.');
  return h('tr', { 'data-testid': 'change', 'data-action': action },
    h('td', { class: 'nowrap' }, time(at)),
    h('td', { title: actor.address }, actor.name ?? t(`by.${actor.kind}`)),
    h('td', { class: 'wide' }, has(what) ? h('b', {}, `${area(noun)}: ${t(what).toLowerCase()}`) : h('code', {}, action), ' ', target?.name ?? target?.id,
      h('div', { class: 'faint' }, Object.entries(changes).map(([name, values]) => `${name}: ${values.filter((value) => value !== null).map(tell).join(' → ')}`.slice(0, 120)).join('; ')),
      request && h('div', { class: 'mono faint' }, request)));
}

function changePassword() {
  const [now, next] = [['current_password', 'current-password'], ['new_password', 'new-password']].map(([name, kind]) => {
    const { input, field: row } = passwordField(name, kind);
    return { input: h(input, { name }), row: h('div', { class: 'labelled' }, h('label', { for: name }, t(name)), row) };
  });
  return ask({
    title: t('passwordChange'), text: t('passwordEnds'), fields: [now.row, next.row], verb: t('save'), testid: 'password-dialog',
    work: () => api.call('PUT', '/v1/password', { current_password: now.input.value, new_password: next.input.value }).then(() => true, (error) => {
      const tries = error.details?.attempts_left;
      if (tries !== undefined) error.details.fields = [{ path: 'body.current_password', problem: t('wrongPassword', tries) }];
      throw error;
    }),
  });
}

const group = (title, buttons, ...rest) => h('section', { class: 'group' }, head('h2', title, '', buttons), rest);

export function system() {
  const top = head('h1', t('system'), h('p', {}, t('systemLead')));
  const facts = living(5, () => api.get('/v1/system'), (report) => {
    const all = factsOf(report);
    setText(top.querySelector('h1'), t('wellness', all.filter(([tone]) => tone === 'warn' || tone === 'bad').length));
    return h('ul', { class: 'facts' }, all.map(([tone, name, ...parts]) => h('li', { 'data-testid': `fact-${name}` }, mark(tone), h('p', {}, rich(t(`fact.${name}`, ...parts))))));
  });

  const end = (name, path, props) => button(name, ({ target }) => busy(target, () => api.call('DELETE', path).then(() => logins.load(), (error) => notice(t(name), error))), props);
  const others = end('endOthers', LOGINS, { hidden: true });
  const logins = living(15, () => api.list(LOGINS), (sessions) => {
    others.hidden = sessions.every(({ current }) => current);
    return h('ul', { class: 'tasks' }, !sessions.length && h('li', {}, h('p', {}, t('nobody'))), sessions.map((one) => h('li', { 'data-testid': 'login' },
      h('div', {}, h('h3', {}, device(one.user_agent), thisOne(one.current)), h('p', {}, one.address, ' · ', time(one.last_used_at))), !one.current && end('end', `${LOGINS}/${one.id}`))));
  });

  let shown = PAGE;
  let only = '';
  const older = button('older', () => { shown += PAGE; changes.load(); }, { hidden: true });
  const changes = living(15, () => api.list(`/v1/audit${only && `?action=${only}.`}`, shown + 1), (all) => {
    older.hidden = all.length <= shown;
    return table(['when', 'who', 'what'], all.slice(0, shown).map(change));
  });
  const [areas] = chips(t('audit'), ['', 'instances', 'keys', 'webhooks'].map((name) => [name, name ? area(name) : t('all')]), () => only, (name) => {
    only = name;
    shown = PAGE;
    changes.load();
  });

  return h('div', {}, top, h('div', { class: 'cols' },
    h('div', { class: 'stack' }, h('div', {}, facts), group(t('audit'), areas, changes, h('div', { class: 'row end' }, older))),
    h('div', { class: 'stack' }, group(t('sessions'), [others, !api.key && button('passwordChange', () => changePassword().then(() => logins.load()))], logins),
      group(t('api'), null, h('ul', { class: 'sheet tasks' }, ['docs', 'openapi.json', 'llms.txt', 'metrics'].map((path) => h('li', {}, h('div', {}, h('h3', {}, h(path === 'metrics' ? 'span' : 'a', { href: `/${path}` }, `/${path}`)), h('p', {}, t(`link.${path}`))))))))));
}
