//! `encrypt`: a companion uploads its prekeys, asks how many are left, compares digests, and fetches those of others.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore::prekeys::compute_key_bundle_digest;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use super::Answer;
use crate::account::{Companion, DeviceAddress, UploadedKeys, key};
use crate::adv;
use crate::fault::Kind;
use crate::stanza::{Stanza as _, bytes_child, key_id};
use crate::world::World;

/// The byte in front of a Curve25519 key.
const DJB: u8 = 5;

/// What somebody needs to open a session with a device.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) registration: u32,
    pub(crate) identity: Vec<u8>,
    /// One-time prekey, if any is left.
    pub(crate) prekey: Option<(u32, Vec<u8>)>,
    pub(crate) signed_id: u32,
    pub(crate) signed_public: Vec<u8>,
    pub(crate) signed_signature: Vec<u8>,
    /// For companions: the account's signature chain.
    pub(crate) device_identity: Option<Vec<u8>>,
}

impl Bundle {
    fn to_node(&self, jid: Jid) -> Node {
        let mut children = vec![
            bytes_child("registration", self.registration.to_be_bytes().to_vec()),
            bytes_child("type", vec![DJB]),
            bytes_child("identity", self.identity.clone()),
        ];
        if let Some((id, public)) = &self.prekey {
            let key = [bytes_child("id", key_id(*id)), bytes_child("value", public.clone())];
            children.push(NodeBuilder::new("key").children(key).build());
        }
        children.push(signed_node(self.signed_id, &self.signed_public, &self.signed_signature));
        if let Some(identity) = &self.device_identity {
            children.push(bytes_child("device-identity", identity.clone()));
        }
        NodeBuilder::new("user").attr("jid", jid).children(children).build()
    }
}

fn signed_node(id: u32, public: &[u8], signature: &[u8]) -> Node {
    NodeBuilder::new("skey")
        .children([
            bytes_child("id", key_id(id)),
            bytes_child("value", public.to_vec()),
            bytes_child("signature", signature.to_vec()),
        ])
        .build()
}

