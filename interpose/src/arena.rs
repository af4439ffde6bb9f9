//! The layout of the shared arena: what the dispatcher knows, in memory that outlives it.
//!
//! Invariant: a dispatcher may be killed between any two instructions. So a record is filled
//! first and the word that makes it count is written last ([`commit`]), and everything a successor
//! needs follows from these records alone. Only the dispatcher writes tasks and entries; the tracer
//! writes what is marked so; an executor writes its slot (see `chameleon_sys::executor::slot`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};

use bytemuck::{Pod, Zeroable};
use chameleon_sys::inside::{BUFFER_LEN, RING_LEN};
use chameleon_sys::notify::Call;
use chameleon_sys::region::Region;
use chameleon_sys::shadow::OBJECTS;
use chameleon_sys::{Result, raw};

pub(crate) mod crash;
mod group;
mod header;
mod inside;
mod jobs;
mod known;
mod long;
mod noted;
mod numbers;
mod pids;
mod records;
mod recovery;
mod shared;
mod stopped;

pub use group::{Group, LOG, Turn, Wait};
pub use header::Header;
pub use inside::{Inside, KeptRing};
pub use jobs::{Death, Job, job, word};
pub use known::{Base, Known};
pub use noted::Noted;
pub use records::{
    Action, CpuTimer, Entry, Piece, Replica, Task, how, is_live, phase, rstate, timed,
};
pub use recovery::{Failures, READINGS_KEPT, Recovery, rolling, want};
pub use shared::{Object, Plan, kind, ostate};
pub use stopped::Stopped;

/// Replicas a task can have at most.
pub const MAX_REPLICAS: usize = 15;
/// Checkpoints of a process that are kept at most.
pub const CHECKPOINTS: usize = 4;
/// Application threads (a process has at least one) at a time.
pub const MAX_TASKS: usize = 1024;
/// Decided calls kept for replicas that are behind; of a run with checkpoints more are (see
/// [`Arena::create`]).
pub const ENTRIES: usize = 512;
/// Bytes of inputs and results kept for them, per task.
pub const DATA_LEN: usize = 6080 << 10;
/// Bytes of the journal for each of its calls, on the average: what it has room for.
const JOURNAL_EACH: usize = 512;
/// The shortest journal: one call must not fill it.
pub const LEAST_JOURNAL: usize = 32 << 20;
/// Bytes of the data ring that are never given out, so that its ends do not meet.
const RESERVE: u64 = 4096;
/// Bytes of it that only the answer to a call gets: what has been performed must be kept.
const SPARE: u64 = 256 << 10;
/// The largest buffer that is kept in the data ring, and the largest piece of a call that is
/// carried piece by piece, in bytes.
pub const CHUNK: usize = 1 << 20;
/// Bytes that the buffers of one call have together in the data ring at most.
pub const TOGETHER: usize = 2 << 20;
/// Jobs for the tracer that can be under way at once.
pub const JOBS: usize = 256;

const LAYOUT_AT: usize = 0x900;
const ENDED_AT: usize = 0xa00;
const ENDED: usize = 64;
const INBOX: usize = 0x1000;
const JOBS_AT: usize = 0x4000;
const PIDS_AT: usize = 0x2_0000;
const PIDS: usize = 8192;
const DEATHS_AT: usize = 0x6_0000;
const DEATHS: usize = 4096;
/// Pairs of numbers (see `numbers`).
const NUMBERS_AT: usize = 0x7_0000;
const OBJECTS_AT: usize = 0x8_0000;
/// Offset of the first task's slot.
pub const FIRST_SLOT: usize = 0x10_0000;
/// What a slot has before its long area.
const SHORT: usize = 8 << 20;
pub(crate) const TASK_AT: usize = 0x1_4000;
const ACTIONS_AT: usize = 0x1_8000;
const ENTRIES_AT: usize = 0x2_0000;
const KEPT_AT: usize = 0x4_0000;
/// A ring that was kept, with its length before it.
const KEPT_LEN: usize = RING_LEN + 64;
/// Bytes of the header of the path inside, as it is given to a replica.
pub const HEAD_LEN: usize = 0xc0;
const HEADS_AT: usize = 0x1e_8000;
const DATA_AT: usize = 0x20_0000;
const GROUP_AT: usize = 0x7f_0000;
const LOG_AT: usize = GROUP_AT + 0x1000;

