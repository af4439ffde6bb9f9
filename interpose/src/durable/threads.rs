//! What an image keeps of where a thread stands in the order of its group: the call that it waits at, what
//! has been decided of that, and its place in a queue of futex(2).
//!
//! ```text
//!   MAKES    its call is not decided: it makes it as if for the first time
//!   ANSWERED it is, and the answer waits for the thread's turn
//!   QUEUED   it waits for a word of futex(2)
//!   TIMED    the same, with so much time left
//!   REPEATS  it waits in a call that is performed again, with so much time left
//! ```
//!
//! Invariant: what is written down is valid in another arena: it has bytes and no places of this one. Written
//! by the dispatcher at the cut, read when a restart fills its arena.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytemuck::{Pod, Zeroable};
use chameleon_ckpt::image::{Process, Thread, Timer};
use chameleon_sys::executor::{slot, state};
use chameleon_sys::{cpu, raw};

use super::Described;
use crate::arena::{
    Arena, CpuTimer, Entry, Group, MAX_TASKS, Piece, Task, Wait, commit, phase, rolling,
};
use crate::dispatcher::cpu_timers::TIMER_OF_IMAGE;
use crate::dispatcher::waits;
use crate::outside::op;

/// How a thread stands.
pub mod stands {
    /// See the module's description.
    pub const MAKES: u32 = 0;
    /// See the module's description.
    pub const ANSWERED: u32 = 1;
    /// See the module's description.
    pub const QUEUED: u32 = 2;
    /// See the module's description.
    pub const TIMED: u32 = 3;
    /// See the module's description.
    pub const REPEATS: u32 = 4;
}

/// The form of a record; another one is not understood.
const FORM: u32 = 2;

/// A thread's record, with its pieces and their bytes behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Kept {
    form: u32,
    /// See [`stands`].
    stands: u32,
    /// It ran last.
    last: u32,
    /// Which group it is in: those with the same number run in one order.
    group: u32,
    /// How much it has written in the write that it waits in.
    written: u64,
    /// When it became ready, in the group's order.
    ready: u64,
    /// Its place in a queue.
    wait: Wait,
    entry: Entry,
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// See [`stands`].
    pub stands: u32,
    /// The call.
    pub seq: u64,
    /// It ran last.
    pub last: bool,
    /// Nanoseconds since it began to wait.
    pub waited: u64,
    /// Bytes that it has written in the write that it waits in.
    pub written: u64,
}

/// Writes down where task `t` stands.
pub fn keep(arena: Arena, t: usize, s: Standing) -> Vec<u8> {
    let task = arena.task(t);
    let mut entry = match s.stands {
        stands::MAKES => Entry::zeroed(),
        _ => *arena.entry(t, s.seq),
    };
    let copied = |at: u64, count: u32| -> Vec<(Piece, Vec<u8>)> {
        let all = arena.pieces(at, count).iter();
        all.map(|p| (*p, arena.region.bytes(p.offset(), p.len as usize).to_vec())).collect()
    };
    let mut ins = copied(entry.ins_at, entry.ins);
    let outs = match s.stands {
        stands::ANSWERED => copied(entry.outs_at, entry.outs),
        _ => Vec::new(),
    };
    if matches!(s.stands, stands::TIMED | stands::REPEATS) {
        shorten(&mut entry, &mut ins, s.waited);
    }
    entry.outs = outs.len() as u32;
    let wait = match s.stands {
        stands::QUEUED | stands::TIMED => Wait { by: 0, by_seq: 0, ..task.wait },
        _ => Wait::zeroed(),
    };
    let (last, ready) = (u32::from(s.last), task.ready);
    let (group, written) = (task.group, s.written);
    let kept = Kept { form: FORM, stands: s.stands, last, group, written, ready, wait, entry };
    let mut all = bytemuck::bytes_of(&kept).to_vec();
    for (piece, bytes) in ins.iter().chain(&outs) {
        all.extend(bytemuck::bytes_of(piece));
        all.extend(bytes);
    }
    all
}

