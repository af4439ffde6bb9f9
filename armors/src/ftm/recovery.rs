//! The block that keeps the FTM's own ARMORs alive: its backup, the HEARTBEAT ARMOR, managers of applications.
//!
//! Invariant: what is done about a failure is `policy::recovery`'s plan, told step by step; a manager that is
//! there again hears what it missed. Paper 4.1.1, Table 2.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_policy::place::Candidate;
use chameleon_policy::promotion::NewBackup;
use chameleon_policy::recovery::{
    Attempts, Failure, Recovery as Plan, Scene, Step as Todo, Way, evacuate, recover,
};
use chameleon_proto::ids::{AppId, ArmorId, NodeId, armors};
use chameleon_proto::message::env::{
    AppState, ArmorDown, How, Installed, NoWay, NodeDown, Places, Refused, Row, Step, Undeliverable,
};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::core::{Core, Ftm};
use crate::context::{Context, now_ns, wall_ns};

/// Starts in place of one ARMOR within [`PERIOD_NS`].
const MOST: u8 = 5;
const PERIOD_NS: u64 = 60_000_000_000;

struct RecoveryBlock {
    ftm: Rc<RefCell<Ftm>>,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(RecoveryBlock { ftm: context.shared() })
}

impl Block for RecoveryBlock {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            for kind in [
                Kind::NewManager,
                Kind::ArmorDown,
                Kind::Installed,
                Kind::Pong,
                Kind::Refused,
                Kind::Uninstalled,
                Kind::Undeliverable,
                Kind::Tick,
            ] {
                outbox.subscribe(kind);
            }
            return;
        }
        let mut ftm = self.ftm.borrow_mut();
        let Some(core) = ftm.standing() else { return };
        let source = outbox.source();
        match message {
            Message::NewManager(new) if source == outbox.own() && new.ftm == source => {
                begin(core, outbox);
            }
            Message::ArmorDown(down) => core.is_down(down, outbox),
            Message::Installed(installed) => core.is_there(installed, outbox),
            Message::Pong { .. } => {
                if let Some(node) = core.below.installing.get(&source).map(|one| one.node) {
                    let installed = Installed { armor: source, node, pid: 0, took_ns: 0 };
                    core.is_there(&installed, outbox);
                }
            }
            Message::Refused(refused) => not_started(core, refused, outbox),
            Message::Uninstalled(armor) => {
                core.has_ended(*armor);
                core.is_gone(*armor, outbox);
            }
            Message::Undeliverable(back) => came_back(core, back, outbox),
            Message::Tick { now_ns } => {
                for armor in core.late(*now_ns, outbox) {
                    core.gone(armor, outbox);
                }
            }
            _ => {}
        }
    }
}

/// The FTM has begun: what is there of former ones is looked after, what is missing is installed.
fn begin(core: &mut Core, outbox: &mut Outbox) {
    let (own, node) = (core.own(), core.context.node());
    let promotion = core.promotion.take();
    let former: Vec<_> = core
        .tables()
        .armors()
        .filter(|placed| [armors::FTM, armors::BACKUP_FTM].contains(&placed.manager.kind))
        .copied()
        .collect();
    let mut backup = ArmorId::first(armors::BACKUP_FTM, 1);
    for placed in former {
        let armor = placed.armor;
        match armor.kind {
            // What this FTM has begun with.
            _ if core.below.installing.contains_key(&armor) => {}
            _ if armor == own => {
                core.change(Row::NoArmor(armor), outbox);
            }
            armors::BACKUP_FTM => {
                // It mirrors the former FTM; a new one begins with this one's tables.
                outbox.send(ArmorId::daemon(placed.node), Message::Uninstall(armor));
                core.change(Row::NoArmor(armor), outbox);
                if armor.same_armor(backup) {
                    backup = armor.successor();
                }
            }
            armors::INITIALIZATION => {
                core.change(Row::NoArmor(armor), outbox);
            }
            _ => {
                if placed.manager != own {
                    core.change(Row::Armor { armor, manager: own, node: placed.node }, outbox);
                }
                // Its daemon knows whether it is there: the ping comes back if it is not.
                if armor.kind != armors::DAEMON {
                    outbox.send(armor, Message::Ping { nonce: 0 });
                }
            }
        }
    }
    core.announce(outbox);
    let mut at = node;
    match promotion {
        Some((promotion, detected_ns)) => {
            let incident = core.notes.incident();
            let text = promotion.why;
            core.note_at(outbox, detected_ns, incident, Step::Detected, None, text);
            let text = format!(
                "{} makes itself the FTM, in epoch {}; {} is ended",
                core.tables().called(own),
                core.epoch.0,
                core.tables().called(promotion.end)
            );
            core.note(outbox, incident, Step::Decided, None, text);
            outbox.send(ArmorId::daemon(node), Message::Uninstall(promotion.end));
            core.note(outbox, incident, Step::Recovered, None, "there is an FTM again");
            if let Some(NewBackup { armor, node }) = promotion.backup {
                (backup, at) = (armor, node);
            }
        }
        None => {
            let text = format!("the FTM has begun, in epoch {}", core.epoch.0);
            core.note(outbox, 0, Step::Info, None, text);
        }
    }
    core.install(backup, at, 0, outbox);
    let heartbeat = ArmorId::first(armors::HEARTBEAT, 1);
    if core.tables().known(heartbeat).is_none() {
        core.install(heartbeat, node, 0, outbox);
    }
}

