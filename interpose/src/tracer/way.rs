//! How far a thread that is stopped on its way to another's state still has to go.
//!
//! Invariant: it is said to be there only if all registers and all writable memory are equal, or all registers are
//! and its whole state repeats.
//!
//! For of what signals and the dynamic linker save of the registers (XSAVE), some is left out that the processor takes
//! for unused, and that is not the same in all replicas: below it lies what was there before. Replicas that are alike
//! in all else may differ by it for good, on dead parts of their stacks and in variables that nobody has set yet. One
//! whose state repeats will never come nearer; were that difference one that matters, ballots will show it.

use std::time::Duration;

use chameleon_sys::tracee::Regs;
use chameleon_sys::{memory, process, raw};

use super::agree::LIMIT;
use crate::maps;

/// The shortest time that a thread is let run freely.
const SHORTEST: Duration = Duration::from_micros(20);
/// Arrivals from which on it is, as long as nothing is known of its pace.
const NEAR: i64 = 3000;
/// Flags that say how an instruction was come to, not what the program's state is: RF.
const RESUME_FLAG: u64 = 1 << 16;

/// How far a thread still has to go, as far as one word tells that changes evenly: a register or a
/// word of memory in which it differs from the goal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// Where that word is: a register by its place, or an address.
    word: Option<Word>,
    /// The difference at the last look, and CPU time then.
    last: Option<(i64, u64)>,
    /// What the difference loses with each arrival.
    step: Option<i64>,
    /// It has been let run since the last look.
    free: bool,
    /// Picoseconds from arrival to arrival when nothing stops it.
    pace: u64,
    /// A digest of all differences of memory at the last arrival, if the one word stayed as it was.
    stays: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Register(usize),
    Memory(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It is there.
    Nothing,
    /// It has gone past.
    Passed,
    /// It may run freely for as long.
    Far(Duration),
    /// It is to go on to its next arrival.
    Unknown,
}

impl Way {
    /// Called at each arrival of thread `pid` at the goal's instruction.
    pub(super) fn left(&mut self, here: &Regs, goal: &Regs, pid: u32, first: u32) -> Left {
        let Some((word, left)) = self.difference(here, goal, pid, first) else {
            return Left::Nothing;
        };
        let now = cpu_time(pid);
        if self.word != Some(word) {
            let last = Some((left, now));
            *self = Self { word: Some(word), last, pace: u64::MAX, ..Self::default() };
            return Left::Unknown;
        }
        let Some((before, then)) = self.last.replace((left, now)) else { return Left::Unknown };
        let gained = before.wrapping_sub(left);
        if self.free {
            self.free = false;
            let arrivals = (gained / self.step.unwrap_or(1)).max(1) as u64;
            // The smallest: stops are part of what was measured.
            let ps = now.saturating_sub(then).saturating_mul(1000) / arrivals;
            self.pace = self.pace.min(ps.max(1));
        } else {
            if gained == 0 && matches!(word, Word::Memory(_)) {
                let differences = Some(maps::differences(first, pid));
                if self.stays == differences {
                    return Left::Nothing;
                }
                self.stays = differences;
                return Left::Unknown;
            }
            self.stays = None;
            if gained == 0 || self.step.is_some_and(|s| s != gained) {
                self.step = None;
                return Left::Unknown; // not even
            }
            self.step = Some(gained);
        }
        let Some(step) = self.step else { return Left::Unknown };
        let arrivals = left / step;
        if arrivals < 0 {
            return Left::Passed;
        }
        let way = match self.pace {
            u64::MAX if arrivals > NEAR => SHORTEST * 3,
            u64::MAX => Duration::ZERO,
            pace => Duration::from_nanos((arrivals as u64).saturating_mul(pace) / 1000),
        };
        if way < SHORTEST * 3 {
            return Left::Unknown;
        }
        self.free = true;
        // Not all of it, so as not to pass.
        Left::Far(((way - SHORTEST * 2) * 3 / 4).clamp(SHORTEST, LIMIT / 8))
    }

    /// In which word the thread differs from the goal, and by how much; `None` if in nothing.
    fn difference(&self, here: &Regs, goal: &Regs, pid: u32, first: u32) -> Option<(Word, i64)> {
        if let Some(i) = (0..REGISTERS).find(|i| register(here, *i) != register(goal, *i)) {
            let by = register(goal, i).wrapping_sub(register(here, i)) as i64;
            return Some((Word::Register(i), by));
        }
        let by = |at: u64| {
            let word = |p| memory::read_value::<u64>(p, at).ok();
            Some((word(first)?, word(pid)?)).filter(|(a, b)| a != b)
        };
        let known = match self.word {
            Some(Word::Memory(at)) if by(at).is_some() => Some(at),
            _ => maps::writable(first)
                .into_iter()
                .find_map(|g| maps::first_difference(first, pid, g))
                .map(|(at, ..)| at & !7),
        }?;
        let (a, b) = by(known).unwrap_or((1, 0));
        Some((Word::Memory(known), a.wrapping_sub(b) as i64))
    }
}

/// How many registers [`register`] has.
const REGISTERS: usize = 19;

/// What says where a thread is, by place.
fn register(r: &Regs, i: usize) -> u64 {
    let flags = r.eflags & !RESUME_FLAG;
    [
        r.rcx, r.rax, r.rbx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15, r.fs_base, r.gs_base, flags,
    ][i]
}

/// CPU time of the process of a thread in nanoseconds: only that thread runs.
pub(super) fn cpu_time(pid: u32) -> u64 {
    raw::cpu_time_ns(process::of_thread(pid).unwrap_or(pid))
}
