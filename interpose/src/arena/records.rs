//! The records of the arena: what is known of tasks, replicas and calls.
//!
//! Invariant: plain data of fixed size, valid for any bytes; who may write a record, and the word
//! that makes it count, are said at each.

use bytemuck::{Pod, Zeroable};

use super::MAX_REPLICAS;
use super::group::Wait;
use super::inside::Inside;
use super::noted::Noted;
use super::recovery::Recovery;

/// Where a replica is.
pub mod rstate {
    /// There is no such replica.
    pub const NONE: u32 = 0;
    /// The tracer is about to make it.
    pub const EXPECTED: u32 = 1;
    /// It computes.
    pub const RUNNING: u32 = 2;
    /// It waits for the answer to its call.
    pub const PARKED: u32 = 3;
    /// The tracer is answering it.
    pub const JOB: u32 = 4;
    /// It is dead and not replaced yet.
    pub const DEAD: u32 = 5;
    /// Its vfork child runs.
    pub const HELD: u32 = 6;
    /// A checkpoint: it is stopped where it was made and never runs (see [`super::Checkpoints`]).
    pub const FROZEN: u32 = 7;
}

/// What the dispatcher knows of one replica of a task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Replica {
    /// See [`rstate`].
    pub state: u32,
    /// Thread id in the kernel; written by the tracer before the replica first runs.
    pub pid: u32,
    /// The call it stands at or will make next.
    pub seq: u64,
    /// What `seq` is once it has its answer; written before that is given.
    pub next: u64,
    /// Its notification, valid when parked.
    pub id: u64,
    /// Listener the notification came from.
    pub listener: u32,
    /// Call number.
    pub nr: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// Instruction pointer behind its call.
    pub ip: u64,
    /// When it arrived (monotonic nanoseconds); once its loss is noted, when that was, with `LOST`.
    pub arrived: u64,
    /// Equality class of its ballot at the head, 255 when not compared yet.
    pub class: u32,
    /// Execs it has completed; written by the tracer.
    pub execs: u32,
    /// Trapped calls it has made, for injections.
    pub calls: u64,
    /// Signal by which it died, or 0.
    pub died_by: u32,
    /// The signal it is about to take for the program (the tracer lets no other through), or 0.
    pub deliver: u32,
    /// The siginfo that goes with `deliver`.
    pub deliver_info: [u64; 16],
}

/// In `arrived`: it is the time of a loss.
const LOST: u64 = 1 << 63;

impl Replica {
    /// When it arrived, or was lost.
    pub fn since(&self) -> u64 {
        self.arrived & !LOST
    }

    /// It is lost, if that is not known yet.
    pub fn note_loss(&mut self, now: u64) {
        if self.arrived & LOST == 0 {
            self.arrived = now | LOST;
        }
    }
}

/// What a task does with the call at its head.
pub mod phase {
    /// Ballots are collected.
    pub const COLLECT: u32 = 0;
    /// The handler of the call is at its step `step`, the executor or the tracer may be busy.
    pub const WORK: u32 = 1;
}

