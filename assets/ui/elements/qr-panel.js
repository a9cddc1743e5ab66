// The code that links a phone: it changes by itself, counts down, and says why when there is none. Whoever cannot scan
// types another one.
import { api, instancePath } from '../api.js';
import { busy, copier, h, icon, notice, Part, rich, say, setText, trouble } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';

// After this long past its end without a successor the code is asked for again.
const PATIENCE_MS = 3_000;

/** Set `instanceId` (and `asked`, to fetch at once) before it is connected. */
class QrPanel extends Part {
  instanceId = '';
  asked = false;
  #qr = null;
  #loading = false;
  #error = null;
  #seconds = 60;
  #warned = false;

  show() {
    this.image = h('img', { 'data-testid': 'qr-image', alt: t('qrAlt'), width: 256, height: 256 });
    this.frame = h('div', { class: 'qr' }, this.image, icon('frame', 'frame'));
    this.ring = ringOf();
    this.left = h('span', {});
    this.count = h('div', { class: 'count' }, this.ring.svg, this.left);
    const { button: copy, word } = copier(t('copyCode'), t('copied'), () => this.#qr?.code ?? '');
    copy.prepend(icon('copy'));
    copy.append(word);
    this.copy = copy;
    this.place = h('div', { class: 'place' });
    this.scan = h('div', { class: 'or', hidden: true });
    this.replaceChildren(h('section', { class: 'sheet stage', 'aria-label': t('qrAlt') }, this.place,
      h('div', { class: 'pad' }, h('h2', {}, t('onPhone')),
        h('ol', { class: 'steps' }, ['step1', 'step2', 'step3'].map((step) => h('li', {}, h('span', {}, rich(t(step)))))), this.#byNumber(), this.scan)));
    this.listen(store, 'qr', ({ detail }) => { if (detail.event.instance_id === this.instanceId) this.#put(detail.event); });
    this.listen(store, 'instances', () => this.#follow());
    this.listen(store, 'sandbox', () => this.render());
    this.every(250, () => this.#tick());
    this.render();
    if (this.asked || this.instance?.status === 'qr') this.ask();
  }

  get instance() { return store.instances.get(this.instanceId); }

  async ask() {
    if (this.#loading) return;
    this.#loading = true;
    this.#error = null;
    this.render();
    try {
      const qr = await api.get(`${instancePath(this.instanceId)}/qr`);
      if (this.alive) this.#put(qr);
    } catch (error) {
      this.#error = error;
    } finally {
      this.#loading = false;
      if (this.alive) this.render();
    }
  }

  #put(qr) {
    if (!qr.qr?.startsWith('data:image/')) return;
    if (Date.parse(qr.expires_at) < api.now()) return;
    this.#qr = qr;
    this.#error = null;
    this.#warned = false;
    // WhatsApp's first code lives 60 s, the following ones 20 s: the ring is full at their start, not at ours.
    const left = (Date.parse(qr.expires_at) - api.now()) / 1000;
    this.#seconds = left > 20 ? Math.max(60, left) : 20;
    this.image.src = qr.qr;
    this.render();
  }

  #follow() {
    const status = this.instance?.status;
    if (this.#status === status) return;
    const before = this.#status;
    this.#status = status;
    // The code was used, or there will be no more: the old one must not be scanned.
    if (before === 'qr' && status !== 'qr') {
      this.#qr = null;
      this.typed.replaceChildren();
    }
    if (status === 'qr' && !this.#qr) this.ask();
    this.render();
  }

  #status = null;
  #typedEnds = 0;

  #tick() {
    if (this.#typedEnds < api.now()) this.typed.replaceChildren();
    if (!this.#qr) return;
    const left = (Date.parse(this.#qr.expires_at) - api.now()) / 1000;
    if (left <= 0) {
      setText(this.left, t('qrSoon'));
      this.frame.classList.add('stale');
      if (left < -PATIENCE_MS / 1000 && store.link !== 'gone') {
        this.#qr = null;
        this.ask();
      }
    } else {
      const seconds = Math.ceil(left);
      if (this.left.dataset.seconds !== String(seconds)) {
        this.left.dataset.seconds = seconds;
        this.left.replaceChildren(...rich(t('qrLeft', seconds)));
      }
      this.frame.classList.remove('stale');
      if (seconds === 10 && !this.#warned) {
        this.#warned = true;
        say(t('qrTen'));
      }
    }
    this.ring.set(Math.max(0, left) / this.#seconds);
  }

  render() {
    const status = this.instance?.status;
    this.#status ??= status;
    const again = (label, go = false) => h('button', { class: go ? 'btn go' : 'btn', type: 'button', 'data-testid': 'qr-show', 'data-write': true, onclick: () => this.ask() }, label);
    if (this.#qr) {
      this.left.dataset.seconds = '';
      this.#tick();
      if (this.frame.parentNode !== this.place) this.place.replaceChildren(this.frame, this.count, this.copy);
    } else if (this.#error) {
      this.place.replaceChildren(trouble(t('qrFailed'), this.#error, again(t('tryAgain'))));
    } else if (this.#loading) {
      this.place.replaceChildren(h('div', { class: 'qr blank' }, icon('frame', 'frame'), h('span', { class: 'st work' }, icon('connecting'))), h('p', { class: 'sm muted', role: 'status' }, t('qrLoading')));
    } else if (status === 'connecting') {
      this.place.replaceChildren(h('div', { class: 'qr blank' }, icon('frame', 'frame'), h('span', { class: 'st work' }, icon('connecting'))), h('p', { class: 'sm', role: 'status' }, h('b', {}, t('qrScanned'))));
    } else {
      this.place.replaceChildren(h('div', { class: 'qr blank' }, icon('frame', 'frame'), h('span', { class: 'st idle' }, icon('qr'))),
        h('div', { class: 'ask' }, h('p', {}, h('b', {}, t('qrAsk'))), h('p', { class: 'sm muted' }, t('qrAskText')), again(t('showQr'), true)));
    }
    this.#renderScan(status);
  }

  #byNumber() {
    this.typed = h('div', { role: 'status' });
    const input = h('input', { class: 'input', type: 'tel', id: `pair-${this.instanceId}`, 'data-testid': 'pair-number' });
    const button = h('button', { class: 'btn', type: 'submit', 'data-testid': 'pair-get', 'data-write': true }, t('pairGet'));
    const ask = async () => {
      try {
        const made = await api.post(`${instancePath(this.instanceId)}/pair-code`, { phone_number: input.value.trim() });
        this.#typedEnds = Date.parse(made.expires_at);
        this.typed.replaceChildren(h('p', { class: 'typed mono', 'data-testid': 'pair-code' }, made.code), h('p', { class: 'sm muted' }, t('pairText')));
      } catch (error) {
        this.#typedEnds = Infinity;
        this.typed.replaceChildren(trouble(t('pairGet'), error));
      }
    };
    const form = h('form', { class: 'labelled', novalidate: true, onsubmit: (event) => { event.preventDefault(); busy(button, ask); } },
      h('label', { for: input.id }, t('toHint')), h('div', { class: 'row' }, input, button), this.typed);
    return h('details', { class: 'or' }, h('summary', { 'data-testid': 'pair-open' }, t('pairOpen')), form);
  }

  #renderScan(status) {
    this.scan.hidden = !store.sandbox || !(this.#qr || status === 'qr');
    if (this.scan.hidden || this.scan.childElementCount) return;
    const button = h('button', { class: 'btn go', type: 'button', 'data-testid': 'scan-button', 'data-write': true }, t('scan'));
    button.addEventListener('click', () => busy(button, async () => {
      try {
        await api.post('/v1/sandbox/scan', { instance_id: this.instanceId });
      } catch (error) {
        notice(t('scan'), error);
      }
    }));
    this.scan.append(h('h3', {}, t('scanText')), h('div', {}, button));
  }
}

/** The ring that runs out. Attributes only: the content policy forbids inline style. */
function ringOf() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'ring');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('aria-hidden', 'true');
  const circles = [0, 1].map(() => {
    const circle = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
    for (const [name, value] of Object.entries({ cx: 16, cy: 16, r: 13, pathLength: 100 })) circle.setAttribute(name, value);
    svg.append(circle);
    return circle;
  });
  circles[1].setAttribute('transform', 'rotate(-90 16 16)');
  return { svg, set: (share) => circles[1].setAttribute('stroke-dasharray', `${(share * 100).toFixed(1)} 100`) };
}

customElements.define('wu-qr', QrPanel);
