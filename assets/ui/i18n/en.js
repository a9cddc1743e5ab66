const count = ['None', 'One', 'Two', 'Three', 'Four', 'Five', 'Six', 'Seven', 'Eight', 'Nine'];
const number = (n) => count[n] ?? String(n);
const s = (n) => (n === 1 ? '' : 's');

export default {
  // frame
  skip: 'Skip to content', overview: 'Overview', events: 'Events', api: 'API', main: 'Main', needYouSr: 'need you: ',
  live: 'Live', connecting: 'Connecting', from: (time) => `From ${time}`, noEvents: 'No live events',
  theme: (now) => `Theme: ${{ light: 'light', dark: 'dark', system: 'as the system' }[now]}`, language: 'Language', forget: 'Forget key',
  copy: 'Copy', copied: 'Copied', close: 'Close', cancel: 'Cancel', sandbox: 'Sandbox',
  sandboxWhat: 'Simulated phones, no WhatsApp.',
  // key
  keyTitle: 'Enter an API key.', keyWhy: 'This page uses the same API as your programs. The key stays in this tab and is forgotten when you close it.',
  keyLabel: 'API key', keyOpen: 'Open', keyNone: 'No key yet? Make one where the gateway runs:',
  keyEmpty: 'Paste a key first. It begins with zpk_.',
  // the answer
  allUp: (n) => `All ${n} are up.`, oneUp: (name) => `${name} is up.`, someUp: (up, n) => `${up} of ${n} are up.`, noneUp: (n) => `None of ${n} is up.`,
  needYou: (n) => `${number(n)} need${n === 1 ? 's' : ''} you.`, oneNeeds: (name) => `${name} needs you.`, oneWaits: (name) => `${name} is coming back.`, oneOff: (name) => `${name} is off.`,
  reconnecting: (n) => `${number(n)} ${n === 1 ? 'is' : 'are'} coming back by ${n === 1 ? 'itself' : 'themselves'}.`,
  switchedOff: (n) => `${number(n)} ${n === 1 ? 'is' : 'are'} switched off.`, quiet: 'Every change of state appears here by itself.', asking: 'Asking the gateway.',
  newInstance: 'New instance', search: 'Search instances', searchHint: 'Name, number or id', show: 'Show', all: 'All',
  groupNeed: 'Need you', groupWork: 'Coming back by themselves', groupUp: 'Up', groupOff: 'Switched off', filterWork: 'Reconnecting',
  noMatch: 'Nothing matches.', noNumber: 'no number yet', latest: 'What just happened', allEvents: 'All events',
  emptyTitle: 'Link the first phone.', emptyLead: 'No instance yet.',
  emptyText: 'An instance is one WhatsApp number. Create it, scan its QR code with the phone that owns the number, and your programs can send and receive through it.',
  emptyLink: 'API description',
  // states
  pending: 'Not linked yet', qr: 'Waiting for scan', connected: 'Connected', disconnected: 'Reconnecting', failed: 'Failed', off: 'Off',
  'why.pending': '**Not linked yet.** Nothing runs until you ask for a QR code.', 'why.qr': '**A QR code is waiting.** Scan it with WhatsApp on the phone that owns the number.',
  'why.connecting': '**Connecting.** Signing in to WhatsApp, usually 2 to 4 s.', 'why.connected': 'Ready to send and receive.',
  'why.off': '**Switched off here.** The phone stays linked; connect to go on.', 'why.disconnected': 'The connection dropped.', 'why.failed': 'It stopped.',
  'next.attempt': (time) => `Next attempt in ${time}.`, 'next.now': 'Trying again now.', 'next.itself': 'It comes back by itself.', 'next.link': 'Messages are refused until you link it again.',
  sinceFor: (time) => `for ${time}`, justNow: 'just now', day: (n) => `${n} day${s(n)}`,
  showQr: 'Show QR', linkAgain: 'Link again', tryNow: 'Try now', connect: 'Connect',
  said: (name, state) => `${name}: ${state}.`,
  // instance
  instance: 'Instance', notFound: 'There is no such instance.', notFoundText: 'It was deleted, or the key may not see it.', backToOverview: 'Back to the overview',
  scanLead: 'Scan the code with the phone that owns the number. It stays linked until you log it out.', onPhone: 'On the phone',
  step1: 'Open WhatsApp and go to **Linked devices**.', step2: 'Tap **Link a device** and unlock the phone.', step3: 'Point it at the code. This page moves on by itself.',
  qrAlt: 'QR code that links this instance', qrLeft: (n) => `**${n} s** until the next code`, qrSoon: 'A new code is on its way', qrTen: 'The QR code changes in 10 seconds.',
  qrAsk: 'No code is shown yet.', qrAskText: 'Asking for one starts the session; each code is good for less than a minute.', qrLoading: 'Asking WhatsApp for a code',
  pairOpen: 'Link with phone number instead', pairGet: 'Get a code', pairText: 'On the phone choose “Link with phone number instead” and type this within three minutes.',
  qrScanned: 'Scanned. Signing in.', qrFailed: 'No QR code.', tryAgain: 'Try again', copyCode: 'Copy code as text', scan: 'Scan with the simulated phone', scanText: 'In the sandbox a phone is at hand:',
  check: 'Check that it works', checkSoon: '**The first message is one step away.**', checkSoonText: 'Once the instance is connected, send a message here and watch it being sent, delivered and read. The same call is ready to copy for your own program:',
  checkEmpty: 'Write to any number on WhatsApp, your own for example. Answers appear here too.', to: 'To', toHint: 'Number with country code', message: 'Message', messageHint: 'Write a test message', send: 'Send', terminal: 'The same, from a terminal',
  helloText: 'It works!', toEmpty: 'Say to whom: a number with country code.', textEmpty: 'Write something first.', typed: (type) => `(${type})`, byPhone: 'typed on the phone',
  'tick.sending': 'sending', 'tick.queued': 'waiting', 'tick.sent': 'sent', 'tick.delivered': 'delivered', 'tick.deliveredIn': (time) => `delivered in ${time}`, 'tick.read': 'read', 'tick.failed': 'not sent',
  manage: 'Manage', restart: 'Restart', restartText: 'Closes the connection and opens it again.', disconnect: 'Disconnect', disconnectText: 'Stops here; the phone stays linked.',
  logout: 'Log out', logoutText: 'Unlinks the phone. A new scan is needed.', rename: 'Rename', renameText: 'Only the name changes, not the id.', remove: 'Delete', removeText: 'Unlinks the phone and removes the instance.', stop: 'Stop',
  askDisconnect: (name) => `Disconnect “${name}”?`, askDisconnectText: 'It neither sends nor receives until you connect it again. The phone stays linked.',
  askLogout: (name) => `Log out “${name}”?`, askLogoutText: 'The phone is unlinked at once. To use it again, somebody must scan a new QR code.',
  askRemove: (name) => `Delete “${name}”?`, askRemoveText: 'The phone is unlinked at once. This cannot be undone.', typeName: (name) => `Type **${name}** to confirm`,
  name: 'Name', nameHint: 'Support desk', create: 'Create', createText: 'One instance is one WhatsApp number. The name is for you; you can change it later.', save: 'Save', nameEmpty: 'Give it a name, at most 100 characters.',
  itsEvents: 'Its events',
  // events
  listening: 'Listening. Nothing missed.', listeningGap: 'Listening, with a gap.', notListening: 'Not listening.', mayNotListen: 'This key may not read events.', eventsLead: 'Everything the gateway tells your programs, as it happens.',
  pause: 'Pause', space: 'space', resume: 'Resume', paused: (n) => `Paused, ${n} new`, allInstances: 'All instances', whichInstance: 'Instance', kinds: 'Kinds of events', 'kind.messages': 'Messages', 'kind.receipts': 'Receipts', 'kind.instances': 'Instances', 'kind.other': 'Other',
  json: 'JSON, as sent', pickEvent: 'Choose an event to see exactly what your program receives.', noEventsYet: 'Nothing has happened since this page was opened.', noEventsText: 'Every state change and message shows up here the moment it happens.', eventList: 'Events, newest first', listenCurl: 'Listen from a terminal', bytes: (n) => `${n} characters cut`,
  seam: (from, to, n) => `The connection was lost from ${from} to ${to}. ${n === 1 ? 'One missed event was' : `${n} missed events were`} fetched, none lost.`,
  gap: 'Events are missing here: the journal no longer reaches back that far.', deleted: 'deleted instance',
  'ev.to': (who) => `to ${who}`, 'ev.from': (who) => `from ${who}`, 'ev.by': (who) => `by ${who}`, 'ev.group': 'in a group', 'ev.text': (n) => `text, ${n} character${s(n)}`, 'ev.linked': (who) => `linked as ${who}`, 'ev.next': (time) => `next attempt ${time}`, 'ev.qr': 'a new code', 'ev.device': 'typed on the phone',
  // sandbox phone
  phone: 'Simulated phone', phoneOf: 'Phone', phoneHint: 'Write as this phone', phoneEmpty: 'Nothing on this phone yet. What the instance sends to it appears here, and you can write back.', phoneNotYet: 'As soon as the instance is connected, this phone can write to it.', phoneSend: 'Send as phone',
  // trouble
  gone: 'The gateway does not answer.', goneText: (time, wait) => `What you see is from ${time}. ${wait}`, goneRetry: (n) => `Trying again in ${n} s.`, goneNow: 'Trying again now.',
  didNot: (what) => `Not done: ${what}`, couldNotLoad: 'The list could not be loaded.',
  'error.gateway_gone': 'The gateway does not answer. Is it running, and is the address right?',
  'error.auth_malformed': 'This is not an API key. It begins with zpk_live_ or zpk_test_.',
  // set-up, sign-in
  signIn: 'Sign in', signInText: 'One password opens this page.', signInAgain: 'Your sign-in has ended. Sign in again to go on where you were.', signOut: 'Sign out', password: 'Password', passwordEmpty: 'Type the password first.',
  wrongPassword: (n) => `Wrong password. ${n ? `${n === 1 ? 'One more try' : `${number(n)} more tries`}, then a pause of one minute.` : 'Now a pause of one minute.'}`, waitFor: (n) => `Wait ${n} s`,
  useKey: 'Use an API key instead', usePassword: 'Use the password instead', noPassword: 'No password yet.', noPasswordText: 'Open the one-time link that the gateway wrote to its log when it started, or get a new one where it runs:',
  setUp: 'Set up WhatIsUp.', setUpText: 'Three steps, then a QR code.', 'setUp.0': 'Choose a password', 'setUp.1': 'Take the first key', 'setUp.2': 'Create the first instance', setPassword: 'Set the password',
  strength: (n) => ['At least 10 characters; three or four words are best.', 'Weak: easy to guess.', 'Fair.', 'Strong.'][n], linkUsed: 'This link has been used or is too old.',
  keyFor: 'Your programs use the API with it, this page does not need it.', keyMake: 'Create the key', keyOnce: 'Copy this key now. It is shown once.', stored: 'I have stored it', goOn: 'Go on', firstKey: 'First key', done: 'done',
  roomFailed: 'This view could not be loaded.', failingSr: 'failing: ',
  // webhooks
  webhooks: 'Webhooks',
  // keys
  keys: 'Keys', keysWork: (n) => `${number(n)} key${s(n)} work${n === 1 ? 's' : ''}.`, keysOver: (n) => `${number(n)} expired.`, keysSoon: (n) => `${number(n)} end${n === 1 ? 's' : ''} within a week.`,
  keysLead: 'A program shows its key with every call. Give each its own, with no more rights than it needs.', keysOnlyRead: 'Your key may see keys, not make or revoke them.',
  newKey: 'New key', may: 'May', read: 'Read', update: 'Change', everything: 'Everything', sendOnly: 'Send only', readOnly: 'Read only', expiry: 'Expires', never: 'Never expires', lastUsed: 'Last used', neverUsed: 'Never used', used: (when) => `used ${when}`, expires: (when) => `expires ${when}`, expired: (when) => `expired ${when}`,
  testKey: 'For tests: begins with zpk_test_, works alike', keyKept: 'The gateway keeps only a fingerprint of it.', keyTry: 'Try it', keyNotCopied: 'It has not been copied, and nobody can show it again. Close all the same?',
  revoke: 'Revoke', thisOne: 'this one', askRevoke: (name) => `Revoke “${name}”?`, askRevokeText: 'Programs that use it are refused at once, and their event streams end. This cannot be undone.', askRevokeOwn: 'You are signed in with this key: this page closes as well.',
  // system
  system: 'System', systemLead: 'These facts refresh by themselves.', wellness: (n) => (n ? `${number(n)} thing${s(n)} need${n === 1 ? 's' : ''} a look.` : 'Everything is fine.'),
  'fact.version': (version, when) => `**WhatIsUp ${version}**, started ${when}.`, 'fact.memory': (now, most) => `**${now} of memory**, ${most} at the most so far.`, 'fact.disk': (used, free, verdict) => `**${used} % of the disk**, ${free} free: ${verdict}.`, 'full.good': 'fine', 'full.warn': 'getting full', 'full.bad': 'full',
  'fact.store': (size, n, days) => `**${size} of own files**, with ${n} event${s(n)} of the last ${days} days.`, 'fact.outbox': (n) => (n ? `**${n} message${s(n)}** on the way to WhatsApp.` : '**No message** waits for WhatsApp.'),
  'fact.deliveries': (n, failed, age) => (n ? `**${n} deliver${n === 1 ? 'y waits' : 'ies wait'}**, ${failed} of them after a failure, the oldest for ${age}.` : '**No delivery** waits.'), 'fact.instances': (list) => `**Instances:** ${list || 'none'}.`, 'fact.streams': (n) => `**${n} event stream${s(n)}** open.`,
  sessions: 'Sign-ins', end: 'End', endOthers: 'End all others', passwordChange: 'Change password', passwordEnds: 'All other sign-ins end.', current_password: 'Current password', new_password: 'New password',
  'link.docs': 'Every call, to read and to try', 'link.openapi.json': 'For code generators', 'link.llms.txt': 'For language models', 'link.metrics': 'For Prometheus, with a key',
  audit: 'Who changed what', older: 'Older', when: 'When', who: 'Who', what: 'What', 'by.key': 'API key', 'by.session': 'Dashboard', 'by.owner': 'On the machine', 'by.system': 'The gateway',
};
