//! What a phone has put into app state: the name its owner chose, as the first patch of `critical_block`.
//!
//! The patch is built anew for whoever asks, from nothing but the phone's key and name: all companions must get the
//! same bytes, in every run, since the codes of later patches would build on its codes.

use anyhow::{Context as _, Result};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::appstate::hash::{HashState, generate_index_mac, generate_patch_mac};
use whatsapp_rust::wacore::appstate::{encode_record, expand_app_state_keys};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::sync_action_value::PushNameSetting;
use whatsapp_rust::waproto::whatsapp::syncd_mutation::SyncdOperation;

use super::Phone;

/// The collection that clients want before anything else.
pub(crate) const COLLECTION: &str = "critical_block";
/// The collection's version with the patch applied.
pub(crate) const VERSION: u64 = 1;
const INDEX: &[u8] = br#"["setting_pushName"]"#;
/// The version of the setting's own schema.
const SCHEMA: i32 = 1;

impl Phone {
    /// The patch that leads from the empty collection to [`VERSION`].
    pub(crate) fn push_name_patch(&self) -> Result<Vec<u8>> {
        let key = &self.app_state_key;
        let keys = expand_app_state_keys(&key.data);
        let value = wa::SyncActionValue {
            push_name_setting: MessageField::some(PushNameSetting {
                name: Some(self.push_name.clone()),
            }),
            timestamp: Some(i64::try_from(key.made_at)? * 1000),
            ..Default::default()
        };
        // Not random, so that the bytes stay the same; another name gets another one.
        let seed = generate_index_mac(self.push_name.as_bytes(), &keys.index);
        let iv = seed.first_chunk().context("a code is shorter than an IV")?;
        let (mutation, _) = encode_record(SyncdOperation::SET, INDEX, &value, &keys, &key.id, iv, SCHEMA);

        let mutations = vec![mutation];
        let mut state = HashState {
            version: VERSION,
            ..Default::default()
        };
        state.update_hash(&mutations, |_, _| Ok(None)).1?;
        let mut patch = wa::SyncdPatch {
            version: MessageField::some(wa::SyncdVersion { version: Some(VERSION) }),
            mutations,
            snapshot_mac: Some(state.generate_snapshot_mac(COLLECTION, &keys.snapshot_mac)),
            key_id: MessageField::some(wa::KeyId {
                id: Some(key.id.clone()),
            }),
            ..Default::default()
        };
        patch.patch_mac = Some(generate_patch_mac(&patch, COLLECTION, &keys.patch_mac, VERSION));
        Ok(patch.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whatsapp_rust::wacore::appstate::{AppStateError, process_patch};

    use super::*;

    /// The name that a client which checks every code reads out of a patch.
    fn read(patch: &[u8], key: &[u8], state: &mut HashState) -> Result<Option<String>, AppStateError> {
        let patch = wa::SyncdPatch::decode_from_slice(patch).unwrap();
        let keys = Arc::new(expand_app_state_keys(key));
        let read = process_patch(&patch, state, |_| Ok(keys.clone()), |_| Ok(None), true, COLLECTION)?;
        assert_eq!(read.mutations.len(), 1);
        let mutation = &read.mutations[0];
        assert_eq!(mutation.index, ["setting_pushName"]);
        let value = mutation.action_value.as_ref().unwrap();
        Ok(value.push_name_setting.name.clone())
    }

    #[test]
    fn a_client_that_checks_every_code_reads_the_name() {
        let phone = Phone::generate("5511999990001", true).unwrap();
        let mut state = HashState::default();
        let name = read(&phone.push_name_patch().unwrap(), &phone.app_state_key.data, &mut state);
        assert_eq!(name.unwrap().as_deref(), Some("Phone 0001"));
        assert_eq!((state.version, state.mac_mismatch_fatal), (VERSION, false));
    }

    #[test]
    fn another_key_or_a_changed_byte_is_refused() {
        let phone = Phone::generate("5511999990001", true).unwrap();
        let patch = phone.push_name_patch().unwrap();
        assert!(read(&patch, &[7; 32], &mut HashState::default()).is_err());
        let name = wa::SyncdPatch::decode_from_slice(&patch).unwrap();
        let mut changed = name.clone();
        let blob = changed.mutations[0].record.get_or_insert_default();
        blob.value.get_or_insert_default().blob.as_mut().unwrap()[20] ^= 1;
        let key = &phone.app_state_key.data;
        assert!(read(&changed.encode_to_vec(), key, &mut HashState::default()).is_err());
    }

    #[test]
    fn the_patch_stays_the_same_after_a_restart_and_changes_with_the_name() {
        let phone = Phone::generate("5511999990001", true).unwrap();
        let mut restored = Phone::from_record(phone.to_record()).unwrap();
        assert_eq!(phone.push_name_patch().unwrap(), restored.push_name_patch().unwrap());
        restored.push_name.push('!');
        assert_ne!(phone.push_name_patch().unwrap(), restored.push_name_patch().unwrap());
    }
}
