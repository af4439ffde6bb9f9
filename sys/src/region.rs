//! The arena: one shared mapping without a name, made before anything is forked, at the same address
//! in every Chameleon process (not in the replicas, which lose it at their first exec).
//!
//! Invariant: what is in it survives any single process of ours, and holds no pointers except
//! those into itself. Who may write where is decided by phases kept in atomics inside it; the
//! accessors check bounds and alignment, never ownership.

use std::sync::atomic::{AtomicU32, AtomicU64};

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::raw;

/// A shared mapping. Copying it copies the handle.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    base: usize,
    len: usize,
}

impl Region {
    /// Maps `len` bytes, shared with all later children, populated on first touch only.
    ///
    /// Of a memfd the kernel charges each page as it is touched; an anonymous shared mapping it
    /// charges in full, and refuses, where vm.overcommit_memory is 2 (proc(5): MAP_NORESERVE means
    /// nothing then). It is what remains where files are limited in size, or there is no memfd.
    pub fn create(len: usize) -> Result<Self> {
        let file = unnamed_file(len);
        let (flags, fd) = match file {
            Some(fd) => (libc::MAP_SHARED, fd),
            None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let p = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        let outcome = if p == libc::MAP_FAILED {
            Err(Error::last("mmap of the shared arena"))
        } else {
            Ok(Self { base: p as usize, len })
        };
        if let Some(fd) = file {
            raw::close(fd as u64);
        }
        let region = outcome?;
        // A core dump of the program's outside would touch every page of it.
        // SAFETY: the range of the mapping just made; only what a dump holds changes.
        unsafe { libc::madvise(p, len, libc::MADV_DONTDUMP) };
        Ok(region)
    }

    /// The handle of a region known by its numbers, in a process that inherited it.
    pub(crate) fn at_base(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// Bytes in the region.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len), "outside the arena");
        (self.base + offset) as *mut u8
    }

    /// The address of an offset, the same in every Chameleon process.
    pub fn address(&self, offset: usize) -> u64 {
        self.at(offset, 0) as u64
    }

    /// The offset of an address, if it lies in the region.
    pub fn offset_of(&self, address: u64) -> Option<usize> {
        (address as usize).checked_sub(self.base).filter(|o| *o < self.len)
    }

    /// An atomic word in the region.
    pub fn atomic_u32(&self, offset: usize) -> &'static AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: in bounds, aligned, mapped for the life of the process, valid for any bytes.
        unsafe { &*self.at(offset, 4).cast::<AtomicU32>() }
    }

    /// An atomic word in the region.
    pub fn atomic_u64(&self, offset: usize) -> &'static AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: as for `atomic_u32`.
        unsafe { &*self.at(offset, 8).cast::<AtomicU64>() }
    }

    /// A record of plain data, which only the holder of its phase touches.
    #[allow(clippy::mut_from_ref)]
    pub fn record<T: Pod>(&self, offset: usize) -> &'static mut T {
        let p = self.at(offset, size_of::<T>());
        assert!((p as usize).is_multiple_of(align_of::<T>()));
        // SAFETY: in bounds, aligned, any bytes are a valid T; the phases in the arena give one
        // process at a time the right to a record, and no caller holds two references to one.
        unsafe { &mut *p.cast::<T>() }
    }

    /// Bytes of the region, which only the holder of their phase touches.
    #[allow(clippy::mut_from_ref)]
    pub fn bytes(&self, offset: usize, len: usize) -> &'static mut [u8] {
        let p = self.at(offset, len);
        // SAFETY: as for `record`.
        unsafe { std::slice::from_raw_parts_mut(p, len) }
    }

    /// Gives the whole pages of a range back; they read as zeros afterwards.
    pub fn release(&self, offset: usize, len: usize) {
        let p = self.at(offset, len);
        // SAFETY: a page range inside our own shared mapping; its content is given up by contract.
        unsafe { libc::madvise(p.cast(), len, libc::MADV_REMOVE) };
    }
}

/// A file in memory of `len` bytes, none of them touched; `None` where there cannot be one.
fn unnamed_file(len: usize) -> Option<i32> {
    if raw::file_size_is_limited() {
        return None; // setrlimit(2), RLIMIT_FSIZE: ftruncate would raise SIGXFSZ
    }
    // SAFETY: the name is a NUL-terminated string.
    let fd = unsafe { libc::memfd_create(c"chameleon".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return None;
    }
    // SAFETY: a descriptor of our own and a number.
    if unsafe { libc::ftruncate(fd, len as libc::off_t) } == 0 {
        return Some(fd);
    }
    raw::close(fd as u64);
    None
}
