//! The state in SQLite, a file for each who has it.
//!
//! Invariant: a row is what its table, by `policy::tables`, has one of: a later one takes its place. A
//! write is a transaction of its own; the log is written ahead and not waited for on the disk
//! (`PRAGMA synchronous=NORMAL`), so a killed process loses nothing.

use std::path::{Path, PathBuf};

use chameleon_policy::tables::{FAILURES_KEPT, Key};
use chameleon_proto::ask::Numbered;
use chameleon_proto::ids::Epoch;
use chameleon_proto::message::env::Row;
use rusqlite::{Connection, params};

use super::{NOTES, StateStore, StoreError};

const ENDING: &str = ".sqlite";

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA busy_timeout = 2000;
    CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, key TEXT NOT NULL, row TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS keys ON rows (key);
    CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
";

/// A file.
pub(crate) struct Sqlite {
    file: PathBuf,
    connection: Connection,
}

/// The stores in a directory.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let wrong = |source| StoreError::File { file: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(ENDING)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

impl Sqlite {
    /// The store of this name in a directory, made if it is not there; open to its user alone.
    pub(crate) fn open(directory: &Path, name: &str) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        let file = directory.join(format!("{name}{ENDING}"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| StoreError::File { file: directory.to_owned(), source })?;
        let open = || {
            let connection = Connection::open(&file)?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Self { file, connection }),
            Err(source) => Err(StoreError::Sqlite { file, source }),
        }
    }

    fn wrong(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.clone(), source }
    }

    fn text<T: serde::Serialize>(&self, value: &T) -> Result<String, StoreError> {
        let row = |source| StoreError::Row { file: self.file.clone(), source };
        serde_json::to_string(value).map_err(row)
    }

    fn all<T: serde::de::DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, StoreError> {
        let texts = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<Result<Vec<String>, _>>()
        };
        let row = |source| StoreError::Row { file: self.file.clone(), source };
        let texts = texts().map_err(|source| self.wrong(source))?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(row)).collect()
    }
}

impl StateStore for Sqlite {
    fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let key = format!("{:?}", Key::of(row));
        let text = match row {
            Row::NoArmor(_) | Row::NoNode(_) | Row::NoApp(_) => None,
            _ => Some(self.text(row)?),
        };
        let kept = if matches!(row, Row::Failure(_)) { FAILURES_KEPT as u64 - 1 } else { 0 };
        let write = || {
            let transaction = self.connection.transaction()?;
            transaction
                .prepare_cached(
                    "DELETE FROM rows WHERE key = ?1 AND number NOT IN
                     (SELECT number FROM rows WHERE key = ?1 ORDER BY number DESC LIMIT ?2)",
                )?
                .execute(params![key, kept])?;
            if let Some(text) = text {
                transaction
                    .prepare_cached("INSERT INTO rows (key, row) VALUES (?1, ?2)")?
                    .execute(params![key, text])?;
            }
            transaction.commit()
        };
        write().map_err(|source| StoreError::Sqlite { file: self.file.clone(), source })
    }

    fn rows(&self) -> Result<Vec<Row>, StoreError> {
        self.all("SELECT row FROM rows ORDER BY number")
    }

    fn note(&mut self, note: &Numbered) -> Result<(), StoreError> {
        let text = self.text(note)?;
        let write = || {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO notes (number, note) VALUES (?1, ?2)")?
                .execute(params![note.number, text])?;
            self.connection
                .prepare_cached("DELETE FROM notes WHERE number <= ?1")?
                .execute(params![note.number.saturating_sub(NOTES)])
        };
        write().map(drop).map_err(|source| self.wrong(source))
    }

    fn notes(&self) -> Result<Vec<Numbered>, StoreError> {
        self.all("SELECT note FROM notes ORDER BY number")
    }

    fn set_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        let write = "INSERT OR REPLACE INTO facts (name, value) VALUES ('epoch', ?1)";
        // SQLite's whole numbers are signed; no environment lives for 2^63 promotions.
        let value = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        self.connection
            .execute(write, params![value])
            .map(drop)
            .map_err(|source| self.wrong(source))
    }

    fn epoch(&self) -> Result<Epoch, StoreError> {
        let query = "SELECT coalesce(max(value), 0) FROM facts WHERE name = 'epoch'";
        let value: i64 = self
            .connection
            .query_row(query, [], |row| row.get(0))
            .map_err(|source| self.wrong(source))?;
        Ok(Epoch(value.unsigned_abs()))
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        let write = "DELETE FROM rows; DELETE FROM notes; DELETE FROM facts;";
        self.connection.execute_batch(write).map_err(|source| self.wrong(source))
    }
}
