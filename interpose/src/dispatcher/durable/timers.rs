//! Timers of a process at a cut: what is left of each, of which only the process itself is told by the kernel.
//!
//! Invariant: an executor that is idle is asked, and is idle again afterwards; nothing is changed.

use std::sync::atomic::Ordering;

use chameleon_ckpt::image::Timer;
use chameleon_sys::executor::{slot, state};
use chameleon_sys::raw;

use super::Dispatcher;
use crate::arena::timed;
use crate::durable::timers::{self, Listed};
use crate::outside::op;

/// How long an executor may take to answer, in nanoseconds.
const PATIENCE_NS: u64 = 1_000_000_000;

impl Dispatcher {
    /// The timers of the process of task `leader`, told by the executor of task `asked`.
    pub(super) fn timers_of(
        &mut self,
        leader: usize,
        asked: Option<usize>,
    ) -> Result<Vec<Timer>, String> {
        let listed = timers::listed(self.arena.task(leader).tgid)?;
        let known = self.arena.task(leader).timed != timed::NO;
        let mut all = self.cpu_timers_of(leader);
        let Some(asked) = asked else {
            // One that waits in its only thread has none, or there would be no cut (`cut_waiting`).
            let some = known || !listed.is_empty();
            return match some {
                true => Err("a timer cannot be asked while all its threads wait".to_owned()),
                false => Ok(all),
            };
        };
        let timer = if known { self.real_timer(asked)? } else { None };
        if timer.is_none() {
            self.arena.task(leader).timed = timed::NO;
        }
        all.extend(timer);
        for Listed { id, clock, event } in listed {
            let [every, every_ns, left, left_ns] =
                self.ask_outside(asked, libc::SYS_timer_gettime, id as u64)?;
            let now = raw::clock_ns(libc::CLOCK_REALTIME);
            let event = self.as_the_program_said(event);
            let left_ns = left * 1_000_000_000 + left_ns;
            let due_ns = match self.arena.task(leader).noted.is_absolute(id) {
                _ if clock != libc::CLOCK_REALTIME || left_ns == 0 => None,
                Some(absolute) => absolute.then_some(now + left_ns),
                None => {
                    return Err(
                        "it has too many timers (timer_settime(2), TIMER_ABSTIME)".to_owned()
                    );
                }
            };
            all.push(Timer::Posix {
                id,
                clock,
                event: bytemuck::bytes_of(&event).to_vec(),
                left_ns,
                every_ns: every * 1_000_000_000 + every_ns,
                overrun: 0,
                due_ns,
            });
        }
        Ok(all)
    }

    /// ITIMER_REAL, told by the executor of task `asked`.
    pub(super) fn real_timer(&mut self, asked: usize) -> Result<Option<Timer>, String> {
        let which = libc::ITIMER_REAL as u32;
        let [every, every_us, left, left_us] =
            self.ask_outside(asked, libc::SYS_getitimer, which.into())?;
        let ns = |seconds: u64, us: u64| seconds * 1_000_000_000 + us * 1000;
        let (left_ns, every_ns) = (ns(left, left_us), ns(every, every_us));
        Ok((left_ns != 0).then_some(Timer::Interval { which, left_ns, every_ns }))
    }

    /// struct sigevent with the thread's number as the program knows it.
    fn as_the_program_said(&self, mut event: [u32; 16]) -> [u32; 16] {
        if event[3] as i32 == libc::SIGEV_THREAD_ID {
            event[4] = self.arena.shown(event[4]);
        }
        event
    }

    /// Has an idle executor make a call that fills four words behind its first argument.
    fn ask_outside(&mut self, t: usize, nr: i64, first: u64) -> Result<[u64; 4], String> {
        let at = self.arena.slot(t);
        let region = self.arena.region;
        let word = region.atomic_u32(at + slot::STATE);
        let before = word.load(Ordering::Acquire);
        let place = region.address(at + slot::AGAIN);
        *region.record::<[u64; 4]>(at + slot::AGAIN) = [0; 4];
        self.fill(t, op::PERFORM, [first, place, 0, 0, 0, 0]);
        region.atomic_u32(at + slot::NR).store(nr as u32, Ordering::Relaxed);
        word.store(state::REQUEST, Ordering::Release);
        raw::futex_wake(word, 1);
        let until = raw::now_ns() + PATIENCE_NS;
        while word.load(Ordering::Acquire) != state::DONE {
            if raw::now_ns() > until {
                return Err("its outside does not answer".to_owned());
            }
            raw::futex_wait_for(word, state::RUNNING, 1);
        }
        let ret = region.atomic_u64(at + slot::RET).load(Ordering::Relaxed);
        word.store(before, Ordering::Release);
        match ret {
            0 => Ok(*region.record::<[u64; 4]>(at + slot::AGAIN)),
            _ => Err("its timer cannot be asked (a signal came)".to_owned()),
        }
    }
}
