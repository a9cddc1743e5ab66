// Words: one file per language, each with the same keys; only the chosen one is loaded. A value is a string or a function of its parts.
export const languages = { en: 'English', pt: 'Português', es: 'Español' };
const STORED = 'whatisup.language';

let words = {};
export let language = 'en';

/** The chosen language, else the first of the browser's that is spoken here. */
export function preferred() {
  let stored = null;
  try { stored = localStorage.getItem(STORED); } catch { /* storage may be switched off */ }
  const wishes = [stored, ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wishes.find((wish) => wish in languages) ?? 'en';
}

export async function use(wanted) {
  words = (await import(`./${wanted}.js`)).default;
  language = wanted;
  document.documentElement.lang = language === 'pt' ? 'pt-BR' : language;
}

export async function choose(wanted) {
  await use(wanted);
  try { localStorage.setItem(STORED, wanted); } catch { /* lasts as long as the page then */ }
}

/** The text for a key; a missing one shows itself. */
export function t(key, ...parts) {
  const word = words[key] ?? key;
  return typeof word === 'function' ? word(...parts) : word;
}

/** Whether this language has own words: the server's are English, and know more. */
export const has = (key) => key in words;
