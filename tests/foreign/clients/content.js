// What a decrypted message says, told the same way for all clients: the protocol's message type is theirs in common.
import { createHash } from 'node:crypto';

const REVOKE = 0;
const EDIT = 14;

function unwrapped(message) {
  let current = message ?? {};
  for (;;) {
    const inner =
      current.deviceSentMessage?.message ??
      current.ephemeralMessage?.message ??
      current.editedMessage?.message ??
      current.documentWithCaptionMessage?.message ??
      current.viewOnceMessage?.message;
    if (!inner) return current;
    current = inner;
  }
}

/** Kind and fields of a message. */
export function read(message) {
  const inner = unwrapped(message);
  if (inner.conversation) return { kind: 'text', text: inner.conversation };
  if (inner.extendedTextMessage) {
    const { text, contextInfo } = inner.extendedTextMessage;
    return { kind: 'text', text, quoted: contextInfo?.stanzaId ?? undefined, mentions: contextInfo?.mentionedJid ?? [] };
  }
  if (inner.imageMessage) {
    return { kind: 'image', caption: inner.imageMessage.caption, media: inner.imageMessage };
  }
  if (inner.audioMessage) {
    return { kind: inner.audioMessage.ptt ? 'voice' : 'audio', seconds: inner.audioMessage.seconds, media: inner.audioMessage };
  }
  if (inner.reactionMessage) {
    return { kind: 'reaction', target: inner.reactionMessage.key?.id, text: inner.reactionMessage.text };
  }
  if (inner.protocolMessage) {
    const { type, key, editedMessage } = inner.protocolMessage;
    if (type === REVOKE) return { kind: 'revoke', target: key?.id };
    if (type === EDIT) return { kind: 'edit', target: key?.id, text: read(editedMessage).text };
    return { kind: 'protocol', type };
  }
  const poll = inner.pollCreationMessage ?? inner.pollCreationMessageV2 ?? inner.pollCreationMessageV3;
  if (poll) return { kind: 'poll', text: poll.name, options: poll.options.map((option) => option.optionName) };
  if (inner.pollUpdateMessage) return { kind: 'vote', target: inner.pollUpdateMessage.pollCreationMessageKey?.id };
  if (inner.locationMessage) {
    const { degreesLatitude, degreesLongitude } = inner.locationMessage;
    return { kind: 'location', latitude: degreesLatitude, longitude: degreesLongitude };
  }
  const contact = inner.contactMessage ?? inner.contactsArrayMessage;
  if (contact) return { kind: 'contact', text: contact.displayName };
  return { kind: Object.keys(inner).find((key) => inner[key]) ?? 'nothing' };
}

/** The address of a phone number; addresses stay what they are. */
export function address(to) {
  return to.includes('@') ? to : `${to}@s.whatsapp.net`;
}

/** The options whose hashes a vote has. */
export function named(hashes, options) {
  return hashes.map((hash) =>
    options.find((option) => createHash('sha256').update(option).digest().equals(Buffer.from(hash))),
  );
}
