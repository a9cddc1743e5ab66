// Code to copy: a caption, the text, one button; and the JSON viewer with its three inks.
import { append, copier, h, icon } from '../dom.js';
import { t } from '../i18n/index.js';

/** Returns the block and a function that puts new text into it: an array of strings and `[class, string]`. */
export function codeBlock(caption, testid) {
  const pre = h('pre', { tabindex: '0', 'data-testid': testid });
  const { button, word } = copier(t('copy'), t('copied'), () => pre.dataset.copy ?? pre.textContent);
  button.prepend(icon('copy'));
  button.append(word);
  const block = h('div', { class: 'code' }, h('div', { class: 'code-bar' }, h('span', {}, caption), button), pre);
  const put = (parts) => pre.replaceChildren(...parts.map((part) => (typeof part === 'string' ? part : h('span', { class: part[0] }, part[1]))));
  return { block, put, pre, button };
}

/** For the inside of a single-quoted shell word. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A `curl` call in coloured parts. The key is a placeholder on purpose: it is copied into chats and tickets. */
export function curl(url, { stream = false, json } = {}) {
  const parts = [['p', 'curl'], `${stream ? ' -N' : ''} ${url} \\\n  -H `, ['v', '"Authorization: Bearer $KEY"']];
  if (json) parts.push(' \\\n  --json ', ['v', quoted(JSON.stringify(json))]);
  return parts;
}

const LONGEST_VALUE = 200;

/** JSON as coloured text nodes. Long `data:` values are cut with their size; copying gives the whole. */
export function jsonInto(pre, value) {
  pre.dataset.copy = JSON.stringify(value, null, 2);
  const out = [];
  write(out, value, '');
  pre.replaceChildren();
  append(pre, out);
}

function write(out, value, indent) {
  if (value !== null && typeof value === 'object') {
    const list = Array.isArray(value);
    const entries = list ? value.map((item) => [null, item]) : Object.entries(value);
    if (!entries.length) return void out.push(list ? '[]' : '{}');
    out.push(list ? '[\n' : '{\n');
    entries.forEach(([key, item], index) => {
      out.push(`${indent}  `);
      if (key !== null) out.push(h('span', { class: 'k' }, JSON.stringify(key)), ': ');
      write(out, item, `${indent}  `);
      out.push(index < entries.length - 1 ? ',\n' : '\n');
    });
    out.push(indent + (list ? ']' : '}'));
  } else if (typeof value === 'string' && value.startsWith('data:') && value.length > LONGEST_VALUE) {
    out.push(h('span', { class: 'v' }, `"${value.slice(0, 40)}`), h('span', { class: 'p' }, `… ${t('bytes', value.length - 40)}`), h('span', { class: 'v' }, '"'));
  } else {
    out.push(h('span', { class: typeof value === 'string' ? 'v' : 'm' }, JSON.stringify(value)));
  }
}