/// Takes the time that has passed off what a call says it waits at most.
fn shorten(e: &mut Entry, pieces: &mut [(Piece, Vec<u8>)], waited: u64) {
    let relative = |flags: u64| flags as i32 & libc::TIMER_ABSTIME == 0;
    let (arg, unit) = match i64::from(e.nr) {
        libc::SYS_poll => return shorten_ms(&mut e.args[2], waited),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => return shorten_ms(&mut e.args[3], waited),
        libc::SYS_nanosleep => (0, 1),
        libc::SYS_clock_nanosleep if relative(e.args[1]) => (2, 1),
        libc::SYS_ppoll | libc::SYS_rt_sigtimedwait => (2, 1),
        libc::SYS_pselect6 => (4, 1),
        libc::SYS_epoll_pwait2 => (3, 1),
        libc::SYS_select => (4, 1000),
        libc::SYS_futex if waits::is_relative(e.args[1]) => (3, 1),
        _ => return,
    };
    let Some((_, bytes)) = pieces.iter_mut().find(|(p, b)| p.arg == arg && b.len() == 16) else {
        return;
    };
    // struct timespec, or struct timeval.
    let [s, part]: [u64; 2] = bytemuck::pod_read_unaligned(bytes);
    let left = s.saturating_mul(1_000_000_000).saturating_add(part * unit).saturating_sub(waited);
    let time = [left / 1_000_000_000, left % 1_000_000_000 / unit];
    bytes.copy_from_slice(bytemuck::bytes_of(&time));
}

fn shorten_ms(word: &mut u64, waited: u64) {
    let ms = *word as i32;
    if ms > 0 {
        *word = i64::from(ms).saturating_sub((waited / 1_000_000) as i64).max(0) as u64;
    }
}

/// A piece of memory, and what was in it.
type Filled<'a> = (Piece, &'a [u8]);

/// What is behind a record.
fn parse(bytes: &[u8]) -> Described<(Kept, Vec<Filled<'_>>)> {
    let wrong = || "what an image says of a thread is not understood".to_owned();
    let (head, mut rest) = bytes.split_at_checked(size_of::<Kept>()).ok_or_else(wrong)?;
    let kept: Kept = bytemuck::pod_read_unaligned(head);
    if kept.form != FORM {
        return Err(wrong());
    }
    let mut pieces = Vec::new();
    for _ in 0..kept.entry.ins + kept.entry.outs {
        let (head, behind) = rest.split_at_checked(size_of::<Piece>()).ok_or_else(wrong)?;
        let piece: Piece = bytemuck::pod_read_unaligned(head);
        let (own, behind) = behind.split_at_checked(piece.len as usize).ok_or_else(wrong)?;
        pieces.push((piece, own));
        rest = behind;
    }
    Ok((kept, pieces))
}

/// The tasks of the threads of a process, the first one first.
pub fn tasks_of(arena: Arena, leader: usize) -> Vec<usize> {
    let all = 0..arena.header().tasks as usize;
    let others = all.filter(|t| {
        let task = arena.task(*t);
        *t != leader && task.used != 0 && task.leader as usize == leader
    });
    std::iter::once(leader).chain(others).collect()
}

/// The kernel's numbers of a process's threads, whose executors are there, and those that the program had.
pub fn numbers(arena: Arena, leader: usize, process: &Process) -> Vec<(u32, u32)> {
    let real = tasks_of(arena, leader).into_iter().map(|t| arena.task(t).tid);
    real.zip(process.threads.iter().map(|thread| thread.tid)).collect()
}

