//! Putting the call path inside a replica that makes many calls, and getting one out of its code
//! that was stopped there. What it is: `chameleon_sys::inside`.
//!
//! Invariant: a replica is armed at an answered call, all replicas of a task at the same one, and
//! they find the same sites, since their memory is the same; one that cannot be armed goes on as it
//! was and makes all its calls outside.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::inside::{self, Place};
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result, memory, process};

use super::Tracer;
use crate::arena::{Arena, Job};
use crate::maps;

/// Text that is searched in one mapping at most, in bytes.
const MOST_TEXT: usize = 64 << 20;

impl Tracer {
    /// Answers the call of a job and arms its replica behind it.
    pub(super) fn arm(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let mut resumed = regs;
        // Not armed: the dispatcher finds no header there and takes its ring for empty.
        let _ = self.put_inside(job.pid, &regs, &mut resumed.rip);
        tracee::set_regs(job.pid, &resumed)?;
        self.done(i, 0);
        tracee::resume(job.pid, 0)
    }

    /// Maps code, slots and data, and patches the sites. `resume` is where the replica goes on.
    fn put_inside(&mut self, pid: u32, regs: &Regs, resume: &mut u64) -> Result<()> {
        let Some((code, slots, jumps)) = self.code_for(pid, resume) else {
            return Err(Error { operation: "finding the call", errno: Errno::ENOENT });
        };
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        for (at, len, prot) in [
            (inside::CODE, inside::CODE_LEN, libc::PROT_READ | libc::PROT_EXEC),
            (inside::SLOTS, 4096, libc::PROT_READ),
            (inside::DATA, inside::DATA_LEN, libc::PROT_READ | libc::PROT_WRITE),
        ] {
            let args = [at, len, prot as u64, private as u64, u64::MAX, 0];
            let got = self.call_at(pid, regs, WINDOW, libc::SYS_mmap, args)? as u64;
            if got != at {
                return Err(Error { operation: "mapping the inside", errno: Errno::EEXIST });
            }
        }
        tracee::poke_bytes(pid, inside::CODE, &code)?;
        tracee::poke_bytes(pid, inside::SLOTS, &slots)?;
        let none = u64::MAX.to_le_bytes();
        tracee::poke_bytes(pid, inside::DATA + inside::AHEAD, &none)?;
        tracee::poke(pid, inside::DATA, 1 << 32)?; // USED 0, ON 1
        for (at, jump) in jumps {
            tracee::poke_bytes(pid, at, &jump)?;
        }
        Ok(())
    }

    /// The code for the sites in the text of `pid`, the slots, and what is written where. The replica
    /// stands behind the call of a site, and `resume` is moved to the same place in its stub.
    ///
    /// `None` where it does not: its calls come from elsewhere, as those of a program that translates
    /// another one's code (valgrind, an emulator). To such a one the text here is data, which has to
    /// be what the file has.
    #[allow(clippy::type_complexity)]
    fn code_for(
        &mut self,
        pid: u32,
        resume: &mut u64,
    ) -> Option<(Vec<u8>, Vec<u8>, Vec<(u64, [u8; 7])>)> {
        let mut code = inside::common().to_vec();
        code.resize(code.len().next_multiple_of(64), 0xcc);
        let (mut slots, mut jumps) = (Vec::new(), Vec::new());
        let (stands, mut at_site) = (*resume, false);
        for text in maps::code(pid) {
            let range = text.range;
            let file = (text.path, text.inode, text.offset);
            let sites = self.calls.entry(file).or_insert_with(|| {
                let mut text = vec![0; (range.len() as usize).min(MOST_TEXT)];
                let n = memory::read_some(pid, range.start, &mut text);
                inside::sites(&text[..n])
            });
            for site in sites.iter() {
                let at = range.start + site.at as u64;
                let address = inside::CODE + code.len() as u64;
                let (stub, behind) = inside::stub(site, address, at + site.length() as u64);
                let full = code.len() + stub.len() > inside::CODE_LEN as usize;
                if full || jumps.len() == inside::MOST_SITES {
                    return at_site.then_some((code, slots, jumps));
                }
                if stands == range.start + site.behind_call() as u64 {
                    at_site = true;
                    if site.compares {
                        *resume = address + behind as u64;
                    }
                }
                jumps.push((at, inside::jump(jumps.len())));
                slots.extend(address.to_le_bytes());
                code.extend(stub);
                code.resize(code.len().next_multiple_of(16), 0xcc);
            }
        }
        at_site.then_some((code, slots, jumps))
    }

    /// Gets a stopped replica out of COMMON, so that a handler of the program may make calls there:
    /// either its call has happened, or it is made as ever.
    pub(super) fn leave_inside(&mut self, pid: u32) -> Result<()> {
        loop {
            let mut r = tracee::regs(pid)?;
            match inside::place(r.rip) {
                Place::Elsewhere => return Ok(()),
                Place::Before => r.rip = r.rcx - 2,
                Place::Amid => {
                    let at = inside::DATA + inside::SAVED;
                    let [rdi, rsi, rdx, rcx, rax]: [u64; 5] = memory::read_value(pid, at)?;
                    (r.rdi, r.rsi, r.rdx, r.rcx, r.rax) = (rdi, rsi, rdx, rcx, rax);
                    r.rip = rcx - 2;
                }
                Place::Behind => {
                    let mask = tracee::signal_mask(pid)?;
                    tracee::step(pid)?;
                    match self.wait_for(pid)? {
                        (Stop::Signal(libc::SIGTRAP), _) => {
                            self.undo_signal(pid, libc::SIGTRAP, mask)?;
                        }
                        (Stop::Signal(s), _) => process::tgkill_any(pid, s),
                        (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                            self.on_stop(pid, stop, cpu);
                            return Err(Error { operation: "a step", errno: Errno::ESRCH });
                        }
                        _ => {}
                    }
                    continue;
                }
            }
            r.orig_rax = u64::MAX;
            return tracee::set_regs(pid, &r);
        }
    }

    /// A fault that an instruction of COMMON raised is that of the call it stands for, which the
    /// kernel would answer with EFAULT: made as ever, it is. Whether it was one.
    pub(super) fn fault_inside(&mut self, pid: u32) -> bool {
        let Ok(r) = tracee::regs(pid) else { return false };
        inside::place(r.rip) != Place::Elsewhere
            && self.leave_inside(pid).is_ok()
            && tracee::resume(pid, 0).is_ok()
    }

    /// A replica is about to take a signal that may end it, and its memory with it: what is in its
    /// ring is put where the dispatcher finds it.
    pub(super) fn keep_ring(&self, arena: Arena, pid: u32, task: usize, replica: usize) {
        let place = arena.kept_ring(task, replica);
        place.used = 0;
        if arena.task(task).inside.armed == 0 {
            return;
        }
        let used = memory::read_value::<u32>(pid, inside::DATA + inside::USED).unwrap_or(0);
        let n = (used as usize).min(inside::RING_LEN);
        let bytes = arena.kept_ring_bytes(task, replica, n);
        if memory::read(pid, inside::DATA + inside::RING, bytes).is_ok() {
            place.used = n as u32;
        }
    }
}