impl World {
    pub(crate) fn encrypt_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let setting = node.text("type").as_deref() == Some("set");
        if setting && node.child("list").is_some() {
            return self.upload(from, node);
        }
        if setting && node.child("rotate").is_some() {
            return self.rotate(from, node);
        }
        if node.child("count").is_some() {
            let left = self.companion(from)?.prekeys.len();
            return Ok(Answer::Result(vec![
                NodeBuilder::new("count").attr("value", left).build(),
            ]));
        }
        if node.child("digest").is_some() {
            return self.digest(from);
        }
        if let Some(key) = node.child("key") {
            return self.fetch(key);
        }
        Ok(self.unknown("encrypt", node))
    }

    fn companion(&self, address: &DeviceAddress) -> Result<&Companion> {
        let account = self.accounts.get(&address.number);
        account
            .and_then(|account| account.companions.get(&address.device))
            .context("the device is gone")
    }

    fn upload(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let companion = self.companion(from)?;
        let Some((keys, prekeys)) = parse_upload(node, &companion.record.identity) else {
            return Ok(Answer::Error(406, "not-acceptable"));
        };
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        let companion = account.companions.get_mut(&from.device).context("the device is gone")?;
        companion.record.keys = Some(keys);
        for (id, public) in prekeys {
            self.journal
                .put(key::companion_prekey(&from.number, from.device, id), public.clone());
            companion.prekeys.insert(id, public);
        }
        account.save_companion(from.device, &mut self.journal)?;
        self.greet_if_due(from)?;
        Ok(Answer::Result(Vec::new()))
    }

    /// A new signed prekey alone.
    fn rotate(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let identity = self.companion(from)?.record.identity.clone();
        let signed = node.child("rotate").and_then(|rotate| parse_signed(rotate, &identity));
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        let keys = account
            .companions
            .get_mut(&from.device)
            .and_then(|companion| companion.record.keys.as_mut());
        let (Some((id, public, signature)), Some(keys)) = (signed, keys) else {
            return Ok(Answer::Error(406, "not-acceptable"));
        };
        (keys.signed_id, keys.signed_public, keys.signed_signature) = (id, public, signature);
        account.save_companion(from.device, &mut self.journal)?;
        Ok(Answer::Result(Vec::new()))
    }

    fn digest(&self, from: &DeviceAddress) -> Result<Answer> {
        let companion = self.companion(from)?;
        let Some(keys) = &companion.record.keys else {
            return Ok(Answer::Error(404, "item-not-found"));
        };
        let identity = &companion.record.identity;
        let publics: Vec<&[u8]> = companion.prekeys.values().map(Vec::as_slice).collect();
        let hash = compute_key_bundle_digest(identity, &keys.signed_public, &keys.signed_signature, &publics);
        let ids = companion.prekeys.keys().map(|id| bytes_child("id", key_id(*id)));
        let digest = NodeBuilder::new("digest").children([
            bytes_child("registration", keys.registration.to_be_bytes().to_vec()),
            bytes_child("type", vec![DJB]),
            bytes_child("identity", identity.clone()),
            signed_node(keys.signed_id, &keys.signed_public, &keys.signed_signature),
            NodeBuilder::new("list").children(ids).build(),
            bytes_child("hash", hash),
        ]);
        Ok(Answer::Result(vec![digest.build()]))
    }

    fn fetch(&mut self, wanted: &Node) -> Result<Answer> {
        let mut users = Vec::new();
        for user in wanted.get_children_by_tag("user") {
            let Some(jid) = user.jid("jid") else { continue };
            let address = self.accounts.resolve(&jid);
            let bundle = match &address {
                Some(address) if self.strike(Kind::Prekey404, address).is_some() => None,
                Some(address) => self.take_bundle(address)?,
                None => None,
            };
            let (Some(mut bundle), Some(address)) = (bundle, address) else {
                let error = NodeBuilder::new("error")
                    .attr("code", 404)
                    .attr("text", "item-not-found")
                    .build();
                users.push(NodeBuilder::new("user").attr("jid", jid).children([error]).build());
                continue;
            };
            self.spoil_keys(&mut bundle, &address);
            users.push(bundle.to_node(jid));
        }
        Ok(Answer::Result(vec![NodeBuilder::new("list").children(users).build()]))
    }
}

impl World {
    /// What faults do to a device's keys on their way to a client.
    pub(crate) fn spoil_keys(&mut self, bundle: &mut Bundle, owner: &DeviceAddress) {
        if self.strike(Kind::Skey, owner).is_some()
            && let Some(first) = bundle.signed_signature.first_mut()
        {
            *first ^= 1;
        }
        if let Some(identity) = &mut bundle.device_identity
            && self.strike(Kind::DeviceIdentity, owner).is_some()
        {
            *identity = adv::spoiled(identity);
        }
    }
}

type PreKeys = Vec<(u32, Vec<u8>)>;

/// The uploaded keys, if they are whole, belong to the identity of the link and the signature is right.
fn parse_upload(node: &Node, identity: &[u8]) -> Option<(UploadedKeys, PreKeys)> {
    if node.child_content("identity")? != identity {
        return None;
    }
    let (signed_id, signed_public, signed_signature) = parse_signed(node, identity)?;
    let mut prekeys = Vec::new();
    for key in node.child("list")?.get_children_by_tag("key") {
        let public = key.child_content("value").filter(|public| public.len() == 32)?;
        prekeys.push((key.child_number("id")?, public));
    }
    let registration = node.child_number("registration")?;
    Some((
        UploadedKeys {
            registration,
            signed_id,
            signed_public,
            signed_signature,
        },
        prekeys,
    ))
}

fn parse_signed(node: &Node, identity: &[u8]) -> Option<(u32, Vec<u8>, Vec<u8>)> {
    let signed = node.child("skey")?;
    let (public, signature) = (signed.child_content("value")?, signed.child_content("signature")?);
    let right = adv::check(identity, &[&[DJB], &public], &signature).unwrap_or_default();
    right.then_some((signed.child_number("id")?, public, signature))
}
