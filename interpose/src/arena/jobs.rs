//! What the tracer is asked to do, and what it has seen.
//!
//! Invariant: the dispatcher asks and takes the outcome, the tracer does; a job's `state` says whose it is.

use bytemuck::{Pod, Zeroable};

/// What the tracer is asked to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Job {
    /// 0 free, 1 asked, 2 done, 3 under way (it waits for a stop), 4 withdrawn. Written last.
    pub state: u32,
    /// See [`job`].
    pub kind: u32,
    /// Task and replica it is about.
    pub task: u32,
    /// Replica index.
    pub replica: u32,
    /// Its thread id in the kernel.
    pub pid: u32,
    /// Listener of its notification.
    pub listener: u32,
    /// Its notification.
    pub id: u64,
    /// The answer (value or negative errno).
    pub ret: i64,
    /// clone(2): flags; or what else the kind says.
    pub args: [u64; 6],
    /// Task of the new thread or process.
    pub child_task: u32,
    /// Replicas (bit mask) to make of this one.
    pub copies: u32,
    /// Outcome: 0 or an errno.
    pub error: u32,
    /// Hold the replica afterwards.
    pub hold: u32,
    /// The call that the replica stood at when it was asked.
    pub seq: u64,
    /// When it was asked.
    pub asked_at: u64,
    /// When it was done.
    pub done_at: u64,
}

/// Kinds of [`Job`].
pub mod job {
    /// Answer, stop, inject clone with `args` (flags, stack, parent_tid, child_tid, tls) for the
    /// program's own fork, give the parent `ret`.
    pub const FORK: u32 = 1;
    /// Answer, stop, make `copies` by injected forks.
    pub const REPAIR: u32 = 2;
    /// Let a held replica go on.
    pub const RELEASE: u32 = 3;
    /// End a replica.
    pub const KILL: u32 = 4;
    /// Answer, stop, deliver signal `args[0]` under the mask at address `args[1]`.
    pub const MASKED_SIGNAL: u32 = 5;
    /// Answer, stop, flip bit `args[1]` of register `args[0]`.
    pub const FLIP: u32 = 6;
    /// Answer and never let it run again.
    pub const HANG: u32 = 7;
    /// Stop it where it computes, make `copies` of it there, have all take signal `args[0]`; only
    /// if it still is at call `args[1]`.
    pub const PREEMPT: u32 = 8;
    /// Answer, stop, put the call path inside it (see `chameleon_sys::inside`).
    pub const ARM: u32 = 9;
    /// Let the call, an mmap with `args`, be executed, stop, change the random instructions of the
    /// code that has been mapped.
    pub const PATCH: u32 = 10;
    /// Answer, stop, make the calls of the plan at `args[0]` in the arena.
    pub const REMAP: u32 = 11;
    /// Let go of the file of object `args[0]` of shared memory, which nobody maps; no replica's.
    pub const FORGET: u32 = 12;
    /// Make `copies` of the replica in all processes of its group, with all their threads, each of which
    /// waits at a call: all of them, or none.
    pub const REPAIR_THREADS: u32 = 13;
    /// Stop `copies` of a thread that computes, bring them to one state and have them make a call
    /// there; only if they still are before call `args[0]`.
    pub const AGREE: u32 = 14;
    /// Answer, stop, change the word at `args[0]` from `args[1]` to `args[2]` if it still is that, and do
    /// what `args[3]` says (see [`word`]); `error` is EAGAIN if it was another, EFAULT if it cannot be
    /// changed. Unless that was the last of it the call is made again.
    pub const WORD: u32 = 15;
    /// Answer, stop, give up the locks that the thread owns, those in the list of robust ones at
    /// `args[0]` and those that others wait for. The call is made again.
    pub const LOCKS: u32 = 16;
    /// The replica, which waits at a call, is one of task `child_task` from now on.
    pub const MOVE: u32 = 17;
    /// Make `copies` of a checkpoint, and have them run.
    pub const THAW: u32 = 18;
    /// As [`REPAIR`], behind a call that the replica executes itself.
    pub const REPAIR_BEHIND: u32 = 19;
    /// Make `copies`, checkpoints, of a replica that waits at a call, which it makes again.
    pub const FREEZE: u32 = 20;
    /// Answer, stop, make the call, an mremap with `args`, over mappings that would be one without us.
    pub const JOIN: u32 = 21;

    /// Whether the tracer answers the replica's call in a job of this kind.
    pub fn answers(kind: u32) -> bool {
        !matches!(
            kind,
            RELEASE | KILL | PREEMPT | REPAIR_THREADS | AGREE | FORGET | MOVE | THAW | FREEZE
        )
    }

    /// Whether `copies` are made in a job of this kind, as far as is known beforehand.
    pub fn makes(kind: u32) -> bool {
        kind != AGREE
    }
}

/// What goes with [`job::WORD`]: bits.
pub mod word {
    /// The call is answered once the word has been changed.
    pub const LAST: u64 = 1;
}

/// A replica's death as the tracer saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Death {
    /// Thread id.
    pub pid: u32,
    /// Task.
    pub task: u32,
    /// Replica index.
    pub replica: u32,
    /// Signal, or 0 for an exit.
    pub signal: u32,
}
