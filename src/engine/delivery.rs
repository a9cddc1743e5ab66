//! What became of the messages we sent: acknowledgements, refusals and ticks.
//!
//! Many of them arrive together, so they are settled in batches: one transaction for whatever is waiting. States only
//! move forward, and every state in between is told, so that `sent` precedes `delivered` precedes `read` even when a
//! receipt overtakes the acknowledgement.

use std::collections::HashMap;

use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::event::{Chat, Event, EventBody, Failure, Origin};
use crate::domain::id::InstanceId;
use crate::domain::message::{MessageId, Outbound, OutboundState};
use crate::store::{Tx, WriteError};

use super::translate::address::short;

/// Something that WhatsApp told about a message of ours.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Tick {
    /// The server took it.
    Accepted {
        /// Which.
        id: MessageId,
        /// When.
        at: Timestamp,
    },
    /// It will never be sent.
    Failed {
        /// Which.
        id: MessageId,
        /// Why.
        failure: Failure,
    },
    /// It reached somebody, or was read or played.
    Reached {
        /// Which.
        id: MessageId,
        /// How far it came.
        state: OutboundState,
        /// Which member of a group, for group messages.
        participant: Option<Address>,
        /// When.
        at: Timestamp,
    },
}

impl Tick {
    /// The message it is about.
    pub const fn id(&self) -> &MessageId {
        match self {
            Tick::Accepted { id, .. } | Tick::Failed { id, .. } | Tick::Reached { id, .. } => id,
        }
    }
}

/// What is known beside the store when ticks are settled.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// How often each was written to the socket.
    pub attempts: HashMap<MessageId, u32>,
    /// The phone number behind a hidden-number id, where it is known.
    pub phones: HashMap<Address, Address>,
}

/// Settles ticks in their order; answers how many messages were acknowledged. Unknown messages are not ours: skipped.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    ticks: &[Tick],
    known: &Known,
    now: Timestamp,
) -> Result<u64, WriteError> {
    let mut accepted = 0;
    for tick in ticks {
        let Some(mut row) = tx.outbound(instance, tick.id())? else {
            continue;
        };
        let events = advance(&mut row, tick, known, now);
        if events.is_empty() {
            continue;
        }
        tx.put_outbound(&row)?;
        for body in events {
            accepted += u64::from(matches!(body, EventBody::MessageSent { .. }));
            let event = Event {
                instance_id: instance,
                occurred_at: now,
                body,
            };
            tx.append_event_of(&event, row.request_id)?;
        }
    }
    Ok(accepted)
}

/// Moves a row forward and answers what is to be told; nothing when the tick is old news.
fn advance(row: &mut Outbound, tick: &Tick, known: &Known, now: Timestamp) -> Vec<EventBody> {
    let mut events = Vec::new();
    let chat = known.phones.get(&row.to).unwrap_or(&row.to).clone();
    let to = short(&chat);
    match tick {
        Tick::Failed { failure, .. } => {
            if row.state.advances_to(OutboundState::Failed) {
                row.state = OutboundState::Failed;
                row.error = Some(failure.clone());
                events.push(EventBody::MessageFailed {
                    message_id: row.message_id.clone(),
                    to,
                    client_ref: row.client_ref.clone(),
                    error: failure.clone(),
                });
            }
        }
        Tick::Accepted { at, .. } => step_to(row, OutboundState::Sent, *at, None, &to, &chat, &mut events),
        Tick::Reached {
            state, participant, at, ..
        } => {
            for step in [
                OutboundState::Sent,
                OutboundState::Delivered,
                OutboundState::Read,
                OutboundState::Played,
            ] {
                if step <= *state {
                    step_to(row, step, *at, participant.as_ref(), &to, &chat, &mut events);
                }
            }
        }
    }
    if !events.is_empty() {
        row.due_at = None;
        row.body = None;
        row.updated_at = now;
        if let Some(attempts) = known.attempts.get(&row.message_id) {
            row.attempts = *attempts;
        }
    }
    events
}

/// One step forward, told once.
fn step_to(
    row: &mut Outbound,
    state: OutboundState,
    timestamp: Timestamp,
    participant: Option<&Address>,
    to: &str,
    chat: &Address,
    events: &mut Vec<EventBody>,
) {
    if !row.state.advances_to(state) {
        return;
    }
    row.state = state;
    let (message_id, to, participant) = (row.message_id.clone(), to.to_owned(), participant.cloned());
    events.push(match state {
        OutboundState::Delivered => EventBody::MessageDelivered {
            message_id,
            to,
            participant,
            timestamp,
        },
        OutboundState::Read => EventBody::MessageRead {
            message_id,
            to,
            participant,
            timestamp,
        },
        OutboundState::Played => EventBody::MessagePlayed {
            message_id,
            to,
            participant,
            timestamp,
        },
        OutboundState::Queued | OutboundState::Sent | OutboundState::Failed => EventBody::MessageSent {
            message_id,
            to,
            chat: Chat::at(chat.clone()),
            client_ref: row.client_ref.clone(),
            timestamp,
            origin: Origin::Api,
            body: None,
        },
    });
}

