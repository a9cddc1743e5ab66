// The gateway itself: how it does, who is signed in, who changed what.
import { api } from '../api.js';
import { ask, busy, chips, h, living, mark, notice, rich, setText, table, time } from '../dom.js';
import { has, t } from '../i18n/index.js';
import { area, bytes, relative, span } from '../words.js';
import { passwordField } from './sign-in.js';

const PAGE = 25;
const LOGINS = '/v1/sessions';

/** Tone, name and parts of every fact. */
function factsOf({ version, started_at: started, memory, disk, store, queues, instances, streams_open: streams, limits }) {
  const used = disk && 1 - disk.free_bytes / disk.total_bytes;
  const full = used > 0.95 ? 'bad' : used > 0.85 ? 'warn' : 'good';
  const failed = queues.deliveries_retrying;
  const waiting = queues.deliveries_waiting + failed;
  const age = api.now() - Date.parse(queues.oldest_delivery_at);
  return [
    ['good', 'version', version, relative(started)],
    memory && ['good', 'memory', bytes(memory.resident_bytes), bytes(memory.peak_bytes ?? memory.resident_bytes)],
    disk && [full, 'disk', Math.round(used * 100), bytes(disk.free_bytes), t(`full.${full}`)],
    ['good', 'store', bytes(disk?.state_bytes ?? store.file_bytes), store.journal_events, limits.journal_max_age_days],
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
  const [noun, verb] = action.replace('delete', 'remove').split('.');
  return h('tr', { 'data-testid': 'change', 'data-action': action },
    h('td', { class: 'nowrap' }, time(at)),
    h('td', { title: actor.address }, actor.name ?? t(`by.${actor.kind}`)),
    h('td', { class: 'wide' }, has(verb) ? h('b', {}, `${area(noun)}: ${t(verb).toLowerCase()}`) : h('code', {}, action), ' ', target?.name ?? target?.id,
      h('div', { class: 'faint' }, Object.entries(changes).map(([field, [before, after]]) => `${field}: ${before === null ? '' : `${tell(before)} → `}${tell(after)}`.slice(0, 120)).join('; ')),
      request && h('div', { class: 'mono faint' }, request)));
}

function changePassword() {
  const entry = (name, kind) => {
    const { input, field } = passwordField(name, kind);
    return [h(input, { name }), h('div', { class: 'labelled' }, h('label', { for: name }, t(name)), field)];
  };
  const [now, nowField] = entry('current_password', 'current-password');
  const [next, nextField] = entry('new_password', 'new-password');
  return ask({
    title: t('passwordChange'), text: t('passwordEnds'), fields: [nowField, nextField], verb: t('save'), testid: 'password-dialog',
    work: () => api.call('PUT', '/v1/password', { current_password: now.value, new_password: next.value }).then(() => true, (error) => {
      const tries = error.details?.attempts_left;
      if (tries !== undefined) error.details.fields = [{ path: 'body.current_password', problem: t('wrongPassword', tries) }];
      throw error;
    }),
  });
}

const group = (title, buttons, ...rest) => h('section', { class: 'group' }, h('div', { class: 'head' }, h('h2', {}, title), h('div', { class: 'row wrap' }, buttons)), rest);

export function view() {
  const heading = h('h1', { 'data-testid': 'system-answer' }, t('system'));
  const facts = living(5, () => api.get('/v1/system'), (report) => {
    const all = factsOf(report);
    setText(heading, t('wellness', all.filter(([tone]) => tone === 'warn' || tone === 'bad').length));
    return h('ul', { class: 'facts' }, all.map(([tone, name, ...parts]) => h('li', { 'data-testid': `fact-${name}` }, mark(tone), h('p', {}, rich(t(`fact.${name}`, ...parts))))));
  });

  const small = (name, work, hidden) => h('button', { class: 'btn small', type: 'button', hidden, 'data-write': true, 'data-testid': name, onclick: ({ target }) => busy(target, work) }, t(name));
  const end = (name, path, hidden) => small(name, () => api.call('DELETE', path).then(() => logins.load(), (error) => notice(t(name), error)), hidden);
  const others = end('endOthers', LOGINS, true);
  const logins = living(15, () => api.list(LOGINS), (sessions) => {
    others.hidden = sessions.every(({ current }) => current);
    return h('ul', { class: 'tasks' }, sessions.map((one) => h('li', { 'data-testid': 'login' },
      h('div', {}, h('h3', {}, device(one.user_agent), one.current && h('span', { class: 'faint' }, ` ${t('thisOne')}`)), h('p', {}, one.address, ' ', time(one.last_used_at))), !one.current && end('end', `${LOGINS}/${one.id}`))));
  });

  let shown = PAGE;
  let only = '';
  const older = small('older', () => { shown += PAGE; return changes.load(); }, true);
  const changes = living(15, () => api.list(`/v1/audit${only && `?action=${only}.`}`, shown + 1), (all) => {
    older.hidden = all.length <= shown;
    return table(t('audit'), [t('when'), t('who'), t('what')], all.slice(0, shown).map(change));
  });
  const [areas] = chips(t('audit'), ['', 'instances', 'keys', 'webhooks', 'sessions'].map((name) => [name, name ? area(name) : t('all')]), () => only, (name) => {
    only = name;
    shown = PAGE;
    changes.load();
  });

  return h('div', {}, h('div', { class: 'head' }, h('div', {}, heading, h('p', {}, t('systemLead')))), h('div', { class: 'cols' },
    h('div', { class: 'stack' }, facts, group(t('audit'), areas, changes, h('div', { class: 'row end' }, older))),
    h('div', { class: 'stack' }, group(t('sessions'), [others, !api.key && small('passwordChange', () => changePassword().then(() => logins.load()))], logins),
      group(t('api'), null, h('ul', { class: 'sheet tasks' }, ['docs', 'openapi.json', 'llms.txt', 'metrics'].map((path) => h('li', {}, h('div', {}, h('h3', {}, h(path === 'metrics' ? 'span' : 'a', { href: `/${path}` }, `/${path}`)), h('p', {}, t(`link.${path}`))))))))));
}
