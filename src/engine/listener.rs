//! Takes the library's events apart into two bounded queues: the life of the session, and the fate of messages.
//!
//! The library calls a listener synchronously and may not be held up, so a full queue drops: for ticks that loses a
//! tick at worst (a missing acknowledgement leads to a resend under the same id), and the session's life has far
//! fewer events than its queue has places.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use whatsapp_rust::Jid;
use whatsapp_rust::prelude::{Event, MessageInfo};
use whatsapp_rust::types::events::{
    ConnectFailureReason, EventHandler, EventInterest, EventKind, InboundMessage, Receipt,
};
use whatsapp_rust::types::presence::ReceiptType;
use whatsapp_rust::wacore_binary::NodeRef;

use super::calls::{self, heard};
use super::collections::Notices;
use super::delivery::{self, Tick};
use super::news::{News, news};
use super::resends::Watch;
use super::translate::address::from_jid;
use super::trouble::{Refusal, Trouble};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::message::{MessageId, OutboundState};
use crate::sys::clock;

/// Something in the life of a session.
#[derive(Debug)]
pub(super) enum Life {
    /// A code can be scanned.
    QrOffered {
        /// The code.
        code: String,
        /// For how long.
        valid: Duration,
    },
    /// The codes ran out.
    QrExhausted,
    /// A pairing code can no longer link: it was mistyped, or WhatsApp wants a new one.
    CodeRetired,
    /// A phone linked this device.
    Paired {
        /// Under this number.
        jid: Jid,
        /// And this hidden-number id.
        lid: Jid,
    },
    /// A phone scanned, and what came of it is not to be trusted.
    PairingFailed,
    /// The session is usable.
    Opened,
    /// WhatsApp refuses the session for good.
    Refused(Refusal),
    /// WhatsApp wants a newer client.
    Outdated,
    /// The account has another name, which the library takes as a reason to appear online.
    Renamed,
    /// This attempt failed, the next may not.
    Failed(Trouble),
}

/// The fate of messages.
#[derive(Debug)]
pub(super) enum Mail {
    /// Of one of ours.
    Tick(Tick),
    /// A receipt for several of ours.
    Receipt {
        /// Which.
        ids: Vec<MessageId>,
        /// How far they came.
        state: OutboundState,
        /// Where from.
        chat: Address,
        /// Who sent it.
        sender: Jid,
        /// When.
        at: Timestamp,
    },
    /// A message that did not come through the durability hook.
    Uncommitted(Arc<[InboundMessage]>),
    /// A message that cannot be read.
    Undecryptable(Arc<MessageInfo>),
    /// Something that the owner changed elsewhere.
    News(News),
    /// A call.
    Call(calls::Heard),
}

/// The library's listener of one session.
pub(super) struct Listener {
    life: mpsc::Sender<Life>,
    mail: mpsc::Sender<Mail>,
    /// When the session began.
    since: Timestamp,
    receipts: Watch,
    notices: Notices,
}

/// Places in the queue of the session's life.
const LIFE_PLACES: usize = 64;

/// Places in the queue of ticks: more than WhatsApp sends between two commits.
const MAIL_PLACES: usize = 8_192;

impl Listener {
    /// A listener and the ends to read from.
    pub fn new(receipts: Watch, notices: Notices) -> (Arc<Self>, mpsc::Receiver<Life>, mpsc::Receiver<Mail>) {
        let (life, lives) = mpsc::channel(LIFE_PLACES);
        let (mail, mails) = mpsc::channel(MAIL_PLACES);
        let listener = Self {
            life,
            mail,
            since: clock::now(),
            receipts,
            notices,
        };
        (Arc::new(listener), lives, mails)
    }

    fn live(&self, life: Life) {
        if self.life.try_send(life).is_err() {
            tracing::error!("an event in the life of a session was dropped, its queue is full or closed");
        }
    }
}

impl EventHandler for Listener {
    fn handle_event(&self, event: Arc<Event>) {
        if let Event::RawNode(node) = &*event {
            self.receipts.look_at(node.get());
            self.notices.look_at(node.get());
        }
        if let Some(life) = life(&event) {
            self.live(life);
        } else if let Some(mail) = mail(&event)
            .or_else(|| news(&event, self.since, clock::now()).map(Mail::News))
            .or_else(|| heard(&event).map(Mail::Call))
            && self.mail.try_send(mail).is_err()
        {
            tracing::warn!("a tick was dropped, its queue is full or closed");
        }
        if matches!(&*event, Event::SelfPushNameUpdated(_)) {
            self.live(Life::Renamed);
        }
    }

    fn interest(&self) -> EventInterest {
        EventInterest::of(&[
            EventKind::Connected,
            EventKind::PairSuccess,
            EventKind::PairError,
            EventKind::PairingQrCode,
            EventKind::PairingQrCodesExhausted,
            EventKind::PairingCodeRefresh,
            EventKind::PairingCodeError,
            EventKind::PairPasskeyRequest,
            EventKind::LoggedOut,
            EventKind::StreamReplaced,
            EventKind::TemporaryBan,
            EventKind::ClientOutdated,
            EventKind::ConnectFailure,
            EventKind::ServerAck,
            EventKind::Receipt,
            EventKind::Messages,
            EventKind::UndecryptableMessage,
            EventKind::PinUpdate,
            EventKind::ArchiveUpdate,
            EventKind::MuteUpdate,
            EventKind::MarkChatAsReadUpdate,
            EventKind::ContactUpdate,
            EventKind::SelfPushNameUpdated,
            EventKind::IncomingCall,
            EventKind::MissedCall,
            EventKind::RawNode,
        ])
    }
}

