//! App state: keys the phone shared, the version of each collection, the MACs of its entries.

use std::collections::HashMap;

use async_trait::async_trait;
use whatsapp_rust::store::traits::{AppStateSyncKey, AppSyncStore};
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;

use super::{Result, SessionStore};
use crate::store::encoding::Span;
use crate::store::rows::Rows;
use crate::store::tables::{SYNC_KEY_LATEST, SYNC_KEYS, SYNC_MACS, SYNC_VERSIONS};

impl SessionStore {
    fn mac(&self, collection: &str, index_mac: &[u8]) -> Vec<u8> {
        self.key().part(collection).last(index_mac).as_slice().to_vec()
    }
}

#[async_trait]
impl AppSyncStore for SessionStore {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        self.read(|view| view.get_json(SYNC_KEYS, self.key().last(key_id).as_slice()))
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let (session, key_id) = (self.key(), key_id.to_vec());
        // Durable, because the phone shares a key once.
        self.durably(move |tx| {
            tx.put_json(SYNC_KEYS, session.clone().last(&key_id).as_slice(), &key)?;
            tx.put(SYNC_KEY_LATEST, session.as_slice(), &key_id)
        })
        .await
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        let version = self.read(|view| view.get_json(SYNC_VERSIONS, self.key().last(name).as_slice()))?;
        Ok(version.unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        let key = self.key().last(name);
        self.lazily(move |tx| tx.put_json(SYNC_VERSIONS, key.as_slice(), &state))
            .await
    }

    async fn put_mutation_macs(&self, name: &str, _version: u64, mutations: &[AppStateMutationMAC]) -> Result<()> {
        let rows: Vec<_> = mutations
            .iter()
            .map(|mutation| (self.mac(name, &mutation.index_mac), mutation.value_mac.clone()))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.lazily(move |tx| tx.put_all(SYNC_MACS, rows.iter().map(|(key, row)| (key, row))))
            .await
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|view| view.get(SYNC_MACS, &self.mac(name, index_mac)))
    }

    async fn get_mutation_macs(&self, name: &str, index_macs: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        self.read(|view| {
            let mut found = HashMap::with_capacity(index_macs.len());
            for index_mac in index_macs {
                if let Some(mac) = view.get(SYNC_MACS, &self.mac(name, index_mac))? {
                    found.insert(*index_mac, mac);
                }
            }
            Ok(found)
        })
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        let keys: Vec<_> = index_macs.iter().map(|index_mac| self.mac(name, index_mac)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.lazily(move |tx| tx.remove_all(SYNC_MACS, &keys)).await?;
        Ok(())
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        let span = Span::under(&self.key().part(name));
        if self.read(|view| view.any(SYNC_MACS, &span))? {
            self.lazily(move |tx| tx.remove_span(SYNC_MACS, &span)).await?;
        }
        Ok(())
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        self.read(|view| view.get(SYNC_KEY_LATEST, self.key().as_slice()))
    }
}
