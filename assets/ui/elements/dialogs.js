// Questions: native dialogs, the title is the question and the button repeats the verb. Focus returns by itself.
import { busy, h, rich } from '../dom.js';
import { t } from '../i18n/index.js';
import { trouble } from './notices.js';

let serial = 0;

/** Opens a dialog with a form; `work` runs on submit, its failure is shown inside, its success closes. Resolves to what `work` gave, or `null`. */
export function ask({ title, text, fields = [], verb, verbClass = 'go', testid, work }) {
  return new Promise((resolve) => {
    serial += 1;
    const submit = h('button', { class: `btn ${verbClass}`, type: 'submit', 'data-testid': `${testid}-confirm` }, verb);
    const cancel = h('button', { class: 'btn', type: 'button', onclick: () => dialog.close() }, t('cancel'));
    const problem = h('div', { class: 'problem' });
    const form = h('form', { class: 'pad', novalidate: true },
      h('h2', { id: `ask-${serial}` }, title), text && h('p', { class: 'muted' }, text), fields, problem, h('div', { class: 'row end' }, cancel, submit));
    const dialog = h('dialog', { class: 'sheet dialog', 'aria-labelledby': `ask-${serial}`, 'data-testid': testid }, form);
    let result = null;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      busy(submit, async () => {
        problem.replaceChildren();
        try {
          result = await work(problem);
          if (result !== undefined) dialog.close();
        } catch (error) {
          problem.replaceChildren(trouble(t('didNot', verb), error));
        }
      });
    });
    dialog.addEventListener('close', () => { dialog.remove(); resolve(result ?? null); });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('input')?.select();
  });
}

function nameField(value, hint = t('nameHint')) {
  const input = h('input', { class: 'input', id: `name-${serial + 1}`, maxlength: 100, autocomplete: 'off', placeholder: hint, 'data-testid': 'name-input', value });
  return { input, field: h('div', { class: 'labelled' }, h('label', { for: input.id }, t('name')), input) };
}

function nameOrSay(input, problem) {
  const name = input.value.trim();
  if (name) return name;
  problem.replaceChildren(h('p', { class: 'bad sm', role: 'alert' }, t('nameEmpty')));
  input.focus();
  return null;
}

/** Asks for a name and hands it to `work`. */
export function askName({ title, text, value = '', verb, testid, work }) {
  const { input, field } = nameField(value);
  return ask({
    title, text, fields: [field], verb, testid,
    work: async (problem) => {
      const name = nameOrSay(input, problem);
      return name === null ? undefined : (await work(name)) ?? true;
    },
  });
}

/** Asks before something that hurts; with `name`, the name must be typed. */
export function askSure({ title, text, verb, danger = true, name = null, testid, work }) {
  const fields = [];
  let input = null;
  if (name !== null) {
    input = h('input', { class: 'input', id: `sure-${serial + 1}`, autocomplete: 'off', 'data-testid': 'confirm-input' });
    fields.push(h('div', { class: 'labelled' }, h('label', { for: input.id }, rich(t('typeName', name))), input));
  }
  return ask({
    title, text, fields, verb, verbClass: danger ? 'solid-danger' : 'go', testid,
    work: async () => {
      if (input && input.value.trim() !== name.trim()) {
        input.focus();
        input.select();
        return undefined;
      }
      return (await work()) ?? true;
    },
  });
}