/// Fills the records of the threads of the process of task `leader`, which is there, as they were in an image:
/// their executors find requests that wait for them. `groups` says where those of the processes before are.
///
/// # Errors
/// The image is of another version.
pub fn revive(
    arena: Arena,
    leader: usize,
    process: &Process,
    groups: &mut BTreeMap<u32, usize>,
) -> Described<()> {
    let h = arena.header();
    for timer in &process.timers {
        let Timer::Interval { which: which @ 1..=2, left_ns, every_ns } = *timer else { continue };
        let (due, interval) = (left_ns, every_ns);
        arena.task(leader).timers[which as usize - 1] =
            CpuTimer { armed: TIMER_OF_IMAGE, watched: 0, due, interval };
    }
    for (i, thread) in process.threads.iter().enumerate() {
        let t = if i == 0 { leader } else { h.tasks as usize };
        if t >= MAX_TASKS {
            return Err("there are more threads than can be carried".to_owned());
        }
        fill(arena, t, leader, thread);
        if i == 0 && process.first_has_ended() {
            (arena.task(t).used, arena.task(t).mask) = (3, u64::MAX);
        }
        if i > 0 {
            (h.tasks, h.next_ordinal) = (h.tasks + 1, h.next_ordinal + 1);
        }
    }
    // Of a process that was in no group at most one number is kept.
    if process.threads.iter().all(|thread| thread.opaque.len() <= size_of::<u64>()) {
        return Ok(());
    }
    let all = (1u32 << arena.task(leader).n) - 1;
    let ended = usize::from(process.first_has_ended());
    let tasks = tasks_of(arena, leader).into_iter();
    for (t, thread) in tasks.zip(&process.threads).skip(ended) {
        let (kept, pieces) = parse(&thread.opaque)?;
        place(arena, t, &kept, &pieces)?;
        let g = *groups.entry(kept.group).or_insert_with(|| {
            let (mut group, now) = (Group::zeroed(), raw::now_ns());
            (group.alive, group.returning, group.progressed_at) = (all, all, now);
            group.recovery.rolling = rolling::RETURN;
            *arena.group(leader) = group;
            leader
        });
        let group = arena.group(g);
        group.order = group.order.max(kept.ready);
        h.waits = h.waits.max(kept.wait.order);
        if kept.last != 0 {
            group.last = t as u32 + 1;
        }
        commit();
        arena.task(t).group = g as u32 + 1;
        arena.task(leader).group = g as u32 + 1; // also if it has ended
    }
    Ok(())
}

/// The record of one of them.
fn fill(arena: Arena, t: usize, leader: usize, thread: &Thread) {
    let first = *arena.task(leader);
    let task = arena.task(t);
    if t != leader {
        *task = Task {
            used: 2,
            leader: leader as u32,
            ordinal: arena.header().next_ordinal,
            n: first.n,
            table: first.table,
            random: first.random,
            cpus: cpu::allowed(0),
            parent: leader as u32,
            parent_ordinal: first.ordinal,
            ..Task::zeroed()
        };
        let n = thread.name.len().min(task.name.len() - 1);
        task.name[..n].copy_from_slice(&thread.name[..n]);
        let title = arena.region.bytes(arena.slot(leader) + slot::TITLE, slot::TITLE_LEN);
        let to = arena.slot(t) + slot::TITLE;
        arena.region.bytes(to, slot::TITLE_LEN).copy_from_slice(title);
    }
    task.mask = thread.blocked;
    task.clears = thread.clear_child_tid;
    task.robust = thread.robust_list.head;
    let now = raw::now_ns();
    task.replicas.iter_mut().for_each(|x| x.arrived = now);
}

/// Puts what was decided of the call that a task stands at where the dispatcher looks for it.
fn place(arena: Arena, t: usize, kept: &Kept, pieces: &[(Piece, &[u8])]) -> Described<()> {
    let task = arena.task(t);
    (task.ready, task.written) = (kept.ready, kept.written);
    if kept.stands == stands::MAKES {
        return Ok(());
    }
    let put = |all: &[(Piece, &[u8])]| -> Option<u64> {
        let mut table = Vec::new();
        for (piece, bytes) in all {
            let at = arena.take_data(t, bytes.len())?;
            arena.region.bytes(at, bytes.len()).copy_from_slice(bytes);
            table.push(Piece { at: at as u64, ..*piece });
        }
        arena.keep_pieces(t, &table, false)
    };
    let (ins, outs) = pieces.split_at(kept.entry.ins as usize);
    *arena.entry(t, 0) = Entry::zeroed();
    let room = || "there is no room for what a thread of the image was given".to_owned();
    let (ins_at, outs_at) = (put(ins).ok_or_else(room)?, put(outs).ok_or_else(room)?);
    let n = task.n;
    *arena.entry(t, 0) = Entry {
        seq: 0,
        open: 1,
        votes: (1 << n) - 1,
        ins_at,
        outs_at,
        data: 0,
        end: task.data_head,
        decided_at: raw::now_ns(),
        ..kept.entry
    };
    task.wait = kept.wait;
    match kept.stands {
        stands::ANSWERED => {
            task.head = 1;
            arena.entry(t, 1).open = 0;
        }
        stands::QUEUED => (task.phase, task.step) = (phase::WORK, waits::QUEUED),
        stands::TIMED => {
            (task.phase, task.step) = (phase::WORK, waits::TIMED);
            request_wait(arena, t);
        }
        _ => (task.phase, task.step) = (phase::WORK, 0),
    }
    Ok(())
}

