//! Shared memory of replicas: mapping the shadow file, and giving a copy of a replica memory of its
//! own.
//!
//! Invariant: a replica runs with mappings of its own extents only.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::Regs;
use chameleon_sys::{Errno, Error, Result, fd, process, shadow};

use super::Tracer;
use crate::arena::{Job, Plan, commit, ostate};
use crate::maps;

/// Bytes copied at once.
const STEP: usize = 256 << 10;

impl Tracer {
    /// Answers the call of a job and has its replica make the calls of a plan.
    pub(super) fn remap(&mut self, i: usize, job: &Job) -> Result<()> {
        let plan = *self.arena.region.record::<Plan>(job.args[0] as usize);
        self.hold(&plan);
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let mut ret = plan.ret;
        for [nr, args @ ..] in &plan.calls[..plan.count as usize] {
            let mut args = *args;
            if *nr == libc::SYS_mmap as u64 {
                args[5] += u64::from(job.replica) * shadow::EXTENT;
            }
            let got = self.call_at(job.pid, &regs, WINDOW, *nr as i64, args)?;
            if (-4095..0).contains(&got) {
                ret = got;
                break;
            }
        }
        self.end_with(i, job, regs, ret)
    }

    /// The replica of a job, stopped behind its call, goes on with this result; copies are made of it there.
    pub(super) fn end_with(&mut self, i: usize, job: &Job, mut regs: Regs, ret: i64) -> Result<()> {
        regs.rax = ret as u64;
        if job.copies != 0 && self.arena.task(job.task as usize).group != 0 {
            return self.freeze_behind(i, job, regs);
        }
        let made = self.copies_behind(job, &regs);
        self.go_on(i, job.pid, &regs, made)
    }

    /// Holds the file of an object for as long as it is mapped, so that a dispatcher can come to it
    /// when the program has closed it and another one is in charge.
    fn hold(&mut self, plan: &Plan) {
        let Some(o) = plan.object.checked_sub(1) else { return };
        let object = self.arena.object(o as usize);
        if object.held != 0 {
            return;
        }
        let file = shadow::open_again(plan.owner, plan.number).or_else(|| {
            let pidfd = fd::pidfd(plan.owner).ok()?;
            let copy = fd::take(pidfd, plan.number).ok();
            fd::close(pidfd);
            copy
        });
        object.held = file.map_or(0, |f| f as u32 + 1);
    }

    /// The object is being given back: its file is not held any longer.
    pub(super) fn let_go_of(&mut self, o: usize) {
        let object = self.arena.object(o);
        if object.state != ostate::GOING {
            return;
        }
        if let Some(number) = std::mem::take(&mut object.held).checked_sub(1) {
            fd::close(number as i32);
        }
        commit();
        object.state = ostate::FREE;
    }

    /// Gives a copy that was made of replica `from` shared memory of its own, as that of replica `to`
    /// with the same content. Both are stopped. `filled` are the objects that have it already, because
    /// another process of that replica has been given it.
    pub(super) fn own_shared_memory(
        &mut self,
        pid: u32,
        regs: &Regs,
        from: usize,
        to: usize,
        filled: &mut Vec<usize>,
    ) -> Result<()> {
        let outcome = self.map_own_extents(pid, regs, [from, to], filled);
        if outcome.is_err() {
            process::kill(pid, libc::SIGKILL); // it must not run in another's memory
        }
        outcome
    }

    /// Fills the extents of a new replica `to` of objects that its processes, which have the identity `shares`, have
    /// unmapped by now: what is agreed on, as all of it went out with that. A place that was filled for the
    /// first time has nothing of them, or what was there long ago.
    pub(super) fn fill_unmapped(&self, shares: u32, to: usize, filled: &[usize]) -> Result<()> {
        let Some(file) = shadow::file().filter(|_| shares != 0) else { return Ok(()) };
        for o in (0..self.arena.header().objects as usize).filter(|o| !filled.contains(o)) {
            let object = self.arena.object(o);
            if object.state == ostate::USED && object.group == shares {
                let [from, to] = [shadow::BASE, to as u64].map(|place| shadow::extent(o, place));
                copy_extent(file, from, to)?;
            }
        }
        Ok(())
    }

    fn map_own_extents(
        &mut self,
        pid: u32,
        regs: &Regs,
        [from, to]: [usize; 2],
        filled: &mut Vec<usize>,
    ) -> Result<()> {
        let Some(file) = shadow::file() else { return Ok(()) };
        for m in maps::shadows(pid) {
            let (object, place) = shadow::owner(m.offset);
            if place != from as u64 {
                continue;
            }
            if !filled.contains(&object) {
                filled.push(object);
                copy_extent(
                    file,
                    shadow::extent(object, place),
                    shadow::extent(object, to as u64),
                )?;
            }
            let offset =
                m.offset - shadow::extent(object, place) + shadow::extent(object, to as u64);
            let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
            let number = shadow::file_in_replica() as u64;
            let args = [m.range.start, m.range.len(), m.prot as u64, flags, number, offset];
            let got = self.call_at(pid, regs, WINDOW, libc::SYS_mmap, args)?;
            if got as u64 != m.range.start {
                let errno = Errno::from_raw(-got as i32);
                return Err(Error { operation: "mapping shared memory of a copy", errno });
            }
        }
        Ok(())
    }
}

/// Makes the extent at `to` equal to that at `from`.
fn copy_extent(file: i32, from: u64, to: u64) -> Result<()> {
    shadow::clear(file, to, shadow::EXTENT);
    let end = from + shadow::EXTENT;
    let mut buffer = vec![0; STEP];
    let mut at = from;
    while let Some(start) = shadow::next_data(file, at, end) {
        let stop = shadow::next_hole(file, start, end);
        at = start;
        while at < stop {
            let part = &mut buffer[..(stop - at).min(STEP as u64) as usize];
            shadow::read(file, at, part);
            shadow::write(file, at - from + to, part)?;
            at += part.len() as u64;
        }
    }
    Ok(())
}
