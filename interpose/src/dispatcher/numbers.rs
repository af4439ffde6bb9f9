//! Numbers of processes and threads that a program knows from before the image that it was restored from:
//! the kernel gave its executors others.
//!
//! What goes to the kernel has real numbers, what comes of it the program's. Which are which says a table in
//! the arena (`crate::arena::numbers`).
//!
//! Invariant: without a restart every number is the executor's own, and nothing here is looked at.

use bytemuck::Zeroable;

use super::Dispatcher;

/// Which arguments of a call are numbers of processes or threads: one bit each. Negative ones, groups,
/// are kept.
fn numbered(nr: u32, args: &[u64; 6]) -> u32 {
    match i64::from(nr) {
        libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_rt_sigqueueinfo
        | libc::SYS_sched_setparam
        | libc::SYS_sched_getparam
        | libc::SYS_sched_setscheduler
        | libc::SYS_sched_getscheduler
        | libc::SYS_sched_setattr
        | libc::SYS_sched_getattr
        | libc::SYS_sched_setaffinity
        | libc::SYS_sched_getaffinity
        | libc::SYS_sched_rr_get_interval
        | libc::SYS_prlimit64
        | libc::SYS_getpgid
        | libc::SYS_getsid
        | libc::SYS_pidfd_open
        | libc::SYS_wait4 => 1,
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo | libc::SYS_setpgid | libc::SYS_kcmp => 3,
        // PRIO_PROCESS and PRIO_PGRP, IOPRIO_WHO_PROCESS and _PGRP; P_PID and P_PGID.
        libc::SYS_getpriority | libc::SYS_setpriority if args[0] < 2 => 2,
        libc::SYS_ioprio_get | libc::SYS_ioprio_set if matches!(args[0], 1 | 2) => 2,
        libc::SYS_waitid if matches!(args[0] as u32, libc::P_PID | libc::P_PGID) => 2,
        libc::SYS_fcntl if args[1] as i32 == libc::F_SETOWN => 4,
        _ => 0,
    }
}

/// Calls that answer with such a number.
fn answers_with_one(nr: u32, args: &[u64; 6]) -> bool {
    let asks = args[1] as i32 == libc::F_GETOWN;
    matches!(
        i64::from(nr),
        libc::SYS_getpgid
            | libc::SYS_getpgrp
            | libc::SYS_getsid
            | libc::SYS_getppid
            | libc::SYS_setsid
            | libc::SYS_wait4
    ) || i64::from(nr) == libc::SYS_fcntl && asks
}

impl Dispatcher {
    /// The kernel's number for one of the program's.
    pub(super) fn real(&self, number: u32) -> u32 {
        self.arena.real(number)
    }

    /// The program's number for one of the kernel's.
    pub(super) fn told(&self, real: u32) -> u32 {
        self.arena.shown(real)
    }

    fn real_word(&self, word: u64) -> u64 {
        match word as i32 {
            0 => word,
            group if group < 0 => -i64::from(self.real(group.unsigned_abs())) as u64,
            number => self.real(number as u32).into(),
        }
    }

    /// The request that is to be sent names processes and threads as the kernel does.
    pub(super) fn with_real_numbers(&mut self, t: usize, args: &mut [u64; 6]) {
        if self.arena.header().renumbered == 0 {
            return;
        }
        let e = *self.arena.entry(t, self.arena.task(t).head);
        let which = numbered(e.nr, &e.args);
        for (i, word) in args.iter_mut().enumerate() {
            // -1 is everybody, or whichever child.
            if which & 1 << i != 0 && *word as i32 != -1 {
                *word = self.real_word(*word);
            }
        }
        self.real_numbers_in_buffers(t, args);
    }

    /// The result of the call at the head as the program is to see it.
    pub(super) fn with_own_numbers(&self, t: usize, ret: i64) -> i64 {
        if self.arena.header().renumbered == 0 || ret <= 0 {
            return ret;
        }
        let e = *self.arena.entry(t, self.arena.task(t).head);
        match answers_with_one(e.nr, &e.args) {
            true => self.told(ret as u32).into(),
            false => ret,
        }
    }

    /// The siginfo of a signal with its sender as the program knows it (sigaction(2), si_pid).
    pub(super) fn with_own_sender(&self, info: [u64; 16]) -> [u64; 16] {
        let (signal, code) = (info[0] as i32, info[1] as i32);
        let sent = matches!(code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE);
        if self.arena.header().renumbered == 0 || !sent && signal != libc::SIGCHLD {
            return info;
        }
        let mut told = <[u64; 16]>::zeroed();
        told.copy_from_slice(&info);
        told[2] = info[2] & !u64::from(u32::MAX) | u64::from(self.told(info[2] as u32));
        told
    }

    /// The same with the sender as the kernel knows it.
    pub(super) fn with_real_sender(&self, info: [u64; 16]) -> [u64; 16] {
        let mut real = info;
        if self.with_own_sender(info) != info || self.real(info[2] as u32) != info[2] as u32 {
            real[2] = info[2] & !u64::from(u32::MAX) | u64::from(self.real(info[2] as u32));
        }
        // What is no sender's number is not changed: then it comes back as it was.
        if self.with_own_sender(real) == info { real } else { info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_arguments_are_numbers_follows_from_what_they_say() {
        let of = |nr: i64, args: [u64; 6]| numbered(nr as u32, &args);
        assert_eq!(of(libc::SYS_tgkill, [7, 8, 9, 0, 0, 0]), 3);
        assert_eq!(of(libc::SYS_getpriority, [2, 7, 0, 0, 0, 0]), 0); // PRIO_USER
        assert_eq!(of(libc::SYS_waitid, [libc::P_PID.into(), 7, 0, 0, 0, 0]), 2);
        assert_eq!(of(libc::SYS_fcntl, [3, libc::F_SETOWN as u64, 7, 0, 0, 0]), 4);
        assert_eq!(of(libc::SYS_write, [7; 6]), 0);
    }
}
