//! Readings of the time stamp counter (`chameleon_sys::stamp`): one that has trapped is made by the
//! replica's own code for clocks, and a place that reads often is led there.
//!
//! Invariant: a replica's places are patched at the same point of its execution as those of all
//! others, because what decides is in its own memory. At a place that may be patched yet no thread is
//! stopped behind the reading for as long as another may run: what it would go on in might be changed.

use chameleon_sys::clock::{self, PRIVATE};
use chameleon_sys::filter::WINDOW;
use chameleon_sys::stamp::{self, Moment, STATE, STUBS, STUBS_LEN, Scale, State, Trapped};
use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Result, memory, raw};

use super::Tracer;
use crate::maps;

/// `si_code` of a fault that the processor gives no address for (sigaction(2)).
const SI_KERNEL: i32 = 0x80;
/// Bytes before and behind a place among which a jump into it is looked for.
const AROUND: u64 = 4096;

impl Tracer {
    /// prctl(2), PR_SET_TSC: rdtsc and rdtscp raise SIGSEGV. Whether this is one.
    pub(super) fn time_stamp(&mut self, pid: u32) -> bool {
        let Ok(mut r) = tracee::regs(pid) else { return false };
        let mut code = [0u8; 8];
        let n = memory::read_some(pid, r.rip, &mut code);
        let Some(len) = stamp::reading(&code[..n]) else {
            // Another process with this memory has had it patched meanwhile.
            let patched = stamp::is_jump(&code[..n]) && is_of_processor(pid);
            return patched && tracee::resume(pid, 0).is_ok();
        };
        let scale = self.scale();
        let Some(t) = self.tracees.get_mut(&pid) else { return false };
        // Not where two processes that run share this memory.
        let on = t.read.clock && memory::read_value::<u32>(pid, PRIVATE).is_ok_and(|on| on != 0);
        if !on {
            // The first replica to read decides.
            let (task, mut decided) = (t.task, 0);
            let now = || {
                decided += 1;
                scale.at(raw::clock_ns(libc::CLOCK_MONOTONIC_RAW))
            };
            let key = self.arena.task(t.task).ordinal;
            let value = self.stamps.entry(key).or_default().at(t.read.stamps, now);
            t.read.stamps += 1;
            self.note_drawn(task, decided);
            r.rax = value & 0xffff_ffff;
            r.rdx = value >> 32;
            r.rip += len;
            if len == 3 {
                r.rcx = 0; // rdtscp's TSC_AUX would be the CPU number
            }
        } else if self.read_inside(pid, &mut r, len).is_err() {
            return false;
        }
        let _ = tracee::set_regs(pid, &r);
        let _ = tracee::resume(pid, 0);
        true
    }

    /// Has a replica make its reading, of `len` bytes, itself.
    fn read_inside(&mut self, pid: u32, r: &mut Regs, len: u64) -> Result<()> {
        let mut state: State = memory::read_value(pid, STATE)?;
        if state.scale.is_none() {
            state.scale = self.scale();
        }
        let mut trapped = state.count(r.rip);
        let mut stub = None;
        if trapped == Trapped::Often {
            stub = self.lead_to_stub(pid, r, state.stubs)?;
            match stub {
                Some(_) => state.stubs += 1,
                None => {
                    state.give_up(r.rip);
                    trapped = Trapped::Hopeless;
                }
            }
        }
        state.back = r.rip + len;
        memory::write_value(pid, STATE, &state)?;
        if len == 3 {
            r.rcx = 0;
        }
        r.rip = stub.unwrap_or_else(|| clock::stamp_trapped(trapped != Trapped::Hopeless));
        Ok(())
    }

    /// How time is told in ticks: the same throughout the run.
    fn scale(&mut self) -> Scale {
        let begun = self.begun;
        *self.scale.get_or_insert_with(|| Scale::between(begun, Moment::now()))
    }

    /// Patches the place where a replica has stopped, with its stub number `index`; where its code is.
    /// `None` if it cannot be patched.
    fn lead_to_stub(&mut self, pid: u32, r: &Regs, index: u64) -> Result<Option<u64>> {
        let Some(range) = maps::code_at(pid, r.rip) else { return Ok(None) };
        if index >= stamp::MOST_STUBS {
            return Ok(None);
        }
        let start = range.start.max(r.rip.saturating_sub(AROUND));
        let mut text = vec![0; (range.end.min(r.rip + AROUND) - start) as usize];
        let n = memory::read_some(pid, start, &mut text);
        let Some(site) = stamp::site(&text[..n], (r.rip - start) as usize) else {
            return Ok(None);
        };
        if index == 0 && !self.map_stubs(pid, r)? {
            return Ok(None);
        }
        let code = stamp::stub(index, &site, r.rip + site.length());
        tracee::poke_bytes(pid, stamp::stub_at(index), &code)?;
        tracee::poke_bytes(pid, r.rip, &stamp::jump(index))?;
        Ok(Some(stamp::stub_code(index)))
    }

    /// Maps the page of stubs. False if there is no room for it.
    fn map_stubs(&mut self, pid: u32, r: &Regs) -> Result<bool> {
        let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        let code = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let args = [STUBS, STUBS_LEN, code, private, u64::MAX, 0];
        let got = self.call_at(pid, r, WINDOW, libc::SYS_mmap, args)? as u64;
        // A stop that somebody had asked for may have been taken for one of the call's.
        tracee::interrupt(pid)?;
        if got == STUBS {
            tracee::poke_bytes(pid, STUBS, &stamp::head())?;
        }
        Ok(got == STUBS)
    }

    /// Whether a thread that has stopped at `ip` may be left there while others run, or a handler of
    /// its own does: not in the code for clocks, nor where code may become another.
    pub(super) fn may_be_left_at(&self, pid: u32, ip: u64) -> bool {
        if (WINDOW..WINDOW + 4096).contains(&ip) {
            return false;
        }
        let mut code = [0u8; 8];
        let from = ip.saturating_sub(code.len() as u64);
        if memory::read(pid, from, &mut code).is_err() {
            return true;
        }
        let clock = self.tracees.get(&pid).is_some_and(|t| t.read.clock);
        let Some(before) = stamp::shortly_before(&code).filter(|_| clock) else { return true };
        let state = memory::read_value::<State>(pid, STATE);
        !state.is_ok_and(|s| s.may_become_often(ip - before))
    }
}

/// Whether a replica has stopped for a fault that the processor gives no address for.
fn is_of_processor(pid: u32) -> bool {
    tracee::siginfo(pid).is_ok_and(|info| info[8..12] == SI_KERNEL.to_ne_bytes())
}
