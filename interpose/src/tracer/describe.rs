//! What only a tracer can say of a checkpoint: registers, mask, stacks, handlers.
//!
//! Invariant: the checkpoint is afterwards as it was before, its mappings too.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Errno, Error, Result, memory, process};

use super::Tracer;
use super::threads::{Context, Made};
use crate::arena::{Stopped, commit};

/// SIG_IGN; a handler is above.
const IGNORED: u64 = libc::SIG_IGN as u64;
/// membarrier(2), MEMBARRIER_CMD_GET_REGISTRATIONS (Linux 6.3).
const GET_REGISTRATIONS: u64 = 1 << 9;

impl Tracer {
    /// Fills the record of the checkpoint at `place`, the stopped process `pid`. Without it there is
    /// no image of the checkpoint, which is of use all the same.
    pub(super) fn describe_frozen(&mut self, pid: u32, regs: &Regs, task: usize, place: usize) {
        if self.arena.header().images == 0 {
            return;
        }
        let record = self.arena.stopped(task, place);
        record.made = 0;
        commit();
        let described = self.describe(pid, regs, task, place);
        let restored = tracee::set_regs(pid, regs);
        if let (Ok(found), Ok(())) = (described, restored) {
            *record = found;
            commit();
            record.made = pid;
        }
    }

    /// The same for the checkpoints of a group among copies that were just made, which are stopped.
    pub(super) fn describe_copies(&mut self, made: &[Made]) {
        let places = self.arena.checkpoints();
        let mut known = None;
        for m in made.iter().filter(|m| places.contains(&m.replica)) {
            if self.arena.header().images == 0 {
                return;
            }
            let c = m.like;
            // What a process has for all of its threads is asked of the first of them.
            if known.replace((m.replica, c.leader)) != Some((m.replica, c.leader)) {
                self.describe_frozen(m.pid, &c.regs, c.task, m.replica);
                if self.arena.stopped(c.task, m.replica).made != m.pid {
                    continue;
                }
            }
            self.describe_thread(m.pid, c, m.replica);
        }
    }

    /// What was learnt of a thread when it was copied.
    fn describe_thread(&mut self, pid: u32, c: &Context, place: usize) {
        let record = self.arena.stopped(c.task, place);
        let was = *record;
        record.made = 0;
        commit();
        let room = self.arena.stopped_state(c.task, place);
        let Some(room) = room.get_mut(..c.extended.len()) else { return };
        room.copy_from_slice(&c.extended);
        let registers = c.interrupted.map_or(c.regs, |i| i.regs);
        *record = Stopped {
            extended: c.extended.len() as u32,
            interrupted: c.interrupted.is_some().into(),
            registers: bytemuck::pod_read_unaligned(&tracee::register_bytes(&registers)),
            mask: c.mask,
            alt_stack: c.stack.unwrap_or([0, libc::SS_DISABLE as u64, 0]),
            robust: [self.arena.task(c.task).robust, 24],
            made: 0,
            ..was
        };
        commit();
        record.made = pid;
    }

    fn describe(&mut self, pid: u32, regs: &Regs, task: usize, place: usize) -> Result<Stopped> {
        let state = tracee::extended_state(pid)?;
        let room = self.arena.stopped_state(task, place);
        let Some(room) = room.get_mut(..state.len()) else {
            return Err(Error { operation: "keeping extended state", errno: Errno::E2BIG });
        };
        room.copy_from_slice(&state);
        let mut found = Stopped {
            extended: state.len() as u32,
            registers: bytemuck::pod_read_unaligned(&tracee::register_bytes(regs)),
            mask: tracee::signal_mask(pid)?,
            ..bytemuck::Zeroable::zeroed()
        };
        let mut call = |nr, args| self.call_at(pid, regs, WINDOW, nr, args);
        let rights = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let kind = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let page = call(libc::SYS_mmap, [0, 4096, rights, kind, u64::MAX, 0])?;
        if page < 0 {
            return Err(Error { operation: "mmap", errno: Errno::from_raw(-page as i32) });
        }
        let page = page as u64;
        if call(libc::SYS_sigaltstack, [0, page, 0, 0, 0, 0])? == 0 {
            found.alt_stack = memory::read_value(pid, page)?;
        }
        found.brk = call(libc::SYS_brk, [0; 6])? as u64;
        let barriers = call(libc::SYS_membarrier, [GET_REGISTRATIONS, 0, 0, 0, 0, 0])?;
        found.barriers = barriers.max(0) as u32;
        let leader = self.arena.task(task).leader as usize;
        for signal in 1..=64usize {
            if self.arena.action(leader, signal).handler > IGNORED {
                let args = [signal as u64, 0, page, 8, 0, 0];
                self.call_at(pid, regs, WINDOW, libc::SYS_rt_sigaction, args)?;
                found.actions[signal - 1] = memory::read_value(pid, page)?;
            }
        }
        self.call_at(pid, regs, WINDOW, libc::SYS_munmap, [page, 4096, 0, 0, 0, 0])?;
        if let Some(head) = process::robust_list(pid) {
            found.robust = [head, 24];
        }
        Ok(found)
    }
}
