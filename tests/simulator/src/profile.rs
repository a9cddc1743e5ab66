//! What an account shows of itself and to whom: about text, privacy, blocklist, last seen, business card.
//!
//! Kept in a record of its own, so that a changed setting does not rewrite the account's keys.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::account::{Account, key};
use crate::hexadecimal;
use crate::state::Journal;
use crate::world::World;

/// Every privacy category with what a fresh account has, and the values it accepts. The first value is the default.
///
/// The values are those that whatsapp-rust `wacore/iq/privacy` takes from WhatsApp Web.
pub(crate) const CATEGORIES: [(&str, &[&str]); 9] = [
    ("readreceipts", &["all", "none"]),
    ("last", &["all", "contacts", "contact_blacklist", "none"]),
    ("online", &["all", "match_last_seen"]),
    ("profile", &["all", "contacts", "contact_blacklist", "none"]),
    ("status", &["all", "contacts", "contact_blacklist", "none"]),
    ("groupadd", &["all", "contacts", "contact_blacklist", "none"]),
    ("calladd", &["all", "known", "contacts"]),
    ("messages", &["all", "contacts"]),
    ("defense", &["off", "on_standard"]),
];

/// The settings and the public face of one account.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Profile {
    /// The line under the name.
    pub(crate) about: About,
    /// Privacy categories that are not as in a fresh account.
    privacy: BTreeMap<String, String>,
    /// Who is excepted, by category; matters while the category is `contact_blacklist`.
    excepted: BTreeMap<String, BTreeSet<String>>,
    /// Blocked numbers with the second they were blocked.
    blocked: BTreeMap<String, u64>,
    /// The timer for new chats.
    pub(crate) disappearing: Disappearing,
    /// Set on business accounts.
    pub(crate) business: Option<Business>,
    /// When somebody at the account last looked at a screen.
    pub(crate) last_seen: Option<u64>,
    /// Whether the phone's owner looks at it; `None` until the owner (an admin call) has said so.
    pub(crate) phone_available: Option<bool>,
    /// Whose presence the phone wants to know.
    pub(crate) phone_subscriptions: BTreeSet<String>,
    /// Trusted-contact tokens that others gave to this account, by their number.
    pub(crate) tokens: BTreeMap<String, Token>,
    /// Email address of the account.
    pub(crate) email: Option<String>,
}

/// The line under an account's name.
#[derive(Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) text: String,
    pub(crate) at: u64,
}

impl Default for About {
    fn default() -> Self {
        Self {
            text: "Hey there! I am using WhatsApp.".to_owned(),
            at: 0,
        }
    }
}

/// The timer for new chats; zero seconds is off.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Disappearing {
    pub(crate) seconds: u32,
    pub(crate) at: u64,
}

/// A business account's card.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Business {
    /// The verified name; the phone's push name where none is given.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) address: String,
    pub(crate) email: String,
    pub(crate) websites: Vec<String>,
    pub(crate) category: String,
}

/// Proof that its owner has talked to the account that holds it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    #[serde(with = "hexadecimal")]
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: u64,
}

impl Profile {
    /// The value of a privacy category; `None` if there is no such category.
    pub(crate) fn privacy(&self, category: &str) -> Option<&str> {
        let (_, values) = CATEGORIES.iter().find(|(name, _)| *name == category)?;
        Some(self.privacy.get(category).map_or(values[0], String::as_str))
    }

    /// Changes a privacy category; `false` if it does not take that value.
    pub(crate) fn set_privacy(&mut self, category: &str, value: &str) -> bool {
        let known = CATEGORIES
            .iter()
            .any(|(name, values)| *name == category && values.contains(&value));
        if known {
            self.privacy.insert(category.to_owned(), value.to_owned());
        }
        known
    }

    /// Whom a category excepts.
    pub(crate) fn excepted(&self, category: &str) -> impl Iterator<Item = &str> {
        self.excepted.get(category).into_iter().flatten().map(String::as_str)
    }

    /// Adds an exception to a category, or takes it away.
    pub(crate) fn except(&mut self, category: &str, number: &str, add: bool) {
        let excepted = self.excepted.entry(category.to_owned()).or_default();
        if add {
            excepted.insert(number.to_owned());
        } else {
            excepted.remove(number);
        }
    }

    /// Whether a number is blocked.
    pub(crate) fn has_blocked(&self, number: &str) -> bool {
        self.blocked.contains_key(number)
    }

