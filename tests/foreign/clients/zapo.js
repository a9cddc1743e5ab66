// zapo-js behind the interface that all clients of these tests have. It checks signatures by itself.
import { randomBytes } from 'node:crypto';

import { WebSocket } from 'ws';
import { createStore, WaClient } from 'zapo-js';

import { Record, told } from '../harness/record.js';
import { address, read } from './content.js';

// It asks for one although it then takes `ws`; old releases of Node have none.
globalThis.WebSocket ??= WebSocket;

const STATES = { read: 'read', played: 'played', error: 'error', 'server-error': 'error' };
const REVOKE = 0;
const EDIT = 14;

/** A store of one client's own, forgotten with it. */
function memory() {
  let credentials = null;
  const auth = {
    load: async () => credentials,
    save: async (given) => {
      credentials = given;
    },
    clear: async () => {
      credentials = null;
    },
  };
  return createStore({
    backends: { own: { stores: { auth: () => auth }, caches: {} } },
    providers: { auth: 'own', messages: 'memory', threads: 'memory', contacts: 'memory' },
    cacheProviders: { participants: 'memory', deviceList: 'memory', messageSecret: 'memory' },
  });
}

export class Zapo {
  static label = 'zapo';

  #simulator;
  #options;

  constructor(simulator, name = 'zapo', options = {}) {
    this.#simulator = simulator;
    this.record = new Record(name);
    this.logged = new Record(`the log of ${name}`);
    this.#options = {
      store: memory(),
      sessionId: name,
      urls: [simulator.url],
      testHooks: { noiseRootCa: { publicKey: simulator.rootKey, serial: 0 } },
      history: { enabled: true },
      ...options,
    };
    this.client = this.#make();
    this.#listen();
  }

  #make() {
    const keep = (level) => (message, context) => this.logged.add({ level, message, context });
    const logger = { level: 'warn', trace() {}, debug() {}, info() {}, warn: keep('warn'), error: keep('error') };
    return new WaClient(this.#options, logger);
  }

  #listen() {
    const { client, record } = this;
    client.on('transport_node_in', ({ node }) => record.add({ event: 'node', tag: node.tag, node }));
    client.on('auth_qr', ({ qr }) => record.add({ event: 'qr', qr }));
    client.on('auth_paired', () => record.add({ event: 'paired' }));
    client.on('client_error', ({ error }) => record.add({ event: 'error', reason: error.message }));
    client.on('offline_resume', ({ status }) => status === 'complete' && record.add({ event: 'caught-up' }));
    client.on('connection', ({ status, reason, code, isLogout }) =>
      record.add({ event: status === 'open' ? 'open' : 'closed', reason, code, isLogout }),
    );
    client.on('failure', ({ failureReason }) => record.add({ event: 'failure', code: failureReason }));
    client.on('message', (message) => this.#message(message));
    client.on('message_receipt', ({ stanzaId, stanzaType, rawNode, participantJid }) => {
      const listed = Array.isArray(rawNode.content)
        ? rawNode.content.flatMap((list) => (list.tag === 'list' ? list.content.map((item) => item.attrs.id) : []))
        : [];
      const state = stanzaType === undefined ? 'delivered' : (STATES[stanzaType] ?? stanzaType);
      for (const id of [stanzaId, ...listed]) record.add({ event: 'receipt', id, state, by: participantJid });
    });
    for (const event of ['presence', 'chatstate', 'call', 'notification', 'group_event', 'chat_event', 'history_sync_chunk']) {
      client.on(event, ({ rawNode, ...data }) => record.add({ event, ...data, node: rawNode }));
    }
  }

  #message(message) {
    const { stanzaId, chatJid, senderJid, rawNode } = message;
    const sent = rawNode.attrs.recipient;
    this.record.add({
      event: 'message',
      id: stanzaId,
      chat: sent ?? chatJid,
      sender: senderJid ?? chatJid,
      fromMe: Boolean(sent),
      name: rawNode.attrs.notify,
      live: rawNode.attrs.offline === undefined,
      ...read(message.message ?? {}),
      raw: message,
    });
  }

  get mark() {
    return this.record.entries.length;
  }

  async qr() {
    const from = this.mark;
    await this.client.connect().catch((error) => this.logged.add(error.message));
    return (await this.record.matching('a QR code', { event: 'qr' }, { from })).qr;
  }

  async link(phone) {
    const from = this.mark;
    Object.assign(this, await this.#simulator.scan(phone, await this.qr()));
    await this.ready(from);
    return this;
  }

  async showCode(phone) {
    await this.qr();
    return this.client.requestPairingCode(phone);
  }

  async linkByCode(phone) {
    const from = this.mark;
    const code = await this.showCode(phone);
    Object.assign(this, await this.#simulator.enterCode(phone, code));
    await this.ready(from);
    return this;
  }

  /** "open" is also said of the socket that shows a QR code. */
  ready(from) {
    return this.record.matching('the login', { event: 'node', tag: 'success' }, { from });
  }

  async connect() {
    const from = this.mark;
    await this.client.connect();
    await this.ready(from);
  }

  async connectTwin() {
    this.twin = this.#make();
    await this.twin.connect();
  }

  /** After some refusals it comes back by itself, so that only its word for the first one counts. */
  async refusedLogin() {
    const from = this.mark;
    await this.client.connect().catch((error) => this.logged.add(error.message));
    return (await this.record.matching('the refusal', { event: 'failure' }, { from })).code;
  }

  async disconnect() {
    await this.client.disconnect();
    if (this.device) await this.#simulator.disconnected(this.phone, this.device);
  }

  logs(what, pattern) {
    return this.logged.find(what, (entry) => pattern.test(told(entry)));
  }

  /** It says why in its log alone, and tries again by itself. */
  async refusesServer(pattern) {
    const connected = this.client.connect();
    await this.logs('the reason', pattern);
    await connected;
  }

  async connectUnlinked() {
    await this.client.connect();
  }

  ping() {
    const content = [{ tag: 'ping', attrs: {} }];
    return this.client.query({ tag: 'iq', attrs: { to: 's.whatsapp.net', type: 'get', xmlns: 'w:p' }, content });
  }

  async error(what, reason) {
    return this.record.find(what, (entry) => entry.event === 'error' && reason.test(entry.reason) && entry.reason);
  }

  /** It comes back by itself; where the end of the socket overtakes the stanza, it never sees that. */
  comesBack(from) {
    return this.ready(from);
  }

  async sendRefused(to, text) {
    try {
      const { ack } = await this.client.sendMessage(address(to), text);
      return ack.error;
    } catch (error) {
      return Number(/\b4\d\d\b/.exec(error.message)?.[0] ?? Number.NaN);
    }
  }

  async dispose() {
    await Promise.all([this.client.disconnect(), this.twin?.disconnect()]);
  }

  /** The end of the socket may overtake the answer; whether the link is gone, the simulator knows. */
  async logout() {
    await this.client.logout().catch((error) => this.logged.add(error.message));
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
    return (await this.client.sendMessage(address(to), content, options)).id;
  }

  sendText(to, text) {
    return this.#send(to, text);
  }

  reply(message, text) {
    const contextInfo = { stanzaId: message.id, participant: message.sender.replace(/:\d+@/, '@'), quotedMessage: message.raw.message };
    return this.#send(message.chat, { extendedTextMessage: { text, contextInfo } });
  }

  mention(to, text, phones) {
    return this.#send(to, { extendedTextMessage: { text, contextInfo: { mentionedJid: phones.map(address) } } });
  }

  react(message, emoji) {
    const key = { remoteJid: message.chat, fromMe: message.fromMe, id: message.id };
    return this.#send(message.chat, { reactionMessage: { key, text: emoji, senderTimestampMs: Date.now() } });
  }

  edit(to, id, text) {
    const key = { remoteJid: address(to), fromMe: true, id };
    const editedMessage = { conversation: text };
    return this.#send(to, { protocolMessage: { key, type: EDIT, editedMessage, timestampMs: Date.now() } });
  }

  revoke(to, id) {
    return this.#send(to, { protocolMessage: { key: { remoteJid: address(to), fromMe: true, id }, type: REVOKE } });
  }

  sendLocation(to, locationMessage) {
    return this.#send(to, { locationMessage });
  }

  sendContacts(to, cards) {
    if (cards.length === 1) return this.#send(to, { contactMessage: cards[0] });
    return this.#send(to, { contactsArrayMessage: { displayName: `${cards.length} contacts`, contacts: cards } });
  }

  /** With the version that WhatsApp Web takes for one choice, and the one for several. */
  sendPoll(to, name, values, selectableCount = 1) {
    const poll = { name, options: values.map((optionName) => ({ optionName })), selectableOptionsCount: selectableCount };
    const messageContextInfo = { messageSecret: randomBytes(32) };
    const field = selectableCount === 1 ? 'pollCreationMessageV3' : 'pollCreationMessage';
    return this.#send(to, { messageContextInfo, [field]: poll });
  }

  sendImage(to, media, caption) {
    return this.#send(to, { type: 'image', media, mimetype: 'image/png', caption });
  }

  sendVoice(to, media, seconds) {
    return this.#send(to, { type: 'audio', media, mimetype: 'audio/ogg; codecs=opus', ptt: true, seconds });
  }

  async download({ kind, media }) {
    const { directPath, mediaKey, fileSha256, fileEncSha256 } = media;
    const mediaType = kind === 'voice' ? 'ptt' : kind;
    const hosts = [this.#simulator.host];
    const request = { directPath, hosts, mediaType, mediaKey, fileSha256, fileEncSha256 };
    return Buffer.from(await this.client.mediaTransfer.downloadAndDecrypt(request));
  }

  async createGroup(subject, phones) {
    const { content } = await this.client.group.createGroup(subject, phones.map(address));
    const { id } = content.find((node) => node.tag === 'group').attrs;
    return id.includes('@') ? id : `${id}@g.us`;
  }

  async group(group) {
    const { subject, participants } = await this.client.group.queryGroupMetadata(group);
    return { subject, size: participants.length };
  }

  addToGroup(group, phone) {
    return this.client.group.addParticipants(group, [address(phone)]);
  }

  removeFromGroup(group, phone) {
    return this.client.group.removeParticipants(group, [address(phone)]);
  }

  setSubject(group, subject) {
    return this.client.group.setSubject(group, subject);
  }

  goOnline() {
    return this.client.sendPresence('available');
  }

  type(to) {
    return this.client.sendNode({
      tag: 'chatstate',
      attrs: { to: address(to) },
      content: [{ tag: 'composing', attrs: {} }],
    });
  }

  subscribe(phone) {
    return this.client.sendNode({ tag: 'presence', attrs: { type: 'subscribe', to: address(phone) } });
  }

  sawTyping(phone) {
    return this.record.entries.some(
      ({ event, node }) =>
        event === 'chatstate' && node.attrs.from === address(phone) && node.content[0].tag === 'composing',
    );
  }

  sawPresence(phone, state) {
    return this.record.entries.some(
      ({ event, node }) =>
        event === 'presence' && node.attrs.from === address(phone) && (node.attrs.type ?? 'available') === state,
    );
  }

  call(id, status) {
    return this.record.find(`the ${status} of ${id}`, ({ event, node }) => {
      if (event !== 'call') return false;
      return node.content.find((child) => child.tag === status && child.attrs['call-id'] === id);
    });
  }

  block(phone, on) {
    return on ? this.client.privacy.blockUser(address(phone)) : this.client.privacy.unblockUser(address(phone));
  }

  async blocklist() {
    return (await this.client.privacy.getBlocklist()).jids;
  }

  chatChanged(action, phone) {
    const chatJid = address(phone);
    return this.record.matching(`${action} of ${phone}`, { event: 'chat_event', action, chatJid, operation: 'set' });
  }

  pin(phone, on) {
    return this.client.chat.setChatPin(address(phone), on);
  }

  async historyMessages() {
    const wanted = ({ event, messagesCount }) => event === 'history_sync_chunk' && messagesCount > 0 && messagesCount;
    return this.record.find('history with messages', wanted);
  }

  markRead(message) {
    const { chat, id, sender } = message;
    const participant = chat.endsWith('@g.us') ? sender : undefined;
    return this.client.sendReceipt({ to: chat, id, type: 'read', participant });
  }
}
