// The simulated phone of somebody who writes to the instance. Striped, so that nobody takes it for WhatsApp.
import { api } from '../api.js';
import { busy, h, icon, notice, Part } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { clock, dialled } from '../words.js';

const GATHER_MS = 200;
const digits = (phone) => String(phone ?? '').replace(/\D/g, '');

/** Set `instanceId` before it is connected; shows nothing outside the sandbox. */
class SandboxPhone extends Part {
  instanceId = '';
  #log = new Map();
  #timer = 0;
  #drawn = 0;

  show() {
    this.picker = h('select', { class: 'input mono', id: 'phone-of', 'data-testid': 'phone-select' });
    this.screen = h('ol', { class: 'chat', 'aria-live': 'polite', 'aria-label': t('phone'), 'data-testid': 'phone-inbox' });
    this.text = h('input', { class: 'input', id: 'phone-text', autocomplete: 'off', placeholder: t('phoneHint'), 'data-testid': 'phone-text' });
    this.submit = h('button', { class: 'btn', type: 'submit', 'data-write': true, 'data-testid': 'phone-send', 'aria-label': t('phoneSend') }, t('send'), icon('send'));
    this.form = h('form', { class: 'compose', novalidate: true }, h('label', { class: 'sr', for: 'phone-text' }, t('phoneHint')), this.text, this.submit);
    this.wait = h('p', { class: 'hint sm muted' }, t('phoneNotYet'));
    this.replaceChildren(h('section', { class: 'sheet phone', 'aria-labelledby': 'phone', 'data-testid': 'sandbox-phone' },
      h('p', { class: 'ribbon' }, t('sandbox')),
      h('div', { class: 'sec' }, h('h2', { id: 'phone' }, t('phone')), h('label', { class: 'sr', for: 'phone-of' }, t('phoneOf')), this.picker),
      this.screen, this.wait, this.form));
    this.listen(this.picker, 'change', () => { this.#log.clear(); this.#draw(); this.#fetch(); });
    this.listen(this.form, 'submit', (event) => { event.preventDefault(); this.#write(); });
    this.listen(store, 'sandbox instances', () => this.render());
    // Also what other programs send and receive through this instance.
    this.listen(store, 'events', ({ detail }) => { if (detail.added.some((event) => event.instance_id === this.instanceId && event.event?.startsWith('message.'))) this.#soon(); });
    this.render();
    this.#draw();
  }

  gone() { clearTimeout(this.#timer); }

  get #phone() { return this.picker.value; }

  render() {
    const phones = store.sandbox?.phones?.filter((phone) => phone.role === 'contact') ?? [];
    this.hidden = !phones.length;
    if (phones.length !== this.picker.options.length) {
      this.picker.replaceChildren(...phones.map(({ phone }) => h('option', { value: phone }, dialled(phone))));
      this.#soon();
    }
    const connected = store.instances.get(this.instanceId)?.status === 'connected';
    this.form.hidden = !connected;
    this.wait.hidden = connected;
    this.screen.hidden = !connected && !this.#log.size;
  }

  #soon() {
    for (const message of store.chat(this.instanceId)) {
      // What it sent by itself is known from what the gateway received.
      if (!message.mine && digits(message.from) === digits(this.#phone)) this.#add(message.id, { mine: true, text: message.text, at: message.at });
    }
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), GATHER_MS);
  }

  async #fetch() {
    const phone = this.#phone;
    if (!phone || store.link === 'gone') return;
    try {
      const inbox = await api.get(`/v1/sandbox/inbox?phone=${encodeURIComponent(phone)}`);
      if (!this.alive || phone !== this.#phone) return;
      for (const message of inbox.data ?? inbox) this.#add(message.id, { mine: false, text: message.text ?? message.error, at: timeOf(message) });
      this.#draw();
    } catch { /* the phone stays as it was; the banner tells when nothing answers */ }
  }

  #add(id, message) { if (!this.#log.has(id)) this.#log.set(id, message); }

  #write() {
    const text = this.text.value;
    const to = store.instances.get(this.instanceId)?.phone_number;
    if (!text.trim()) return this.text.focus();
    return busy(this.submit, async () => {
      try {
        const { id } = await api.post('/v1/sandbox/messages', { from: this.#phone, to: digits(to), text });
        this.#add(id, { mine: true, text, at: Date.now() });
        this.text.value = '';
        this.#draw();
      } catch (error) {
        notice(t('phoneSend'), error);
      }
      this.text.focus();
    });
  }

  #draw() {
    const messages = [...this.#log.values()].sort((a, b) => a.at - b.at);
    if (messages.length === this.#drawn && messages.length) return;
    this.#drawn = messages.length;
    this.screen.replaceChildren(...messages.map((message) => h('li', { class: message.mine ? 'msg me' : 'msg', 'data-testid': message.mine ? 'phone-sent' : 'phone-received' },
      message.text, h('small', {}, h('time', {}, clock(message.at))))));
    if (!messages.length) this.screen.append(h('li', { class: 'hint' }, t('phoneEmpty')));
    this.screen.scrollTop = this.screen.scrollHeight;
    this.render();
  }
}

/** The simulator counts whole seconds, too coarse beside its own answers: the gateway's event knows better. */
function timeOf({ id, at }) {
  const event = store.events.findLast((known) => known.message_id === id);
  return event ? Date.parse(event.occurred_at) : at * 1000 || Date.now();
}

customElements.define('wu-phone', SandboxPhone);
