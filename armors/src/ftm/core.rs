//! What the FTM's blocks have in common.
//!
//! Invariant: a row is in the tables, in the store and on its way to the backup at once ([`Core::change`],
//! [`Core::committed`]); daemons hear of places in the order of their versions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chameleon_policy::health::History;
use chameleon_policy::membership::{Membership, Standing};
use chameleon_policy::parameters::Parameters;
use chameleon_policy::promotion::Promotion;
use chameleon_policy::tables::Tables;
use chameleon_policy::tables::participant::Participant;
use chameleon_proto::ask::Told;
use chameleon_proto::ids::{ArmorId, ArmorType, Epoch, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::Executing;
use chameleon_proto::message::env::{
    Answer, Health, NewManager, Phase, Places, Row, Update, Updated,
};
use chameleon_supervisor::armor::Outbox;
use serde::Deserialize;

use super::events::Notes;
use super::leases::Leases;
use super::subordinates::Subordinates;
use crate::context::Context;
use crate::store::{self, State, StateStore};

/// What the FTM and its backup are started with.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Birth {
    /// The directory of their databases.
    pub(crate) state: PathBuf,
    /// An epoch that is known to have been.
    #[serde(default)]
    pub(crate) epoch: u64,
}

/// The blocks' common part; nothing until the ARMOR is the FTM.
#[derive(Default)]
pub(crate) struct Ftm {
    pub(super) core: Option<Core>,
    /// Left by the backup that is promoted.
    pub(crate) handed: Option<Handed>,
}

/// What a backup hands to the FTM that it becomes.
pub(crate) struct Handed {
    pub(crate) participant: Participant,
    pub(crate) store: Box<dyn StateStore>,
    pub(crate) notes: Vec<chameleon_proto::ask::Numbered>,
    pub(crate) promotion: Promotion,
    pub(crate) directory: PathBuf,
    /// When the failure was noticed: nanoseconds since 1970 (UTC).
    pub(crate) detected_ns: u64,
}

/// The FTM.
pub(crate) struct Core {
    pub(super) context: Context,
    pub(super) epoch: Epoch,
    pub(super) directory: PathBuf,
    pub(super) participant: Participant,
    pub(super) members: Membership,
    pub(super) health: BTreeMap<NodeId, Health>,
    pub(super) histories: BTreeMap<NodeId, History>,
    pub(super) backup: Option<ArmorId>,
    pub(super) below: Subordinates,
    /// What managers of applications said of runs that are under way; a later FTM hears it again.
    pub(super) runs: BTreeMap<u32, Executing>,
    pub(super) leases: Leases,
    pub(super) notes: Notes,
    /// When its life as the FTM began.
    pub(super) since_ns: u64,
    /// Of the promotion that made it the FTM, if one did; when the failure was noticed.
    pub(super) promotion: Option<(Promotion, u64)>,
    /// Where ARMORs will be by updates that are prepared. Their first words may come before all have agreed.
    pub(super) expected: BTreeMap<(ArmorType, u32), (ArmorId, NodeId)>,
    /// Nothing is started again: the environment is being ended.
    pub(super) ending: bool,
    /// Why the state cannot be kept, if it cannot.
    pub(super) trouble: Option<String>,
    store: Box<dyn StateStore>,
    sequence: u64,
}

impl Ftm {
    /// The FTM, if this ARMOR is one and no later one is known.
    pub(super) fn standing(&mut self) -> Option<&mut Core> {
        self.core.as_mut().filter(|core| core.context.epoch() <= core.epoch)
    }
}

impl Core {
    /// Begins with what the store has.
    pub(super) fn load(context: &Context) -> Result<Self, String> {
        let birth: Birth = toml::from_str(context.parameters())
            .map_err(|error| format!("the parameters of the FTM: {error}"))?;
        let State { store, rows, notes, epoch } =
            store::open(&birth.state, "ftm").map_err(|error| error.to_string())?;
        let tables = Tables::from_rows(rows).map_err(|error| error.to_string())?;
        let last = epoch.max(Epoch(birth.epoch)).max(context.epoch());
        let participant = Participant::new(tables);
        let epoch = Epoch(last.0.saturating_add(1));
        Ok(Self::new(context, epoch, birth.state, (participant, store), Notes::new(notes)))
    }

