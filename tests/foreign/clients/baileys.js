// Baileys behind the interface that all clients of these tests have. It checks signatures (see strict.js).
import './strict.js';

import { Record, told } from '../harness/record.js';
import { address, named, read } from './content.js';

// libsignal prints sessions, keys and all.
for (const name of ['log', 'info', 'warn', 'error']) console[name] = () => {};

const {
  default: makeSocket,
  Curve,
  WA_CERT_DETAILS,
  decryptPollVote,
  downloadMediaMessage,
  getNextPreKeysNode,
  initAuthCreds,
  proto,
} = await import('baileys');

/** Any version will do; without one given, programs ask the network for the newest. */
const VERSION = [2, 3000, 1043857760];
/** The server's "come back, logged in" after a link. */
const RESTART = 515;
const STATES = { 0: 'error', 2: 'server', 3: 'delivered', 4: 'read', 5: 'played' };

function memoryKeys() {
  const kept = new Map();
  return {
    get: (type, ids) =>
      Object.fromEntries(ids.filter((id) => kept.has(`${type}:${id}`)).map((id) => [id, kept.get(`${type}:${id}`)])),
    set: (data) => {
      for (const [type, entries] of Object.entries(data)) {
        for (const [id, value] of Object.entries(entries)) {
          if (value === null || value === undefined) kept.delete(`${type}:${id}`);
          else kept.set(`${type}:${id}`, value);
        }
      }
    },
  };
}

export class Baileys {
  static label = 'Baileys';

  #simulator;
  /** Its keys, for tests that spoil them. */
  creds = initAuthCreds();
  #keys = memoryKeys();
  #sent = new Map();
  #polls = new Map();
  #wanted = false;

  constructor(simulator, name = 'Baileys') {
    this.#simulator = simulator;
    this.record = new Record(name);
    this.logged = new Record(`the log of ${name}`);
    WA_CERT_DETAILS.PUBLIC_KEY = simulator.rootKey;
  }