/// One thread of the application.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Task {
    /// 0 free, 1 being made, 2 alive, 3 ending, 4 a thread that is ending, 5 one that has ended and whose
    /// record is still needed.
    pub used: u32,
    /// Index of the task that is the thread group's leader (itself for a process).
    pub leader: u32,
    /// Virtual thread id: that of its executor.
    pub tid: u32,
    /// Virtual process id.
    pub tgid: u32,
    /// Order of creation, 0 for the root process.
    pub ordinal: u32,
    /// Index of the task whose vfork this ends, plus 1; 0 for none.
    pub vfork_parent: u32,
    /// Replicas it should have.
    pub n: u32,
    /// See [`phase`].
    pub phase: u32,
    /// Step of the handler.
    pub step: u32,
    /// Places that its descriptor table has had without our own two (of a leader).
    pub slots: u32,
    /// A number the handler keeps from step to step.
    pub kept: u64,
    /// The next call to be decided.
    pub head: u64,
    /// The oldest entry that a replica still needs.
    pub tail: u64,
    /// When K equal ballots were in at the head, or 0.
    pub quorum_at: u64,
    /// When the entry before the head was decided.
    pub decided_at: u64,
    /// First free byte of the data ring (monotonic; modulo `DATA_LEN`).
    pub data_head: u64,
    /// Signal mask of the program.
    pub mask: u64,
    /// When the latest signal came (monotonic nanoseconds).
    pub signalled_at: u64,
    /// Pending signals taken from the executor and not delivered: count.
    pub pending: u32,
    /// An exec was let through; its outcome is not known yet.
    pub exec_pending: u32,
    /// Execs that the outside has carried out.
    pub execs: u32,
    /// The signal by which the program must end, or 0.
    pub dying: u32,
    /// Repair is not possible now (the program shares its memory with a vfork parent).
    pub no_repair: u32,
    /// Identity of the descriptor table.
    pub table: u32,
    /// A request is being drawn up: what `undo_…` holds counts until it is sent.
    pub drafting: u32,
    /// The executor has been told to end.
    pub ending: u32,
    /// Index of the process whose child this is, and that process's `ordinal`.
    pub parent: u32,
    /// See `parent`: its place may have been taken by another since.
    pub parent_ordinal: u32,
    /// CPU time of children that have ended, with that of theirs, in nanoseconds.
    pub child_cpu: u64,
    /// Largest CPU time shown to the program.
    pub shown_cpu: u64,
    /// The random bytes of the next exec.
    pub random: [u64; 2],
    /// Descriptors lent to the replicas, below 1024.
    pub lent: [u64; 16],
    /// Its ITIMER_VIRTUAL and ITIMER_PROF (of a leader).
    pub timers: [CpuTimer; 2],
    /// Interval and rest of a timer as they were before call `timer_asked - 1`, in nanoseconds.
    pub timer_was: [u64; 2],
    /// See `timer_was`.
    pub timer_asked: u64,
    /// Name of the program, as `ps` shows it.
    pub name: [u8; 16],
    /// The replicas.
    pub replicas: [Replica; MAX_REPLICAS],
    /// Pending signals: whole siginfo each.
    pub signals: [[u64; 16]; 32],
    /// `kept` before the request that is being drawn up.
    pub undo_kept: u64,
    /// `mask` before it.
    pub undo_mask: u64,
    /// `step` before it.
    pub undo_step: u32,
    /// State of the executor's slot before it.
    pub undo_state: u32,
    /// Signals taken from the executor's ring once the one at hand is among the pending (upper
    /// half), and how many are pending then.
    pub coming: u64,
    /// 1 plus the head at which a pending signal goes: its removal is carried out by whoever finds
    /// the head there, and this is 0 again when it has been.
    pub giving_at: u64,
    /// The program's mask once it has gone.
    pub giving_mask: u64,
    /// Its place among the pending.
    pub giving_place: u32,
    /// Pending signals before.
    pub giving_pending: u32,
    /// Its number if its handler is reset to the default, or 0 (sigaction(2), SA_RESETHAND).
    pub giving_reset: u32,
    /// Its number if it interrupts a single replica wherever that is, or 0.
    pub giving_single: u32,
    /// The pending signals before.
    pub giving_from: [[u64; 16]; 32],
    /// The call path inside (see `dispatcher::inside`).
    pub inside: Inside,
    /// The CPUs that the program takes its thread to be allowed; its executor is placed as the
    /// replicas are.
    pub cpus: [u64; 16],
    /// First free byte of the long area.
    pub long_used: u64,
    /// The call whose buffers are there, if any is.
    pub long_seq: u64,
    /// What it waits for in futex(2).
    pub wait: Wait,
    /// Calls behind which it has been let go on: items of the group's log.
    pub released: u64,
    /// When it became ready, in the group's order.
    pub ready: u64,
    /// The word that is cleared, and woken, when it ends (set_tid_address(2)), or 0.
    pub clears: u64,
    /// Its list of robust futexes (set_robust_list(2)), or 0.
    pub robust: u64,
    /// 1 plus the slot of its group (see `Group`); 0 if it has none.
    pub group: u32,
    /// Its exit is decided: what dies of it now has ended as it should.
    pub exiting: u32,
    /// Identity of those that share memory with one another, or 0: tasks with the same one must be
    /// scheduled as threads of one process are. A fork keeps it, an exec ends it.
    pub shares: u32,
    /// 1 while others wait for it to stand at a call, to become one group with it.
    pub unites: u32,
    /// 1 plus the call at which it waits for that itself.
    pub unite_call: u64,
    /// Until when (monotonic nanoseconds).
    pub unite_until: u64,
    /// 1 once it has shared memory with others in no common order.
    pub apart: u32,
    /// 1 once it has kept parts of its memory from a child (madvise(2), MADV_DONTFORK; of a leader).
    pub unforked: u32,
    /// The call that the slowest replica stands at or will make next.
    pub slowest: u64,
    /// Its checkpoints and the recovery that is under way.
    pub recovery: Recovery,
    /// The item of its group's log behind its last: a replica made of an older checkpoint still needs its
    /// record when it has ended.
    pub ended_at: u64,
    /// CPU time of replicas of the process from before the last roll-back, as far as it was shown.
    pub lost_cpu: u64,
    /// When its executor was asked for what it is at, in monotonic nanoseconds.
    pub asked_at: u64,
    /// Of its first call, a write that it waited in when it was put into the image: what had been written.
    pub written: u64,
    /// 1 plus the call in whose buffers numbers have been put as the program knows them.
    pub told: u64,
    /// 1 plus the call that makes a file which was not there, where changes of files are undone for an image or
    /// files are mapped.
    pub makes: u64,
    /// What is known of its ITIMER_REAL (of a leader): see [`timed`].
    pub timed: u32,
    /// While the mode changes: the one that this task's ballots are counted in, packed; 0 for the run's.
    pub counts: u32,
    /// Its places, a bit each, that have had no replica yet, or one that was not needed any more: what fills
    /// them is no repair.
    pub fresh: u32,
    /// Unused.
    pub unused: u32,
    /// What only its calls tell, for an image.
    pub noted: Noted,
}

