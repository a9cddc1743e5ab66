//! Sent messages that whatsapp-rust does not get to see for a while, because somebody else answers for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SessionStore;

/// How many holds there are on each message.
#[derive(Clone, Default)]
pub(super) struct Withheld(Arc<Mutex<HashMap<String, usize>>>);

impl Withheld {
    fn all(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as this lives, a message is withheld.
pub struct Hold {
    withheld: Withheld,
    message_id: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.withheld.all();
        if let Some(holds) = all.get_mut(&self.message_id) {
            *holds -= 1;
            if *holds == 0 {
                all.remove(&self.message_id);
            }
        }
    }
}

impl SessionStore {
    /// From now on whatsapp-rust finds no such message when it is asked to send it again.
    pub fn withhold(&self, message_id: &str) -> Hold {
        *self.withheld.all().entry(message_id.to_owned()).or_default() += 1;
        Hold {
            withheld: self.withheld.clone(),
            message_id: message_id.to_owned(),
        }
    }

    /// Whether somebody else answers for a message.
    pub fn is_withheld(&self, message_id: &str) -> bool {
        self.withheld.all().contains_key(message_id)
    }
}
