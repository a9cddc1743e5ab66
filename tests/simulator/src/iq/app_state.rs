//! `w:sync:app:state`: clients ask what is new in their collections and hand in patches of their own.
//!
//! Attributes and answers: whatsapp-rust `src/client/app_state.rs` and `wacore-appstate/patch_decode.rs`, Baileys
//! `Socket/chats` (`resyncAppState`, `appPatch`), zapo-js `appstate/WaAppStateSyncClient` and `response-parser`.

use anyhow::{Context as _, Result};
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use super::Answer;
use crate::account::DeviceAddress;
use crate::app_state::{Name, Refused};
use crate::clock::unix_seconds;
use crate::fault::Kind;
use crate::media::Found;
use crate::phone::media::{Medium, seal};
use crate::stanza::{SERVER, Stanza as _, bytes_child, fresh_id};
use crate::stats::count;
use crate::world::World;

/// Patches in one answer; for the rest the client asks again.
const PAGE: usize = 50;
/// Collections that one question may name; there are five.
const MOST_ASKED: usize = 16;

impl World {
    /// What is new in each collection that was asked for, after taking in the client's own patches.
    pub(crate) fn app_state_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let Some(sync) = node.child("sync") else {
            return Ok(Answer::Error(400, "bad-request"));
        };
        let asked: Vec<&Node> = sync.get_children_by_tag("collection").take(MOST_ASKED).collect();
        let collections = asked
            .into_iter()
            .map(|collection| self.collection(from, collection))
            .collect::<Result<Vec<_>>>()?;
        Ok(Answer::Result(vec![
            NodeBuilder::new("sync").children(collections).build(),
        ]))
    }

    fn collection(&mut self, from: &DeviceAddress, asked: &Node) -> Result<Node> {
        let text = asked.text("name").unwrap_or_default();
        let answer = NodeBuilder::new("collection").attr("name", text.as_str());
        let Some(name) = Name::parse(&text) else {
            return Ok(refusal(answer, 404, "item-not-found").build());
        };
        let Ok(version) = asked.text("version").map_or(Ok(0), |version| version.parse::<u64>()) else {
            return Ok(refusal(answer, 400, "bad-request").build());
        };
        let Some(patch) = asked.child("patch") else {
            let whole = version == 0 || asked.text("return_snapshot").as_deref() == Some("true");
            return self.news(from, name, version, whole, answer);
        };
        let patch = patch.content().unwrap_or_default();
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        let pushed = account
            .collection(name)
            .push(&from.number, name, version, &patch, &mut self.journal)?;
        match pushed {
            Ok(()) => {
                count(&mut self.stats.app_state, "patches of companions");
                self.tell_of_app_state(from, name)?;
                Ok(answer.attr("version", version + 1).build())
            }
            Err(Refused::Malformed) => {
                count(&mut self.stats.app_state, "malformed patches refused");
                Ok(refusal(answer, 400, "bad-request").build())
            }
            Err(Refused::Conflict) => {
                count(&mut self.stats.app_state, "conflicts");
                // What the client has missed comes with the refusal.
                let answer = answer.attr("type", "error");
                let conflict = NodeBuilder::new("error")
                    .attr("code", 409)
                    .attr("text", "conflict")
                    .build();
                let mut node = self.news(from, name, version, false, answer)?;
                let mut children: Vec<Node> = vec![conflict];
                children.extend(node.children().unwrap_or_default().iter().cloned());
                node.content = Some(whatsapp_rust::wacore_binary::NodeContent::Nodes(children));
                Ok(node)
            }
        }
    }

    /// What a client at a version lacks: patches, or the snapshot and the patches after it if the client wants it
    /// `whole` or is too late for patches alone.
    fn news(
        &mut self,
        from: &DeviceAddress,
        name: Name,
        version: u64,
        whole: bool,
        answer: NodeBuilder,
    ) -> Result<Node> {
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        let companion = account.companions.get_mut(&from.device).context("the device is gone")?;
        let newest = account
            .app_state
            .get(&name)
            .map_or(0, crate::app_state::Collection::version);
        if !companion.record.greeted && newest > 0 {
            // A client that cannot read a patch waits for its key for minutes, so it gets none before its phone has
            // shared the key; it is told then.
            companion.record.owed_app_state.insert(name.as_str().to_owned());
            account.save_companion(from.device, &mut self.journal)?;
            return Ok(answer.attr("version", version).build());
        }
        if version > newest {
            // Nobody but this server numbers versions.
            return Ok(refusal(answer, 400, "bad-request").build());
        }
        let Some(collection) = account.app_state.get(&name) else {
            return Ok(answer.attr("version", version).build());
        };
        let late = collection.after(version).is_none();
        let snapshot = collection
            .snapshot()
            .filter(|snapshot| late || (whole && snapshot.version > version));
        let base = snapshot.map_or(version, |snapshot| snapshot.version);
        let with_snapshot = snapshot.is_some();
        let mut patches: Vec<Vec<u8>> = collection
            .after(base)
            .map(|later| later.take(PAGE).cloned().collect())
            .unwrap_or_default();
        let reached = base + patches.len() as u64;
        let mut answer = answer.attr("version", reached);
        if reached < newest {
            answer = answer.attr("has_more_patches", "true");
        }
        if let Some(last) = patches.last_mut()
            && self.strike(Kind::AppState, from).is_some()
        {
            spoil(last);
        }
        let mut children = Vec::new();
        if with_snapshot {
            children.push(bytes_child("snapshot", self.place_of_snapshot(&from.number, name)?));
        }
        if !patches.is_empty() {
            let patches = patches.into_iter().map(|patch| bytes_child("patch", patch));
            children.push(NodeBuilder::new("patches").children(patches).build());
        }
        Ok(if children.is_empty() {
            answer.build()
        } else {
            answer.children(children).build()
        })
    }

    /// Where clients find the newest snapshot of a collection: on the media servers, under a key that they are told.
    fn place_of_snapshot(&mut self, number: &str, name: Name) -> Result<Vec<u8>> {
        let account = self.accounts.get(number).context("the account is gone")?;
        let collection = account.app_state.get(&name).context("no such collection")?;
        let snapshot = collection.snapshot().context("no snapshot")?;
        if let Some(reference) = snapshot
            .reference
            .clone()
            .filter(|reference| self.media_knows(reference))
        {
            return Ok(reference);
        }
        let stored = seal(Medium::AppState, &snapshot.bytes)?;
        let stored = self.phone_uploads(number, &stored)?;
        let reference = wa::ExternalBlobReference {
            media_key: Some(stored.key),
            direct_path: Some(stored.direct_path),
            file_size_bytes: Some(stored.plain_length),
            file_sha256: Some(stored.plain_hash),
            file_enc_sha256: Some(stored.sealed_hash),
            ..Default::default()
        }
        .encode_to_vec();
        let account = self.accounts.get_mut(number).context("the account is gone")?;
        account
            .collection(name)
            .snapshot_is_at(number, name, reference.clone(), &mut self.journal);
        Ok(reference)
    }

    /// Whether an address is still one of the media servers; one whose medium was let go of on purpose is.
    fn media_knows(&self, reference: &[u8]) -> bool {
        let path = wa::ExternalBlobReference::decode_from_slice(reference)
            .ok()
            .and_then(|reference| reference.direct_path)
            .unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        matches!(self.media.find(path, query), Found::Item(_) | Found::Gone)
    }

    /// Tells all other devices of an account that a collection has changed; one notification for each collection, as
    /// Baileys looks at the first one only (`Socket/messages-recv`).
    pub(crate) fn tell_of_app_state(&mut self, author: &DeviceAddress, name: Name) -> Result<()> {
        let account = self.accounts.get(&author.number).context("the account is gone")?;
        let told: Vec<u16> = account
            .devices()
            .into_iter()
            .filter(|device| *device != author.device)
            .collect();
        for device in told {
            self.notify_of_app_state(&DeviceAddress::new(&author.number, device), name)?;
        }
        Ok(())
    }

    /// Tells a companion of the collections that it asked for before it could have read them.
    pub(crate) fn pay_owed_app_state(&mut self, companion: &DeviceAddress) -> Result<()> {
        let account = self
            .accounts
            .get_mut(&companion.number)
            .context("the account is gone")?;
        let Some(linked) = account.companions.get_mut(&companion.device) else {
            return Ok(());
        };
        let owed = std::mem::take(&mut linked.record.owed_app_state);
        if owed.is_empty() {
            return Ok(());
        }
        account.save_companion(companion.device, &mut self.journal)?;
        for name in owed.iter().filter_map(|name| Name::parse(name)) {
            self.notify_of_app_state(companion, name)?;
        }
        Ok(())
    }

    fn notify_of_app_state(&mut self, device: &DeviceAddress, name: Name) -> Result<()> {
        let account = self.accounts.get(&device.number).context("the account is gone")?;
        let version = account
            .app_state
            .get(&name)
            .map_or(0, crate::app_state::Collection::version);
        let collection = NodeBuilder::new("collection")
            .attr("name", name.as_str())
            .attr("version", version)
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("from", SERVER)
            .attr("type", "server_sync")
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .children([collection])
            .build();
        self.deliver(device, notification)
    }
}

fn refusal(answer: NodeBuilder, code: u16, text: &'static str) -> NodeBuilder {
    let error = NodeBuilder::new("error").attr("code", code).attr("text", text).build();
    answer.attr("type", "error").children([error])
}

/// Flips a bit of a patch's last value, in its code.
fn spoil(patch: &mut Vec<u8>) {
    let Ok(mut decoded) = wa::SyncdPatch::decode_from_slice(patch) else {
        return;
    };
    let blob = decoded.mutations.last_mut().and_then(|mutation| {
        mutation
            .record
            .get_or_insert_default()
            .value
            .get_or_insert_default()
            .blob
            .as_mut()
    });
    if let Some(last) = blob.and_then(|blob| blob.last_mut()) {
        *last ^= 1;
        *patch = decoded.encode_to_vec();
    }
}