/// Something that was sent came back.
fn came_back(core: &mut Core, back: &Undeliverable, outbox: &mut Outbox) {
    let armor = back.destination;
    let gone = matches!(back.why, NoWay::NotHere | NoWay::Unknown | NoWay::OtherLife);
    let known = core.tables().known(armor).is_some_and(|placed| placed.armor == armor);
    // One that is on its way is asked after until it answers or is given up.
    if gone && known && armor.kind != armors::DAEMON && !core.below.installing.contains_key(&armor)
    {
        core.gone(armor, outbox);
    }
}

/// What was to be installed could not be.
fn not_started(core: &mut Core, refused: &Refused, outbox: &mut Outbox) {
    if let Some(armor) = refused.armor.filter(|armor| core.below.installing.contains_key(armor)) {
        eprintln!("chameleon: {}", refused.why);
        core.gone(armor, outbox);
    }
}

impl Core {
    /// One is gone; nobody saw how.
    fn gone(&mut self, armor: ArmorId, outbox: &mut Outbox) {
        let node = self.tables().known(armor).map_or(self.context.node(), |placed| placed.node);
        self.is_down(&ArmorDown { armor, node, how: How::Gone, at_ns: wall_ns() }, outbox);
    }

    /// An ARMOR and where it is, in words.
    fn on(&self, armor: ArmorId, node: NodeId) -> String {
        format!("{} on {}", self.tables().called(armor), self.tables().at(node))
    }

    /// The managers of applications.
    pub(super) fn surrogates(&self) -> Vec<ArmorId> {
        self.managed().filter(|armor| armor.kind == armors::SURROGATE).collect()
    }

    /// It has ended as it should.
    fn is_gone(&mut self, armor: ArmorId, outbox: &mut Outbox) {
        self.below.installing.remove(&armor);
        if self.tables().known(armor).is_some_and(|placed| placed.armor == armor) {
            self.change(Row::NoArmor(armor), outbox);
        }
    }

    /// An ARMOR is down.
    fn is_down(&mut self, down: &ArmorDown, outbox: &mut Outbox) {
        let armor = down.armor;
        let Some(placed) = self.tables().known(armor).copied() else { return };
        if placed.armor != armor {
            return;
        }
        if !placed.manager.same_armor(self.own()) {
            return self.pass_on(placed.manager, down, outbox);
        }
        let before = self.below.installing.remove(&armor);
        let app = (armor.kind == armors::SURROGATE).then_some(AppId(armor.number));
        let over =
            app.is_some_and(|app| self.tables().app(app).is_none_or(|app| app.state.is_over()));
        if over || self.ending || armor.kind == armors::INITIALIZATION && down.how == How::Exit(0) {
            return self.is_gone(armor, outbox);
        }
        self.abort(armor);
        if self.backup == Some(armor) {
            self.backup = None;
            self.announce(outbox);
        }
        let incident = match before.map(|one| one.incident).filter(|incident| *incident != 0) {
            Some(incident) => incident,
            None => self.notes.incident(),
        };
        let text = format!("{} {}", self.on(armor, down.node), how(down.how));
        self.note_at(outbox, down.at_ns, incident, Step::Detected, app, text);
        let plan = self.plan(armor, down.how);
        self.carry_out(&plan, incident, app, outbox);
    }