    /// All blocked numbers with their time.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = (&str, u64)> {
        self.blocked.iter().map(|(number, at)| (number.as_str(), *at))
    }

    /// Blocks a number or takes that back; `false` when that changes nothing.
    pub(crate) fn set_blocked(&mut self, number: &str, block: bool, at: u64) -> bool {
        if block {
            !self.has_blocked(number) && self.blocked.insert(number.to_owned(), at).is_none()
        } else {
            self.blocked.remove(number).is_some()
        }
    }

    /// The hash by which clients see that their copy of the blocklist is the server's.
    pub(crate) fn blocklist_hash(&self) -> String {
        list_hash(self.blocked.keys().map(String::as_str))
    }
}

/// A short hash over a list of numbers; an empty list has the hash `none`.
pub(crate) fn list_hash<'a>(numbers: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    let mut empty = true;
    for number in numbers {
        hash.update(number.as_bytes());
        hash.update([0]);
        empty = false;
    }
    if empty {
        "none".to_owned()
    } else {
        BASE64_STANDARD.encode(&hash.finalize()[..8])
    }
}

impl Account {
    /// Notes the account's profile in the journal.
    pub(crate) fn save_profile(&self, journal: &mut Journal) -> Result<()> {
        journal.put(key::profile(&self.number), serde_json::to_vec(&self.profile)?);
        Ok(())
    }

    /// The name that others see on what one of its devices sends: what that client said of itself, else the phone's.
    pub(crate) fn shown_name(&self, device: u16) -> &str {
        self.companions
            .get(&device)
            .and_then(|companion| companion.record.name.as_deref())
            .unwrap_or(&self.phone.push_name)
    }
}

impl World {
    /// Changes an account's profile and keeps it.
    pub(crate) fn change_profile<T>(&mut self, number: &str, change: impl FnOnce(&mut Profile) -> T) -> Result<T> {
        let account = self.accounts.get_mut(number).context("no such account")?;
        let outcome = change(&mut account.profile);
        account.save_profile(&mut self.journal)?;
        Ok(outcome)
    }

    /// Whether one of two accounts has blocked the other.
    pub(crate) fn are_apart(&self, one: &str, other: &str) -> bool {
        self.has_blocked(one, other) || self.has_blocked(other, one)
    }

    /// Whether an account has blocked another.
    pub(crate) fn has_blocked(&self, number: &str, other: &str) -> bool {
        self.accounts
            .get(number)
            .is_some_and(|account| account.profile.has_blocked(other))
    }

    /// Whether an account's privacy lets another see what a category guards.
    ///
    /// Contacts of a simulated phone are those it knows by name. Who hides when they were last seen does not see it of
    /// others either.
    pub(crate) fn may_see(&self, category: &str, owner: &str, viewer: &str) -> bool {
        if owner == viewer {
            return true;
        }
        if self.are_apart(owner, viewer) {
            return false;
        }
        let (Some(owner), Some(looking)) = (self.accounts.get(owner), self.accounts.get(viewer)) else {
            return false;
        };
        let category = match (category, owner.profile.privacy("online")) {
            ("online", Some("match_last_seen")) => "last",
            _ => category,
        };
        if category == "last" && looking.profile.privacy("last") == Some("none") {
            return false;
        }
        let knows = owner.phone.knows(viewer);
        match owner.profile.privacy(category) {
            Some("all" | "known") => true,
            Some("contacts") => knows,
            Some("contact_blacklist") => knows && !owner.profile.excepted(category).any(|number| number == viewer),
            _ => false,
        }
    }

    /// A phone learns of another account, and its name if it comes with one.
    pub(crate) fn phone_learns(&mut self, number: &str, other: &str, name: Option<&str>) -> Result<()> {
        if number == other {
            return Ok(());
        }
        let account = self.accounts.get_mut(number).context("no such phone")?;
        account.phone.learn(number, other, name, &mut self.journal);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_takes_its_own_values_and_no_others() {
        let mut profile = Profile::default();
        assert_eq!(profile.privacy("last"), Some("all"));
        assert!(!profile.set_privacy("last", "match_last_seen"));
        assert!(profile.set_privacy("last", "none"));
        assert!(!profile.set_privacy("unheard-of", "all"));
        assert_eq!(
            (profile.privacy("last"), profile.privacy("unheard-of")),
            (Some("none"), None)
        );
    }

    #[test]
    fn the_hash_of_a_blocklist_follows_its_content() {
        let mut profile = Profile::default();
        assert_eq!(profile.blocklist_hash(), "none");
        assert!(profile.set_blocked("1", true, 7));
        let one = profile.blocklist_hash();
        assert!(!profile.set_blocked("1", true, 8));
        assert!(profile.set_blocked("2", true, 9));
        assert_ne!(profile.blocklist_hash(), one);
        assert!(profile.set_blocked("2", false, 9));
        assert_eq!(profile.blocklist_hash(), one);
    }
}
