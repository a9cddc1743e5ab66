// Webhooks: who answers, deliveries with their attempts, the editor, the past sent again.
import { ask, askSure, busy, chips, codeBlock, curl, field, h, icon, jsonInto, mark, notice, Part, quoted, rich, setText, table, time, unread } from '../app.js';
import { api, clock, exact, explain, has, instancePath, kindOf, relative, short, span, store, t } from '../store.js';

const HOOKS = '/v1/webhook-endpoints';
const SENT = '/v1/webhook-deliveries';
const DAY = 86_400_000;
// Endpoints by need, then deliveries.
const TONES = { failing: 'bad', unproven: 'idle', ok: 'good', disabled: 'idle', pending: 'work', retrying: 'warn', failed: 'bad', success: 'good' };

const word = (status) => t(`hook.${status}`);
const state = (status) => mark(TONES[status], word(status));
const titleOf = (hook) => hook.description ?? new URL(hook.url).host;
const many = (list, kind) => `${list.length} ${t(kind).toLowerCase()}`;
const instanceName = (id) => store.instances.get(id)?.name ?? t('deleted');
const when = (time) => (Math.abs(api.now() - Date.parse(time)) < DAY / 2 ? clock(time) : exact(time));
const took = ({ duration_ms: ms }) => (ms < 1000 ? `${ms} ms` : short(ms / 1000));
const worked = ({ error, response_status: status }) => !error && status >= 200 && status < 300;
const answerOf = ({ error, response_status: status }) => error ?? t('answered', status);
const button = (name, work, className = 'btn ghost small') => h('button', { class: className, type: 'button', 'data-write': true, 'data-testid': name, onclick: ({ currentTarget: on }) => busy(on, work).catch((error) => notice(on.textContent, error)) }, t(name));
const choice = (label, checked, value, onchange) => h('label', { class: 'check' }, h('input', { type: 'checkbox', checked, value, onchange }), label);
const input = (props) => h('input', { class: 'input', autocomplete: 'off', ...props });

let names;
/** What webhooks carry, as the API describes itself. */
const eventNames = async () => (names ??= (await api.get('/openapi.json')).components.schemas.WebhookDelivery.properties.event.enum);

/** Ticks below one for all, which is `null`. */
function ticks(name, legend, all, groups, chosen) {
  const rest = h('div', { hidden: !chosen, class: 'ticks' }, Object.entries(groups).map(([title, items]) => h('div', {}, title && h('h3', {}, title), items.map(([value, label]) => choice(label, chosen?.includes(value), value)))));
  const every = choice(all, !chosen, 'all', ({ target }) => { rest.hidden = target.checked; });
  return {
    element: h('fieldset', { class: 'labelled', name, id: `f-${name}` }, h('legend', {}, legend), every, rest),
    value: () => (rest.hidden ? null : [...rest.querySelectorAll(':checked')].map((box) => box.value)),
  };
}

const eventTicks = (list, chosen) => ticks('events', t('events'), t('hookAll'), Object.groupBy(list.filter((event) => !event.startsWith('webhook.')).map((event) => [event, h('code', {}, event)]), ([event]) => t(`kind.${kindOf({ event })}`)), chosen);

function reveal({ url, signing_secret: secret }) {
  const key = codeBlock(new URL(url).host, 'hook-secret');
  const listen = codeBlock(t('hookListen'));
  key.put([secret]);
  listen.put([`whatisup webhooks listen --secret ${quoted(secret)}`]);
  return ask({ title: t('secretOnce'), text: t('secretCheck'), fields: [key.block, listen.block], verb: t('close'), testid: 'secret-dialog', alone: true, work: () => true });
}

