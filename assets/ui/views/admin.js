import { ask, askSure, busy, chips, codeBlock, curl, field, h, icon, living, mark, notice, passwordField, rich, setText, table, time } from '../app.js';
import { api, area, bytes, has, relative, span, store, t } from '../store.js';

const DAY = 86_400_000;
const ALL = 'instances:read instances:write messages:send messages:read events:read webhooks:read webhooks:write keys:read keys:write'.split(' ');
const PRESETS = { everything: '', sendOnly: 'send', readOnly: 'read' };

const presetOf = (scopes) => Object.keys(PRESETS).find((name) => ALL.every((scope) => scope.includes(PRESETS[name]) === scopes.includes(scope)));
const grouped = (scopes) => Object.entries(Object.groupBy(scopes, (scope) => scope.split(':')[0].replace('events', 'messages')));
const verb = (scope) => t(scope.replace('events:read', ':events').split(':')[1].replace('write', 'update'));
const rights = (scopes = ALL) => t(presetOf(scopes) ?? '') || grouped(scopes).map(([group, members]) => `${area(group)}: ${members.map(verb).join(', ').toLowerCase()}`).join('; ');

const button = (name, onclick, props) => h('button', { class: 'btn small', type: 'button', 'data-write': true, 'data-testid': name, onclick, ...props }, t(name));
const head = (title, text, ...buttons) => h('div', { class: 'head' }, h('div', {}, title, text), h('div', { class: 'row wrap' }, buttons));

function fate({ expires_at: at }) {
  const left = Date.parse(at) - api.now();
  return left <= 0 ? 'bad' : left < 7 * DAY ? 'warn' : '';
}

function reveal({ secret, name, scopes = ALL }) {
  const key = codeBlock(name, 'new-key');
  const call = codeBlock(t('keyTry'), 'new-key-curl');
  key.put([secret]);
  call.put([`KEY='${secret}'\n`, ...curl(`${location.origin}/v1/${scopes.includes('instances:read') ? 'instances' : 'limits'}`)]);
  let safe;
  const copied = () => { safe = true; };
  return ask({
    title: t('keyOnce'), text: t('keyKept'), verb: t('close'), testid: 'key-made', alone: true,
    fields: [h('div', { class: 'stack', oncopy: copied, onclick: ({ target }) => target.closest('button') && copied() }, key.block, call.block)],
    work: (problem) => {
      if (!safe) problem.append(h('p', { class: 'warn sm', role: 'alert' }, t('keyNotCopied')));
      return safe || copied();
    },
  });
}

function askKey(own) {
  const boxes = own.map((value) => h('input', { type: 'checkbox', value, checked: true }));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const ticks = h('div', { class: 'ticks' }, grouped(own).map(([group, scopes]) => h('div', { role: 'group', 'aria-label': area(group) }, h('h3', {}, area(group)),
    boxes.filter((box) => scopes.includes(box.value)).map((box) => h('label', { class: 'check' }, box, verb(box.value))))));
  const [may, look] = chips(t('may'), Object.keys(PRESETS).map((name) => [name, t(name)]), () => presetOf(chosen()),
    (name) => boxes.forEach((box) => { box.checked = box.value.includes(PRESETS[name]); }));
  const day = h('input', { class: 'input', type: 'date' });
  const [terms, onchange] = chips(t('expiry'), [['', t('never')], ...[30, 365].map((days) => [new Date(api.now() + days * DAY).toLocaleDateString('sv'), t('day', days)])],
    () => day.value, (value) => { day.value = value; });
  const until = field('expires_at', t('expiry'), h(day, { onchange }));
  day.before(terms);
  return ask({
    title: t('newKey'), verb: t('create'), testid: 'key-dialog',
    fields: [
      field('name', t('name'), h('input', { class: 'input', maxlength: 100, autocomplete: 'off', placeholder: 'crm' })),
      h('fieldset', { class: 'labelled', name: 'scopes', id: 'f-scopes', onchange: look }, h('legend', {}, t('may')), may, ticks),
      field('instance_id', t('instance'), h('select', { class: 'input' }, h('option', { value: '' }, t('allInstances')), [...store.instances.values()].map(({ id, name }) => h('option', { value: id }, name)))),
      until, h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'mode', value: 'test' }), t('testKey')),
    ],
    work: (problem) => {
      const form = Object.fromEntries(new FormData(problem.closest('form')));
      return api.post('/v1/api-keys', {
        mode: 'live', ...form, name: form.name.trim(), instance_id: form.instance_id || null, scopes: chosen().length < ALL.length ? chosen() : null,
        expires_at: new Date(`${day.value}T23:59:59`),
      });
    },
  });
}

