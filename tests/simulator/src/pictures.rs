//! Profile pictures: kept by account, fetched over HTTPS by an address that nobody can guess.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::hexadecimal;
use crate::stanza::fresh_id;
use crate::state::{Journal, Records};
use crate::world::World;

/// Where pictures stand in the journal.
const PREFIX: &str = "picture/";
/// Where they stand on the web.
pub(crate) const WEB_FOLDER: &str = "/pp/";
/// The longest picture; clients send squares of 640 pixels.
pub(crate) const LONGEST: usize = 200 * 1024;
/// The first bytes of every JPEG.
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// One account's picture.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// Grows with every change.
    pub(crate) id: u64,
    /// The secret part of its address.
    token: String,
    #[serde(with = "hexadecimal")]
    pub(crate) jpeg: Vec<u8>,
}

/// All pictures by the number of their owner.
#[derive(Default)]
pub(crate) struct Pictures {
    by_owner: BTreeMap<String, Picture>,
}

impl Picture {
    /// Where it stands on a host's web; whoever knows it may see the picture.
    pub(crate) fn path(&self) -> String {
        format!("{WEB_FOLDER}{}.jpg", self.token)
    }
}

impl Pictures {
    /// What a state folder has.
    pub(crate) fn restore(records: &Records) -> Result<Self> {
        let mut pictures = Self::default();
        for (name, value) in records.range(PREFIX.to_owned()..) {
            let Some(owner) = name.strip_prefix(PREFIX) else { break };
            pictures
                .by_owner
                .insert(owner.to_owned(), serde_json::from_slice(value)?);
        }
        Ok(pictures)
    }

    /// Whether this may be a picture: a JPEG of reasonable length.
    pub(crate) fn accepts(bytes: &[u8]) -> bool {
        bytes.starts_with(&JPEG) && bytes.len() <= LONGEST
    }

    /// An account's picture.
    pub(crate) fn of(&self, owner: &str) -> Option<&Picture> {
        self.by_owner.get(owner)
    }

    /// What stands at a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Picture> {
        let token = path.strip_prefix(WEB_FOLDER)?.strip_suffix(".jpg")?;
        self.by_owner.values().find(|picture| picture.token == token)
    }

    fn set(&mut self, owner: &str, jpeg: Option<Vec<u8>>, journal: &mut Journal) -> Result<Option<u64>> {
        let Some(jpeg) = jpeg else {
            self.by_owner.remove(owner);
            journal.delete(format!("{PREFIX}{owner}"));
            return Ok(None);
        };
        let before = self.by_owner.get(owner).map_or(0, |picture| picture.id);
        let picture = Picture {
            id: unix_seconds().max(before + 1),
            token: fresh_id(),
            jpeg,
        };
        let id = picture.id;
        journal.put(format!("{PREFIX}{owner}"), serde_json::to_vec(&picture)?);
        self.by_owner.insert(owner.to_owned(), picture);
        Ok(Some(id))
    }
}

impl World {
    /// An account gets another picture or none; its own clients and those who know it are told. Gives the new id.
    pub(crate) fn changes_picture(
        &mut self,
        number: &str,
        jpeg: Option<Vec<u8>>,
        by: Option<&DeviceAddress>,
    ) -> Result<Option<u64>> {
        let had_one = self.pictures.of(number).is_some();
        let id = self.pictures.set(number, jpeg, &mut self.journal)?;
        let tell = |own: String| {
            let change = match id {
                Some(id) => NodeBuilder::new("set").attr("id", id),
                None => NodeBuilder::new("delete"),
            };
            change.attr("jid", own.as_str()).attr("author", own).build()
        };
        if id.is_some() || had_one {
            self.tell_who_knows(number, "picture", "profile", by, |own| vec![tell(own)])?;
        }
        Ok(id)
    }

    /// Tells an account's own clients and those of everybody who knows it, and may see it, of a change.
    pub(crate) fn tell_who_knows(
        &mut self,
        number: &str,
        kind: &'static str,
        category: &str,
        by: Option<&DeviceAddress>,
        children: impl Fn(String) -> Vec<Node>,
    ) -> Result<()> {
        let Some(account) = self.accounts.get(number) else {
            return Ok(());
        };
        let own = account.jid(Form::Number);
        let notification = NodeBuilder::new("notification")
            .attr("from", own.clone())
            .attr("type", kind)
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .attr("notify", account.phone.push_name.as_str())
            .children(children(own.to_string()))
            .build();
        let told: Vec<String> = self
            .accounts
            .iter()
            .filter(|other| other.number == number || other.phone.knows(number))
            .map(|other| other.number.clone())
            .filter(|other| self.may_see(category, number, other))
            .collect();
        for other in told {
            self.deliver_to_companions(&other, by, &notification)?;
        }
        Ok(())
    }
}
