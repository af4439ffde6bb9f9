//! What the blocks of a Surrogate Manager have in common: the application, its ARMORs, and how each is.
//!
//! ```text
//!   Installing ──Installed, Ready──► There ──Execute──► Ordered ──Executing──► Running ──Executed──► Over
//!       ▲                                                  ▲                      │
//!       └── Install of its successor (Recovery) ───────────┴── a later attempt ◄──┘ failed
//! ```
//!
//! Invariant: it is changed between two messages only, by the blocks of one ARMOR; it survives the
//! exchange of each of them. What only this process knows can be learnt again from the ARMORs
//! themselves by its next life.

use std::collections::BTreeMap;

use chameleon_policy::mode::Mode;
use chameleon_policy::place::{Ask, Candidate, place};
use chameleon_policy::plan::{Form, node_of};
use chameleon_policy::recovery::Attempts;
use chameleon_policy::spec::Specification;
use chameleon_policy::strategy::Loss;
use chameleon_policy::tables::Tables;
use chameleon_policy::tables::coordinator::Coordinator;
use chameleon_proto::ids::{AppId, ArmorId, NodeId, armors};
use chameleon_proto::message::app::{Began, Executing, Kept};
use chameleon_proto::message::env::{App, AppState, Executed, NodeInfo, Row};

use super::Parameters;
use crate::context::Context;

/// Starts are counted over this time ("restarts in a minute").
const PERIOD_NS: u64 = 60_000_000_000;

/// What an ARMOR of the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It runs this part of this replica.
    Program { replica: u8, part: u32 },
    /// It votes on results.
    Voter,
    /// It keeps images on another node than the program's.
    Keeper,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its daemon has been asked to start it.
    Installing,
    /// It is there, and does nothing yet.
    There,
    /// It was told what to run.
    Ordered,
    /// It runs its program.
    Running,
    /// Its daemon has been asked to end it, since its node is to be emptied.
    Leaving,
    /// Its program has ended.
    Over,
    /// Its node does not answer; nothing is started elsewhere, and it goes on there if the node is only cut off.
    Away,
    /// Nothing is tried any more.
    GivenUp,
}

/// An ARMOR of the application.
#[derive(Debug)]
pub(super) struct Slot {
    pub work: Work,
    pub armor: ArmorId,
    pub node: NodeId,
    pub phase: Phase,
    /// When the phase began, by the clock of ticks.
    pub since_ns: u64,
    /// Which start of its program is wanted.
    pub attempt: u32,
    pub attempts: Attempts,
    /// How often its installation was asked for again.
    pub tries: u8,
    /// Whether it was to leave its node.
    pub leaves: bool,
    pub executed: Option<Executed>,
    /// Where that start began, when it has.
    pub began: Option<Began>,
    /// The incident that is not over: its number, and when it was detected.
    pub incident: Option<(u64, u64)>,
    /// What its ARMOR said of the run that is under way.
    pub run: Option<Executing>,
    pub home: String,
    /// It was on another node before, where its program's images are.
    pub moved: bool,
    /// The image that its program went on from: its number and its cut.
    pub image: Option<(u64, u64)>,
}

impl Slot {
    /// Whether it has a program to run.
    pub const fn is_program(&self) -> bool {
        matches!(self.work, Work::Program { .. })
    }
}

/// A client's request that waits: the order's number, who asked, and its own.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub order: u64,
    pub asker: ArmorId,
    pub number: u64,
    pub values: BTreeMap<String, String>,
}

/// See the head of this file.
pub(super) struct Desk {
    pub context: Context,
    pub parameters: Parameters,
    pub specification: Specification,
    pub mode: Mode,
    pub slots: Vec<Slot>,
    pub tables: Tables,
    pub candidates: Vec<Candidate>,
    pub coordinator: Coordinator,
    pub again: Vec<Row>,
    pub ftm: Option<ArmorId>,
    pub backup: Option<ArmorId>,
    pub state: AppState,
    pub incidents: u64,
    pub orders: u64,
    pub pending: Vec<Pending>,
    pub stopping: bool,
    /// Whether an FTM was there to manage for.
    pub begun: bool,
    pub round: u64,
    /// When updates were last sent again.
    pub resent_ns: u64,
    /// What the CHECKPOINT ARMOR keeps.
    pub kept: Kept,
}

