//! The outside of one application thread: an executor that performs, with the application's own
//! descriptors, identity, directory, mask and children, what the dispatcher asks for.
//!
//! ```text
//!   IDLE/DONE ──(dispatcher: fill slot, REQUEST, wake)──► REQUEST ─► RUNNING ─► DONE ──bell──►
//! ```
//!
//! Invariant: it does one thing at a time, keeps no state but its slot and its signal mask, and
//! allocates nothing: it is too small to die of itself. The dispatcher may be replaced while a
//! request runs; the result waits in the slot.

use std::ffi::CStr;
use std::sync::atomic::{AtomicI32, Ordering};

use chameleon_ckpt::image::Timer;
use chameleon_sys::executor::{self, Disposition, slot, state};
use chameleon_sys::region::Region;
use chameleon_sys::rights::{self, Capabilities, Had};
use chameleon_sys::title::{self, MmMap};
use chameleon_sys::{describe, fd, process, raw, segment, shadow, timer};

use crate::arena::{Arena, Noted, TASK_AT, Task};
use crate::durable::process::until_nul;
use crate::durable::threads;

/// How often at least it is looked whether signals that are held back can be let through, in
/// milliseconds.
const HELD_MS: u32 = 64;

/// Signals that may wait for the program when more are let through: there is room for 32.
const MOST_WAITING: u32 = 8;

/// Room for the path of [`op::FSYNC`], with its NUL.
pub const PATH: usize = 64;

/// What an executor can be asked to do.
pub mod op {
    /// Perform the system call in the slot.
    pub const PERFORM: u32 = 1;
    /// Make a new process: flags, slot offset of the child.
    pub const FORK: u32 = 2;
    /// Make a new thread: flags, slot offset.
    pub const THREAD: u32 = 3;
    /// End the process with a status.
    pub const EXIT: u32 = 4;
    /// End this thread.
    pub const EXIT_THREAD: u32 = 5;
    /// End the process by a signal.
    pub const DIE: u32 = 6;
    /// Set a disposition: signal, kind (1 default, 2 ignore, 3 catch), flags.
    pub const DISPOSE: u32 = 7;
    /// Only take over the mask of the request.
    pub const MASK: u32 = 8;
    /// Do to the outside what an exec does: length of the title, then the capabilities that are
    /// effective, permitted and inheritable after it.
    pub const EXEC: u32 = 9;
    /// Queue the signal that stands in the slot to itself again.
    pub const REQUEUE: u32 = 10;
    /// close_range(2) around our own descriptors: first, last, flags.
    pub const CLOSE_RANGE: u32 = 11;
    /// shmdt(2): address.
    pub const DETACH: u32 = 12;
    /// fsync(2) of a file by its path: offset in the arena.
    pub const FSYNC: u32 = 13;
    /// Catch what is pending and blocked: the mask under which that comes.
    pub const CATCH: u32 = 14;
    /// Perform the write in the slot in pieces (`chameleon_sys::executor::perform_in_pieces`).
    pub const PIECES: u32 = 15;
}

/// One more than the greatest number of a timer of timer_create(2) in this process.
static TIMERS: AtomicI32 = AtomicI32::new(0);

/// Of a process that was restored: what its threads have of rights.
static HAD: std::sync::OnceLock<Had> = std::sync::OnceLock::new();

static MM_MAP: std::sync::OnceLock<Option<MmMap>> = std::sync::OnceLock::new();

/// Turns the calling process into the executor of the root task, for ever.
pub fn become_root(arena: Arena) -> ! {
    MM_MAP.get_or_init(MmMap::current);
    process::restore_early_state();
    let at = arena.slot(0);
    show_title(arena.region, at, arena.task(0).kept as usize);
    // The catcher knows its slot by the stack it runs on: no signal before that one is used.
    process::set_mask(u64::MAX);
    for signal in 1..=64 {
        adopt(signal);
    }
    if arena.header().lockstep != 0 {
        // As its replicas. Not `avoid_time_stamps`: an executor has no code that reads them, and
        // the program's dispositions are its own.
        raw::prctl(libc::PR_SET_TSC as u64, 2, 0, 0, 0);
    }
    executor::switch_to_slot(arena.region, arena.slot(0), run_root)
}