async function edit(hook) {
  const [method, path] = hook ? ['PATCH', `${HOOKS}/${hook.id}`] : ['POST', HOOKS];
  const url = input({ type: 'url', placeholder: 'https://example.org/webhook', value: hook?.url ?? '' });
  const secret = input();
  const canary = input({ type: 'number', value: hook?.canary_interval_seconds ?? '' });
  const events = eventTicks(await eventNames(), hook?.events[0] === '*' ? null : hook?.events);
  const instances = ticks('instance_ids', t('kind.instances'), t('allInstances'), { '': [...store.instances.values()].map(({ id, name }) => [id, name]) }, hook?.instance_ids);
  const call = codeBlock(t('terminal'));
  // Of a known one only what changes.
  const body = () => Object.fromEntries(Object.entries({
    url: url.value.trim(), events: events.value() ?? ['*'], instance_ids: instances.value(), canary_interval_seconds: Number(canary.value) || null, signing_secret: secret.value || null,
  }).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(hook?.[key] ?? null)));
  const write = () => call.put(curl(location.origin + path, { method, json: body() }));
  write();
  const made = await ask({
    title: hook ? titleOf(hook) : t('hookNew'), verb: t(hook ? 'save' : 'create'), testid: 'hook-dialog',
    fields: [h('div', { class: 'stack', oninput: write }, field('url', t('hookUrl'), url), events.element, instances.element, !hook && field('signing_secret', t('ownSecret'), secret), field('canary_interval_seconds', t('canary'), canary), call.block)],
    work: () => api.call(method, path, body()).catch((error) => {
      const { reason } = error.details ?? {};
      if (reason) error.details.fields = [{ path: 'body.url', problem: has(`problem.${reason}`) ? reason : error.message }];
      throw error;
    }),
  });
  await store.loadEndpoints();
  if (!made?.signing_secret) return;
  location.hash = `#/webhooks/${made.id}`;
  await reveal(made);
}

/** The button wakes when the server has counted. */
async function replay(hook) {
  const path = `${HOOKS}/${hook.id}/replay`;
  const from = Date.parse(hook.health.failing_since) || api.now() - DAY;
  const since = input({ type: 'datetime-local', value: new Date(from - new Date(from).getTimezoneOffset() * 60_000).toISOString().slice(0, 16) });
  const until = input({ type: 'datetime-local' });
  const failed = choice(t('replayFailed'), false, 'failed');
  const events = eventTicks(hook.events[0] === '*' ? await eventNames() : hook.events);
  const count = h('p', { role: 'status', 'data-testid': 'replay-count' });
  const utc = ({ value }) => (value ? new Date(value) : undefined);
  const body = (more) => ({ since: utc(since), until: utc(until), events: events.value() ?? undefined, status: failed.firstChild.checked ? 'failed' : undefined, ...more });
  let asked = 0;
  const preview = async () => {
    const turn = asked += 1;
    const submit = form.closest('form').querySelector('.go');
    submit.disabled = true;
    const found = await api.post(path, body({ dry_run: true })).catch((error) => error);
    if (turn !== asked) return;
    submit.disabled = !found.count;
    count.replaceChildren(...rich(found.code ? explain(found) : t('replayCount', found.count)));
  };
  const form = h('div', { class: 'stack', oninput: preview }, field('since', t('replayFrom'), since), field('until', t('replayUntil'), until), failed, events.element, count);
  const done = ask({ title: t('replayRange'), fields: [form], verb: t('send'), testid: 'replay-dialog', work: () => api.post(path, body()) });
  preview();
  await done;
}

class Webhooks extends Part {
  #filter = { status: '', event: '' };
  #rows = [];
  #waits = new Map();
  #open = new Map();
  #turn = 0;
  #seconds = 0;