    /// Goes on where a former FTM ended.
    pub(super) fn promoted(context: &Context, handed: Handed) -> Self {
        let Handed { participant, store, notes, promotion, directory, detected_ns } = handed;
        let epoch = promotion.epoch;
        let mut core =
            Self::new(context, epoch, directory, (participant, store), Notes::new(notes));
        core.promotion = Some((promotion, detected_ns));
        core
    }

    fn new(
        context: &Context,
        epoch: Epoch,
        directory: PathBuf,
        (participant, store): (Participant, Box<dyn StateStore>),
        notes: Notes,
    ) -> Self {
        let mut members = Membership::default();
        for info in participant.tables().nodes() {
            members.restore(info.node, standing(participant.tables(), info.node), 1);
        }
        let mut core = Self {
            context: context.clone(),
            epoch,
            directory,
            participant,
            members,
            health: BTreeMap::new(),
            histories: BTreeMap::new(),
            backup: None,
            below: Subordinates::default(),
            runs: BTreeMap::new(),
            leases: Leases::new(),
            notes,
            since_ns: crate::context::now_ns(),
            promotion: None,
            expected: BTreeMap::new(),
            ending: false,
            trouble: None,
            store,
            sequence: 0,
        };
        let kept = core.store.set_epoch(epoch);
        core.heed(kept);
        core
    }

    /// The tables.
    pub(super) const fn tables(&self) -> &Tables {
        self.participant.tables()
    }

    /// The environment's parameters.
    pub(super) fn parameters(&self) -> Parameters {
        Parameters::of(self.tables().parameters())
    }

    /// Its own name.
    pub(super) fn own(&self) -> ArmorId {
        self.context.own()
    }

    /// Changes a row that the FTM itself is the manager of; whether that could be done.
    pub(super) fn change(&mut self, row: Row, outbox: &mut Outbox) -> bool {
        self.sequence += 1;
        let update = Update { sequence: self.sequence, phase: Phase::Commit, row };
        let (answer, places) = self.participant.receive(self.own(), &update);
        if answer.refusal.is_some() {
            return false;
        }
        self.committed(update, places, outbox);
        true
    }

    /// Takes another manager's update; the answer to it.
    pub(super) fn update(
        &mut self,
        from: ArmorId,
        update: &Update,
        outbox: &mut Outbox,
    ) -> Updated {
        let news = update.phase == Phase::Commit && !self.tables().has(&update.row);
        let (answer, places) = self.participant.receive(from, update);
        if let Row::Armor { armor, node, .. } = update.row {
            let key = (armor.kind, armor.number);
            if update.phase == Phase::Prepare && answer.refusal.is_none() {
                self.expected.insert(key, (armor, node));
            } else {
                self.expected.remove(&key);
            }
        }
        // One that comes again changes nothing, and is no news to anyone.
        if news && answer.refusal.is_none() && self.tables().has(&update.row) {
            self.sequence += 1;
            let copy = Update { sequence: self.sequence, ..update.clone() };
            self.committed(copy, places, outbox);
        }
        answer
    }

    /// A row has changed: the store, the backup and the daemons have it from here on.
    fn committed(&mut self, update: Update, places: Option<Places>, outbox: &mut Outbox) {
        let kept = self.store.put(&update.row);
        self.heed(kept);
        if let Some(backup) = self.backup {
            outbox.send(backup, Message::Update(update));
        }
        let Some(places) = places else { return };
        for daemon in self.daemons() {
            outbox.send(daemon, Message::Places(places.clone()));
        }
        if !places.nodes.is_empty() {
            self.tell_heartbeat(outbox);
        }
    }

