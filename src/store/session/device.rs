//! The linked device itself: its keys and what WhatsApp calls it.

use async_trait::async_trait;
use whatsapp_rust::store::traits::DeviceStore;
use whatsapp_rust::wacore::stats::StorageResourceReport;
use whatsapp_rust::wacore::store::Device;

use super::{Result, SessionStore};
#[cfg(feature = "sandbox")]
use crate::store::encoding::Key;
#[cfg(feature = "sandbox")]
use crate::store::error::ReadError;
use crate::store::rows::Rows;
#[cfg(feature = "sandbox")]
use crate::store::rows::View;
use crate::store::tables::DEVICES;

#[cfg(feature = "sandbox")]
impl View<'_> {
    /// The number that WhatsApp gave the linked device of a session, if a phone has linked it.
    pub fn device_number(&self, session: u32) -> std::result::Result<Option<u16>, ReadError> {
        let device: Option<Device> = self.get_json(DEVICES, Key::of_session(session).as_slice())?;
        Ok(device.and_then(|device| Some(device.pn?.device)))
    }
}

#[async_trait]
impl DeviceStore for SessionStore {
    async fn save(&self, device: &Device) -> Result<()> {
        let (key, device) = (self.key(), device.clone());
        self.durably(move |tx| tx.put_json(DEVICES, key.as_slice(), &device))
            .await
    }

    async fn load(&self) -> Result<Option<Device>> {
        self.read(|view| view.get_json(DEVICES, self.key().as_slice()))
    }

    async fn exists(&self) -> Result<bool> {
        self.read(|view| view.has(DEVICES, self.key().as_slice()))
    }

    async fn create(&self) -> Result<i32> {
        let (key, device) = (self.key(), Device::new());
        self.durably(move |tx| {
            if tx.has(DEVICES, key.as_slice())? {
                return Ok(());
            }
            tx.put_json(DEVICES, key.as_slice(), &device)
        })
        .await?;
        // The crate only logs it.
        Ok(i32::try_from(self.session).unwrap_or(i32::MAX))
    }

    /// The page cache belongs to all sessions, so no session is charged for it.
    async fn resource_report(&self) -> StorageResourceReport {
        StorageResourceReport {
            memory_bytes: Some(0),
            ..StorageResourceReport::default()
        }
    }
}