impl Desk {
    /// That of an application which is to begin, or goes on under a new life of its manager.
    ///
    /// # Errors
    /// In words.
    pub fn new(context: &Context) -> Result<Self, String> {
        let parameters =
            Parameters::from_toml(context.parameters()).map_err(|error| error.to_string())?;
        let specification =
            Specification::parse(&parameters.specification).map_err(|error| error.to_string())?;
        let mode: Mode = parameters.mode.parse().map_err(|error| format!("{error}"))?;
        if parameters.form == Form::Linked {
            return Err(super::NOT_LINKED.to_owned());
        }
        let mut desk = Self {
            context: context.clone(),
            mode,
            slots: Vec::new(),
            tables: Tables::default(),
            candidates: Vec::new(),
            coordinator: Coordinator::default(),
            again: Vec::new(),
            ftm: None,
            backup: parameters.backup(),
            state: AppState::Starting,
            incidents: 0,
            orders: 0,
            pending: Vec::new(),
            stopping: false,
            begun: false,
            round: 1,
            resent_ns: 0,
            kept: Kept::default(),
            specification,
            parameters,
        };
        for info in desk.parameters.candidates.clone() {
            desk.learn(&info);
        }
        desk.place()?;
        Ok(desk)
    }

    /// The ARMORs and where each is to be.
    fn place(&mut self) -> Result<(), String> {
        let nodes = self.parameters.places();
        let first = *nodes.first().ok_or("the plan names no node")?;
        let app = self.parameters.app;
        let (replicas, parts) = match self.parameters.form {
            Form::Apart => (usize::from(self.mode.n), self.specification.app.parts.len()),
            _ => (1, 1),
        };
        if replicas * parts > 1 << 12 {
            return Err("an application has at most 4096 replicas of parts".to_owned());
        }
        for replica in 0..replicas {
            for part in 0..parts {
                let k = (replica * parts + part) as u32;
                let node = nodes[node_of((replicas, nodes.len()), replica, part) % nodes.len()];
                let work = Work::Program { replica: replica as u8, part: part as u32 };
                self.add(work, ArmorId::execution(AppId(app), k), node);
            }
        }
        if self.parameters.form == Form::Apart {
            self.add(Work::Voter, ArmorId::first(armors::VOTER, app), first);
        }
        if let Some(node) = self.place_for_images() {
            self.add(Work::Keeper, ArmorId::first(armors::CHECKPOINT, app), node);
        }
        Ok(())
    }

    /// One more ARMOR, which is not there yet.
    pub fn add(&mut self, work: Work, armor: ArmorId, node: NodeId) {
        self.slots.push(Slot {
            work,
            armor,
            node,
            phase: Phase::There,
            since_ns: 0,
            attempt: 1,
            attempts: Attempts::new(self.specification.needs.restarts, PERIOD_NS),
            tries: 0,
            leaves: false,
            executed: None,
            began: None,
            incident: None,
            run: None,
            home: String::new(),
            moved: false,
            image: None,
        });
    }

    /// Whether its images are kept on another node, too: the loss of its own is to be recovered from.
    pub fn keeps_images(&self) -> bool {
        self.parameters.form == Form::Together
            && self.parameters.options.contains_key("checkpoint")
            && self.specification.needs.node_loss >= Loss::Recovered
    }

    /// A node for the CHECKPOINT ARMOR, if it is to have one and there is one.
    pub fn place_for_images(&self) -> Option<NodeId> {
        let ask = Ask { apart: self.program_nodes(), ..Ask::default() };
        let choice = self.keeps_images().then(|| place(&ask, &self.candidates).ok())??;
        Some(choice.node)
    }

