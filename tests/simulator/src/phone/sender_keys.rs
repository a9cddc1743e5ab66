//! A phone's sender keys: one secret per group that it writes with, and what it was given to read others.
//!
//! A message to many is encrypted once. Whoever shall read it gets the writer's sender key beforehand, in a session
//! of its own (`senderKeyDistributionMessage`); who has left must not read on, so the key is thrown away when a holder
//! is no longer addressed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::libsignal::protocol::error::Result as SignalResult;
use whatsapp_rust::wacore::libsignal::protocol::{
    SenderKeyDistributionMessage, SenderKeyRecord, SenderKeyStore, create_sender_key_distribution_message,
    group_decrypt, group_encrypt, process_sender_key_distribution_message,
};
use whatsapp_rust::wacore::libsignal::store::sender_key_name::SenderKeyName;
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::DeviceAddress;

/// All sender keys of one phone.
#[derive(Default)]
pub(crate) struct SenderKeys {
    records: Keys,
    /// The devices that were given the phone's own key, by chat.
    holders: BTreeMap<String, BTreeSet<DeviceAddress>>,
}

impl SenderKeys {
    /// Encrypts for everybody who holds the phone's key of a chat.
    pub(crate) fn seal(&mut self, chat: &str, own: &DeviceAddress, message: &wa::Message) -> Result<Vec<u8>> {
        let padded = MessageUtils::pad_message_v2(message.encode_to_vec());
        let sealed = group_encrypt(&mut self.records, &key_name(chat, own), &padded, &mut rand::rng())
            .now_or_never()
            .context("a store in memory waited")?
            .map_err(|error| anyhow!("encrypting for a group failed: {error}"))?;
        Ok(sealed.serialized().to_vec())
    }

    /// The phone's own key of a chat as others need it; made when there is none.
    pub(crate) fn distribution(&mut self, chat: &str, own: &DeviceAddress) -> Result<wa::Message> {
        let distribution =
            create_sender_key_distribution_message(&key_name(chat, own), &mut self.records, &mut rand::rng())
                .now_or_never()
                .context("a store in memory waited")?
                .map_err(|error| anyhow!("making a sender key failed: {error}"))?;
        Ok(wa::Message {
            sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage {
                group_id: Some(chat.to_owned()),
                axolotl_sender_key_distribution_message: Some(distribution.serialized().to_vec()),
            }),
            ..Default::default()
        })
    }

    /// Keeps the key that a device will write with.
    pub(crate) fn learn(&mut self, chat: &str, author: &DeviceAddress, bytes: &[u8]) -> Result<()> {
        let distribution =
            SenderKeyDistributionMessage::try_from(bytes).map_err(|error| anyhow!("not a sender key: {error}"))?;
        process_sender_key_distribution_message(&key_name(chat, author), &distribution, &mut self.records)
            .now_or_never()
            .context("a store in memory waited")?
            .map_err(|error| anyhow!("a sender key cannot be used: {error}"))
    }

    /// Decrypts what a device wrote to everybody.
    pub(crate) fn open(&mut self, chat: &str, author: &DeviceAddress, bytes: &[u8]) -> Result<wa::Message> {
        let plain = group_decrypt(bytes, &mut self.records, &key_name(chat, author))
            .now_or_never()
            .context("a store in memory waited")?
            .map_err(|error| anyhow!("decrypting a group message failed: {error}"))?;
        let plain = MessageUtils::unpad_message_ref(&plain, 2)?;
        wa::Message::decode_from_slice(plain).map_err(|error| anyhow!("not a message: {error}"))
    }

    /// Who holds the phone's own key of a chat.
    pub(crate) fn holders(&self, chat: &str) -> impl Iterator<Item = &DeviceAddress> {
        self.holders.get(chat).into_iter().flatten()
    }

    /// Whether a device holds the phone's own key of a chat.
    pub(crate) fn is_holder(&self, chat: &str, device: &DeviceAddress) -> bool {
        self.holders.get(chat).is_some_and(|holders| holders.contains(device))
    }

    /// Notes that a device was given the key.
    pub(crate) fn add_holder(&mut self, chat: &str, device: DeviceAddress) {
        self.holders.entry(chat.to_owned()).or_default().insert(device);
    }

    /// Throws the phone's own key away, so that the next message is written with one that old holders do not have.
    pub(crate) fn renew(&mut self, chat: &str, own: &DeviceAddress) {
        self.records.0.remove(key_name(chat, own).cache_key());
        self.holders.remove(chat);
    }

    /// A key as it is stored.
    pub(crate) fn bytes(&self, chat: &str, author: &DeviceAddress) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.records.0.get(key_name(chat, author).cache_key()) else {
            return Ok(None);
        };
        record
            .serialize()
            .map(Some)
            .map_err(|error| anyhow!("sender key: {error}"))
    }

    /// Puts a stored key back.
    pub(crate) fn restore(&mut self, chat: &str, author: &DeviceAddress, bytes: &[u8]) -> Result<()> {
        let record = SenderKeyRecord::deserialize(bytes).map_err(|error| anyhow!("stored sender key: {error}"))?;
        self.records
            .0
            .insert(key_name(chat, author).cache_key().to_owned(), record);
        Ok(())
    }

    /// The holders of a chat's key as they are stored.
    pub(crate) fn holders_record(&self, chat: &str) -> Result<Vec<u8>> {
        let holders: Vec<(&str, u16)> = self
            .holders(chat)
            .map(|holder| (holder.number.as_str(), holder.device))
            .collect();
        Ok(serde_json::to_vec(&holders)?)
    }

    /// Puts the stored holders of a chat's key back.
    pub(crate) fn restore_holders(&mut self, chat: &str, bytes: &[u8]) -> Result<()> {
        let holders: Vec<(String, u16)> = serde_json::from_slice(bytes)?;
        let holders = holders
            .into_iter()
            .map(|(number, device)| DeviceAddress::new(&number, device))
            .collect();
        self.holders.insert(chat.to_owned(), holders);
        Ok(())
    }
}