/// What a refusal of WhatsApp means; `None` for codes that pass by themselves, after which the message is sent again.
pub(super) fn refusal(code: &str) -> Option<Failure> {
    let message = match code {
        "429" | "500" | "503" => return None,
        "401" | "403" => "WhatsApp does not allow this account to write to this chat.",
        "404" => "WhatsApp does not know this chat or recipient.",
        "463" => {
            "WhatsApp limits this account from writing to people it does not know yet. Let the recipient write first, and wait before trying again."
        }
        "475" => "WhatsApp does not accept messages of this account at the moment. Check the account on the phone.",
        "479" => "WhatsApp refused the message as malformed. Please report it with the message id.",
        _ => "WhatsApp refused the message.",
    };
    Some(Failure {
        code: code.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::Body;

    fn row() -> Outbound {
        Outbound {
            message_id: MessageId::from_wire("3EB0AA"),
            instance_id: InstanceId::from_u128(1),
            to: Address::parse("5511999990001").unwrap(),
            body: Some(Body::Text { text: "hi".into() }),
            reply_to: None,
            mentions: Vec::new(),
            client_ref: Some("ref".into()),
            request_id: None,
            state: OutboundState::Queued,
            attempts: 0,
            sequence: 1,
            due_at: Some(Timestamp::EPOCH),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            error: None,
        }
    }

    fn reached(state: OutboundState) -> Tick {
        Tick::Reached {
            id: MessageId::from_wire("3EB0AA"),
            state,
            participant: None,
            at: Timestamp::from_seconds(9),
        }
    }

    fn accepted() -> Tick {
        Tick::Accepted {
            id: MessageId::from_wire("3EB0AA"),
            at: Timestamp::from_seconds(8),
        }
    }

    fn told(row: &mut Outbound, tick: &Tick) -> Vec<&'static str> {
        advance(row, tick, &Known::default(), Timestamp::from_seconds(10))
            .iter()
            .map(|event| event.name().as_str())
            .collect()
    }

    #[test]
    fn each_state_is_told_once_and_in_order() {
        let mut row = row();
        assert_eq!(told(&mut row, &accepted()), ["message.sent"]);
        assert_eq!((row.due_at, row.body.clone()), (None, None));
        assert_eq!(
            told(&mut row, &reached(OutboundState::Delivered)),
            ["message.delivered"]
        );
        assert_eq!(told(&mut row, &reached(OutboundState::Read)), ["message.read"]);
        for tick in [
            accepted(),
            reached(OutboundState::Delivered),
            reached(OutboundState::Read),
        ] {
            assert!(told(&mut row, &tick).is_empty());
        }
    }

    #[test]
    fn a_receipt_that_overtakes_the_acknowledgement_tells_sent_first() {
        let mut row = row();
        assert_eq!(
            told(&mut row, &reached(OutboundState::Read)),
            ["message.sent", "message.delivered", "message.read"]
        );
        assert!(told(&mut row, &accepted()).is_empty());
        assert_eq!(row.due_at, None);
    }

    #[test]
    fn a_failure_is_final() {
        let mut row = row();
        let failed = Tick::Failed {
            id: row.message_id.clone(),
            failure: refusal("463").unwrap(),
        };
        assert_eq!(told(&mut row, &failed), ["message.failed"]);
        assert!(told(&mut row, &accepted()).is_empty());
        assert!(told(&mut row, &reached(OutboundState::Delivered)).is_empty());
        assert_eq!(row.error.unwrap().code, "463");
    }

    #[test]
    fn a_message_to_a_hidden_number_is_told_under_the_phone_number() {
        let mut row = row();
        row.to = Address::lid("100000012345678");
        let known = Known {
            phones: HashMap::from([(row.to.clone(), Address::parse("5511999990001").unwrap())]),
            ..Known::default()
        };
        let events = advance(&mut row, &accepted(), &known, Timestamp::EPOCH);
        assert!(
            matches!(&events[0], EventBody::MessageSent { to, chat, .. } if to == "5511999990001" && chat.jid.phone_number().is_some())
        );
    }

    #[test]
    fn passing_refusals_are_no_failures() {
        assert_eq!(refusal("503"), None);
        assert_eq!(refusal("479").unwrap().code, "479");
    }
}