export function keys() {
  let own = ALL;
  const after = async (asked) => (await asked) && list.load().then(() => create.focus());
  const create = button('newKey', () => after(askKey(own).then((made) => made && reveal(made))), { class: 'btn', hidden: true });
  create.prepend(icon('plus'));
  const title = h('h1', {}, t('keys'));
  const lead = h('p', {});
  const list = living(15, async () => {
    await (store.loaded || store.load().catch(() => {}));
    return api.list('/v1/api-keys');
  }, (all) => {
    const self = all.find(({ prefix }) => api.key?.startsWith(prefix));
    own = self?.scopes ?? ALL;
    create.hidden = !own.includes('keys:write');
    list.hidden = !all.length;
    create.classList.toggle('go', list.hidden);
    const { bad = [], warn = [] } = Object.groupBy(all, fate);
    setText(title, [t('keysWork', all.length - bad.length), bad[0] && t('keysOver', bad.length), warn[0] && t('keysSoon', warn.length)].filter(Boolean).join(' '));
    setText(lead, t(create.hidden ? 'keysOnlyRead' : 'keysLead'));
    return table(['name', 'may', 'instance', 'lastUsed', 'expiry', ''], all.map((key) => h('tr', { 'data-testid': 'key' },
      h('td', {}, h('b', {}, key.name), key === self && h('span', { class: 'faint' }, ` ${t('thisOne')}`), h('div', { class: 'mono faint' }, `${key.prefix}…`)),
      h('td', { class: 'wide' }, rights(key.scopes)),
      h('td', {}, store.instances.get(key.instance_id)?.name ?? key.instance_id ?? t('allInstances')),
      h('td', {}, key.last_used_at ? time(key.last_used_at, t('used', relative(key.last_used_at))) : t('neverUsed')),
      h('td', {}, key.expires_at ? mark(fate(key), time(key.expires_at, t(fate(key) === 'bad' ? 'expired' : 'expires', relative(key.expires_at)))) : t('never')),
      h('td', { class: 'num' }, !create.hidden && button('revoke', () => after(askSure({
        title: t('askRevoke', key.name), text: [t('askRevokeText'), key === self && ` ${t('askRevokeOwn')}`], verb: t('revoke'), testid: 'revoke-dialog', work: () => api.call('DELETE', `/v1/api-keys/${key.id}`),
      })))))));
  });
  return h('div', {}, head(title, lead, create), list);
}

const device = (agent = '') => ['Edge Firefox Chrome Safari curl', 'Windows Android iPhone iPad Mac Linux'].map((all) => all.split(' ').find((name) => agent.includes(name.slice(0, 3)))).filter(Boolean).join(', ') || agent || '?';

function change({ occurred_at: at, actor, action, target, changes = {}, request_id: request }) {
  const [noun, what] = action.replace('delete', 'remove').replace('.change', '.update').replace('session.', 'sessions.').split('.');
  return h('tr', { 'data-testid': 'change', 'data-action': action },
    h('td', { class: 'nowrap' }, time(at)),
    h('td', { title: actor.address }, actor.name ?? t(`by.${actor.kind}`)),
    h('td', { class: 'wide' }, has(what) ? h('b', {}, `${area(noun)}: ${t(what).toLowerCase()}`) : h('code', {}, action), ' ', target?.name ?? target?.id,
      h('div', { class: 'faint' }, Object.entries(changes).map(([name, values]) => `${name}: ${values.filter((value) => value !== null).map((value) => (value.trim ? value : JSON.stringify(value))).join(' → ')}`.slice(0, 120)).join('; ')), request && h('div', { class: 'mono faint' }, request)));
}

function changePassword() {
  const fields = ['current_password', 'new_password'].map((name) => {
    const { input, field } = passwordField(name, name.replace('_', '-'));
    h(input, { name });
    return h('div', { class: 'labelled' }, h('label', { for: name }, t(name)), field);
  });
  return ask({
    title: t('passwordChange'), text: t('passwordEnds'), fields, verb: t('save'), testid: 'password-dialog',
    work: (problem) => api.call('PUT', '/v1/password', Object.fromEntries(new FormData(problem.closest('form')))).catch((error) => {
      const left = error.details?.attempts_left;
      if (left >= 0) error.details.fields = [{ path: 'body.current_password', problem: t('wrongPassword', left) }];
      throw error;
    }),
  });
}