    /// What a decision is made of.
    fn scene<'a>(&'a self, way: Way, nodes: &'a [Candidate]) -> Scene<'a> {
        let (manager, tables) = (self.own(), self.tables());
        Scene { manager, tables, nodes, way, now_ns: now_ns() }
    }

    fn plan(&mut self, armor: ArmorId, how: How) -> Plan {
        let key = (armor.kind, armor.number);
        let mut attempts = self.below.attempts.remove(&key);
        let attempts = attempts.get_or_insert_with(|| Attempts::new(MOST, PERIOD_NS));
        let nodes = self.candidates();
        let scene = self.scene(Way::InPlace, &nodes);
        let mut ask = self.needs();
        ask.not.extend(self.elsewhere(armor));
        let plan = recover(&scene, Failure::Armor(armor, how), &ask, attempts);
        self.below.attempts.insert(key, attempts.clone());
        plan
    }

    /// Nodes that an ARMOR of this kind cannot be on: with its state on one host, the FTM's backup is there.
    fn elsewhere(&self, armor: ArmorId) -> Vec<NodeId> {
        let own = self.context.node();
        let others = self.tables().nodes().map(|info| info.node).filter(move |node| *node != own);
        if armor.kind == armors::BACKUP_FTM { others.collect() } else { Vec::new() }
    }

    fn carry_out(&mut self, plan: &Plan, incident: u64, app: Option<AppId>, outbox: &mut Outbox) {
        let why = plan.why.join("; ");
        self.note(outbox, incident, Step::Decided, app, why);
        for step in &plan.steps {
            match step {
                Todo::Install(armor, node) => self.install(*armor, *node, incident, outbox),
                Todo::Kill(armor, node) => {
                    outbox.send(ArmorId::daemon(*node), Message::Uninstall(*armor));
                }
                Todo::TellManager(armor, node) => {
                    let down = NodeDown { node: *node, missed: 0, at_ns: wall_ns() };
                    outbox.send(*armor, Message::NodeDown(down));
                }
                Todo::GiveUp(armor, text) => self.give_up(*armor, text, incident, outbox),
                Todo::TellUser(text) => {
                    self.note(outbox, incident, Step::Info, app, text.clone());
                }
                Todo::RemoveNode(_) | Todo::RestartProgram(..) | Todo::Promote => {}
            }
        }
    }

    fn give_up(&mut self, armor: ArmorId, text: &str, incident: u64, outbox: &mut Outbox) {
        let app = (armor.kind == armors::SURROGATE).then_some(AppId(armor.number));
        self.note(outbox, incident, Step::GivenUp, app, text);
        self.is_gone(armor, outbox);
        if let Some(app) = app.and_then(|app| self.tables().app(app).cloned()) {
            let state = AppState::Failed(text.to_owned());
            let app = chameleon_proto::message::env::App { state, manager: None, ..app };
            self.change(Row::App(app), outbox);
        }
    }

    /// An ARMOR is there.
    fn is_there(&mut self, installed: &Installed, outbox: &mut Outbox) {
        let armor = installed.armor;
        let Some(one) = self.below.installing.remove(&armor) else { return };
        let app = (armor.kind == armors::SURROGATE).then_some(AppId(armor.number));
        if one.incident != 0 {
            let text = format!("{} is there again", self.on(armor, installed.node));
            self.note(outbox, one.incident, Step::Recovered, app, text);
        }
        match armor.kind {
            armors::BACKUP_FTM => self.mirror(armor, outbox),
            armors::HEARTBEAT => self.tell_heartbeat(outbox),
            armors::SURROGATE => self.brief(armor, outbox),
            _ => {}
        }
    }