/// The same of task `t` of a program that goes on from an image: what it said of signals is in the arena, its
/// timers are armed again here; `pending` are the signals that it had not taken yet, a bit each.
pub fn become_restored(arena: Arena, t: usize, timers: &[Timer], pending: u64, had: Had) -> ! {
    MM_MAP.get_or_init(MmMap::current);
    let at = arena.slot(t);
    show_title(arena.region, at, arena.task(t).kept as usize);
    process::set_mask(u64::MAX);
    for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
        let action = arena.action(t, signal as usize);
        let flags = action.flags & (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT) as u64;
        executor::dispose(signal, Disposition::Default);
        match action.handler {
            0 => adopt(signal),
            1 => executor::dispose(signal, Disposition::Ignore),
            _ => executor::dispose(signal, Disposition::Catch(flags)),
        }
    }
    raw::prctl(libc::PR_SET_TSC as u64, 2, 0, 0, 0);
    for one in threads::tasks_of(arena, t).into_iter().skip(1) {
        let name = until_nul(&arena.task(one).name);
        let _ = std::fs::write(format!("/proc/self/task/{}/comm", arena.task(one).tid), name);
    }
    timers.iter().for_each(|one| arm_again(arena, one));
    rights::settle_again(HAD.get_or_init(|| had));
    settle_thread(&arena.task(t).noted);
    process::settle_pending(pending);
    executor::switch_to_slot(arena.region, at, run_root)
}

/// Makes the executors of the other threads of the calling process, which is to be that of task `t` of an image.
/// They wait until it is.
///
/// # Errors
/// There is no room for them.
pub fn make_threads(arena: Arena, t: usize) -> chameleon_sys::Result<()> {
    for one in threads::tasks_of(arena, t).into_iter().skip(1) {
        let flags = crate::dispatcher::EXECUTOR_THREAD;
        let tid = executor::spawn(arena.region, flags, arena.slot(one), run_thread_again);
        if tid < 0 {
            let errno = chameleon_sys::Errno::from_raw(-tid as i32);
            return Err(chameleon_sys::Error { operation: "clone", errno });
        }
        let task = arena.task(one);
        (task.tid, task.tgid) = (tid as u32, raw::getpid() as u32);
    }
    Ok(())
}

/// Arms a timer of an image with the time that was left. Those of CPU time are the dispatcher's.
fn arm_again(arena: Arena, timer: &Timer) {
    match timer {
        Timer::Interval { which: 0, left_ns, every_ns } => {
            describe::set_real_timer(*left_ns, *every_ns);
        }
        Timer::Interval { .. } => {}
        Timer::Posix { id, clock, event, left_ns, every_ns, due_ns, .. } => {
            let mut event: [u32; 16] = bytemuck::pod_read_unaligned(event);
            if event[3] as i32 == libc::SIGEV_THREAD_ID {
                event[4] = arena.real(event[4]);
            }
            if timer::create_as(*id, *clock, &event, due_ns.ok_or(*left_ns), *every_ns).is_err() {
                // The program would wait for what never comes.
                process::exit_now(125);
            }
            TIMERS.fetch_max(*id + 1, Ordering::Relaxed);
        }
    }
}

/// How often a thread of an image looks whether its process is what it is to be, in milliseconds.
const LOOK_MS: u32 = 1;

/// What each thread has for itself (prctl(2)).
fn settle_thread(noted: &Noted) {
    if noted.slack != 0 {
        raw::prctl(libc::PR_SET_TIMERSLACK as u64, noted.slack, 0, 0, 0);
    }
    if noted.death != 0 {
        raw::prctl(libc::PR_SET_PDEATHSIG as u64, noted.death.into(), 0, 0, 0);
    }
}

