//! Where the FTM's state is kept: rows of the tables, what was told about incidents, the epoch.
//!
//! Invariant: what [`StateStore::put`] and the others return from has been handed to the operating system, so a
//! killed FTM loses nothing; the power may take the last moments. Small, because a cluster
//! will keep it in etcd. The FTM has one, each backup its own, all in one directory; who
//! begins takes over from the one of the latest epoch ([`open`]).

use std::path::{Path, PathBuf};

use chameleon_proto::ask::Numbered;
use chameleon_proto::ids::Epoch;
use chameleon_proto::message::env::Row;

mod sqlite;

pub(crate) use sqlite::Sqlite;

/// Notes that are kept; the oldest go.
pub(crate) const NOTES: u64 = 10_000;

/// Why the state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{}: {source}", .file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("{}: a row cannot be read or written: {source}", .file.display())]
    Row { file: PathBuf, source: serde_json::Error },
    #[error("{}: {source}", .file.display())]
    File { file: PathBuf, source: std::io::Error },
}

/// A place for the state.
pub(crate) trait StateStore {
    /// A row has changed; a row that goes takes the one that was there with it.
    fn put(&mut self, row: &Row) -> Result<(), StoreError>;
    /// All rows.
    fn rows(&self) -> Result<Vec<Row>, StoreError>;
    /// A note, with its number.
    fn note(&mut self, note: &Numbered) -> Result<(), StoreError>;
    /// All notes, by number.
    fn notes(&self) -> Result<Vec<Numbered>, StoreError>;
    /// The epoch from now on.
    fn set_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError>;
    /// The last epoch.
    fn epoch(&self) -> Result<Epoch, StoreError>;
    /// Forgets everything: what is to become another's mirror.
    fn clear(&mut self) -> Result<(), StoreError>;
}

/// What the FTM begins with.
pub(crate) struct State {
    pub(crate) store: Box<dyn StateStore>,
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<Numbered>,
    pub(crate) epoch: Epoch,
}

/// The store of this name in a directory, with the state of that one there which has the latest epoch.
pub(crate) fn open(directory: &Path, own: &str) -> Result<State, StoreError> {
    let mut store = Sqlite::open(directory, own)?;
    let mut latest = (store.epoch()?, store.rows()?, store.notes()?);
    let mut from_other = false;
    for other in sqlite::names(directory)?.into_iter().filter(|other| other != own) {
        // One that cannot be read is some other's trouble; this one's own must be right.
        let Ok(other) = Sqlite::open(directory, &other) else { continue };
        let Ok(epoch) = other.epoch() else { continue };
        if epoch > latest.0
            && let (Ok(rows), Ok(notes)) = (other.rows(), other.notes())
        {
            latest = (epoch, rows, notes);
            from_other = true;
        }
    }
    let (epoch, rows, notes) = latest;
    if from_other {
        store.clear()?;
        store.set_epoch(epoch)?;
        rows.iter().try_for_each(|row| store.put(row))?;
        notes.iter().try_for_each(|note| store.note(note))?;
    }
    Ok(State { store: Box::new(store), rows, notes, epoch })
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::{ArmorId, NodeId, armors};
    use chameleon_proto::message::env::{Note, Step};

    use super::*;

    fn there(number: u32, life: u32) -> Row {
        let mut armor = ArmorId::first(armors::VOTER, number);
        armor.incarnation.0 = life;
        Row::Armor { armor, manager: ArmorId::first(armors::FTM, 1), node: NodeId(1) }
    }

    #[test]
    fn rows_are_kept_as_the_tables_have_them() {
        let directory = tempfile::tempdir().unwrap();
        let rows =
            [there(1, 0), there(2, 0), there(1, 1), Row::Parameter("retries".into(), "4".into())];
        let mut state = open(directory.path(), "ftm").unwrap();
        rows.iter().for_each(|row| state.store.put(row).unwrap());
        let Row::Armor { armor, .. } = there(2, 0) else { unreachable!() };
        state.store.put(&Row::NoArmor(armor)).unwrap();
        drop(state);
        let again = open(directory.path(), "ftm").unwrap();
        assert_eq!(again.rows, [there(1, 1), Row::Parameter("retries".into(), "4".into())]);
    }

    #[test]
    fn the_state_of_the_latest_epoch_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = open(directory.path(), "ftm").unwrap();
        first.store.set_epoch(Epoch(1)).unwrap();
        first.store.put(&there(1, 0)).unwrap();
        let mut promoted = open(directory.path(), "backup-1").unwrap();
        assert_eq!(promoted.epoch, Epoch(1));
        promoted.store.clear().unwrap();
        promoted.store.set_epoch(Epoch(2)).unwrap();
        promoted.store.put(&there(7, 0)).unwrap();
        let note = Note {
            incident: 1,
            at_ns: 5,
            node: NodeId(1),
            app: None,
            step: Step::Detected,
            text: "it is gone".into(),
        };
        promoted.store.note(&Numbered { number: 3, note }).unwrap();
        drop((first, promoted));
        let again = open(directory.path(), "ftm").unwrap();
        assert_eq!((again.epoch, again.rows.len(), again.notes.len()), (Epoch(2), 1, 1));
        assert_eq!(again.rows[0], there(7, 0));
    }
}
