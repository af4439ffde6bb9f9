//! Clocks read inside replicas (`chameleon_sys::clock`): put there at an exec, handed on at a fork.
//!
//! Invariant: a process has them in all its replicas or in none, and a log of its own.

use chameleon_sys::clock::{self, CODE, JUMP_LEN, LOG, LOG_LEN, PRIVATE, PRIVATE_LEN};
use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Errno, Error, Result, auxv, memory, shadow};
use object::{Object, ObjectSymbol};

use super::Tracer;
use super::inject::Cloned;
use crate::arena::Job;

/// The largest vDSO that is looked at.
const MOST_VDSO: usize = 64 << 10;

const SHARES_MEMORY: u64 = libc::CLONE_VM as u64;
const WAITS: u64 = libc::CLONE_VFORK as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;

impl Tracer {
    /// Leads the functions of the vDSO of a replica that has just executed a program to the code that
    /// reads clocks inside. False if it must have no vDSO instead.
    pub(super) fn put_clock(&mut self, pid: u32, regs: &Regs, task: usize) -> Result<bool> {
        if let Some(t) = self.tracees.get_mut(&pid) {
            t.read.clock = false;
        }
        let Some(vdso) = auxv::vdso(pid, regs.rsp)? else { return Ok(false) };
        let Some(functions) = self.vdso_functions(pid, vdso) else { return Ok(false) };
        if shadow::file().is_none() {
            return Ok(false);
        }
        let own = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let args = [PRIVATE, PRIVATE_LEN, both, own, u64::MAX, 0];
        let got = self.call_at(pid, regs, WINDOW, libc::SYS_mmap, args)? as u64;
        let leader = self.arena.task(task).leader as usize;
        if got != PRIVATE || !self.map_log(pid, regs, leader, libc::MAP_FIXED_NOREPLACE)? {
            return Ok(false);
        }
        tracee::poke(pid, PRIVATE, 1)?; // on
        tracee::poke_bytes(pid, CODE, clock::code())?;
        for (at, to) in functions {
            tracee::poke_bytes(pid, vdso + at, &clock::jump(to))?;
        }
        if let Some(t) = self.tracees.get_mut(&pid) {
            t.read.clock = true;
        }
        Ok(true)
    }

    /// Maps the log of a process into one of its replicas. False if there is no room for it.
    fn map_log(&mut self, pid: u32, regs: &Regs, task: usize, how: i32) -> Result<bool> {
        let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_SHARED | how) as u64;
        let number = shadow::file_in_replica() as u64;
        let args = [LOG, LOG_LEN, both, flags, number, shadow::clocks(task)];
        Ok(self.call_at(pid, regs, WINDOW, libc::SYS_mmap, args)? as u64 == LOG)
    }

    /// A replica has made a child: a process with memory of its own gets a log of its own; two that
    /// share memory and run at the same time cannot have one. Whether the child reads clocks inside.
    pub(super) fn hand_on_clock(&mut self, job: &Job, made: &Cloned, flags: u64) -> Result<bool> {
        if !self.tracees.get(&job.pid).is_some_and(|t| t.read.clock) {
            return Ok(false);
        }
        if flags & SHARES_MEMORY == 0 {
            let task = job.child_task as usize;
            if !self.map_log(made.child, &made.regs, task, libc::MAP_FIXED)? {
                return Err(Error { operation: "mapping a log of clocks", errno: Errno::ENOMEM });
            }
        } else if flags & (THREAD | WAITS) == 0 {
            tracee::poke(job.pid, PRIVATE, 0)?;
        }
        Ok(true)
    }

    /// Where the functions of the vDSO are in it, each with what it is led to. The same in all
    /// processes.
    fn vdso_functions(&mut self, pid: u32, vdso: u64) -> Option<Vec<(u64, u64)>> {
        let look = || {
            let mut image = vec![0; MOST_VDSO];
            let n = memory::read_some(pid, vdso, &mut image);
            let file = object::File::parse(&image[..n]).ok()?;
            let own = |name: &str| name.starts_with("__vdso_");
            let symbols = file.dynamic_symbols().filter(|s| s.name().is_ok_and(own));
            symbols
                .map(|s| {
                    let to = clock::place_of(s.name().ok()?)?;
                    (s.size() >= JUMP_LEN).then_some((s.address(), to))
                })
                .collect()
        };
        self.vdso.get_or_insert_with(look).clone()
    }
}