// The parts do not overlap.
const _: () = {
    assert!(size_of::<Header>() <= 0x800);
    assert!(LAYOUT_AT + size_of::<Layout>() <= ENDED_AT);
    assert!(ENDED_AT + ENDED * 16 <= INBOX);
    assert!(size_of::<Call>() <= 0x80);
    assert!(size_of::<Job>() <= 0x100);
    assert!(size_of::<Entry>() <= 0x100);
    assert!(JOBS_AT + JOBS * 0x100 <= PIDS_AT);
    assert!(PIDS_AT + PIDS * 16 <= DEATHS_AT);
    assert!(DEATHS_AT + DEATHS * 16 <= NUMBERS_AT);
    assert!(NUMBERS_AT + 0x1_0000 <= OBJECTS_AT);
    assert!(OBJECTS_AT + OBJECTS * size_of::<Object>() <= FIRST_SLOT);
    assert!(TASK_AT + size_of::<Task>() <= ACTIONS_AT);
    assert!(ACTIONS_AT + 65 * size_of::<Action>() <= ENTRIES_AT);
    assert!(ENTRIES_AT + ENTRIES * 0x100 <= KEPT_AT);
    assert!(KEPT_AT + MAX_REPLICAS * KEPT_LEN <= HEADS_AT);
    assert!(HEADS_AT + ENTRIES * HEAD_LEN <= DATA_AT);
    assert!(DATA_AT + DATA_LEN <= GROUP_AT);
    assert!(size_of::<Group>() <= LOG_AT - GROUP_AT);
    assert!(LOG_AT + LOG * size_of::<Turn>() <= SHORT);
    // Collected, and copied once more for the executor; and what the path inside adds.
    assert!(2 * TOGETHER + CHUNK + RING_LEN + BUFFER_LEN + (SPARE as usize) < DATA_LEN);
};

/// Keeps the compiler from moving a store past this point; the processor keeps stores in order.
pub fn commit() {
    compiler_fence(Ordering::SeqCst);
    crash::point();
}

/// Offsets and lengths within a slot, in bytes; written once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Layout {
    /// Length of the long area.
    long: u64,
    entries_at: u64,
    heads_at: u64,
    data_at: u64,
    /// Length of the data ring.
    data: u64,
    /// Entries less one; they are a power of two.
    last: u64,
    log_at: u64,
    /// Items of a group's log less one; they are a power of two.
    last_item: u64,
}

/// The arena with its parts by name.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    /// The mapping.
    pub region: Region,
}

impl Arena {
    /// Makes the arena; before anything is forked. With `journal` so many bytes of inputs and results
    /// are kept for each task, and as many calls as go with that.
    pub fn create(journal: Option<usize>) -> Result<Self> {
        let long = long::length_within(raw::address_space_limit());
        let (entries, data) = match journal {
            None => (ENTRIES, DATA_LEN),
            Some(len) => {
                let len = len.max(LEAST_JOURNAL).next_multiple_of(CHUNK);
                ((len / JOURNAL_EACH).next_power_of_two(), len)
            }
        };
        let kept = (entries * (0x100 + HEAD_LEN)).next_multiple_of(CHUNK) + data;
        // A process that becomes a group has its calls put into the log, and more come behind.
        let items = 2 * entries;
        let log = items * size_of::<Turn>();
        let stride = SHORT + long + if journal.is_some() { kept + log } else { 0 };
        let arena = Self { region: Region::create(FIRST_SLOT + MAX_TASKS * stride)? };
        let at = SHORT + long;
        *arena.layout() = match journal {
            None => Layout {
                long: long as u64,
                entries_at: ENTRIES_AT as u64,
                heads_at: HEADS_AT as u64,
                data_at: DATA_AT as u64,
                data: data as u64,
                last: entries as u64 - 1,
                log_at: LOG_AT as u64,
                last_item: LOG as u64 - 1,
            },
            Some(_) => Layout {
                long: long as u64,
                entries_at: at as u64,
                heads_at: (at + entries * 0x100) as u64,
                data_at: (at + kept - data) as u64,
                data: data as u64,
                last: entries as u64 - 1,
                log_at: (at + kept) as u64,
                last_item: items as u64 - 1,
            },
        };
        Ok(arena)
    }