/// The event as one in the session's life.
fn life(event: &Event) -> Option<Life> {
    Some(match event {
        Event::Connected(_) => Life::Opened,
        Event::PairingQrCode(qr) => Life::QrOffered {
            code: qr.code.clone(),
            valid: qr.timeout,
        },
        Event::PairingQrCodesExhausted(_) => Life::QrExhausted,
        // An error that a caller has met is told once more here; then no code is out, and nothing comes of it.
        Event::PairingCodeRefresh(_) | Event::PairingCodeError(_) => Life::CodeRetired,
        Event::PairSuccess(pair) => Life::Paired {
            jid: pair.id.clone(),
            lid: pair.lid.clone(),
        },
        Event::PairError(_) => Life::PairingFailed,
        Event::PairPasskeyRequest(_) => Life::Refused(Refusal::passkey()),
        Event::LoggedOut(logged_out) => Life::Refused(match logged_out.reason {
            ConnectFailureReason::AccountLocked => Refusal::locked(),
            ConnectFailureReason::UnknownLogout => Refusal::invalidated(),
            _ => Refusal::logout(),
        }),
        Event::StreamReplaced(_) => Life::Refused(Refusal::replaced()),
        Event::TemporaryBan(ban) => {
            let until = ban.expire.to_std().ok().map(|left| clock::now().plus(left));
            Life::Refused(Refusal::banned(until))
        }
        Event::ClientOutdated(_) => Life::Outdated,
        Event::ConnectFailure(failure) => match failure.reason {
            ConnectFailureReason::TempBanned => Life::Refused(Refusal::banned(None)),
            other => match failure_code(other) {
                429 => Life::Failed(Trouble::rate_limited()),
                500..=599 => Life::Failed(Trouble::server()),
                code => Life::Refused(Refusal::other(code)),
            },
        },
        Event::RawNode(node) => Life::Failed(stream_trouble(node.get())?),
        _ => return None,
    })
}

/// Why the server ends a stream that can be opened again. The library tells of some codes only in its log.
fn stream_trouble(node: &NodeRef<'_>) -> Option<Trouble> {
    if node.tag.as_ref() != "stream:error" {
        return None;
    }
    match node.get_attr("code")?.as_str().parse::<u16>().ok()? {
        429 => Some(Trouble::rate_limited()),
        // Orders to log in anew, and the word that the device was removed.
        515 | 516 => None,
        500..=599 => Some(Trouble::server()),
        _ => None,
    }
}

/// WhatsApp's number for a refused login.
fn failure_code(reason: ConnectFailureReason) -> i32 {
    match reason {
        ConnectFailureReason::Generic => 400,
        ConnectFailureReason::LoggedOut => 401,
        ConnectFailureReason::TempBanned => 402,
        ConnectFailureReason::AccountLocked => 403,
        ConnectFailureReason::ClientOutdated => 405,
        ConnectFailureReason::UnknownLogout => 406,
        ConnectFailureReason::BadUserAgent => 409,
        ConnectFailureReason::CatExpired => 413,
        ConnectFailureReason::CatInvalid => 414,
        ConnectFailureReason::NotFound => 415,
        ConnectFailureReason::ClientUnknown => 418,
        ConnectFailureReason::InternalServerError => 500,
        ConnectFailureReason::Experimental => 501,
        ConnectFailureReason::ServiceUnavailable => 503,
        ConnectFailureReason::Unknown(code) => code,
    }
}

/// The event as news of messages.
fn mail(event: &Event) -> Option<Mail> {
    match event {
        Event::ServerAck(ack) if ack.class.as_deref().is_none_or(|class| class == "message") => {
            let id = MessageId::from_wire(ack.id.as_str());
            let tick = match ack.error.as_deref() {
                None => Tick::Accepted {
                    id,
                    at: ack
                        .timestamp
                        .map_or_else(clock::now, |at| Timestamp::from_millis(at.timestamp_millis())),
                },
                Some(code) => Tick::Failed {
                    id,
                    failure: delivery::refusal(code)?,
                },
            };
            Some(Mail::Tick(tick))
        }
        Event::Receipt(receipt) => receipt_mail(receipt),
        Event::Messages(batch) if !batch.hook_committed => Some(Mail::Uncommitted(batch.messages.clone())),
        Event::UndecryptableMessage(message) => Some(Mail::Undecryptable(message.info.clone())),
        _ => None,
    }
}

fn receipt_mail(receipt: &Receipt) -> Option<Mail> {
    let state = match receipt.r#type {
        // "inactive" is a delivery to a client that is not in the foreground.
        ReceiptType::Delivered | ReceiptType::Inactive => OutboundState::Delivered,
        ReceiptType::Read => OutboundState::Read,
        ReceiptType::Played => OutboundState::Played,
        _ => return None,
    };
    Some(Mail::Receipt {
        ids: receipt
            .message_ids
            .iter()
            .map(|id| MessageId::from_wire(id.as_str()))
            .collect(),
        state,
        chat: from_jid(&receipt.source.chat)?,
        sender: receipt.source.sender.clone(),
        at: Timestamp::from_millis(receipt.timestamp.timestamp_millis()),
    })
}
