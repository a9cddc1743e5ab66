// The overview and the event monitor.
import { askName, busy, chips, codeBlock, copier, curl, h, icon, jsonInto, notice, Part, quoted, rich, setText, svg, time, trouble } from '../app.js';
import { answer, api, clock, dialled, eventLine, EventStream, exact, groupOf, isOff, KINDS, looksOf, sinceOf, sinceText, stateOf, store, t, whyOf } from '../store.js';

export const define = (parts) => Object.entries(parts).forEach(([name, part]) => customElements.get(name) ?? customElements.define(name, part));

export const does = (className, word, testid, work) => h('button', {
  class: className, type: 'button', 'data-write': true, 'data-testid': testid, onclick: ({ currentTarget }) => busy(currentTarget, () => work().catch((error) => notice(t(word), error))),
}, t(word));

export function changed(element, ...facts) {
  const before = element.dataset.sign;
  element.dataset.sign = facts.join();
  return element.dataset.sign !== before;
}

export const make = (name, facts) => Object.assign(document.createElement(name), facts);

export function offer(select, options, chosen = select.value) {
  if (!changed(select, ...options)) return;
  select.replaceChildren(...options.map(([value, text]) => h('option', { value }, text)));
  select.value = chosen;
}

export function copies(label, text, className) {
  const { button, word } = copier(label, t('copied'), text, className);
  button.append(icon('copy'), word);
  return button;
}

const ALL = Object.keys(KINDS);
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

const timeOfId = (id) => id && [...id.slice(4, 14)].reduce((sum, digit) => sum * 32 + DIGITS.indexOf(digit), 0);

const idOfTime = (time) => `evt_${Array.from({ length: 26 }, (_, place) => DIGITS[Math.floor(time / 32 ** (9 - place)) % 32]).join('')}`;

const wishes = () => new URLSearchParams(location.hash.split('?')[1]);
const remember = (room, facts) => history.replaceState(null, '', `#/${room}${queryOf(facts)}`);

function queryOf(facts) {
  const query = new URLSearchParams(Object.entries(facts).filter(([, value]) => value)).toString();
  return query && `?${query.replaceAll('%2C', ',')}`;
}

class EventList extends Part {
  limit = 500;
  accepts = () => true;
  paused = false;
  held = [];
  #waiting = [];
  #timer = 0;

