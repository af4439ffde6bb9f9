//! The block that manages an application: has its ARMORs installed, gives them their work, keeps the FTM's rows
//! up to date, answers what people ask (paper 4.1.2).
//!
//! Invariant: it begins nothing twice: an ARMOR that the FTM's tables say is there is asked how it is
//! before another is started in its place. What fails is the Recovery block's.

use chameleon_policy::mode::Mode;
use chameleon_policy::plan::Form;
use chameleon_proto::ask::{Ask, LogFile, Told};
use chameleon_proto::ids::{ArmorId, BlockId, NodeId};
use chameleon_proto::message::app::{Began, Control, Executing, Order, Ordered};
use chameleon_proto::message::env::{
    AppState, ArmorDown, Executed, How, Installed, NewManager, NodeInfo, Refused, Request, Row,
    Step,
};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::act::answer;
use super::desk::{Desk, Pending, Phase};
use super::{Shared, with};
use crate::context::{Context, now_ns};
use crate::execution::unix_ns;

/// Its number.
pub(crate) const MANAGE: BlockId = BlockId(120);

/// How long an ARMOR's installation, or its answer to an order, is waited for before it is asked again.
const PATIENCE_NS: u64 = 2_000_000_000;

/// How often an ARMOR's installation is asked for in one place.
const TRIES: u8 = 3;

struct Manage {
    context: Context,
    desk: Shared,
    trouble: Option<String>,
}

pub(crate) fn build(context: &Context) -> Box<dyn Block> {
    let desk: Shared = context.shared();
    let mut trouble = None;
    if desk.borrow().is_none() {
        match Desk::new(context) {
            Ok(new) => *desk.borrow_mut() = Some(new),
            Err(why) => trouble = Some(why),
        }
    }
    Box::new(Manage { context: context.clone(), desk, trouble })
}

impl Block for Manage {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if let Message::Attached = message {
            for kind in [
                Kind::Welcome,
                Kind::Installed,
                Kind::Uninstalled,
                Kind::Refused,
                Kind::Ready,
                Kind::Executing,
                Kind::Executed,
                Kind::Updated,
                Kind::NewManager,
                Kind::NodeInfo,
                Kind::Request,
                Kind::Ordered,
                Kind::Kept,
                Kind::Note,
                Kind::Tick,
                Kind::Shutdown,
            ] {
                outbox.subscribe(kind);
            }
            return;
        }
        if let (Some(why), Message::Welcome(_)) = (&self.trouble, message) {
            self.cannot(why.clone(), outbox);
        }
        with(&self.desk, |desk| match message {
            Message::Welcome(welcome) => desk.welcome(welcome.ftm, outbox),
            Message::Installed(installed) => desk.installed(installed, outbox),
            Message::Uninstalled(armor) => desk.has_left(*armor, outbox),
            Message::Refused(refused) => desk.refused(refused, outbox),
            Message::Ready => desk.ready(outbox),
            Message::Executing(executing) => desk.executing(executing, outbox),
            Message::Executed(executed) => desk.executed(executed, outbox),
            Message::Updated(updated) => {
                let effects = desk.coordinator.answered(outbox.source(), updated);
                desk.effects(effects, outbox);
            }
            Message::NewManager(new) => desk.new_manager(new, outbox),
            Message::NodeInfo(info) => {
                desk.node_is_there(info, outbox);
                desk.keep_apart(outbox);
            }
            Message::Kept(kept) => desk.keeps(kept, outbox),
            Message::Request(request) => desk.asked(request, outbox),
            Message::Ordered(ordered) => desk.ordered(ordered, outbox),
            Message::Note(note) => {
                // Those of its ARMORs go to the FTM by way of their manager.
                desk.note_at(0, note.step, note.text.clone(), note.at_ns, outbox);
            }
            Message::Tick { now_ns } => desk.turn(*now_ns, outbox),
            // What it manages goes with it.
            Message::Shutdown => desk.uninstall(outbox),
            _ => {}
        });
    }
}

impl Manage {
    /// There is no application to manage: the FTM is told why.
    fn cannot(&self, why: String, outbox: &mut Outbox) {
        use chameleon_proto::message::env::Note;
        let Some(ftm) = self.context.ftm() else { return };
        let (node, at_ns) = (self.context.node(), unix_ns());
        let app = Some(chameleon_proto::ids::AppId(outbox.own().number));
        outbox.send(
            ftm,
            Message::Note(Note { incident: 0, at_ns, node, app, step: Step::GivenUp, text: why }),
        );
    }
}

