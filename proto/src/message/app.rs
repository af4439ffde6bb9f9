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
    /// The image that it went on from, if it did: its number and its cut (nanoseconds since 1970).
    pub image: Option<(u64, u64)>,
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

/// A manager to its VOTER: this replica's result, or a part of it, can be fetched there; to its CHECKPOINT ARMOR: the
/// images of the run can.
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

/// A file of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The bytes of its pages.
    Pages,
    /// Where each page is.
    Index,
    /// What is said of the program.
    Manifest,
}

/// What is fetched of a result, or of the images of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The status, which files there are, their lengths and SHA-256.
    Digest,
    /// Bytes of the file of this number, from there on.
    File(u32, u64),
    /// The newest image and those that it builds on.
    Images,
    /// Bytes of a part of the image of this number, from there on.
    Image(u64, Part, u64),
    /// What goes along with the image of this number.
    Beside(u64),
    /// Bytes of the file of this number among those that go along with that image, from there on.
    BesideFile(u64, u32, u64),
}

impl What {
    /// Whether it is of images, and not of a result.
    pub const fn is_of_images(self) -> bool {
        !matches!(self, Self::Digest | Self::File(..))
    }
}

/// An image that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of which run.
    pub run: [u8; 16],
    /// Its number.
    pub sequence: u64,
    /// The checksum of its manifest: another image may get its number.
    pub sum: u64,
    /// Its cut: nanoseconds since 1970 (UTC).
    pub created_ns: u64,
    /// The lengths of its parts: pages, index, manifest.
    pub lengths: [u64; 3],
}

/// A file that goes along with an image: the program had it open for writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Along {
    /// Its path in the image.
    pub path: Vec<u8>,
    /// Where it is to be: an absolute path, or one below the directory of the ARMOR's files.
    pub at: Vec<u8>,
    /// What it was at the cut.
    pub file: File,
}

/// What goes along with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// The image.
    pub sequence: u64,
    /// The checksum of its manifest.
    pub sum: u64,
    /// Its cut: nanoseconds since 1970 (UTC).
    pub created_ns: u64,
    /// Files that go along.
    pub files: Vec<Along>,
    /// What else was in the program's directory: names, and a digest of each.
    pub around: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A CHECKPOINT ARMOR to its manager: what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The image that a run can go on from, if there is one: its number and its cut (nanoseconds since 1970).
    pub image: Option<(u64, u64)>,
    /// Why later ones are not kept, if they are not.
    pub why: Option<String>,
}

/// A VOTER to an EXECUTION ARMOR that has a result; a CHECKPOINT ARMOR to one whose run has images, and
/// an EXECUTION ARMOR to a CHECKPOINT ARMOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Which start of the program it is the result of; of images it only comes back.
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
    /// Of a file; none are there behind the end.
    Bytes(Vec<u8>),
    /// Of [`What::Images`], the oldest first.
    Images(Vec<Listed>),
    /// Of [`What::Beside`].
    Beside(Beside),
    /// It cannot be had.
    Refused(String),
    /// No image can be gone on from elsewhere, also no earlier one: the program has changed what another node may
    /// share.
    Shared(String),
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
