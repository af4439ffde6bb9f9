//! Making processes: plain forks of our own, and the first processes of a replica set.
//!
//! Invariant: forks happen only in single-threaded processes of ours; a child that becomes a
//! replica runs nothing but raw system calls until it executes the program.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use seccompiler::sock_filter;

use crate::error::{Error, Result};
use crate::raw;

/// On which side of a fork the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the child.
    Child,
    /// In the parent, with the child's pid.
    Parent(u32),
}

/// fork(2) of a process of ours.
pub fn fork() -> Result<Fork> {
    // SAFETY: Chameleon's processes that fork have one thread, so the child's memory is whole.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        p if p > 0 => Ok(Fork::Parent(p as u32)),
        _ => Err(Error::last("fork")),
    }
}

/// clone(2) without sharing anything, for a process whose end sends its parent `signal`. It gets number
/// `pid` if one is asked for, that is free, and the kernel lets us choose (clone(2), set_tid); the second
/// value is whether it has it.
///
/// # Errors
/// Of clone(2).
pub fn fork_as(pid: Option<u32>, signal: u32) -> Result<(Fork, bool)> {
    let mut chosen = pid.unwrap_or(0) as i32;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    // set_tid, set_tid_size.
    let mut args = [0u64; 10];
    args[4] = u64::from(signal);
    (args[8], args[9]) = (&raw mut chosen as u64, u64::from(pid.is_some()));
    loop {
        let six = [args.as_ptr() as u64, size_of_val(&args) as u64, 0, 0, 0, 0];
        // SAFETY: a whole clone_args; the child has its own copy of this memory, stack and all.
        // Chameleon's processes that fork have one thread, so that is whole.
        match unsafe { raw::syscall(libc::SYS_clone3, six) } {
            0 => return Ok((Fork::Child, args[9] != 0)),
            p if p > 0 => return Ok((Fork::Parent(p as u32), args[9] != 0)),
            _ if args[9] != 0 => (args[8], args[9]) = (0, 0),
            e => return crate::error::check("clone3", e).map(|_| (Fork::Child, false)),
        }
    }
}

/// Waits for the end of a child, which stays to be waited for (waitid(2), WNOWAIT).
pub fn wait_until_ended(pid: u32) {
    let how = (libc::WEXITED | libc::WNOWAIT | libc::__WALL) as u64;
    // SAFETY: nothing is written.
    unsafe {
        raw::syscall(libc::SYS_waitid, [libc::P_PID.into(), u64::from(pid), 0, how, 0, 0]);
    }
}

/// Takes what is pending and blocked in the calling process, but for the signals in `pending`, a bit each;
/// of these, those that are not pending are sent.
pub fn settle_pending(pending: u64) {
    let mut there = 0u64;
    // SAFETY: eight bytes to write to; then eight to read, and nothing that is written.
    unsafe {
        raw::syscall(libc::SYS_rt_sigpending, [&raw mut there as u64, 8, 0, 0, 0, 0]);
        let (unwanted, at_once) = (there & !pending, [0u64; 2]);
        let args = [&raw const unwanted as u64, 0, at_once.as_ptr() as u64, 8, 0, 0];
        while unwanted != 0 && raw::syscall(libc::SYS_rt_sigtimedwait, args) > 0 {}
    }
    for signal in (1..=64).filter(|s| pending & !there & 1 << (s - 1) != 0) {
        kill(raw::getpid() as u32, signal);
    }
}

/// Ends the calling process at once, without destructors or handlers.
pub fn exit_now(status: i32) -> ! {
    loop {
        raw::exit_group(status as u64);
    }
}

/// Sends a signal; a process that is gone is no error.
pub fn kill(pid: u32, signal: i32) {
    raw::kill(u64::from(pid), signal as u64);
}

