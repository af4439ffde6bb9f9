//! What happened to a run: the events of `--report` and of the plain lines on stderr.
//!
//! Invariant: one event is one thing that happened, said once; its JSON form is the schema in
//! `docs/report.md`, every field always present (`null` where it does not apply). Made by the
//! supervisor and the executor, written by the command, read by the campaign.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::inject::Fault;

mod human;
mod recovery;
mod text;

pub use human::{human, signal_name};
pub use recovery::{Checkpoint, Image, Recovery, Restarted, Restored, RolledBack, Verdict};
pub use text::{Address, Bytes, NotHex};

/// A word that the maker of an event has at compile time and its reader may not.
pub type Word = Cow<'static, str>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The program is about to start.
    Start(Start),
    /// A fault was put into a replica.
    Injected(Injected),
    /// A ballot differed.
    Divergence(Divergence),
    /// A replica was taken out of its set.
    Outvoted(Outvoted),
    /// A set is at full strength again.
    Repaired(Repaired),
    /// A successor took over from a dead or hanging ARMOR.
    Takeover(Takeover),
    /// A call was refused because it cannot be replicated.
    Refused(Refused),
    /// A healthy-looking donor differs from another replica in memory.
    Latent(Latent),
    /// A signal could not wait for the program's next call: one replica's state was taken for all.
    Preempted(Preempted),
    /// A thread computes without calls while others wait for it.
    Stalled(Stalled),
    /// It was preempted in the state of one replica.
    Unvoted(Unvoted),
    /// A write that the program was told of as done could not be carried out; the run ends.
    Undelivered(Undelivered),
    /// No answer has enough votes any more; the run ends.
    LostMajority(LostMajority),
    /// The program has ended.
    Exit(Exit),
    /// What differed may be a race of the program's own.
    Race(Race),
    /// A checkpoint of a process was taken.
    Checkpoint(Checkpoint),
    /// A process failed and was rolled back to a checkpoint.
    RolledBack(RolledBack),
    /// A process failed and is not rolled back any more.
    Verdict(Verdict),
    /// The run was given up and starts again from the beginning.
    Restarted(Restarted),
    /// How many checkpoints and roll-backs there were; behind the exit.
    Recovery(Recovery),
    /// An image of a checkpoint was written, or could not be.
    Image(Image),
    /// A program goes on from an image.
    Restored(Restored),
    /// The mode of the run was changed.
    ModeChanged(ModeChanged),
}

/// See [`Event::Start`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The mode as the user writes it.
    pub mode: Word,
    /// Replicas of each process.
    pub n: u8,
    /// Equal ballots that decide.
    pub k: u8,
    /// The program.
    pub program: String,
    /// Its arguments after its name, invalid UTF-8 replaced.
    pub args: Vec<String>,
    /// The process the program takes itself to be.
    pub pid: u32,
    /// CPUs it may use.
    pub cpus: u32,
}

/// See [`Event::ModeChanged`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeChanged {
    /// The mode before, as the user writes it.
    pub from: Word,
    /// The mode from now on.
    pub to: Word,
    /// Replicas of each process.
    pub n: u8,
    /// Equal ballots that decide.
    pub k: u8,
    /// Milliseconds from the request until every process had it.
    pub ms: f64,
}

/// See [`Event::Injected`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Injected {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// The replica it was put into.
    pub replica: u8,
    /// That replica's trapped call, from 1.
    pub call: u64,
    /// What was done, in the words of `--inject`.
    pub fault: Fault,
}

/// What differed between a ballot and the decided one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Another call.
    Call,
    /// A scalar argument.
    Argument,
    /// The bytes that an argument points to.
    Bytes,
    /// How many bytes an argument points to.
    Length,
    /// A pointer of one does not lead to readable memory.
    Unreadable,
}

/// See [`Event::Divergence`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The replica whose ballot differed.
    pub replica: u8,
    /// Sequence number of the call in its process, from 1.
    pub seq: u64,
    /// Name of the decided call.
    pub call: Word,
    /// What differed.
    pub what: What,
    /// Which argument, from 0; none if the call itself differs.
    pub argument: Option<u8>,
    /// The first differing byte, from 0, within what the argument points to.
    pub offset: Option<u64>,
    /// Up to 16 bytes of the decided ballot from there on (an argument: its 8 bytes, the lowest
    /// first; a call: its number).
    pub expected: Bytes,
    /// The same of the ballot that differed.
    pub got: Bytes,
    /// Ballots that are equal to the decided one, when this was found.
    pub votes: u8,
    /// Ballots that are equal to this one, itself included.
    pub against: u8,
    /// Whether its replica is taken out for it (not in mode dual-first, nor where nobody won).
    pub outvoted: bool,
    /// Where the differing replica stood.
    pub pc: Address,
    /// The CPU it last ran on.
    pub cpu: u32,
}

/// See [`Event::Race`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// Sequence number of the call that differed, from 1.
    pub seq: u64,
    /// Name of the decided call.
    pub call: Word,
    /// Processes that change the same memory in an order of their own.
    pub others: Vec<u32>,
    /// What each replica ran last.
    pub orders: Vec<ThreadOrder>,
}

/// The last turns of the threads in one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadOrder {
    /// The replica.
    pub replica: u8,
    /// The oldest first; the last one is that which ran when it differed.
    pub turns: Vec<ThreadTurn>,
}

