// Times, spans and numbers as people read them, in the language of the page.
import { language, t } from './i18n/index.js';

const locale = () => ({ pt: 'pt-BR', es: 'es', en: 'en-GB' })[language];
const pad = (n, width = 2) => String(n).padStart(width, '0');

/** 10:05:03, in this computer's time zone. */
export function clock(time, milliseconds = false) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return milliseconds ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

/** The exact time, for titles. */
export const exact = (time) => new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time));

/** "24 s", "51 min", "11 h", "18 days". */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return t('day', Math.floor(seconds / 86_400));
}

export const short = (seconds) => `${new Intl.NumberFormat(locale(), { maximumFractionDigits: 1 }).format(seconds)} s`;

/** A number or address as it is dialled. */
export const dialled = (phone) => (phone ? `+${String(phone).replace(/^\+/, '')}` : '');

/** Only the end, for lists that others may see over a shoulder: …8841. */
export function masked(address) {
  const user = String(address ?? '').split('@')[0].split(':')[0];
  return user.length > 4 ? `…${user.slice(-4)}` : user;
}
