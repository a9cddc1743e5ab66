//! The audit list: who changed what, each row in the transaction of its change.

use super::encoding::{Key, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows as _, Tx, View, step};
use super::sweep::SweepLimits;
use super::tables::AUDIT;
use crate::domain::Timestamp;
use crate::domain::audit::{Action, ActionFilter, Entry, Note, TargetKind};
use crate::domain::id::{AuditId, InstanceId};
use crate::sys::clock;

/// Which rows a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// Of this action, or of those that begin so.
    pub action: Option<ActionFilter>,
    /// About one instance.
    pub instance_id: Option<InstanceId>,
}

impl AuditFilter {
    fn wants(&self, entry: &Entry) -> bool {
        let is_about = |id: InstanceId| {
            let target = entry.target.as_ref();
            target.is_some_and(|target| target.kind == TargetKind::Instance && target.id == id.to_string())
        };
        self.action.as_ref().is_none_or(|action| action.fits(entry.action)) && self.instance_id.is_none_or(is_about)
    }
}

impl Tx<'_> {
    /// Tells in the audit list what this transaction does.
    pub fn audit(&mut self, note: &Note) -> Result<(), WriteError> {
        let now = clock::now();
        let head = self.head_mut();
        let sequence = head.next_sequence;
        head.next_sequence += 1;
        let note = note.clone();
        let entry = Entry {
            id: AuditId::numbered(now, sequence),
            occurred_at: now,
            actor: note.actor,
            action: note.action,
            target: note.target,
            changes: note.changes,
            request_id: note.request_id,
        };
        self.put_json(AUDIT, Key::of_id(entry.id.to_u128()).as_slice(), &entry)
    }

    /// Removes rows up to this one; tells so where it was for want of room, because then the list ends earlier than it
    /// promises to.
    pub(super) fn cut_audit(&mut self, cut: AuditCut) -> Result<u64, WriteError> {
        let last = Key::of_id(cut.last.to_u128());
        let removed = self
            .remove_span(AUDIT, &Span::ALL.up_to(last.as_slice().to_vec()))?
            .rows;
        if cut.is_for_room && removed > 0 {
            let mut note = Note::by_system(Action::AuditSweep);
            let left = cut.rows.saturating_sub(removed);
            note.changes.insert("rows".to_owned(), [cut.rows.into(), left.into()]);
            self.audit(&note)?;
        }
        Ok(removed)
    }
}

/// Where the audit list is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AuditCut {
    /// The newest row to go.
    last: AuditId,
    /// How many rows there were.
    rows: u64,
    /// There are too many rows, not too old ones.
    is_for_room: bool,
}

impl View<'_> {
    /// Rows that the filter wants, newest first, older than `before`.
    pub fn audit_list(
        &self,
        filter: &AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let span = match before {
            Some(before) => Span::ALL.before(&Key::of_id(before.to_u128())),
            None => Span::ALL,
        };
        let mut entries = Vec::new();
        if limit > 0 {
            self.scan(AUDIT, &span, Order::Down, &mut |_, bytes| {
                let entry: Entry = decode(AUDIT, bytes)?;
                if filter.wants(&entry) {
                    entries.push(entry);
                }
                Ok(step(entries.len() < limit))
            })?;
        }
        Ok(entries)
    }

    /// Where the list must be cut, if it must. Once there are too many rows a tenth more goes than has to, so that the
    /// row which tells it does not come with every sweep.
    pub(super) fn audit_cut(&self, now: Timestamp, limits: SweepLimits) -> Result<Option<AuditCut>, ReadError> {
        let rows = self.count(AUDIT)?;
        let is_for_room = rows > limits.audit_rows;
        let excess = if is_for_room {
            rows.saturating_sub(limits.audit_rows - limits.audit_rows / 10)
        } else {
            0
        };
        let floor = AuditId::floor(now.minus(limits.audit_age));
        let mut last = None;
        let mut seen = 0;
        self.scan(AUDIT, &Span::ALL, Order::Up, &mut |key, _| {
            let id = super::encoding::Parts(key).id().map(AuditId::from_u128);
            let goes = seen < excess || id.is_some_and(|id| id < floor);
            if goes {
                seen += 1;
                last = id;
            }
            Ok(step(goes))
        })?;
        Ok(last.map(|last| AuditCut {
            last,
            rows,
            is_for_room,
        }))
    }
}