impl Desk {
    /// The daemon is there, for the first time or again.
    fn welcome(&mut self, ftm: Option<ArmorId>, outbox: &mut Outbox) {
        if let Some(ftm) = ftm.filter(|ftm| Some(*ftm) != self.ftm) {
            let (backup, node) = (self.backup, self.context.node());
            self.new_manager(&NewManager { ftm, backup, node }, outbox);
        }
    }

    /// There is an FTM to manage for: the ARMORs that are there are asked how they are, others installed.
    fn begin(&mut self, outbox: &mut Outbox) {
        self.begun = true;
        let own = self.row(outbox.own());
        self.tell(own, outbox);
        if self.keeps_images() && self.keeper().is_none() {
            let text =
                "no other node can keep its images: the loss of its node would have it begin anew";
            self.note(0, Step::Info, text.to_owned(), outbox);
        }
        let known = self.parameters.known.clone();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let there = known.iter().find(|known| known.armor().same_armor(slot.armor));
            if let Some(there) = there {
                (slot.armor, slot.node) = (there.armor(), NodeId(there.node));
                let (armor, node, manager) = (slot.armor, slot.node, outbox.own());
                self.tell(Row::Armor { armor, manager, node }, outbox);
                self.order(index, outbox);
            } else {
                let (armor, node) = (slot.armor, slot.node);
                self.install(index, armor, node, outbox);
            }
        }
    }

    fn installed(&mut self, installed: &Installed, outbox: &mut Outbox) {
        let Some(index) = self.find(installed.armor) else { return };
        let slot = &mut self.slots[index];
        if slot.armor != installed.armor || slot.phase != Phase::Installing {
            return;
        }
        (slot.node, slot.phase, slot.since_ns) = (installed.node, Phase::There, now_ns());
        slot.tries = 0;
        self.order(index, outbox);
    }

    fn refused(&mut self, refused: &Refused, outbox: &mut Outbox) {
        let Some(node) = outbox.source().home() else { return };
        // One that is to leave is not there.
        let absent = refused.why.contains("is not installed");
        let gone =
            |slot: &&super::desk::Slot| absent && slot.phase == Phase::Leaving && slot.node == node;
        if let Some(armor) = self.slots.iter().find(gone).map(|slot| slot.armor) {
            return self.has_left(armor, outbox);
        }
        let about = |slot: &super::desk::Slot| {
            slot.phase == Phase::Installing
                && slot.node == node
                && refused.armor.is_none_or(|armor| armor == slot.armor)
        };
        let Some(index) = self.slots.iter().position(about) else { return };
        let armor = self.slots[index].armor;
        if refused.why.contains(&format!("{armor} is here already")) {
            let took = Installed { armor, node, pid: 0, took_ns: 0 };
            return self.installed(&took, outbox);
        }
        // The daemon knows no names of applications.
        let called = self.tables.called(armor);
        let why = refused.why.replace(&armor.to_string(), &called);
        let text = format!("{} does not start {called}: {why}", self.tables.at(node));
        self.note(0, Step::Info, text, outbox);
        // It is tried again as one that fell silent.
    }

    fn ready(&mut self, outbox: &mut Outbox) {
        let source = outbox.source();
        let Some(index) = self.find(source) else { return };
        // A daemon's word that it is there comes before or after its own.
        if self.slots[index].armor == source && self.slots[index].phase == Phase::Installing {
            let node = self.slots[index].node;
            let took = Installed { armor: source, node, pid: 0, took_ns: 0 };
            self.installed(&took, outbox);
        }
    }

    fn executing(&mut self, executing: &Executing, outbox: &mut Outbox) {
        let Some(index) = self.find(outbox.source()) else { return };
        let slot = &mut self.slots[index];
        let leaves = slot.phase == Phase::Leaving;
        if slot.armor != outbox.source() || executing.attempt < slot.attempt || leaves {
            return;
        }
        let begun = slot.phase != Phase::Running;
        // The run that it had before: its node was away, or its ARMOR.
        let same = slot.run.as_ref().is_some_and(|run| {
            !run.run.is_empty() && (&run.run, run.attempt) == (&executing.run, executing.attempt)
        });
        let began = if same { Began::Adopted } else { executing.from };
        (slot.attempt, slot.began) = (executing.attempt, Some(began));
        (slot.phase, slot.since_ns) = (Phase::Running, now_ns());
        slot.run = Some(executing.clone());
        slot.home.clone_from(&executing.home);
        slot.moved = false;
        if executing.image.is_some() || executing.from == Began::Beginning {
            slot.image = executing.image;
        }
        self.tell_run(index, outbox);
        if begun {
            self.recovered(index, outbox);
            self.show(index, outbox);
            self.keep_apart(outbox);
        }
        if self.stopping {
            self.stop(outbox);
        }
    }

    /// A node is there, perhaps again: what its ARMORs said meanwhile did not come, so they are asked.
    fn node_is_there(&mut self, info: &NodeInfo, outbox: &mut Outbox) {
        self.learn(info);
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let at_work = matches!(slot.phase, Phase::Away | Phase::Ordered | Phase::Running);
            if slot.node != info.node || !slot.is_program() || !at_work {
                continue;
            }
            if slot.phase == Phase::Running {
                // It runs until it is known better.
                outbox.send(slot.armor, Message::Execute(self.execute(index)));
            } else {
                self.order(index, outbox);
            }
        }
    }

    fn executed(&mut self, executed: &Executed, outbox: &mut Outbox) {
        let Some(index) = self.find(outbox.source()) else { return };
        let slot = &mut self.slots[index];
        // Of one that leaves only its own end counts: it was ended otherwise.
        let leaves = slot.phase == Phase::Leaving && executed.fault.is_some();
        let not_waited_for = leaves || slot.phase == Phase::GivenUp;
        if slot.armor != outbox.source() || executed.attempt < slot.attempt || not_waited_for {
            return;
        }
        slot.attempt = executed.attempt;
        slot.phase = Phase::Over;
        slot.executed = Some(executed.clone());
        self.runs_no_more(index, outbox);
        if self.stopping {
            let over =
                |slot: &super::desk::Slot| !matches!(slot.phase, Phase::Running | Phase::Ordered);
            if self.slots.iter().all(over) {
                self.finish(AppState::Ended(executed.status), outbox);
            }
        } else if executed.fault.is_none() {
            self.recovered(index, outbox);
            match self.parameters.form {
                Form::Apart => self.offer(index, outbox),
                _ => self.finish(AppState::Ended(executed.status), outbox),
            }
        }
    }

    /// There is another FTM, or another backup: what was under way with the old one is begun again.
    fn new_manager(&mut self, new: &NewManager, outbox: &mut Outbox) {
        let before = [self.ftm, self.backup];
        (self.ftm, self.backup) = (Some(new.ftm), new.backup);
        let now = [self.ftm, self.backup];
        for gone in before.into_iter().flatten().filter(|old| !now.contains(&Some(*old))) {
            let effects = self.coordinator.gone(gone);
            self.effects(effects, outbox);
        }
        if !self.begun {
            return self.begin(outbox);
        }
        let manager = outbox.own();
        let row = self.row(manager);
        self.tell(row, outbox);
        if self.state.is_over() {
            return;
        }
        let there: Vec<(ArmorId, NodeId)> = self
            .slots
            .iter()
            .filter(|slot| slot.phase != Phase::GivenUp)
            .map(|slot| (slot.armor, slot.node))
            .collect();
        for (armor, node) in there {
            self.tell(Row::Armor { armor, manager, node }, outbox);
        }
        for index in 0..self.slots.len() {
            self.tell_run(index, outbox);
        }
    }

    /// What has waited too long is asked for again.
    fn turn(&mut self, now: u64, outbox: &mut Outbox) {
        let late = |slot: &super::desk::Slot, phase| {
            slot.phase == phase && now.saturating_sub(slot.since_ns) > PATIENCE_NS
        };
        for index in 0..self.slots.len() {
            let (armor, node) = (self.slots[index].armor, self.slots[index].node);
            if self.state.is_over() {
                break;
            }
            if late(&self.slots[index], Phase::Installing) && self.slots[index].tries == TRIES {
                self.slots[index].tries = 0;
                // Its daemon does not start it, which is as good as a crash.
                let down = ArmorDown { armor, node, how: How::Gone, at_ns: unix_ns() };
                outbox.post(Message::ArmorDown(down));
            } else if late(&self.slots[index], Phase::Installing) {
                self.slots[index].tries += 1;
                self.install(index, armor, node, outbox);
            } else if late(&self.slots[index], Phase::Ordered) {
                self.order(index, outbox);
            } else if late(&self.slots[index], Phase::Leaving) {
                self.slots[index].since_ns = now;
                outbox.send(ArmorId::daemon(node), Message::Uninstall(armor));
            }
        }
        for row in std::mem::take(&mut self.again) {
            self.tell(row, outbox);
        }
        let open = self.coordinator.open();
        let busy = !open.is_empty() || !self.again.is_empty();
        if now.saturating_sub(self.resent_ns) > PATIENCE_NS {
            self.resent_ns = now;
            self.effects(open, outbox);
        }
        let waits = |slot: &super::desk::Slot| {
            matches!(slot.phase, Phase::Installing | Phase::Ordered | Phase::Leaving)
        };
        if busy || !self.state.is_over() && self.slots.iter().any(waits) {
            self.wake();
        }
    }

    fn asked(&mut self, request: &Request, outbox: &mut Outbox) {
        let (asker, number) = (outbox.source(), request.number);
        let refuse = |why: &str, outbox: &mut Outbox| {
            answer(asker, number, &Told::Refused { why: why.to_owned() }, outbox);
        };
        match serde_json::from_str(&request.text) {
            Ok(Ask::Drain { node, restart, .. }) => self.drain(&node, restart, outbox),
            Ok(Ask::Logs { .. }) => {
                answer(asker, number, &Told::Logs { files: self.logs() }, outbox)
            }
            Ok(Ask::Stop { .. } | Ask::Set { .. }) if self.state.is_over() => {
                refuse("it is over", outbox);
            }
            Ok(Ask::Stop { .. }) => {
                let values = Default::default();
                self.pending.push(Pending { order: 0, asker, number, values });
                self.stop(outbox);
            }
            Ok(Ask::Set { values, .. }) => {
                let mode = values.get("mode").map(|mode| mode.parse::<Mode>());
                let running = self.slots.iter().find(|slot| slot.phase == Phase::Running);
                match (mode, running) {
                    (Some(Err(error)), _) => refuse(&error.to_string(), outbox),
                    _ if self.parameters.form != Form::Together => refuse(
                        "its replicas are runs that stand apart, which are compared at their ends; \
                         their number is not changed while they run (`chameleon ps` has the ID of each, \
                         whose checkpoints `chameleon set ID --checkpoint` changes on its node)",
                        outbox,
                    ),
                    (_, None) => refuse("it does not run at this moment; try again", outbox),
                    (_, Some(slot)) => {
                        self.orders += 1;
                        let order = self.orders;
                        let control = Control { number: order, order: Order::Set(values.clone()) };
                        outbox.send(slot.armor, Message::Control(control));
                        self.pending.push(Pending { order, asker, number, values });
                    }
                }
            }
            _ => refuse("the manager of an application is not asked this", outbox),
        }
    }

    /// An order was done, or was not.
    fn ordered(&mut self, ordered: &Ordered, outbox: &mut Outbox) {
        let found = self.pending.iter().position(|pending| pending.order == ordered.number);
        let Some(pending) = found.filter(|_| ordered.number > 0) else { return };
        let Pending { asker, number, values, .. } = self.pending.remove(pending);
        match &ordered.refusal {
            Some(why) => answer(asker, number, &Told::Refused { why: why.clone() }, outbox),
            None => {
                let said: Vec<String> =
                    values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                // A next start of the program is to have them, too.
                self.parameters.options.extend(values);
                let text = format!("{}: {}", self.parameters.name, said.join(", "));
                self.note(0, Step::Info, text.clone(), outbox);
                answer(asker, number, &Told::Done { text }, outbox);
            }
        }
    }

    /// Where its output is.
    fn logs(&self) -> Vec<LogFile> {
        let app = &self.specification.app;
        let mut files = Vec::new();
        for slot in &self.slots {
            if slot.home.is_empty() {
                continue;
            }
            let host =
                self.tables.node(slot.node).map_or_else(String::new, |info| info.name.clone());
            let mut file = |what: &str, path: String| {
                let (node, host, what) = (slot.node.0, host.clone(), what.to_owned());
                files.push(LogFile { node, host, what, path });
            };
            let directory = match self.parameters.form {
                Form::Apart => format!("{}/work", slot.home),
                _ => self.parameters.directory.clone(),
            };
            for (what, path) in [("stdout", &app.streams[1]), ("stderr", &app.streams[2])] {
                file(
                    what,
                    match path {
                        Some(path) if path.starts_with('/') => path.clone(),
                        Some(path) => format!("{directory}/{path}"),
                        None => format!("{}/{what}", slot.home),
                    },
                );
            }
            file("report", format!("{}/report-{}.jsonl", slot.home, slot.attempt));
        }
        files
    }
}