/// Queues a signal with an `si_code` of ours to a process, or to one thread of it
/// (rt_sigqueueinfo(2)); one that is gone is no error.
pub fn queue(pid: u32, thread: Option<u32>, signal: i32, code: i32) {
    let mut info = [0u32; 32];
    (info[0], info[2]) = (signal as u32, code as u32);
    let (pid, signal, at) = (u64::from(pid), signal as u64, info.as_ptr() as u64);
    // SAFETY: a whole siginfo to read.
    unsafe {
        match thread {
            None => raw::syscall(libc::SYS_rt_sigqueueinfo, [pid, signal, at, 0, 0, 0]),
            Some(tid) => {
                let tid = u64::from(tid);
                raw::syscall(libc::SYS_rt_tgsigqueueinfo, [pid, tid, signal, at, 0, 0])
            }
        };
    }
}

/// Waits for one child to end; its wait status.
pub fn reap(pid: u32) -> i32 {
    let mut st = 0;
    // SAFETY: `st` is valid to write to.
    while unsafe { libc::waitpid(pid as i32, &mut st, libc::__WALL) } < 0
        && crate::Errno::last() == crate::Errno::EINTR
    {}
    st
}

/// What was so at the start of the process and the runtime changed: dispositions and descriptors.
static EARLY: AtomicU32 = AtomicU32::new(0);
/// The signal mask at the start.
static EARLY_MASK: AtomicU64 = AtomicU64::new(0);

