// "Check that it works": send a text, watch its ticks, see answers, copy the same call for a program.
import { busy, codeBlock, curl, h, icon, Part, rich } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { clock, dialled, exact, explain, short, trail } from '../words.js';

const TICKS = { sending: 'connecting', queued: 'pending', sent: 'tick', delivered: 'ticks', read: 'eye', failed: 'failed' };

/** Set `instanceId` before it is connected. */
class ChatCheck extends Part {
  instanceId = '';
  #drawn = new Map();

  show() {
    this.to = h('input', { class: 'input to mono', id: 'to', inputmode: 'tel', autocomplete: 'off', placeholder: t('toHint'), 'data-testid': 'send-to' });
    this.text = h('input', { class: 'input', id: 'text', autocomplete: 'off', maxlength: 65_536, placeholder: t('messageHint'), 'data-testid': 'send-text' });
    this.submit = h('button', { class: 'btn go', type: 'submit', 'data-write': true, 'data-testid': 'send-button' }, t('send'), icon('send'));
    this.problem = h('div', { class: 'problem' });
    this.form = h('form', { class: 'compose', novalidate: true },
      h('label', { class: 'sr', for: 'to' }, t('to')), this.to, h('label', { class: 'sr', for: 'text' }, t('message')), this.text, this.submit, this.problem);
    this.chat = h('ol', { class: 'chat', 'aria-live': 'polite', 'aria-label': t('check') });
    this.teach = h('div', { class: 'teach' }, h('p', {}, rich(t('checkSoon'))), h('p', {}, t('checkSoonText')));
    this.code = codeBlock(t('terminal'), 'curl');
    this.replaceChildren(h('section', { class: 'sheet', 'aria-labelledby': 'check' },
      h('div', { class: 'sec' }, h('h2', { id: 'check' }, t('check')), h('wu-live')),
      this.teach, this.chat, this.form, h('div', { class: 'pad' }, this.code.block)));
    this.listen(this.form, 'submit', (event) => { event.preventDefault(); this.#send(); });
    this.listen(this.form, 'input', () => { this.problem.replaceChildren(); this.#curl(); });
    this.listen(store, 'chat', ({ detail }) => { if (detail.id === this.instanceId) this.#draw(); });
    this.listen(store, 'instances sandbox', () => this.render());
    this.#drawn.clear();
    this.#draw();
    this.render();
  }

  render() {
    const connected = store.instances.get(this.instanceId)?.status === 'connected';
    // Once there is a conversation it stays readable, also while the instance is away.
    const talk = connected || store.chat(this.instanceId).length > 0;
    this.teach.hidden = talk;
    this.chat.hidden = this.form.hidden = !talk;
    const contact = store.sandbox?.phones?.find((phone) => phone.role === 'contact');
    if (contact && !this.to.value) this.to.value = dialled(contact.phone);
    this.#curl();
  }

  get #recipient() {
    const raw = this.to.value.trim();
    return raw.includes('@') ? raw : raw.replace(/[^\d]/g, '');
  }

  #curl() {
    const body = { to: this.#recipient || '5511999999999', body: { type: 'text', text: this.text.value || t('helloText') } };
    this.code.put(curl(`${location.origin}/v1/instances/${this.instanceId}/messages`, { json: body }));
  }

  #send() {
    const text = this.text.value;
    const missing = !this.#recipient ? [this.to, 'toEmpty'] : !text.trim() ? [this.text, 'textEmpty'] : null;
    if (missing) {
      this.problem.replaceChildren(h('p', { class: 'bad sm', role: 'alert' }, t(missing[1])));
      return missing[0].focus();
    }
    return busy(this.submit, async () => {
      this.text.value = '';
      try {
        await store.send(this.instanceId, this.#recipient, text);
      } catch {
        // What was written is not lost: the message itself says why it was not sent.
        if (!this.text.value) this.text.value = text;
      }
      this.text.focus();
    });
  }

  #draw() {
    const chat = store.chat(this.instanceId);
    const drawn = new Map();
    for (const message of chat) {
      const sign = `${message.state} ${message.id}`;
      const known = this.#drawn.get(message);
      if (known?.sign === sign) {
        drawn.set(message, known);
        continue;
      }
      const item = bubble(message);
      if (known) known.item.replaceWith(item);
      else this.chat.append(item);
      drawn.set(message, { sign, item });
    }
    for (const [message, { item }] of this.#drawn) if (!drawn.has(message)) item.remove();
    this.#drawn = drawn;
    this.chat.querySelector('.hint')?.remove();
    if (!chat.length) this.chat.append(h('li', { class: 'hint' }, t('checkEmpty')));
    this.chat.scrollTop = this.chat.scrollHeight;
    this.render();
  }
}

function bubble(message) {
  const time = h('time', { datetime: new Date(message.at).toISOString(), title: exact(message.at) }, clock(message.at));
  const who = message.mine ? dialled(message.to) : [message.name, dialled(message.from)].filter(Boolean).join(' · ');
  const tick = message.state && h('span', { class: `st ${message.state === 'failed' ? 'bad' : ''}` }, icon(TICKS[message.state]),
    message.state === 'delivered' && message.deliveredAfter !== undefined ? t('tick.deliveredIn', short(message.deliveredAfter / 1000)) : t(`tick.${message.state}`));
  return h('li', { class: message.mine ? 'msg me' : 'msg', 'data-testid': 'chat-message', 'data-message-id': message.id, 'data-state': message.state },
    h('span', { class: 'sr' }, message.mine ? `${t('to')} ` : '', who, ': '),
    message.text ?? t('typed', message.type),
    message.error && h('p', { class: 'sm bad' }, explain(message.error), ' ', h('span', { class: 'mono trail' }, trail(message.error))),
    h('small', {}, h('span', { class: 'nowrap', 'aria-hidden': 'true' }, who), message.byPhone && t('byPhone'), time, tick));
}

customElements.define('wu-chat', ChatCheck);
