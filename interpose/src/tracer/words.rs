//! Words of a single replica, changed while its other threads run: in one step, by the thread whose call
//! asks for it.
//!
//! Invariant: a word is changed from what the dispatcher took it for, or not at all.

use chameleon_sys::filter::{SWAP, WINDOW};
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result, memory, process};

use super::Tracer;
use crate::arena::{Job, word};
use crate::robust::{OWNER, OWNER_DIED, WAITERS};

impl Tracer {
    pub(super) fn change_word(&mut self, i: usize, job: &Job) -> Result<()> {
        let [addr, old, new, what, ..] = job.args;
        let mut regs = self.stop_at_call(job)?;
        let error = match self.swap(job.pid, &regs, addr, old as u32, new as u32)? {
            None => Errno::EFAULT as i32 as u32,
            Some(found) if found != old as u32 => Errno::EAGAIN as i32 as u32,
            Some(_) => 0,
        };
        if error == 0 && what & word::LAST != 0 {
            regs.rax = job.ret as u64;
            regs.rip += 2;
        }
        tracee::set_regs(job.pid, &regs)?;
        self.done(i, error);
        tracee::resume(job.pid, 0)
    }

    /// As the kernel does when a thread ends (kernel/futex/core.c, `futex_cleanup`).
    pub(super) fn give_locks_up(&mut self, i: usize, job: &Job) -> Result<()> {
        let t = job.task as usize;
        let own = self.arena.number(t);
        let regs = self.stop_at_call(job)?;
        let locks = self.arena.locks_of(t, job.pid, job.args[0]);
        'all: for (addr, pi) in locks {
            while let Ok(now) = memory::read_value::<u32>(job.pid, addr)
                && now & OWNER == own
            {
                let new = now & WAITERS | OWNER_DIED;
                let Some(found) = self.swap(job.pid, &regs, addr, now, new)? else { break 'all };
                if found == now && !pi && now & WAITERS != 0 {
                    // Shared: so are the waits for a robust one.
                    let args = [addr, libc::FUTEX_WAKE as u64, 1, 0, 0, 0];
                    self.call_at(job.pid, &regs, WINDOW, libc::SYS_futex, args)?;
                }
            }
        }
        tracee::set_regs(job.pid, &regs)?;
        self.done(i, 0);
        tracee::resume(job.pid, 0)
    }

    /// Stops a replica at its call, which it has not made yet.
    fn stop_at_call(&mut self, job: &Job) -> Result<Regs> {
        let mut regs = self.answer_and_stop(job)?;
        if (regs.orig_rax as i64) < 0 {
            return Err(Error { operation: "changing a word", errno: Errno::EIO });
        }
        regs.rax = regs.orig_rax;
        regs.rip -= 2;
        regs.orig_rax = u64::MAX;
        Ok(regs)
    }

    /// Has a stopped thread change a word from `old` to `new`; what it found there, `None` if it is not
    /// to be had for writing.
    fn swap(
        &mut self,
        pid: u32,
        saved: &Regs,
        addr: u64,
        old: u32,
        new: u32,
    ) -> Result<Option<u32>> {
        let asked = Regs { rip: SWAP, rax: old.into(), rdi: addr, rsi: new.into(), ..*saved };
        tracee::set_regs(pid, &asked)?;
        let mask = tracee::signal_mask(pid)?;
        tracee::resume(pid, 0)?;
        let mut put_off = Vec::new();
        let (signal, found) = loop {
            let (stop, cpu) = self.wait_for(pid)?;
            match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(Error { operation: "changing a word", errno: Errno::ESRCH });
                }
                Stop::Signal(s @ libc::SIGTRAP) => break (s, Some(tracee::regs(pid)?.rax as u32)),
                Stop::Signal(s @ (libc::SIGSEGV | libc::SIGBUS)) if is_fault(pid) => {
                    break (s, None);
                }
                Stop::Signal(s) => {
                    put_off.push(s);
                    tracee::resume(pid, 0)?;
                }
                _ => tracee::resume(pid, 0)?,
            }
        };
        self.undo_signal(pid, signal, mask)?;
        put_off.into_iter().for_each(|s| process::tgkill_any(pid, s));
        Ok(found)
    }
}

/// Whether the signal at which a thread has stopped is one of its own instruction (sigaction(2),
/// `si_code`).
fn is_fault(pid: u32) -> bool {
    tracee::siginfo(pid).is_ok_and(|i| i32::from_ne_bytes([i[8], i[9], i[10], i[11]]) > 0)
}