/// Runs before Rust's runtime, which ignores SIGPIPE and opens closed standard descriptors.
extern "C" fn note_early_state() {
    let mut early = 0;
    for fd in 0..3u32 {
        if raw::fcntl(u64::from(fd), libc::F_GETFD as u64, 0) < 0 {
            early |= 1 << fd;
        }
    }
    // SAFETY: an all-zero sigaction is valid; the call only fills it.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut old);
        if old.sa_sigaction == libc::SIG_IGN {
            early |= 8;
        }
    }
    EARLY.store(early, Ordering::Relaxed);
    EARLY_MASK.store(mask(), Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that the C library calls once before main;
// `note_early_state` needs nothing that is not there by then.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_EARLY_STATE: extern "C" fn() = note_early_state;

/// Whether standard descriptor `fd` (0 to 2) was closed when the process started.
pub fn was_closed(fd: u32) -> bool {
    EARLY.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Whether SIGPIPE was ignored when the process started.
pub fn ignored_pipe() -> bool {
    EARLY.load(Ordering::Relaxed) & 8 != 0
}

/// Undoes what Rust's runtime did to SIGPIPE, standard descriptors and fault handlers, so that
/// the process is again what its parent made.
pub fn restore_early_state() {
    let early = EARLY.load(Ordering::Relaxed);
    for fd in 0..3u32 {
        if early & (1 << fd) != 0 {
            raw::close(u64::from(fd));
        }
    }
    let pipe = if early & 8 != 0 { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: installing SIG_DFL or SIG_IGN runs no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, pipe);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
}

/// The signal mask of the calling thread, bit `n - 1` for signal `n`.
pub fn mask() -> u64 {
    let mut m = 0u64;
    // SAFETY: eight writable bytes, the size the kernel's sigset has.
    unsafe {
        raw::syscall(libc::SYS_rt_sigprocmask, [0, 0, &raw mut m as u64, 8, 0, 0]);
    }
    m
}

/// Sets the signal mask of the calling thread.
pub fn set_mask(m: u64) {
    // SAFETY: eight readable bytes.
    unsafe {
        raw::syscall(
            libc::SYS_rt_sigprocmask,
            [libc::SIG_SETMASK as u64, &raw const m as u64, 0, 8, 0, 0],
        );
    }
}

/// Gives all signals their default disposition and unblocks them: for our own service processes.
pub fn default_signals() {
    for s in 1..=64 {
        // SAFETY: SIG_DFL runs no code; the kernel refuses those that cannot be set.
        unsafe { libc::signal(s, libc::SIG_DFL) };
    }
    set_mask(0);
}

/// Ignores a signal in the calling process.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Gives a signal its default disposition in the calling process.
pub fn restore_default(signal: i32) {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ends the calling process by a signal, without a core file.
pub fn die_by(signal: i32) -> ! {
    raw::prctl(libc::PR_SET_DUMPABLE as u64, 0, 0, 0, 0);
    restore_default(signal);
    set_mask(!(1 << (signal - 1)));
    kill(raw::getpid() as u32, signal);
    exit_now(128 + signal)
}

/// A signalfd for `signals` (mask), which are blocked (signalfd(2)).
pub fn signal_fd(signals: u64) -> Result<i32> {
    set_mask(mask() | signals);
    // SAFETY: eight readable bytes as the set; the flags are the fourth argument.
    let r = unsafe {
        raw::syscall(
            libc::SYS_signalfd4,
            [
                u64::MAX,
                &raw const signals as u64,
                8,
                (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as u64,
                0,
                0,
            ],
        )
    };
    crate::error::check("signalfd4", r).map(|f| f as i32)
}

/// Empties a signalfd.
pub fn drain_signal_fd(fd: i32) {
    let mut b = [0u8; 128];
    while crate::fd::read_at(fd, &mut b, None) > 0 {}
}

/// What the first process of a replica becomes.
#[derive(Debug)]
pub struct Program {
    /// Path to execute, already searched for.
    pub path: CString,
    /// Arguments, the first being the name.
    pub args: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
    /// Signal mask to start with.
    pub mask: u64,
    /// The shadow file is given to it, so that memory it shares can be mapped.
    pub shares: bool,
    /// Reading the time stamp counter raises SIGSEGV, so that the tracer can answer.
    pub traps_time_stamps: bool,
}

/// Forks a child that waits until `go` is 1 (so that it can be seized first), prepares itself as a
/// replica, installs `filter`, shows the listener's number in rax at an `int3`, and executes the
/// program. If that fails it shows the negative errno at a second `int3` and waits to be killed.
pub fn spawn_replica(program: &Program, filter: &[sock_filter], go: &AtomicU32) -> Result<u32> {
    let argv: Vec<*const libc::c_char> =
        program.args.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    let envp: Vec<*const libc::c_char> =
        program.env.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    match fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            while go.load(Ordering::Acquire) == 0 {
                raw::futex_wait(go, 0);
            }
            become_replica(program, &argv, &envp, filter)
        }
    }
}

/// prctl(2): with `u64::MAX` as its argument, Yama lets any process of the same user look in.
pub const PR_SET_PTRACER: u64 = 0x5961_6d61;
const NEW_LISTENER_WAIT_KILLABLE: u64 = (1 << 3) | (1 << 5);

fn become_replica(
    program: &Program,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
    filter: &[sock_filter],
) -> ! {
    raw::setsid();
    raw::prctl(PR_SET_PTRACER, u64::MAX, 0, 0, 0);
    if program.traps_time_stamps {
        raw::prctl(libc::PR_SET_TSC as u64, 2, 0, 0, 0); // PR_TSC_SIGSEGV
    }
    raw::prctl(libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0);
    let persona = raw::personality(0xffff_ffff).max(0) as u64;
    raw::personality(persona | libc::ADDR_NO_RANDOMIZE as u64);
    for s in 1..=64 {
        // Handlers of ours vanish at exec; those that only block or wait must not be lost.
        if s == libc::SIGCHLD {
            // SAFETY: SIG_DFL runs no code.
            unsafe { libc::signal(s, libc::SIG_DFL) };
        }
    }
    // sched(7), SCHED_BATCH: a replica that is woken does not push aside whoever answered it, who has
    // others to answer. The program is shown its outside's policy.
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: a whole sched_param to read.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &param) };
    set_mask(program.mask);
    keep_shadow(program.shares);
    let prog = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr() as *mut _ };
    // SAFETY: a whole filter that stays in memory for the call; then two breakpoints that only
    // show a number to the tracer; then an exec with arrays that end in null.
    unsafe {
        let listener = raw::syscall(
            libc::SYS_seccomp,
            [1, NEW_LISTENER_WAIT_KILLABLE, &raw const prog as u64, 0, 0, 0],
        );
        std::arch::asm!("int3", in("rax") listener);
        let e = raw::syscall(
            libc::SYS_execve,
            [program.path.as_ptr() as u64, argv.as_ptr() as u64, envp.as_ptr() as u64, 0, 0, 0],
        );
        std::arch::asm!("int3", in("rax") e);
    }
    exit_now(127)
}

