//! What a Surrogate Manager does: messages to daemons, to its ARMORs, and to the FTM and its backup.
//!
//! Invariant: whoever manages is told of each ARMOR before its place matters to others; each row goes to
//! the FTM and its backup as one update. Called by its blocks.

use chameleon_policy::lease;
use chameleon_policy::plan::Form;
use chameleon_policy::tables::coordinator::Effect;
use chameleon_proto::ask::Told;
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Available, Began, Control, Kept, Order};
use chameleon_proto::message::env::{Answer, AppState, Execute, Install, Note, Row, Step};
use chameleon_proto::runs::to_line;
use chameleon_supervisor::armor::Outbox;

use super::desk::{Desk, Phase, Work};
use crate::context::now_ns;
use crate::execution::{self, unix_ns};
use crate::voter;

impl Desk {
    /// Has a slot's ARMOR started, as this life of it on this node.
    pub fn install(&mut self, index: usize, armor: ArmorId, node: NodeId, outbox: &mut Outbox) {
        let home = self.home();
        let parameters = match self.slots[index].work {
            Work::Program { .. } => {
                let home = format!("{home}/{}", armor.number & 0xfff);
                let user = self.specification.app.user.clone();
                execution::Parameters { home, user }.to_toml().map_err(|error| error.to_string())
            }
            Work::Voter => voter::Parameters {
                round: self.round,
                directory: self.parameters.directory.clone(),
                specification: self.parameters.specification.clone(),
                mode: self.parameters.mode.clone(),
                timeout_ns: self.parameters.timeout_ns,
            }
            .to_toml()
            .map_err(|error| error.to_string()),
            Work::Keeper => self.keeper_parameters().to_toml().map_err(|error| error.to_string()),
        };
        // When an ARMOR dies its run goes on where it is, and is found there by the next life.
        if self.slots[index].node != node {
            self.runs_no_more(index, outbox);
            // Its program is started once more. What is left there of another start is not it.
            self.slots[index].attempt += 1;
            self.slots[index].moved = true;
        }
        let slot = &mut self.slots[index];
        if slot.work == Work::Keeper && slot.node != node {
            // What it kept stays behind.
            self.kept = Kept::default();
        }
        (slot.armor, slot.node, slot.leaves) = (armor, node, false);
        (slot.phase, slot.since_ns) = (Phase::Installing, now_ns());
        slot.home = String::new();
        // In the tables before it is there, so that its first words find their way.
        self.tell(Row::Armor { armor, manager: outbox.own(), node }, outbox);
        match parameters {
            Ok(parameters) => {
                let install = Install { armor, parameters, program: None };
                outbox.send(ArmorId::daemon(node), Message::Install(install));
            }
            Err(why) => self.finish(AppState::Failed(why), outbox),
        }
        self.wake();
    }

    /// A slot's ARMOR is there: what it has to do.
    pub fn order(&mut self, index: usize, outbox: &mut Outbox) {
        if self.state.is_over() || self.stopping {
            return;
        }
        if self.slots[index].work == Work::Voter {
            for index in 0..self.slots.len() {
                self.offer(index, outbox);
            }
            return self.recovered(self.voter().unwrap_or(index), outbox);
        }
        if self.slots[index].work == Work::Keeper {
            return self.keeper_is_there(index, outbox);
        }
        if self.waits_for_keeper(index) {
            self.slots[index].phase = Phase::There;
            return;
        }
        let execute = self.execute(index);
        let slot = &mut self.slots[index];
        (slot.phase, slot.since_ns) = (Phase::Ordered, now_ns());
        outbox.send(slot.armor, Message::Execute(execute));
        self.wake();
    }

