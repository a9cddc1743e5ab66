// Words: one file per language; from facts to words: times and numbers, what a state is called, why it is so, what comes next.
import { api } from './store.js';

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
  words = (await import(`./i18n/${wanted}.js`)).default;
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

const locale = () => ({ pt: 'pt-BR', es: 'es', en: 'en-GB' })[language];

export function clock(time, milliseconds = false) {
  const date = new Date(time);
  return Number.isNaN(+date) ? '' : new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(11, milliseconds ? 23 : 19);
}

const formatters = {};

export function exact(time) {
  formatters[language] ??= new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' });
  return formatters[language].format(new Date(time));
}

const STEPS = [[86_400, 'day'], [3600, 'hour'], [60, 'minute'], [0, 'second']];

export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [step, unit] = STEPS.find(([from]) => seconds >= from);
  const many = Math.floor(seconds / (step || 1));
  return unit === 'day' ? t('day', many) : `${many} ${{ hour: 'h', minute: 'min', second: 's' }[unit]}`;
}

export function relative(time) {
  const seconds = (Date.parse(time) - api.now()) / 1000;
  const [step, unit] = Math.abs(seconds) < 3 ? [Infinity, 'second'] : STEPS.find(([from]) => Math.abs(seconds) >= from);
  return new Intl.RelativeTimeFormat(locale(), { numeric: 'auto' }).format(Math.round(seconds / (step || 1)), unit);
}

export const area = (name) => t(has(`kind.${name}`) ? `kind.${name}` : name);

export function bytes(count) {
  const [size, unit] = count >= 1e9 ? [1e9, 'gigabyte'] : count >= 1e6 ? [1e6, 'megabyte'] : [1e3, 'kilobyte'];
  return new Intl.NumberFormat(locale(), { style: 'unit', unit, maximumSignificantDigits: 3 }).format(count / size);
}

export const number = (value) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 1 }).format(value);
export const short = (seconds) => `${number(seconds)} s`;

export const dialled = (phone) => (phone ? `+${String(phone).replace(/^\+/, '')}` : '');

export const masked = (address) => String(address ?? '').split(/[@:]/)[0].replace(/^.+(?=.{4}$)/, '…');

const TONES = { pending: 'idle', qr: 'turn', connecting: 'work', connected: 'good', disconnected: 'warn', failed: 'bad' };

export const isOff = ({ status, status_reason: given }) => status === 'disconnected' && given?.code === 'stopped';

export const groupOf = (instance) => (isOff(instance) ? 'off' : { connected: 'up', disconnected: 'work', connecting: 'work' }[instance.status] ?? 'need');

export function stateOf(instance) {
  const { status } = instance;
  return isOff(instance) ? { icon: 'pending', tone: 'idle', word: t('off') } : { icon: status in TONES ? status : 'pending', tone: TONES[status] ?? 'idle', word: t(status) };
}

export function whyOf(instance) {
  const { status, status_reason: given } = instance;
  if (isOff(instance)) return t('why.off');
  const reason = (otherwise) => ((given && (has(`reason.${given.code}`) ? t(`reason.${given.code}`) : given.message)) || t(otherwise)).replace(/^.+?[.!?](?=\s|$)|^.+$/, '**$&**');
  const next = given?.next_attempt_at;
  const wait = Date.parse(next) - api.now();
  const then = wait > 500 ? t('next.attempt', span(wait)) : t(next ? 'next.now' : 'next.itself');
  if (status === 'disconnected') return `${reason('why.disconnected')} ${then}`;
  if (status === 'failed') return `${reason('why.failed')} ${t('next.link')}`;
  return status === 'pending' && given ? `${reason('pending')} ${next ? then : ''}` : t(`why.${status}`);
}

export const sinceOf = ({ status, status_reason: given, status_since: since, created_at: made, updated_at: changed }) => Date.parse(given?.since ?? since ?? (status === 'pending' ? made : changed));

export function sinceText(instance) {
  const age = api.now() - sinceOf(instance);
  return age < 2000 ? t('justNow') : t('sinceFor', span(age));
}

export function answer(instances) {
  const counts = { need: 0, work: 0, up: 0, off: 0 };
  for (const instance of instances) counts[groupOf(instance)] += 1;
  const { need, work, up, off } = counts;
  const total = instances.length;
  if (!total) return { counts, title: t('emptyTitle'), lead: t('emptyLead') };
  if (total === 1) return { counts, title: t({ need: 'oneNeeds', work: 'oneWaits', up: 'oneUp', off: 'oneOff' }[groupOf(instances[0])], instances[0].name), lead: t('quiet') };
  const title = [up === total ? t('allUp', total) : up ? t('someUp', up, total) : t('noneUp', total), need && t('needYou', need)];
  const lead = [work && t('reconnecting', work), off && t('switchedOff', off)];
  return { counts, title: title.filter(Boolean).join(' '), lead: lead.filter(Boolean).join(' ') || t('quiet') };
}

export function explain(error) {
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  return [error.message, error.details?.fields?.map(({ path, problem }) => `${path}: ${problem}`).join('; ')].filter(Boolean).join(' ');
}

export const trail = (error) => [error.code, error.requestId].filter(Boolean).join(' · ');

const LOOKS = {
  'message.received': 'in', 'message.sent': 'tick', 'message.delivered': 'ticks', 'message.read': 'eye', 'message.played': 'eye', 'message.failed': 'failed bad',
  'message.edited': 'out', 'message.revoked': 'out', 'message.reaction': 'in', 'message.undecryptable': 'disconnected warn', 'qr.updated': 'qr turn',
  'instance.connected': 'link good', 'instance.disconnected': 'disconnected warn', 'instance.status': 'overview', 'call.offered': 'call', 'call.ended': 'call',
};

export const looksOf = ({ event }) => (LOOKS[event] ?? 'events').split(' ');

export const KINDS = {
  messages: ['message.received', 'message.sent', 'message.failed', 'message.edited', 'message.revoked', 'message.reaction', 'message.poll_vote', 'message.undecryptable'],
  receipts: ['message.delivered', 'message.read', 'message.played'],
  instances: ['instance.status', 'instance.connected', 'instance.disconnected', 'qr.updated'],
  other: ['call.offered', 'call.ended', 'presence.updated', 'chat.updated', 'contact.updated', 'group.updated', 'group.participants'],
};

export const kindOf = ({ event }) => Object.keys(KINDS).find((kind) => KINDS[kind].includes(event)) ?? 'other';

export function eventLine(event) {
  const { body, error, from, to } = event;
  const [family, fact] = event.event.split('.');
  const at = event.next_attempt_at;
  const parts = {
    'instance.connected': () => [t('ev.linked', masked(event.phone_number))],
    'instance.disconnected': () => [event.reason, at && t('ev.next', clock(at))],
    'instance.status': () => [stateOf(event).word.toLowerCase()],
    'qr.updated': () => [t('ev.qr')],
  }[event.event]?.() ?? [
    /read|played/.test(fact) ? t('ev.by', masked(event.participant ?? to)) : family === 'message' && to ? t('ev.to', masked(to))
      : (from || family === 'message') && t('ev.from', masked(from ?? event.sender?.phone ?? event.chat?.jid)),
    event.is_group && t('ev.group'), event.origin === 'device' && t('ev.device'),
  ];
  parts.push(body?.type === 'text' ? t('ev.text', [...(body.text ?? '')].length) : body?.type, error?.message);
  return parts.filter(Boolean).join(', ');
}
