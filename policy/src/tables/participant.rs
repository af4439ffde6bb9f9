//! The FTM's and the Backup FTM's side of an atomic update (paper 5.3.1, figure 6).
//!
//! ```text
//!   prepare ─► can it be done, and is nobody else at this row? ─► yes ─► commit ─► done
//!                    │                                             └────► abort ─► forgotten
//!                    └─► no, with the reason
//! ```
//!
//! Invariant: an update is made at most once, however often its messages come; a row has at most one
//! that is prepared. A commit says that all have prepared it, so it is made also by one that has lost that
//! meanwhile (an FTM that was started again with the rows it had kept). So updates that are under way at the same time are of different rows, it does not
//! matter in which order they are made, and the mirror becomes what the master is.

use std::collections::BTreeMap;

use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::env::{Phase, Places, Row, Update, Updated};

use super::{Key, Tables};

/// The refusal of an update whose row another is about to change: to be tried again. Every other
/// refusal is a disagreement.
pub const BUSY: &str = "another update of this row is under way";

/// Outcomes of a sender's updates that are remembered, for messages that come twice.
const REMEMBERED: usize = 256;

/// Tables with updates under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Participant {
    tables: Tables,
    prepared: BTreeMap<(ArmorId, u64), Row>,
    busy: BTreeMap<Key, (ArmorId, u64)>,
    aborted: BTreeMap<(ArmorId, u64), Row>,
    outcomes: BTreeMap<ArmorId, BTreeMap<u64, Result<(), String>>>,
}

impl Participant {
    /// Begins with these tables.
    pub fn new(tables: Tables) -> Self {
        Self { tables, ..Self::default() }
    }

    /// The tables.
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Takes a message; the answer to it, and what the daemons are to be told (by the FTM alone).
    pub fn receive(&mut self, sender: ArmorId, update: &Update) -> (Updated, Option<Places>) {
        let at = (sender, update.sequence);
        let outcome = self.outcomes.get(&sender).and_then(|known| known.get(&update.sequence));
        let (refusal, places) = match (update.phase, outcome) {
            (Phase::Prepare | Phase::Commit, Some(Ok(()))) | (Phase::Abort, Some(Err(_))) => {
                (None, None)
            }
            (Phase::Prepare | Phase::Commit, Some(Err(why))) => (Some(why.clone()), None),
            (Phase::Abort, Some(Ok(()))) => (Some("it was committed".to_owned()), None),
            (Phase::Prepare, None) => {
                let refusal = self.prepare(at, &update.row).err();
                // It stays refused: no one aborts it here, and its prepare may come again.
                if let Some(why) = &refusal
                    && !self.prepared.contains_key(&at)
                {
                    self.remember(at, Err(why.clone()));
                }
                (refusal, None)
            }
            (Phase::Commit, None) => match self.commit(at, &update.row) {
                Ok(places) => (None, places),
                Err(why) => (Some(why), None),
            },
            (Phase::Abort, None) => {
                if let Some(row) = self.release(at) {
                    self.aborted.insert(at, row);
                }
                self.remember(at, Err("it was aborted".to_owned()));
                (None, None)
            }
        };
        (Updated { sequence: update.sequence, phase: update.phase, refusal }, places)
    }

    /// The row of an update that is prepared, or was and then aborted: to judge an accusation about it.
    pub fn asked(&self, sender: ArmorId, sequence: u64) -> Option<&Row> {
        let at = (sender, sequence);
        self.prepared.get(&at).or_else(|| self.aborted.get(&at))
    }

    /// The updates that a sender has left unfinished. When it is gone, the FTM aborts them
    /// and passes that on to the backup, so that both do the same.
    pub fn unfinished(&self, sender: ArmorId) -> Vec<u64> {
        let all = (sender, 0)..=(sender, u64::MAX);
        self.prepared.range(all).map(|((_, sequence), _)| *sequence).collect()
    }

    /// The copy of an update that the FTM has made, which it sends to its backup (figure 6, step 4): it
    /// is made here, too, if the sender did not live to say so.
    ///
    /// # Errors
    /// The tables disagree, in words: the FTM's or these are wrong.
    pub fn copy(&mut self, sender: ArmorId, sequence: u64, row: &Row) -> Result<(), String> {
        let at = (sender, sequence);
        if self.outcomes.get(&sender).is_some_and(|known| known.get(&sequence) == Some(&Ok(()))) {
            return Ok(());
        }
        self.commit(at, row).map(drop)
    }

    fn prepare(&mut self, at: (ArmorId, u64), row: &Row) -> Result<(), String> {
        if let Some(known) = self.prepared.get(&at) {
            let same = known == row;
            return if same { Ok(()) } else { Err("its number is another update's".to_owned()) };
        }
        let key = Key::of(row);
        if self.busy.contains_key(&key) {
            return Err(BUSY.to_owned());
        }
        self.tables.check(row).map_err(|why| why.to_string())?;
        self.busy.insert(key, at);
        self.prepared.insert(at, row.clone());
        Ok(())
    }

    fn commit(&mut self, at: (ArmorId, u64), row: &Row) -> Result<Option<Places>, String> {
        if self.prepared.get(&at).is_some_and(|prepared| prepared != row) {
            return Err("what is to be committed is not what was prepared".to_owned());
        }
        let places = self.tables.apply(row.clone()).map_err(|why| why.to_string())?;
        self.release(at);
        self.remember(at, Ok(()));
        Ok(places)
    }

    fn release(&mut self, at: (ArmorId, u64)) -> Option<Row> {
        let row = self.prepared.remove(&at)?;
        self.busy.remove(&Key::of(&row));
        Some(row)
    }

    fn remember(&mut self, at: (ArmorId, u64), outcome: Result<(), String>) {
        let known = self.outcomes.entry(at.0).or_default();
        known.insert(at.1, outcome);
        if known.len() > REMEMBERED
            && let Some((oldest, _)) = known.pop_first()
        {
            self.aborted.remove(&(at.0, oldest));
        }
    }
}
