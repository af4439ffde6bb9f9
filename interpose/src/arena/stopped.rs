//! What the tracer knows of a checkpoint that only it can ask: kept for whoever writes it to an image.
//!
//! It lies where a run without checkpoints has its data ring, which one with checkpoints has elsewhere.
//!
//! Invariant: written by the tracer alone, `made` last.

use bytemuck::{Pod, Zeroable};

use super::{Arena, DATA_AT, GROUP_AT, MAX_REPLICAS};

/// Room for one.
pub(super) const ROOM: usize = 0x8000;
const STATE_AT: usize = 0x1000;

const _: () = {
    assert!(size_of::<Stopped>() <= STATE_AT);
    assert!(DATA_AT + MAX_REPLICAS * ROOM <= GROUP_AT);
};

/// One thread of a checkpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Stopped {
    /// The process that it is of, if all here is so; or 0.
    pub made: u32,
    /// Bytes of its extended state.
    pub extended: u32,
    /// 1 if it was preempted there, and stands at a call that the program does not know of.
    pub interrupted: u32,
    /// What it has registered for (membarrier(2)), a bit each.
    pub barriers: u32,
    /// struct user_regs_struct (ptrace(2)).
    pub registers: [u64; 27],
    /// Signals that it blocks.
    pub mask: u64,
    /// Where its heap ends (brk(2)).
    pub brk: u64,
    /// stack_t (sigaltstack(2)).
    pub alt_stack: [u64; 3],
    /// Head and length of its robust futexes (get_robust_list(2)).
    pub robust: [u64; 2],
    /// Of each signal that has a handler, from signal 1 on, the kernel's struct sigaction: handler, flags,
    /// restorer, mask.
    pub actions: [[u64; 4]; 64],
}

impl Arena {
    /// That of the checkpoint at a place of a task.
    pub fn stopped(&self, task: usize, place: usize) -> &'static mut Stopped {
        self.region.record(self.slot(task) + DATA_AT + place * ROOM)
    }

    /// Room for its extended state.
    pub fn stopped_state(&self, task: usize, place: usize) -> &'static mut [u8] {
        let at = self.slot(task) + DATA_AT + place * ROOM + STATE_AT;
        self.region.bytes(at, ROOM - STATE_AT)
    }
}
