//! What the manager of an application, its EXECUTION ARMORs and its VOTER tell each other beside what
//! is in [`super::env`].
//!
//! Invariant: plain data, bounded by the codec's limit: what may be longer goes in pieces that the
//! receiver asks for, so a receiver that is started again begins again, and no queue has to hold it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, ArmorId};

/// How an execution went wrong: rows of the paper's Table 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A signal ended the program, or Chameleon itself gave it up or is gone.
    Terminated,
    /// It made no progress, and going back to a checkpoint did not help.
    Livelock,
    /// Its replicas disagreed, and no majority was left.
    Erroneous,
    /// It could not even be started.
    Unstartable,
    /// Its node was cut off for so long that it may have been started elsewhere, and it was ended for that.
    CutOff,
}

/// Where an execution began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Began {
    /// At the program's beginning.
    Beginning,
    /// At the last image of a checkpoint.
    Image,
    /// It was under way; an earlier life of its EXECUTION ARMOR had started it.
    Adopted,
}

/// An EXECUTION ARMOR to its manager, and that to the FTM: the program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executing {
    /// Of which application.
    pub app: AppId,
    /// Which start of it, as in [`super::env::Execute`].
    pub attempt: u32,
    /// Its first process; 0 from a manager to the FTM: it runs no longer.
    pub pid: u32,
    /// The run's ID (`chameleon ps`); empty as long as it is not known.
    pub run: String,
    /// Where it began.
    pub from: Began,
    /// The directory of its files on that node.
    pub home: String,
    /// The ARMOR that runs it: its manager passes this on to the FTM.
    pub at: ArmorId,
    /// When this start of it began: nanoseconds since 1970 (UTC).
    pub began_ns: u64,
}

/// What a manager wants of an EXECUTION ARMOR whose program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// End the program: SIGTERM, and after a while SIGKILL. [`super::env::Executed`] follows.
    Stop,
    /// Give settings of the run other values.
    Set(BTreeMap<String, String>),
}

/// An order; it is answered with [`Ordered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Comes back.
    pub number: u64,
    /// What is wanted.
    pub order: Order,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The order's.
    pub number: u64,
    /// Why it is not done, if it is not.
    pub refusal: Option<String>,
}

/// A manager to its VOTER: this replica's result, or a part of it, can be fetched there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// Of which vote.
    pub round: u64,
    /// Which replica.
    pub replica: u8,
    /// Which part of the application, from 0.
    pub part: u32,
    /// The EXECUTION ARMOR that has it.
    pub at: ArmorId,
    /// Which start of the program it is the result of.
    pub attempt: u32,
    /// Nanoseconds that its execution took.
    pub took_ns: u64,
}

/// What is fetched of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The status, which files there are, their lengths and SHA-256.
    Digest,
    /// Bytes of the file of this number, from there on.
    File(u32, u64),
}

/// A VOTER to an EXECUTION ARMOR that has a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Which start of the program it is the result of.
    pub attempt: u32,
    /// What is wanted.
    pub what: What,
}

/// A result file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its bytes; nothing if there is no such file.
    pub length: Option<u64>,
    /// SHA-256 of them.
    pub digest: Vec<u8>,
    /// The bits of its mode that chmod(2) sets.
    pub mode: u32,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What was fetched.
    pub fetch: Fetch,
    /// It, or why not.
    pub content: Content,
}

/// See [`Piece`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Of [`What::Digest`]: the status as a shell counts it, and the files in their order.
    Digest(i32, Vec<File>),
    /// Of [`What::File`]; none are there behind the end.
    Bytes(Vec<u8>),
    /// It cannot be had.
    Refused(String),
}

/// An Execution ARMOR to the FTM: may its program run, or go on (`chameleon_policy::lease`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// When this was asked, by a clock of the one who asks; comes back.
    pub asked_ns: u64,
}

/// The FTM's answer: it may, from when it was asked on; there is none if it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// The question's.
    pub asked_ns: u64,
    /// For so many nanoseconds.
    pub term_ns: u64,
}
