//! A manager's side of an atomic update of the tables (paper 5.3.1, figure 6).
//!
//! Invariant: an update is committed at all who are asked or at none; one that some can make and others
//! cannot is aborted, and those who cannot are accused: their tables are not what they should be. That
//! is certain as long as a row is changed by one manager (an ARMOR's by the one who installed it), whose
//! changes of it are made one after the other; if two change one at once, an update of the one may be on
//! its way to one table and not to the other. So an accusation is judged before it has consequences
//! ([`crate::promotion`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::env::{Accusation, Phase, Row, Update, Updated};

use super::Key;
use super::participant::BUSY;

/// What a manager is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this.
    Send(ArmorId, Update),
    /// All have it.
    Done(u64),
    /// None has it, and it can be tried again with a new number: another manager was at the row, or one
    /// who was asked is gone.
    Again(u64, Row),
    /// None has it, and all say why not: the one who asked is wrong.
    Refused(u64, String),
    /// None has it: some could, the accused could not. Tell the others.
    Accuse {
        /// Those who are told.
        to: Vec<ArmorId>,
        /// Which update, who refused it, and what it said. The accused is the FTM where it is the FTM
        /// that refused, else its backup.
        accusation: Accusation,
        /// To be tried again when that is settled.
        row: Row,
    },
}

#[derive(Clone, Debug)]
struct Flight {
    row: Row,
    phase: Phase,
    /// Those who have not answered yet.
    open: BTreeSet<ArmorId>,
    agreed: Vec<ArmorId>,
    refused: Vec<(ArmorId, String)>,
}

/// The updates of one manager.
#[derive(Clone, Debug, Default)]
pub struct Coordinator {
    last: u64,
    flights: BTreeMap<u64, Flight>,
    /// Behind an earlier one of the same row.
    waiting: VecDeque<(u64, Flight)>,
}

impl Coordinator {
    /// Begins an update at the FTM and, if there is one, at its backup; the update's number, and what is
    /// to be done now. It waits for an earlier one of the same row.
    pub fn begin(&mut self, row: Row, at: &[ArmorId]) -> (u64, Vec<Effect>) {
        self.last += 1;
        let flight = Flight {
            row,
            phase: Phase::Prepare,
            open: at.iter().copied().collect(),
            agreed: Vec::new(),
            refused: Vec::new(),
        };
        self.waiting.push_back((self.last, flight));
        (self.last, self.start())
    }

    /// Sends what waits and need not any more.
    fn start(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut busy: BTreeSet<Key> =
            self.flights.values().map(|flight| Key::of(&flight.row)).collect();
        for (sequence, flight) in std::mem::take(&mut self.waiting) {
            if !busy.insert(Key::of(&flight.row)) {
                self.waiting.push_back((sequence, flight));
            } else if flight.open.is_empty() {
                effects.push(Effect::Again(sequence, flight.row));
            } else {
                effects.extend(flight.send(sequence));
                self.flights.insert(sequence, flight);
            }
        }
        effects
    }

    /// Takes an answer. One that was not asked for changes nothing.
    pub fn answered(&mut self, from: ArmorId, answer: &Updated) -> Vec<Effect> {
        let Some(flight) = self.flights.get_mut(&answer.sequence) else { return Vec::new() };
        if flight.phase != answer.phase || !flight.open.remove(&from) {
            return Vec::new();
        }
        match &answer.refusal {
            None => flight.agreed.push(from),
            Some(why) => flight.refused.push((from, why.clone())),
        }
        self.proceed(answer.sequence)
    }

    /// One who was asked is gone: what it has not answered, it never will.
    pub fn gone(&mut self, who: ArmorId) -> Vec<Effect> {
        for (_, flight) in &mut self.waiting {
            flight.open.remove(&who);
        }
        let numbers: Vec<u64> = self.flights.keys().copied().collect();
        let mut effects = Vec::new();
        for sequence in numbers {
            if let Some(flight) = self.flights.get_mut(&sequence)
                && flight.open.remove(&who)
            {
                effects.extend(self.proceed(sequence));
            }
        }
        effects
    }

    /// What has not been answered yet, to be sent again.
    pub fn open(&self) -> Vec<Effect> {
        self.flights.iter().flat_map(|(sequence, flight)| flight.send(*sequence)).collect()
    }

    fn proceed(&mut self, sequence: u64) -> Vec<Effect> {
        let Some(flight) = self.flights.get_mut(&sequence) else { return Vec::new() };
        if !flight.open.is_empty() {
            return Vec::new();
        }
        if flight.phase == Phase::Prepare && !flight.agreed.is_empty() {
            flight.phase = if flight.refused.is_empty() { Phase::Commit } else { Phase::Abort };
            flight.open = flight.agreed.iter().copied().collect();
            return flight.send(sequence);
        }
        let mut effects = self.end(sequence);
        effects.extend(self.start());
        effects
    }

    fn end(&mut self, sequence: u64) -> Vec<Effect> {
        let Some(flight) = self.flights.remove(&sequence) else { return Vec::new() };
        let to = flight.voters();
        let busy = flight.refused.iter().any(|(_, why)| why == BUSY);
        vec![match flight.refused.iter().find(|(_, why)| why != BUSY) {
            // Where another is at the row, the others may have its change already.
            _ if busy => Effect::Again(sequence, flight.row),
            None if flight.agreed.is_empty() => Effect::Again(sequence, flight.row),
            None => Effect::Done(sequence),
            Some((accused, why)) if !to.is_empty() => {
                let accusation = Accusation { ftm: *accused, sequence, why: why.clone() };
                Effect::Accuse { to, accusation, row: flight.row }
            }
            Some((_, why)) => Effect::Refused(sequence, why.clone()),
        }]
    }
}

impl Flight {
    fn send(&self, sequence: u64) -> Vec<Effect> {
        let update = Update { sequence, phase: self.phase, row: self.row.clone() };
        self.open.iter().map(|to| Effect::Send(*to, update.clone())).collect()
    }

    /// Those who could do it, each once.
    fn voters(&self) -> Vec<ArmorId> {
        let refused = |who: &ArmorId| self.refused.iter().any(|(other, _)| other == who);
        let voters: BTreeSet<ArmorId> =
            self.agreed.iter().copied().filter(|who| !refused(who)).collect();
        voters.into_iter().collect()
    }
}
