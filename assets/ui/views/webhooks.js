// For whoever runs the gateway: webhooks; its keys; the gateway itself.
import { ask, askSure, busy, chips, codeBlock, curl, field, h, icon, jsonInto, living, mark, notice, Part, passwordField, quoted, rich, setText, table, time, unread } from '../app.js';
import { api, area, bytes, clock, exact, explain, has, instancePath, kindOf, relative, short, span, store, t } from '../store.js';

const HOOKS = '/v1/webhook-endpoints';
const SENT = '/v1/webhook-deliveries';
const DAY = 86_400_000;
const TONES = { failing: 'bad', unproven: 'idle', ok: 'good', disabled: 'idle', pending: 'work', retrying: 'warn', failed: 'bad', success: 'good' };

const word = (status) => t(`hook.${status}`);
const state = (status) => mark(TONES[status], word(status));
const titleOf = (hook) => hook.description ?? new URL(hook.url).host;
const instanceName = (id) => store.instances.get(id)?.name ?? t('deleted');
const when = (at) => (Math.abs(api.now() - Date.parse(at)) < DAY / 2 ? clock(at) : exact(at));
const took = ({ duration_ms: ms }) => (ms < 1000 ? `${ms} ms` : short(ms / 1000));
const worked = ({ error, response_status: status }) => !error && status >= 200 && status < 300;
const answerOf = ({ error, response_status: status }) => error ?? t('answered', status);
const button = (name, work, className = 'btn ghost small', sign) => h('button', { class: className, type: 'button', 'data-write': true, 'data-testid': name, onclick: ({ currentTarget: on }) => busy(on, work).catch((error) => notice(on.textContent, error)) }, sign, t(name));
const choice = (label, checked, value, onchange) => h('label', { class: 'check' }, h('input', { type: 'checkbox', checked, value, onchange }), label);
const input = (name, label, props) => field(name, t(label), h('input', { class: 'input', ...props }));
const valueOf = (labelled) => labelled.lastChild.value.trim();

function code(caption, parts, testid) {
  const { block, put } = codeBlock(caption, testid);
  put(parts);
  return block;
}

let names;
const eventNames = async () => (names ??= (await api.get('/openapi.json')).components.schemas.WebhookDelivery.properties.event.enum);

function ticks(name, legend, all, items, chosen) {
  const groups = Object.entries(Object.groupBy(items, ([, , group]) => group));
  const rest = h('div', { hidden: !chosen, class: 'ticks' }, groups.map(([group, members]) => h('div', {}, group && h('h3', {}, group), members.map(([value, label]) => choice(label, chosen?.includes(value), value)))));
  return h('fieldset', { class: 'labelled', name, id: `f-${name}` }, h('legend', {}, legend), choice(all, !chosen, 'all', ({ target }) => { rest.hidden = target.checked; }), rest);
}

const ticked = (set) => {
  const values = [...set.querySelectorAll(':checked')].map(({ value }) => value);
  return values[0] === 'all' ? undefined : values;
};

const eventTicks = async (list, chosen) => ticks('events', t('events'), t('hookAll'), (list[0] === '*' ? await eventNames() : list).filter((event) => !event.startsWith('webhook.')).map((event) => [event, h('code', {}, event), t(`kind.${kindOf({ event })}`)]), chosen);

const reveal = ({ url, signing_secret: secret }) => ask({ title: t('secretOnce'), text: t('secretCheck'), fields: code(new URL(url).host, [secret], 'hook-secret'), verb: t('close'), testid: 'secret-dialog', alone: true, work: () => true });