    /// All rows and the latest notes to a new backup; then it is the backup.
    pub(super) fn mirror(&mut self, backup: ArmorId, outbox: &mut Outbox) {
        for row in self.tables().rows() {
            self.sequence += 1;
            let update = Update { sequence: self.sequence, phase: Phase::Commit, row };
            outbox.send(backup, Message::Update(update));
        }
        for note in self.notes.latest() {
            outbox.send(backup, Message::Note(note.note.clone()));
        }
        self.backup = Some(backup);
        self.announce(outbox);
    }

    /// Says to all who the FTM is and who its backup.
    pub(super) fn announce(&self, outbox: &mut Outbox) {
        let news = self.news();
        let mut tell = self.daemons();
        tell.extend(
            self.managed()
                .filter(|armor| [armors::SURROGATE, armors::HEARTBEAT].contains(&armor.kind)),
        );
        for armor in tell {
            outbox.send(armor, Message::NewManager(news));
        }
    }

    /// Who the FTM is.
    pub(super) fn news(&self) -> NewManager {
        NewManager { ftm: self.own(), backup: self.backup, node: self.context.node() }
    }

    /// The daemons that take part: this node's first.
    pub(super) fn daemons(&self) -> Vec<ArmorId> {
        let own = self.context.node();
        let others =
            self.tables().nodes().map(|info| info.node).filter(|node| {
                *node != own && self.members.standing(*node) != Some(Standing::Revoked)
            });
        std::iter::once(own).chain(others).map(ArmorId::daemon).collect()
    }

    /// What the FTM installed.
    pub(super) fn managed(&self) -> impl Iterator<Item = ArmorId> + '_ {
        let own = self.own();
        let below = self.tables().subordinates(own).map(|placed| placed.armor);
        below.filter(move |armor| *armor != own && armor.kind != armors::DAEMON)
    }

    /// The nodes to the HEARTBEAT ARMOR, if there is one.
    pub(super) fn tell_heartbeat(&self, outbox: &mut Outbox) {
        let heartbeats = self.managed().filter(|armor| armor.kind == armors::HEARTBEAT);
        let nodes: Vec<(NodeId, String)> = self
            .members
            .all()
            .map(|(node, standing)| match standing {
                Standing::Revoked | Standing::Enrolled => (node, String::new()),
                // Who is on the same host has no address of its own, and is there all the same.
                _ => (node, format!("node {}", node.0)),
            })
            .collect();
        for heartbeat in heartbeats {
            let places = Places { all: true, nodes: nodes.clone(), ..Places::default() };
            outbox.send(heartbeat, Message::Places(places));
        }
    }

    /// Keeps a note.
    pub(super) fn keep_note(&mut self, note: &chameleon_proto::ask::Numbered) {
        let kept = self.store.note(note);
        self.heed(kept);
    }

    fn heed(&mut self, kept: Result<(), store::StoreError>) {
        if let Err(error) = kept {
            eprintln!("chameleon: the state is not kept: {error}");
            self.trouble = Some(error.to_string());
        }
    }
}

/// How a node is, by what the FTM keeps of it in the table of parameters.
fn standing(tables: &Tables, node: NodeId) -> Standing {
    match tables.parameter(&standing_name(node)) {
        Some("draining") => Standing::Draining,
        Some("revoked") => Standing::Revoked,
        _ => Standing::Up,
    }
}

/// Where that is kept.
pub(super) fn standing_name(node: NodeId) -> String {
    format!("node.{}", node.0)
}

/// Answers a request completely.
pub(super) fn tell(outbox: &mut Outbox, to: ArmorId, number: u64, told: &Told) {
    let text = serde_json::to_string(told).unwrap_or_default();
    outbox.send(to, Message::Answer(Answer { number, text, last: true }));
}

/// Says that it is not done.
pub(super) fn refuse(outbox: &mut Outbox, to: ArmorId, number: u64, why: impl Into<String>) {
    tell(outbox, to, number, &Told::Refused { why: why.into() });
}

/// Says that it is.
pub(super) fn done(outbox: &mut Outbox, to: ArmorId, number: u64, text: impl Into<String>) {
    tell(outbox, to, number, &Told::Done { text: text.into() });
}
