// From facts to words: times and numbers, what an instance's state is called, why it is so, what comes next.
import { api } from './api.js';
import { has, language, t } from './i18n/index.js';

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
export function exact(time) {
  // Making a formatter costs more than using it a hundred times.
  formatters[language] ??= new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' });
  return formatters[language].format(new Date(time));
}

const formatters = {};

/** "24 s", "51 min", "11 h", "18 days". */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return t('day', Math.floor(seconds / 86_400));
}

const STEPS = [[86_400, 'day'], [3600, 'hour'], [60, 'minute'], [0, 'second']];

/** "3 minutes ago", "in 3 days", by the server's clock. */
export function relative(time) {
  const seconds = (Date.parse(time) - api.now()) / 1000;
  // Two clocks never agree to the second.
  const [step, unit] = Math.abs(seconds) < 3 ? [Infinity, 'second'] : STEPS.find(([from]) => Math.abs(seconds) >= from);
  return new Intl.RelativeTimeFormat(locale(), { numeric: 'auto' }).format(Math.round(seconds / (step || 1)), unit);
}

/** The word for what a scope or an action begins with. */
export const area = (name) => t(has(`kind.${name}`) ? `kind.${name}` : name);

/** "84 MB". */
export function bytes(count) {
  const [size, unit] = count >= 1e9 ? [1e9, 'gigabyte'] : [1e6, 'megabyte'];
  return new Intl.NumberFormat(locale(), { style: 'unit', unit, maximumSignificantDigits: 3 }).format(count / size);
}

export const short = (seconds) => `${new Intl.NumberFormat(locale(), { maximumFractionDigits: 1 }).format(seconds)} s`;

/** A number or address as it is dialled. */
export const dialled = (phone) => (phone ? `+${String(phone).replace(/^\+/, '')}` : '');

/** Only the end, for lists that others may see over a shoulder: …8841. */
export function masked(address) {
  const user = String(address ?? '').split('@')[0].split(':')[0];
  return user.length > 4 ? `…${user.slice(-4)}` : user;
}

const TONES = { pending: 'idle', qr: 'turn', connecting: 'work', connected: 'good', disconnected: 'warn', failed: 'bad' };

/** Switched off by a person: it does not come back by itself, and nobody is waited for. */
export const isOff = (instance) => instance.status === 'disconnected' && instance.status_reason?.code === 'stopped';

/** `need`, `work`, `up` or `off`: in this order on the page. */
export function groupOf(instance) {
  if (isOff(instance)) return 'off';
  if (instance.status === 'connected') return 'up';
  return instance.status === 'disconnected' || instance.status === 'connecting' ? 'work' : 'need';
}

/** Icon, tone and word, which always go together. */
export function stateOf(instance) {
  if (isOff(instance)) return { icon: 'pending', tone: 'idle', word: t('off') };
  const { status } = instance;
  return { icon: status in TONES ? status : 'pending', tone: TONES[status] ?? 'idle', word: t(status) };
}

/** The reason, its first sentence **bold**. */
function reason({ status_reason: given }, otherwise) {
  const text = (given && (has(`reason.${given.code}`) ? t(`reason.${given.code}`) : given.message)) || otherwise;
  return text?.replace(/^.+?[.!?](?=\s|$)|^.+$/, '**$&**');
}

/** Why it is so and what comes next, with **bold** for the first half. */
export function whyOf(instance) {
  const next = instance.status_reason?.next_attempt_at;
  const wait = Date.parse(next) - api.now();
  const then = wait > 500 ? t('next.attempt', span(wait)) : t(next ? 'next.now' : 'next.itself');
  if (isOff(instance)) return t('why.off');
  switch (instance.status) {
    case 'disconnected': return `${reason(instance, t('why.disconnected'))} ${then}`;
    case 'failed': return `${reason(instance, t('why.failed'))} ${t('next.link')}`;
    case 'pending': return instance.status_reason ? `${reason(instance, t('pending'))} ${next ? then : ''}` : t('why.pending');
    default: return t(`why.${instance.status}`);
  }
}

/** When the present state began, in milliseconds; `NaN` where the server does not say. */
export function sinceOf(instance) {
  return Date.parse(instance.status_reason?.since ?? (instance.status === 'pending' ? instance.created_at : instance.updated_at));
}