export function system() {
  const title = h('h1', {}, t('system'));
  const facts = living(5, () => api.get('/v1/system'), ({ version, memory, disk, queues, instances, ...rest }) => {
    const used = disk && 1 - disk.free_bytes / disk.total_bytes;
    const full = used > 0.95 ? 'bad' : used > 0.85 ? 'warn' : 'good';
    const waiting = queues.deliveries_waiting + queues.deliveries_retrying;
    const age = api.now() - Date.parse(queues.oldest_delivery_at);
    const all = [
      ['', 'version', version, relative(rest.started_at)],
      memory && ['', 'memory', bytes(memory.resident_bytes), bytes(memory.peak_bytes ?? memory.resident_bytes)],
      disk && [full, 'disk', Math.round(used * 100), bytes(disk.free_bytes), t(`full.${full}`)],
      ['', 'store', bytes(disk?.state_bytes ?? rest.store.file_bytes), rest.store.journal_events, rest.limits.journal_max_age_days],
      [queues.outbox && 'work', 'outbox', queues.outbox],
      [waiting && (age > 60_000 ? 'warn' : 'work'), 'deliveries', waiting, queues.deliveries_retrying, span(age || 0)],
      [instances.failed ? 'bad' : instances.disconnected ? 'warn' : '', 'instances', Object.entries(instances).map(([status, n]) => `${n} ${t(status).toLowerCase()}`).join(', ')],
      ['', 'streams', rest.streams_open],
    ].filter(Boolean);
    setText(title, t('wellness', all.filter(([tone]) => tone === 'warn' || tone === 'bad').length));
    return h('ul', { class: 'facts' }, all.map(([tone, name, ...parts]) => h('li', { 'data-testid': `fact-${name}` }, mark(tone || 'good'), h('p', {}, rich(t(`fact.${name}`, ...parts))))));
  });

  const end = (name, path, props) => button(name, ({ target }) => busy(target, () => api.call('DELETE', path).then(() => logins.load(), (error) => notice(t(name), error))), props);
  const others = end('endOthers', '/v1/sessions', { hidden: true });
  const logins = living(15, () => api.list('/v1/sessions'), (sessions) => {
    others.hidden = sessions.every(({ current }) => current);
    return h('ul', { class: 'tasks' }, !sessions.length && h('li', {}, h('p', {}, t('nobody'))), sessions.map((one) =>
      h('li', { 'data-testid': 'login' }, h('div', {}, h('h3', {}, device(one.user_agent), one.current && h('span', { class: 'faint' }, ` ${t('thisOne')}`)), h('p', {}, one.address, ' · ', time(one.last_used_at))), !one.current && end('end', `/v1/sessions/${one.id}`))));
  });

  let only = '';
  let shown = 25;
  const older = button('older', () => { shown += 25; changes.load(); }, { hidden: true });
  const changes = living(15, () => api.list(`/v1/audit${only && `?action=${only}.`}`, shown + 1), (all) => {
    older.hidden = all.length <= shown;
    return table(['when', 'who', 'what'], all.slice(0, shown).map(change));
  });
  const [areas] = chips(t('audit'), ['', 'instances', 'keys', 'webhooks'].map((name) => [name, area(name || 'all')]), () => only, (name) => { only = name; shown = 25; changes.load(); });

  return h('div', {}, head(title, h('p', {}, t('systemLead'))), h('div', { class: 'cols' },
    h('div', { class: 'stack' }, h('div', {}, facts), h('section', { class: 'group' }, head(h('h2', {}, t('audit')), '', areas), changes, h('div', { class: 'row end' }, older))),
    h('div', { class: 'stack' }, h('section', { class: 'group' }, head(h('h2', {}, t('sessions')), '', others, !api.key && button('passwordChange', () => changePassword().then(() => logins.load()))), logins),
      h('section', { class: 'group' }, head(h('h2', {}, t('api'))), h('ul', { class: 'sheet tasks' }, ['docs', 'openapi.json', 'llms.txt', 'metrics'].map((path) => h('li', {}, h('div', {}, h('h3', {}, path === 'metrics' ? '/metrics' : h('a', { href: `/${path}` }, `/${path}`)), h('p', {}, t(`link.${path}`))))))))));
}
