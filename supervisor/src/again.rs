//! `--restart`: a process that stays, starts the run as its child, and starts it again when it was
//! given up (`docs/adr/0014-runs-and-their-sockets.md` says why not otherwise).
//!
//! ```text
//!   chameleon run --restart ──fork──► becomes the outside …
//!        ▲   │ signals ─► child          │ ended
//!        │   └───────────────────────────┤
//!        └──(given up, tries left)───────┴──► ends as the child has ended
//! ```
//!
//! Invariant: it changes nothing that the next try inherits: descriptors, directory, dispositions
//! and mask are as they were found. A signal sent to it goes to the child; one that the terminal sends to
//! the group has reached the child already.

use std::convert::Infallible;

use chameleon_sys::process::{self, Fork};
use chameleon_sys::{executor, fd, raw};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::launch::{self, LaunchError, RunConfig};

/// What a run knows of its being one of several tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    /// Which restart this is; 0 for the first try.
    pub attempt: u32,
    /// How many there may be.
    pub restarts: u32,
    /// A pipe: a byte in it says that the run was given up and may be started again.
    pub pipe: i32,
}

impl Again {
    /// Says that the run was given up.
    pub(crate) fn give_up(&self) {
        fd::write_at(self.pipe, &[1], None);
    }
}

/// What was so before anything was changed.
struct Early {
    mask: u64,
    child_ignored: bool,
}

/// Runs the program as a child, over and over as long as it is given up and there are tries left.
/// Returns in the child only, when it cannot be started.
pub(crate) fn run(mut config: RunConfig) -> Result<Infallible, LaunchError> {
    let early = Early { mask: process::mask(), child_ignored: executor::is_ignored(libc::SIGCHLD) };
    // A child of whoever ignores this cannot be waited for (wait(2)).
    process::restore_default(libc::SIGCHLD);
    let signals = process::signal_fd(!faults())?;
    for attempt in 0.. {
        let (read, pipe) = fd::pipe()?;
        let parent = raw::getpid() as u32;
        let child = match process::fork()? {
            Fork::Parent(child) => child,
            Fork::Child => {
                fd::close(signals);
                fd::close(read);
                if early.child_ignored {
                    process::ignore(libc::SIGCHLD);
                }
                process::set_mask(early.mask);
                raw::prctl(libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0);
                if raw::getppid() as u32 != parent {
                    process::exit_now(125);
                }
                if attempt > 0 {
                    // Once is what was asked for: a fault of the machine does not come again.
                    config.injections.clear();
                }
                let again = Again { attempt, restarts: config.restarts, pipe };
                return launch::start(config, Some(again), None);
            }
        };
        fd::close(pipe);
        let end = attend(child, signals);
        // The supervisor's end of the pipe is closed when all of that run is gone.
        let given_up = end == End::Exited(125) && fd::read_at(read, &mut [0], None) == 1;
        fd::close(read);
        if !given_up || attempt == config.restarts {
            match end {
                End::Exited(status) => process::exit_now(status),
                End::Killed(signal) => process::die_by(signal),
            }
        }
    }
    process::exit_now(125)
}

/// The mask of signals that a process gets for its own faults: they are not passed on.
fn faults() -> u64 {
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS]
        .iter()
        .fold(0, |mask, signal| mask | 1 << (signal - 1))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(i32),
}

/// Passes signals on until the child has ended.
fn attend(child: u32, signals: i32) -> End {
    loop {
        if let Some(end) = look(child) {
            return end;
        }
        let mut info = [0u8; 128];
        fd::wait_for_input(signals);
        if fd::read_at(signals, &mut info, None) != 128 {
            continue;
        }
        let word =
            |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        // signalfd(2): ssi_signo, ssi_code, ssi_pid. What a process sent has a code of 0 or below.
        let (signal, code, from) = (word(0), word(8), word(12));
        if signal != libc::SIGCHLD && code <= 0 && from != child as i32 {
            process::kill(child, signal);
        }
    }
}

/// What has become of the child; a stop is followed.
fn look(child: u32) -> Option<End> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
    match waitid(Id::Pid(Pid::from_raw(child as i32)), flags) {
        Ok(WaitStatus::Exited(_, status)) => Some(End::Exited(status)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(End::Killed(signal as i32)),
        Ok(WaitStatus::Stopped(..)) => {
            // Whoever waits for this process sees the program stop, and continues both.
            process::kill(raw::getpid() as u32, libc::SIGSTOP);
            process::kill(child, libc::SIGCONT);
            None
        }
        Ok(_) => None,
        // There is none: it was reaped by nobody but us.
        Err(nix::errno::Errno::EINTR) => None,
        Err(_) => Some(End::Exited(125)),
    }
}
