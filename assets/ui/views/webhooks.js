import { ask, askSure, busy, chips, codeBlock, curl, field, h, icon, jsonInto, mark, notice, Part, quoted, rich, table, time, unread } from '../app.js';
import { api, clock, exact, explain, has, instancePath, kindOf, relative, short, span, store, t } from '../store.js';

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
    this.every(3000, () => { if (!document.hidden && store.link !== 'gone') this.#refresh().catch(() => {}); });
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
