//! Segments of shmget(2): the outside attaches and detaches them as the program does, each replica
//! maps an extent of its own.
//!
//! Invariant: the outside has as many attachments of a segment as the program, so that the kernel
//! counts and removes it as it would. Which they are its own memory map says: the inode of such a
//! mapping is the segment's identity.

use chameleon_sys::{segment, shadow};

use super::Dispatcher;
use super::map::{PAGE, failed, map_call};
use crate::arena::{kind, ostate};
use crate::dispatcher::work::{Outcome, process_steps};
use crate::maps;
use crate::outside::op;
use crate::table::row::Row;

/// Steps: the outside attaches or detaches; what it attached in vain is detached.
const OUTSIDE: u32 = 1;
const UNDO: u32 = 2;

impl Dispatcher {
    /// shmat(2) and shmdt(2).
    pub(in crate::dispatcher) fn shared_memory(&mut self, t: usize, r: &'static Row) -> Outcome {
        if !self.lockstep() {
            return Outcome::Continue;
        }
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        if i64::from(e.nr) == libc::SYS_shmdt {
            return self.detach(t, e.args[0]);
        }
        match self.arena.task(t).step {
            0 => {
                let flags = e.args[2] & libc::SHM_RDONLY as u64;
                self.request_then(t, op::PERFORM, [e.args[0], 0, flags, 0, 0, 0], OUTSIDE);
                Outcome::Wait
            }
            OUTSIDE => match self.taken(t) {
                None => Outcome::Wait,
                Some(ret) if (-4095..0).contains(&ret) => Outcome::Value(ret),
                Some(at) => self.attach(t, r, e.args, at as u64),
            },
            _ => match self.taken(t) {
                None => Outcome::Wait,
                Some(_) => failed(libc::ENOMEM),
            },
        }
    }

    /// The outside has attached a segment at `outside`.
    fn attach(&mut self, t: usize, r: &'static Row, args: [u64; 6], outside: u64) -> Outcome {
        let [id, addr, flags, ..] = args;
        let (id, flags) = (id as i32, flags as i32);
        let Some(about) = segment::about(id) else { return self.detach_again(t, outside) };
        if about.attached > self.own_attachments(id) {
            let why = "another program has it attached, whose changes would not be seen in time";
            self.refuse(t, r.name.into(), why.into(), libc::ENOMEM);
            return self.detach_again(t, outside);
        }
        let object = match self.segment_object(t, id) {
            Ok(o) => o,
            Err(Outcome::Wait) => return Outcome::Wait,
            Err(_) => return self.detach_again(t, outside),
        };
        let len = about.len.next_multiple_of(PAGE);
        let (place, how) = match addr {
            0 => match self.free_place(t, len) {
                Some(at) => (at, libc::MAP_FIXED_NOREPLACE),
                None => return self.detach_again(t, outside),
            },
            _ if flags & libc::SHM_REMAP != 0 => (addr, libc::MAP_FIXED),
            _ if flags & libc::SHM_RND != 0 => (addr & !(PAGE - 1), libc::MAP_FIXED_NOREPLACE),
            _ => (addr, libc::MAP_FIXED_NOREPLACE),
        };
        let write = if flags & libc::SHM_RDONLY == 0 { libc::PROT_WRITE } else { 0 };
        let exec = if flags & libc::SHM_EXEC != 0 { libc::PROT_EXEC } else { 0 };
        let prot = (libc::PROT_READ | write | exec) as u64;
        let mut plan = self.plan(place as i64);
        let how = how | libc::MAP_SHARED;
        plan.calls[0] = map_call(place, len, prot, how, shadow::extent(object, 0));
        plan.count = 1;
        self.by_plan(t, plan)
    }

    fn detach_again(&mut self, t: usize, outside: u64) -> Outcome {
        self.request_then(t, op::DETACH, [outside, 0, 0, 0, 0, 0], UNDO);
        Outcome::Wait
    }

    /// How often the program's processes have a segment attached.
    fn own_attachments(&self, id: i32) -> u64 {
        let processes = (0..self.tasks()).map(|t| self.arena.task(t));
        processes
            .enumerate()
            .filter(|(t, x)| matches!(x.used, 2..) && x.leader as usize == *t)
            .map(|(_, x)| maps::segments(x.tgid).iter().filter(|s| s.1 == id as u64).count() as u64)
            .sum()
    }

    /// The object of a segment: as it is in use, or new and filled.
    fn segment_object(&mut self, t: usize, id: i32) -> Result<usize, Outcome> {
        let file = [0, id as u64];
        if let Some(o) = self.object_of_file(kind::SEGMENT, file) {
            if self.must_unite(t, o) {
                return Err(Outcome::Wait);
            }
            self.map_again(t, o);
            return Ok(o);
        }
        let o = self.new_object(t, kind::SEGMENT, file)?;
        if let Some(outside) = self.outside_of(o) {
            self.fill_extents(o, &outside);
        }
        self.use_object(o);
        Ok(o)
    }

    /// shmdt(2).
    fn detach(&mut self, t: usize, at: u64) -> Outcome {
        let all = self.of_a_winner(t, maps::shadows).unwrap_or_default();
        let mapping = all.into_iter().find(|m| m.range.start == at);
        let owner = mapping.map(|m| (shadow::owner(m.offset), m.offset % shadow::EXTENT));
        let Some(((o, _), 0)) = owner else { return failed(libc::EINVAL) };
        let object = *self.arena.object(o);
        if object.state != ostate::USED || object.kind != kind::SEGMENT {
            return failed(libc::EINVAL);
        }
        if self.arena.task(t).step == 0
            && let Some(outside) = self.attached_outside(t, Some(object.file[1]))
        {
            self.request_then(t, op::PERFORM, [outside, 0, 0, 0, 0, 0], OUTSIDE);
            return Outcome::Wait;
        }
        if self.arena.task(t).step == OUTSIDE && self.taken(t).is_none() {
            return Outcome::Wait;
        }
        let mut plan = self.plan(0);
        let len = object.size.next_multiple_of(PAGE);
        plan.calls[0] = [libc::SYS_munmap as u64, at, len, 0, 0, 0, 0];
        plan.count = 1;
        self.by_plan(t, plan)
    }

    /// Where the outside of a task has a segment attached, this one or any.
    fn attached_outside(&self, t: usize, id: Option<u64>) -> Option<u64> {
        let attached = maps::segments(self.arena.task(t).tgid);
        attached.iter().find(|s| id.is_none_or(|id| s.1 == id)).map(|s| s.0)
    }

    /// execve(2): attached segments are detached. False while that is under way.
    pub(in crate::dispatcher) fn detach_for_exec(&mut self, t: usize) -> bool {
        if self.arena.task(t).step == process_steps::DETACHING {
            if self.taken(t).is_none() {
                return false;
            }
            self.arena.task(t).step = process_steps::EXEC;
        }
        let task = self.arena.task(t);
        if task.shares == 0 || task.step != process_steps::EXEC {
            return true;
        }
        let Some(outside) = self.attached_outside(t, None) else { return true };
        let args = [outside, 0, 0, 0, 0, 0];
        self.request_then(t, op::DETACH, args, process_steps::DETACHING);
        false
    }
}
