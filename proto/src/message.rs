//! Control messages between ARMORs and between the blocks of one.
//!
//! Invariant: every message has exactly one [`Kind`], its number on the wire; a number is never
//! reused. The hot path (ballots, votes, results) does not come through here. Paper 7.2, 7.3:
//! whatever an ARMOR or a block does, it does because of a message.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::{ArmorId, BlockId, Epoch};
use crate::inject::Injection;

pub mod app;
pub mod env;

/// What an ARMOR or a block is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Are you alive? Sent by the supervisor (paper 4.3).
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// The answer, given between two calls, so that a hang is noticed.
    Pong {
        /// The ping's.
        nonce: u64,
        /// Calls performed so far: two answers with waiting ballots and the same number are a
        /// hang.
        calls: u64,
    },
    /// Vote in another mode from the next common point on.
    SetMode(ModeNumbers),
    /// Wait this long for a late replica.
    SetTimeout {
        /// Nanoseconds, the user's value.
        ns: u64,
    },
    /// How far a replica may lag behind decided calls.
    SetSlack {
        /// Calls; 0 for none at all.
        calls: u32,
        /// Bytes of results kept for it.
        bytes: u64,
    },
    /// Put a fault into a replica.
    Inject(Injection),
    /// Something happened.
    Report(Event),
    /// End, and everything you run with you.
    Shutdown,
    /// To the composition controller: change the ARMOR's blocks (paper 7.3).
    Compose(Change),
    /// The composition controller's answer.
    Composed {
        /// What was asked for.
        change: Change,
        /// Why it was refused, or nothing if it was done.
        refusal: Option<Refusal>,
    },
    /// To a block, first of all: you are part of the ARMOR now; subscribe to what you handle.
    Attached,
    /// To a block, last of all: you are about to be taken out.
    Detached,
    /// To the message dispatch, from a block of the same ARMOR: I handle this kind (paper 7.3).
    Subscribe {
        /// Which block.
        block: BlockId,
        /// Which kind.
        kind: Kind,
    },
    /// Environment: first on a connection to a daemon.
    Hello(env::Hello),
    /// Environment: its answer.
    Welcome(env::Welcome),
    /// Environment: start an ARMOR.
    Install(env::Install),
    /// Environment: it is there.
    Installed(env::Installed),
    /// Environment: end an ARMOR, a manager to a daemon.
    Uninstall(ArmorId),
    /// Environment: it has ended as it was told to.
    Uninstalled(ArmorId),
    /// Environment: what was asked for cannot be done.
    Refused(env::Refused),
    /// Environment: an ARMOR is down.
    ArmorDown(env::ArmorDown),
    /// Environment: is the node there?.
    Heartbeat(env::Heartbeat),
    /// Environment: it is.
    Heartbeaten(env::Heartbeaten),
    /// Environment: a node is down.
    NodeDown(env::NodeDown),
    /// Environment: what a node is.
    NodeInfo(env::NodeInfo),
    /// Environment: where ARMORs are.
    Places(env::Places),
    /// Environment: where is this ARMOR? Daemon to FTM; a `Places` answers.
    WhereIs(ArmorId),
    /// Environment: a message came back.
    Undeliverable(env::Undeliverable),
    /// Environment: a row of the tables changes.
    Update(env::Update),
    /// Environment: the answer to that.
    Updated(env::Updated),
    /// Environment: who is the FTM now.
    NewManager(env::NewManager),
    /// Environment: the FTM is wrong.
    Accusation(env::Accusation),
    /// Environment: run a program.
    Execute(env::Execute),
    /// Environment: an Execution ARMOR can take a program (paper Table 1, send_ready_notif).
    Ready,
    /// Environment: it ended.
    Executed(env::Executed),
    /// Environment: a result to be voted on.
    Ballot(env::Ballot),
    /// Environment: the decision.
    Voted(env::Voted),
    /// Environment: a client asks.
    Request(env::Request),
    /// Environment: and is answered.
    Answer(env::Answer),
    /// Environment: something worth telling.
    Note(env::Note),
    /// Environment: a daemon to the FTM: I missed a change of the places; tell me all. A `Places`
    /// answers.
    AskPlaces {
        /// The version that the daemon has.
        have: u64,
    },
    /// Environment: between daemons: the certificates that are no longer good, as a list that the
    /// authority signed (RFC 5280, 5; DER).
    Revoked(Vec<u8>),
    /// Environment: the FTM to a daemon: a parameter of the environment has this value.
    Parameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// To the blocks of an ARMOR, from its own main loop: the time that a block had asked to be woken at
    /// has come, or has passed.
    Tick {
        /// Now, by CLOCK_MONOTONIC, in nanoseconds.
        now_ns: u64,
    },
    /// Environment: a program runs.
    Executing(app::Executing),
    /// Environment: change a program that runs.
    Control(app::Control),
    /// Environment: the answer to that.
    Ordered(app::Ordered),
    /// Environment: where a result can be had.
    Available(app::Available),
    /// Environment: give me of it.
    Fetch(app::Fetch),
    /// Environment: here it is.
    Piece(app::Piece),
    /// Environment: may this program go on?
    Lease(app::Lease),
    /// Environment: it may, for so long.
    Leased(app::Leased),
    /// Environment: which image is kept on another node.
    Kept(app::Kept),
}

