//! Numbers of processes and threads that stand in buffers: see `numbers`.
//!
//! Invariant: a ballot's bytes stay as they were collected; what goes to the kernel is a copy.

use chameleon_sys::executor::slot;

use super::Dispatcher;
use crate::arena::Entry;

/// fcntl(2), F_SETOWN_EX and F_GETOWN_EX; the libc crate lacks them.
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
/// ioctl requests that name a process or a group: set (ioctl_tty(2), TIOCSPGRP; socket(7)), and get.
const SETS: &[u32] = &[0x5410, 0x8901, 0x8902];
const GETS: &[u32] = &[0x540f, 0x5429, 0x8903, 0x8904];
/// socket(7), SCM_CREDENTIALS.
const CREDENTIALS: [u32; 2] = [1, 2];
/// Bytes of a header of control data (cmsg(3)), and where msghdr has them: address and length.
const CONTROL: usize = 16;
const CONTROL_AT: usize = 32;
/// Bytes of struct signalfd_siginfo, and where its `ssi_pid` is.
const SIGNALFD: i64 = 128;
const SSI_PID: usize = 12;

/// Which argument of a call points to numbers that the kernel reads, and where there they are.
fn goes_in(e: &Entry) -> Option<(usize, usize)> {
    match i64::from(e.nr) {
        libc::SYS_fcntl if e.args[1] as i32 == F_SETOWN_EX => Some((2, 4)),
        libc::SYS_ioctl if SETS.contains(&(e.args[1] as u32)) => Some((2, 0)),
        libc::SYS_capget | libc::SYS_capset => Some((0, 4)),
        _ => None,
    }
}

/// The same of numbers that it writes.
fn comes_out(e: &Entry) -> Option<(usize, usize)> {
    match i64::from(e.nr) {
        libc::SYS_waitid => Some((2, 16)),
        libc::SYS_fcntl => match e.args[1] as i32 {
            F_GETOWN_EX => Some((2, 4)),
            libc::F_GETLK | libc::F_OFD_GETLK => Some((2, 24)),
            _ => None,
        },
        libc::SYS_ioctl if GETS.contains(&(e.args[1] as u32)) => Some((2, 0)),
        libc::SYS_getsockopt
            if e.args[1] as i32 == libc::SOL_SOCKET && e.args[2] as i32 == libc::SO_PEERCRED =>
        {
            Some((3, 0))
        }
        _ => None,
    }
}

impl Dispatcher {
    /// What the buffers of a request name is as the kernel knows it.
    pub(super) fn real_numbers_in_buffers(&mut self, t: usize, args: &mut [u64; 6]) {
        let e = *self.arena.entry(t, self.arena.task(t).head);
        self.arena.task(t).told = 0;
        if let Some((i, at)) = goes_in(&e)
            && let Some(copy) = self.copy_of_bytes(t, args[i], 16)
        {
            let number = self.arena.region.record::<i32>(copy + at);
            *number = number.signum() * self.real(number.unsigned_abs()) as i32;
            args[i] = self.arena.region.address(copy);
        }
        // timer_create(2): struct sigevent, the thread of SIGEV_THREAD_ID.
        if i64::from(e.nr) == libc::SYS_timer_create
            && let Some(copy) = self.copy_of_bytes(t, args[1], 64)
        {
            let event = self.arena.region.record::<[u32; 16]>(copy);
            if event[3] as i32 == libc::SIGEV_THREAD_ID {
                event[4] = self.real(event[4]);
            }
            args[1] = self.arena.region.address(copy);
        }
        if i64::from(e.nr) == libc::SYS_sendmsg
            && let Some(header) = self.arena.region.offset_of(args[1]).filter(|_| args[1] != 0)
        {
            let control = self.arena.region.record::<[u64; 2]>(header + CONTROL_AT);
            let len = control[1] as usize;
            if let Some(copy) = self.copy_of_bytes(t, control[0], len) {
                self.each_credential(copy, len, |number| self.real(number));
                control[0] = self.arena.region.address(copy);
            }
        }
    }

    /// What the kernel wrote, as the program is to see it; the call came to `ret`.
    pub(super) fn own_numbers_in_buffers(&mut self, t: usize, ret: i64) {
        if self.arena.header().renumbered == 0 || ret < 0 {
            return;
        }
        let task = self.arena.task(t);
        if task.told == task.head + 1 {
            return; // the answer is looked at again
        }
        task.told = task.head + 1;
        let e = *self.arena.entry(t, task.head);
        let region = self.arena.region;
        let args = *region.record::<[u64; 6]>(self.arena.slot(t) + slot::ARGS);
        let place = |i: usize| region.offset_of(args[i]).filter(|_| args[i] != 0);
        if let Some((i, at)) = comes_out(&e)
            && let Some(place) = place(i)
        {
            let number = region.record::<i32>(place + at);
            *number = number.signum() * self.told(number.unsigned_abs()) as i32;
        }
        match i64::from(e.nr) {
            libc::SYS_rt_sigtimedwait if ret > 0 => {
                if let Some(place) = place(1) {
                    let info = region.record::<[u64; 16]>(place);
                    *info = self.with_own_sender(*info);
                }
            }
            libc::SYS_recvmsg => {
                if let Some(place) = place(1) {
                    let [at, len] = *region.record::<[u64; 2]>(place + CONTROL_AT);
                    if let Some(at) = region.offset_of(at).filter(|_| at != 0) {
                        self.each_credential(at, len as usize, |number| self.told(number));
                    }
                }
            }
            libc::SYS_read if ret > 0 && ret % SIGNALFD == 0 => {
                let link = format!("/proc/{}/fd/{}", self.arena.task(t).tgid, e.args[0] as i32);
                let is_it = std::fs::read_link(link)
                    .is_ok_and(|name| name.as_os_str() == "anon_inode:[signalfd]");
                for k in 0..(ret / SIGNALFD) as usize * usize::from(is_it) {
                    if let Some(place) = place(1) {
                        let number = region.record::<u32>(place + k * SIGNALFD as usize + SSI_PID);
                        *number = self.told(*number);
                    }
                }
            }
            _ => {}
        }
    }

    /// A copy of so many bytes of a request, in the arena; none of a buffer that is none.
    fn copy_of_bytes(&mut self, t: usize, address: u64, len: usize) -> Option<usize> {
        let from = self.arena.region.offset_of(address).filter(|_| address != 0)?;
        let copy = self.arena.take_data(t, len.next_multiple_of(8).max(8))?;
        let bytes = self.arena.region.bytes(from, len).to_vec();
        self.arena.region.bytes(copy, len).copy_from_slice(&bytes);
        Some(copy)
    }

    /// Changes the number in each SCM_CREDENTIALS of control data.
    fn each_credential(&self, at: usize, len: usize, change: impl Fn(u32) -> u32) {
        let mut done = 0;
        while done + CONTROL < len {
            let size = *self.arena.region.record::<u64>(at + done) as usize;
            let kind = *self.arena.region.record::<[u32; 2]>(at + done + 8);
            if kind == CREDENTIALS && size >= CONTROL + 12 && done + size <= len {
                let number = self.arena.region.record::<u32>(at + done + CONTROL);
                *number = change(*number);
            }
            done += size.next_multiple_of(8).max(CONTROL);
        }
    }
}
