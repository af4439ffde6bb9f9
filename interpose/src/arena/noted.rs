//! What of a process or thread only its own calls tell, noted as they succeed, for its image.
//!
//! Invariant: written by the dispatcher as a call is decided (`dispatcher::durable::noted`), and by a restart.

use bytemuck::{Pod, Zeroable};

/// Timers of a process that can be known to be set for a time of a clock.
const TIMERS: usize = 32;

/// See the module.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Noted {
    /// What there is no image of, a bit each (of a leader).
    pub refused: u64,
    /// prctl(2), PR_SET_TIMERSLACK, in nanoseconds; 0 if it was not said.
    pub slack: u64,
    /// prctl(2), PR_SET_PDEATHSIG.
    pub death: u32,
    /// prctl(2), PR_SET_CHILD_SUBREAPER (of a leader).
    pub subreaper: u32,
    /// 1 once there were more timers than there is room for.
    pub full: u32,
    /// Unused.
    pub spare: u32,
    /// 1 plus the number of each timer that was set so (timer_settime(2), TIMER_ABSTIME; of a leader), or 0.
    pub timers: [u32; TIMERS],
}

impl Noted {
    /// Whether timer `id` was set for a time of a clock; none if that is not known.
    pub fn is_absolute(&self, id: i32) -> Option<bool> {
        match self.timers.contains(&(id as u32 + 1)) {
            false if self.full != 0 => None,
            known => Some(known),
        }
    }

    /// Timer `id` was set, or deleted.
    pub fn note_timer(&mut self, id: i32, absolute: bool) {
        let own = id as u32 + 1;
        for known in self.timers.iter_mut().filter(|known| **known == own) {
            *known = 0;
        }
        match self.timers.iter_mut().find(|known| **known == 0) {
            Some(free) if absolute => *free = own,
            None if absolute => self.full = 1,
            _ => {}
        }
    }

    /// All timers are deleted (execve(2)).
    pub fn forget_timers(&mut self) {
        (self.full, self.timers) = (0, [0; TIMERS]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_known_until_there_are_too_many() {
        let mut noted = Noted::zeroed();
        noted.note_timer(0, true);
        noted.note_timer(7, true);
        noted.note_timer(0, false);
        assert_eq!([0, 7, 8].map(|id| noted.is_absolute(id)), [false, true, false].map(Some));
        (10..50).for_each(|id| noted.note_timer(id, true));
        assert_eq!((noted.is_absolute(7), noted.is_absolute(49)), (Some(true), None));
        noted.forget_timers();
        assert_eq!(noted.is_absolute(7), Some(false));
    }
}
