//! Sending, and asking what became of it.
//!
//! Accepted means stored: the outbox row, with WhatsApp's id already chosen, and the remembered answer to the request
//! are one transaction. The answer is `queued` because that is what is true then; `message.sent` tells the rest.

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::App;
use super::instances;
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::address::Address;
use crate::domain::error::{Code, Error};
use crate::domain::event::Failure;
use crate::domain::id::{InstanceId, RequestId};
use crate::domain::instance::{Instance, Status};
use crate::domain::message::{Body, MessageId, Outbound, OutboundState};
use crate::store::{Remembered, Tx, WriteError};
use crate::sys::clock;

/// Longest `client_ref`, in characters.
pub const CLIENT_REF_CHARACTERS: usize = 128;

/// Longest `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// The most people one message may mention.
pub const MENTIONS: usize = 1_024;

/// A message that is wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// To whom.
    pub to: Address,
    /// What it says.
    pub body: Body,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// Who is mentioned.
    pub mentions: Vec<Address>,
    /// The caller's own reference; the same one within 24 hours is the same message.
    pub client_ref: Option<String>,
    /// The request's own key; the same one within 24 hours is the same request.
    pub idempotency_key: Option<String>,
}

impl Draft {
    /// What the request means, so that a repeat can be told from another request under the same key.
    fn meaning(&self) -> Result<String, Error> {
        let meaning = (&self.to, &self.body, &self.reply_to, &self.mentions, &self.client_ref);
        let json = serde_json::to_vec(&meaning).map_err(Error::internal)?;
        Ok(hex::encode(Sha256::digest(json)))
    }

    /// The names under which the answer is remembered; the two kinds cannot meet.
    fn memory_keys(&self) -> Vec<String> {
        let reference = self.client_ref.iter().map(|text| format!("ref:{text}"));
        let key = self.idempotency_key.iter().map(|text| format!("key:{text}"));
        reference.chain(key).collect()
    }
}

/// The answer to an accepted message.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedMessage")]
pub struct Accepted {
    /// WhatsApp's id, fixed now: every later event about the message carries it.
    pub message_id: MessageId,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// `queued`: stored, on its way, or waiting for the connection with `send_while_disconnected: "queue"`. The event
    /// `message.sent` follows, or `message.failed`.
    pub status: OutboundState,
}

/// An outbound message as callers see it: its state, not its contents.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "OutboundMessage")]
pub struct Shown {
    /// WhatsApp's id.
    pub message_id: MessageId,
    /// Sent by.
    pub instance_id: InstanceId,
    /// Sent to.
    pub to: Address,
    /// The caller's own reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ref: Option<String>,
    /// How far it has come.
    pub status: OutboundState,
    /// How often it was handed to WhatsApp.
    pub attempts: u32,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// Accepts a message: when this answers, it is on disk and will be sent once, whatever happens to the process.
pub async fn send(
    app: &App,
    caller: &Caller,
    instance: InstanceId,
    draft: Draft,
    request: RequestId,
) -> Result<Accepted, Error> {
    caller.require(Scope::MessagesSend)?;
    caller.require_instance(instance)?;
    let now = clock::now();
    let memory = draft.memory_keys();
    let request_hash = draft.meaning()?;
    let client_ref = draft.client_ref.clone();
    let remembered = Remembered {
        request_hash,
        // Chosen here and not in the transaction, which may run more than once.
        message_id: MessageId::choose(),
        created_at: now,
    };
    let row = Outbound {
        message_id: remembered.message_id.clone(),
        instance_id: instance,
        to: draft.to,
        body: Some(draft.body),
        reply_to: draft.reply_to,
        mentions: draft.mentions,
        client_ref: draft.client_ref,
        request_id: Some(request),
        state: OutboundState::Queued,
        attempts: 0,
        sequence: 0,
        due_at: Some(now),
        created_at: now,
        updated_at: now,
        error: None,
    };
    let (message_id, fresh) = app
        .store
        .write(move |tx| {
            let instance = instances::existing(tx.instance(instance)?)?;
            if let Some(first) = first_answer(tx, instance.id, &memory, &remembered)? {
                return Ok((first, false));
            }
            if !instance.takes_messages() {
                return Err(not_connected(&instance).into());
            }
            tx.insert_outbound(&mut row.clone())?;
            for key in &memory {
                tx.remember(instance.id, key, &remembered)?;
            }
            Ok((remembered.message_id.clone(), true))
        })
        .await?;
    if fresh {
        app.engine.wake(instance);
    }
    Ok(Accepted {
        message_id,
        client_ref,
        status: OutboundState::Queued,
    })
}

/// The message that an earlier request under one of these keys made, if there was one and it meant the same.
fn first_answer(
    tx: &Tx<'_>,
    instance: InstanceId,
    memory: &[String],
    wanted: &Remembered,
) -> Result<Option<MessageId>, WriteError> {
    let mut first = None;
    for key in memory {
        let Some(known) = tx.remembered(instance, key, wanted.created_at)? else {
            continue;
        };
        if known.request_hash != wanted.request_hash {
            return Err(Error::new(
                Code::IdempotencyConflict,
                "This client_ref or Idempotency-Key was used within 24 hours for another request. Use a fresh one.",
            )
            .with_details(serde_json::json!({ "message_id": known.message_id }))
            .into());
        }
        first.get_or_insert(known.message_id);
    }
    Ok(first)
}

fn not_connected(instance: &Instance) -> Error {
    let status = instance.status;
    let next = match status {
        Status::Pending | Status::Qr => "Link it first: GET …/qr and scan the code with the phone.",
        Status::Connecting => "It is connecting: wait for the event instance.connected.",
        Status::Disconnected => "Wait for the event instance.connected, or POST …/connect when it was stopped.",
        Status::Failed => "It needs a person: its status_reason says why.",
        Status::Connected => "",
    };
    let or_wait = match status {
        Status::Connecting | Status::Disconnected => {
            " With the setting send_while_disconnected: \"queue\" messages wait instead."
        }
        _ => "",
    };
    Error::new(
        Code::NotConnected,
        format!(
            "This instance is {}, so nothing was sent. {next}{or_wait}",
            status.as_str()
        ),
    )
    .with_details(serde_json::json!({ "status": status }))
}

/// What became of an outbound message.
pub fn get(app: &App, caller: &Caller, instance: InstanceId, id: &MessageId) -> Result<Shown, Error> {
    caller.require(Scope::MessagesRead)?;
    instances::visible(app, caller, instance)?;
    let message = app.store.read(|view| view.outbound(instance, id))?.ok_or_else(|| {
        Error::new(
            Code::MessageNotFound,
            "This instance sent no message with this id through the API, or it was long ago.",
        )
    })?;
    Ok(Shown {
        message_id: message.message_id,
        instance_id: message.instance_id,
        to: message.to,
        client_ref: message.client_ref,
        status: message.state,
        attempts: message.attempts,
        error: message.error,
        created_at: message.created_at,
        updated_at: message.updated_at,
    })
}
