//! What daemons, managers and the ARMORs of an environment tell each other.
//!
//! Invariant: plain data; what arrives is bounded by the codec's limit. Paper 3, 4 and 5. Each is the
//! body of the [`super::Message`] of the same name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, ArmorId, NodeId};
use crate::message::app::Fault;

/// First on a connection to a daemon: who is calling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The secret that the daemon gave to the ARMOR when it was installed; empty for a client.
    pub cookie: Vec<u8>,
    /// Its process.
    pub pid: u32,
    /// Who installed it: a daemon that was restarted learns it from here.
    pub manager: Option<ArmorId>,
}

/// The daemon's answer: the connection is the ARMOR's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The daemon's node.
    pub node: NodeId,
    /// The FTM that the daemon knows of, if it knows one.
    pub ftm: Option<ArmorId>,
}

/// A manager to a daemon: start this ARMOR (paper 4.3, `install_ARMOR`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Its name, given out by the manager.
    pub armor: ArmorId,
    /// What it starts with: TOML that its type understands.
    pub parameters: String,
    /// The file that is its process, and its arguments, if it is not the project's own program.
    pub program: Option<Vec<String>>,
}

/// A daemon's answer to [`Install`]: the ARMOR said that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Which.
    pub armor: ArmorId,
    /// Where.
    pub node: NodeId,
    /// Its process.
    pub pid: u32,
    /// From the request to its first message, in nanoseconds.
    pub took_ns: u64,
}

/// Something that was asked for cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// About which ARMOR, if about one.
    pub armor: Option<ArmorId>,
    /// Why and what to do, in plain words.
    pub why: String,
}

/// How an ARMOR went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It exited with this status.
    Exit(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It is gone; the daemon that found it gone had not started it.
    Gone,
    /// It did not answer, and was killed for it.
    Hang,
}

/// A daemon to an ARMOR's manager: it is down (paper 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmorDown {
    /// Which.
    pub armor: ArmorId,
    /// Where it was.
    pub node: NodeId,
    /// How.
    pub how: How,
    /// When it was detected: nanoseconds since 1970 (UTC).
    pub at_ns: u64,
}

/// How a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The load of the last minute, in hundredths.
    pub load: u32,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory that programs can have.
    pub memory_available: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Corrected and uncorrected errors of memory since the machine started, where it counts them.
    pub memory_errors: Option<u64>,
    /// Errors of block devices since the machine started, where it counts them.
    pub io_errors: Option<u64>,
    /// ARMORs installed.
    pub armors: u32,
}

/// The HEARTBEAT ARMOR to a daemon: are you there (paper 4.2.1)?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Comes back.
    pub sequence: u64,
    /// Whether the answer is to say how the node does.
    pub health: bool,
}

/// The daemon's answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeaten {
    /// The heartbeat's.
    pub sequence: u64,
    /// Whose.
    pub node: NodeId,
    /// If it was asked for.
    pub health: Option<Health>,
}

/// `MSG_NODE_DOWN` (paper 5.1): the HEARTBEAT ARMOR to the FTM, then from manager to manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDown {
    /// Which.
    pub node: NodeId,
    /// Heartbeats in a row without an answer.
    pub missed: u32,
    /// When that was decided: nanoseconds since 1970 (UTC).
    pub at_ns: u64,
}

/// What the INITIALIZATION ARMOR found out about a node (paper 4.2.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Which.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// Where its daemon listens: `host:port`, or nothing for a node of its own.
    pub address: String,
    /// The operating system's name and version.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// The processor's features, as in /proc/cpuinfo.
    pub features: Vec<String>,
    /// How it did at that moment.
    pub health: Health,
}

/// A change of where ARMORs are: the FTM to the daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Grows by one with each change; a daemon that misses one asks for all.
    pub version: u64,
    /// Whether what is not named is no longer known.
    pub all: bool,
    /// ARMORs, and where each is.
    pub at: Vec<(ArmorId, NodeId)>,
    /// ARMORs that are nowhere any more.
    pub gone: Vec<ArmorId>,
    /// Nodes, and where their daemons listen.
    pub nodes: Vec<(NodeId, String)>,
}

/// A message came back: the daemon at its way's end has no such ARMOR (paper 5.1, an error of the
/// sender's node or of the tables).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeliverable {
    /// For whom it was.
    pub destination: ArmorId,
    /// Number of its kind.
    pub kind: u16,
    /// Why.
    pub why: NoWay,
}

/// Why a message cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoWay {
    /// No table knows the ARMOR.
    Unknown,
    /// It is not on the node that the message was sent to.
    NotHere,
    /// Another life of it is.
    OtherLife,
    /// Its node cannot be reached.
    Unreachable,
    /// It does not take its messages, and the queue for it is full.
    Full,
}

/// A row of the FTM's tables has changed: managers to FTM and Backup FTM (paper 5.3.1, figure 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Of the sender's updates, from 1.
    pub sequence: u64,
    /// Whether the receiver votes on it first (two phases) or has it now.
    pub phase: Phase,
    /// What changes.
    pub row: Row,
}

/// The phases of an atomic update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Can you do it?
    Prepare,
    /// Do it.
    Commit,
    /// Forget it.
    Abort,
}

