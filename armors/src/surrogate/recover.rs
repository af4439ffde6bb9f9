//! The Recovery blocks of a Surrogate Manager: what is done when something of its application fails
//! (paper Table 2).
//!
//! Invariant: a block decides nothing itself: [`chameleon_policy::recovery`] does. The two blocks differ
//! in where they begin, restart in place or move to another node, and stand for each other at any
//! time (`Compose`).

use chameleon_policy::plan::Form;
use chameleon_policy::recovery::{self, Failure, Recovery, Scene, Step as Do, Way};
use chameleon_policy::strategy::{Loss, Wrong};
use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::app::Fault;
use chameleon_proto::message::env::{
    AppState, ArmorDown, Executed, How, NoWay, NodeDown, Step, Undeliverable, Voted,
};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::desk::{Desk, Phase, Work};
use super::{Shared, with};
use crate::context::{Context, now_ns};
use crate::execution::unix_ns;

/// Restart in place.
pub(crate) const IN_PLACE: BlockId = BlockId(121);
/// Move to another node.
pub(crate) const MOVE: BlockId = BlockId(122);

struct Recover {
    desk: Shared,
    way: Way,
}

pub(crate) fn in_place(context: &Context) -> Box<dyn Block> {
    Box::new(Recover { desk: context.shared(), way: Way::InPlace })
}

pub(crate) fn move_away(context: &Context) -> Box<dyn Block> {
    Box::new(Recover { desk: context.shared(), way: Way::Move })
}

impl Block for Recover {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if let Message::Attached = message {
            for kind in
                [Kind::ArmorDown, Kind::NodeDown, Kind::Executed, Kind::Voted, Kind::Undeliverable]
            {
                outbox.subscribe(kind);
            }
            return;
        }
        let way = self.way;
        with(&self.desk, |desk| match message {
            _ if desk.state.is_over() => {}
            Message::ArmorDown(down) => desk.armor_down(way, down, outbox),
            Message::NodeDown(down) => desk.node_down(way, down, outbox),
            Message::Executed(executed) => desk.failed(way, executed, outbox),
            Message::Voted(voted) => desk.disagreed(way, voted, outbox),
            Message::Undeliverable(back) => desk.came_back(way, back, outbox),
            _ => {}
        });
    }
}

impl Desk {
    fn armor_down(&mut self, way: Way, down: &ArmorDown, outbox: &mut Outbox) {
        let Some(index) = self.find(down.armor) else { return };
        // Of an earlier life nothing is expected any more.
        if self.slots[index].armor != down.armor {
            return;
        }
        let what = self.tables.called(self.slots[index].armor);
        let text = format!("{what} on {} {}", self.tables.at(down.node), ended(down.how));
        let number = self.detected(index, text, down.at_ns, outbox);
        self.recover(way, index, number, Failure::Armor(down.armor, down.how), outbox);
    }

    /// A message to one of its ARMORs came back: it is not where it should be.
    fn came_back(&mut self, way: Way, back: &Undeliverable, outbox: &mut Outbox) {
        let gone = matches!(back.why, NoWay::NotHere | NoWay::OtherLife | NoWay::Unknown);
        let Some(index) = self.find(back.destination).filter(|_| gone) else { return };
        let slot = &self.slots[index];
        if slot.armor != back.destination
            || matches!(slot.phase, Phase::Installing | Phase::GivenUp)
        {
            return;
        }
        let down =
            ArmorDown { armor: slot.armor, node: slot.node, how: How::Gone, at_ns: unix_ns() };
        self.armor_down(way, &down, outbox);
    }