/// The executor of a task finds that it is to wait at its gate.
fn request_wait(arena: Arena, t: usize) {
    let e = *arena.entry(t, 0);
    let (place, as_wait) = waits::timeout_of(&e);
    let pieces = arena.pieces(e.ins_at, e.ins);
    let Some(p) = pieces.iter().find(|p| p.arg == place) else { return };
    let (at, region) = (arena.slot(t), arena.region);
    let gate = region.address(at + slot::GATE);
    let timeout = region.address(p.offset());
    *region.record::<[u64; 6]>(at + slot::ARGS) =
        [gate, as_wait as u64, 0, timeout, 0, u64::from(u32::MAX)];
    region.atomic_u64(at + slot::MASK).store(arena.task(t).mask, Ordering::Relaxed);
    region.atomic_u32(at + slot::OP).store(op::PERFORM, Ordering::Relaxed);
    region.atomic_u32(at + slot::NR).store(libc::SYS_futex as u32, Ordering::Relaxed);
    region.atomic_u32(at + slot::STATE).store(state::REQUEST, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_thread_stands_is_the_same_in_another_arena() {
        let a = Arena::create(None).unwrap();
        let task = a.task(0);
        (task.head, task.ready, task.n) = (5, 9, 1);
        let at = a.take_data(0, 16).unwrap();
        *a.region.record::<[u64; 2]>(at) = [2, 500];
        let piece = Piece { addr: 0x1000, at: at as u64, len: 16, arg: 0, ..Piece::default() };
        let table = a.keep_pieces(0, &[piece], false).unwrap();
        let nr = libc::SYS_nanosleep as u32;
        *a.entry(0, 5) = Entry { seq: 5, nr, ins: 1, ins_at: table, ..Entry::zeroed() };
        let waited = 1_500_000_000;
        let s = Standing { stands: stands::REPEATS, seq: 5, last: true, waited, written: 70 };
        let bytes = keep(a, 0, s);
        let b = Arena::create(None).unwrap();
        b.task(0).n = 3;
        let (kept, pieces) = parse(&bytes).unwrap();
        place(b, 0, &kept, &pieces).unwrap();
        let e = *b.entry(0, 0);
        assert_eq!((b.task(0).phase, b.task(0).ready, e.votes, e.nr), (phase::WORK, 9, 7, nr));
        assert_eq!(b.task(0).written, 70);
        let piece = b.pieces(e.ins_at, e.ins)[0];
        assert_eq!(*b.region.record::<[u64; 2]>(piece.offset()), [0, 500_000_500]);
        assert!(parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(parse(&[0; size_of::<Kept>()]).is_err());
    }

    #[test]
    fn the_time_left_of_a_poll_is_in_its_argument() {
        let mut e = Entry { nr: libc::SYS_poll as u32, ..Entry::zeroed() };
        e.args[2] = 700;
        shorten(&mut e, &mut [], 200_000_000);
        assert_eq!(e.args[2], 500);
        shorten(&mut e, &mut [], 900_000_000);
        assert_eq!(e.args[2], 0);
        e.args[2] = u64::MAX; // for ever
        shorten(&mut e, &mut [], 1);
        assert_eq!(e.args[2], u64::MAX);
    }
}
