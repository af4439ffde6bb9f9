//! What an image says of a process and its threads.
//!
//! Invariant: plain data. Registers and extended state are the kernel's own layout, as bytes.

use serde::{Deserialize, Serialize};

use super::{Lock, Memory};

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The pid that the program sees (getpid(2)).
    pub pid: u32,
    /// Its parent's (getppid(2)).
    pub parent: u32,
    /// Its process group (getpgid(2)).
    pub pgid: u32,
    /// Its session (getsid(2)).
    pub sid: u32,
    /// The signal that its end sends its parent (clone(2)); 0 for none.
    pub exit_signal: u32,
    /// The wait status (wait(2)) of a child that has ended and was not waited for yet; then only
    /// the ids above mean something.
    pub ended: Option<i32>,
    /// Its name (proc_pid_comm(5)), as bytes.
    pub name: Vec<u8>,
    /// The program file (proc_pid_exe(5)), as bytes.
    pub exe: Vec<u8>,
    /// The working directory (getcwd(2)), as bytes.
    pub cwd: Vec<u8>,
    /// The root directory (chroot(2)), as bytes.
    pub root: Vec<u8>,
    /// umask(2).
    pub umask: u32,
    /// Who it is.
    pub credentials: Credentials,
    /// getrlimit(2), in the order of the resources' numbers.
    pub limits: Vec<Limit>,
    /// personality(2).
    pub personality: u64,
    /// prctl(2), PR_SET_CHILD_SUBREAPER.
    pub subreaper: bool,
    /// prctl(2), PR_SET_THP_DISABLE.
    pub no_huge_pages: bool,
    /// membarrier(2): commands that it has registered for, a bit each.
    pub barriers: u32,
    /// How soon it is killed where memory runs out (proc_pid_oom_score_adj(5)).
    pub oom_score: i32,
    /// Memory that stays in RAM (mlock(2)): start and end.
    pub locked: Vec<(u64, u64)>,
    /// Signals whose disposition is not the default (sigaction(2)).
    pub dispositions: Vec<Disposition>,
    /// Signals sent to the process and not taken yet (sigpending(2)), in their order.
    pub pending: Vec<Pending>,
    /// Timers that run.
    pub timers: Vec<Timer>,
    /// Its threads, the first one first.
    pub threads: Vec<Thread>,
    /// Its memory.
    pub memory: Memory,
    /// Its descriptors, by number.
    pub descriptors: Vec<Descriptor>,
    /// Record locks that it has (fcntl(2), F_SETLK), each with the place of the open file that it was
    /// taken through.
    pub locks: Vec<(u32, Lock)>,
    /// The outside's own records of this process.
    pub opaque: Vec<u8>,
}

impl Process {
    /// Whether its first thread has ended and others have not (pthread_exit(3) in main).
    pub fn first_has_ended(&self) -> bool {
        let ended = |first: &Thread| first.registers.is_empty();
        self.threads.len() > 1 && self.threads.first().is_some_and(ended)
    }
}

/// Who a process is (credentials(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Real, effective, saved and file-system user (getresuid(2), setfsuid(2)).
    pub uids: [u32; 4],
    /// The same of groups (getresgid(2), setfsgid(2)).
    pub gids: [u32; 4],
    /// getgroups(2).
    pub groups: Vec<u32>,
    /// capabilities(7).
    pub capabilities: Capabilities,
    /// prctl(2), PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// prctl(2), PR_SET_DUMPABLE.
    pub dumpable: bool,
}

/// The sets of capabilities(7), a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of capabilities(7)")]
pub struct Capabilities {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

/// A limit (getrlimit(2)); `u64::MAX` is RLIM_INFINITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// RLIMIT_CPU and so on.
    pub resource: u32,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// What happens on a signal (sigaction(2), the kernel's structure).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// The signal's number.
    pub signal: u32,
    /// SIG_DFL, SIG_IGN or an address.
    pub handler: u64,
    /// SA_RESTART and so on.
    pub flags: u64,
    /// The address behind SA_RESTORER.
    pub restorer: u64,
    /// What is blocked meanwhile, a bit a signal.
    pub mask: u64,
}

/// A signal that was sent and not taken yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The signal's number.
    pub signal: u32,
    /// Its siginfo_t (sigaction(2)), as bytes.
    pub info: Vec<u8>,
}

/// A timer that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timer {
    /// setitimer(2), alarm(2).
    Interval {
        /// ITIMER_REAL, ITIMER_VIRTUAL or ITIMER_PROF.
        which: u32,
        /// Nanoseconds until it expires, at the cut.
        left_ns: u64,
        /// Nanoseconds from one expiry to the next; 0 when there is one only.
        every_ns: u64,
    },
    /// timer_create(2).
    Posix {
        /// Its id in the program.
        id: i32,
        /// CLOCK_REALTIME and so on.
        clock: i32,
        /// Its sigevent(3type), as bytes.
        event: Vec<u8>,
        /// As above; 0 when it is not armed.
        left_ns: u64,
        /// As above.
        every_ns: u64,
        /// timer_getoverrun(2).
        overrun: i32,
        /// The time of CLOCK_REALTIME at which it expires, in nanoseconds, if it was set for one (TIMER_ABSTIME).
        due_ns: Option<u64>,
    },
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The tid that the program sees (gettid(2)).
    pub tid: u32,
    /// Its name (prctl(2), PR_SET_NAME), as bytes.
    pub name: Vec<u8>,
    /// struct user_regs_struct (ptrace(2), PTRACE_GETREGS), with the bases of fs and gs; empty of a first thread
    /// that has ended while others go on.
    pub registers: Vec<u8>,
    /// The XSAVE area (ptrace(2), PTRACE_GETREGSET with NT_X86_XSTATE).
    pub extended: Vec<u8>,
    /// The signals it blocks, a bit each (sigprocmask(2)).
    pub blocked: u64,
    /// Signals sent to this thread and not taken yet (tgkill(2)).
    pub pending: Vec<Pending>,
    /// sigaltstack(2).
    pub alt_stack: AltStack,
    /// set_tid_address(2).
    pub clear_child_tid: u64,
    /// set_robust_list(2).
    pub robust_list: RobustList,
    /// How and where it is scheduled.
    pub schedule: Schedule,
    /// It was preempted while it computed.
    pub interrupted: bool,
    /// The outside's own records of this thread.
    pub opaque: Vec<u8>,
}

/// How a thread is scheduled (sched(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// struct sched_attr (sched_setattr(2)), as bytes; nice(2) is in it.
    pub attributes: Vec<u8>,
    /// ioprio_get(2).
    pub io: i32,
    /// The CPUs that it may run on (sched_getaffinity(2)), a bit each.
    pub cpus: Vec<u64>,
    /// prctl(2), PR_SET_TIMERSLACK, in nanoseconds; 0 if it was not said.
    pub slack_ns: u64,
    /// The signal that it gets when its parent ends (prctl(2), PR_SET_PDEATHSIG).
    pub death_signal: u32,
}

/// The stack for signal handlers (sigaltstack(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AltStack {
    /// Its lowest address.
    pub base: u64,
    /// SS_DISABLE and so on.
    pub flags: u32,
    /// Its length in bytes.
    pub size: u64,
}

/// What get_robust_list(2) gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobustList {
    /// Address of the head; 0 when there is none.
    pub head: u64,
    /// The length given with it.
    pub len: u64,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: i32,
    /// The place of its open file in [`super::Image::files`].
    pub file: u32,
    /// FD_CLOEXEC (fcntl(2)).
    pub close_on_exec: bool,
}
