// The overview: the answer as a sentence, then every instance, sorted by need.
import { askName, busy, h, icon, notice, Part, rich, setText, trouble } from '../dom.js';
import { excerpt } from '../elements/event-list.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { answer, dialled, exact, groupOf, isOff, sinceOf, sinceText, stateOf, whyOf } from '../words.js';

const GROUPS = ['need', 'work', 'up', 'off'];
const TITLES = { need: 'groupNeed', work: 'groupWork', up: 'groupUp', off: 'groupOff' };
const FILTERS = { need: 'groupNeed', work: 'filterWork', up: 'groupUp', off: 'groupOff' };
const URGENCY = { failed: 0, qr: 1, pending: 2, disconnected: 0, connecting: 1 };
// Fewer need no search.
const SEARCHED_FROM = 6;
// From here on the browser skips what is not in sight.
const MANY = 60;

export async function newInstance() {
  const made = await askName({
    title: t('newInstance'), text: t('createText'), verb: t('create'), testid: 'create-dialog', work: (name) => store.create(name),
  });
  if (made?.id) location.hash = `#/instances/${made.id}/qr`;
}

/** One line; the same elements are kept while the facts change, so focus and selection survive. */
class Row {
  constructor(id) {
    this.id = id;
    this.state = h('span', { class: 'st' });
    this.name = h('a', { href: `#/instances/${id}` });
    this.number = h('span', { class: 'mono' });
    this.why = h('p', { class: 'why' });
    this.since = h('time', { class: 'since' });
    this.act = h('div', { class: 'act' });
    this.item = h('li', { class: 'line', 'data-testid': 'instance', 'data-id': id }, this.state, h('div', { class: 'who' }, this.name, this.number), this.why, this.since, this.act);
  }

  update(instance) {
    this.instance = instance;
    const { icon: shape, tone, word } = stateOf(instance);
    const sign = `${shape} ${tone} ${word}`;
    if (this.sign !== sign) {
      this.sign = sign;
      this.state.className = `st ${tone}`;
      this.state.replaceChildren(icon(shape), h('span', { class: 'sr' }, word));
      this.item.dataset.status = instance.status;
      this.#action(instance);
    }
    setText(this.name, instance.name);
    setText(this.number, dialled(instance.phone_number) || t('noNumber'));
    const since = sinceOf(instance);
    if (since) {
      this.since.dateTime = new Date(since).toISOString();
      this.since.title = exact(since);
    }
    this.tick();
  }

  tick() {
    const why = whyOf(this.instance);
    if (this.said !== why) {
      this.said = why;
      this.why.replaceChildren(...rich(why));
    }
    setText(this.since, sinceText(this.instance));
  }

  #action(instance) {
    const link = (label, go) => h('a', { class: `btn small ${go ? 'go' : ''}`, href: `#/instances/${this.id}/qr` }, label);
    const call = (label) => {
      const button = h('button', { class: 'btn small', type: 'button', 'data-write': true }, label);
      button.addEventListener('click', () => busy(button, () => store.act(this.id, 'connect').catch((error) => notice(label, error))));
      return button;
    };
    const action = isOff(instance) ? call(t('connect'))
      : { pending: () => link(t('showQr')), qr: () => link(t('showQr'), true), failed: () => link(t('linkAgain'), true), disconnected: () => call(t('tryNow')) }[instance.status]?.();
    this.act.replaceChildren(action ?? h('span', { class: 'chev faint' }, icon('chev')));
  }
}

class Overview extends Part {
  #rows = new Map();
  #filter = 'all';
  #query = '';
  #error = null;