/// The numbers of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeNumbers {
    /// Replicas.
    pub n: u8,
    /// Equal ballots that decide.
    pub k: u8,
    /// Whether the first ballot decides.
    pub first: bool,
    /// Whether a replica may lag.
    pub slack: bool,
}

/// A change of an ARMOR's composition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Build this block and put it behind the others.
    Add {
        /// Its registered id.
        block: BlockId,
    },
    /// Take this block out.
    Remove {
        /// Its registered id.
        block: BlockId,
    },
    /// Put one block in another's place.
    Replace {
        /// The one to be taken out.
        old: BlockId,
        /// The one to be built.
        new: BlockId,
    },
}

/// Why a change of composition was refused; the composition is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The factory knows no block of this id.
    Unknown(BlockId),
    /// The ARMOR has this block already.
    Present(BlockId),
    /// The ARMOR does not have this block.
    Absent(BlockId),
}

/// The kind of a message: what a block subscribes to, and its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u16)]
#[allow(missing_docs, reason = "each is the message of the same name")]
pub enum Kind {
    Ping = 1,
    Pong = 2,
    SetMode = 3,
    SetTimeout = 4,
    SetSlack = 5,
    Inject = 6,
    Report = 7,
    Shutdown = 8,
    Compose = 9,
    Composed = 10,
    Attached = 11,
    Detached = 12,
    Subscribe = 13,
    Hello = 14,
    Welcome = 15,
    Install = 16,
    Installed = 17,
    Uninstall = 18,
    Uninstalled = 19,
    Refused = 20,
    ArmorDown = 21,
    Heartbeat = 22,
    Heartbeaten = 23,
    NodeDown = 24,
    NodeInfo = 25,
    Places = 26,
    WhereIs = 27,
    Undeliverable = 28,
    Update = 29,
    Updated = 30,
    NewManager = 31,
    Accusation = 32,
    Execute = 33,
    Ready = 34,
    Executed = 35,
    Ballot = 36,
    Voted = 37,
    Request = 38,
    Answer = 39,
    Note = 40,
    AskPlaces = 41,
    Revoked = 42,
    Parameter = 43,
    Tick = 44,
    Executing = 45,
    Control = 46,
    Ordered = 47,
    Available = 48,
    Fetch = 49,
    Piece = 50,
    Lease = 51,
    Leased = 52,
    Kept = 53,
}

impl Kind {
    /// All of them, each at its number less one.
    pub const ALL: [Self; 53] = [
        Self::Ping,
        Self::Pong,
        Self::SetMode,
        Self::SetTimeout,
        Self::SetSlack,
        Self::Inject,
        Self::Report,
        Self::Shutdown,
        Self::Compose,
        Self::Composed,
        Self::Attached,
        Self::Detached,
        Self::Subscribe,
        Self::Hello,
        Self::Welcome,
        Self::Install,
        Self::Installed,
        Self::Uninstall,
        Self::Uninstalled,
        Self::Refused,
        Self::ArmorDown,
        Self::Heartbeat,
        Self::Heartbeaten,
        Self::NodeDown,
        Self::NodeInfo,
        Self::Places,
        Self::WhereIs,
        Self::Undeliverable,
        Self::Update,
        Self::Updated,
        Self::NewManager,
        Self::Accusation,
        Self::Execute,
        Self::Ready,
        Self::Executed,
        Self::Ballot,
        Self::Voted,
        Self::Request,
        Self::Answer,
        Self::Note,
        Self::AskPlaces,
        Self::Revoked,
        Self::Parameter,
        Self::Tick,
        Self::Executing,
        Self::Control,
        Self::Ordered,
        Self::Available,
        Self::Fetch,
        Self::Piece,
        Self::Lease,
        Self::Leased,
        Self::Kept,
    ];

