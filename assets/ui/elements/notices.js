// Trouble in words: what did not happen, why, and the trail for a bug report. Stays until it is closed.
import { copier, h, icon } from '../dom.js';
import { t } from '../i18n/index.js';
import { explain, trail } from '../words.js';

/** The box alone, for places that show it where the trouble is. */
export function trouble(title, error, ...buttons) {
  return h('div', { class: 'banner bad-edge', role: 'alert', 'data-testid': 'error', 'data-code': error.code },
    icon('failed'),
    h('div', {}, h('b', {}, title), h('p', {}, explain(error)), h('p', { class: 'mono trail' }, trail(error))),
    h('div', { class: 'row' }, buttons));
}

/** Shows it at the top of the page. */
export function notice(what, error) {
  const area = document.getElementById('notices');
  if (!area || error.status === 401) return;
  const close = h('button', { class: 'btn ghost small icon', type: 'button', 'aria-label': t('close') }, icon('close'));
  const { button, word } = copier(t('copy'), t('copied'), () => `${what}\n${error.message}\n${trail(error)}`, 'btn small');
  button.append(word);
  const box = trouble(t('didNot', what), error, button, close);
  close.addEventListener('click', () => box.remove());
  area.replaceChildren(box);
  box.scrollIntoView({ block: 'nearest' });
}

let spokenAt = 0;

/** One polite sentence for screen readers, at most one in two seconds; later ones win. */
export function say(sentence) {
  const region = document.getElementById('spoken');
  if (!region) return;
  const wait = Math.max(0, spokenAt + 2000 - Date.now());
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { spokenAt = Date.now(); region.textContent = sentence; }, wait);
}