    fn node_down(&mut self, way: Way, down: &NodeDown, outbox: &mut Outbox) {
        let node = down.node;
        if let Some(known) = self.candidates.iter_mut().find(|known| known.id == node) {
            known.closed = Some("it is down");
        }
        let there = |index: &usize| {
            let slot = &self.slots[*index];
            slot.node == node && !matches!(slot.phase, Phase::GivenUp | Phase::Away)
        };
        let lost: Vec<usize> = (0..self.slots.len()).filter(there).collect();
        let Some(first) = lost.first().copied() else { return };
        let text = format!("{} does not answer", self.tables.at(node));
        let number = self.detected(first, text, down.at_ns, outbox);
        for index in &lost {
            self.slots[*index].incident = Some((number, down.at_ns));
            self.slots[*index].executed = None;
        }
        let again = self.specification.needs.node_loss > Loss::Ended;
        if !again && self.parameters.form != Form::Apart {
            for index in &lost {
                self.slots[*index].phase = Phase::Away;
            }
            let text = format!(
                "it stays on {} and goes on when that is there again: its specification asks for nothing if \
                 a node is lost (node-loss)",
                self.tables.at(node)
            );
            return self.note(number, Step::Decided, text, outbox);
        }
        if !again && self.left(&lost) < self.needed() {
            let text = "the loss of a node ends it: its specification asks for no more";
            return self.finish(AppState::Failed(text.to_owned()), outbox);
        }
        let with_asks: Vec<_> =
            lost.iter().map(|index| (self.slots[*index].armor, self.ask(*index))).collect();
        let plan = recovery::evacuate(&self.scene(way, outbox.own()), node, &with_asks);
        self.carry_out(number, plan, outbox);
    }

    /// A program ended.
    fn failed(&mut self, way: Way, executed: &Executed, outbox: &mut Outbox) {
        let (Some(fault), Some(index)) = (executed.fault, self.find(outbox.source())) else {
            return;
        };
        let slot = &self.slots[index];
        let (armor, app) = (slot.armor, self.app());
        if executed.attempt < slot.attempt || slot.phase != Phase::Over || self.stopping {
            return;
        }
        let why = executed.given_up.clone().unwrap_or_default();
        let number = self.detected(index, why.clone(), unix_ns(), outbox);
        if fault == Fault::Unstartable {
            return self.give_up(index, number, why, outbox);
        }
        if self.specification.needs.availability == Loss::Ended && fault != Fault::CutOff {
            return match self.voter() {
                None => self.finish(AppState::Ended(executed.status), outbox),
                Some(_) => self.give_up(index, number, why, outbox),
            };
        }
        let failure = match fault {
            Fault::Terminated | Fault::Unstartable => Failure::Terminated(app, armor),
            Fault::Livelock => Failure::Livelock(app, armor),
            Fault::CutOff => Failure::CutOff(app, armor),
            Fault::Erroneous => Failure::Erroneous(app, armor, Wrong::Stopped),
        };
        self.recover(way, index, number, failure, outbox);
    }

    /// A vote is over: the result is where it belongs, unless none has won.
    fn disagreed(&mut self, way: Way, voted: &Voted, outbox: &mut Outbox) {
        if voted.round != self.round {
            return;
        }
        if let Some(result) = &voted.result {
            for replica in voted.differ.clone() {
                let Some(index) = self.replica(replica) else { continue };
                let text = format!(
                    "replica {replica} on {} computed another result than the others",
                    self.tables.at(self.slots[index].node)
                );
                let number = self.detected(index, text, unix_ns(), outbox);
                let failure =
                    Failure::Erroneous(self.app(), self.slots[index].armor, Wrong::Masked);
                self.recover(way, index, number, failure, outbox);
                self.recovered(index, outbox);
            }
            if !voted.late.is_empty() {
                let (late, of) = (voted.late.len(), self.mode.n);
                let text = format!("the result was there without {late} of {of} replicas");
                self.note(0, Step::Info, text, outbox);
            }
            let status =
                result.first().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            return self.finish(AppState::Ended(status.unwrap_or(125)), outbox);
        }
        let text = format!(
            "no {} of {} results agree (differ: {:?}, late: {:?})",
            self.mode.k, self.mode.n, voted.differ, voted.late
        );
        let number = self.detected(0, text.clone(), unix_ns(), outbox);
        if self.specification.needs.availability == Loss::Ended {
            return self.finish(AppState::Failed(text), outbox);
        }
        // All begin again, and so does the vote.
        self.round += 1;
        for index in 0..self.slots.len() {
            let armor = self.slots[index].armor;
            match self.slots[index].work {
                Work::Program { .. } => {
                    let failure = Failure::Erroneous(self.app(), armor, Wrong::Stopped);
                    self.recover(way, index, number, failure, outbox);
                }
                Work::Voter => {
                    outbox.send(ArmorId::daemon(self.slots[index].node), Message::Uninstall(armor));
                    let node = self.slots[index].node;
                    self.install(index, armor.successor(), node, outbox);
                }
                Work::Keeper => {}
            }
        }
    }

