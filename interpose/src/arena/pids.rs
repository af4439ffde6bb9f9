//! The table from thread ids of the kernel to tasks and replicas.
//!
//! Invariant: only the tracer writes it; a place counts from when its id is there.

use bytemuck::{Pod, Zeroable};

use super::{Arena, PIDS, PIDS_AT, commit};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct PidSlot {
    pid: u32,
    task: u32,
    replica: u32,
    spare: u32,
}

impl Arena {
    fn pid_slot(&self, i: usize) -> &'static mut PidSlot {
        self.region.record(PIDS_AT + i * 16)
    }

    /// Notes whose replica a kernel thread id is (tracer only).
    pub fn note_pid(&self, pid: u32, task: usize, replica: usize) {
        let mut i = pid as usize % PIDS;
        for _ in 0..PIDS {
            let s = self.pid_slot(i);
            if s.pid == 0 || s.pid == u32::MAX || s.pid == pid {
                s.task = task as u32;
                s.replica = replica as u32;
                commit();
                s.pid = pid;
                return;
            }
            i = (i + 1) % PIDS;
        }
    }

    /// Task and replica of a kernel thread id.
    pub fn find_pid(&self, pid: u32) -> Option<(usize, usize)> {
        let mut i = pid as usize % PIDS;
        for _ in 0..PIDS {
            let s = self.pid_slot(i);
            match s.pid {
                0 => return None,
                p if p == pid => return Some((s.task as usize, s.replica as usize)),
                _ => i = (i + 1) % PIDS,
            }
        }
        None
    }

    /// Forgets a kernel thread id (tracer only, when it has reaped it).
    pub fn forget_pid(&self, pid: u32) {
        let mut i = pid as usize % PIDS;
        for _ in 0..PIDS {
            let s = self.pid_slot(i);
            match s.pid {
                0 => return,
                p if p == pid => {
                    s.pid = u32::MAX;
                    return;
                }
                _ => i = (i + 1) % PIDS,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_found_until_forgotten_and_its_place_used_again() {
        let a = Arena::create(None).unwrap();
        a.note_pid(7, 1, 2);
        a.note_pid(7 + PIDS as u32, 3, 4);
        assert_eq!(a.find_pid(7 + PIDS as u32), Some((3, 4)));
        a.forget_pid(7);
        assert_eq!(a.find_pid(7), None);
        assert_eq!(a.find_pid(7 + PIDS as u32), Some((3, 4)));
    }
}
