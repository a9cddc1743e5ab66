const count = ['Nenhuma', 'Uma', 'Duas', 'Três', 'Quatro', 'Cinco', 'Seis', 'Sete', 'Oito', 'Nove'];
const number = (n) => count[n] ?? String(n);
const s = (n) => (n === 1 ? '' : 's');

export default {
  // frame
  skip: 'Ir para o conteúdo', overview: 'Visão geral', events: 'Eventos', api: 'API', main: 'Principal', needYouSr: 'precisam de você: ',
  live: 'Ao vivo', connecting: 'Conectando', from: (time) => `De ${time}`, noEvents: 'Sem eventos ao vivo',
  theme: (now) => `Tema: ${{ light: 'claro', dark: 'escuro', system: 'como no sistema' }[now]}`, language: 'Idioma', forget: 'Esquecer chave',
  copy: 'Copiar', copied: 'Copiado', close: 'Fechar', cancel: 'Cancelar', sandbox: 'Sandbox',
  sandboxWhat: 'Celulares simulados, sem WhatsApp.',
  // key
  keyTitle: 'Informe uma chave de API.', keyWhy: 'Esta página usa a mesma API que os seus programas. A chave fica nesta aba e é esquecida quando você a fecha.',
  keyLabel: 'Chave de API', keyOpen: 'Abrir', keyNone: 'Ainda não tem chave? Crie uma onde o gateway roda:',
  keyEmpty: 'Cole uma chave primeiro. Ela começa com zpk_.',
  // the answer
  allUp: (n) => `Todas as ${n} estão no ar.`, oneUp: (name) => `${name} está no ar.`, someUp: (up, n) => `${up} de ${n} estão no ar.`, noneUp: (n) => `Nenhuma das ${n} está no ar.`,
  needYou: (n) => `${number(n)} precisa${n === 1 ? '' : 'm'} de você.`, oneNeeds: (name) => `${name} precisa de você.`, oneWaits: (name) => `${name} está voltando.`, oneOff: (name) => `${name} está desligada.`,
  reconnecting: (n) => `${number(n)} ${n === 1 ? 'está voltando sozinha' : 'estão voltando sozinhas'}.`,
  switchedOff: (n) => `${number(n)} ${n === 1 ? 'está desligada' : 'estão desligadas'}.`, quiet: 'Toda mudança de estado aparece aqui sozinha.', asking: 'Consultando o gateway.',
  newInstance: 'Nova instância', search: 'Buscar instâncias', searchHint: 'Nome, número ou id', show: 'Mostrar', all: 'Todas',
  groupNeed: 'Precisam de você', groupWork: 'Voltando sozinhas', groupUp: 'No ar', groupOff: 'Desligadas', filterWork: 'Reconectando',
  noMatch: 'Nada encontrado.', noNumber: 'ainda sem número', latest: 'O que acabou de acontecer', allEvents: 'Todos os eventos',
  emptyTitle: 'Conecte o primeiro celular.', emptyLead: 'Nenhuma instância ainda.',
  emptyText: 'Uma instância é um número do WhatsApp. Crie-a, leia o QR com o celular dono do número e seus programas podem enviar e receber por ele.',
  emptyLink: 'Descrição da API',
  // states
  pending: 'Ainda não conectado', qr: 'Aguardando leitura', connected: 'Conectado', disconnected: 'Reconectando', failed: 'Falhou', off: 'Desligado',
  'why.pending': '**Ainda não conectado.** Nada roda até você pedir um QR.', 'why.qr': '**O QR code está pronto.** Leia com o WhatsApp no celular dono do número.',
  'why.connecting': '**Conectando.** Entrando no WhatsApp, em geral de 2 a 4 s.', 'why.connected': 'Pronto para enviar e receber.',
  'why.off': '**Desligado aqui.** O celular continua vinculado; conecte para seguir.', 'why.disconnected': 'A conexão caiu.', 'why.failed': 'Parou.',
  'next.attempt': (time) => `Próxima tentativa em ${time}.`, 'next.now': 'Tentando de novo agora.', 'next.itself': 'Volta sozinha.', 'next.link': 'As mensagens são recusadas até você conectar de novo.',
  'reason.network': 'A rede caiu.', 'reason.logout': 'Desconectado pelo celular.', 'reason.session_invalidated': 'O WhatsApp encerrou a sessão.',
  'reason.kicked_other_device': 'Outro programa assumiu este vínculo.', 'reason.banned': 'O WhatsApp baniu este número.', 'reason.outdated': 'O WhatsApp recusa esta versão: atualize o gateway.',
  'reason.passkey_required': 'O WhatsApp pede uma passkey, que só um celular pode dar.',
  'reason.dns': 'O nome do WhatsApp não é resolvido: verifique o DNS desta máquina.',
  'reason.certificate': 'O certificado não é do WhatsApp: a conexão foi recusada.', 'reason.qr_expired': 'Ninguém leu o QR code a tempo. Peça outro.', 'reason.crashed': 'A tarefa desta instância falhou e será reiniciada.',
  sinceFor: (time) => `há ${time}`, justNow: 'agora mesmo', day: (n) => `${n} dia${s(n)}`,
  showQr: 'Mostrar QR', linkAgain: 'Conectar de novo', tryNow: 'Tentar agora', connect: 'Conectar',
  said: (name, state) => `${name}: ${state}.`,
  // instance
  instance: 'Instância', notFound: 'Esta instância não existe.', notFoundText: 'Foi excluída, ou a chave não pode vê-la.', backToOverview: 'Voltar à visão geral',
  scanLead: 'Leia o código com o celular dono do número. Ele fica vinculado até você encerrar a sessão.', onPhone: 'No celular',
  step1: 'Abra o WhatsApp e vá em **Dispositivos conectados**.', step2: 'Toque em **Conectar dispositivo** e desbloqueie o celular.', step3: 'Aponte para o código. Esta página segue sozinha.',
  qrAlt: 'QR code que conecta esta instância', qrLeft: (n) => `**${n} s** até o próximo código`, qrSoon: 'Um novo código está a caminho', qrTen: 'O QR code muda em 10 segundos.',
  qrAsk: 'Nenhum código à mostra.', qrAskText: 'Pedir um inicia a sessão; cada código vale menos de um minuto.', qrLoading: 'Pedindo um código ao WhatsApp',
  pairOpen: 'Conectar com número de telefone', pairGet: 'Obter código', pairText: 'No celular, escolha “Conectar com número de telefone” e digite isto em até três minutos.',
  qrScanned: 'Lido. Entrando.', qrFailed: 'Sem QR code.', tryAgain: 'Tentar de novo', copyCode: 'Copiar código como texto', scan: 'Ler com o celular simulado', scanText: 'No sandbox há um celular à mão:',
  check: 'Veja se funciona', checkSoon: '**Falta um passo para a primeira mensagem.**', checkSoonText: 'Com a instância conectada, envie uma mensagem aqui e acompanhe: enviada, entregue, lida. A mesma chamada está pronta para copiar no seu programa:',
  checkEmpty: 'Escreva para qualquer número no WhatsApp, o seu por exemplo. As respostas também aparecem aqui.', to: 'Para', toHint: 'Número com código do país', message: 'Mensagem', messageHint: 'Escreva uma mensagem de teste', send: 'Enviar', terminal: 'O mesmo, num terminal',
  helloText: 'Funciona!', toEmpty: 'Diga para quem: um número com código do país.', textEmpty: 'Escreva algo primeiro.', typed: (type) => `(${type})`, byPhone: 'escrita no celular',
  'tick.sending': 'enviando', 'tick.queued': 'na fila', 'tick.sent': 'enviada', 'tick.delivered': 'entregue', 'tick.deliveredIn': (time) => `entregue em ${time}`, 'tick.read': 'lida', 'tick.failed': 'não enviada',
  manage: 'Gerenciar', restart: 'Reiniciar', restartText: 'Fecha a conexão e a abre de novo.', disconnect: 'Desligar', disconnectText: 'Para aqui; o celular continua vinculado.',
  logout: 'Encerrar sessão', logoutText: 'Desvincula o celular. Será preciso ler um novo código.', rename: 'Renomear', renameText: 'Só o nome muda, não o id.', remove: 'Excluir', removeText: 'Desvincula o celular e remove a instância.', stop: 'Parar',
  askDisconnect: (name) => `Desligar “${name}”?`, askDisconnectText: 'Ela não envia nem recebe até você conectar de novo. O celular continua vinculado.',
  askLogout: (name) => `Encerrar a sessão de “${name}”?`, askLogoutText: 'O celular é desvinculado na hora. Para usar de novo, alguém precisa ler um novo QR code.',
  askRemove: (name) => `Excluir “${name}”?`, askRemoveText: 'O celular é desvinculado na hora. Não dá para desfazer.', typeName: (name) => `Digite **${name}** para confirmar`,
  name: 'Nome', nameHint: 'Atendimento', create: 'Criar', createText: 'Uma instância é um número do WhatsApp. O nome é para você e pode mudar depois.', save: 'Salvar', nameEmpty: 'Dê um nome, com no máximo 100 caracteres.',
  itsEvents: 'Eventos dela',
  // events
  listening: 'Ouvindo. Nada perdido.', listeningGap: 'Ouvindo, com uma lacuna.', notListening: 'Sem ouvir.', mayNotListen: 'Esta chave não pode ler eventos.', eventsLead: 'Tudo o que o gateway conta aos seus programas, na hora.',
  pause: 'Pausar', space: 'espaço', resume: 'Continuar', paused: (n) => `Pausado, ${n} novo${s(n)}`, allInstances: 'Todas as instâncias', whichInstance: 'Instância', kinds: 'Tipos de eventos', 'kind.messages': 'Mensagens', 'kind.receipts': 'Recibos', 'kind.instances': 'Instâncias', 'kind.other': 'Outros',
  json: 'JSON, como enviado', pickEvent: 'Escolha um evento para ver exatamente o que seu programa recebe.', noEventsYet: 'Nada aconteceu desde que a página foi aberta.', noEventsText: 'Cada mudança de estado e cada mensagem aparece aqui na hora.', eventList: 'Eventos, do mais novo ao mais antigo', listenCurl: 'Ouvir num terminal', bytes: (n) => `${n} caracteres cortados`,
  seam: (from, to, n) => `A conexão ficou perdida de ${from} a ${to}. ${n === 1 ? 'Um evento foi recuperado' : `${n} eventos foram recuperados`}, nenhum se perdeu.`,
  gap: 'Faltam eventos aqui: o diário não alcança mais tão longe.', deleted: 'instância excluída',
  'ev.to': (who) => `para ${who}`, 'ev.from': (who) => `de ${who}`, 'ev.by': (who) => `por ${who}`, 'ev.group': 'num grupo', 'ev.text': (n) => `texto, ${n} caractere${s(n)}`, 'ev.linked': (who) => `conectado como ${who}`, 'ev.next': (time) => `próxima tentativa ${time}`, 'ev.qr': 'um novo código', 'ev.device': 'escrita no celular',
  // sandbox phone
  phone: 'Celular simulado', phoneOf: 'Celular', phoneHint: 'Escreva por este celular', phoneEmpty: 'Nada neste celular ainda. O que a instância enviar a ele aparece aqui, e você pode responder.', phoneNotYet: 'Assim que a instância estiver conectada, este celular pode escrever para ela.', phoneSend: 'Enviar pelo celular',
  // trouble
  gone: 'O gateway não responde.', goneText: (time, wait) => `O que você vê é de ${time}. ${wait}`, goneRetry: (n) => `Nova tentativa em ${n} s.`, goneNow: 'Tentando de novo agora.',
  didNot: (what) => `Não foi feito: ${what}`, couldNotLoad: 'Não foi possível carregar a lista.',
  'error.gateway_gone': 'O gateway não responde. Ele está rodando, e o endereço está certo?',
  'error.auth_invalid': 'O gateway não conhece esta chave. Ela pode ter sido revogada.', 'error.auth_expired': 'Esta chave expirou. Crie outra.', 'error.auth_malformed': 'Isto não é uma chave de API. Ela começa com zpk_live_ ou zpk_test_.', 'error.auth_missing': 'É preciso uma chave.',
  'reason.pair_code_failed': 'O código de conexão não vale mais. Peça outro.', 'reason.pair_code_expired': 'Ninguém digitou o código a tempo. Peça outro.', 'error.pair_code_failed': 'O WhatsApp recusou um código para este número. Confira o número, espere alguns minutos ou leia o QR code.', 'error.pair_code_unavailable': 'Não há código para este número. Leia o QR code.',
  'error.not_connected': 'Não enviada: esta instância não está conectada. Conecte-a primeiro.', 'error.no_qr': 'Não há QR code agora: a instância já está conectada ou está entrando.', 'error.rate_limited': 'Chamadas demais. Espere um momento e tente de novo.',
  'error.instance_not_found': 'Esta instância não existe, ou a chave não pode vê-la.', 'error.insufficient_scope': 'Esta chave não pode fazer isso. Use uma com mais permissões.',
  'error.recipient_not_on_whatsapp': 'Este número não está no WhatsApp.', 'error.shutting_down': 'O gateway está desligando. Tente de novo daqui a pouco.', 'error.invalid_lifecycle_transition': 'Isso não é possível no estado atual da instância.', 'error.internal': 'Algo falhou no gateway. O id do pedido ajuda a encontrar nos logs.',
  // set-up, sign-in
  signIn: 'Entrar', signInText: 'Uma senha abre esta página.', signInAgain: 'Seu acesso terminou. Entre de novo para continuar de onde parou.', signOut: 'Sair', password: 'Senha', passwordEmpty: 'Digite a senha primeiro.',
  wrongPassword: (n) => `Senha incorreta. ${n ? `${n === 1 ? 'Mais uma tentativa' : `Mais ${number(n).toLowerCase()} tentativas`}, depois uma pausa de um minuto.` : 'Agora, uma pausa de um minuto.'}`, waitFor: (n) => `Aguarde ${n} s`,
  useKey: 'Usar uma chave de API', usePassword: 'Usar a senha', noPassword: 'Ainda sem senha.', noPasswordText: 'Abra o link de uso único que o gateway gravou no log ao iniciar, ou peça outro onde ele roda:',
  setUp: 'Configure o WhatIsUp.', setUpText: 'Três passos, depois um QR code.', 'setUp.0': 'Escolha uma senha', 'setUp.1': 'Pegue a primeira chave', 'setUp.2': 'Crie a primeira instância', setPassword: 'Definir a senha',
  strength: (n) => ['Pelo menos 10 caracteres; o melhor são três ou quatro palavras.', 'Fraca: fácil de adivinhar.', 'Razoável.', 'Forte.'][n], linkUsed: 'Este link já foi usado ou é antigo demais.',
  keyFor: 'Seus programas usam a API com ela; esta página não precisa dela.', keyMake: 'Criar a chave', keyOnce: 'Copie esta chave agora. Ela só aparece uma vez.', stored: 'Já guardei', goOn: 'Continuar', firstKey: 'Primeira chave', done: 'pronto',
  roomFailed: 'Não foi possível carregar esta tela.', failingSr: 'falhando: ',
  // webhooks
  webhooks: 'Webhooks',
  // keys
  keys: 'Chaves',
  // system
  system: 'Sistema',
};
