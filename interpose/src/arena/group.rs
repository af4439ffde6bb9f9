//! The records of threads in lockstep: the order in which they run, and what they wait for.
//!
//! Invariant: only the dispatcher writes them. An item of the log is written before the count that
//! makes it one; where a replica is in the log follows from the calls that its threads have passed.

use bytemuck::{Pod, Zeroable};

use super::MAX_REPLICAS;
use super::recovery::Recovery;

/// Items kept for replicas that are behind; of a run with checkpoints more are (see
/// [`super::Arena::create`]).
pub const LOG: usize = 2048;

/// Tasks that share memory: in each replica one of them runs at a time, in one order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Group {
    /// Items decided so far.
    pub head: u64,
    /// Counts the times a task became ready.
    pub order: u64,
    /// Items that each replica has passed.
    pub passed: [u64; MAX_REPLICAS],
    /// 1 plus the task that each replica ran last.
    pub running: [u32; MAX_REPLICAS],
    /// Replicas that have not been lost, as a bit mask.
    pub alive: u32,
    /// 1 plus the task of the last item.
    pub last: u32,
    /// 1 plus the task that must be next: its call has effects that no other may come between.
    pub next: u32,
    /// 1 plus the task that waits until nothing else runs in any replica.
    pub alone: u32,
    /// How many items in a row were of `last`.
    pub streak: u32,
    /// Replicas that the tracer is making, as a bit mask.
    pub making: u32,
    /// Replicas whose threads are coming back to the calls at which they were copied, as a bit mask.
    pub returning: u32,
    /// 1 while the running thread is being preempted.
    pub preempting: u32,
    /// Attempts at that since the last turn.
    pub attempts: u32,
    /// The state of one replica has been taken for all before: the program has such threads.
    pub unvoted: u32,
    /// Replicas of which a process has crashed while it is not known whether that is the program's own
    /// crash, as a bit mask.
    pub crashed: u32,
    /// Unused.
    pub spare: u32,
    /// Replicas whose loss is being carried out for all tasks, as a bit mask.
    pub losing: u32,
    /// When the next may be made, in monotonic nanoseconds.
    pub next_attempt: u64,
    /// When lost replicas may be made again, if that has failed before; in monotonic nanoseconds.
    pub next_repair: u64,
    /// The first item there was: what its founder had called before is in the log as far as a checkpoint
    /// goes back.
    pub first: u64,
    /// Places at which there is a checkpoint of all its threads, as a bit mask.
    pub frozen: u32,
    /// Those among them that were made while a thread computed: that of the last item then.
    pub computing: u32,
    /// When a checkpoint may be taken again, if that has failed; in monotonic nanoseconds.
    pub next_freeze: u64,
    /// When a call of its own was decided last, in monotonic nanoseconds.
    pub progressed_at: u64,
    /// As a task's own, which is not used as long as it is in a group; what are calls there are items
    /// here.
    pub recovery: Recovery,
}

/// A turn: the task goes on behind its call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Turn {
    /// The call.
    pub seq: u64,
    /// The task.
    pub task: u32,
    /// Its `ordinal`: another may have its place since.
    pub ordinal: u32,
}

/// What a task waits for in futex(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Wait {
    /// The word's address, 0 if it does not wait.
    pub addr: u64,
    /// Its place in the queue.
    pub order: u64,
    /// Bits of the wake-ups that it takes.
    pub bits: u32,
    /// It has been woken.
    pub woken: u32,
    /// The `ordinal` of the task that woke it, and at which of that one's calls.
    pub by_seq: u64,
    /// See `by_seq`; 1 plus the ordinal.
    pub by: u32,
    /// 1 if it waits to own the word (FUTEX_LOCK_PI), 2 to be moved to a lock (FUTEX_WAIT_REQUEUE_PI).
    pub owns: u32,
    /// It waits for so many words at once (futex_waitv(2)), those of its ballot; else 0.
    pub words: u32,
    /// Which of these it was woken for.
    pub index: u32,
}
