//! System calls executed by a stopped replica on our behalf.
//!
//! Invariant: the replica's registers are saved by the caller and put back by the caller; a signal
//! that arrives meanwhile is sent again afterwards, so none is lost.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::process;
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result};

use super::Tracer;
use crate::maps::{self, Range, Unforked};

/// What an injected clone made. It stands at its first stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cloned {
    pub child: u32,
    /// Registers of the child as the kernel made them.
    pub regs: Regs,
}

/// Where the `int3` behind the window's call has led to.
const BEHIND: u64 = WINDOW + 3;

fn gone(operation: &'static str) -> Error {
    Error { operation, errno: Errno::ESRCH }
}

/// The registers for a call at `at`, where `syscall; int3` stands.
fn call_regs(saved: &Regs, at: u64, nr: i64, args: [u64; 6]) -> Regs {
    let mut r = *saved;
    r.rip = at;
    r.rax = nr as u64;
    r.orig_rax = u64::MAX; // no call is pending: the kernel must not restart anything
    [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = args;
    r
}

impl Tracer {
    /// Runs one call in a stopped replica and returns its raw result; the replica stays stopped.
    pub(super) fn call_at(
        &mut self,
        pid: u32,
        saved: &Regs,
        at: u64,
        nr: i64,
        args: [u64; 6],
    ) -> Result<i64> {
        tracee::set_regs(pid, &call_regs(saved, at, nr, args))?;
        self.until_made(pid, None)
    }

    /// Has a stopped replica execute a program (execve(2), `args`); it is stopped in that call, which went
    /// well.
    pub(super) fn execute(&mut self, pid: u32, saved: &Regs, args: [u64; 6]) -> Result<()> {
        tracee::set_regs(pid, &call_regs(saved, WINDOW, libc::SYS_execve, args))?;
        tracee::resume(pid, 0)?;
        loop {
            match self.wait_for(pid)? {
                (Stop::Event(tracee::event::EXEC), _) => return Ok(()),
                (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(gone("execve of a replica"));
                }
                (Stop::Signal(libc::SIGTRAP), _) => {
                    let errno = Errno::from_raw(-(tracee::regs(pid)?.rax as i64) as i32);
                    return Err(Error { operation: "execve", errno });
                }
                _ => tracee::resume(pid, 0)?,
            }
        }
    }

    /// Lets a replica make an injected call and waits for its end. `child` receives the pid of a new process.
    /// It does not run into the `int3` behind the call: what that would change is the program's (`trap`). But a
    /// clone, which stops amid the call by itself and need not where it begins, does where it fails.
    fn until_made(&mut self, pid: u32, mut child: Option<&mut u32>) -> Result<i64> {
        let clones = child.is_some();
        let (mut entered, mut stops) = (clones, !clones);
        let mask = if clones { tracee::signal_mask(pid)? } else { 0 };
        let mut put_off = Vec::new();
        let result = loop {
            match stops {
                true => tracee::resume_to_syscall(pid)?,
                false => tracee::resume(pid, 0)?,
            }
            let (stop, cpu) = self.wait_for(pid)?;
            match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(gone("injected call"));
                }
                Stop::Signal(libc::SIGTRAP) if !stops && tracee::regs(pid)?.rip == BEHIND => {
                    let ret = tracee::regs(pid)?.rax as i64;
                    self.undo_signal(pid, libc::SIGTRAP, mask)?;
                    break ret;
                }
                Stop::Signal(s) => put_off.push(s),
                Stop::Event(_) => {
                    if let Some(c) = child.as_deref_mut() {
                        *c = tracee::event_message(pid)? as u32;
                        stops = true;
                    }
                }
                Stop::Syscall => {
                    let ret = tracee::regs(pid)?.rax as i64;
                    // One that a signal has kept from its work makes it again.
                    if entered && !(-516..=-512).contains(&ret) {
                        break ret;
                    }
                    entered = !entered;
                }
                Stop::Interrupted => {}
            }
        };
        for s in put_off {
            process::tgkill_any(pid, s);
        }
        Ok(result)
    }

    /// Makes a process that has all of the memory of process `leader`, also what its own children are kept
    /// from; which of it the new one is to be told of again. The new one comes to its first stop meanwhile.
    pub(super) fn clone_whole(
        &mut self,
        pid: u32,
        leader: usize,
        saved: &Regs,
        args: [u64; 5],
    ) -> Result<(u32, Vec<Unforked>)> {
        if self.arena.task(leader).unforked == 0 {
            return Ok((self.clone_off(pid, saved, args)?, Vec::new()));
        }
        let ranges = maps::unforked(pid);
        for one in &ranges {
            self.advise(pid, saved, one.range, one.undo)?;
        }
        let cloned = self.clone_off(pid, saved, args);
        for one in &ranges {
            self.advise(pid, saved, one.range, one.say)?;
        }
        Ok((cloned?, ranges))
    }

    pub(super) fn advise(
        &mut self,
        pid: u32,
        saved: &Regs,
        range: Range,
        advice: i32,
    ) -> Result<()> {
        let args = [range.start, range.len(), advice as u64, 0, 0, 0];
        match self.call_at(pid, saved, WINDOW, libc::SYS_madvise, args)? {
            0 => Ok(()),
            ret => Err(Error { operation: "madvise", errno: Errno::from_raw(-ret as i32) }),
        }
    }

    /// Injects clone(2). Both stay stopped; the caller sets both their registers.
    pub(super) fn clone_in(&mut self, pid: u32, saved: &Regs, args: [u64; 5]) -> Result<Cloned> {
        let child = self.clone_off(pid, saved, args)?;
        let regs = self.first_stop(child)?;
        Ok(Cloned { child, regs })
    }

    /// Injects clone(2). The caller stays stopped; the new one comes to its first stop by itself.
    fn clone_off(&mut self, pid: u32, saved: &Regs, args: [u64; 5]) -> Result<u32> {
        let [flags, stack, ptid, ctid, tls] = args;
        let six = [flags, stack, ptid, ctid, tls, 0];
        tracee::set_regs(pid, &call_regs(saved, WINDOW, libc::SYS_clone, six))?;
        let mut child = 0;
        let ret = self.until_made(pid, Some(&mut child))?;
        if ret < 0 || child == 0 {
            return Err(Error { operation: "injected clone", errno: Errno::from_raw(-ret as i32) });
        }
        Ok(child)
    }

    /// Waits for the first stop of a process that was just made, where it may be looked into; its registers
    /// as the kernel made them.
    pub(super) fn first_stop(&mut self, child: u32) -> Result<Regs> {
        loop {
            match self.wait_for(child)? {
                (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                    self.put_off.push_back((child, stop, cpu)); // perhaps it counts already
                    return Err(gone("new replica"));
                }
                (Stop::Interrupted, _) => break,
                _ => tracee::resume(child, 0)?,
            }
        }
        let mut regs = tracee::regs(child)?;
        if self.yama {
            let any = [process::PR_SET_PTRACER, u64::MAX, 0, 0, 0, 0];
            self.call_at(child, &regs, WINDOW, libc::SYS_prctl, any)?;
        }
        regs.orig_rax = u64::MAX;
        Ok(regs)
    }
}
