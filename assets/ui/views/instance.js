// One instance: link it, check that it works, manage it.
import { askName, askSure, busy, copier, h, icon, notice, Part, rich, setText } from '../dom.js';
import { excerpt } from '../elements/event-list.js';
import { t } from '../i18n/index.js';
import { store } from '../store.js';
import { dialled, groupOf, isOff, sinceText, stateOf, whyOf } from '../words.js';

/** Set `instanceId` (and `asked`, to fetch a QR code at once) before it is connected. */
class InstanceView extends Part {
  instanceId = '';
  asked = false;

  show() {
    this.heading = h('h1', { 'data-testid': 'instance-title' });
    this.pill = h('span', { class: 'st pill' });
    this.lead = h('p', {});
    this.buttons = h('div', { class: 'row wrap' });
    const { button: copy, word } = copier(this.instanceId, t('copied'), () => this.instanceId, 'btn ghost small mono');
    copy.append(word, icon('copy'));
    copy.setAttribute('aria-label', `${t('copy')}: ${this.instanceId}`);
    this.qr = document.createElement('wu-qr');
    this.chat = document.createElement('wu-chat');
    this.phone = document.createElement('wu-phone');
    Object.assign(this.qr, { instanceId: this.instanceId, asked: this.asked });
    this.chat.instanceId = this.phone.instanceId = this.instanceId;
    this.manage = h('ul', { class: 'tasks' });
    const managing = h('section', { class: 'sheet', 'aria-labelledby': 'manage' }, h('div', { class: 'sec' }, h('h2', { id: 'manage' }, t('manage'))), this.manage);
    const events = h('section', { class: 'group' }, h('h2', {}, t('itsEvents'), h('a', { class: 'more', href: '#/events' }, t('allEvents'))),
      h('div', { class: 'sheet' }, excerpt(8, (event) => event.instance_id === this.instanceId)));
    this.body = h('div', {}, h('div', { class: 'head' },
      h('div', {}, h('div', { class: 'row wrap' }, this.heading, this.pill), this.lead, copy), this.buttons),
    this.qr, h('div', { class: 'cols' }, h('div', { class: 'stack' }, this.chat, events), h('div', { class: 'stack' }, this.phone, managing)));
    this.missing = h('div', { class: 'sheet empty', hidden: true }, icon('search'), h('h2', {}, t('notFound')), h('p', {}, t('notFoundText')), h('a', { class: 'btn', href: '#/' }, t('backToOverview')));
    this.replaceChildren(h('nav', { class: 'crumb', 'aria-label': t('overview') }, h('a', { href: '#/' }, t('overview')), icon('chev'), h('span', {}, t('instance'))), this.missing, this.body);
    this.listen(store, 'instances', () => this.render());
    this.every(1000, () => this.#words());
    this.render();
  }

  get instance() { return store.instances.get(this.instanceId); }

  render() {
    const { instance } = this;
    this.missing.hidden = Boolean(instance) || !store.loaded;
    this.body.hidden = !instance;
    if (!instance) return;
    setText(this.heading, instance.name);
    const state = stateOf(instance);
    const sign = `${state.icon} ${state.tone} ${instance.status} ${isOff(instance)}`;
    this.dataset.status = instance.status;
    this.qr.hidden = groupOf(instance) !== 'need' && instance.status !== 'connecting';
    // A connection that comes back by itself needs no code.
    if (instance.status === 'connecting' && instance.phone_number) this.qr.hidden = true;
    this.#words();
    if (this.sign === sign) return;
    this.sign = sign;
    this.pill.className = `st pill ${state.tone}`;
    this.pill.dataset.testid = 'instance-state';
    this.pill.replaceChildren(icon(state.icon), state.word);
    this.#actions(instance);
  }

  #words() {
    const { instance } = this;
    if (!instance) return;
    const why = instance.status === 'qr' ? t('scanLead') : whyOf(instance);
    const phone = dialled(instance.phone_number);
    const since = ['qr', 'pending'].includes(instance.status) ? '' : sinceText(instance);
    const sign = phone + why + since;
    if (this.said === sign) return;
    this.said = sign;
    this.lead.replaceChildren(phone && h('span', { class: 'mono' }, `${phone} `), ...rich(why), h('span', { class: 'faint' }, ` ${since}`));
  }

  #call(verb, label, className = 'btn', symbol = null) {
    const button = h('button', { class: className, type: 'button', 'data-write': true, 'data-testid': `do-${verb}` }, symbol && icon(symbol), label);
    button.addEventListener('click', () => busy(button, () => store.act(this.instanceId, verb).catch((error) => notice(label, error))));
    return button;
  }

  #sure(verb, label, title, text, danger, work, name = null) {
    return h('button', {
      class: `btn small ${danger ? 'danger' : ''}`, type: 'button', 'data-write': true, 'data-testid': `do-${verb}`,
      onclick: () => askSure({ title, text, verb: label, danger, name, testid: `${verb}-dialog`, work }),
    }, label);
  }

  #actions(instance) {
    const { status, name } = instance;
    const off = isOff(instance);
    const first = [];
    if (off) first.push(this.#call('connect', t('connect'), 'btn go'));
    else if (status === 'disconnected') first.push(this.#call('connect', t('tryNow')));
    this.buttons.replaceChildren(...first);

    const tasks = [];
    const task = (title, text, button) => tasks.push(h('li', {}, h('div', {}, h('h3', {}, title), h('p', {}, text)), button));
    if (['connected', 'connecting', 'disconnected', 'failed'].includes(status) && !off) task(t('restart'), t('restartText'), this.#call('restart', t('restart'), 'btn small'));
    if (status === 'connected') {
      task(t('disconnect'), t('disconnectText'), this.#sure('disconnect', t('disconnect'), t('askDisconnect', name), t('askDisconnectText'), false, () => store.act(this.instanceId, 'disconnect')));
    } else if (['qr', 'connecting'].includes(status) || (status === 'disconnected' && !off)) {
      task(t('stop'), t('disconnectText'), this.#call('disconnect', t('stop'), 'btn small'));
    }
    task(t('rename'), t('renameText'), h('button', {
      class: 'btn small', type: 'button', 'data-write': true, 'data-testid': 'do-rename',
      onclick: () => askName({ title: t('rename'), value: this.instance.name, verb: t('save'), testid: 'rename-dialog', work: (wanted) => store.rename(this.instanceId, wanted) }),
    }, t('rename')));
    if (['connected', 'disconnected', 'connecting', 'failed'].includes(status)) {
      task(t('logout'), t('logoutText'), this.#sure('logout', t('logout'), t('askLogout', name), t('askLogoutText'), true, () => store.act(this.instanceId, 'logout')));
    }
    task(t('remove'), t('removeText'), this.#sure('remove', t('remove'), t('askRemove', name), t('askRemoveText'), true, async () => {
      await store.remove(this.instanceId);
      location.hash = '#/';
    }, name));
    this.manage.replaceChildren(...tasks);
  }
}

customElements.define('wu-instance', InstanceView);

export function view(instanceId, wish) {
  // The wish for a code is fulfilled once; going back or reloading must not start a session by itself.
  if (wish) history.replaceState(null, '', `#/instances/${encodeURIComponent(instanceId)}`);
  return Object.assign(document.createElement('wu-instance'), { instanceId, asked: wish === 'qr' });
}