/// Keys are kept by account and device, whichever of the two address forms a stanza used.
fn key_name(chat: &str, author: &DeviceAddress) -> SenderKeyName {
    SenderKeyName::from_parts(chat, &format!("{}.{}", author.number, author.device))
}

#[derive(Default)]
struct Keys(BTreeMap<String, SenderKeyRecord>);

#[async_trait]
impl SenderKeyStore for Keys {
    async fn store_sender_key(&mut self, name: &SenderKeyName, record: SenderKeyRecord) -> SignalResult<()> {
        self.0.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> SignalResult<Option<SenderKeyRecord>> {
        Ok(self.0.get(name.cache_key()).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "120363000000000001@g.us";

    fn text(text: &str) -> wa::Message {
        wa::Message {
            conversation: Some(text.to_owned()),
            ..Default::default()
        }
    }

    fn key_of(message: &wa::Message) -> Vec<u8> {
        let distribution = message.sender_key_distribution_message.as_option().unwrap();
        distribution.axolotl_sender_key_distribution_message.clone().unwrap()
    }

    #[test]
    fn who_was_given_the_key_reads_and_nobody_else() {
        let (own, mut writer, mut reader) = (DeviceAddress::phone("1"), SenderKeys::default(), SenderKeys::default());
        let key = key_of(&writer.distribution(CHAT, &own).unwrap());
        let sealed = writer.seal(CHAT, &own, &text("hello")).unwrap();
        assert!(reader.open(CHAT, &own, &sealed).is_err());
        reader.learn(CHAT, &own, &key).unwrap();
        let read = reader.open(CHAT, &own, &sealed).unwrap();
        assert_eq!(read.conversation.as_deref(), Some("hello"));
        assert!(reader.open(CHAT, &own, &sealed).is_err(), "a message is opened once");
    }

    #[test]
    fn a_renewed_key_shuts_old_holders_out() {
        let (own, mut writer, mut reader) = (DeviceAddress::phone("1"), SenderKeys::default(), SenderKeys::default());
        reader
            .learn(CHAT, &own, &key_of(&writer.distribution(CHAT, &own).unwrap()))
            .unwrap();
        writer.add_holder(CHAT, DeviceAddress::phone("2"));
        writer.renew(CHAT, &own);
        assert_eq!(writer.holders(CHAT).count(), 0);
        writer.distribution(CHAT, &own).unwrap();
        let sealed = writer.seal(CHAT, &own, &text("hello")).unwrap();
        assert!(reader.open(CHAT, &own, &sealed).is_err());
    }

    #[test]
    fn keys_and_holders_survive_being_stored() {
        let (own, mut writer, mut reader) = (DeviceAddress::phone("1"), SenderKeys::default(), SenderKeys::default());
        reader
            .learn(CHAT, &own, &key_of(&writer.distribution(CHAT, &own).unwrap()))
            .unwrap();
        writer.add_holder(CHAT, DeviceAddress::new("2", 3));
        let mut again = SenderKeys::default();
        again
            .restore(CHAT, &own, &writer.bytes(CHAT, &own).unwrap().unwrap())
            .unwrap();
        again
            .restore_holders(CHAT, &writer.holders_record(CHAT).unwrap())
            .unwrap();
        assert!(again.is_holder(CHAT, &DeviceAddress::new("2", 3)));
        let sealed = again.seal(CHAT, &own, &text("later")).unwrap();
        let read = reader.open(CHAT, &own, &sealed).unwrap();
        assert_eq!(read.conversation.as_deref(), Some("later"));
    }
}