    /// The kind of this number, if there is one.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether such a message may come from another ARMOR. What a block is told about its own
    /// place in the ARMOR may not.
    pub const fn may_travel(self) -> bool {
        !matches!(self, Self::Attached | Self::Detached | Self::Subscribe | Self::Tick)
    }
}

impl Message {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ping { .. } => Kind::Ping,
            Self::Pong { .. } => Kind::Pong,
            Self::SetMode(_) => Kind::SetMode,
            Self::SetTimeout { .. } => Kind::SetTimeout,
            Self::SetSlack { .. } => Kind::SetSlack,
            Self::Inject(_) => Kind::Inject,
            Self::Report(_) => Kind::Report,
            Self::Shutdown => Kind::Shutdown,
            Self::Compose(_) => Kind::Compose,
            Self::Composed { .. } => Kind::Composed,
            Self::Attached => Kind::Attached,
            Self::Detached => Kind::Detached,
            Self::Subscribe { .. } => Kind::Subscribe,
            Self::Hello(_) => Kind::Hello,
            Self::Welcome(_) => Kind::Welcome,
            Self::Install(_) => Kind::Install,
            Self::Installed(_) => Kind::Installed,
            Self::Uninstall(_) => Kind::Uninstall,
            Self::Uninstalled(_) => Kind::Uninstalled,
            Self::Refused(_) => Kind::Refused,
            Self::ArmorDown(_) => Kind::ArmorDown,
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Heartbeaten(_) => Kind::Heartbeaten,
            Self::NodeDown(_) => Kind::NodeDown,
            Self::NodeInfo(_) => Kind::NodeInfo,
            Self::Places(_) => Kind::Places,
            Self::WhereIs(_) => Kind::WhereIs,
            Self::Undeliverable(_) => Kind::Undeliverable,
            Self::Update(_) => Kind::Update,
            Self::Updated(_) => Kind::Updated,
            Self::NewManager(_) => Kind::NewManager,
            Self::Accusation(_) => Kind::Accusation,
            Self::Execute(_) => Kind::Execute,
            Self::Ready => Kind::Ready,
            Self::Executed(_) => Kind::Executed,
            Self::Ballot(_) => Kind::Ballot,
            Self::Voted(_) => Kind::Voted,
            Self::Request(_) => Kind::Request,
            Self::Answer(_) => Kind::Answer,
            Self::Note(_) => Kind::Note,
            Self::AskPlaces { .. } => Kind::AskPlaces,
            Self::Revoked(_) => Kind::Revoked,
            Self::Parameter { .. } => Kind::Parameter,
            Self::Tick { .. } => Kind::Tick,
            Self::Executing(_) => Kind::Executing,
            Self::Control(_) => Kind::Control,
            Self::Ordered(_) => Kind::Ordered,
            Self::Available(_) => Kind::Available,
            Self::Fetch(_) => Kind::Fetch,
            Self::Piece(_) => Kind::Piece,
            Self::Lease(_) => Kind::Lease,
            Self::Leased(_) => Kind::Leased,
            Self::Kept(_) => Kind::Kept,
        }
    }
}

/// A message on its way from one ARMOR to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Who sent it.
    pub source: ArmorId,
    /// Who shall have it.
    pub destination: ArmorId,
    /// The composition of the run that the sender knew.
    pub epoch: Epoch,
    /// What it says.
    pub message: Message,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(Kind::ALL.len() as u16 + 1), None);
    }

    #[test]
    fn the_page_about_blocks_lists_each_kind() {
        let page = include_str!("../../docs/blocks.md");
        let listed = page.lines().filter(|line| line.starts_with("| ")).skip(1);
        let kinds = Kind::ALL.map(|kind| format!("| {} | {kind:?} |", kind.number()));
        assert!(
            listed.eq(kinds.iter().map(String::as_str)),
            "docs/blocks.md is to have {kinds:#?}"
        );
    }
}
