// One instance.
import { askName, askSure, busy, codeBlock, curl, h, icon, notice, Part, rich, say, setText, svg, time, trouble } from '../app.js';
import { api, bytes, clock, dialled, exact, explain, groupOf, has, instancePath, isOff, number, short, sinceText, span, stateOf, store, t, trail, whyOf } from '../store.js';
import { changed, copies, define, does, excerpt, make, offer } from './overview.js';

const PATIENCE_MS = 3_000;

class Of extends Part {
  get instance() { return store.instances.get(this.instanceId); }

  get path() { return instancePath(this.instanceId); }
}

const sheet = (id, ...children) => h('section', { class: 'sheet', 'aria-labelledby': id }, h('div', { class: 'sec' }, h('h2', { id }, t(id))), children);
const submits = (work) => (event) => { event.preventDefault(); work(); };

class QrPanel extends Of {
  #qr = null;
  #loading = false;
  #error = null;
  #seconds = 60;
  #status = null;
  #typedEnds = 0;

  show() {
    const circle = (facts) => svg('circle', { cx: 16, cy: 16, r: 13, pathLength: 100, ...facts });
    this.ring = circle({ transform: 'rotate(-90 16 16)' });
    this.image = h('img', { 'data-testid': 'qr-image', alt: t('qrAlt'), width: 256, height: 256 });
    this.frame = h('div', { class: 'qr' }, this.image, icon('frame', 'frame'));
    this.left = h('span', {});
    this.count = h('div', { class: 'count' }, svg('svg', { class: 'ring', viewBox: '0 0 32 32', 'aria-hidden': 'true' }, circle(), this.ring), this.left);
    this.copy = copies(t('copyCode'), () => this.#qr.code);
    this.place = h('div', { class: 'place' });
    this.scan = h('div', { class: 'or' }, h('h3', {}, t('scanText')), h('div', {}, does('btn go', 'scan', 'scan-button', () => api.post('/v1/sandbox/scan', { instance_id: this.instanceId }))));
    this.replaceChildren(h('section', { class: 'sheet stage', 'aria-label': t('qrAlt') }, this.place, h('div', { class: 'pad' }, h('h2', {}, t('onPhone')),
      h('ol', { class: 'steps' }, ['step1', 'step2', 'step3'].map((step) => h('li', {}, h('span', {}, rich(t(step)))))), this.#byNumber(), this.scan)));
    this.listen(store, 'qr', ({ detail }) => { if (detail.event.instance_id === this.instanceId) this.#put(detail.event); });
    this.listen(store, 'instances', () => this.#follow());
    this.listen(store, 'sandbox', () => this.render());
    this.every(250, () => this.#tick());
    this.#status = this.instance?.status;
    this.render();
    if (this.asked || this.#status === 'qr') this.ask();
  }

  async ask() {
    if (this.#loading) return;
    this.#loading = true;
    this.#error = null;
    this.render();
    try {
      this.#put(await api.get(`${this.path}/qr`));
    } catch (error) {
      this.#error = error;
    }
    this.#loading = false;
    if (this.alive) this.render();
  }

  #put(qr) {
    const left = (Date.parse(qr.expires_at) - api.now()) / 1000;
    if (!this.alive || !qr.qr?.startsWith('data:image/') || left < 0) return;
    this.#seconds = left > 20 ? Math.max(60, left) : 20;
    this.#qr = qr;
    this.#error = null;
    this.image.src = qr.qr;
    this.render();
  }

  #follow() {
    const status = this.instance?.status;
    if (this.#status === status) return;
    if (this.#status === 'qr') {
      this.#qr = null;
      this.#typedEnds = 0;
    }
    this.#status = status;
    if (status === 'qr' && !this.#qr) this.ask();
    this.render();
  }

  #tick() {
    const typed = this.#typedEnds - api.now();
    this.typed.hidden = typed < 0;
    setText(this.pairLeft, t('pairLeft', span(typed)));
    if (!this.#qr) return;
    const left = (Date.parse(this.#qr.expires_at) - api.now()) / 1000;
    const seconds = Math.ceil(left);
    this.frame.classList.toggle('stale', left <= 0);
    this.ring.setAttribute('stroke-dasharray', `${Math.max(0, left / this.#seconds * 100)} 100`);
    if (left < -PATIENCE_MS / 1000 && store.link !== 'gone') {
      this.#qr = null;
      this.ask();
    } else if (changed(this.left, seconds)) {
      this.left.replaceChildren(...rich(left > 0 ? t('qrLeft', seconds) : t('qrSoon')));
      if (seconds === 10) say(t('qrTen'));
    }
  }

  render() {
    const again = (word, go = '') => does(`btn ${go}`, word, 'qr-show', () => this.ask());
    const blank = (tone, shape, ...text) => [h('div', { class: 'qr blank' }, icon('frame', 'frame'), h('span', { class: `st ${tone}` }, icon(shape))), h('div', { class: 'ask', role: 'status' }, text)];
    this.scan.hidden = !store.sandbox || !(this.#qr || this.#status === 'qr');
    this.#tick();
    if (this.#qr) {
      if (this.frame.parentNode !== this.place) this.place.replaceChildren(this.frame, this.count, this.copy);
      return;
    }
    this.place.replaceChildren(...(this.#error ? [trouble(t('qrFailed'), this.#error, again('tryAgain'))]
      : this.#loading ? blank('work', 'connecting', h('p', { class: 'sm muted' }, t('qrLoading')))
        : this.#status === 'connecting' ? blank('work', 'connecting', h('b', {}, t('qrScanned')))
          : blank('idle', 'qr', h('b', {}, t('qrAsk')), h('p', { class: 'sm muted' }, t('qrAskText')), again('showQr', 'go'))));
  }

  #byNumber() {
    const code = h('span', { class: 'typed mono', 'data-testid': 'pair-code' });
    this.pairLeft = h('span', { class: 'sm muted' });
    this.typed = h('div', { role: 'status', hidden: true }, h('div', { class: 'code row wrap' }, code, copies(t('copy'), () => code.textContent), this.pairLeft), h('p', { class: 'sm muted' }, t('pairText')));
    const problem = h('div', {});
    const input = h('input', { class: 'input', type: 'tel', id: 'pair-number', 'data-testid': 'pair-number', placeholder: t('toHint') });
    const button = h('button', { class: 'btn', type: 'submit', 'data-testid': 'pair-get', 'data-write': true }, t('pairGet'));
    const ask = async () => {
      problem.replaceChildren();
      try {
        const made = await api.post(`${this.path}/pair-code`, { phone_number: input.value.trim() });
        code.textContent = made.code;
        this.#typedEnds = Date.parse(made.expires_at);
        this.#tick();
      } catch (error) {
        problem.replaceChildren(trouble(t('pairGet'), error));
      }
    };
    return h('form', { class: 'or', novalidate: true, onsubmit: submits(() => busy(button, ask)) }, h('label', { for: input.id }, t('pairOpen')), h('div', { class: 'row' }, input, button), problem, this.typed);
  }
}

const TICKS = { sending: 'connecting', queued: 'pending', sent: 'tick', delivered: 'ticks', read: 'eye', failed: 'failed' };
const bubble = (mine, text, facts, ...small) => h('li', { class: mine ? 'msg me' : 'msg', ...facts }, text, h('small', {}, small));
const field = (id, className, hint, facts) => h('input', { class: `input ${className}`, id, autocomplete: 'off', 'aria-label': t(hint), placeholder: t(hint), 'data-testid': id, ...facts });
const sender = (id, className) => h('button', { class: `btn ${className}`, type: 'submit', 'data-write': true, 'data-testid': id }, t('send'), icon('send'));

class ChatCheck extends Of {
  #drawn = new Map();

  show() {
    this.to = field('send-to', 'to mono', 'toHint', { inputmode: 'tel' });
    this.text = field('send-text', '', 'messageHint', { maxlength: 65_536 });
    this.submit = sender('send-button', 'go');
    this.problem = h('div', { class: 'problem' });
    this.form = h('form', { class: 'compose', novalidate: true, onsubmit: submits(() => this.#send()), oninput: () => { this.problem.replaceChildren(); this.render(); } }, this.to, this.text, this.submit, this.problem);
    this.chat = h('ol', { class: 'chat', 'aria-live': 'polite', 'aria-label': t('check') });
    this.teach = h('div', { class: 'teach' }, h('p', {}, rich(t('checkSoon'))), h('p', {}, t('checkSoonText')));
    this.code = codeBlock(t('terminal'), 'curl');
    this.replaceChildren(sheet('check', this.teach, this.chat, this.form, h('div', { class: 'pad' }, this.code.block)));
    this.listen(store, 'chat', ({ detail }) => { if (detail.id === this.instanceId) this.#draw(); });
    this.listen(store, 'instances sandbox', () => this.render());
    this.#drawn.clear();
    this.#draw();
  }

  render() {
    const talk = this.instance?.status === 'connected' || store.chat(this.instanceId).length > 0;
    this.teach.hidden = talk;
    this.chat.hidden = this.form.hidden = !talk;
    const contact = store.sandbox?.phones?.find(({ role }) => role === 'contact');
    if (contact && !this.to.value && document.activeElement !== this.to) this.to.value = dialled(contact.phone);
    this.code.put(curl(location.origin + this.path + '/messages', { json: { to: this.#recipient || '5511999999999', body: { type: 'text', text: this.text.value || t('helloText') } } }));
  }

  get #recipient() {
    const raw = this.to.value.trim();
    return raw.includes('@') ? raw : raw.replace(/\D/g, '');
  }

  #send() {
    const text = this.text.value;
    const [missing, word] = !this.#recipient ? [this.to, 'toEmpty'] : text.trim() ? [] : [this.text, 'textEmpty'];
    if (missing) {
      this.problem.replaceChildren(h('p', { class: 'bad sm', role: 'alert' }, t(word)));
      return missing.focus();
    }
    return busy(this.submit, async () => {
      this.text.value = '';
      await store.send(this.instanceId, this.#recipient, text).catch(() => { this.text.value ||= text; });
      this.text.focus();
    });
  }

  #draw() {
    const chat = store.chat(this.instanceId);
    for (const [message, { item }] of this.#drawn) if (!chat.includes(message) && this.#drawn.delete(message)) item.remove();
    for (const message of chat) {
      const sign = `${message.state} ${message.id}`;
      const known = this.#drawn.get(message);
      if (known?.sign === sign) continue;
      const item = said(message);
      if (known) known.item.replaceWith(item);
      else this.chat.append(item);
      this.#drawn.set(message, { sign, item });
    }
    this.chat.querySelector('.hint')?.remove();
    if (!chat.length) this.chat.append(h('li', { class: 'hint' }, t('checkEmpty')));
    this.chat.scrollTop = this.chat.scrollHeight;
    this.render();
  }
}

function said({ mine, to, from, name, text, type, at, state, id, error, byPhone, deliveredAfter: after }) {
  const who = mine ? dialled(to) : [name, dialled(from)].filter(Boolean).join(' · ');
  return bubble(mine, [h('span', { class: 'sr' }, mine && `${t('to')} `, who, ': '), text ?? t('typed', type),
    error && h('p', { class: 'sm bad' }, explain(error), ' ', h('span', { class: 'mono trail' }, trail(error)))],
  { 'data-testid': 'chat-message', 'data-message-id': id, 'data-state': state },
  h('span', { class: 'nowrap', 'aria-hidden': 'true' }, who), byPhone && t('byPhone'), h('time', { title: exact(at) }, clock(at)),
  state && h('span', { class: `st ${state === 'failed' ? 'bad' : ''}` }, icon(TICKS[state]), t(`tick.${state === 'delivered' && after >= 0 ? 'deliveredIn' : state}`, short(after / 1000))));
}

class SandboxPhone extends Of {
  #log = new Map();
  #timer = 0;
  #chosen = false;

  show() {
    this.picker = h('select', { class: 'input mono', 'aria-label': t('phoneOf'), 'data-testid': 'phone-select', onchange: () => { this.#chosen = true; this.#turn(); } });
    this.state = h('p', { class: 'hint warn', role: 'status', 'data-testid': 'phone-state' });
    this.screen = h('ol', { class: 'chat', 'aria-live': 'polite', 'aria-label': t('phone'), 'data-testid': 'phone-inbox' });
    this.text = field('phone-text', '', 'phoneHint');
    this.submit = sender('phone-send', '');
    this.form = h('form', { class: 'compose', novalidate: true, onsubmit: submits(() => this.#write()) }, this.text, this.submit);
    this.wait = h('p', { class: 'hint muted' });
    this.acts = h('div', { class: 'row wrap deeds' });
    const phone = sheet('phone', this.state, this.screen, this.wait, this.form, this.acts);
    phone.prepend(h('p', { class: 'ribbon' }, t('sandbox')));
    phone.classList.add('phone');
    phone.dataset.testid = 'sandbox-phone';
    phone.children[1].append(this.picker);
    this.replaceChildren(phone);
    this.listen(store, 'sandbox instances', () => this.render());
    this.listen(store, 'events', ({ detail }) => { if (detail.added.some((event) => event.instance_id === this.instanceId)) this.#soon(); });
    this.#draw();
  }

  gone() { clearTimeout(this.#timer); }

  #turn() {
    this.#log.clear();
    this.#soon();
  }

  render() {
    const phones = store.sandbox?.phones ?? [];
    const { status, phone_number: own } = this.instance ?? {};
    const connected = status === 'connected';
    const before = this.picker.value;
    this.hidden = !phones.length;
    offer(this.picker, phones.map(({ phone, name }) => [phone, [name, dialled(phone)].filter(Boolean).join(' ')]), before || phones[0]?.phone);
    const next = !this.#chosen && phones.find(({ role }) => role === (connected ? 'contact' : 'account'));
    if (next) this.picker.value = next.phone;
    if (this.picker.value !== before) this.#turn();
    const phone = phones.find((one) => one.phone === this.picker.value) ?? {};
    const isOwner = connected ? own === phone.phone : phone.role === 'account';
    this.form.hidden = !connected || isOwner;
    this.screen.hidden = isOwner || (!connected && !this.#log.size);
    setText(this.wait, isOwner ? (connected ? t('phoneOwner') : '') : connected ? '' : t('phoneNotYet'));
    setText(this.state, [phone.online === false && t('phoneOffline', phone.waiting), phone.next_message_fails && t('phoneFails')].filter(Boolean).join(' '));
    const acts = Object.entries({
      scan: isOwner && ['pending', 'qr', 'failed'].includes(status), 'phone.offline': phone.online, 'phone.online': phone.online === false,
      'phone.fail': phone.next_message_fails === false, 'phone.unlink': phone.linked?.some((device) => device.instance_id === this.instanceId),
    }).filter(([, wanted]) => wanted).map(([act]) => act);
    if (!changed(this.acts, ...acts)) return;
    const focused = this.acts.contains(document.activeElement);
    this.acts.replaceChildren(...acts.map((word) => does('btn small', word, `phone-${word.slice(6) || word}`, () => this.#act(word.slice(6)))));
    if (focused) this.acts.querySelector('button')?.focus();
  }

  async #act(act) {
    const body = { instance_id: this.instanceId };
    const phone = this.picker.value;
    try {
      await (act ? api.post(`/v1/sandbox/phones/${phone}/${act}`, act === 'unlink' ? body : undefined) : api.post('/v1/sandbox/scan', { ...body, phone }));
    } finally {
      await this.#fetch();
    }
  }

  #soon() {
    for (const { mine, from, id, text, at } of store.chat(this.instanceId)) {
      if (!mine && from === this.picker.value) this.#add(id, { mine: true, text, at });
    }
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), 200);
  }

  async #fetch() {
    const phone = this.picker.value;
    if (!phone || store.link === 'gone') return;
    try {
      const [{ data }, sandbox] = await Promise.all([api.get(`/v1/sandbox/inbox?phone=${phone}`), api.get('/v1/sandbox')]);
      if (!this.alive) return;
      store.sandbox = sandbox;
      if (phone === this.picker.value) for (const message of data) this.#add(message.id, { mine: false, text: message.text ?? message.error, at: timeOf(message) });
      this.#draw();
    } catch { /* stays as it was */ }
  }

  #add(id, message) { if (!this.#log.has(id)) this.#log.set(id, message); }

  #write() {
    const text = this.text.value;
    if (!text.trim()) return this.text.focus();
    return busy(this.submit, async () => {
      try {
        const { id } = await api.post('/v1/sandbox/messages', { from: this.picker.value, to: this.instance.phone_number, text });
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
    if (changed(this.screen, this.picker.value, ...this.#log.keys())) {
      this.screen.replaceChildren(...[...this.#log.values()].sort((a, b) => a.at - b.at).map(({ mine, text, at }) => bubble(mine, text, { 'data-testid': mine ? 'phone-sent' : 'phone-received' }, h('time', {}, clock(at)))));
      if (!this.#log.size) this.screen.append(h('li', { class: 'hint' }, t('phoneEmpty')));
      this.screen.scrollTop = this.screen.scrollHeight;
    }
    this.render();
  }
}

function timeOf({ id, at }) {
  const event = store.events.findLast((known) => known.message_id === id);
  return event ? Date.parse(event.occurred_at) : at * 1000 || Date.now();
}

class InstanceView extends Of {
  show() {
    const { instanceId } = this;
    const copy = copies(instanceId, () => instanceId, 'btn ghost small mono');
    copy.setAttribute('aria-label', `${t('copy')}: ${instanceId}`);
    this.heading = h('h1', { 'data-testid': 'instance-title' });
    this.pill = h('span', { 'data-testid': 'instance-state' });
    this.lead = h('p', {});
    this.buttons = h('div', { class: 'row wrap' });
    this.qr = make('wu-qr', { instanceId, asked: this.asked });
    this.manage = h('ul', { class: 'tasks' });
    this.facts = h('dl', { class: 'counts pad', 'data-testid': 'counts' });
    this.choices = h('div', { class: 'pad' });
    this.body = h('div', {}, h('div', { class: 'head' }, h('div', {}, h('div', { class: 'row wrap' }, this.heading, this.pill), this.lead, copy), this.buttons), this.qr,
      h('div', { class: 'cols' },
        h('div', { class: 'stack' }, make('wu-chat', { instanceId }), excerpt((event) => event.instance_id === instanceId, `?instance=${instanceId}`), sheet('manage', this.manage)),
        h('div', { class: 'stack' }, make('wu-phone', { instanceId }), sheet('counts', this.facts), sheet('settings', this.choices))));
    this.missing = h('div', { class: 'sheet empty', hidden: true }, icon('search'), h('h2', {}, t('notFound')), h('p', {}, t('notFoundText')), h('a', { class: 'btn', href: '#/' }, t('backToOverview')));
    this.replaceChildren(h('nav', { class: 'crumb', 'aria-label': t('overview') }, h('a', { href: '#/' }, t('overview')), icon('chev'), h('span', {}, t('instance'))), this.missing, this.body);
    this.listen(store, 'instances', () => this.render());
    this.every(1000, () => this.#words());
    this.every(PATIENCE_MS, () => this.#count());
    this.#count();
    this.#settings();
    this.render();
  }

  render() {
    const { instance } = this;
    this.missing.hidden = instance || !store.loaded;
    this.body.hidden = !instance;
    if (!instance) return;
    const { status, name } = instance;
    const { icon: shape, tone, word } = stateOf(instance);
    setText(this.heading, name);
    this.dataset.status = status;
    this.qr.hidden = groupOf(instance) !== 'need' && (status !== 'connecting' || instance.phone_number);
    this.#words();
    if (!changed(this.pill, status, word, name)) return;
    this.pill.className = `st pill ${tone}`;
    this.pill.replaceChildren(icon(shape), word);
    this.#actions(instance);
  }

  #words() {
    const { instance } = this;
    if (!instance) return;
    const { status, phone_number: own } = instance;
    const why = status === 'qr' ? t('scanLead') : whyOf(instance);
    const since = ['qr', 'pending'].includes(status) ? '' : sinceText(instance);
    if (changed(this.lead, own, why, since)) this.lead.replaceChildren(own ? h('span', { class: 'mono' }, `${dialled(own)} `) : '', ...rich(why), h('span', { class: 'faint' }, ` ${since}`));
  }

  async #count() {
    if (document.hidden || store.link === 'gone') return;
    const report = await api.get(`${this.path}/status`).catch(() => null);
    if (!report) return;
    const { link, counters } = report;
    const ago = (at) => at && time(at);
    const facts = {
      received: number(counters.messages_received), sent: number(counters.messages_sent), waiting: number(report.queue_depth), up: ago(link.connected_since),
      heard: ago(link.last_received_at), tries: link.failed_attempts && number(link.failed_attempts), memory: bytes(report.memory_bytes),
    };
    this.facts.replaceChildren(...Object.entries(facts).flatMap(([fact, value]) => (value ? [h('dt', {}, t(`count.${fact}`)), h('dd', { class: 'mono', 'data-testid': `fact-${fact}` }, value)] : [])));
  }

  async #settings() {
    const path = `${this.path}/settings`;
    let settings = await api.get(path).catch((error) => this.choices.replaceChildren(trouble(t('settings'), error)));
    const row = (key) => {
      const id = `set-${key}`;
      const list = Array.isArray(settings[key]);
      const [off, on] = key === 'send_while_disconnected' ? ['reject', 'queue'] : [false, true];
      const saved = h('span', { class: 'st good', role: 'status' });
      const put = () => { if (list) input.value = settings[key].join(', '); else input.checked = settings[key] === on; };
      const save = async () => {
        try {
          settings = await api.call('PATCH', path, { [key]: list ? input.value.split(/[\s,;]+/).filter(Boolean).map(Number) : input.checked ? on : off });
          saved.replaceChildren(icon('tick'), t('saved'));
          setTimeout(() => saved.replaceChildren(), 2000);
        } catch (error) {
          notice(t(`set.${key}`), error);
          put();
        }
      };
      const input = h('input', { id, 'data-write': true, 'data-testid': id, onchange: save, ...(list ? { class: 'input mono', autocomplete: 'off' } : { type: 'checkbox', role: 'switch' }) });
      put();
      return h('div', { class: list ? 'tog labelled' : 'tog' }, h('span', {}, h('label', { for: id }, t(`set.${key}`)), ' ', saved), input);
    };
    if (settings) this.choices.replaceChildren(...Object.keys(settings).filter((key) => has(`set.${key}`)).map(row));
  }

  #actions(instance) {
    const { status, name } = instance;
    const off = isOff(instance);
    const call = (verb, word = verb, look = 'small', work = () => store.act(this.instanceId, verb)) => does(`btn ${look}`, word, `do-${verb}`, work);
    const opens = (verb, look, open) => call(verb, verb, `small ${look}`, async () => void open());
    const sure = (verb, about, danger, work = () => store.act(this.instanceId, verb), typed = null) => opens(verb, danger && 'danger', () => askSure({
      title: t(`ask${about}`, name), text: t(`ask${about}Text`), verb: t(verb), danger, name: typed, testid: `${verb}-dialog`, work,
    }));
    const linked = !['pending', 'qr'].includes(status);
    const tasks = {
      restart: linked && !off && call('restart'),
      disconnect: status === 'connected' && sure('disconnect', 'Disconnect', ''),
      stop: ['qr', 'connecting', 'disconnected'].includes(status) && !off && call('disconnect', 'stop'),
      rename: opens('rename', '', () => askName({ title: t('rename'), value: name, verb: t('save'), testid: 'rename-dialog', work: (wanted) => store.rename(this.instanceId, wanted) })),
      logout: linked && sure('logout', 'Logout', true),
      remove: sure('remove', 'Remove', true, async () => {
        await store.remove(this.instanceId);
        location.hash = '#/';
      }, name),
    };
    this.buttons.replaceChildren(...(off ? [call('connect', 'connect', 'go')] : status === 'disconnected' ? [call('connect', 'tryNow', '')] : []));
    this.manage.replaceChildren(...Object.entries(tasks).flatMap(([task, button]) => (button ? h('li', {}, h('div', {}, h('h3', {}, t(task)), h('p', {}, t(`${task.replace('stop', 'disconnect')}Text`))), button) : [])));
  }
}

define({ 'wu-qr': QrPanel, 'wu-chat': ChatCheck, 'wu-phone': SandboxPhone, 'wu-instance': InstanceView });

export function view(instanceId, wish) {
  if (wish) history.replaceState(null, '', `#/instances/${encodeURIComponent(instanceId)}`);
  return make('wu-instance', { instanceId, asked: wish === 'qr' });
}