  #logger() {
    const keep = (level) => (context, message) => this.logged.add({ level, message: message ?? context, context });
    const logger = { level: 'warn', trace() {}, debug() {}, info() {}, warn: keep('warn'), error: keep('error') };
    logger.child = () => logger;
    return logger;
  }

  #open() {
    this.socket = makeSocket({
      waWebSocketUrl: this.#simulator.url,
      version: VERSION,
      auth: { creds: this.creds, keys: this.#keys },
      logger: this.#logger(),
      // Off as published.
      appStateMacVerification: { patch: true, snapshot: true },
      getMessage: async ({ id }) => this.#sent.get(id),
    });
    const { socket } = this;
    socket.ws.on('frame', (node) => this.#node(node));
    socket.ev.process(async (events) => {
      for (const [name, data] of Object.entries(events)) this.#event(name, data);
    });
  }

  #node(node) {
    if (!node.tag) return;
    this.record.add({ event: 'node', tag: node.tag, node });
    // Baileys folds receipts that come close together into one status, and the last one wins: "delivered" by the other
    // side is then covered by "sent" from the own phone. So the plain receipt itself counts as well.
    if (node.tag === 'receipt' && !node.attrs.type && !node.attrs.participant) {
      this.record.add({ event: 'receipt', id: node.attrs.id, state: 'delivered' });
    }
  }

  #event(name, data) {
    if (name === 'connection.update') return this.#connection(data);
    if (name === 'creds.update') return undefined;
    if (name === 'messages.upsert') {
      for (const message of data.messages) this.#message(message, data.type);
    } else if (name === 'messages.update') {
      for (const { key, update } of data) {
        this.record.add({ event: 'update', id: key.id, update });
        this.#status(key, update.status, update.messageStubParameters);
      }
    } else if (name === 'message-receipt.update') {
      for (const { key, receipt } of data) {
        const state = receipt.readTimestamp ? 'read' : 'delivered';
        this.record.add({ event: 'receipt', id: key.id, state, by: receipt.userJid });
      }
    } else {
      this.record.add({ event: name, data });
    }
    return undefined;
  }

  #connection({ connection, qr, isNewLogin, receivedPendingNotifications, lastDisconnect }) {
    if (qr) this.record.add({ event: 'qr', qr });
    if (isNewLogin) this.record.add({ event: 'paired' });
    if (receivedPendingNotifications) this.record.add({ event: 'caught-up' });
    if (connection === 'open') this.record.add({ event: 'open' });
    if (connection === 'close') {
      const { error } = lastDisconnect ?? {};
      const code = error?.output?.statusCode;
      this.record.add({ event: 'closed', code, reason: error?.message, data: error?.data });
      if (code === RESTART && this.#wanted) this.#open();
    }
  }

  #message(message, upsert) {
    const { key, pushName, status, messageStubParameters } = message;
    this.record.add({
      event: 'message',
      id: key.id,
      chat: key.remoteJid,
      sender: key.participant ?? key.remoteJid,
      fromMe: key.fromMe ?? false,
      name: pushName,
      live: upsert === 'notify',
      ...(message.message ? read(message.message) : { kind: 'unreadable', reason: messageStubParameters?.[0] }),
      raw: message,
    });
    // While Baileys catches up it folds a receipt into the message.
    this.#status(key, status, messageStubParameters);
  }

  #status(key, status, parameters) {
    const state = STATES[status];
    if (key.fromMe && state) this.record.add({ event: 'receipt', id: key.id, state, parameters });
  }

  /** Where the record stands, to wait for what comes after. */
  get mark() {
    return this.record.entries.length;
  }

  /** Shows the QR code of a client that is not linked. */
  async qr() {
    this.#wanted = true;
    const from = this.mark;
    this.#open();
    return (await this.record.matching('a QR code', { event: 'qr' }, { from })).qr;
  }

  /** Links to a phone by QR code. */
  async link(phone) {
    const from = this.mark;
    Object.assign(this, await this.#simulator.scan(phone, await this.qr()));
    await this.ready(from);
    return this;
  }

  /** Asks for a pairing code, which is possible once the socket has shown that it may be linked. */
  async showCode(phone) {
    await this.qr();
    return this.socket.requestPairingCode(phone);
  }

  /** Links to a phone by a pairing code. */
  async linkByCode(phone) {
    const from = this.mark;
    const code = await this.showCode(phone);
    Object.assign(this, await this.#simulator.enterCode(phone, code));
    await this.ready(from);
    return this;
  }

  async ready(from) {
    await this.record.matching('the login', { event: 'open' }, { from });
    await this.record.matching('the end of what waited', { event: 'caught-up' }, { from });
  }

  /** Logs in again. */
  async connect() {
    this.#wanted = true;
    const from = this.mark;
    this.#open();
    await this.ready(from);
  }

  /** A second socket with the same credentials, which drives out the first. */
  async connectTwin() {
    this.#wanted = false;
    this.#open();
  }

  /** Starts a login that a test expects to fail; answers how it ended. */
  async connectInVain() {
    this.#wanted = false;
    const from = this.mark;
    this.#open();
    return this.closed('the end of the login', from);
  }

  /** The reason that the server gives for refusing a login. */
  async refusedLogin() {
    return (await this.connectInVain()).code;
  }

  /** Ends the socket, keeping the link. */
  async disconnect() {
    this.#wanted = false;
    const from = this.mark;
    await this.socket?.end(undefined);
    await this.closed('the end of the socket', from);
    if (this.device) await this.#simulator.disconnected(this.phone, this.device);
  }

  /** A socket of a client that is not linked, and may be shown no QR code. */
  async connectUnlinked() {
    this.#wanted = true;
    this.#open();
    await this.socket.waitForSocketOpen();
  }

  /** A round trip: what the server had to say before has been said. */
  async ping() {
    const content = [{ tag: 'ping', attrs: {} }];
    await this.socket.query({ tag: 'iq', attrs: { to: 's.whatsapp.net', type: 'get', xmlns: 'w:p' }, content });
  }

  /** Waits for a line of the client's log. */
  logs(what, pattern) {
    return this.logged.find(what, (entry) => pattern.test(told(entry)));
  }

  /** Meets a server whose certificates it must not accept. */
  async refusesServer(pattern) {
    const { reason } = await this.connectInVain();
    if (!pattern.test(reason)) throw new Error(`refused for another reason: ${reason}`);
  }

  /** Why the client gave up. */
  async error(what, reason) {
    return this.record.find(what, (entry) => entry.event === 'closed' && reason.test(entry.reason) && entry.reason);
  }

  /** Logs in again after the server has thrown it out with `code`; Baileys leaves that to its user. */
  async comesBack(from, code) {
    const closed = await this.closed('the end of the socket', from);
    if (closed.code !== code) throw new Error(`closed with ${closed.code} instead of ${code}`);
    await this.connect();
  }

  /** Sends what the server refuses; answers with the code. */
  async sendRefused(to, text) {
    const id = await this.sendText(to, text);
    return Number((await this.receipt(id, 'error')).parameters[0]);
  }

  /** At the end of a test file: nothing may keep the process alive. */
  async dispose() {
    this.#wanted = false;
    await this.socket?.end(undefined);
  }

  async logout() {
    this.#wanted = false;
    const from = this.mark;
    await this.socket.logout();
    await this.closed('the logout', from);
  }

  closed(what, from = 0) {
    return this.record.matching(what, { event: 'closed' }, { from });
  }

  message(what, part, options) {
    return this.record.matching(what, { event: 'message', ...part }, options);
  }

  receipt(id, state, options) {
    return this.record.matching(`"${state}" for ${id}`, { event: 'receipt', id, state }, options);
  }

  async #send(to, content, options) {
    const sent = await this.socket.sendMessage(address(to), content, options);
    this.#sent.set(sent.key.id, sent.message);
    return sent.key.id;
  }

  sendText(to, text) {
    return this.#send(to, { text });
  }

  /** Sends without waiting for the ack, which Baileys never waits for. */
  sendUnacked(to, text) {
    return this.sendText(to, text);
  }

  reply(message, text) {
    return this.#send(message.chat, { text }, { quoted: message.raw });
  }

  mention(to, text, phones) {
    return this.#send(to, { text, mentions: phones.map(address) });
  }

  react(message, emoji) {
    return this.#send(message.chat, { react: { text: emoji, key: message.raw.key } });
  }

  edit(to, id, text) {
    return this.#send(to, { text, edit: { remoteJid: address(to), fromMe: true, id } });
  }

  revoke(to, id) {
    return this.#send(to, { delete: { remoteJid: address(to), fromMe: true, id } });
  }

  sendLocation(to, location) {
    return this.#send(to, { location });
  }

  sendContacts(to, cards) {
    return this.#send(to, { contacts: { displayName: `${cards.length} contacts`, contacts: cards } });
  }

  async sendPoll(to, name, values, selectableCount = 1) {
    const id = await this.#send(to, { poll: { name, values, selectableCount } });
    this.#polls.set(id, values);
    return id;
  }

  /** The options of the first vote in a poll of this client; Baileys leaves the opening to its user. */
  async votes(poll) {
    const { raw } = await this.message(`a vote in ${poll}`, { kind: 'vote', target: poll });
    const vote = decryptPollVote(raw.message.pollUpdateMessage.vote, {
      pollMsgId: poll,
      pollEncKey: this.#sent.get(poll).messageContextInfo.messageSecret,
      pollCreatorJid: address(this.phone),
      voterJid: raw.key.remoteJid,
    });
    return named(vote.selectedOptions, this.#polls.get(poll));
  }

  /** With a preview of its own: making one would need an image library. */
  sendImage(to, image, caption) {
    return this.#send(to, { image, caption, mimetype: 'image/png', jpegThumbnail: '' });
  }

  sendVoice(to, audio, seconds) {
    return this.#send(to, { audio, ptt: true, seconds, mimetype: 'audio/ogg; codecs=opus', waveform: new Uint8Array(64) });
  }

  download(message) {
    return downloadMediaMessage(message.raw, 'buffer', {});
  }

  async createGroup(subject, phones) {
    return (await this.socket.groupCreate(subject, phones.map(address))).id;
  }

  async group(group) {
    const { subject, participants } = await this.socket.groupMetadata(group);
    return { subject, size: participants.length };
  }

  addToGroup(group, phone) {
    return this.socket.groupParticipantsUpdate(group, [address(phone)], 'add');
  }

  removeFromGroup(group, phone) {
    return this.socket.groupParticipantsUpdate(group, [address(phone)], 'remove');
  }

  setSubject(group, subject) {
    return this.socket.groupUpdateSubject(group, subject);
  }

  goOnline() {
    return this.socket.sendPresenceUpdate('available');
  }

  type(to) {
    return this.socket.sendPresenceUpdate('composing', address(to));
  }

  subscribe(phone) {
    return this.socket.presenceSubscribe(address(phone));
  }

  sawTyping(phone) {
    return this.sawPresence(phone, 'composing');
  }

  sawPresence(phone, state) {
    return this.record.entries.some(
      ({ event, data }) =>
        event === 'presence.update' &&
        data.id === address(phone) &&
        Object.values(data.presences).some(({ lastKnownPresence }) => lastKnownPresence === state),
    );
  }

  /** Waits until a call is in a state. */
  call(id, status) {
    return this.record.find(
      `the ${status} of ${id}`,
      ({ event, data }) => event === 'call' && data.find((call) => call.id === id && call.status === status),
    );
  }

  block(phone, on) {
    return this.socket.updateBlockStatus(address(phone), on ? 'block' : 'unblock');
  }

  blocklist() {
    return this.socket.fetchBlocklist();
  }

  /** Waits for what the phone did with a chat. */
  chatChanged(action, phone) {
    const field = { pin: 'pinned', mute: 'muteEndTime', archive: 'archived' }[action];
    return this.record.find(
      `${action} of ${phone}`,
      ({ event, data }) =>
        event === 'chats.update' && data.some((chat) => chat.id === address(phone) && Boolean(chat[field])),
    );
  }

  pin(phone, on) {
    return this.socket.chatModify({ pin: on }, address(phone));
  }

  nameContact(phone, fullName) {
    return this.socket.addOrEditContact(address(phone), { fullName });
  }

  /** How many messages the phone has told of from before the link. */
  async historyMessages() {
    const { data } = await this.record.find(
      'history with messages',
      (entry) => entry.event === 'messaging-history.set' && entry.data.messages.length > 0 && entry,
    );
    return data.messages.length;
  }

  /** Uploads five more keys in one go; Baileys' own way tries for ever. */
  async uploadPreKeys() {
    const { node } = await getNextPreKeysNode({ creds: this.creds, keys: this.#keys }, 5);
    return this.socket.query(node);
  }

  markRead(message) {
    return this.socket.readMessages([message.raw.key]);
  }
}

export { Curve, proto };