async function edit(hook) {
  const url = input('url', 'hookUrl', { type: 'url', placeholder: 'https://example.org/webhook', value: hook?.url ?? '' });
  const secret = input('signing_secret', 'ownSecret');
  const canary = input('canary_interval_seconds', 'canary', { type: 'number', value: hook?.canary_interval_seconds ?? '' });
  const events = await eventTicks(['*'], hook?.events[0] === '*' ? null : hook?.events);
  const instances = ticks('instance_ids', t('kind.instances'), t('allInstances'), [...store.instances.values()].map(({ id, name }) => [id, name, '']), hook?.instance_ids);
  const made = await ask({
    title: hook ? titleOf(hook) : t('hookNew'), verb: t(hook ? 'save' : 'create'), testid: 'hook-dialog', fields: [url, events, instances, !hook && secret, canary],
    work: () => {
      const body = { events: ticked(events) ?? ['*'], instance_ids: ticked(instances) ?? null, canary_interval_seconds: Number(valueOf(canary)) || null, signing_secret: valueOf(secret) || undefined };
      // An address that is sent is looked up anew.
      if (valueOf(url) !== hook?.url) body.url = valueOf(url);
      return api.call(hook ? 'PATCH' : 'POST', hook ? `${HOOKS}/${hook.id}` : HOOKS, body).catch((error) => {
        if (error.details?.reason) error.details.fields = [{ path: 'body.url', problem: has(`problem.${error.details.reason}`) ? error.details.reason : error.message }];
        throw error;
      });
    },
  });
  await store.loadEndpoints();
  if (!made?.signing_secret) return;
  location.hash = `#/webhooks/${made.id}`;
  await reveal(made);
}

async function replay({ id, health, events: own }) {
  const type = 'datetime-local';
  const since = input('since', 'replayFrom', { type, value: new Date(Date.parse(health.failing_since) || api.now() - DAY).toLocaleString('sv').slice(0, 16).replace(' ', 'T') });
  const until = input('until', 'replayUntil', { type });
  const failed = choice(t('replayFailed'), false, 'failed');
  const events = await eventTicks(own);
  const count = h('p', { role: 'status', 'data-testid': 'replay-count' });
  const send = (dry_run) => api.post(`${HOOKS}/${id}/replay`, { since: new Date(valueOf(since)), until: new Date(valueOf(until)), events: ticked(events), status: failed.firstChild.checked ? 'failed' : null, dry_run });
  let asked;
  const preview = async () => {
    const submit = form.closest('form').querySelector('.go');
    submit.disabled = true;
    const mine = asked = send(true);
    const found = await mine.catch((error) => error);
    if (mine !== asked) return;
    submit.disabled = !found.count;
    count.replaceChildren(...rich(found.code ? explain(found) : t('replayCount', found.count)));
  };
  const form = h('div', { class: 'stack', oninput: preview }, since, until, failed, events, count);
  const done = ask({ title: t('replayRange'), fields: form, verb: t('send'), testid: 'replay-dialog', work: () => send(false) });
  preview();
  await done;
}