  show() {
    this.heading = h('h1', { 'data-testid': 'answer' });
    this.lead = h('p', {});
    this.create = h('button', { class: 'btn', type: 'button', 'data-write': true, 'data-testid': 'new-instance', onclick: newInstance }, icon('plus'), t('newInstance'));
    this.search = h('input', { class: 'input', id: 'q', type: 'search', autocomplete: 'off', placeholder: t('searchHint') });
    this.chips = h('div', { class: 'chips', role: 'group', 'aria-label': t('show') });
    this.bar = h('div', { class: 'bar', hidden: true }, h('div', { class: 'field' }, h('label', { class: 'sr', for: 'q' }, t('search')), icon('search'), this.search), this.chips);
    this.groups = h('div', { class: 'groups' });
    this.sections = Object.fromEntries(GROUPS.map((group) => {
      const count = h('span', {});
      const list = h('ul', { class: 'sheet' });
      const section = h('section', { class: `group ${group === 'up' || group === 'off' ? 'up' : 'attn'}`, 'aria-labelledby': `g-${group}`, hidden: true },
        h('h2', { id: `g-${group}` }, t(TITLES[group]), ' ', count), list);
      this.groups.append(section);
      return [group, { count, list, section }];
    }));
    this.nothing = h('p', { class: 'hint muted', hidden: true }, t('noMatch'));
    this.empty = h('div', { class: 'sheet empty', hidden: true }, icon('link'), h('p', {}, t('emptyText')),
      h('div', { class: 'row wrap' }, h('button', { class: 'btn go', type: 'button', 'data-write': true, onclick: newInstance }, icon('plus'), t('newInstance')), h('a', { class: 'sm', href: '/docs' }, t('emptyLink'))));
    this.problem = h('div', {});
    this.latest = h('section', { class: 'group' }, h('h2', {}, t('latest'), h('a', { class: 'more', href: '#/events' }, t('allEvents'))), h('div', { class: 'sheet' }, excerpt(8)));
    this.replaceChildren(h('div', { class: 'head' }, h('div', {}, this.heading, this.lead), h('div', { class: 'row' }, this.create)), this.problem, this.bar, this.empty, this.groups, this.nothing, this.latest);
    this.#rows.clear();
    this.listen(store, 'instances', () => this.render());
    this.listen(store, 'trouble', ({ detail }) => { this.#error = detail.error; this.render(); });
    this.listen(this.search, 'input', () => { this.#query = this.search.value.trim().toLowerCase(); this.place(true); });
    this.listen(this.groups, 'pointerleave focusout', () => setTimeout(() => { if (this.alive) this.place(); }));
    this.every(1000, () => { for (const row of this.#rows.values()) row.tick(); });
    this.render();
  }

  render() {
    const instances = [...store.instances.values()];
    const { counts, title, lead } = answer(instances);
    const loading = !store.loaded;
    setText(this.heading, loading ? t('overview') : title);
    setText(this.lead, !loading ? lead : this.#error ? '' : t('asking'));
    this.counts = counts;
    this.problem.replaceChildren(...(loading && this.#error ? [trouble(t('couldNotLoad'), this.#error)] : []));
    this.empty.hidden = loading || instances.length > 0;
    this.create.hidden = loading || instances.length === 0;
    this.bar.hidden = instances.length < SEARCHED_FROM;
    for (const instance of instances) {
      if (!this.#rows.has(instance.id)) this.#rows.set(instance.id, new Row(instance.id));
      this.#rows.get(instance.id).update(instance);
    }
    for (const [id, row] of this.#rows) {
      if (store.instances.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    this.#drawChips(instances.length);
    this.place();
  }

  #drawChips(total) {
    const wanted = ['all', ...GROUPS.filter((group) => this.counts[group])];
    if (!wanted.includes(this.#filter)) this.#filter = 'all';
    const sign = `${this.#filter}${total}${JSON.stringify(this.counts)}`;
    if (this.chips.dataset.sign === sign) return;
    this.chips.dataset.sign = sign;
    const focused = document.activeElement?.dataset?.filter;
    this.chips.replaceChildren(...wanted.map((filter) => h('button', {
      class: 'chip', type: 'button', 'data-filter': filter, 'aria-pressed': String(this.#filter === filter),
      onclick: () => { this.#filter = filter; this.#drawChips(total); this.place(true); },
    }, filter === 'all' ? t('all') : t(FILTERS[filter]), ' ', h('b', {}, String(filter === 'all' ? total : this.counts[filter])))));
    if (focused) this.chips.querySelector(`[data-filter="${focused}"]`)?.focus();
  }

  /** Rows do not jump under the pointer: order waits until the list is neither hovered nor focused. */
  get #held() {
    const pointer = matchMedia('(hover: hover)').matches && this.groups.matches(':hover');
    return (pointer || this.groups.matches(':focus-within')) && !document.querySelector('dialog[open]');
  }

  #matches({ instance }) {
    if (this.#filter !== 'all' && groupOf(instance) !== this.#filter) return false;
    return !this.#query || `${instance.name}\n${instance.phone_number ?? ''}\n${instance.id}`.toLowerCase().includes(this.#query);
  }

  place(now = false) {
    const held = !now && this.#held;
    const rows = [...this.#rows.values()].filter((row) => this.#matches(row));
    const wanted = new Set(rows);
    const fresh = rows.filter((row) => !row.item.isConnected);
    for (const row of this.#rows.values()) if (!wanted.has(row)) row.item.remove();
    this.groups.toggleAttribute('data-many', rows.length >= MANY);
    for (const group of GROUPS) {
      const { list, section, count } = this.sections[group];
      if (held) {
        list.append(...fresh.filter((row) => groupOf(row.instance) === group).map((row) => row.item));
      } else {
        const members = rows.filter((row) => groupOf(row.instance) === group).sort((a, b) => order(a.instance, b.instance));
        members.forEach((row, index) => { if (list.children[index] !== row.item) list.insertBefore(row.item, list.children[index] ?? null); });
        setText(count, String(members.length));
      }
      section.hidden = !list.childElementCount;
    }
    this.nothing.hidden = rows.length > 0 || this.#rows.size === 0;
  }
}

const alphabet = new Intl.Collator();

function order(a, b) {
  return (URGENCY[a.status] ?? 0) - (URGENCY[b.status] ?? 0) || alphabet.compare(a.name, b.name) || (a.id < b.id ? -1 : 1);
}

customElements.define('wu-overview', Overview);

export const view = () => document.createElement('wu-overview');
