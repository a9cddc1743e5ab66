const count = ['Ninguna', 'Una', 'Dos', 'Tres', 'Cuatro', 'Cinco', 'Seis', 'Siete', 'Ocho', 'Nueve'];
const number = (n) => count[n] ?? String(n);
const s = (n) => (n === 1 ? '' : 's');

export default {
  // frame
  skip: 'Ir al contenido', overview: 'Resumen', events: 'Eventos', api: 'API', main: 'Principal', needYouSr: 'te necesitan: ',
  live: 'En vivo', connecting: 'Conectando', from: (time) => `De las ${time}`, noEvents: 'Sin eventos en vivo',
  theme: (now) => `Tema: ${{ light: 'claro', dark: 'oscuro', system: 'como el sistema' }[now]}`, language: 'Idioma', forget: 'Olvidar clave',
  copy: 'Copiar', copied: 'Copiado', close: 'Cerrar', cancel: 'Cancelar', sandbox: 'Sandbox',
  sandboxWhat: 'Teléfonos simulados, sin WhatsApp.',
  // key
  keyTitle: 'Escribe una clave de API.', keyWhy: 'Esta página usa la misma API que tus programas. La clave queda en esta pestaña y se olvida cuando la cierras.',
  keyLabel: 'Clave de API', keyOpen: 'Abrir', keyNone: '¿Aún sin clave? Créala donde corre el gateway:',
  keyEmpty: 'Pega primero una clave. Empieza con zpk_.',
  // the answer
  allUp: (n) => `Las ${n} están en línea.`, oneUp: (name) => `${name} está en línea.`, someUp: (up, n) => `${up} de ${n} están en línea.`, noneUp: (n) => `Ninguna de las ${n} está en línea.`,
  needYou: (n) => `${number(n)} te necesita${n === 1 ? '' : 'n'}.`, oneNeeds: (name) => `${name} te necesita.`, oneWaits: (name) => `${name} está volviendo.`, oneOff: (name) => `${name} está apagada.`,
  reconnecting: (n) => `${number(n)} ${n === 1 ? 'está volviendo sola' : 'están volviendo solas'}.`,
  switchedOff: (n) => `${number(n)} ${n === 1 ? 'está apagada' : 'están apagadas'}.`, quiet: 'Cada cambio de estado aparece aquí por sí solo.', asking: 'Consultando el gateway.',
  newInstance: 'Nueva instancia', search: 'Buscar instancias', searchHint: 'Nombre, número o id', show: 'Mostrar', all: 'Todas',
  groupNeed: 'Te necesitan', groupWork: 'Vuelven solas', groupUp: 'En línea', groupOff: 'Apagadas', filterWork: 'Reconectando',
  noMatch: 'Nada coincide.', noNumber: 'aún sin número', latest: 'Lo que acaba de pasar', allEvents: 'Todos los eventos',
  emptyTitle: 'Vincula el primer teléfono.', emptyLead: 'Aún no hay instancias.',
  emptyText: 'Una instancia es un número de WhatsApp. Créala, escanea su QR con el teléfono dueño del número y tus programas podrán enviar y recibir por él.',
  emptyLink: 'Descripción de la API',
  // states
  pending: 'Aún sin vincular', qr: 'Esperando el escaneo', connected: 'Conectado', disconnected: 'Reconectando', failed: 'Falló', off: 'Apagado',
  'why.pending': '**Aún sin vincular.** Nada corre hasta que pidas un QR.', 'why.qr': '**El código QR está listo.** Escanéalo con WhatsApp en el teléfono dueño del número.',
  'why.connecting': '**Conectando.** Entrando en WhatsApp, por lo común de 2 a 4 s.', 'why.connected': 'Listo para enviar y recibir.',
  'why.off': '**Apagado aquí.** El teléfono sigue vinculado; conecta para continuar.', 'why.disconnected': 'Se cortó la conexión.', 'why.failed': 'Se detuvo.',
  'next.attempt': (time) => `Próximo intento en ${time}.`, 'next.now': 'Intentando de nuevo ahora.', 'next.itself': 'Vuelve sola.', 'next.link': 'Los mensajes se rechazan hasta que lo vincules de nuevo.',
  'reason.network': 'Se cortó la red.', 'reason.logout': 'Se cerró la sesión desde el teléfono.', 'reason.session_invalidated': 'WhatsApp cerró la sesión.',
  'reason.kicked_other_device': 'Otro programa tomó este vínculo.', 'reason.banned': 'WhatsApp bloqueó este número.', 'reason.outdated': 'WhatsApp rechaza esta versión: actualiza el gateway.',
  'reason.passkey_required': 'WhatsApp pide una passkey, que solo un teléfono puede dar.',
  'reason.dns': 'El nombre de WhatsApp no se resuelve: revisa el DNS de este equipo.',
  'reason.certificate': 'El certificado no es de WhatsApp: se rechazó la conexión.', 'reason.qr_expired': 'Nadie escaneó el código QR a tiempo. Pide otro.', 'reason.crashed': 'La tarea de esta instancia falló y se reiniciará.',
  sinceFor: (time) => `hace ${time}`, justNow: 'ahora mismo', day: (n) => `${n} día${s(n)}`,
  showQr: 'Mostrar QR', linkAgain: 'Vincular de nuevo', tryNow: 'Probar ahora', connect: 'Conectar',
  said: (name, state) => `${name}: ${state}.`,
  // instance
  instance: 'Instancia', notFound: 'Esa instancia no existe.', notFoundText: 'Se eliminó, o la clave no puede verla.', backToOverview: 'Volver al resumen',
  scanLead: 'Escanea el código con el teléfono dueño del número. Queda vinculado hasta que cierres la sesión.', onPhone: 'En el teléfono',
  step1: 'Abre WhatsApp y ve a **Dispositivos vinculados**.', step2: 'Toca **Vincular dispositivo** y desbloquea el teléfono.', step3: 'Apunta al código. Esta página avanza sola.',
  qrAlt: 'Código QR que vincula esta instancia', qrLeft: (n) => `**${n} s** hasta el próximo código`, qrSoon: 'Un código nuevo está en camino', qrTen: 'El código QR cambia en 10 segundos.',
  qrAsk: 'Aún no se muestra un código.', qrAskText: 'Pedir uno inicia la sesión; cada código vale menos de un minuto.', qrLoading: 'Pidiendo un código a WhatsApp',
  pairOpen: 'Vincular con el número de teléfono', pairGet: 'Obtener código', pairText: 'En el teléfono elige “Vincular con el número de teléfono” y escribe esto en menos de tres minutos.',
  qrScanned: 'Escaneado. Entrando.', qrFailed: 'Sin código QR.', tryAgain: 'Intentar de nuevo', copyCode: 'Copiar código como texto', scan: 'Escanear con el teléfono simulado', scanText: 'En el sandbox hay un teléfono a mano:',
  check: 'Comprueba que funciona', checkSoon: '**Falta un paso para el primer mensaje.**', checkSoonText: 'Con la instancia conectada, envía un mensaje aquí y míralo: enviado, entregado, leído. La misma llamada está lista para copiar en tu programa:',
  checkEmpty: 'Escribe a cualquier número en WhatsApp, el tuyo por ejemplo. Las respuestas también aparecen aquí.', to: 'Para', toHint: 'Número con código de país', message: 'Mensaje', messageHint: 'Escribe un mensaje de prueba', send: 'Enviar', terminal: 'Lo mismo, desde una terminal',
  helloText: '¡Funciona!', toEmpty: 'Di para quién: un número con código de país.', textEmpty: 'Escribe algo primero.', typed: (type) => `(${type})`, byPhone: 'escrito en el teléfono',
  'tick.sending': 'enviando', 'tick.queued': 'en espera', 'tick.sent': 'enviado', 'tick.delivered': 'entregado', 'tick.deliveredIn': (time) => `entregado en ${time}`, 'tick.read': 'leído', 'tick.failed': 'no se envió',
  manage: 'Gestionar', restart: 'Reiniciar', restartText: 'Cierra la conexión y la abre de nuevo.', disconnect: 'Apagar', disconnectText: 'Se detiene aquí; el teléfono sigue vinculado.',
  logout: 'Cerrar sesión', logoutText: 'Desvincula el teléfono. Hará falta escanear de nuevo.', rename: 'Renombrar', renameText: 'Solo cambia el nombre, no el id.', remove: 'Eliminar', removeText: 'Desvincula el teléfono y quita la instancia.', stop: 'Detener',
  askDisconnect: (name) => `¿Apagar “${name}”?`, askDisconnectText: 'No envía ni recibe hasta que la conectes de nuevo. El teléfono sigue vinculado.',
  askLogout: (name) => `¿Cerrar la sesión de “${name}”?`, askLogoutText: 'El teléfono se desvincula al momento. Para usarla de nuevo, alguien debe escanear un código QR nuevo.',
  askRemove: (name) => `¿Eliminar “${name}”?`, askRemoveText: 'El teléfono se desvincula al momento. No se puede deshacer.', typeName: (name) => `Escribe **${name}** para confirmar`,
  name: 'Nombre', nameHint: 'Atención', create: 'Crear', createText: 'Una instancia es un número de WhatsApp. El nombre es para ti y puedes cambiarlo después.', save: 'Guardar', nameEmpty: 'Ponle un nombre, de 100 caracteres como máximo.',
  itsEvents: 'Sus eventos',
  // events
  listening: 'Escuchando. Nada perdido.', listeningGap: 'Escuchando, con un hueco.', notListening: 'Sin escuchar.', mayNotListen: 'Esta clave no puede leer eventos.', eventsLead: 'Todo lo que el gateway cuenta a tus programas, al momento.',
  pause: 'Pausar', space: 'espacio', resume: 'Seguir', paused: (n) => `En pausa, ${n} nuevo${s(n)}`, allInstances: 'Todas las instancias', whichInstance: 'Instancia', kinds: 'Tipos de eventos', 'kind.messages': 'Mensajes', 'kind.receipts': 'Recibos', 'kind.instances': 'Instancias', 'kind.other': 'Otros',
  json: 'JSON, como se envía', pickEvent: 'Elige un evento para ver exactamente lo que recibe tu programa.', noEventsYet: 'No ha pasado nada desde que se abrió la página.', noEventsText: 'Cada cambio de estado y cada mensaje aparece aquí al momento.', eventList: 'Eventos, del más nuevo al más antiguo', listenCurl: 'Escuchar desde una terminal', bytes: (n) => `${n} caracteres cortados`,
  seam: (from, to, n) => `La conexión se perdió de ${from} a ${to}. ${n === 1 ? 'Se recuperó un evento' : `Se recuperaron ${n} eventos`}, no se perdió ninguno.`,
  gap: 'Faltan eventos aquí: el diario ya no llega tan atrás.', deleted: 'instancia eliminada',
  'ev.to': (who) => `para ${who}`, 'ev.from': (who) => `de ${who}`, 'ev.by': (who) => `por ${who}`, 'ev.group': 'en un grupo', 'ev.text': (n) => `texto, ${n} ${n === 1 ? 'carácter' : 'caracteres'}`, 'ev.linked': (who) => `vinculado como ${who}`, 'ev.next': (time) => `próximo intento ${time}`, 'ev.qr': 'un código nuevo', 'ev.device': 'escrito en el teléfono',
  // sandbox phone
  phone: 'Teléfono simulado', phoneOf: 'Teléfono', phoneHint: 'Escribe con este teléfono', phoneEmpty: 'Aún no hay nada en este teléfono. Lo que le envíe la instancia aparece aquí, y puedes responder.', phoneNotYet: 'En cuanto la instancia esté conectada, este teléfono puede escribirle.', phoneSend: 'Enviar con el teléfono',
  // trouble
  gone: 'El gateway no responde.', goneText: (time, wait) => `Lo que ves es de las ${time}. ${wait}`, goneRetry: (n) => `Nuevo intento en ${n} s.`, goneNow: 'Intentando de nuevo ahora.',
  didNot: (what) => `No se hizo: ${what}`, couldNotLoad: 'No se pudo cargar la lista.',
  'error.gateway_gone': 'El gateway no responde. ¿Está en marcha y la dirección es correcta?',
  'error.auth_invalid': 'El gateway no conoce esta clave. Puede que se haya revocado.', 'error.auth_expired': 'Esta clave ha caducado. Crea otra.', 'error.auth_malformed': 'Esto no es una clave de API. Empieza con zpk_live_ o zpk_test_.', 'error.auth_missing': 'Hace falta una clave.',
  'reason.pair_code_failed': 'El código de vinculación ya no vale. Pide otro.', 'reason.pair_code_expired': 'Nadie escribió el código a tiempo. Pide otro.', 'error.pair_code_failed': 'WhatsApp rechazó un código para este número. Revisa el número, espera unos minutos o escanea el código QR.', 'error.pair_code_unavailable': 'No hay código para este número. Escanea el código QR.',
  'error.not_connected': 'No se envió: esta instancia no está conectada. Vincúlala primero.', 'error.no_qr': 'Ahora no hay código QR: la instancia ya está conectada o está entrando.', 'error.rate_limited': 'Demasiadas llamadas. Espera un momento e inténtalo de nuevo.',
  'error.instance_not_found': 'Esa instancia no existe, o la clave no puede verla.', 'error.insufficient_scope': 'Esta clave no puede hacer eso. Usa una con más permisos.',
  'error.recipient_not_on_whatsapp': 'Este número no está en WhatsApp.', 'error.shutting_down': 'El gateway se está apagando. Inténtalo en un momento.', 'error.invalid_lifecycle_transition': 'Eso no es posible en el estado actual de la instancia.', 'error.internal': 'Algo falló en el gateway. El id de la petición ayuda a encontrarlo en los registros.',
  // set-up, sign-in
  signIn: 'Entrar', signInText: 'Una contraseña abre esta página.', signInAgain: 'Tu acceso ha terminado. Entra de nuevo para seguir donde estabas.', signOut: 'Salir', password: 'Contraseña', passwordEmpty: 'Escribe primero la contraseña.',
  wrongPassword: (n) => `Contraseña incorrecta. ${n ? `${n === 1 ? 'Un intento' : `${number(n)} intentos`} más y luego una pausa de un minuto.` : 'Ahora, una pausa de un minuto.'}`, waitFor: (n) => `Espera ${n} s`,
  useKey: 'Usar una clave de API', usePassword: 'Usar la contraseña', noPassword: 'Aún sin contraseña.', noPasswordText: 'Abre el enlace de un solo uso que el gateway escribió en su log al iniciar, o pide otro donde se ejecuta:',
  setUp: 'Configura WhatIsUp.', setUpText: 'Tres pasos y después un código QR.', 'setUp.0': 'Elige una contraseña', 'setUp.1': 'Toma la primera clave', 'setUp.2': 'Crea la primera instancia', setPassword: 'Guardar la contraseña',
  strength: (n) => ['Al menos 10 caracteres; lo mejor son tres o cuatro palabras.', 'Débil: fácil de adivinar.', 'Aceptable.', 'Fuerte.'][n], linkUsed: 'Este enlace ya se usó o es demasiado antiguo.',
  keyFor: 'Tus programas usan la API con ella; esta página no la necesita.', keyMake: 'Crear la clave', keyOnce: 'Copia esta clave ahora. Solo se muestra una vez.', stored: 'Ya la guardé', goOn: 'Continuar', firstKey: 'Primera clave', done: 'listo',
  roomFailed: 'No se pudo cargar esta vista.', failingSr: 'fallando: ',
  // webhooks
  webhooks: 'Webhooks',
  // keys
  keys: 'Claves',
  // system
  system: 'Sistema',
};
