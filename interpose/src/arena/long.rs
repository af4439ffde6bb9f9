//! The long area, behind the data ring in a task's slot: the buffers of one call that are too large
//! for the ring, so that the call is performed whole.
//!
//! Invariant: it holds one call (`long_seq`), at which all replicas stand until it is decided, and
//! whose result each is given before the next one needs the area. What is not taken of it reads as
//! zeros and occupies no memory.

use super::{Arena, CHUNK, MAX_TASKS, SHORT, commit};

/// Bytes that the buffers of one call have at most; of more, a part is carried.
const MOST: usize = 256 << 20;
/// Room for vectors, headers and tables of pieces beside them.
const SPARE: usize = 8 << 20;
/// Room for a ballot, and for another one that is compared with a third.
const LEN: usize = 2 * MOST + SPARE;
/// A shorter area is not worth its addresses.
const LEAST: usize = 2 * (8 << 20) + SPARE;
const PAGE: u64 = 4096;
/// From this length on a buffer starts at a page, as O_DIRECT (open(2)) may ask for.
const ALIGNED: usize = 64 << 10;

/// How long each task's area may be where a process is limited to so many bytes of addresses
/// (setrlimit(2), RLIMIT_AS): half of them are the arena's. 0 when that is too little.
pub(super) fn length_within(limit: u64) -> usize {
    let each = limit / 2 / MAX_TASKS as u64;
    match each.saturating_sub(SHORT as u64) as usize & !(CHUNK - 1) {
        len if len >= LEN => LEN,
        len if len >= LEAST => len,
        _ => 0,
    }
}

impl Arena {
    fn long_len(&self) -> usize {
        self.layout().long as usize
    }

    /// Bytes that the buffers of one call have at most; of more, a part is carried.
    pub fn most(&self) -> usize {
        match self.long_len() {
            0 => CHUNK,
            len => (len - SPARE) / 2,
        }
    }

    /// Takes `len` bytes of the long area for the call at the task's head; the offset in the
    /// arena, 8-aligned. They read as zeros. `None` while an earlier call has the area, or when it
    /// is full.
    pub fn take_long(&self, task: usize, len: usize) -> Option<usize> {
        let t = self.task(task);
        if t.long_used != 0 && t.long_seq != t.head {
            return None;
        }
        let at = t.long_used.next_multiple_of(if len >= ALIGNED { PAGE } else { 8 });
        let end = at + (len as u64).next_multiple_of(8);
        if end > self.long_len() as u64 {
            return None;
        }
        t.long_seq = t.head;
        commit();
        t.long_used = end;
        Some(self.slot(task) + SHORT + at as usize)
    }

    /// Gives back what was taken of the long area from `keep` on.
    pub fn cut_long(&self, task: usize, keep: u64) {
        let t = self.task(task);
        if t.long_used <= keep {
            return;
        }
        let area = self.slot(task) + SHORT;
        let page = keep.next_multiple_of(PAGE);
        let rest = page.min(t.long_used) - keep;
        self.region.bytes(area + keep as usize, rest as usize).fill(0);
        let end = t.long_used.next_multiple_of(PAGE).max(page);
        self.region.release(area + page as usize, (end - page) as usize);
        commit();
        t.long_used = keep;
    }

    /// Gives back what the call `seq` has taken of the long area.
    pub fn drop_long(&self, task: usize, seq: u64) {
        if self.task(task).long_seq == seq {
            self.cut_long(task, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_one_calls_and_is_zero_when_it_is_taken_again() {
        let a = Arena::create(None).unwrap();
        a.task(1).head = 7;
        let first = a.take_long(1, 100).unwrap();
        a.region.bytes(first, 100).fill(1);
        let kept = a.task(1).long_used;
        let second = a.take_long(1, 3 << 20).unwrap();
        assert_eq!(second % 4096, 0);
        a.region.bytes(second, 3 << 20).fill(2);
        a.cut_long(1, kept);
        assert_eq!(a.take_long(1, 3 << 20), Some(second));
        assert!(a.region.bytes(second, 3 << 20).iter().all(|b| *b == 0));
        assert!(a.region.bytes(first, 100).iter().all(|b| *b == 1));
        a.task(1).head = 8;
        assert_eq!(a.take_long(1, 8), None, "call 7 has not been dropped");
        a.drop_long(1, 7);
        assert_eq!(a.take_long(1, 100), Some(first));
        assert!(a.region.bytes(first, 100).iter().all(|b| *b == 0));
    }

    #[test]
    fn two_ballots_of_the_largest_call_have_room() {
        let a = Arena::create(None).unwrap();
        let most = a.most();
        let last = [a.take_long(1023, most), a.take_long(1023, most)][1].unwrap();
        a.region.bytes(last + most - 1, 1)[0] = 1;
        assert_eq!(a.take_long(1023, most), None);
        a.release_task(1023, false);
        assert_eq!(a.region.bytes(last + most - 1, 1)[0], 0);
    }

    #[test]
    fn a_limited_address_space_has_shorter_areas_or_none() {
        assert_eq!(length_within(u64::MAX), LEN);
        assert_eq!(length_within(10 << 30), 0);
        let some = length_within(128 << 30);
        assert!((LEAST..LEN).contains(&some));
        assert!((some + SHORT) * MAX_TASKS <= 64 << 30);
    }
}
