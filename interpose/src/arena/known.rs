//! Which pages of a process are as they were at an image that is on the disk: found by the tracer as it
//! makes a checkpoint, read by the process that writes it.
//!
//! It lies behind what is kept of checkpoints ([`super::Stopped`]), in the slot of the process's first task.
//!
//! Invariant: [`Known`] and its ranges are the tracer's, which leaves them alone while a checkpoint of the
//! process is being written ([`super::Recovery::pinned`]); [`Known::made`] is written last. [`Base`] is
//! the dispatcher's.

use bytemuck::{Pod, Zeroable};
use chameleon_policy::increments::Worth;

use super::{Arena, DATA_AT, GROUP_AT, MAX_REPLICAS, stopped};

const KNOWN_AT: usize = DATA_AT + MAX_REPLICAS * stopped::ROOM;
const BASE_AT: usize = KNOWN_AT + 0x800;
const RANGES_AT: usize = KNOWN_AT + 0x1000;
/// Ranges that there is room for: some hundred thousands.
const RANGES: usize = (GROUP_AT - RANGES_AT) / 16;

const _: () = {
    assert!(size_of::<Known>() <= BASE_AT - KNOWN_AT);
    assert!(size_of::<Base>() <= RANGES_AT - BASE_AT);
    assert!(RANGES > 1 << 18);
};

/// What a look through a replica has shown, as its checkpoint was made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Known {
    /// The checkpoint, if all here is of it; or 0.
    pub made: u32,
    /// The replica: another one has not been watched.
    pub donor: u32,
    /// The number of the look; no two of a run have the same.
    pub look: u64,
    /// The look since which the pages are unchanged; 0 if nothing is known of any.
    pub since: u64,
    /// How many ranges there are.
    pub count: u64,
    /// CPU time for which the replica stood still for it, in nanoseconds.
    pub ns: u64,
    /// Pages of the checkpoint that have changed, or may have, and those that have not: said by who
    /// writes it.
    pub changed: u64,
    /// See `changed`.
    pub unchanged: u64,
}

/// What the next image can build on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Base {
    /// The look whose checkpoint went into it; 0 if there was none.
    pub look: u64,
    /// The image.
    pub image: u64,
    /// Pages of the process at it.
    pub pages: u64,
    /// See [`Worth`].
    pub page_ns: u64,
    /// See [`Worth`].
    pub rest: u32,
    /// See [`Worth`].
    pub rests: u32,
}

impl Base {
    /// As decisions are made of it.
    pub fn worth(&self) -> Worth {
        Worth { page_ns: self.page_ns, rest: self.rest, rests: self.rests }
    }
}

impl Arena {
    /// What is known of the pages of the process of task `leader`.
    pub fn known(&self, leader: usize) -> &'static mut Known {
        self.region.record(self.slot(leader) + KNOWN_AT)
    }

    /// Its ranges, by address: first address, and the one behind the last.
    pub fn known_ranges(&self, leader: usize) -> &'static [[u64; 2]] {
        let count = (self.known(leader).count as usize).min(RANGES);
        bytemuck::cast_slice(self.region.bytes(self.slot(leader) + RANGES_AT, count * 16))
    }

    /// Keeps them; false if there are too many (tracer only).
    pub fn keep_known(&self, leader: usize, ranges: &[[u64; 2]]) -> bool {
        let fits = ranges.len() <= RANGES;
        let ranges = if fits { ranges } else { &[] };
        let bytes: &[u8] = bytemuck::cast_slice(ranges);
        self.region.bytes(self.slot(leader) + RANGES_AT, bytes.len()).copy_from_slice(bytes);
        self.known(leader).count = ranges.len() as u64;
        fits
    }

    /// What the next image of the process of task `leader` can build on.
    pub fn base(&self, leader: usize) -> &'static mut Base {
        self.region.record(self.slot(leader) + BASE_AT)
    }
}