/// A thread ran from this call to its next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTurn {
    /// The thread, by the id that the program sees.
    pub thread: u32,
    /// Sequence number of the call, from 1.
    pub seq: u64,
}

/// Why a replica was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its ballot differed.
    Divergence,
    /// A signal of its own making was about to end it, or had.
    Crash,
    /// It did not cast its ballot within the voting timeout.
    Late,
    /// Somebody killed it.
    Killed,
}

/// See [`Event::Outvoted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outvoted {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The replica.
    pub replica: u8,
    /// Sequence number of the call at which it was missed.
    pub seq: u64,
    /// Why.
    pub reason: Reason,
    /// The signal, if one ended it.
    pub signal: Option<u8>,
}

/// See [`Event::Repaired`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repaired {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// The replica that was replaced.
    pub replica: u8,
    /// The healthy replica it is a fork of.
    pub donor: u8,
    /// Milliseconds from the loss to full strength.
    pub ms: f64,
}

/// See [`Event::Takeover`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    /// Which life of the ARMOR goes on now; the first is 0.
    pub incarnation: u32,
    /// Milliseconds from the predecessor's end to the successor's first call.
    pub ms: f64,
}

/// See [`Event::Refused`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The call, with its request where it has one.
    pub call: Word,
    /// Why it cannot be replicated.
    pub reason: Word,
    /// What the user can do.
    pub advice: Word,
    /// What the program was told, for example `ENOSYS`.
    pub answer: Word,
}

/// See [`Event::Latent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latent {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// The replica that was to be copied.
    pub donor: u8,
    /// The replica it was compared with.
    pub other: u8,
    /// The first differing byte.
    pub address: Address,
    /// Up to 16 bytes of the other from there on.
    pub expected: Bytes,
    /// The same of the donor.
    pub got: Bytes,
}

/// See [`Event::Stalled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stalled {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The thread that computes, by the id that the program sees.
    pub thread: u32,
    /// How many others wait.
    pub waiting: u32,
    /// Milliseconds since its last call.
    pub ms: f64,
}

/// See [`Event::Unvoted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unvoted {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The thread, by the id that the program sees.
    pub thread: u32,
    /// The replica whose state was taken.
    pub donor: u8,
    /// Milliseconds since its last call: the window that was not voted.
    pub ms: f64,
}

/// See [`Event::Preempted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preempted {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The replica whose state was taken; what it computed since its last call was never voted.
    pub donor: u8,
    /// The signal that was delivered.
    pub signal: u8,
    /// Milliseconds since its last call: the window that was not voted.
    pub ms: f64,
}

/// See [`Event::Undelivered`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// What the kernel answered, for example `ENOSPC`.
    pub answer: Word,
}

/// See [`Event::LostMajority`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostMajority {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// Sequence number of the call, from 1.
    pub seq: u64,
    /// Name of the call in the largest group of equal ballots.
    pub call: Word,
    /// Replicas of each process.
    pub n: u8,
    /// Equal ballots that would have decided.
    pub k: u8,
    /// Equal ballots there were at most.
    pub best: u8,
}

/// See [`Event::Exit`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, if it exited.
    pub status: Option<u8>,
    /// The signal, if one ended it.
    pub signal: Option<u8>,
    /// Calls performed outside, in all processes of the application.
    pub calls: u64,
    /// Calls among them that were voted.
    pub votes: u64,
    /// Replicas replaced.
    pub repairs: u64,
    /// Successors that took over.
    pub takeovers: u64,
    /// Milliseconds from start to end.
    pub wall_ms: f64,
    /// Milliseconds of CPU used by all replicas and all that is Chameleon's.
    pub cpu_ms: f64,
}

/// [`Event`] in the form of a report line: its name in the field `event`, beside its own fields.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Event", tag = "event", rename_all = "snake_case")]
enum Flat {
    Start(Start),
    Injected(Injected),
    Divergence(Divergence),
    Outvoted(Outvoted),
    Repaired(Repaired),
    Takeover(Takeover),
    Refused(Refused),
    Latent(Latent),
    Preempted(Preempted),
    Stalled(Stalled),
    Unvoted(Unvoted),
    Undelivered(Undelivered),
    LostMajority(LostMajority),
    Exit(Exit),
    Race(Race),
    Checkpoint(Checkpoint),
    RolledBack(RolledBack),
    Verdict(Verdict),
    Restarted(Restarted),
    Recovery(Recovery),
    Image(Image),
    Restored(Restored),
    ModeChanged(ModeChanged),
}

/// An event and when it happened: one line of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What.
    #[serde(flatten, with = "Flat")]
    pub event: Event,
    /// When: seconds since 1970 (UTC), to the millisecond.
    pub time: f64,
}

impl Record {
    /// An event that happened `ms` milliseconds after 1970-01-01 00:00 UTC.
    pub fn new(ms: u64, event: Event) -> Self {
        Self { event, time: ms as f64 / 1000.0 }
    }

    /// The line of the report, with its newline.
    ///
    /// # Errors
    /// [`serde_json::Error`]; none is known to be possible.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|text| text + "\n")
    }

    /// Reads a line of a report.
    ///
    /// # Errors
    /// [`serde_json::Error`] if it is none, or of another schema.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests;