    /// The nodes that its program runs on.
    pub fn program_nodes(&self) -> Vec<NodeId> {
        let programs = self.slots.iter().filter(|slot| slot.is_program());
        programs.map(|slot| slot.node).collect()
    }

    /// A node is there, or is there again.
    pub fn learn(&mut self, info: &NodeInfo) {
        // Nodes are never refused.
        let _ = self.tables.apply(Row::Node(info.clone()));
        let candidate = Candidate::of(info);
        match self.candidates.iter_mut().find(|known| known.id == info.node) {
            Some(known) => *known = candidate,
            None => self.candidates.push(candidate),
        }
    }

    /// The application.
    pub const fn app(&self) -> AppId {
        AppId(self.parameters.app)
    }

    /// The directory of its files, below `apps`.
    pub fn home(&self) -> String {
        format!("{}-{}", self.parameters.name, self.parameters.app)
    }

    /// The slot of an ARMOR, in whichever life.
    pub fn find(&self, armor: ArmorId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.armor.same_armor(armor))
    }

    /// The first slot of a replica.
    pub fn replica(&self, replica: u8) -> Option<usize> {
        self.slots.iter().position(
            |slot| matches!(slot.work, Work::Program { replica: of, .. } if of == replica),
        )
    }

    /// Its VOTER's.
    pub fn voter(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.work == Work::Voter)
    }

    /// Its CHECKPOINT ARMOR's, unless that was given up.
    pub fn keeper(&self) -> Option<usize> {
        let keeps = |slot: &Slot| slot.work == Work::Keeper && slot.phase != Phase::GivenUp;
        self.slots.iter().position(keeps)
    }

    /// What a slot's ARMOR needs of a node.
    pub fn ask(&self, index: usize) -> Ask {
        let Work::Program { replica, .. } = self.slots[index].work else {
            let keeper = self.slots[index].work == Work::Keeper;
            let apart = if keeper { self.program_nodes() } else { Vec::new() };
            return Ask { apart, ..Ask::default() };
        };
        let other = |slot: &&Slot| match slot.work {
            Work::Program { replica: other, .. } => other != replica,
            Work::Voter | Work::Keeper => false,
        };
        Ask {
            memory: self.parameters.memory,
            cpu: self.parameters.cpu,
            features: self.specification.app.features.clone(),
            apart: self.slots.iter().filter(other).map(|slot| slot.node).collect(),
            ..Ask::default()
        }
    }

    /// The application's row.
    pub fn row(&self, own: ArmorId) -> Row {
        Row::App(App {
            id: self.app(),
            name: self.parameters.name.clone(),
            specification: self.parameters.specification.clone(),
            strategy: self.parameters.strategy.clone(),
            manager: Some(own),
            state: self.state.clone(),
            submitted_ns: self.parameters.submitted_ns,
        })
    }

    /// Replicas that may still have a result.
    pub fn possible(&self) -> usize {
        let lost = |replica: u8| {
            self.slots.iter().any(|slot| {
                slot.phase == Phase::GivenUp
                    && matches!(slot.work, Work::Program { replica: of, .. } if of == replica)
            })
        };
        let replicas = if self.parameters.form == Form::Apart { self.mode.n } else { 1 };
        (0..replicas).filter(|replica| !lost(*replica)).count()
    }

    /// Replicas that are left when these slots are lost.
    pub fn left(&self, lost: &[usize]) -> usize {
        let gone = |replica: u8| {
            let of = |slot: &Slot| matches!(slot.work, Work::Program { replica: of, .. } if of == replica);
            self.slots.iter().enumerate().any(|(index, slot)| {
                of(slot) && (slot.phase == Phase::GivenUp || lost.contains(&index))
            })
        };
        (0..self.mode.n).filter(|replica| !gone(*replica)).count()
    }

    /// How many are needed.
    pub fn needed(&self) -> usize {
        if self.parameters.form == Form::Apart { usize::from(self.mode.k) } else { 1 }
    }
}
