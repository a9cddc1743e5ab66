// Words, one file per language.
export const languages = { en: 'English', pt: 'Português', es: 'Español' };
const STORED = 'whatisup.language';

let words = {};
export let language = 'en';

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

export function t(key, ...parts) {
  const word = words[key] ?? key;
  return typeof word === 'function' ? word(...parts) : word;
}

export const has = (key) => key in words;
