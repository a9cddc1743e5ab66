// The door: asks for an API key, checks it with one call, keeps it for this tab.
import { api } from '../api.js';
import { busy, h, icon } from '../dom.js';
import { t } from '../i18n/index.js';
import { explain, trail } from '../words.js';

/** `enter` runs once a key works; `error` is why the last one did not. */
export function signIn({ enter, error = null, settings }) {
  const input = h('input', { class: 'input mono', id: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false', placeholder: 'zpk_live_…', 'aria-describedby': 'key-problem', 'data-testid': 'key-input' });
  const problem = h('div', { id: 'key-problem', role: 'alert', 'data-testid': 'key-problem' });
  const submit = h('button', { class: 'btn go', type: 'submit' }, t('keyOpen'));
  const form = h('form', { class: 'sheet pad labelled', novalidate: true, 'data-testid': 'key-form' },
    h('label', { for: 'key' }, t('keyLabel')), input, problem, submit);

  const refuse = (text, detail = '') => {
    problem.replaceChildren(h('p', { class: 'bad sm' }, text, ' ', h('span', { class: 'mono trail' }, detail)));
    input.setAttribute('aria-invalid', 'true');
    input.focus();
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!key) return refuse(t('keyEmpty'));
    // A header cannot carry anything else, and a key has nothing else.
    if (!/^[\x21-\x7e]+$/.test(key)) return refuse(t('error.auth_malformed'));
    return busy(submit, async () => {
      problem.replaceChildren();
      api.key = key;
      try {
        await api.get('/v1/instances?limit=1');
      } catch (cause) {
        // A key that may not list instances is a good key all the same.
        if (cause.status !== 403) {
          api.key = null;
          return refuse(explain(cause), trail(cause));
        }
      }
      return enter();
    });
  });
  if (error) queueMicrotask(() => refuse(explain(error), trail(error)));

  return h('main', { class: 'door', id: 'main', tabindex: '-1' },
    icon('logo', 'i mark'),
    h('div', {}, h('h1', {}, t('keyTitle')), h('p', { class: 'muted' }, t('keyWhy'))),
    form,
    h('div', {}, h('p', { class: 'sm muted' }, t('keyNone')), h('div', { class: 'code' }, h('pre', { tabindex: '0' }, 'whatisup keys create --name dashboard'))),
    settings());
}
