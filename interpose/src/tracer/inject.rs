//! System calls executed by a stopped replica on our behalf.
//!
//! Invariant: the replica's registers are saved by the caller and put back by the caller; a signal
//! that arrives meanwhile is sent again afterwards, so none is lost.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::process;
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result};

use super::Tracer;
use crate::maps::{self, Range};

/// What an injected clone made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cloned {
    pub child: u32,
    /// Registers of the child as the kernel made them.
    pub regs: Regs,
}

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

/// SIGTRAP in a mask.
const TRAP: u64 = 1 << (libc::SIGTRAP - 1);

/// An `int3` unblocks SIGTRAP (kernel/signal.c, `force_sig_info_to_task`): one that blocked it does so again.
pub(super) fn block_trap_again(pid: u32, mask: u64) -> Result<()> {
    if mask & TRAP == 0 { Ok(()) } else { tracee::set_signal_mask(pid, mask) }
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
        let mask = tracee::signal_mask(pid)?;
        tracee::set_regs(pid, &call_regs(saved, at, nr, args))?;
        tracee::resume(pid, 0)?;
        let ret = self.until_trap(pid, None)?;
        block_trap_again(pid, mask)?;
        Ok(ret)
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

    /// Waits for the `int3` behind an injected call. `child` receives the pid of a new process.
    fn until_trap(&mut self, pid: u32, mut child: Option<&mut u32>) -> Result<i64> {
        let mut put_off = Vec::new();
        let result = loop {
            let (stop, cpu) = self.wait_for(pid)?;
            match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(gone("injected call"));
                }
                Stop::Signal(libc::SIGTRAP) => break tracee::regs(pid)?.rax as i64,
                Stop::Signal(s) => {
                    put_off.push(s);
                    tracee::resume(pid, 0)?;
                }
                Stop::Event(_) => {
                    if let Some(c) = child.as_deref_mut() {
                        *c = tracee::event_message(pid)? as u32;
                    }
                    tracee::resume(pid, 0)?;
                }
                Stop::Interrupted | Stop::Syscall => tracee::resume(pid, 0)?,
            }
        };
        for s in put_off {
            process::tgkill_any(pid, s);
        }
        Ok(result)
    }

    /// The same with all of the memory of process `leader`, also what its own children are kept from.
    pub(super) fn clone_whole(
        &mut self,
        pid: u32,
        leader: usize,
        saved: &Regs,
        args: [u64; 5],
    ) -> Result<Cloned> {
        if self.arena.task(leader).unforked == 0 {
            return self.clone_in(pid, saved, args);
        }
        let ranges = maps::unforked(pid);
        for (range, [undo, _]) in &ranges {
            self.advise(pid, saved, *range, *undo)?;
        }
        let cloned = self.clone_in(pid, saved, args);
        let child = cloned.as_ref().ok().map(|c| c.child);
        for one in [Some(pid), child].into_iter().flatten() {
            for (range, [_, say]) in &ranges {
                self.advise(one, saved, *range, *say)?;
            }
        }
        cloned
    }

    fn advise(&mut self, pid: u32, saved: &Regs, range: Range, advice: i32) -> Result<()> {
        let args = [range.start, range.len(), advice as u64, 0, 0, 0];
        match self.call_at(pid, saved, WINDOW, libc::SYS_madvise, args)? {
            0 => Ok(()),
            ret => Err(Error { operation: "madvise", errno: Errno::from_raw(-ret as i32) }),
        }
    }

    /// Injects clone(2). Both stay stopped; the caller sets both their registers.
    pub(super) fn clone_in(&mut self, pid: u32, saved: &Regs, args: [u64; 5]) -> Result<Cloned> {
        let [flags, stack, ptid, ctid, tls] = args;
        let six = [flags, stack, ptid, ctid, tls, 0];
        let mask = tracee::signal_mask(pid)?;
        tracee::set_regs(pid, &call_regs(saved, WINDOW, libc::SYS_clone, six))?;
        tracee::resume(pid, 0)?;
        let mut child = 0;
        let ret = self.until_trap(pid, Some(&mut child))?;
        block_trap_again(pid, mask)?;
        if ret < 0 || child == 0 {
            return Err(Error { operation: "injected clone", errno: Errno::from_raw(-ret as i32) });
        }
        loop {
            match self.wait_for(child)? {
                (Stop::Exited(_) | Stop::Killed(_), _) => return Err(gone("new replica")),
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
        Ok(Cloned { child, regs })
    }
}