/// What is known of a process's ITIMER_REAL, which only its own outside is told of: that one must be free to be asked.
pub mod timed {
    /// It has none.
    pub const NO: u32 = 0;
    /// It may have one.
    pub const PERHAPS: u32 = 1;
    /// It had one when it was asked.
    pub const YES: u32 = 2;
}

/// A timer of a process's CPU time (setitimer(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct CpuTimer {
    /// It counts. Written last.
    pub armed: u32,
    /// The replica whose CPU time counts.
    pub watched: u32,
    /// What that one's clock shows when it expires next, in nanoseconds.
    pub due: u64,
    /// Nanoseconds from then on between expiries, or 0.
    pub interval: u64,
}

/// What the program said of one signal (rt_sigaction(2)), and what the outside does for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Action {
    /// SIG_DFL, SIG_IGN or an address in the replicas.
    pub handler: u64,
    /// SA_… flags.
    pub flags: u64,
    /// Where its frame is left (SA_RESTORER).
    pub restorer: u64,
    /// Mask during the handler.
    pub mask: u64,
    /// Disposition the executor has now: 0 unknown, 1 default, 2 ignore, 3 catch.
    pub outside: u32,
    /// Unused.
    pub spare: u32,
}

/// How an entry is answered.
pub mod how {
    /// With the result and the bytes that came out.
    pub const VALUE: u32 = 0;
    /// The replica executes its call itself.
    pub const CONTINUE: u32 = 1;
    /// It does, and the tracer changes the code that it has mapped before it goes on.
    pub const PATCH: u32 = 2;
    /// The tracer has it make the calls of a plan instead (see [`super::super::Plan`]).
    pub const REMAP: u32 = 3;
}

