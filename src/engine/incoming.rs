//! What comes in: commit first, then let WhatsApp know.
//!
//! Messages come through the library's durability hook: it acknowledges them to WhatsApp only after [`Inbox`] has
//! committed them together with their events. A message that comes twice is told once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use whatsapp_rust::prelude::{Client, MessageInfo};
use whatsapp_rust::{InboundDurabilityHook, Jid};

use super::board::Board;
use super::translate::address::{from_jid, short};
use super::translate::body::{Content, Said, said};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::event::{Chat, Event, EventBody, Origin, Sender};
use crate::domain::id::InstanceId;
use crate::domain::message::MessageId;
use crate::store::{InboundKey, Store, WriteError};
use crate::sys::clock;

pub(super) use whatsapp_rust::types::durability_hook::InboundMessage;

/// A person under both names, as far as they are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Person {
    /// By phone number when known.
    pub preferred: Address,
    /// The hidden-number id.
    pub lid: Option<Address>,
}

/// Finds out who is behind a JID: hidden-number ids are merged with the phone number, so that a chat is never split.
pub(super) async fn person(client: &Client, jid: &Jid, other_name: Option<&Jid>) -> Option<Person> {
    let own = from_jid(jid)?;
    let other = other_name.and_then(from_jid);
    let names = [Some(own.clone()), other];
    let mut phone = names
        .iter()
        .flatten()
        .find(|name| name.phone_number().is_some())
        .cloned();
    let mut lid = names.iter().flatten().find(|name| is_lid(name)).cloned();
    if (phone.is_none() || lid.is_none())
        && let Ok(Some(entry)) = client.get_lid_pn_entry(&jid.to_non_ad()).await
    {
        phone = phone.or_else(|| Address::phone(&entry.phone_number).ok());
        lid = lid.or_else(|| Address::parse(&format!("{}@lid", entry.lid)).ok());
    }
    Some(Person {
        preferred: phone.unwrap_or(own),
        lid,
    })
}

fn is_lid(address: &Address) -> bool {
    address.server() == crate::domain::address::Server::Lid
}

/// The phone number behind an address, when that is a hidden-number id and known.
pub(super) async fn phone_behind(client: &Client, address: &Address) -> Option<Address> {
    if !is_lid(address) {
        return None;
    }
    let jid = super::translate::address::to_jid(address);
    let entry = client.get_lid_pn_entry(&jid).await.ok().flatten()?;
    Address::phone(&entry.phone_number).ok()
}

/// Where a message belongs and who wrote it.
struct Place {
    chat: Address,
    sender: Person,
    is_group: bool,
}

async fn place(client: &Client, info: &MessageInfo) -> Option<Place> {
    let source = &info.source;
    let sender = person(client, &source.sender, source.sender_alt.as_ref()).await?;
    let chat = from_jid(&source.chat)?;
    let chat = match chat.chat_type() {
        crate::domain::address::ChatType::Direct if source.is_from_me => {
            let other = source.recipient_alt.as_ref().or(info.peer_recipient_pn.as_ref());
            person(client, &source.chat, other).await?.preferred
        }
        crate::domain::address::ChatType::Direct => sender.preferred.clone(),
        _ => chat,
    };
    Some(Place {
        is_group: chat.chat_type() == crate::domain::address::ChatType::Group,
        chat,
        sender,
    })
}

impl Place {
    fn sender(&self, info: &MessageInfo) -> Sender {
        Sender {
            jid: self.sender.preferred.clone(),
            phone: self.sender.preferred.phone_number().map(str::to_owned),
            lid: self.sender.lid.clone(),
            name: name(info),
        }
    }
}

fn name(info: &MessageInfo) -> Option<String> {
    Some(info.push_name.clone()).filter(|name| !name.is_empty())
}

fn sent_at(info: &MessageInfo) -> Timestamp {
    Timestamp::from_millis(info.timestamp.timestamp_millis())
}

/// An inbound message, ready to be stored.
struct Arrival {
    key: InboundKey,
    body: EventBody,
    received: bool,
    /// The message that somebody else than this account's owner claims to have changed, and may only if it is theirs.
    claims: Option<MessageId>,
}

