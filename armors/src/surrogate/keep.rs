//! What a Surrogate Manager does about the CHECKPOINT ARMOR of its application: it is on another node than the
//! program, knows where its images are, and is asked for them when the program goes elsewhere.
//!
//! Invariant: without it the program runs all the same; that its images are not kept is said. Called by the blocks of
//! the manager.

use std::time::Duration;

use chameleon_policy::checkpoint::Cadence;
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Available, Kept};
use chameleon_proto::message::env::Step;
use chameleon_supervisor::armor::Outbox;

use super::desk::{Desk, Phase, Work};
use crate::checkpoint;

/// How many times it looks for a new image while one is due.
const LOOKS: u32 = 4;
/// How often it looks at least, and at most.
const SELDOM: Duration = Duration::from_millis(500);
const OFTEN: Duration = Duration::from_millis(50);

impl Desk {
    /// What it starts with.
    pub fn keeper_parameters(&self) -> checkpoint::Parameters {
        let cadence = self.parameters.options.get("checkpoint");
        let every = cadence.and_then(|text| text.parse::<Cadence>().ok()?.every);
        let every = every.map_or(SELDOM, |every| (every / LOOKS).clamp(OFTEN, SELDOM));
        let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        checkpoint::Parameters { home: format!("{}/checkpoint", self.home()), every_ns }
    }

    /// It is there: it is told of the run, and a program that waits for what it keeps begins.
    pub fn keeper_is_there(&mut self, index: usize, outbox: &mut Outbox) {
        for index in 0..self.slots.len() {
            self.show(index, outbox);
        }
        self.recovered(index, outbox);
        self.order_those_that_wait(outbox);
    }

    fn order_those_that_wait(&mut self, outbox: &mut Outbox) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.is_program() && slot.phase == Phase::There && slot.moved {
                self.order(index, outbox);
            }
        }
    }

    /// Tells it where the images of a program that runs can be had.
    pub fn show(&self, index: usize, outbox: &mut Outbox) {
        let slot = &self.slots[index];
        let (Work::Program { replica, part }, Some(keeper)) = (slot.work, self.keeper()) else {
            return;
        };
        let keeper = &self.slots[keeper];
        if slot.phase == Phase::Running && keeper.phase == Phase::There {
            let available = Available {
                round: self.round,
                replica,
                part,
                at: slot.armor,
                attempt: slot.attempt,
                took_ns: 0,
            };
            outbox.send(keeper.armor, Message::Available(available));
        }
    }

    /// Whether a program has to wait until the CHECKPOINT ARMOR, which may have its image, is there again.
    pub fn waits_for_keeper(&self, index: usize) -> bool {
        let installing = |keeper: usize| self.slots[keeper].phase == Phase::Installing;
        self.slots[index].moved
            && self.kept.image.is_some()
            && self.keeper().is_some_and(installing)
    }

    /// Whom a program's ARMOR asks for an image: only if there can be none on its own node.
    pub fn keeper_for(&self, index: usize) -> Option<ArmorId> {
        let slot = &self.slots[index];
        // Of a next life whose start this life of the manager has not seen it is not known; the ARMOR knows.
        let unknown = slot.armor.incarnation.0 > 0 && slot.began.is_none();
        let keeper = &self.slots[self.keeper()?];
        let there = keeper.phase == Phase::There;
        (there && (slot.moved || unknown)).then_some(keeper.armor)
    }

    /// It says what it keeps.
    pub fn keeps(&mut self, kept: &Kept, outbox: &mut Outbox) {
        let Some(index) = self.find(outbox.source()) else { return };
        // Of an earlier life, on another node perhaps, it does not matter any more.
        if self.slots[index].armor != outbox.source() {
            return;
        }
        let before = std::mem::replace(&mut self.kept, kept.clone());
        let at = self.tables.at(self.slots[index].node);
        if let (None, Some((image, _))) = (before.image, kept.image) {
            let text = format!("image {image} of it is kept on {at}, too");
            self.note(0, Step::Info, text, outbox);
        }
        match (&before.why, &kept.why) {
            (None, Some(why)) => {
                let text = format!("its images are not kept on another node as things are: {why}");
                self.note(0, Step::Info, text, outbox);
            }
            (Some(_), None) if kept.image.is_some() => {
                let text = format!("its images are kept on {at} again");
                self.note(0, Step::Info, text, outbox);
            }
            _ => {}
        }
    }

    /// Sees to it that there is one, and that it is not where the program is, as far as there are nodes.
    pub fn keep_apart(&mut self, outbox: &mut Outbox) {
        if !self.keeps_images() || self.state.is_over() || self.stopping {
            return;
        }
        let there = self.slots.iter().position(|slot| slot.work == Work::Keeper);
        let apart = |index: usize| {
            let slot = &self.slots[index];
            let together = self.program_nodes().contains(&slot.node);
            !together && slot.phase != Phase::GivenUp || slot.phase == Phase::Installing
        };
        if there.is_some_and(apart) {
            return;
        }
        let Some(node) = self.place_for_images() else { return };
        match there {
            None => {
                let armor = ArmorId::first(armors::CHECKPOINT, self.parameters.app);
                self.add(Work::Keeper, armor, node);
                self.install(self.slots.len() - 1, armor, node, outbox);
            }
            Some(index) => {
                let (armor, old) = (self.slots[index].armor, self.slots[index].node);
                let (to, from) = (self.tables.at(node), self.tables.at(old));
                let text = format!("its images go to {to}: {from} has its program");
                self.note(0, Step::Info, text, outbox);
                outbox.send(ArmorId::daemon(old), Message::Uninstall(armor));
                self.install(index, armor.successor(), node, outbox);
            }
        }
    }

    /// It was given up: nobody waits for it.
    pub fn keeper_is_gone(&mut self, outbox: &mut Outbox) {
        self.kept = Kept::default();
        self.order_those_that_wait(outbox);
    }
}