/// One call of a task: its ballot, and once decided its result.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Entry {
    /// Sequence number.
    pub seq: u64,
    /// Call number.
    pub nr: u32,
    /// See [`how`].
    pub how: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// Result.
    pub ret: i64,
    /// Replicas whose ballots were equal to this, as a bit mask.
    pub votes: u32,
    /// Pieces going in: count.
    pub ins: u32,
    /// Pieces coming out: count.
    pub outs: u32,
    /// Signal to be taken right after it, or 0.
    pub signal: u32,
    /// Where the table of pieces going in is, as an offset into the arena.
    pub ins_at: u64,
    /// Where the table of pieces coming out is.
    pub outs_at: u64,
    /// Start in the data ring (monotonic).
    pub data: u64,
    /// End in the data ring (monotonic).
    pub end: u64,
    /// When it was decided.
    pub decided_at: u64,
    /// Position of the file before the call, for settling it after a takeover; of rt_sigprocmask(2) the
    /// mask before it; with `signal`, the address of the mask that the call waited under (see `spare`).
    pub position: u64,
    /// A buffer of the ballot could not be read: the call fails with this errno. 0 if all is well.
    pub fault: u32,
    /// The ballot has been collected.
    pub open: u32,
    /// With `signal`: 1 if the program's own mask blocks it and only the mask that the call waited
    /// under lets it through (sigsuspend(2), ppoll(2) …).
    pub spare: u32,
    /// Decided for its first ballot; K ballots must still confirm it.
    pub provisional: u32,
    /// Bytes of the ring that came with the ballot.
    pub ring: u32,
    /// They have been carried out.
    pub ring_done: u32,
    /// The replicas are armed behind it.
    pub arm: u32,
    /// A header of the path inside goes to each replica with the answer.
    pub inside: u32,
    /// Where in the arena what was read ahead is.
    pub ahead_at: u64,
    /// How much of it.
    pub ahead_len: u32,
    /// What it and its ring write is carried out when K ballots have confirmed it.
    pub pending: u32,
    /// 1 plus the descriptor whose position the reads of its ring have moved, or 0.
    pub moved_fd: u32,
    /// Its buffers are in the long area, so that all replicas are answered together.
    pub long: u32,
    /// The position that was moved, before.
    pub moved_at: u64,
    /// What its ballot has taken of the long area.
    pub long_end: u64,
    /// A word that each replica finds changed once its ballot has been compared, or 0.
    pub sets_at: u64,
    /// What it is set to.
    pub sets: u32,
    /// What a replica did with it cannot be had again from the journal.
    pub once: u32,
    /// With [`how::REMAP`]: where in the arena the plan is.
    pub plan: u64,
    /// With `signal`: where in the arena its siginfo is.
    pub info_at: u64,
    /// 1 plus the task that it made, if that is of the same group; a replica that is to pass it once more
    /// makes its part of that again.
    pub child: u32,
    /// That one's `ordinal`.
    pub child_ordinal: u32,
}

/// A stretch of a replica's memory and where its bytes are in the task's data.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Piece {
    /// Address in the replicas.
    pub addr: u64,
    /// Offset of the bytes from the arena's start.
    pub at: u64,
    /// Bytes.
    pub len: u32,
    /// Which argument it belongs to.
    pub arg: u32,
    /// Its place within that argument: the message of a `mmsghdr` array times 4, and
    /// 0 structure, 1 name, 2 a buffer or the array of them, 3 control data.
    pub sub: u32,
    /// Unused.
    pub spare: u32,
}

impl Piece {
    /// Offset of the bytes in the arena.
    pub fn offset(&self) -> usize {
        self.at as usize
    }
}

/// Whether a replica in this state counts as one that may still vote.
pub fn is_live(r: &Replica) -> bool {
    !matches!(r.state, rstate::NONE | rstate::DEAD | rstate::FROZEN)
}