/// Translates one message; `None` for what says nothing to a person.
async fn arrival(client: &Client, message: &InboundMessage, now: Timestamp) -> Option<Arrival> {
    let info = &message.info;
    let said = said(&message.message)?;
    let Some(place) = place(client, info).await else {
        tracing::debug!(message.id = %info.id, "a message from an address without a name in the product is left out");
        return None;
    };
    let key = InboundKey {
        chat: place.chat.to_string(),
        sender: place.sender.preferred.to_string(),
        message_id: MessageId::from_wire(info.id.as_str()),
    };
    let own = info.source.is_from_me;
    let claims = match &said {
        Said::Edit { of, .. } if !own => Some(of.clone()),
        // In a group an admin may take back what others wrote.
        Said::Revoke { of } if !own && !place.is_group => Some(of.clone()),
        _ => None,
    };
    let received = matches!(said, Said::New(_)) && !own;
    let body = match said {
        Said::New(content) => fresh(client, info, place, content, now).await,
        Said::Reaction { to, emoji } => EventBody::MessageReaction {
            message_id: to,
            emoji,
            from: short(&place.sender.preferred),
            sender: place.sender(info),
            chat: Chat::at(place.chat),
            timestamp: sent_at(info),
        },
        Said::Edit { of, content } => EventBody::MessageEdited {
            message_id: of,
            from: short(&place.sender.preferred),
            sender: place.sender(info),
            chat: Chat::at(place.chat),
            body: content.body,
            timestamp: sent_at(info),
            mentions: by_number(client, content.mentions).await,
        },
        Said::Revoke { of } => EventBody::MessageRevoked {
            message_id: of,
            from: short(&place.sender.preferred),
            sender: place.sender(info),
            chat: Chat::at(place.chat),
            timestamp: sent_at(info),
        },
    };
    Some(Arrival {
        key,
        body,
        received,
        claims,
    })
}

/// The event of a message that stands for itself.
async fn fresh(client: &Client, info: &MessageInfo, place: Place, content: Content, now: Timestamp) -> EventBody {
    let message_id = MessageId::from_wire(info.id.as_str());
    let Content {
        body,
        reply_to,
        mentions,
    } = content;
    if info.source.is_from_me {
        return EventBody::MessageSent {
            message_id,
            to: short(&place.chat),
            chat: Chat::at(place.chat),
            client_ref: None,
            timestamp: sent_at(info),
            origin: Origin::Device,
            body: Some(body),
        };
    }
    EventBody::MessageReceived {
        message_id,
        from: short(&place.sender.preferred),
        sender: place.sender(info),
        chat: Chat::at(place.chat),
        push_name: name(info),
        is_group: place.is_group,
        body,
        received_at: now,
        timestamp: sent_at(info),
        reply_to,
        mentions: by_number(client, mentions).await,
    }
}

async fn by_number(client: &Client, mentions: Vec<Address>) -> Vec<Address> {
    let mut canonical = Vec::with_capacity(mentions.len());
    for mention in mentions {
        canonical.push(phone_behind(client, &mention).await.unwrap_or(mention));
    }
    canonical
}

/// Stores what comes in for one instance.
#[derive(Clone)]
pub(super) struct Inbox {
    store: Store,
    instance: InstanceId,
    board: Arc<Board>,
}

impl Inbox {
    /// The inbox of an instance.
    pub fn new(store: Store, instance: InstanceId, board: Arc<Board>) -> Self {
        Self { store, instance, board }
    }

    /// Commits messages and their events; what was stored before is left out.
    pub async fn commit(&self, client: &Client, batch: &[InboundMessage]) -> Result<(), WriteError> {
        let now = clock::now();
        let mut arrivals = Vec::with_capacity(batch.len());
        for message in batch {
            arrivals.extend(arrival(client, message, now).await);
        }
        if arrivals.is_empty() {
            return Ok(());
        }
        let instance = self.instance;
        let received = self
            .store
            .write(move |tx| {
                let mut received = 0;
                for arrival in &arrivals {
                    if tx.note_inbound(instance, &arrival.key, now)? {
                        continue;
                    }
                    // No honest app changes what another account wrote; phones ignore it too.
                    if let Some(id) = &arrival.claims
                        && tx.outbound(instance, id)?.is_some()
                    {
                        tracing::warn!(message.id = %id, "somebody tried to change a message of this account; ignored");
                        continue;
                    }
                    tx.append_event(&Event {
                        instance_id: instance,
                        occurred_at: now,
                        body: arrival.body.clone(),
                    })?;
                    received += u64::from(arrival.received);
                }
                Ok(received)
            })
            .await?;
        self.board.received.fetch_add(received, Ordering::Relaxed);
        Ok(())
    }

    /// Tells that a message came that cannot be read.
    pub async fn undecryptable(&self, client: &Client, info: &MessageInfo) -> Result<(), WriteError> {
        let Some(place) = place(client, info).await else {
            return Ok(());
        };
        if info.source.is_from_me {
            return Ok(());
        }
        let body = EventBody::MessageUndecryptable {
            message_id: MessageId::from_wire(info.id.as_str()),
            from: short(&place.sender.preferred),
            sender: place.sender(info),
            chat: Chat::at(place.chat),
            timestamp: sent_at(info),
        };
        let event = Event {
            instance_id: self.instance,
            occurred_at: clock::now(),
            body,
        };
        self.store.write(move |tx| tx.append_event(&event)).await?;
        Ok(())
    }
}

#[async_trait]
impl InboundDurabilityHook for Inbox {
    async fn on_messages(&self, client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        self.commit(&client, batch).await.map_err(|error| {
            tracing::error!(
                instance.id = %self.instance,
                error = &error as &dyn std::error::Error,
                "incoming messages could not be stored; WhatsApp keeps them and sends them again"
            );
            anyhow::Error::new(error)
        })
    }
}
