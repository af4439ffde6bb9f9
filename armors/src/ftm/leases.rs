//! Leases of programs, and nodes that do not answer: what was there begins elsewhere when no lease of it is left.
//!
//! ```text
//!   NodeDown ─► lost: no lease is given there any more ──all leases over──► managers are told, it begins elsewhere
//!                 │                                      ▲
//!                 │ no other node answers: it waits ─────┘ another one does
//!                 └──answers again──► nothing was done
//! ```
//!
//! Invariant: only this ARMOR gives leases and only it says that they are over (`policy::lease`), so a promoted
//! backup or a next life, which does not know what was given, waits for all. Used by the block of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chameleon_policy::lease::{self, Given};
use chameleon_policy::membership::Standing;
use chameleon_policy::plan::Form;
use chameleon_policy::recovery::{Attempts, Failure, Scene, Step as Todo, Way, recover};
use chameleon_policy::spec::Specification;
use chameleon_policy::strategy::Loss;
use chameleon_proto::ids::{AppId, ArmorId, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Lease, Leased};
use chameleon_proto::message::env::{NodeDown, Step};
use chameleon_supervisor::armor::Outbox;

use super::core::Core;
use crate::context::now_ns;

/// When the network is there again, how long the other nodes have to call: a daemon that was not reached is not
/// called again at once.
const CALLS: Duration = Duration::from_secs(2);

/// A node that does not answer, whose programs may still run.
#[derive(Clone, Copy, Debug)]
struct Lost {
    down: NodeDown,
    incident: u64,
    over_ns: u64,
}

/// What was replaced and is to end on its node, of which its daemon may not have heard.
#[derive(Clone, Copy, Debug)]
struct Ending {
    armor: ArmorId,
    node: NodeId,
    /// How often its daemon is told yet.
    times: u32,
    due_ns: u64,
}

/// How often a daemon that is there again is told to end something, and how far apart.
const TIMES: u32 = 5;
const APART_NS: u64 = 1_000_000_000;

/// What the FTM keeps of them.
pub(super) struct Leases {
    given: Given,
    lost: BTreeMap<NodeId, Lost>,
    /// What was started elsewhere in its place. It gets no lease, whoever has heard of that.
    replaced: BTreeSet<ArmorId>,
    /// What of that its daemon was told to end, and has not said to have ended.
    ending: Vec<Ending>,
    /// The incident that no other node answers.
    alone: Option<u64>,
}

impl Leases {
    /// Those of an FTM that begins.
    pub(super) fn new() -> Self {
        let given = Given::new(now_ns());
        let (lost, replaced) = (BTreeMap::new(), BTreeSet::new());
        Self { given, lost, replaced, ending: Vec::new(), alone: None }
    }
}

impl Core {
    /// An EXECUTION ARMOR asks for its lease.
    pub(super) fn lease(&mut self, asked: &Lease, outbox: &mut Outbox) {
        let armor = outbox.source();
        let Some(placed) = self.tables().known(armor).filter(|placed| placed.armor == armor) else {
            return;
        };
        let node = placed.node;
        let there = matches!(self.members.standing(node), Some(Standing::Up | Standing::Draining));
        if !there || self.leases.replaced.contains(&armor) {
            return;
        }
        let term = lease::term(self.parameters().heartbeat());
        self.leases.given.give(node, now_ns(), term);
        let term_ns = u64::try_from(term.as_nanos()).unwrap_or(u64::MAX);
        outbox.reply(Message::Leased(Leased { asked_ns: asked.asked_ns, term_ns }));
    }

    /// A node does not answer, or is to take no part any more.
    pub(super) fn lose(&mut self, down: NodeDown, incident: u64, outbox: &mut Outbox) {
        if self.leases.alone.is_none() && self.members.is_cut_off(self.context.node()) {
            self.alone(outbox);
        }
        let (node, now) = (down.node, now_ns());
        let settings = self.parameters().heartbeat();
        let works = |kind| [armors::EXECUTION, armors::VOTER].contains(&kind);
        let there: Vec<ArmorId> = self.tables().on(node).map(|placed| placed.armor).collect();
        if !there.iter().any(|armor| works(armor.kind)) {
            return self.evacuate(down, incident, outbox);
        }
        // Those that fell silent with it are known by then.
        let mut over_ns = now + 2 * settings.interval.as_nanos() as u64;
        if there.iter().any(|armor| self.is_leased(*armor)) {
            over_ns = over_ns.max(self.leases.given.over_ns(node, settings));
        }
        let text = format!(
            "{} gets nothing any more; what may begin elsewhere does so in {} ms, when nothing runs there any \
             more that has a lease",
            self.tables().at(node),
            (over_ns - now) / 1_000_000
        );
        self.note(outbox, incident, Step::Decided, None, text);
        self.leases.lost.insert(node, Lost { down, incident, over_ns });
        self.context.wake_at(over_ns);
    }

