//! The arena's first record: what is of the run and not of a task.
//!
//! Invariant: that of all records ([`super`]).

use bytemuck::{Pod, Zeroable};

/// Counters and identities at the start of the arena.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Header {
    /// Incarnation of the ARMOR now in charge.
    pub incarnation: u32,
    /// Next ordinal of a task.
    pub next_ordinal: u32,
    /// Next identity of a descriptor table.
    pub next_table: u32,
    /// The program has ended or was ended; nothing more is to be done.
    pub finished: u32,
    /// Injections already made, as a bit mask.
    pub injected: u64,
    /// Trapped calls decided.
    pub calls: u64,
    /// Ballots counted.
    pub votes: u64,
    /// Replicas repaired.
    pub repairs: u32,
    /// Successions of the ARMOR.
    pub takeovers: u32,
    /// When the run began.
    pub started_at: u64,
    /// CPU time of replicas that have ended.
    pub cpu: u64,
    /// Highest task index in use, plus 1.
    pub tasks: u32,
    /// Objects of shared memory that have been made, now in use or not: the highest index plus 1.
    pub objects: u32,
    /// The start event has been written.
    pub announced: u32,
    /// The run is being ended because it cannot go on: 1, or 2 where a restart would not help.
    pub giving_up: u32,
    /// The exit event has been written.
    pub said_exit: u32,
    /// The program has limited the size of files it writes.
    pub limited: u32,
    /// The mode that is in force, packed, if it is another than the run was started in; else 0.
    pub mode: u32,
    /// 1 plus the calls that the Fanout was told a replica may be behind; 0 for none.
    pub told_lag_calls: u32,
    /// The voting timeout that the Voter was told, in nanoseconds; 0 for none.
    pub told_timeout: u64,
    /// The bytes that the Fanout was told a replica may be behind.
    pub told_lag_bytes: u64,
    /// Counts the places in queues of futex(2).
    pub waits: u64,
    /// 1 if the outside decides whatever may differ from one execution to the next: with several
    /// replicas, and with checkpoints, from which a program is executed once more.
    pub lockstep: u32,
    /// If checkpoints are taken: where they begin among the replicas, behind those that vote and one more.
    pub first_place: u32,
    /// Requests for a checkpoint.
    pub asked_checkpoint: u64,
    /// Those among them that are answered.
    pub taken_checkpoint: u64,
    /// Those whose answer was passed on.
    pub told_checkpoint: u64,
    /// Checkpoints taken, asked for or not.
    pub checkpoints: u64,
    /// Roll-backs.
    pub rollbacks: u64,
    /// Why the last request was refused (`dispatcher::asked`), or 0.
    pub refused_checkpoint: u32,
    /// 1 if a run that is given up is started again from the beginning.
    pub may_restart: u32,
    /// 1 if checkpoints are written to images.
    pub images: u32,
    /// How many numbers of processes and threads the program knows as other ones.
    pub renumbered: u32,
    /// Bytes that a restart has read of its image so far.
    pub restored: u64,
    /// The number of the latest image whose undo log was begun; what the program does to files is put
    /// into that log. 0 for none.
    pub image: u64,
    /// Bytes of memory that go into the image that is being written, and how many of them have been read.
    pub image_bytes: u64,
    /// See `image_bytes`.
    pub image_read: u64,
    /// The latest image that has become one.
    pub image_good: u64,
    /// What of System V the program has used: see `dispatcher::durable::ipc`.
    pub ipc: u64,
    /// The mode that the run is to have, packed, as long as not all of it has; else 0.
    pub mode_to: u32,
    /// While that is so, or has just ended: the places that each task has for replicas; 0 for those of the mode.
    pub seats: u32,
    /// When that was asked for, in monotonic nanoseconds.
    pub mode_asked_at: u64,
    /// The time between two checkpoints that the run was told since it began, in nanoseconds; 0 for none.
    pub told_every: u64,
    /// The calls between two, in the same way.
    pub told_calls: u64,
    /// 1 if it was told those.
    pub told_cadence: u64,
}