    fn scene(&self, way: Way, manager: ArmorId) -> Scene<'_> {
        Scene { manager, tables: &self.tables, nodes: &self.candidates, way, now_ns: now_ns() }
    }

    /// Decides and does it.
    fn recover(
        &mut self,
        way: Way,
        index: usize,
        number: u64,
        failure: Failure,
        outbox: &mut Outbox,
    ) {
        let ask = self.ask(index);
        let mut attempts = self.slots[index].attempts.clone();
        let plan = recovery::recover(&self.scene(way, outbox.own()), failure, &ask, &mut attempts);
        self.slots[index].attempts = attempts;
        self.carry_out(number, plan, outbox);
    }

    fn carry_out(&mut self, number: u64, plan: Recovery, outbox: &mut Outbox) {
        let done = plan.steps.iter().filter(|step| !matches!(step, Do::TellUser(_)));
        let steps: Vec<String> = done.map(|step| step.words(&self.tables)).collect();
        let gives_up = plan.steps.iter().any(|step| matches!(step, Do::GiveUp(..)));
        let steps =
            if steps.is_empty() { "nothing is to be done".to_owned() } else { steps.join("; ") };
        self.note(number, Step::Decided, format!("{}: {steps}", plan.why.join(", ")), outbox);
        let node_of = |armor: &ArmorId| self.find(*armor).map(|index| self.slots[index].node);
        let moves = plan.steps.iter().any(|step| match step {
            Do::Install(armor, node) => node_of(armor) != Some(*node),
            _ => false,
        });
        for step in plan.steps {
            match step {
                Do::Kill(armor, node) => {
                    outbox.send(ArmorId::daemon(node), Message::Uninstall(armor));
                }
                Do::Install(armor, node) => {
                    if let Some(index) = self.find(armor) {
                        self.install(index, armor, node, outbox);
                    }
                }
                Do::RestartProgram(_, armor) => {
                    if let Some(index) = self.find(armor) {
                        // One that moves has been counted.
                        self.slots[index].attempt += u32::from(!moves);
                        self.slots[index].executed = None;
                        if self.slots[index].phase != Phase::Installing {
                            self.order(index, outbox);
                        }
                    }
                }
                Do::GiveUp(armor, text) => {
                    if let Some(index) = self.find(armor) {
                        self.give_up(index, number, text, outbox);
                    }
                }
                // What is given up is told as that.
                Do::TellUser(text) if !gives_up => self.note(number, Step::Info, text, outbox),
                Do::TellUser(_) => {}
                // These are the FTM's.
                Do::RemoveNode(_) | Do::TellManager(..) | Do::Promote => {}
            }
        }
    }

    /// A slot is given up; the application goes on if enough replicas are left.
    fn give_up(&mut self, index: usize, number: u64, text: String, outbox: &mut Outbox) {
        let slot = &mut self.slots[index];
        slot.phase = Phase::GivenUp;
        let voter = slot.work == Work::Voter;
        if voter || self.possible() < self.needed() {
            return self.finish(AppState::Failed(text), outbox);
        }
        self.slots[index].incident = None;
        self.note(number, Step::GivenUp, text, outbox);
        self.recovered(index, outbox);
        if self.slots[index].work == Work::Keeper {
            self.keeper_is_gone(outbox);
        }
    }
}

fn ended(how: How) -> String {
    match how {
        How::Exit(status) => format!("ended with status {status}"),
        How::Signal(signal) => format!("was ended by signal {signal}"),
        How::Gone => "is gone".to_owned(),
        How::Hang => "did not answer".to_owned(),
    }
}
