//! Shared memory segments of System V (shmget(2), shmat(2)).
//!
//! Invariant: one that is attached here is detached when it is dropped.

use crate::raw;

/// A segment, attached to the calling process.
#[derive(Debug)]
pub struct Segment {
    at: *mut u8,
    len: usize,
}

/// What is known of a segment (shmctl(2), IPC_STAT).
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its length in bytes.
    pub len: u64,
    /// How often it is attached, by any process.
    pub attached: u64,
}

/// What the kernel knows of a segment; `None` if there is none, or it is not to be read.
pub fn about(id: i32) -> Option<About> {
    // SAFETY: an all-zero shmid_ds is a valid value, and the call fills it.
    unsafe {
        let mut ds: libc::shmid_ds = std::mem::zeroed();
        let r = libc::shmctl(id, libc::IPC_STAT, &mut ds);
        (r == 0).then_some(About { len: ds.shm_segsz as u64, attached: ds.shm_nattch })
    }
}

/// Detaches what is attached at an address (shmdt(2)); the raw answer. For executors, whose
/// attachments are the program's: nothing of ours lies in one.
pub fn detach(at: u64) -> isize {
    // SAFETY: the kernel takes away a whole attachment that begins there, or nothing.
    unsafe { raw::syscall(libc::SYS_shmdt, [at, 0, 0, 0, 0, 0]) }
}

impl Segment {
    /// Attaches a segment for reading and writing.
    pub fn attach(id: i32) -> Option<Self> {
        let len = about(id)?.len as usize;
        // SAFETY: at an address of the kernel's choice.
        let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        (at as isize != -1).then_some(Self { at: at.cast(), len })
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Bytes from `at` on that are within it, `len` at most.
    fn within(&self, at: u64, len: usize) -> usize {
        self.len.saturating_sub(at as usize).min(len)
    }

    /// Fills `buf` from position `at`; what is behind its end reads as zeros.
    pub fn read(&self, at: u64, buf: &mut [u8]) {
        let n = self.within(at, buf.len());
        // SAFETY: `n` bytes from there are attached; others may write them meanwhile, so they are
        // copied by a pointer and never referred to.
        unsafe { std::ptr::copy_nonoverlapping(self.at.add(at as usize), buf.as_mut_ptr(), n) };
        buf[n..].fill(0);
    }

    /// Writes `bytes` at position `at`, as far as they are within it.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        let n = self.within(at, bytes.len());
        // SAFETY: as for `read`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(at as usize), n) };
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        detach(self.at as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_attached_for_as_long_as_it_is_held() {
        // SAFETY: plain numbers.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 5000, 0o600) };
        let s = Segment::attach(id).unwrap();
        s.write(4998, b"abc");
        let mut back = [9; 4];
        s.read(4997, &mut back);
        assert_eq!(back, [0, b'a', b'b', 0]);
        assert_eq!((s.len(), about(id).unwrap().attached), (5000, 1));
        drop(s);
        assert_eq!(about(id).unwrap().attached, 0);
        // SAFETY: plain numbers.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}