extern "C" fn run_thread_again(slot_offset: u64) -> ! {
    let arena = Arena { region: executor::arena() };
    let task = arena.region.record::<Task>(slot_offset as usize + TASK_AT);
    let there = arena.region.atomic_u32(arena.slot(task.leader as usize) + slot::PID);
    while there.load(Ordering::Acquire) == 0 {
        raw::futex_wait_for(there, 0, LOOK_MS);
    }
    raw::prctl(libc::PR_SET_TSC as u64, 2, 0, 0, 0);
    if let Some(had) = HAD.get() {
        rights::settle_again(had);
    }
    settle_thread(&task.noted);
    process::set_mask(task.mask);
    run(arena.region, slot_offset as usize)
}

extern "C" fn run_root(slot_offset: u64) -> ! {
    let mask = executor::arena().record::<Task>(slot_offset as usize + TASK_AT).mask;
    process::set_mask(mask);
    run_process(slot_offset)
}

/// Notes which signals the program will find ignored, before it starts.
pub fn note_dispositions(arena: Arena) {
    for signal in 1..=64 {
        let ignored = if signal == libc::SIGPIPE {
            process::ignored_pipe()
        } else {
            executor::is_ignored(signal)
        };
        arena.action(0, signal as usize).handler = u64::from(ignored);
    }
}

/// Catches what would end the program by default, so that the end is orderly; ignored signals and
/// those whose default is to do nothing or to stop stay with the kernel.
fn adopt(signal: i32) {
    if matches!(signal, libc::SIGKILL | libc::SIGSTOP) || executor::is_ignored(signal) {
        return;
    }
    let d = if executor::default_is_ignore(signal) || executor::default_is_stop(signal) {
        Disposition::Default
    } else {
        Disposition::Catch(0)
    };
    executor::dispose(signal, d);
}

extern "C" fn run_process(slot_offset: u64) -> ! {
    executor::tie_to(executor::lifeline_fd(), executor::lifeline_fd());
    // Without this, Yama (ptrace_scope 1) keeps the dispatcher from duplicating our descriptors.
    raw::prctl(process::PR_SET_PTRACER, u64::MAX, 0, 0, 0);
    let arena = executor::arena();
    arena
        .atomic_u32(slot_offset as usize + slot::PID)
        .store(raw::getpid() as u32, Ordering::Relaxed);
    run(arena, slot_offset as usize)
}

extern "C" fn run_thread(slot_offset: u64) -> ! {
    run(executor::arena(), slot_offset as usize)
}

fn run(arena: Region, at: usize) -> ! {
    let word = arena.atomic_u32(at + slot::STATE);
    let (mut mask, mut held_ms) = (process::mask(), 1);
    arena.atomic_u32(at + slot::TID).store(raw::gettid() as u32, Ordering::Relaxed);
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen != state::REQUEST {
            wait_for_request(arena, at, seen, mask, &mut held_ms);
            continue;
        }
        held_ms = 1;
        word.store(state::RUNNING, Ordering::Relaxed);
        let wanted = arena.atomic_u64(at + slot::MASK).load(Ordering::Relaxed);
        let held = arena.atomic_u32(at + slot::HELD);
        if wanted != mask || held.load(Ordering::Relaxed) != 0 {
            held.store(0, Ordering::Relaxed);
            process::set_mask(wanted);
            mask = wanted;
        }
        let ret = carry_out(arena, at);
        arena.atomic_u64(at + slot::RET).store(ret as u64, Ordering::Relaxed);
        word.store(state::DONE, Ordering::Release);
        raw::ring_bell(executor::bell_fd());
    }
}

/// Waits until there may be a request; while signals are held back, for `ms` milliseconds at most.
/// They are let through again once those before them were taken and the program has room for more.
fn wait_for_request(arena: Region, at: usize, seen: u32, mask: u64, ms: &mut u32) {
    let word = arena.atomic_u32(at + slot::STATE);
    let held = arena.atomic_u32(at + slot::HELD);
    if held.load(Ordering::Relaxed) == 0 {
        raw::futex_wait(word, seen);
        return;
    }
    raw::futex_wait_for(word, seen, *ms);
    *ms = (2 * *ms).min(HELD_MS);
    let of = |field| arena.atomic_u32(at + field).load(Ordering::Acquire);
    let waiting = arena.record::<Task>(at + TASK_AT).pending;
    if of(slot::STATE) == seen && of(slot::POSTED) == of(slot::TAKEN) && waiting < MOST_WAITING {
        *ms = 1;
        held.store(0, Ordering::Relaxed);
        process::set_mask(mask);
    }
}