    /// The places of checkpoints among a task's replicas.
    pub fn checkpoints(&self) -> std::ops::Range<usize> {
        let first = self.header().first_place as usize;
        let count = if first == 0 { 0 } else { CHECKPOINTS };
        first..(first + count).min(MAX_REPLICAS)
    }

    /// Where the parts of a slot are whose size is a run's own.
    fn layout(&self) -> &'static mut Layout {
        self.region.record(LAYOUT_AT)
    }

    /// How many decided calls are kept for replicas that are behind and for checkpoints.
    pub fn entries(&self) -> u64 {
        self.layout().last + 1
    }

    /// How many bytes of their inputs and results.
    pub fn data_len(&self) -> u64 {
        self.layout().data
    }

    /// Counters and identities.
    pub fn header(&self) -> &'static mut Header {
        self.region.record(0)
    }

    /// Deaths posted by the tracer so far.
    pub fn deaths_posted(&self) -> &'static AtomicU64 {
        self.region.atomic_u64(0x800)
    }

    /// Deaths taken by the dispatcher so far.
    pub fn deaths_taken(&self) -> &'static AtomicU64 {
        self.region.atomic_u64(0x808)
    }

    /// Goes up when the dispatcher begins a turn and when it ends it, so it is odd while it works.
    /// The supervisor takes an ARMOR whose count stands still, odd or with calls waiting, for one
    /// that may hang.
    pub fn heartbeat(&self) -> &'static AtomicU64 {
        self.region.atomic_u64(0x810)
    }

    /// Word on which new replicas wait to be seized.
    pub fn go(&self) -> &'static AtomicU32 {
        self.region.atomic_u32(0x820)
    }

    /// Word on which the root executor waits until all is set up, and learns of a failure
    /// (2 and up: 2 + exit status).
    pub fn ready(&self) -> &'static AtomicU32 {
        self.region.atomic_u32(0x824)
    }

    /// Moves the heartbeat on by a whole beat, within work that takes long.
    pub fn beat_on(&self) {
        self.heartbeat().fetch_add(2, Ordering::Relaxed);
    }

    /// Notes the CPU time of a process that ends, for whoever waits for it (wait4(2)).
    pub fn note_ended(&self, pid: u32, ns: u64) {
        let n = self.region.atomic_u64(0x828).fetch_add(1, Ordering::Relaxed);
        *self.region.record::<[u64; 2]>(ENDED_AT + n as usize % ENDED * 16) = [pid.into(), ns];
    }

    /// The CPU time of a process that ended not long ago, in nanoseconds.
    pub fn cpu_of_ended(&self, pid: u32) -> Option<u64> {
        let n = self.region.atomic_u64(0x828).load(Ordering::Relaxed) as usize;
        (n.saturating_sub(ENDED)..n)
            .rev()
            .map(|i| *self.region.record::<[u64; 2]>(ENDED_AT + i % ENDED * 16))
            .find(|[p, _]| *p == u64::from(pid))
            .map(|[_, ns]| ns)
    }

    /// The call being received from a listener.
    pub fn inbox(&self, listener: usize) -> &'static mut Call {
        self.region.record(INBOX + listener * 0x80)
    }

    /// A job of the tracer.
    pub fn job(&self, i: usize) -> &'static mut Job {
        self.region.record(JOBS_AT + i * 0x100)
    }

    /// The tracer begins with a job of which the dispatcher may think better at this moment: whether it
    /// still is asked.
    pub fn begin_job(&self, i: usize) -> bool {
        let word = self.region.atomic_u32(JOBS_AT + i * 0x100);
        word.compare_exchange(1, 3, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Posts a death (tracer only).
    pub fn post_death(&self, death: Death) {
        let n = self.deaths_posted().load(Ordering::Relaxed);
        *self.region.record::<Death>(DEATHS_AT + (n as usize % DEATHS) * 16) = death;
        self.deaths_posted().store(n + 1, Ordering::Release);
    }

    /// The death at position `n` (monotonic).
    pub fn death(&self, n: u64) -> Death {
        *self.region.record::<Death>(DEATHS_AT + (n as usize % DEATHS) * 16)
    }

    /// Distance between slots; it follows from the length of the mapping.
    pub fn stride(&self) -> usize {
        (self.region.len() - FIRST_SLOT) / MAX_TASKS
    }

    /// Offset of a task's slot.
    pub fn slot(&self, task: usize) -> usize {
        debug_assert!(task < MAX_TASKS);
        FIRST_SLOT + task * self.stride()
    }

    /// A task.
    pub fn task(&self, task: usize) -> &'static mut Task {
        self.region.record(self.slot(task) + TASK_AT)
    }

    /// What a process said of a signal (1 to 64); by its leader's index.
    pub fn action(&self, leader: usize, signal: usize) -> &'static mut Action {
        self.region.record(self.slot(leader) + ACTIONS_AT + signal * size_of::<Action>())
    }

    /// The group that was founded by the process of task `founder`.
    pub fn group(&self, founder: usize) -> &'static mut Group {
        self.region.record(self.slot(founder) + GROUP_AT)
    }

    /// An item of its log.
    pub fn log(&self, founder: usize, item: u64) -> &'static mut Turn {
        let l = self.layout();
        let i = (item & l.last_item) as usize;
        self.region.record(self.slot(founder) + l.log_at as usize + i * size_of::<Turn>())
    }

    /// How many items of it are kept.
    pub fn log_len(&self) -> u64 {
        self.layout().last_item + 1
    }

    /// An entry by its sequence number.
    pub fn entry(&self, task: usize, seq: u64) -> &'static mut Entry {
        let l = self.layout();
        let i = (seq & l.last) as usize;
        self.region.record(self.slot(task) + l.entries_at as usize + i * 0x100)
    }

    /// Offset in the arena of a position of the task's data ring.
    pub fn data(&self, task: usize, position: u64) -> usize {
        let l = self.layout();
        self.slot(task) + l.data_at as usize + (position % l.data) as usize
    }

    /// How much of a replica's ring was kept when it was about to end (tracer only).
    pub fn kept_ring(&self, task: usize, replica: usize) -> &'static mut KeptRing {
        self.region.record(self.slot(task) + KEPT_AT + replica * KEPT_LEN)
    }

    /// Room for `len` bytes of it.
    pub fn kept_ring_bytes(&self, task: usize, replica: usize, len: usize) -> &'static mut [u8] {
        debug_assert!(len <= RING_LEN);
        self.region.bytes(self.slot(task) + KEPT_AT + replica * KEPT_LEN + 64, len)
    }

    /// The header of the path inside that goes with entry `seq`.
    pub fn inside_head(&self, task: usize, seq: u64) -> &'static mut [u8] {
        let l = self.layout();
        let i = (seq & l.last) as usize;
        self.region.bytes(self.slot(task) + l.heads_at as usize + i * HEAD_LEN, HEAD_LEN)
    }

    /// Gives back what an ended task occupied, but for the record of a group that others still need.
    pub fn release_task(&self, task: usize, but_group: bool) {
        let (slot, stride) = (self.slot(task), self.stride());
        if but_group {
            self.region.release(slot, GROUP_AT);
            let end = match self.layout().log_at as usize {
                LOG_AT => stride,
                log => log,
            };
            if end > SHORT {
                self.region.release(slot + SHORT, end - SHORT);
            }
        } else {
            self.region.release(slot, stride);
        }
    }

    /// Takes `len` bytes of the task's data ring for the call at its head; the offset in the
    /// arena, 8-aligned. `None` while replicas that are behind still need too much of it.
    pub fn take_data(&self, task: usize, len: usize) -> Option<usize> {
        self.take_up_to(task, len, self.data_len() - RESERVE - SPARE)
    }

    /// The same for a part of the answer to that call, which has been performed.
    pub fn take_for_answer(&self, task: usize, len: usize) -> Option<usize> {
        self.take_up_to(task, len, self.data_len() - RESERVE)
    }

    fn take_up_to(&self, task: usize, len: usize, most: u64) -> Option<usize> {
        let t = self.task(task);
        let whole = self.data_len();
        let need = (len as u64 + 7) & !7;
        let at = t.data_head % whole;
        let skip = if at + need > whole { whole - at } else { 0 };
        let oldest = if t.tail < t.head { t.tail } else { t.head };
        let end = t.data_head + skip + need;
        if end - self.entry(task, oldest).data > most {
            return None;
        }
        t.data_head = end;
        Some(self.data(task, end - need))
    }

    /// Gives back what the call at the head has taken of its task's data ring behind its ballot and `kept`.
    pub fn give_back_behind(&self, task: usize, kept: &[Piece]) {
        let t = self.task(task);
        let (whole, base) = (self.data_len(), self.data(task, 0));
        let end_of = |p: &Piece| {
            let within = p.offset().checked_sub(base)? as u64;
            let end = t.data_head - t.data_head % whole + within + u64::from(p.len);
            let before = if end > t.data_head { whole } else { 0 }; // it is of the lap before
            (within < whole).then_some(end.saturating_sub(before))
        };
        let end = kept.iter().filter_map(end_of).fold(self.entry(task, t.head).end, u64::max);
        t.data_head = t.data_head.min(end.next_multiple_of(8));
    }

    /// Takes `len` bytes for the call at the head: of the long area if it is a long one.
    pub fn take(&self, task: usize, len: usize, long: bool) -> Option<usize> {
        if long { self.take_long(task, len) } else { self.take_data(task, len) }
    }

    /// Takes `len` bytes for what stands at `addr` in the program. Where a file is open with
    /// O_DIRECT (open(2)) its buffers must begin at the block size of a device and have a multiple
    /// of it; so one that might be such a buffer lies at the same place within a page.
    pub fn take_like(&self, task: usize, addr: u64, len: usize, long: bool) -> Option<usize> {
        let grain = match len {
            n if n >= 4096 && n.is_multiple_of(4096) => 4096,
            n if n >= 512 && n.is_multiple_of(512) => 512,
            _ => return self.take(task, len, long),
        };
        let at = self.take(task, len + grain, long)?;
        Some(at + (addr as usize).wrapping_sub(at) % grain)
    }

    /// Writes a table of pieces into the task's data; its offset in the arena.
    pub fn keep_pieces(&self, task: usize, pieces: &[Piece], long: bool) -> Option<u64> {
        let bytes: &[u8] = bytemuck::cast_slice(pieces);
        if bytes.is_empty() {
            return Some(0);
        }
        let at = self.take(task, bytes.len(), long)?;
        self.region.bytes(at, bytes.len()).copy_from_slice(bytes);
        Some(at as u64)
    }

    /// The same for pieces that come out with the answer.
    pub fn keep_answer(&self, task: usize, pieces: &[Piece]) -> Option<u64> {
        let bytes: &[u8] = bytemuck::cast_slice(pieces);
        if bytes.is_empty() {
            return Some(0);
        }
        let at = self.take_for_answer(task, bytes.len())?;
        self.region.bytes(at, bytes.len()).copy_from_slice(bytes);
        Some(at as u64)
    }

    /// A table of pieces written by [`Arena::keep_pieces`].
    pub fn pieces(&self, at: u64, count: u32) -> &'static [Piece] {
        if count == 0 {
            return &[];
        }
        let len = count as usize * size_of::<Piece>();
        bytemuck::cast_slice(self.region.bytes(at as usize, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_performed_is_kept_when_the_ring_is_full() {
        let a = Arena::create(None).unwrap();
        a.task(0).head = 1; // a replica is behind
        while a.take_data(0, 16 << 10).is_some() {}
        while a.take_data(0, 8).is_some() {}
        let pieces = [Piece { addr: 5, ..Piece::default() }; 4096];
        assert!(a.take_for_answer(0, 4).is_some());
        let at = a.keep_answer(0, &pieces).unwrap();
        assert_eq!(a.pieces(at, 4096)[4095].addr, 5);
    }
}
