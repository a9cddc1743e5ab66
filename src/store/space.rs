//! How much the disk has left, asked rarely, so that the store refuses work before the disk does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::clock::{self, Moment};
use crate::sys::disk;

/// How long an answer of the file system is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// Watches the free space behind one file.
pub(super) struct Space {
    free: Box<dyn FnMut() -> Option<u64> + Send>,
    reserve: u64,
    asked_at: Option<Moment>,
    low: bool,
}

impl Space {
    /// Watches the file system of `path`.
    pub(super) fn behind(path: &Path, reserve: u64) -> Self {
        let path: PathBuf = path.to_owned();
        Self::with(reserve, move || Some(disk::space(&path)?.free))
    }

    /// Watches what `free` says.
    pub(super) fn with(reserve: u64, free: impl FnMut() -> Option<u64> + Send + 'static) -> Self {
        Self {
            free: Box::new(free),
            reserve,
            asked_at: None,
            low: false,
        }
    }

    /// Whether less than the reserve is left.
    pub(super) fn is_low(&mut self) -> bool {
        if self.reserve == 0 {
            return false;
        }
        let now = clock::moment();
        if self.asked_at.is_none_or(|at| now.since(at) >= BELIEVED_FOR) {
            self.asked_at = Some(now);
            // A file system that does not say is not full until it refuses a write.
            let low = (self.free)().is_some_and(|free| free < self.reserve);
            if low && !self.low {
                tracing::error!(
                    reserve_bytes = self.reserve,
                    "the disk is nearly full: new work is refused until there is space again"
                );
            }
            self.low = low;
        }
        self.low
    }
}