fn carry_out(arena: Region, at: usize) -> i64 {
    let [a, b, c, d, ..] = *arena.record::<[u64; 6]>(at + slot::ARGS);
    match arena.atomic_u32(at + slot::OP).load(Ordering::Relaxed) {
        op::PERFORM => {
            let ret = executor::perform(arena, at);
            note_timer(arena, at, ret);
            ret
        }
        op::PIECES => executor::perform_in_pieces(arena, at),
        op::FORK => executor::spawn(arena, a, b as usize, run_process),
        op::THREAD => executor::spawn(arena, a, b as usize, run_thread),
        op::EXIT => process::exit_now(a as i32),
        op::EXIT_THREAD => loop {
            raw::exit(0);
        },
        op::DIE => executor::die_by(a as i32),
        op::DISPOSE => {
            let d = match b {
                1 => Disposition::Default,
                2 => Disposition::Ignore,
                _ => Disposition::Catch(c),
            };
            executor::dispose(a as i32, d);
            0
        }
        op::EXEC => {
            let left = Capabilities { effective: b, permitted: c, inheritable: d };
            exec_effects(arena, at, a as usize, left);
            0
        }
        op::REQUEUE => {
            executor::requeue(arena.record::<[u64; 16]>(at + slot::AGAIN));
            0
        }
        op::CLOSE_RANGE => close_range(a, b, c),
        op::CATCH => {
            let mask = process::mask();
            process::set_mask(a);
            process::set_mask(mask);
            0
        }
        op::DETACH => segment::detach(a) as i64,
        op::FSYNC => match CStr::from_bytes_until_nul(arena.bytes(a as usize, PATH)) {
            Ok(path) => shadow::keep_for_good(path) as i64,
            Err(_) => -i64::from(libc::ENOENT),
        },
        _ => 0,
    }
}

/// Keeps the number of a timer that the program has made (timer_create(2)): an exec deletes them.
fn note_timer(arena: Region, at: usize, ret: i64) {
    let nr = arena.atomic_u32(at + slot::NR).load(Ordering::Relaxed);
    if ret != 0 || i64::from(nr) != libc::SYS_timer_create {
        return;
    }
    let [_, _, id, ..] = *arena.record::<[u64; 6]>(at + slot::ARGS);
    if let Some(place) = arena.offset_of(id) {
        TIMERS.fetch_max(*arena.record::<i32>(place) + 1, Ordering::Relaxed);
    }
}

/// execve(2), "Effect on process attributes": what of it concerns the outside.
fn exec_effects(arena: Region, at: usize, title_len: usize, left: Capabilities) {
    fd::close_marked([executor::bell_fd(), executor::lifeline_fd()]);
    (0..TIMERS.swap(0, Ordering::Relaxed)).for_each(timer::delete);
    (1..=64).for_each(adopt);
    rights::settle_after_exec(left);
    show_title(arena, at, title_len);
}

fn show_title(arena: Region, at: usize, title_len: usize) {
    let title = arena.bytes(at + slot::TITLE, slot::TITLE_LEN);
    let name_end = title.iter().position(|b| *b == 0).unwrap_or(0);
    title::set_name(&title[..name_end]);
    let line = &title[16..16 + title_len.min(slot::TITLE_LEN - 16)];
    if let Some(Some(map)) = MM_MAP.get() {
        title::set_command_line(map, line);
    }
}

fn close_range(first: u64, last: u64, flags: u64) -> i64 {
    let (low, high) = (executor::lifeline_fd() as u64, executor::bell_fd() as u64);
    if first > last || last < low || first > high {
        return raw::close_range(first, last, flags) as i64;
    }
    if first < low {
        let r = raw::close_range(first, low - 1, flags);
        if r < 0 {
            return r as i64;
        }
    }
    if last > high { raw::close_range(high + 1, last, flags) as i64 } else { 0 }
}