  async show() {
    this.heading = h('h1', { 'data-testid': 'hooks-answer' }, t('webhooks'));
    this.lead = h('p', {});
    this.create = button('hookNew', edit, 'btn');
    this.create.prepend(icon('plus'));
    this.list = h('ul', { class: 'sheet' });
    this.replaceChildren(h('div', { class: 'head' }, h('div', {}, this.heading, this.lead), h('div', { class: 'row' }, this.create)), this.list);
    try {
      await store.loadEndpoints();
    } catch (error) {
      this.create.remove();
      return this.list.replaceWith(h('div', { class: 'sheet' }, unread(error)));
    }
    this.listen(store, 'endpoints instances', () => this.render());
    this.listen(store, 'events', () => { this.#seconds = 0; });
    this.every(1000, () => {
      const { pending, retrying } = this.hook?.health ?? {};
      this.#seconds += 1;
      if (!document.hidden && store.link !== 'gone' && this.#seconds % (pending || retrying ? 4 : 16) === 1) this.#refresh().catch(() => {});
    });
    this.render();
  }

  get hook() { return store.endpoints.find(({ id }) => id === this.chosen); }

  #refresh() { return Promise.all([store.loadEndpoints(), this.hook && this.#load()]); }

  render() {
    const hooks = Object.keys(TONES).flatMap((status) => store.endpoints.filter(({ health }) => health.status === status));
    const failing = hooks.map(({ health }) => health.failing_since).filter(Boolean).sort();
    const owed = hooks.reduce((sum, { health }) => sum + health.pending + health.retrying, 0);
    this.chosen ||= hooks[0]?.id;
    const up = hooks.filter(({ health }) => health.status === 'ok').length;
    setText(this.heading, [
      !hooks.length ? t('hooksNone') : up || hooks[1] ? t('hooksUp', up, hooks.length) : !failing[0] && `${word(hooks[0].health.status)}.`, failing[0] && t('hooksFailing', failing.length, when(failing[0])),
    ].filter(Boolean).join(' '));
    setText(this.lead, owed ? t('hooksOwed', owed) : t('hooksLead'));
    this.create.hidden = !hooks.length;
    const lines = hooks.map((hook) => {
      const { health: { status, failing_since: since, last_proven_at: proven }, events, instance_ids: of } = hook;
      return h('li', { class: 'hook', 'aria-current': hook === this.hook && 'true', 'data-testid': 'hook', 'data-id': hook.id, 'data-state': status }, state(status), h('a', { class: 'mono', href: `#/webhooks/${hook.id}` }, hook.url),
        h('span', {}, `${events[0] === '*' ? t('hookAll') : events[1] ? many(events, 'events') : events[0]}, ${of ? of[1] ? many(of, 'kind.instances') : instanceName(of[0]) : t('allInstances').toLowerCase()}`), h('span', { class: 'since' }, since ? t('hookSince', when(since)) : proven && time(proven)));
    });
    const says = lines.map((line) => line.textContent).join();
    const focus = document.activeElement.closest('.hook')?.dataset.id;
    if (says !== this.says) this.list.replaceChildren(...(hooks.length ? lines : this.#empty()));
    if (focus) this.list.querySelector(`[data-id="${focus}"] a`)?.focus();
    this.says = says;
    if (this.hook) {
      if (!this.detail) this.#detail();
      this.#about(this.hook);
    } else this.detail?.remove();
  }

  #empty() {
    const listen = codeBlock(t('hookListen'));
    const call = codeBlock(t('terminal'));
    listen.put(['whatisup webhooks listen --port 9000']);
    call.put(curl(location.origin + HOOKS, { json: { url: 'https://example.org/webhook', events: ['message.received'] } }));
    return [h('li', { class: 'empty', 'data-testid': 'hooks-empty' }, icon('hook'), h('p', {}, t('hooksEmpty')), button('hookNew', edit, 'btn go'), listen.block, call.block)];
  }

  #detail() {
    const path = `${HOOKS}/${this.chosen}`;
    const act = (name, work, className) => button(name, async () => { await work(this.hook); await this.#refresh(); }, className);
    const select = h('select', { class: 'input', 'aria-label': t('events'), 'data-testid': 'event-filter', onchange: () => this.#choose({ event: select.value }) }, h('option', { value: '' }, t('hookAll')));
    eventNames().then((list) => select.append(...list.map((name) => h('option', {}, name))), () => {});
    this.name = h('h2', { id: 'hook-name' });
    this.why = h('p', { class: 'sm' });
    this.tested = h('div', { role: 'status' });
    this.tester = act('testNow', async () => {
      const { attempts: [attempt] } = await api.post(`${path}/test`);
      this.tested.replaceChildren(h('p', { class: 'hint row wrap', 'data-testid': 'test-answer' }, mark(worked(attempt) ? 'good' : 'bad', `${answerOf(attempt)}, ${took(attempt)} `), h('code', {}, attempt.response_body)));
    });
    this.switcher = act('switchOff', ({ enabled }) => api.call('PATCH', path, { enabled: !enabled }));
    const [bar] = chips(t('deliveries'), ['', ...Object.keys(TONES).slice(4)].map((status) => [status, [status ? word(status) : t('all'), h('b', {})]]), () => this.#filter.status, (status) => this.#choose({ status }));
    this.chips = bar.children;
    this.older = button('older', () => this.#choose({ cursor: this.next }), 'btn');
    this.call = codeBlock(t('terminal'));
    const rows = h(table(['dlvState', 'events', 'instance', 'when', 'dlvTries', 'dlvAnswer', 'dlvNext'], []), { 'aria-label': t('deliveries') });
    [this.tbody] = rows.tBodies;
    this.tbody.addEventListener('pointerleave', () => this.#draw());
    this.detail = h('section', { class: 'group', 'aria-labelledby': 'hook-name' }, h('div', { class: 'head' }, h('div', {}, this.name, this.why, h('div', { class: 'row wrap acts' },
      act('edit', edit), act('rotate', async () => {
        const made = await askSure({ title: t('askRotate'), text: t('askRotateText'), verb: t('rotate'), danger: false, testid: 'rotate-dialog', work: () => api.post(`${path}/rotate-secret`) });
        if (made) await reveal(made);
      }), this.switcher, act('remove', (hook) => askSure({
        title: t('askRemove', titleOf(hook)), text: t('askHookRemove'), verb: t('remove'), name: titleOf(hook), testid: 'hook-delete-dialog',
        work: async () => { await api.call('DELETE', path); location.hash = '#/webhooks'; },
      })))), h('div', { class: 'row wrap' }, this.tester, act('replayRange', replay, 'btn'))),
    this.tested, h('div', { class: 'bar' }, bar, select), h('div', { class: 'sheet dlv' }, rows), h('div', { class: 'row end' }, this.older), this.call.block);
    this.append(this.detail);
    this.#choose({});
  }

  #about(hook) {
    const { health, enabled } = hook;
    setText(this.name, titleOf(hook));
    const why = !enabled ? t(hook.disabled_reason === 'gone' ? 'hookGone' : 'hookOff')
      : health.failing_since ? t('hookFailing', health.last_error.replace(/^answered (\d+)$/, (_, status) => t('answered', status)), when(health.failing_since), health.consecutive_failures)
        : health.last_proven_at ? t('hookProven', when(health.last_proven_at)) : t('hookNever');
    if (why !== this.because) this.why.replaceChildren(...rich(this.because = why));
    this.tester.className = `btn ${enabled && health.status !== 'ok' ? 'go' : ''}`;
    setText(this.switcher, t(enabled ? 'switchOff' : 'switchOn'));
    for (const chip of this.chips) setText(chip.lastChild, String(health[chip.value] || ''));
  }

  #choose(filter) {
    this.#filter = { ...this.#filter, cursor: '', ...filter };
    this.#seconds = 0;
    this.key = null;
    this.tbody.replaceChildren();
    return this.#load().catch((error) => notice(t('deliveries'), error));
  }

  async #load() {
    const turn = this.#turn += 1;
    const address = `${SENT}?${new URLSearchParams(Object.entries({ endpoint_id: this.chosen, ...this.#filter }).filter(([, value]) => value))}`;
    this.call.put(curl(quoted(location.origin + address)));
    const { data, next_cursor: next } = await api.get(`${address}&limit=25`);
    await Promise.all([...new Set(data.map((row) => row.instance_id))].filter((id) => id && !this.#waits.has(id))
      .map(async (id) => this.#waits.set(id, await api.get(`${instancePath(id)}/settings`).then((settings) => settings.callback_backoff, () => []))));
    // What was asked later counts.
    if (turn !== this.#turn) return;
    this.#rows = data;
    this.next = next;
    this.older.hidden = !next;
    this.#draw();
  }

  /** New rows wait while somebody points at the table. */
  #draw(now = false) {
    const at = document.activeElement;
    const id = at.closest('tr')?.dataset.id;
    const waits = !now && this.tbody.childElementCount && this.tbody.matches(matchMedia('(hover: hover)').matches ? ':hover, :has(:focus-visible)' : ':has(:focus-visible)');
    const rows = waits ? this.#rows.filter((row) => this.tbody.querySelector(`[data-id="${row.id}"]`)) : this.#rows;
    const key = rows.map((row) => row.id + this.#open.has(row.id)).join();
    if (key !== this.key) this.tbody.replaceChildren(...rows.length ? rows.flatMap((row) => [this.#row(row), this.#open.has(row.id) ? this.#more(row) : []].flat()) : [h('tr', {}, h('td', { colspan: 7 }, t('dlvNone')))]);
    else for (const row of rows) {
      const old = this.tbody.querySelector(`[data-id="${row.id}"]`);
      const made = this.#row(row);
      // What is the same is left alone, and so is what somebody reads or selects below it.
      if (old.outerHTML !== made.outerHTML) old.replaceWith(made);
      if (this.#open.has(row.id)) this.#more(row);
    }
    this.key = key;
    if (id) (at.isConnected ? at : this.tbody.querySelector(`[data-id="${id}"] button`))?.focus({ preventScroll: true });
  }

  /** Every attempt made, due or possible; of tests and canaries there is one. */
  #slots({ attempts, status, event, instance_id: id }) {
    const waits = [0, ...event.startsWith('webhook.') ? [] : this.#waits.get(id)];
    const due = attempts.length + ['pending', 'retrying'].includes(status);
    return Array.from({ length: Math.max(due, waits.length) }, (_, n) => ({ attempt: attempts[n], wait: waits[n], sign: attempts[n] ? worked(attempts[n]) ? 'o' : 'x' : n < due ? 'next' : '' }));
  }

  #row(row) {
    const { id, status, attempts, event, next_attempt_at: next } = row;
    const last = attempts.at(-1);
    const slots = this.#slots(row);
    const toggle = () => {
      if (!this.#open.delete(id)) this.#open.set(id, { tr: h('tr', { class: 'open' }) });
      this.#draw(true);
    };
    return h('tr', { 'data-testid': 'delivery', 'data-id': id, 'data-state': status }, h('td', {}, state(status)),
      h('td', {}, h('button', { class: 'mono', type: 'button', 'aria-expanded': String(this.#open.has(id)), 'data-testid': 'dlv-open', onclick: toggle }, event), row.replay_of && h('span', { class: 'faint' }, ` ${t('dlvAgain')}`)),
      h('td', { class: 'mid' }, row.instance_id && instanceName(row.instance_id)), h('td', { class: 'mid' }, time(row.created_at, when(row.created_at))),
      h('td', {}, h('span', { class: 'ladder', role: 'img', 'aria-label': t('tries', attempts.length, slots.length) }, slots.map(({ sign }) => h('i', { class: sign })))),
      h('td', { class: 'mono' }, last && (last.response_status ?? t('noAnswer'))), h('td', { class: 'opt' }, status === 'retrying' ? relative(next) : status === 'success' && took(last)));
  }

  #more(row) {
    const { id, attempts, next_attempt_at: next } = row;
    const kept = this.#open.get(id);
    if (kept.count === attempts.length) return kept.tr;
    kept.count = attempts.length;
    const answer = codeBlock(`${t('dlvBody')} · ${id}`, 'dlv-answer');
    const payload = codeBlock(t('json'), 'dlv-payload');
    const last = attempts.at(-1);
    if (last) answer.put([`${answerOf(last)}\n${last.response_body ?? ''}`]);
    api.get(`${SENT}/${id}`).then((whole) => jsonInto(payload.pre, whole.payload), (error) => payload.put([explain(error)]));
    kept.tr.replaceChildren(h('td', { colspan: 7 }, h('div', { class: 'stack' },
      h('ol', { class: 'tries' }, this.#slots(row).map(({ attempt, wait, sign }) => h('li', { class: sign, 'data-testid': attempt && 'attempt' },
        h('b', {}, attempt ? attempt.response_status ?? t('noAnswer') : sign && next ? when(next) : `+ ${span(wait * 1000)}`), attempt && h('span', {}, `${when(attempt.at)} · ${took(attempt)}`)))),
      answer.block, h('div', {}, button('sendAgain', async () => {
        await api.post(`${SENT}/${id}/replay`);
        await this.#choose({});
      }, 'btn small')), payload.block, h('p', { class: 'mono trail' }, `X-WhatIsUp-Event-Id: ${row.event_id} · X-WhatIsUp-Correlation-Id: ${row.correlation_id}`))));
    return kept.tr;
  }
}

customElements.define('wu-webhooks', Webhooks);

export const view = (chosen) => Object.assign(document.createElement('wu-webhooks'), { chosen });