    /// No other node answers.
    fn alone(&mut self, outbox: &mut Outbox) {
        let incident = self.notes.incident();
        self.leases.alone = Some(incident);
        let nodes = self.candidates();
        let (manager, tables) = (self.own(), self.tables());
        let scene = Scene { manager, tables, nodes: &nodes, way: Way::Move, now_ns: now_ns() };
        let mut attempts = Attempts::new(0, 0);
        let plan = recover(&scene, Failure::Network, &self.needs(), &mut attempts);
        self.note(outbox, incident, Step::Detected, None, plan.why.join("; "));
        for step in plan.steps {
            if let Todo::TellUser(text) = step {
                self.note(outbox, incident, Step::Decided, None, text);
            }
        }
    }

    /// Does what is due about nodes that do not answer.
    pub(super) fn lost_turn(&mut self, now_ns: u64, outbox: &mut Outbox) {
        self.end_left(now_ns, outbox);
        if let Some(incident) = self.leases.alone {
            if self.members.is_cut_off(self.context.node()) {
                return;
            }
            // A person has said that some of them take no part any more.
            self.leases.alone = None;
            let text = "the nodes that do not answer are not several any more";
            self.note(outbox, incident, Step::Recovered, None, text);
        }
        while let Some(lost) =
            self.leases.lost.values().find(|lost| lost.over_ns <= now_ns).copied()
        {
            self.leases.lost.remove(&lost.down.node);
            self.evacuate(lost.down, lost.incident, outbox);
        }
        if let Some(at_ns) = self.leases.lost.values().map(|lost| lost.over_ns).min() {
            self.context.wake_at(at_ns);
        }
    }

    /// A node that was said to be down is there again.
    pub(super) fn is_back(&mut self, node: NodeId, outbox: &mut Outbox) {
        if let Some(lost) = self.leases.lost.remove(&node) {
            let text =
                format!("{} is there again; nothing was started elsewhere", self.tables().at(node));
            self.note(outbox, lost.incident, Step::Recovered, None, text);
        }
        if let Some(incident) = self.leases.alone.take() {
            let text = format!("{} answers", self.tables().at(node));
            self.note(outbox, incident, Step::Recovered, None, text);
            let wait = lease::release(self.parameters().heartbeat()) + CALLS;
            let over_ns = now_ns() + wait.as_nanos() as u64;
            for lost in self.leases.lost.values_mut() {
                lost.over_ns = lost.over_ns.max(over_ns);
            }
            self.context.wake_at(over_ns);
        }
        let left = self.below.left.remove(&node).unwrap_or_default();
        let gone: Vec<ArmorId> = left.into_iter().filter(|armor| !self.stays(*armor)).collect();
        if !gone.is_empty() {
            let names: Vec<String> =
                gone.iter().map(|armor| self.tables().called(*armor)).collect();
            let text = format!(
                "what was left on {} is ended: {}",
                self.tables().at(node),
                names.join(", ")
            );
            self.note(outbox, 0, Step::Info, None, text);
        }
        let due_ns = now_ns();
        let ending = gone.into_iter().map(|armor| Ending { armor, node, times: TIMES, due_ns });
        self.leases.ending.extend(ending);
        self.end_left(due_ns, outbox);
    }

    /// Has daemons end what was left on their nodes. A node that has just called may not be called yet, and what is on
    /// its way to it may be lost with a connection, so they are told until they have done it.
    fn end_left(&mut self, now_ns: u64, outbox: &mut Outbox) {
        let (members, context) = (&self.members, &self.context);
        for one in &mut self.leases.ending {
            let there =
                matches!(members.standing(one.node), Some(Standing::Up | Standing::Draining));
            if there && one.due_ns <= now_ns {
                outbox.send(ArmorId::daemon(one.node), Message::Uninstall(one.armor));
                (one.times, one.due_ns) = (one.times - 1, now_ns + APART_NS);
            }
        }
        self.leases.ending.retain(|one| one.times > 0);
        if let Some(due_ns) = self.leases.ending.iter().map(|one| one.due_ns).min() {
            context.wake_at(due_ns.max(now_ns + APART_NS / 10));
        }
    }

    /// A daemon has ended this.
    pub(super) fn has_ended(&mut self, armor: ArmorId) {
        self.leases.ending.retain(|one| one.armor != armor);
    }

    /// What was on a node is being started elsewhere.
    pub(super) fn replace(&mut self, left: &[ArmorId]) {
        let replaced: Vec<ArmorId> = left.iter().copied().filter(|it| !self.stays(*it)).collect();
        self.leases.replaced.extend(replaced);
    }

    /// Whether an ARMOR is that of a program that needs a lease.
    fn is_leased(&self, armor: ArmorId) -> bool {
        self.form(armor).is_some_and(|(form, loss)| lease::is_needed(form, loss))
    }

    /// Whether it is of an application that stays on its node, whatever becomes of that.
    fn stays(&self, armor: ArmorId) -> bool {
        let known = self.tables().known(armor).is_some_and(|placed| placed.armor == armor);
        known && self.form(armor).is_some_and(|of| of == (Form::Together, Loss::Ended))
    }

    fn form(&self, armor: ArmorId) -> Option<(Form, Loss)> {
        if armor.kind != armors::EXECUTION {
            return None;
        }
        let planned = self.planned(AppId(armor.number >> 12))?;
        let specification = Specification::parse(&planned.specification).ok()?;
        Some((planned.form, specification.needs.node_loss))
    }
}
