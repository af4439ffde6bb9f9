//! The records of recovery: a task's or a group's checkpoints, its failures, and how far a rollback is.
//!
//! Invariant: as those of all records; only the dispatcher writes them, but for what says so.

use bytemuck::{Pod, Zeroable};
use chameleon_policy::checkpoint::{FAILURES, Failure, History, failure};
use chameleon_sys::clock;

use super::MAX_REPLICAS;

/// Readings of clocks and of what else the processor tells that a replica made of a checkpoint may have to
/// make again: of the places of the log of clocks some are left for those that were made meanwhile.
pub const READINGS_KEPT: u64 = clock::LOG_LEN / 16 - 4096;

/// What a task keeps for rolling back. Its checkpoints are the replicas behind those that vote,
/// [`rstate::FROZEN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Recovery {
    /// The first call from which on results are kept and can be given again: an older checkpoint is of
    /// no use.
    pub from: u64,
    /// While it is rolled back: the call at which that ends.
    pub resume: u64,
    /// See [`rolling`].
    pub rolling: u32,
    /// See [`want`]: why a checkpoint is to be taken at the next call that is answered.
    pub wanted: u32,
    /// When the latest checkpoint was asked for, or was there, in monotonic nanoseconds.
    pub taken_at: u64,
    /// When a checkpoint at each place was made, in monotonic nanoseconds.
    pub made_at: [u64; MAX_REPLICAS],
    /// Readings of clocks made outside, of a leader: one in `chameleon_sys::clock::OUTSIDE_EVERY` is.
    pub clocks: u64,
    /// What `clocks` was when the checkpoint at each place was made.
    pub clocks_at: [u64; MAX_REPLICAS],
    /// Time stamps and random numbers of the processor that the tracer has decided, of a leader and its
    /// threads (the tracer writes this, and the next).
    pub drawn: u64,
    /// What `drawn` was when what is at each place was made.
    pub drawn_at: [u64; MAX_REPLICAS],
    /// After one that could not be made: when the next may be tried.
    pub retry_at: u64,
    /// The header's `asked_checkpoint` when it was.
    pub asked: u64,
    /// 1 plus the call of the checkpoint that it was rolled back to last.
    pub resumed_from: u64,
    /// The failures that it has not recovered from.
    pub failures: Failures,
    /// When that happened, in monotonic nanoseconds.
    pub failed_at: u64,
    /// The checkpoint that is used, as an index into the replicas.
    pub used: u32,
    /// 1 plus the place of a checkpoint that is being read, and must stay; or 0.
    pub pinned: u32,
    /// The header's `asked_checkpoint` that the latest checkpoint answers.
    pub heeded: u64,
    /// The places, a bit each, whose checkpoint was made at its call: what comes before that has been
    /// computed.
    pub at_call: u32,
    /// Unused.
    pub spare: u32,
    /// 1 plus the call that changes a file which was mapped; or 0. What is to be computed before it is not
    /// to be had once more.
    pub changes: u64,
    /// Decided calls that were taken back since the latest roll-back began.
    pub taken_back: u64,
    /// A call that was performed and that the latest replay did not make.
    pub performed_seq: u64,
    /// See `performed_seq`: 1 plus the task that made it, or 0.
    pub performed_by: u32,
    /// 1 if that was among the writes that came with it (`dispatcher::inside`).
    pub performed_inside: u32,
}

impl Recovery {
    /// A failure of a kind is noted: what an earlier replay did not make is no reason for it, unless it is
    /// that of a replay.
    pub fn forget_performed(&mut self, kind: u32) {
        if kind != failure::REPLAY {
            self.performed_by = 0;
        }
    }
}

/// The records of `chameleon_policy::checkpoint::History`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Failures {
    /// How many there are.
    pub count: u32,
    /// Unused.
    pub spare: u32,
    /// Each by call, instruction, 1 plus the call of the checkpoint it had gone back to, and kind with,
    /// in the upper half, signal.
    pub all: [[u64; 4]; FAILURES],
}

impl Failures {
    /// As decisions are made of them.
    pub fn history(&self) -> History {
        let one = |[seq, pc, from, kind]: [u64; 4]| Failure {
            seq,
            pc,
            from,
            kind: kind as u32,
            signal: (kind >> 32) as u32,
        };
        History { count: self.count, spare: 0, failures: self.all.map(one) }
    }
}

impl From<History> for Failures {
    fn from(h: History) -> Self {
        let one = |f: Failure| [f.seq, f.pc, f.from, u64::from(f.kind) | u64::from(f.signal) << 32];
        Self { count: h.count, spare: 0, all: h.failures.map(one) }
    }
}

/// How far a recovery is.
pub mod rolling {
    /// None is under way.
    pub const NO: u32 = 0;
    /// Replicas are being made of the checkpoint.
    pub const THAW: u32 = 1;
    /// They are given what was decided since.
    pub const REPLAY: u32 = 2;
    /// One more replica is, which is to say who of the others is right.
    pub const THIRD: u32 = 3;
    /// The replicas of a group are being ended.
    pub const CLEAR: u32 = 4;
    /// As [`REPLAY`], of a group that was made of an image: its threads come back to their calls.
    pub const RETURN: u32 = 5;
}

/// Why a checkpoint is taken.
pub mod want {
    /// None is wanted.
    pub const NOT: u32 = 0;
    /// The program, or a new process of it, has begun.
    pub const START: u32 = 1;
    /// What was just done cannot be done again from the journal.
    pub const CALL: u32 = 2;
    /// The journal is half full.
    pub const JOURNAL: u32 = 3;
    /// It is time.
    pub const TIME: u32 = 4;
    /// So many calls were made.
    pub const CALLS: u32 = 5;
    /// Somebody asked.
    pub const ASKED: u32 = 6;
}
