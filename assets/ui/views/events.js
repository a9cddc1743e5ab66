// The event monitor: list on the left, the JSON of one event on the right (a sheet on a phone).
import { codeBlock, curl, h, icon, jsonInto, Part, setText } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { kindOf } from '../words.js';

const KINDS = ['messages', 'receipts', 'instances', 'other'];
const WIDE = '(width >= 1100px)';

/** Set `eventId` to open one event at once. */
class EventsView extends Part {
  eventId = '';
  #kinds = new Set(KINDS);
  #instance = '';

  show() {
    this.heading = h('h1', {});
    this.pauser = h('button', { class: 'btn', type: 'button', 'data-testid': 'pause', onclick: () => this.#pause() });
    this.which = h('select', { class: 'input', id: 'which' });
    this.kinds = h('div', { class: 'chips', role: 'group', 'aria-label': t('kinds'), 'data-multi': true }, KINDS.map((kind) => {
      const chip = h('button', { class: 'chip', type: 'button', 'aria-pressed': 'true' }, icon('tick'), t(`kind.${kind}`));
      chip.addEventListener('click', () => {
        const on = !this.#kinds.delete(kind);
        if (on) this.#kinds.add(kind);
        chip.setAttribute('aria-pressed', String(on));
        this.list.refill();
      });
      return chip;
    }));
    this.list = document.createElement('wu-event-list');
    this.list.accepts = (event) => this.#kinds.has(kindOf(event)) && (!this.#instance || event.instance_id === this.#instance);
    this.json = codeBlock(t('json'), 'event-json');
    this.name = h('h2', { id: 'picked' });
    const close = h('button', { class: 'btn ghost small icon', type: 'button', 'aria-label': t('close'), onclick: () => this.#close() }, icon('close'));
    this.detail = h('dialog', { class: 'sheet detail', 'aria-labelledby': 'picked' }, h('div', { class: 'sec' }, this.name, close), this.json.block);
    const listen = codeBlock(t('listenCurl'), 'events-curl');
    listen.put(curl(`${location.origin}/v1/events`, { stream: true }));
    this.hint = h('aside', { class: 'aside' }, h('p', { class: 'muted sm' }, t('pickEvent')), listen.block);
    this.replaceChildren(
      h('div', { class: 'head' }, h('div', {}, this.heading, h('p', {}, t('eventsLead'))), h('div', { class: 'row' }, this.pauser)),
      h('div', { class: 'bar' }, h('label', { class: 'sr', for: 'which' }, t('whichInstance')), this.which, this.kinds),
      h('div', { class: 'monitor' }, h('div', { class: 'sheet' }, this.list), h('div', { class: 'side' }, this.detail, this.hint)));
    this.listen(this.list, 'pick', ({ detail }) => this.#open(detail.event));
    this.listen(this.list, 'arrived', () => this.#label());
    this.listen(store, 'link', () => this.#label());
    this.listen(store, 'events', () => this.#label());
    this.listen(store, 'instances', () => this.#instances());
    this.listen(this.which, 'change', () => { this.#instance = this.which.value; this.list.refill(); });
    this.listen(document, 'keydown', (event) => this.#key(event));
    this.listen(this.detail, 'close', () => { this.hint.hidden = false; });
    this.#instances();
    this.#label();
    const wanted = this.eventId && store.events.find((event) => event.event_id === this.eventId);
    if (wanted) this.list.pick(this.list.querySelector(`[data-event-id="${CSS.escape(this.eventId)}"]`), wanted);
  }

  #label() {
    const { held, paused } = this.list;
    setText(this.heading, store.link === 'refused' ? t('mayNotListen')
      : store.link === 'gone' ? t('notListening')
        : store.events.some((event) => event.seam === 'gap') ? t('listeningGap') : t('listening'));
    const text = !paused ? t('pause') : held ? t('paused', held) : t('resume');
    if (this.pauser.dataset.text === text) return;
    this.pauser.dataset.text = text;
    this.pauser.replaceChildren(icon(paused ? 'chev' : 'pause'), text, ' ', h('kbd', { 'aria-hidden': 'true' }, t('space')));
    this.pauser.setAttribute('aria-pressed', String(paused));
  }

  #pause() {
    this.list.pause(!this.list.paused);
    this.#label();
  }

  #instances() {
    const all = [...store.instances.values()].sort((a, b) => a.name.localeCompare(b.name));
    const sign = all.map(({ id, name }) => id + name).join();
    if (this.which.dataset.sign === sign) return;
    this.which.dataset.sign = sign;
    this.which.replaceChildren(h('option', { value: '' }, t('allInstances')), ...all.map(({ id, name }) => h('option', { value: id }, name)));
    this.which.value = this.#instance;
  }

  #open(event) {
    setText(this.name, event.event);
    jsonInto(this.json.pre, event);
    this.hint.hidden = true;
    if (this.detail.open) return;
    // Wide: it stands beside the list and must not take the focus. Narrow: it covers the list, so it is modal.
    if (matchMedia(WIDE).matches) this.detail.setAttribute('open', '');
    else this.detail.showModal();
  }

  #close() {
    if (!this.detail.open) return;
    this.detail.close();
    this.hint.hidden = false;
    this.list.querySelector('.sel')?.classList.remove('sel');
  }

  #key(event) {
    const typing = event.target.closest('input, textarea, select, dialog:modal');
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const inList = event.target.closest('.ev');
    // On a button Space presses it; only elsewhere, and on the rows, it pauses.
    if (event.key === ' ' && (inList || !event.target.closest('button, a'))) {
      event.preventDefault();
      this.#pause();
    } else if (event.key === 'Escape') {
      this.#close();
    } else if (event.key === 'c' && this.detail.open) {
      this.json.button.click();
    }
  }
}

customElements.define('wu-events', EventsView);

export const view = (eventId = '') => Object.assign(document.createElement('wu-events'), { eventId });
