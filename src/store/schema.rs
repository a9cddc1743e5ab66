//! Which shape the tables have: the number in the file, the way from older numbers, and the refusal of newer ones.

use redb::{Database, ReadableDatabase as _, TableError, TransactionError, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::encoding::decode;
use super::error::{Cause, OpenError};
use super::journal::{HEAD, Head};
use super::tables::{self, META};
use crate::domain::id::CustomerId;
use crate::sys::clock;

/// The schema this version writes.
pub const SCHEMA: u32 = 4;

const ROW: &[u8] = b"schema";
pub(super) const CUSTOMER: &[u8] = b"customer";

/// What the file says about itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) schema: u32,
    pub(super) written_by: String,
}

/// A step from one schema to the next.
struct Migration {
    /// What the newer schema has that the older one had not, for the log.
    brought: &'static str,
    /// Rewrites what lies in the tables; new tables are made before.
    rewrite: fn(&WriteTransaction) -> Result<(), Cause>,
}

/// The steps; the first one leads from schema 1 to 2. All of them and the new number are one transaction: a file is of
/// the old schema or of the new one, whenever the power goes.
const MIGRATIONS: &[Migration] = &[
    Migration {
        brought: "webhook endpoints and their deliveries",
        rewrite: |_| Ok(()),
    },
    Migration {
        brought: "requests to send a message again that survive a restart",
        rewrite: |_| Ok(()),
    },
    Migration {
        brought: "sign-ins to the dashboard and the audit list",
        rewrite: |_| Ok(()),
    },
];

const _: () = assert!(MIGRATIONS.len() + 1 == SCHEMA as usize);

/// Makes an empty file ours, brings an older one up to date, refuses a newer one; returns where the store stands.
pub(super) fn prepare(database: &Database) -> Result<Head, OpenError> {
    match read(database)? {
        None => create(database)?,
        Some(written) if written.schema > SCHEMA => {
            return Err(OpenError::Newer {
                found: written.schema,
                written_by: written.written_by,
                known: SCHEMA,
            });
        }
        Some(written) if written.schema < SCHEMA => migrate(database, written.schema)?,
        Some(_) => {}
    }
    head(database)
}

/// Where the store stands, by the file.
pub(super) fn head(database: &Database) -> Result<Head, OpenError> {
    let txn = database.begin_read().map_err(OpenError::failed)?;
    let meta = txn.open_table(META).map_err(OpenError::failed)?;
    let row = meta
        .get(HEAD)
        .map_err(OpenError::failed)?
        .ok_or_else(|| OpenError::Failed("the file is no store, or lost its content".into()))?;
    decode(META, row.value()).map_err(|error| OpenError::Failed(error.into()))
}

pub(super) fn read(database: &Database) -> Result<Option<Written>, OpenError> {
    let txn = database.begin_read().map_err(OpenError::failed)?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        // A new file has no table at all; one with other tables belongs to somebody else.
        Err(TableError::TableDoesNotExist(_)) if txn.list_tables().map_err(OpenError::failed)?.next().is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(OpenError::failed(error)),
    };
    let row = meta.get(ROW).map_err(OpenError::failed)?;
    row.map(|row| decode(META, row.value()))
        .transpose()
        .map_err(|error| OpenError::Failed(error.into()))
}

fn create(database: &Database) -> Result<(), OpenError> {
    let txn = begin(database).map_err(OpenError::failed)?;
    for (_, table) in tables::ALL {
        txn.open_table(*table).map_err(OpenError::failed)?;
    }
    let customer = CustomerId::new(clock::now());
    put(&txn, CUSTOMER, &customer)?;
    let head = Head {
        next_sequence: 1,
        next_session: 1,
        ..Head::default()
    };
    put(&txn, HEAD, &head)?;
    sign(&txn)?;
    txn.commit().map_err(OpenError::failed)
}

fn migrate(database: &Database, from: u32) -> Result<(), OpenError> {
    migrated(database, from)?.commit().map_err(OpenError::failed)?;
    tracing::info!("the store has schema {SCHEMA} now");
    Ok(())
}

/// A transaction in which everything is done.
pub(super) fn migrated(database: &Database, from: u32) -> Result<WriteTransaction, OpenError> {
    let txn = begin(database).map_err(OpenError::failed)?;
    for (_, table) in tables::ALL {
        txn.open_table(*table).map_err(OpenError::failed)?;
    }
    // Schema numbers begin at 1, the list of steps at 0.
    for (schema, step) in (1..).zip(MIGRATIONS).skip(from.saturating_sub(1) as usize) {
        (step.rewrite)(&txn).map_err(OpenError::Failed)?;
        tracing::info!("schema {schema} → {}: {}", schema + 1, step.brought);
    }
    sign(&txn)?;
    Ok(txn)
}

fn begin(database: &Database) -> Result<WriteTransaction, TransactionError> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    Ok(txn)
}

fn sign(txn: &WriteTransaction) -> Result<(), OpenError> {
    let written = Written {
        schema: SCHEMA,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    put(txn, ROW, &written)
}

fn put(txn: &WriteTransaction, key: &[u8], row: &impl Serialize) -> Result<(), OpenError> {
    let bytes = serde_json::to_vec(row).map_err(|error| OpenError::Failed(error.into()))?;
    let mut meta = txn.open_table(META).map_err(OpenError::failed)?;
    meta.insert(key, bytes.as_slice()).map_err(OpenError::failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(folder.path().join("store.redb")).unwrap();
        (folder, database)
    }

    fn pretend(database: &Database, schema: u32, written_by: &str) {
        let txn = database.begin_write().unwrap();
        let written = Written {
            schema,
            written_by: written_by.into(),
        };
        put(&txn, ROW, &written).unwrap();
        txn.commit().unwrap();
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_says_who_wrote_it() {
        let (_folder, database) = file();
        prepare(&database).unwrap();
        pretend(&database, SCHEMA + 3, "9.1.0");
        let refusal = prepare(&database).unwrap_err();
        assert!(
            matches!(&refusal, OpenError::Newer { found, written_by, known }
                if *found == SCHEMA + 3 && written_by == "9.1.0" && *known == SCHEMA),
            "{refusal}"
        );
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_left_alone() {
        let (_folder, database) = file();
        let foreign: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("accounts");
        let txn = database.begin_write().unwrap();
        txn.open_table(foreign).unwrap().insert(1, 1).unwrap();
        txn.commit().unwrap();
        assert!(matches!(prepare(&database), Err(OpenError::Failed(_))));
        let tables = database.begin_read().unwrap().list_tables().unwrap().count();
        assert_eq!(tables, 1);
    }

    #[test]
    fn the_owner_is_made_once() {
        let (_folder, database) = file();
        let owner = |database: &Database| {
            let txn = database.begin_read().unwrap();
            let meta = txn.open_table(META).unwrap();
            meta.get(CUSTOMER).unwrap().unwrap().value().to_vec()
        };
        prepare(&database).unwrap();
        let first = owner(&database);
        prepare(&database).unwrap();
        assert_eq!(owner(&database), first);
    }
}