  show() {
    this.list = h('ol', { 'aria-label': t('eventList') });
    this.none = h('p', {});
    this.empty = h('div', { class: 'hint' }, this.none, h('p', { class: 'muted sm' }, t('noEventsText')));
    this.replaceChildren(this.list, this.empty);
    this.listen(store, 'events', ({ detail }) => this.#take(detail.added));
    this.listen(store, 'instances', () => this.#name());
    this.refill();
  }

  gone() { clearTimeout(this.#timer); }

  refill() {
    this.#waiting = [];
    this.held = [];
    this.list.replaceChildren();
    this.#add(this.#wanted(store.events).slice(0, this.limit));
  }

  pause(paused) {
    this.paused = paused;
    this.#take(this.held.splice(0));
  }

  #wanted(events) { return events.filter((event) => event.seam || this.accepts(event)); }

  #take(added) {
    const into = this.paused ? this.held : this.#waiting;
    into.push(...this.#wanted(added));
    into.splice(0, into.length - this.limit);
    this.dispatchEvent(new Event('held'));
    if (this.#waiting.length) this.#timer ||= setTimeout(() => this.#add(this.#waiting.splice(0).reverse()), 60);
  }

  #add(events) {
    this.#timer = 0;
    this.list.prepend(...events.map((event) => (event.seam ? seam(event) : this.#row(event))));
    while (this.list.childElementCount > this.limit) this.list.lastElementChild.remove();
    this.#name();
    setText(this.none, t(store.events.length ? 'noMatch' : 'noEventsYet'));
    this.empty.hidden = this.list.childElementCount > 0;
    this.list.hidden = !this.empty.hidden;
    if (!this.list.matches(':focus-within')) this.#tabStop(this.list.querySelector('button'));
  }

  #row(event) {
    const [shape, tone = 'muted'] = looksOf(event);
    const at = event.occurred_at ?? Date.now();
    const button = h('button', { type: 'button', tabindex: '-1', onclick: () => this.pick(row), onfocus: () => this.#tabStop(button) }, event.event);
    const row = h('li', { class: 'ev', 'data-testid': 'event', 'data-event': event.event, 'data-event-id': event.event_id, 'data-instance-id': event.instance_id },
      time(at, clock(at, true)), h('span', { class: `st ${tone}` }, icon(shape)), button,
      h('span', { class: 'what' }, h('b', { 'data-unnamed': event.instance_id }), ' ', eventLine(event)));
    row.event = event;
    return row;
  }

  #name() {
    for (const name of this.list.querySelectorAll('[data-unnamed]')) {
      const instance = store.instances.get(name.dataset.unnamed);
      if (instance) delete name.dataset.unnamed;
      if (instance || store.loaded) name.textContent = instance?.name ?? t('deleted');
    }
  }

  pick(row) {
    this.list.querySelector('.sel')?.classList.remove('sel');
    row?.classList.add('sel');
    if (row) this.dispatchEvent(new CustomEvent('pick', { detail: row.event }));
  }

  #tabStop(button) {
    this.list.querySelector('button[tabindex="0"]')?.setAttribute('tabindex', -1);
    if (button) button.tabIndex = 0;
  }

  move(step) {
    const buttons = [...this.list.querySelectorAll('button')];
    const next = buttons[Math.max(0, buttons.indexOf(document.activeElement) + step)];
    next?.focus();
    return next?.parentNode;
  }
}

function seam(event) {
  const gap = event.seam === 'gap' && event.event;
  const text = h('span', {});
  const put = () => setText(text, gap ? t('gap', exact(timeOfId(gap.requested_event_id)), exact(timeOfId(gap.oldest_event_id) ?? gap.occurred_at)) : t('seam', clock(event.from), clock(event.to), event.count));
  put();
  if (!gap) setTimeout(put, 1000);
  return h('li', { class: gap ? 'seam bad' : 'seam', 'data-testid': 'seam' }, icon(gap ? 'disconnected' : 'link'), text);
}

export function excerpt(accepts = () => true, query = '') {
  const list = make('wu-event-list', { limit: 8, accepts });
  list.addEventListener('pick', ({ detail }) => { location.hash = `#/events/${detail.event_id ?? ''}${query}`; });
  return h('section', { class: 'group' }, h('h2', {}, t(query ? 'itsEvents' : 'latest'), h('a', { class: 'more', href: `#/events${query}` }, t('allEvents'))), h('div', { class: 'sheet' }, list));
}

class EventsView extends Part {
  eventId = '';
  names = [];

  show() {
    const wish = wishes();
    const select = (id, label, ...options) => h('select', { class: 'input', 'aria-label': label, 'data-testid': id, onchange: () => this.#filter() }, options);
    this.kinds = new Set(wish.get('kinds')?.split(',').filter((kind) => ALL.includes(kind)));
    this.heading = h('h1', {});
    this.pauser = h('button', { class: 'btn', type: 'button', 'data-testid': 'pause', onclick: () => this.#pause() });
    const copy = copies(t('copyCurl'), () => this.call.pre.textContent, 'btn');
    copy.dataset.testid = 'copy-curl';
    this.which = select('which', t('whichInstance'));
    this.name = select('event-name', t('eventName'), h('option', { value: '' }, t('allEvents')),
      ALL.map((kind) => h('optgroup', { label: t(`kind.${kind}`) }, KINDS[kind].map((name) => h('option', {}, name)))));
    this.name.value = wish.get('event') ?? '';
    this.name.value ||= '';
    this.chips = h('div', { class: 'chips', role: 'group', 'aria-label': t('kinds'), 'data-multi': true }, ALL.map((kind) => h('button', {
      class: 'chip', type: 'button', 'data-kind': kind, onclick: () => {
        if (!this.kinds.size) this.kinds = new Set(ALL);
        if (!this.kinds.delete(kind)) this.kinds.add(kind);
        this.#filter();
      },
    }, icon('tick'), t(`kind.${kind}`))));
    this.list = make('wu-event-list', { accepts: (event) => [event.instance_id, ''].includes(this.which.value) && (!this.names.length || this.names.includes(event.event)) });
    this.json = codeBlock(t('json'), 'event-json');
    this.about = h('h2', { id: 'picked' });
    const close = h('button', { class: 'btn ghost small icon', type: 'button', 'aria-label': t('close'), onclick: () => this.#close() }, icon('close'));
    this.detail = h('dialog', { class: 'sheet detail', 'aria-labelledby': 'picked', 'data-testid': 'detail' }, h('div', { class: 'sec' }, this.about, close), this.json.block);
    this.call = codeBlock(t('listenCurl'), 'events-curl');
    this.hint = h('aside', { class: 'aside' }, h('p', { class: 'muted sm' }, t('pickEvent')), this.call.block);
    this.#instances(wish.get('instance') ?? '');
    this.replaceChildren(
      h('div', { class: 'head' }, h('div', {}, this.heading, h('p', {}, t('eventsLead'))), h('div', { class: 'row wrap' }, copy, this.pauser)),
      h('div', { class: 'bar' }, this.which, this.name, this.chips),
      h('div', { class: 'monitor' }, h('div', { class: 'sheet' }, this.list), h('div', { class: 'side' }, this.detail, this.hint)));
    this.listen(this.list, 'pick', ({ detail }) => this.#open(detail));
    this.listen(this.list, 'held', () => this.#label());
    this.listen(store, 'link events', () => this.#label());
    this.listen(store, 'instances', () => this.#instances(this.which.value));
    this.listen(this.detail, 'close', () => this.#close());
    this.listen(document, 'keydown', (event) => this.#key(event));
    this.#filter();
    this.list.pick(this.list.querySelector(`[data-event-id="${CSS.escape(this.eventId)}"]`));
  }

  #filter() {
    if (this.kinds.size === ALL.length) this.kinds.clear();
    const kinds = [...this.kinds];
    for (const chip of this.chips.children) chip.setAttribute('aria-pressed', !kinds.length || this.kinds.has(chip.dataset.kind));
    this.chips.hidden = this.name.value;
    this.names = this.name.value ? [this.name.value] : kinds.flatMap((kind) => KINDS[kind]);
    const query = queryOf({ instance_id: this.which.value, events: this.names.join() });
    const url = `${location.origin}/v1/events`;
    this.call.put(curl(query ? quoted(url + query) : url, { stream: true }));
    this.#address();
    this.list.refill();
    this.#label();
  }

  #address() {
    const event = this.name.value;
    remember(`events${this.eventId && `/${this.eventId}`}`, { instance: this.which.value, event, kinds: event ? '' : [...this.kinds].join() });
  }

  #label() {
    const { held, paused } = this.list;
    setText(this.heading, t({ refused: 'mayNotListen', gone: 'notListening' }[store.link] ?? (store.events.some((event) => event.seam === 'gap') ? 'listeningGap' : 'listening')));
    const text = t(!paused ? 'pause' : held.length ? 'paused' : 'resume', held.length);
    if (!changed(this.pauser, text)) return;
    this.pauser.replaceChildren(icon(paused ? 'chev' : 'pause'), text, ' ', h('kbd', { 'aria-hidden': 'true' }, t('space')));
    this.pauser.setAttribute('aria-pressed', paused);
  }

  #pause() { this.list.pause(!this.list.paused); }

  #instances(chosen) {
    const all = [...store.instances.values()].sort(byName).map(({ id, name }) => [id, name]);
    if (chosen && !store.instances.has(chosen)) all.push([chosen, chosen]);
    offer(this.which, [['', t('allInstances')], ...all], chosen);
  }

  #open(event) {
    setText(this.about, event.event);
    jsonInto(this.json.pre, event);
    this.hint.hidden = true;
    this.eventId = event.event_id ?? '';
    this.#address();
    if (this.detail.open) return;
    if (matchMedia('(width >= 1100px)').matches) this.detail.setAttribute('open', '');
    else this.detail.showModal();
  }

  #close() {
    if (this.detail.open) this.detail.close();
    this.hint.hidden = false;
    this.eventId = '';
    this.#address();
    this.list.pick(null);
  }

  #key(event) {
    const { key, target } = event;
    if (target.closest('input, textarea, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = target.closest('.ev');
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (key === 'c' && (row || this.detail.open)) {
      if (row) this.list.pick(row);
      return this.json.button.click();
    }
    if (target.closest('dialog:modal')) return;
    if (key === 'Escape') this.#close();
    if (!row && target.closest('button, a, pre')) return;
    if (step) {
      event.preventDefault();
      const next = this.list.move(step);
      if (this.detail.open) this.list.pick(next);
    } else if (key === ' ') {
      event.preventDefault();
      this.#pause();
    }
  }
}

const TITLES = { need: 'groupNeed', work: 'groupWork', up: 'groupUp', off: 'groupOff' };
const GROUPS = Object.keys(TITLES);
const URGENCY = ['failed', 'disconnected', 'qr', 'connecting', 'pending'];
const SEARCHED_FROM = 6;
const MANY = 60;
const SHOWN_UP = 20;
const DAY_MS = 86_400_000;
const WIDTH = 140;

let past = null;

function recall(drawn) {
  const stream = new EventStream('?events=instance.disconnected,instance.status');
  past = { of: {}, from: api.now() - DAY_MS };
  stream.addEventListener('event', ({ detail }) => learn(detail.event));
  stream.addEventListener('present', () => { stream.stop(); past.complete = true; drawn(); });
  stream.start(idOfTime(past.from));
}

function learn({ event, instance_id: id, status, occurred_at: at, oldest_event_id: oldest }) {
  if (event === 'stream.gap') past.from = timeOfId(oldest) ?? api.now();
  else if (event === 'instance.disconnected') status = 'was up';
  else if (event !== 'instance.status') return;
  (past.of[id] ??= []).push([Date.parse(at), status]);
}

store.addEventListener('events', ({ detail }) => detail.added.forEach((event) => { if (event.seam === 'gap') past = null; else if (past) learn(event); }));

const levelOf = (status) => ({ connected: 'up', pending: 'off', qr: 'off' }[status] ?? 'down');

function dayOf({ id, status, created_at }, start) {
  const known = (past.of[id] ?? []).filter(([at]) => at > start).sort(([a], [b]) => a - b);
  past.of[id] = known;
  const [first, second] = known.map(([, what]) => what);
  const wasUp = first === 'was up' || (first === 'connecting' && second === 'connected');
  const made = Date.parse(created_at);
  const levels = [[start, made > start ? 'off' : '']];
  for (const [at, what] of [[Math.max(made, past.from), wasUp ? 'connected' : !first ? status : first === 'qr' ? first : ''], ...known, [api.now(), status]]) {
    if (what !== 'was up' && levels.at(-1)[1] !== levelOf(what)) levels.push([Math.max(at, start), levelOf(what)]);
  }
  return levels;
}

function trace(instance) {
  const start = api.now() - DAY_MS;
  const levels = dayOf(instance, start);
  const paths = { up: '', down: '', off: '' };
  const x = (at) => (1 + WIDTH * Math.min(1, (at - start) / DAY_MS)).toFixed(1);
  const isLow = (entry) => entry?.[1] && entry[1] !== 'up';
  levels.forEach(([at, level], index) => {
    const next = levels[index + 1];
    const end = `H${x(next?.[0] ?? start + DAY_MS)}`;
    if (level === 'up') paths.up += `M${x(at)} ${isLow(levels[index - 1]) ? '19V5' : 5}${end}${isLow(next) ? 'V19' : ''}`;
    else if (level) paths[level] += `M${x(at)} 19${end}`;
  });
  const [since, last] = levels.at(-1);
  const label = { off: t('pending'), down: t('traceDown', clock(since).slice(0, 5)), up: t('traceUp', levels.filter(([, level]) => level === 'down').length) };
  return svg('svg', { viewBox: '0 0 152 24', class: `trace ${stateOf(instance).tone}`, role: 'img', 'aria-label': label[last] },
    ...Object.entries(paths).map(([name, d]) => svg('path', { class: name, d })), svg('circle', { class: 'now', cx: 1 + WIDTH, cy: last === 'up' ? 5 : 19, r: 3 }));
}

async function newInstance() {
  const made = await askName({
    title: t('newInstance'), text: t('createText'), verb: t('create'), testid: 'create-dialog', work: (name) => store.create(name),
  });
  if (made?.id) location.hash = `#/instances/${made.id}/qr`;
}

class Row {
  constructor(id) {
    this.id = id;
    this.state = h('span', {});
    this.name = h('a', { href: `#/instances/${id}`, dir: 'auto' });
    this.number = h('span', { class: 'mono' });
    this.why = h('p', { class: 'why' });
    this.day = h('div', { class: 'day' });
    this.since = h('time', { class: 'since' });
    this.act = h('div', { class: 'act' });
    this.item = h('li', { class: 'line', 'data-testid': 'instance', 'data-id': id }, this.state, h('div', { class: 'who' }, this.name, this.number), this.why, this.day, this.since, this.act);
  }

  update(instance) {
    this.instance = instance;
    this.group = groupOf(instance);
    const { icon: shape, tone, word } = stateOf(instance);
    if (changed(this.state, shape, tone, word)) {
      this.state.className = `st ${tone}`;
      this.state.replaceChildren(icon(shape), h('span', { class: 'sr' }, word));
      this.item.dataset.status = instance.status;
      this.#action(instance);
      this.drawn = 0;
    }
    setText(this.name, instance.name);
    setText(this.number, dialled(instance.phone_number) || t('noNumber'));
    this.since.title = exact(sinceOf(instance));
  }

  tick() {
    if (!this.item.isConnected) return;
    const why = whyOf(this.instance);
    if (changed(this.why, why)) this.why.replaceChildren(...rich(why));
    setText(this.since, sinceText(this.instance));
    if (!past?.complete || this.drawn > api.now() - DAY_MS / WIDTH) return;
    this.drawn = api.now();
    this.day.replaceChildren(trace(this.instance));
  }

  #action(instance) {
    const link = (word, go = '') => h('a', { class: `btn small ${go}`, href: `#/instances/${this.id}/qr` }, t(word));
    const call = (word) => does('btn small', word, null, () => store.act(this.id, 'connect'));
    const action = isOff(instance) ? call('connect')
      : { pending: () => link('showQr'), qr: () => link('showQr', 'go'), failed: () => link('linkAgain', 'go'), disconnected: () => call('tryNow') }[instance.status]?.();
    this.act.replaceChildren(action ?? h('span', { class: 'chev faint' }, icon('chev')));
  }
}

class Overview extends Part {
  #rows = new Map();
  #error = null;
  #all = false;
  #timer = 0;

  show() {
    const create = (go) => h('button', { class: `btn ${go}`, type: 'button', 'data-write': true, 'data-testid': go ? null : 'new-instance', onclick: newInstance }, icon('plus'), t('newInstance'));
    this.filter = wishes().get('show');
    if (!GROUPS.includes(this.filter)) this.filter = 'all';
    this.heading = h('h1', { 'data-testid': 'answer' });
    this.lead = h('p', {});
    this.create = create('');
    this.search = h('input', { class: 'input', id: 'q', type: 'search', value: wishes().get('q') ?? '', 'data-testid': 'search', autocomplete: 'off', placeholder: t('searchHint') });
    const choices = Object.entries({ all: 'all', ...TITLES, work: 'filterWork' }).map(([one, word]) => [one, [t(word), ' ', h('b', {})]]);
    [this.chips] = chips(t('show'), choices, () => this.filter, (one) => { this.filter = one; this.#choose(); });
    this.bar = h('div', { class: 'bar', hidden: true }, h('div', { class: 'field' }, h('label', { class: 'sr', for: 'q' }, t('search')), icon('search'), this.search), this.chips);
    this.sections = Object.fromEntries(GROUPS.map((group) => {
      const count = h('span', {});
      const list = h('ul', { class: 'sheet' });
      return [group, { count, list, section: h('section', { class: `group ${group === 'up' || group === 'off' ? 'up' : 'attn'}`, 'aria-labelledby': `g-${group}`, hidden: true }, h('h2', { id: `g-${group}` }, t(TITLES[group]), ' ', count), list) }];
    }));
    this.more = h('button', { class: 'btn ghost', type: 'button', 'data-testid': 'show-all', onclick: () => { this.#all = true; this.place(true); } });
    this.sections.up.section.append(this.more);
    this.groups = h('div', { class: 'groups' }, Object.values(this.sections).map(({ section }) => section));
    this.key = h('p', { class: 'key faint' }, t('traceKey'));
    this.nothing = h('p', { class: 'hint muted', hidden: true }, t('noMatch'));
    this.empty = h('div', { class: 'sheet empty', hidden: true }, icon('link'), h('p', {}, t('emptyText')), h('div', { class: 'row wrap' }, create('go'), h('a', { class: 'sm', href: '/docs' }, t('emptyLink'))));
    this.problem = h('div', {});
    this.replaceChildren(h('div', { class: 'head' }, h('div', {}, this.heading, this.lead), h('div', { class: 'row' }, this.create)), this.problem, this.bar, this.empty, this.groups, this.key, this.nothing, excerpt());
    this.listen(store, 'instances', () => { this.#timer ||= setTimeout(() => this.alive && this.render(), 50); });
    this.listen(store, 'trouble', ({ detail }) => { this.#error = detail.error; this.render(); });
    this.listen(this.search, 'input', () => this.#choose());
    this.listen(this.groups, 'pointerleave focusout', () => setTimeout(() => this.alive && this.place()));
    this.every(1000, () => this.#rows.forEach((row) => row.tick()));
    if (!store.loaded) past = null;
    this.render();
  }

  #choose() {
    remember('', { show: this.filter === 'all' ? '' : this.filter, q: this.search.value });
    this.#drawChips();
    this.place(true);
  }

  render() {
    this.#timer = 0;
    const instances = [...store.instances.values()];
    const { counts, title, lead } = answer(instances);
    const { loaded } = store;
    setText(this.heading, loaded ? title : t('overview'));
    setText(this.lead, loaded ? lead : this.#error ? '' : t('asking'));
    this.counts = { all: instances.length, ...counts };
    this.problem.replaceChildren(!loaded && this.#error ? trouble(t('couldNotLoad'), this.#error) : '');
    this.empty.hidden = !loaded || instances.length > 0;
    this.create.hidden = !loaded || !instances.length;
    this.bar.hidden = instances.length < SEARCHED_FROM;
    for (const instance of instances) {
      const row = this.#rows.get(instance.id) ?? new Row(instance.id);
      this.#rows.set(instance.id, row);
      row.update(instance);
    }
    for (const [id, row] of this.#rows) {
      if (store.instances.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    if (loaded && instances.length && !past) recall(() => this.alive && this.render());
    this.groups.toggleAttribute('data-days', Boolean(past?.complete));
    this.key.hidden = !past?.complete || !instances.length;
    this.#drawChips();
    this.place();
  }

  #drawChips() {
    for (const chip of this.chips.children) {
      const number = this.counts[chip.value];
      chip.hidden = !number && chip.value !== 'all' && chip.value !== this.filter;
      setText(chip.lastChild, String(number));
    }
  }

  place(now = false) {
    const held = !now && !document.querySelector('dialog[open]') && (this.groups.matches(':focus-within') || (matchMedia('(hover: hover)').matches && this.groups.matches(':hover')));
    const query = this.search.value.trim().toLowerCase();
    const members = Object.fromEntries(GROUPS.map((group) => [group, []]));
    const many = this.#rows.size >= MANY;
    for (const row of this.#rows.values()) {
      const { name, phone_number: phone, id } = row.instance;
      if ((this.filter === 'all' || this.filter === row.group) && `${name}\n${phone}\n${id}`.toLowerCase().includes(query)) members[row.group].push(row);
      else row.item.remove();
    }
    const cut = many && !this.#all && !query && members.up.length > SHOWN_UP;
    this.groups.toggleAttribute('data-many', many);
    this.more.hidden = !cut;
    setText(this.more, t('showAll', members.up.length));
    this.nothing.hidden = !this.#rows.size || GROUPS.some((group) => members[group].length);
    for (const group of GROUPS) {
      const { list, section, count } = this.sections[group];
      const rows = members[group];
      const isCut = cut && group === 'up';
      setText(count, String(rows.length));
      if (held) {
        if (!isCut) list.append(...rows.filter((row) => !row.item.isConnected).map((row) => row.item));
      } else {
        rows.sort((a, b) => order(a.instance, b.instance));
        if (isCut) rows.splice(SHOWN_UP).forEach((row) => row.item.remove());
        rows.forEach((row, index) => { if (list.children[index] !== row.item) list.insertBefore(row.item, list.children[index] ?? null); });
      }
      section.hidden = !list.childElementCount;
    }
    this.#rows.forEach((row) => row.tick());
  }
}

const alphabet = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => alphabet.compare(a.name, b.name);
const order = (a, b) => URGENCY.indexOf(a.status) - URGENCY.indexOf(b.status) || byName(a, b);

define({ 'wu-event-list': EventList, 'wu-events': EventsView, 'wu-overview': Overview });

export const view = () => make('wu-overview');
export const events = (eventId = '') => make('wu-events', { eventId });
