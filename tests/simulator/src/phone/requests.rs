//! What companions ask of their own phone in messages that nobody sees: keys of app state, and pieces of the past.

use anyhow::Result;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type;

use crate::account::DeviceAddress;
use crate::world::World;

impl World {
    /// Serves one request of an own companion; `id` is the message's.
    pub(crate) fn phone_serves(
        &mut self,
        companion: &DeviceAddress,
        id: &str,
        request: &wa::message::ProtocolMessage,
    ) -> Result<()> {
        match request.r#type {
            Some(Type::APP_STATE_SYNC_KEY_REQUEST) => {
                self.phone_shares_keys(companion, &request.app_state_sync_key_request)
            }
            Some(Type::APP_STATE_FATAL_EXCEPTION_NOTIFICATION) => {
                self.phone_notes_complaint(companion, &request.app_state_fatal_exception_notification)
            }
            Some(Type::PEER_DATA_OPERATION_REQUEST_MESSAGE) => {
                self.phone_answers_peer(companion, id, &request.peer_data_operation_request_message)
            }
            _ => Ok(()),
        }
    }
}