export function sinceText(instance) {
  const age = api.now() - sinceOf(instance);
  if (Number.isNaN(age)) return '';
  return age < 2000 ? t('justNow') : t('sinceFor', span(age));
}

/** The sentence that answers the product's name. */
export function answer(instances) {
  const counts = { need: 0, work: 0, up: 0, off: 0 };
  for (const instance of instances) counts[groupOf(instance)] += 1;
  const total = instances.length;
  if (total === 0) return { counts, title: t('emptyTitle'), lead: t('emptyLead') };
  let title;
  if (total === 1) {
    title = t({ need: 'oneNeeds', work: 'oneWaits', up: 'oneUp', off: 'oneOff' }[groupOf(instances[0])], instances[0].name);
  } else if (counts.up === total) {
    title = t('allUp', total);
  } else {
    title = counts.up ? t('someUp', counts.up, total) : t('noneUp', total);
    if (counts.need) title += ` ${t('needYou', counts.need)}`;
  }
  const lead = [];
  if (total > 1 && counts.work) lead.push(t('reconnecting', counts.work));
  if (total > 1 && counts.off) lead.push(t('switchedOff', counts.off));
  return { counts, title, lead: lead.join(' ') || t('quiet') };
}

/** An error in the reader's words, where there are any; else in the server's, which say what to do. */
export function explain(error) {
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  const fields = error.details?.fields?.map(({ path, problem }) => `${path}: ${problem}`).join('; ');
  return fields ? `${error.message} ${fields}` : error.message;
}

/** Code and request id, in mono and ready to copy. */
export const trail = (error) => [error.code, error.requestId].filter(Boolean).join(' · ');

const ICONS = {
  'message.received': 'in', 'message.sent': 'tick', 'message.delivered': 'ticks', 'message.read': 'eye', 'message.played': 'eye', 'message.failed': 'failed',
  'message.edited': 'out', 'message.revoked': 'out', 'message.reaction': 'in', 'message.undecryptable': 'disconnected', 'qr.updated': 'qr',
  'instance.connected': 'link', 'instance.disconnected': 'disconnected', 'instance.status': 'overview', 'call.offered': 'call', 'call.ended': 'call',
};
const EVENT_TONES = { 'message.failed': 'bad', 'instance.disconnected': 'warn', 'message.undecryptable': 'warn', 'instance.connected': 'good', 'qr.updated': 'turn' };

export const eventIcon = (event) => ({ icon: ICONS[event.event] ?? 'events', tone: EVENT_TONES[event.event] ?? 'muted' });

/** `messages`, `receipts`, `instances` or `other`: the filter an event belongs to. */
export function kindOf(event) {
  const [family, fact] = event.event.split('.');
  if (family === 'instance' || family === 'qr') return 'instances';
  if (family !== 'message') return 'other';
  return ['delivered', 'read', 'played'].includes(fact) || (fact === 'sent' && event.origin !== 'device') ? 'receipts' : 'messages';
}

/** One line about an event; numbers only by their last digits. */
export function eventLine(event) {
  const parts = [];
  const { body } = event;
  switch (event.event) {
    case 'message.received': case 'message.reaction':
      parts.push(t('ev.from', masked(event.from ?? event.sender?.phone ?? event.chat?.jid)));
      if (event.is_group) parts.push(t('ev.group'));
      break;
    case 'message.sent': case 'message.delivered': case 'message.failed':
      parts.push(t('ev.to', masked(event.to)));
      if (event.origin === 'device') parts.push(t('ev.device'));
      break;
    case 'message.read': case 'message.played':
      parts.push(t('ev.by', masked(event.participant ?? event.to)));
      break;
    case 'instance.connected':
      parts.push(t('ev.linked', masked(event.phone_number)));
      break;
    case 'instance.disconnected':
      parts.push(event.reason);
      if (event.next_attempt_at) parts.push(t('ev.next', clock(event.next_attempt_at)));
      break;
    case 'instance.status':
      parts.push(stateOf(event).word.toLowerCase());
      break;
    case 'qr.updated':
      parts.push(t('ev.qr'));
      break;
    default:
      if (event.from) parts.push(t('ev.from', masked(event.from)));
  }
  if (body?.type === 'text') parts.push(t('ev.text', [...(body.text ?? '')].length));
  else if (body?.type) parts.push(body.type);
  if (event.error?.message) parts.push(event.error.message);
  return parts.filter(Boolean).join(', ');
}
