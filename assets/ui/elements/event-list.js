// The live list of events: newest first, masked, seams where the stream was cut. Used whole and as an excerpt.
import { h, icon, Part } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { clock, eventIcon, eventLine, exact } from '../words.js';

const DRAW_MS = 60;

/** Set `limit` and `accepts` before it is connected; emits `pick` {event} when a row is opened, `arrived` {held}. */
class EventList extends Part {
  limit = 500;
  accepts = () => true;
  paused = false;
  #held = [];
  #waiting = [];
  #timer = 0;
  #picked = null;

  show() {
    this.list = h('ol', { 'aria-label': t('eventList') });
    this.empty = h('div', { class: 'hint' }, h('p', {}, t('noEventsYet')), h('p', { class: 'muted sm' }, t('noEventsText')));
    this.replaceChildren(this.list, this.empty);
    this.listen(store, 'events', ({ detail }) => this.#take(detail.added));
    this.listen(this, 'keydown', (event) => this.#move(event));
    this.listen(store, 'instances', () => this.#name());
    this.refill();
  }

  gone() { clearTimeout(this.#timer); }

  /** Draws again from what the store holds, after a filter changed. */
  refill() {
    this.#waiting = [];
    this.#held = [];
    this.list.replaceChildren(...store.events.filter((event) => this.#wanted(event)).slice(0, this.limit).map((event) => this.#row(event)));
    this.#settle();
  }

  pause(paused) {
    this.paused = paused;
    if (!paused) this.#take(this.#held.splice(0));
    this.#arrived();
  }

  get held() { return this.#held.length; }

  #wanted(event) { return event.seam || this.accepts(event); }

  #take(added) {
    const wanted = added.filter((event) => this.#wanted(event));
    if (this.paused) {
      this.#held.push(...wanted);
      this.#held.splice(0, this.#held.length - this.limit);
      return this.#arrived();
    }
    this.#waiting.push(...wanted);
    // Gathered, so that a burst costs one layout; a timer, because hidden tabs get no frames.
    if (this.#waiting.length && !this.#timer) this.#timer = setTimeout(() => this.#draw(), DRAW_MS);
  }

  #draw() {
    this.#timer = 0;
    const fresh = this.#waiting.splice(0).slice(-this.limit);
    this.list.prepend(...fresh.reverse().map((event) => this.#row(event)));
    while (this.list.childElementCount > this.limit) this.list.lastElementChild.remove();
    this.#settle();
  }

  #settle() {
    if (store.loaded) this.#name();
    this.empty.hidden = this.list.childElementCount > 0;
    this.list.hidden = !this.empty.hidden;
    const buttons = this.list.querySelectorAll('.ev button');
    if (buttons.length && !this.list.matches(':focus-within')) this.#tabStop(buttons[0]);
  }

  #arrived() { this.dispatchEvent(new CustomEvent('arrived', { detail: { held: this.#held.length } })); }

  #row(event) {
    if (event.seam) return this.#seam(event);
    const { icon: name, tone } = eventIcon(event);
    const instance = store.instances.get(event.instance_id);
    const button = h('button', { type: 'button', tabindex: '-1' }, event.event);
    const row = h('li', { class: 'ev', 'data-testid': 'event', 'data-event': event.event, 'data-event-id': event.event_id, 'data-instance-id': event.instance_id },
      h('time', { datetime: event.occurred_at, title: exact(event.occurred_at ?? Date.now()) }, clock(event.occurred_at ?? Date.now(), true)),
      h('span', { class: `st ${tone}` }, icon(name)), button,
      h('span', { class: 'what' }, h('b', { 'data-unnamed': !instance && event.instance_id }, instance?.name), ' ', eventLine(event)));
    button.addEventListener('click', () => this.pick(row, event));
    button.addEventListener('focus', () => this.#tabStop(button));
    if (this.#picked === event) row.classList.add('sel');
    return row;
  }

  /** Events may arrive before the instance they belong to is known here. */
  #name() {
    for (const name of this.list.querySelectorAll('[data-unnamed]')) {
      const instance = store.instances.get(name.dataset.unnamed);
      if (instance) delete name.dataset.unnamed;
      name.textContent = instance?.name ?? t('deleted');
    }
  }

  #seam(event) {
    const gap = event.seam === 'gap';
    const text = h('span', {}, gap ? t('gap') : t('seam', clock(event.from), clock(event.to), event.count));
    // The count grows while the missed events arrive.
    if (!gap) setTimeout(() => { text.textContent = t('seam', clock(event.from), clock(event.to), event.count); }, 1000);
    return h('li', { class: gap ? 'seam bad' : 'seam', 'data-testid': 'seam' }, icon(gap ? 'disconnected' : 'link'), text);
  }

  pick(row, event) {
    this.#picked = event;
    for (const other of this.list.querySelectorAll('.sel')) other.classList.remove('sel');
    row?.classList.add('sel');
    this.dispatchEvent(new CustomEvent('pick', { detail: { event } }));
  }

  #tabStop(button) {
    for (const other of this.list.querySelectorAll('button[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.list.querySelectorAll('.ev button')];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.closest('.ev').scrollIntoView({ block: 'nearest' });
  }
}

customElements.define('wu-event-list', EventList);

/** The newest few events, opening the event view at the chosen one. */
export function excerpt(limit, accepts = () => true) {
  const list = document.createElement('wu-event-list');
  list.limit = limit;
  list.accepts = accepts;
  list.addEventListener('pick', ({ detail }) => { location.hash = `#/events/${detail.event.event_id ?? ''}`; });
  return list;
}