/// A receiver's vote on an [`Update`], or that it has been done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// The update's.
    pub sequence: u64,
    /// The phase that is answered.
    pub phase: Phase,
    /// Why not, if it cannot be done: a table that does not have the row that is to go is wrong, and
    /// so may its FTM be.
    pub refusal: Option<String>,
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    /// An ARMOR is there: its manager and its place.
    Armor {
        /// Which.
        armor: ArmorId,
        /// Who manages it.
        manager: ArmorId,
        /// Where it is.
        node: NodeId,
    },
    /// An ARMOR is no longer there.
    NoArmor(ArmorId),
    /// A node is there.
    Node(NodeInfo),
    /// A node is no longer there.
    NoNode(NodeId),
    /// A node failed: its history.
    Failure(NodeDown),
    /// How an application is.
    App(App),
    /// An application is no longer known.
    NoApp(AppId),
    /// A parameter of the environment has a value.
    Parameter(String, String),
}

/// An application, as the FTM knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its number.
    pub id: AppId,
    /// Its name, unique in the environment.
    pub name: String,
    /// What is to be run, and how dependable it shall be: TOML, as it was handed in.
    pub specification: String,
    /// The strategy that was chosen: its name in the registry.
    pub strategy: String,
    /// Its Surrogate Manager.
    pub manager: Option<ArmorId>,
    /// How it is.
    pub state: AppState,
    /// When it was handed in: nanoseconds since 1970 (UTC).
    pub submitted_ns: u64,
}

/// How an application is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppState {
    /// Its manager or its Execution ARMORs are being installed.
    Starting,
    /// It runs.
    Running,
    /// Something of it failed and is being put right.
    Recovering,
    /// It ended as a shell counts it.
    Ended(i32),
    /// It was given up.
    Failed(String),
}

/// The FTM to everyone, from manager to manager: this is the FTM now (paper Table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewManager {
    /// The FTM.
    pub ftm: ArmorId,
    /// Its backup, when one is named.
    pub backup: Option<ArmorId>,
    /// Where the FTM is.
    pub node: NodeId,
}

/// A Surrogate Manager to the Backup FTM: the FTM does not have what it should (paper 5.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accusation {
    /// The FTM that is accused.
    pub ftm: ArmorId,
    /// The update it refused.
    pub sequence: u64,
    /// What it said.
    pub why: String,
}

/// A Surrogate Manager to an Execution ARMOR: run this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execute {
    /// Of which application.
    pub app: AppId,
    /// The program and its arguments.
    pub argv: Vec<Vec<u8>>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<Vec<u8>>,
    /// Where it works.
    pub directory: Vec<u8>,
    /// Where its standard input, output and error lead, if not to the daemon's log.
    pub streams: [Option<Vec<u8>>; 3],
    /// Options of `chameleon run`: name without dashes, value.
    pub options: BTreeMap<String, String>,
    /// Which start of the program this is, from 1: one that is under way or over is not done again.
    pub attempt: u32,
    /// Files below the directory that are its result, if it is to work in a directory of its own, so
    /// that nothing of it is seen before it was voted on.
    pub apart: Option<Vec<String>>,
    /// Whether it runs only as long as the FTM lets it: it may be started on another node if this one
    /// does not answer.
    pub leased: bool,
    /// The CHECKPOINT ARMOR that may have an image of it, if it was on another node before: it goes on from that.
    pub keeper: Option<ArmorId>,
}

/// An Execution ARMOR to its manager: the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Of which application.
    pub app: AppId,
    /// Its status as a shell counts it.
    pub status: i32,
    /// Why it was given up, if it was.
    pub given_up: Option<String>,
    /// Nanoseconds that it took.
    pub took_ns: u64,
    /// Which start of it.
    pub attempt: u32,
    /// How it failed; nothing if it ended by its own exit.
    pub fault: Option<Fault>,
}

/// To a Voter: a result to be voted on (paper 4.2.4, 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Of which vote.
    pub round: u64,
    /// Which replica.
    pub replica: u8,
    /// Which part of a result that several make together, from 0.
    pub part: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Nanoseconds that its execution took, for the timeout.
    pub took_ns: u64,
}

/// A Voter's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted {
    /// Of which vote.
    pub round: u64,
    /// The parts of the result that won, if one did.
    pub result: Option<Vec<Vec<u8>>>,
    /// Replicas that differed from it.
    pub differ: Vec<u8>,
    /// Replicas that did not come in time.
    pub late: Vec<u8>,
}

/// A client to the FTM, by way of any daemon: a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back.
    pub number: u64,
    /// What is asked.
    pub text: String,
}

/// A part of the FTM's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub number: u64,
    /// A line of JSON.
    pub text: String,
    /// Whether no more comes.
    pub last: bool,
}

/// Something that people want to read about: who saw it, and to which incident it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// One failure and what was done about it have one number; 0 for what is no incident.
    pub incident: u64,
    /// Nanoseconds since 1970 (UTC).
    pub at_ns: u64,
    /// Where.
    pub node: NodeId,
    /// The application that it is about, if it is about one.
    pub app: Option<AppId>,
    /// What kind of step.
    pub step: Step,
    /// In plain words.
    pub text: String,
}

/// The steps of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A failure was noticed.
    Detected,
    /// What to do about it was decided.
    Decided,
    /// It is as it should be again.
    Recovered,
    /// It could not be put right.
    GivenUp,
    /// Neither.
    Info,
}