    /// What a slot's program is.
    pub fn execute(&self, index: usize) -> Execute {
        let (slot, app) = (&self.slots[index], &self.specification.app);
        let Work::Program { part, .. } = slot.work else { return self.execute(0) };
        let part = &app.parts[part as usize];
        let bytes = |text: &String| text.clone().into_bytes();
        let apart = (self.parameters.form == Form::Apart).then(|| {
            // Where its output is asked for in a file, that is a result like the others.
            part.results.iter().chain(voter::output(&self.specification)).cloned().collect()
        });
        Execute {
            app: self.app(),
            argv: part.command.iter().map(bytes).collect(),
            environment: app
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}").into_bytes())
                .collect(),
            directory: self.parameters.directory.clone().into_bytes(),
            streams: [0, 1, 2].map(|n| app.streams[n].as_ref().map(bytes)),
            options: self.parameters.options.clone(),
            attempt: slot.attempt,
            apart,
            // Who loses the FTM's node loses this manager with it, and nobody starts it elsewhere.
            leased: slot.node != self.context.node()
                && lease::is_needed(self.parameters.form, self.specification.needs.node_loss),
            keeper: self.keeper_for(index),
        }
    }

    /// Tells the VOTER that a slot has a result, if it has one and there is a VOTER.
    pub fn offer(&self, index: usize, outbox: &mut Outbox) {
        let slot = &self.slots[index];
        let (Work::Program { replica, part }, Some(executed)) = (slot.work, &slot.executed) else {
            return;
        };
        let Some(voter) = self.voter().map(|voter| &self.slots[voter]) else { return };
        if slot.phase != Phase::Over || voter.phase != Phase::There {
            return;
        }
        let available = Available {
            round: self.round,
            replica,
            part,
            at: slot.armor,
            attempt: executed.attempt,
            took_ns: executed.took_ns,
        };
        outbox.send(voter.armor, Message::Available(available));
    }

    /// A change of the tables, at the FTM and its backup.
    pub fn tell(&mut self, row: Row, outbox: &mut Outbox) {
        // Of its own ARMORs it has the same rows; what is not there need not go.
        let _ = self.tables.apply(row.clone());
        let at: Vec<ArmorId> = [self.ftm, self.backup].into_iter().flatten().collect();
        if self.ftm.is_none() {
            return self.again.push(row);
        }
        let (_, effects) = self.coordinator.begin(row, &at);
        self.effects(effects, outbox);
    }

    /// Does what an update asks for.
    pub fn effects(&mut self, effects: Vec<Effect>, outbox: &mut Outbox) {
        for effect in effects {
            match effect {
                Effect::Send(to, update) => outbox.send(to, Message::Update(update)),
                Effect::Done(_) => {}
                Effect::Again(_, row) => self.again.push(row),
                Effect::Refused(_, why) => self.note(0, Step::Info, why, outbox),
                Effect::Accuse { to, accusation, row } => {
                    for to in to {
                        outbox.send(to, Message::Accusation(accusation.clone()));
                    }
                    self.again.push(row);
                }
            }
        }
        self.wake();
    }

    /// Tells the FTM of a slot's run, for those who ask what runs.
    pub fn tell_run(&self, index: usize, outbox: &mut Outbox) {
        if let (Some(ftm), Some(run)) = (self.ftm, &self.slots[index].run) {
            outbox.send(ftm, Message::Executing(run.clone()));
        }
    }

    /// A slot's run is over.
    pub fn runs_no_more(&mut self, index: usize, outbox: &mut Outbox) {
        if let Some(run) = &mut self.slots[index].run {
            run.pid = 0;
            self.tell_run(index, outbox);
            self.slots[index].run = None;
        }
    }

    /// Tells people something, by way of the FTM.
    pub fn note(&self, incident: u64, step: Step, text: String, outbox: &mut Outbox) {
        self.note_at(incident, step, text, unix_ns(), outbox);
    }

    /// As [`Desk::note`], of something that was at that time.
    pub fn note_at(
        &self,
        incident: u64,
        step: Step,
        text: String,
        at_ns: u64,
        outbox: &mut Outbox,
    ) {
        let Some(ftm) = self.ftm else { return };
        let (node, app) = (self.context.node(), Some(self.app()));
        outbox.send(ftm, Message::Note(Note { incident, at_ns, node, app, step, text }));
    }

    /// The application's state is another one.
    pub fn turn_to(&mut self, state: AppState, outbox: &mut Outbox) {
        if self.state != state && !self.state.is_over() {
            self.state = state;
            let row = self.row(outbox.own());
            self.tell(row, outbox);
        }
    }

    /// An incident of a slot begins: its number.
    pub fn detected(&mut self, index: usize, text: String, at_ns: u64, outbox: &mut Outbox) -> u64 {
        self.incidents += 1;
        let number = self.incidents;
        if let Some((before, _)) = self.slots[index].incident.replace((number, at_ns)) {
            self.note(before, Step::Info, format!("it failed again: incident {number}"), outbox);
        }
        self.note_at(number, Step::Detected, text, at_ns, outbox);
        self.turn_to(AppState::Recovering, outbox);
        number
    }

    /// A slot is as it should be again.
    pub fn recovered(&mut self, index: usize, outbox: &mut Outbox) {
        let slot = &mut self.slots[index];
        if let Some((number, at_ns)) = slot.incident.take() {
            let took = unix_ns().saturating_sub(at_ns) as f64 / 1e6;
            let (what, at) = (self.tables.called(slot.armor), self.tables.at(slot.node));
            let from = match slot.began {
                Some(Began::Beginning) => ", its program from the beginning".to_owned(),
                Some(Began::Image) => match slot.image {
                    Some((image, cut_ns)) => {
                        let old = unix_ns().saturating_sub(cut_ns) as f64 / 1e9;
                        format!(", its program from image {image}, {old:.1} s old")
                    }
                    None => ", its program from its last image".to_owned(),
                },
                Some(Began::Adopted) => ", its program has gone on all the while".to_owned(),
                None => String::new(),
            };
            let text =
                format!("{what} does its work on {at}{from}; {took:.1} ms after it was noticed");
            self.note(number, Step::Recovered, text, outbox);
        }
        let well = self.slots.iter().all(|slot| {
            slot.incident.is_none()
                && match slot.work {
                    Work::Voter | Work::Keeper => true,
                    Work::Program { .. } => {
                        matches!(slot.phase, Phase::Running | Phase::Over | Phase::GivenUp)
                    }
                }
        });
        if well {
            self.turn_to(AppState::Running, outbox);
        }
    }

    /// The program of every slot is to end.
    pub fn stop(&mut self, outbox: &mut Outbox) {
        self.stopping = true;
        let mut waits = false;
        for slot in &mut self.slots {
            if matches!(slot.phase, Phase::Running | Phase::Ordered) {
                waits = true;
                self.orders += 1;
                let control = Control { number: self.orders, order: Order::Stop };
                outbox.send(slot.armor, Message::Control(control));
            }
        }
        if !waits {
            self.finish(AppState::Ended(143), outbox);
        }
    }

    /// The application is over: its ARMORs go.
    pub fn finish(&mut self, state: AppState, outbox: &mut Outbox) {
        if self.state.is_over() {
            return;
        }
        if let AppState::Failed(why) = &state {
            let numbers: Vec<u64> = self
                .slots
                .iter_mut()
                .filter_map(|slot| slot.incident.take())
                .map(|(number, _)| number)
                .collect();
            let number = numbers.first().copied().unwrap_or(0);
            self.note(number, Step::GivenUp, why.clone(), outbox);
        }
        self.turn_to(state, outbox);
        self.uninstall(outbox);
        let gone: Vec<ArmorId> = self.slots.iter().map(|slot| slot.armor).collect();
        for armor in gone {
            self.tell(Row::NoArmor(armor), outbox);
        }
        for pending in std::mem::take(&mut self.pending) {
            let text = format!("application {} is over", self.parameters.name);
            answer(pending.asker, pending.number, &Told::Done { text }, outbox);
        }
    }

    /// Takes its ARMORs away, with what they run.
    pub fn uninstall(&self, outbox: &mut Outbox) {
        for slot in &self.slots {
            outbox.send(ArmorId::daemon(slot.node), Message::Uninstall(slot.armor));
        }
    }

    /// Asks for a tick.
    pub fn wake(&self) {
        self.context.wake_at(now_ns() + super::TURN_NS);
    }
}

/// Answers a request.
pub(super) fn answer(to: ArmorId, number: u64, told: &Told, outbox: &mut Outbox) {
    let text = to_line(told).unwrap_or_default();
    outbox.send(to, Message::Answer(Answer { number, text, last: true }));
}