    /// Tells a manager that was started again what is there of its own, and what it missed.
    fn brief(&mut self, armor: ArmorId, outbox: &mut Outbox) {
        outbox.send(armor, Message::NewManager(self.news()));
        let at: Vec<_> =
            self.tables().subordinates(armor).map(|placed| (placed.armor, placed.node)).collect();
        let version = self.tables().places().version;
        let all = Places { version, all: true, at, ..Places::default() };
        outbox.send(armor, Message::Places(all));
        // Nodes whose loss its former life was told of, or was to be.
        for node in self.below.left.keys() {
            if self.tables().subordinates(armor).any(|placed| placed.node == *node) {
                let down = NodeDown { node: *node, missed: 0, at_ns: wall_ns() };
                outbox.send(armor, Message::NodeDown(down));
            }
        }
        let key = (armor.kind, armor.number);
        for down in self.below.held.remove(&key).unwrap_or_default() {
            outbox.send(armor, Message::ArmorDown(down));
        }
    }

    /// A daemon did not find the manager that it is for.
    fn pass_on(&mut self, manager: ArmorId, down: &ArmorDown, outbox: &mut Outbox) {
        let Some(now) = self.tables().known(manager).map(|placed| placed.armor) else {
            // Nobody manages it any more.
            self.change(Row::NoArmor(down.armor), outbox);
            return;
        };
        if self.below.installing.contains_key(&now) {
            self.below.held.entry((now.kind, now.number)).or_default().push(*down);
        } else {
            outbox.send(now, Message::ArmorDown(*down));
        }
    }

    /// What a manager has left unfinished is aborted, here and, when it hears of the successor, at the backup.
    fn abort(&mut self, manager: ArmorId) {
        crate::backup::abort(&mut self.participant, manager);
    }

    /// A node is down: the managers of applications hear it, what the FTM had there goes elsewhere.
    pub(super) fn evacuate(&mut self, down: NodeDown, incident: u64, outbox: &mut Outbox) {
        let node = down.node;
        let left: Vec<ArmorId> = self
            .tables()
            .on(node)
            .map(|placed| placed.armor)
            .filter(|armor| armor.kind != armors::DAEMON)
            .collect();
        self.replace(&left);
        self.below.left.insert(node, left.clone());
        for surrogate in self.surrogates() {
            if self.tables().known(surrogate).is_none_or(|placed| placed.node != node) {
                outbox.send(surrogate, Message::NodeDown(down));
            }
        }
        let lost: Vec<_> = self
            .managed()
            .filter(|armor| left.contains(armor) && armor.kind != armors::INITIALIZATION)
            .map(|armor| (armor, self.needs()))
            .collect();
        let nodes = self.candidates();
        let scene = self.scene(Way::Move, &nodes);
        let mut plan = evacuate(&scene, node, &lost);
        let at = self.tables().at(node);
        plan.why.insert(0, format!("{at} gets nothing any more; managers are told"));
        for (armor, _) in &lost {
            self.below.installing.remove(armor);
            self.abort(*armor);
        }
        self.carry_out(&plan, incident, None, outbox);
        if lost.is_empty() {
            let text = format!("nothing of the FTM's was on {at}");
            self.note(outbox, incident, Step::Recovered, None, text);
        }
    }

    /// A node is to be empty: managers move what is theirs, and the FTM its own.
    pub(super) fn empty(&mut self, node: NodeId, outbox: &mut Outbox) {
        let own: Vec<ArmorId> = self
            .managed()
            .filter(|armor| armor.kind == armors::SURROGATE)
            .filter(|armor| self.tables().known(*armor).is_some_and(|placed| placed.node == node))
            .collect();
        let lost: Vec<_> = own.iter().map(|armor| (*armor, self.needs())).collect();
        let nodes = self.candidates();
        let scene = self.scene(Way::Move, &nodes);
        let plan = evacuate(&scene, node, &lost);
        for step in &plan.steps {
            // What cannot go elsewhere stays: a node that is drained is there all the same.
            if let Todo::Install(successor, to) = step
                && let Some(armor) = own.iter().find(|armor| armor.same_armor(*successor))
            {
                outbox.send(ArmorId::daemon(node), Message::Uninstall(*armor));
                self.abort(*armor);
                self.install(*successor, *to, 0, outbox);
            }
        }
    }
}

/// How it went down, in words.
pub(super) fn how(how: How) -> String {
    match how {
        How::Exit(status) => format!("ended with status {status}"),
        How::Signal(number) => format!("was ended by signal {number}"),
        How::Gone => "is gone".to_owned(),
        How::Hang => "did not answer its daemon and was killed for it".to_owned(),
    }
}
