// Whether the gateway answers: "Live" in the rail, and a banner with a countdown when it is gone.
import { h, icon, Part, setText } from '../dom.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { clock } from '../words.js';

class Live extends Part {
  show() {
    this.className = 'live';
    const render = () => {
      this.dataset.link = store.link;
      setText(this, {
        live: t('live'), connecting: t('connecting'), refused: t('noEvents'), gone: t('from', clock(store.freshAt || Date.now())),
      }[store.link]);
    };
    render();
    this.listen(store, 'link', render);
  }
}

class GoneBanner extends Part {
  show() {
    this.text = h('p', {});
    const retry = h('button', { class: 'btn small', type: 'button', onclick: () => store.retryNow() }, t('tryNow'));
    this.box = h('div', { class: 'banner soft', 'data-testid': 'banner', hidden: true },
      icon('connecting'), h('div', { role: 'status' }, h('b', {}, t('gone')), this.text), retry);
    this.replaceChildren(this.box);
    this.render();
    this.listen(store, 'link', () => this.render());
    this.every(500, () => this.render());
  }

  render() {
    const gone = store.link === 'gone';
    this.box.hidden = !gone;
    document.documentElement.toggleAttribute('data-gone', gone);
    for (const control of document.querySelectorAll('[data-write]')) control.disabled = gone;
    if (!gone) return;
    const wait = Math.ceil((store.retryAt - Date.now()) / 1000);
    setText(this.text, t('goneText', clock(store.freshAt || Date.now()), wait > 0 ? t('goneRetry', wait) : t('goneNow')));
  }
}

customElements.define('wu-live', Live);
customElements.define('wu-gone', GoneBanner);
