//! The records of memory that the program shares: its objects, and what replicas are to map.
//!
//! Invariant: as for all records; `state` of an object is written last. What is mapped where is not
//! kept: the kernel's maps of the replicas say it.

use bytemuck::{Pod, Zeroable};

use super::{Arena, OBJECTS_AT};

/// Where an object is.
pub mod ostate {
    /// There is none.
    pub const FREE: u32 = 0;
    /// Its extents are being filled.
    pub const FILLING: u32 = 1;
    /// It may be mapped.
    pub const USED: u32 = 2;
    /// It is being given back: nobody looks for it any more.
    pub const GOING: u32 = 3;
}

/// What an object is outside.
pub mod kind {
    /// Nothing: anonymous memory, which exists in the replicas alone.
    pub const ANONYMOUS: u32 = 0;
    /// A file, on a disk or in memory.
    pub const FILE: u32 = 1;
    /// A segment of shmget(2).
    pub const SEGMENT: u32 = 2;
}

/// Memory that the program shares between its processes, or with others through a file: each replica
/// has a copy of its own in the shadow file (`chameleon_sys::shadow`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Object {
    /// See [`ostate`].
    pub state: u32,
    /// See [`kind`].
    pub kind: u32,
    /// Device and inode of a file; 0 and the identity of a segment.
    pub file: [u64; 2],
    /// How often this record has been used: so that what is remembered of an earlier one is not
    /// taken for this one's.
    pub generation: u32,
    /// 1 plus the number under which the supervisor holds the file, or 0 (tracer only).
    pub held: u32,
    /// Bytes it had outside when it was last looked at.
    pub size: u64,
    /// When its changes were last carried out, in monotonic nanoseconds.
    pub synced_at: u64,
    /// How long that took, in nanoseconds.
    pub sync_ns: u64,
    /// Which tasks share it: their `shares`.
    pub group: u32,
    /// The task that first maps it.
    pub task: u32,
    /// That task's `ordinal`.
    pub ordinal: u32,
    /// Unused.
    pub spare: u32,
    /// The call by which it does.
    pub seq: u64,
}

/// What a replica does in place of a call, at the tracer's hand.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Plan {
    /// Number and arguments of each call, made until one fails. An mmap of the shadow file names the
    /// object's first extent; each replica adds its own place.
    pub calls: [[u64; 7]; 8],
    /// How many there are.
    pub count: u64,
    /// What the program is answered, unless a call fails: then that one's error.
    pub ret: i64,
    /// 1 plus the object whose file the supervisor holds from now on, or 0.
    pub object: u32,
    /// The descriptor of it that the program has.
    pub number: i32,
    /// The process that has it.
    pub owner: u32,
    /// Unused.
    pub spare: u32,
}

impl Arena {
    /// An object of shared memory.
    pub fn object(&self, i: usize) -> &'static mut Object {
        self.region.record(OBJECTS_AT + i * size_of::<Object>())
    }
}
