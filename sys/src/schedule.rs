//! How threads are scheduled (sched(7), ioprio_set(2)).
//!
//! Invariant: asking changes nothing; a thread that is gone is no error. Called at the cut of an image, and by a
//! restart.

use crate::raw;

/// Bytes of struct sched_attr that are known (sched_setattr(2)), and where in it nice(2) is.
const ATTRIBUTES: usize = 56;
const NICE_AT: usize = 16;
/// ioprio_set(2), IOPRIO_WHO_PROCESS.
const WHO_PROCESS: u64 = 1;

/// struct sched_attr of a thread; empty if it is not told.
pub fn attributes(tid: u32) -> Vec<u8> {
    let mut found = vec![0u8; ATTRIBUTES];
    let args = [tid.into(), found.as_mut_ptr() as u64, ATTRIBUTES as u64, 0, 0, 0];
    // SAFETY: as many writable bytes as are said.
    match unsafe { raw::syscall(libc::SYS_sched_getattr, args) } {
        0 => found,
        _ => Vec::new(),
    }
}

/// Schedules a thread (0: the caller) so. False if that may not be.
pub fn set(tid: u32, attributes: &[u8]) -> bool {
    if attributes.len() != ATTRIBUTES {
        return attributes.is_empty();
    }
    let args = [tid.into(), attributes.as_ptr() as u64, 0, 0, 0, 0];
    // SAFETY: a whole struct sched_attr of the size that it says itself.
    unsafe { raw::syscall(libc::SYS_sched_setattr, args) == 0 }
}

/// What nice(2) a struct sched_attr says.
pub fn nice_of(attributes: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(*attributes.get(NICE_AT..)?.first_chunk()?))
}

/// Sets the nice(2) of a thread alone. False if that may not be.
pub fn set_nice(tid: u32, nice: i32) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, tid, nice) == 0 }
}

/// What ioprio_get(2) says of a thread.
pub fn io_priority(tid: u32) -> i32 {
    let args = [WHO_PROCESS, tid.into(), 0, 0, 0, 0];
    // SAFETY: plain numbers.
    unsafe { raw::syscall(libc::SYS_ioprio_get, args) }.max(0) as i32
}

/// The other way. False if that may not be.
pub fn set_io_priority(tid: u32, priority: i32) -> bool {
    let args = [WHO_PROCESS, tid.into(), priority as u64, 0, 0, 0];
    // SAFETY: plain numbers.
    unsafe { raw::syscall(libc::SYS_ioprio_set, args) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_scheduled_as_it_was() {
        let found = attributes(0);
        assert_eq!(found.len(), ATTRIBUTES);
        assert!(set(0, &found) && set_io_priority(0, io_priority(0)));
        assert_eq!(attributes(0), found);
        let nice = nice_of(&found).unwrap();
        assert!(set_nice(raw::gettid() as u32, nice));
        assert!(!set(0, &[1, 2]));
    }
}
