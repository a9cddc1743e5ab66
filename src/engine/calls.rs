//! Calls that ring: told as events, and rejected where the owner wants that.
//!
//! The library tells of a call once and keeps nothing of it, so each is told at most once. Media does not concern us.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use whatsapp_rust::Jid;
use whatsapp_rust::prelude::{Client, Event as WireEvent};
use whatsapp_rust::types::call::{CallAction, IncomingCall};

use super::incoming::person;
use crate::domain::Timestamp;
use crate::domain::event::{CallEnd, EventBody};
use crate::domain::id::InstanceId;
use crate::store::{ReadError, Store};
use crate::sys::clock;

/// How many calls are remembered as told.
const REMEMBERED: usize = 128;

/// What was heard of a call.
#[derive(Debug)]
pub(super) struct Heard {
    call_id: String,
    /// Who calls.
    caller: Jid,
    /// The caller's other name, if it was told.
    caller_pn: Option<Jid>,
    at: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Rings {
        video: bool,
        group: bool,
        /// What a rejection is addressed by; a group's call is not for us to reject.
        offer: Option<Box<IncomingCall>>,
    },
    Ends(CallEnd),
}

/// Reads the library's event.
pub(super) fn heard(event: &WireEvent) -> Option<Heard> {
    let call = match event {
        WireEvent::IncomingCall(call) => call,
        WireEvent::MissedCall(missed) => {
            return Some(Heard {
                call_id: missed.call_id.clone(),
                caller: missed.from.clone(),
                caller_pn: None,
                at: Timestamp::from_millis(missed.timestamp.timestamp_millis()),
                what: What::Ends(CallEnd::Missed),
            });
        }
        _ => return None,
    };
    let mut caller_pn = None;
    let what = match &call.action {
        CallAction::Offer {
            is_video,
            group_jid,
            caller_pn: number,
            ..
        } => {
            caller_pn.clone_from(number);
            let group = group_jid.is_some();
            What::Rings {
                video: *is_video,
                group,
                offer: (!group).then(|| Box::new(call.clone())),
            }
        }
        CallAction::OfferNotice { is_video, is_group, .. } => What::Rings {
            video: *is_video,
            group: *is_group,
            offer: None,
        },
        CallAction::Terminate { reason, .. } => What::Ends(match reason.as_deref() {
            Some("timeout") => CallEnd::Timeout,
            Some("accepted_elsewhere") => CallEnd::AcceptedElsewhere,
            Some("rejected_elsewhere") => CallEnd::RejectedElsewhere,
            _ => CallEnd::HungUp,
        }),
        _ => return None,
    };
    Some(Heard {
        call_id: call.action.call_id().to_owned(),
        caller: call.action.call_creator().clone(),
        caller_pn,
        at: Timestamp::from_millis(call.timestamp.timestamp_millis()),
        what,
    })
}

/// Answers the calls of one instance.
pub(super) struct Operator {
    store: Store,
    instance: InstanceId,
    client: Arc<Client>,
    /// Calls that were told, and whether their end was.
    told: Mutex<VecDeque<(String, bool)>>,
}

impl Operator {
    /// Hears the calls of this client.
    pub fn new(store: Store, instance: InstanceId, client: Arc<Client>) -> Self {
        Self {
            store,
            instance,
            client,
            told: Mutex::default(),
        }
    }

    /// Rejects a call that rings if the owner wants that; answers what is to be told.
    pub async fn answer(&self, heard: Heard) -> Result<Vec<EventBody>, ReadError> {
        let Some(person) = person(&self.client, &heard.caller, heard.caller_pn.as_ref()).await else {
            return Ok(Vec::new());
        };
        let own = [self.client.pn(), self.client.lid()];
        if own
            .iter()
            .flatten()
            .any(|own| own.user_base() == heard.caller.user_base())
        {
            return Ok(Vec::new());
        }
        let (call_id, sender) = (heard.call_id, person.named(None));
        let from = super::translate::address::short(&sender.jid);
        let mut events = Vec::new();
        let ended = |reason, timestamp| EventBody::CallEnded {
            call_id: call_id.clone(),
            from: from.clone(),
            sender: sender.clone(),
            reason,
            timestamp,
        };
        match heard.what {
            What::Rings { video, group, offer } => {
                if self.is_old_news(&call_id, false) {
                    return Ok(Vec::new());
                }
                let rejected = match offer {
                    Some(offer) if self.wants_no_calls()? => self.reject(&offer).await,
                    _ => false,
                };
                let end = rejected.then(|| ended(CallEnd::Rejected, clock::now()));
                if rejected {
                    self.is_old_news(&call_id, true);
                }
                events.push(EventBody::CallOffered {
                    call_id,
                    from,
                    sender,
                    video,
                    group,
                    timestamp: heard.at,
                });
                events.extend(end);
            }
            What::Ends(reason) => {
                if !self.is_old_news(&call_id, true) {
                    events.push(ended(reason, heard.at));
                }
            }
        }
        Ok(events)
    }

    fn wants_no_calls(&self) -> Result<bool, ReadError> {
        let instance = self.store.read(|view| view.instance(self.instance))?;
        Ok(instance.is_some_and(|instance| instance.settings.reject_calls.unwrap_or_default()))
    }

    async fn reject(&self, offer: &IncomingCall) -> bool {
        match self.client.voip().reject(offer).await {
            Ok(()) => {
                tracing::info!(instance.id = %self.instance, "a call was rejected, as the settings want it");
                true
            }
            Err(error) => {
                tracing::warn!(instance.id = %self.instance, reason = %error, "a call could not be rejected; it rings on");
                false
            }
        }
    }

    /// Whether the offer or the end of a call was told before; notes that it is.
    fn is_old_news(&self, call_id: &str, end: bool) -> bool {
        // A list of plain values cannot be left half done by a panic.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ended)) = told.iter_mut().find(|(id, _)| id == call_id) {
            return std::mem::replace(ended, *ended || end) || !end;
        }
        if told.len() >= REMEMBERED {
            told.pop_front();
        }
        told.push_back((call_id.to_owned(), end));
        false
    }
}