/** Makes `old` like `made` but leaves alone what is so: focus, selections, a button at work. */
function morph(old, made) {
  if (old.isEqualNode(made)) return;
  if (old.nodeName !== made.nodeName || old.id !== made.id) return void old.replaceWith(made);
  if (!made.attributes) return void (old.data = made.data);
  for (const name of old.getAttributeNames()) if (!made.hasAttribute(name) && !/busy|disabled/.test(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) old.setAttribute(name, value);
  const inner = [...made.childNodes];
  inner.forEach((child, n) => (old.childNodes[n] ? morph(old.childNodes[n], child) : old.append(child)));
  while (old.childNodes[inner.length]) old.lastChild.remove();
}

const many = (all, kind) => all[1] && `${all.length} ${t(kind).toLowerCase()}`;

class Webhooks extends Part {
  status = '';
  cursor = '';
  #waits = {};
  #open = new Map();

  async show() {
    try {
      await store.loadEndpoints();
    } catch (error) {
      return this.replaceChildren(h('div', { class: 'head' }, h('h1', {}, t('webhooks'))), h('div', { class: 'sheet' }, unread(error)));
    }
    this.listen(store, 'endpoints instances', () => this.render());
    this.every(3000, () => !document.hidden && store.link !== 'gone' && this.#refresh().catch(() => {}));
    this.#choose('');
  }

  get hook() { return store.endpoints.find(({ id }) => id === this.chosen); }

  #refresh() { return Promise.all([store.loadEndpoints(), this.#load()]); }

  #choose(status, cursor = '') {
    Object.assign(this, { status, cursor, page: null });
    this.render();
    return this.#load().catch((error) => notice(t('deliveries'), error));
  }

  get address() { return `${SENT}?endpoint_id=${this.chosen}${this.status && `&status=${this.status}`}${this.cursor && `&cursor=${this.cursor}`}`; }

  async #load() {
    if (!this.hook) return;
    const { address } = this;
    const page = await api.get(`${address}&limit=25`);
    for (const { instance_id: id } of page.data) if (id) this.#waits[id] ??= await api.get(`${instancePath(id)}/settings`).then((settings) => settings.callback_backoff, () => []);
    if (address !== this.address) return;
    this.page = page;
    this.render();
  }

  render() {
    const hooks = Object.keys(TONES).flatMap((status) => store.endpoints.filter(({ health }) => health.status === status));
    const [first, second] = hooks;
    const [failing, ...more] = hooks.map(({ health }) => health.failing_since).filter(Boolean).sort();
    const up = hooks.filter(({ health }) => health.status === 'ok').length;
    const owed = hooks.reduce((sum, { health }) => sum + health.pending + health.retrying, 0);
    const answer = [!first ? t('hooksNone') : up || second ? t('hooksUp', up, hooks.length) : !failing && `${word(first.health.status)}.`, failing && t('hooksFailing', more.length + 1, when(failing))];
    this.chosen ||= first?.id;
    morph(this, h('wu-webhooks', {},
      h('div', { class: 'head' }, h('div', {}, h('h1', { 'data-testid': 'hooks-answer' }, answer.filter(Boolean).join(' ')), h('p', {}, owed ? t('hooksOwed', owed) : t('hooksLead'))), h('div', { class: 'row' }, first && button('hookNew', edit, 'btn', icon('plus')))),
      h('ul', { class: 'sheet' }, first ? hooks.map((hook) => this.#entry(hook)) : h('li', { class: 'empty', 'data-testid': 'hooks-empty' }, icon('hook'), h('p', {}, t('hooksEmpty')), button('hookNew', edit, 'btn go'),
        code(t('hookListen'), ['whatisup webhooks listen --port 9000']), code(t('terminal'), curl(location.origin + HOOKS, { json: { url: 'https://example.org/webhook', events: ['message.received'] } })))),
      this.hook && this.#detail(this.hook)));
  }

  #entry({ id, url, events, instance_ids: of, health: { status, failing_since: since, last_proven_at: proven } }) {
    return h('li', { class: 'hook', 'aria-current': id === this.chosen && 'true', 'data-testid': 'hook', 'data-state': status }, state(status), h('a', { class: 'mono', href: `#/webhooks/${id}` }, url),
      h('span', {}, `${events[0] === '*' ? t('hookAll') : many(events, 'events') || events[0]}, ${of ? many(of, 'kind.instances') || instanceName(of[0]) : t('allInstances').toLowerCase()}`), h('span', { class: 'since' }, since ? t('hookSince', when(since)) : proven && time(proven)));
  }

  #detail(hook) {
    const { enabled, health: { status, failing_since: since, last_proven_at: proven, last_error: problem, consecutive_failures: failures } } = hook;
    const path = `${HOOKS}/${hook.id}`;
    const act = (name, work, className) => button(name, async () => { await work(this.hook); await this.#refresh(); }, className);
    const test = act('testNow', async () => { [this.tested] = (await api.post(`${path}/test`)).attempts; }, `btn ${enabled && status !== 'ok' ? 'go' : ''}`);
    const rotate = act('rotate', async () => {
      const made = await askSure({ title: t('askRotate'), text: t('askRotateText'), verb: t('rotate'), danger: false, testid: 'rotate-dialog', work: () => api.post(`${path}/rotate-secret`) });
      if (made) await reveal(made);
    });
    const switcher = act('switchOff', ({ enabled: on }) => api.call('PATCH', path, { enabled: !on }));
    if (!enabled) switcher.textContent = t('switchOn');
    const remove = act('remove', (now) => askSure({
      title: t('askRemove', titleOf(now)), text: t('askHookRemove'), verb: t('remove'), name: titleOf(now), testid: 'hook-delete-dialog',
      work: async () => { await api.call('DELETE', path); location.hash = '#/webhooks'; },
    }));
    const why = !enabled ? t(hook.disabled_reason === 'gone' ? 'hookGone' : 'hookOff')
      : since ? t('hookFailing', problem.replace(/^answered (\d+)$/, (_, code) => t('answered', code)), when(since), failures) : proven ? t('hookProven', when(proven)) : t('hookNever');
    const [bar] = chips(t('deliveries'), ['', ...Object.keys(TONES).slice(4)].map((one) => [one, [one ? word(one) : t('all'), h('b', {}, hook.health[one] || '')]]), () => this.status, (one) => this.#choose(one));
    const rows = h(table(['dlvState', 'events', 'instance', 'when', 'dlvTries', 'dlvAnswer', 'dlvNext'], this.#rows()), { onpointerleave: () => this.render() });
    return h('section', { class: 'group' },
      h('div', { class: 'head' }, h('div', {}, h('h2', {}, titleOf(hook)), h('p', { class: 'sm' }, rich(why)), h('div', { class: 'row wrap acts' }, act('edit', edit), rotate, switcher, remove)), h('div', { class: 'row wrap' }, test, act('replayRange', replay, 'btn'))),
      h('div', { role: 'status' }, this.tested && h('p', { class: 'hint row wrap', 'data-testid': 'test-answer' }, mark(worked(this.tested) ? 'good' : 'bad', `${answerOf(this.tested)}, ${took(this.tested)} `), h('code', {}, this.tested.response_body))),
      h('div', { class: 'bar' }, bar), h('div', { class: 'sheet dlv' }, rows), h('div', { class: 'row end' }, this.page?.next_cursor && button('older', () => this.#choose(this.status, this.page.next_cursor), 'btn')), code(t('terminal'), curl(quoted(location.origin + this.address))));
  }

  #rows() {
    const waiting = this.querySelector('.dlv [id]') && this.querySelector(`${matchMedia('(hover: hover)').matches ? '.dlv tbody:hover, ' : ''}.dlv :focus-visible`);
    const rows = this.page?.data.filter(({ id }) => !waiting || document.getElementById(id)).flatMap((row) => this.#row(row));
    return rows?.length === 0 ? h('tr', {}, h('td', { colspan: 7 }, t('dlvNone'))) : rows ?? [];
  }

  #row(row) {
    const { id, status, attempts, event, instance_id: of, created_at: at, next_attempt_at: next } = row;
    const last = attempts.at(-1);
    const open = this.#open.has(id);
    const waits = [0, ...event.startsWith('webhook.') ? [] : this.#waits[of]];
    const due = attempts.length + /pending|retrying/.test(status);
    const slots = Array.from({ length: Math.max(due, waits.length) }, (_, n) => [attempts[n] ? worked(attempts[n]) ? 'o' : 'x' : n < due ? 'next' : '', attempts[n], waits[n]]);
    const toggle = async () => {
      if (this.#open.delete(id)) return this.render();
      this.#open.set(id, {});
      this.render();
      const payload = await api.get(`${SENT}/${id}`).then((whole) => whole.payload, explain);
      if (this.#open.has(id)) this.#open.set(id, payload);
      this.render();
    };
    const cell = (className, ...content) => h('td', { class: className }, content);
    const line = h('tr', { 'data-testid': 'delivery', id, 'data-state': status }, cell('', state(status)),
      cell('', h('button', { class: 'mono', type: 'button', 'aria-expanded': String(open), 'data-testid': 'dlv-open', onclick: toggle }, event), row.replay_of && h('span', { class: 'faint' }, ` ${t('dlvAgain')}`)),
      cell('mid', of && instanceName(of)), cell('mid', time(at, when(at))), cell('', h('span', { class: 'ladder', role: 'img', 'aria-label': t('tries', attempts.length, slots.length) }, slots.map(([sign]) => h('i', { class: sign })))),
      cell('mono', last && (last.response_status ?? t('noAnswer'))), cell('opt', status === 'retrying' ? relative(next) : status === 'success' && took(last)));
    if (!open) return [line];
    const json = codeBlock(t('json'), 'dlv-payload');
    jsonInto(json.pre, this.#open.get(id));
    return [line, h('tr', { class: 'open', id: `${id}-more` }, h('td', { colspan: 7 }, h('div', { class: 'stack' },
      h('ol', { class: 'tries' }, slots.map(([sign, attempt, wait]) => h('li', { class: sign, 'data-testid': attempt && 'attempt' },
        h('b', {}, attempt ? attempt.response_status ?? t('noAnswer') : sign && next ? when(next) : `+ ${span(wait * 1000)}`), attempt && h('span', {}, `${when(attempt.at)} · ${took(attempt)}`)))),
      code(`${t('dlvBody')} · ${id}`, last ? [`${answerOf(last)}\n${last.response_body ?? ''}`] : [], 'dlv-answer'),
      h('div', {}, button('sendAgain', async () => { await api.post(`${SENT}/${id}/replay`); await this.#choose(this.status); }, 'btn small')),
      json.block, h('p', { class: 'mono trail' }, `${row.event_id} · ${row.correlation_id}`))))];
  }
}

customElements.define('wu-webhooks', Webhooks);

export const view = (chosen) => Object.assign(document.createElement('wu-webhooks'), { chosen });

const ALL = 'instances:read instances:write messages:send messages:read events:read webhooks:read webhooks:write keys:read keys:write'.split(' ');
const PRESETS = { everything: '', sendOnly: 'send', readOnly: 'read' };

const presetOf = (scopes) => Object.keys(PRESETS).find((name) => ALL.every((scope) => scope.includes(PRESETS[name]) === scopes.includes(scope)));
const grouped = (scopes) => Object.entries(Object.groupBy(scopes, (scope) => scope.split(':')[0].replace('events', 'messages')));
const verb = (scope) => t(scope.replace('events:read', ':events').split(':')[1].replace('write', 'update'));
const rights = (scopes = ALL) => t(presetOf(scopes) ?? '') || grouped(scopes).map(([group, members]) => `${area(group)}: ${members.map(verb).join(', ').toLowerCase()}`).join('; ');

const deed = (name, onclick, props) => h('button', { class: 'btn small', type: 'button', 'data-write': true, 'data-testid': name, onclick, ...props }, t(name));
const head = (title, text, ...buttons) => h('div', { class: 'head' }, h('div', {}, title, text), h('div', { class: 'row wrap' }, buttons));

function fate({ expires_at: at }) {
  const left = Date.parse(at) - api.now();
  return left <= 0 ? 'bad' : left < 7 * DAY ? 'warn' : '';
}

function revealKey({ secret, name, scopes = ALL }) {
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
  const create = deed('newKey', () => after(askKey(own).then((made) => made && revealKey(made))), { class: 'btn', hidden: true });
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
      h('td', { class: 'num' }, !create.hidden && deed('revoke', () => after(askSure({
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
    const full = used > 0.85 && disk.free_bytes < 5e9 ? disk.free_bytes < 5e8 ? 'bad' : 'warn' : 'good';
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

  const end = (name, path, props) => deed(name, ({ target }) => busy(target, () => api.call('DELETE', path).then(() => logins.load(), (error) => notice(t(name), error))), props);
  const others = end('endOthers', '/v1/sessions', { hidden: true });
  const logins = living(15, () => api.list('/v1/sessions'), (sessions) => {
    others.hidden = sessions.every(({ current }) => current);
    return h('ul', { class: 'tasks' }, !sessions.length && h('li', {}, h('p', {}, t('nobody'))), sessions.map((one) =>
      h('li', { 'data-testid': 'login' }, h('div', {}, h('h3', {}, device(one.user_agent), one.current && h('span', { class: 'faint' }, ` ${t('thisOne')}`)), h('p', {}, one.address, ' · ', time(one.last_used_at))), !one.current && end('end', `/v1/sessions/${one.id}`))));
  });

  let only = '';
  let shown = 25;
  const older = deed('older', () => { shown += 25; changes.load(); }, { hidden: true });
  const changes = living(15, () => api.list(`/v1/audit${only && `?action=${only}.`}`, shown + 1), (all) => {
    older.hidden = all.length <= shown;
    return table(['when', 'who', 'what'], all.slice(0, shown).map(change));
  });
  const [areas] = chips(t('audit'), ['', 'instances', 'keys', 'webhooks'].map((name) => [name, area(name || 'all')]), () => only, (name) => { only = name; shown = 25; changes.load(); });

  return h('div', {}, head(title, h('p', {}, t('systemLead'))), h('div', { class: 'cols' },
    h('div', { class: 'stack' }, h('div', {}, facts), h('section', { class: 'group' }, head(h('h2', {}, t('audit')), '', areas), changes, h('div', { class: 'row end' }, older))),
    h('div', { class: 'stack' }, h('section', { class: 'group' }, head(h('h2', {}, t('sessions')), '', others, !api.key && deed('passwordChange', () => changePassword().then(() => logins.load()))), logins),
      h('section', { class: 'group' }, head(h('h2', {}, t('api'))), h('ul', { class: 'sheet tasks' }, ['docs', 'openapi.json', 'llms.txt', 'metrics'].map((path) => h('li', {}, h('div', {}, h('h3', {}, path === 'metrics' ? '/metrics' : h('a', { href: `/${path}` }, `/${path}`)), h('p', {}, t(`link.${path}`))))))))));
}