/// The process that a thread belongs to (proc(5), Tgid of status).
pub fn of_thread(tid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Closes every descriptor but the shadow file, which is kept over execs where the program cannot
/// have a descriptor of its own.
fn keep_shadow(shares: bool) {
    let number = crate::shadow::file_in_replica();
    let kept = crate::shadow::file().filter(|_| shares).is_some_and(|file| {
        let place = || {
            let made = raw::dup3(file as u64, number as u64, 0);
            crate::error::check("dup3", made).map(drop)
        };
        with_room_for(number, place).is_ok()
    });
    if kept {
        raw::close_range(0, number as u64 - 1, 0);
        raw::close_range(number as u64 + 1, u64::from(u32::MAX), 0);
    } else {
        raw::close_range(0, u64::from(u32::MAX), 0);
    }
}

/// Where a thread's list of robust futexes begins (get_robust_list(2)), if it has one and may be asked.
pub fn robust_list(tid: u32) -> Option<u64> {
    let (mut head, mut len) = (0u64, 0u64);
    let places = [&raw mut head as u64, &raw mut len as u64];
    // SAFETY: both places are eight writable bytes that outlive the call.
    let ret = unsafe {
        raw::syscall(libc::SYS_get_robust_list, [u64::from(tid), places[0], places[1], 0, 0, 0])
    };
    (ret == 0 && head != 0).then_some(head)
}

/// Sends a signal to one thread, whatever its process (tkill(2)).
pub fn tgkill_any(tid: u32, signal: i32) {
    // SAFETY: plain numbers.
    unsafe { raw::syscall(libc::SYS_tkill, [u64::from(tid), signal as u64, 0, 0, 0, 0]) };
}

/// Runs `place` with a descriptor limit above `number`, where the hard limit allows it.
pub fn with_room_for(number: i32, place: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `old` is valid to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) };
    let want = number as u64 + 1;
    let raised = old.rlim_cur < want && want <= old.rlim_max;
    if raised {
        let more = libc::rlimit { rlim_cur: want, rlim_max: old.rlim_max };
        // SAFETY: a valid limit, within the hard one.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &more) };
    }
    let result = place();
    if raised {
        // SAFETY: the limit that was there before.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &old) };
    }
    result
}

/// The highest descriptor number below `most` that the hard limit allows.
pub fn descriptor_top(most: i32) -> i32 {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `l` is valid to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut l) };
    (most as u64).min(l.rlim_max) as i32 - 1
}

/// Makes rdtsc trap in the calling process as it does in replicas (prctl(2), PR_SET_TSC): a switch
/// between processes that differ in this costs a write to CR4, 7 us each way on the virtual
/// machine where it was measured (a notification's round trip: 20 us with it, 6 without).
///
/// From then on the process must take the time by system call. Code that reads the counter all the
/// same gets it back, for good, and is only slower.
pub fn avoid_time_stamps() {
    // SAFETY: a handler that makes one system call; SIGSEGV from anything else goes on to the
    // default by being raised again.
    unsafe {
        let mut act: libc::sigaction = std::mem::zeroed();
        act.sa_sigaction = give_time_stamps_back as extern "C" fn(i32) as usize;
        act.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSEGV, &act, std::ptr::null_mut());
    }
    raw::prctl(libc::PR_SET_TSC as u64, 2, 0, 0, 0);
}

/// The instruction is executed again; a second fault ends the process.
extern "C" fn give_time_stamps_back(_: i32) {
    raw::prctl(libc::PR_SET_TSC as u64, 1, 0, 0, 0);
}

/// Raises the calling process's descriptor limit to its hard limit: it holds some for each process
/// of the program.
pub fn raise_descriptor_limit() {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `l` is a valid limit to write to and to read.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut l) == 0 {
            l.rlim_cur = l.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &l);
        }
    }
}
