//! mremap(2) over several mappings that would be one without us: the kernel does not unite a new mapping with the
//! one beside it if the writes to that are watched (`look`), nor in a process that was forked, as a replica is
//! that was repaired or rolled back; and refuses to grow or move what is not one mapping.
//!
//! ```text
//!   EFAULT ─► alike but for that? ─► the last one grows, or each is moved beside the one before ─► as if it were one
//! ```
//!
//! Invariant: what the kernel allows it does itself. If a part of a move fails what was moved goes back.

use chameleon_sys::Result;
use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::Regs;

use super::Tracer;
use crate::arena::Job;
use crate::maps::{self, Range};

const FAULT: i64 = -(libc::EFAULT as i64);
const PAGE: u64 = 4096;

impl Tracer {
    /// Answers the call of a job, an mremap(2), and makes it.
    pub(super) fn remap_joined(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let ret = match self.remap_at(job.pid, &regs, job.args)? {
            FAULT => self.remap_all(job.pid, &regs, job.args)?,
            ret => ret,
        };
        self.end_with(i, job, regs, ret)
    }

    fn remap_at(&mut self, pid: u32, regs: &Regs, args: [u64; 6]) -> Result<i64> {
        self.call_at(pid, regs, WINDOW, libc::SYS_mremap, args)
    }

    /// The same, part by part: the result of the call.
    fn remap_all(&mut self, pid: u32, regs: &Regs, args: [u64; 6]) -> Result<i64> {
        let page = |n: u64| n.saturating_add(PAGE - 1) & !(PAGE - 1);
        let [old, old_len, new_len, flags, to, _] = args;
        let (old_len, new_len) = (page(old_len), page(new_len));
        let parts = maps::alike(pid, old..old.saturating_add(old_len));
        let [_, .., last] = parts[..] else { return Ok(FAULT) };
        let [fixed, keeps] =
            [libc::MREMAP_FIXED, libc::MREMAP_DONTUNMAP].map(|flag| flags & flag as u64 != 0);
        if !fixed && !keeps {
            let grown = last.len() + new_len.saturating_sub(old_len);
            let got = self.remap_at(pid, regs, [last.start, last.len(), grown, 0, 0, 0])?;
            if got as u64 == last.start {
                return Ok(old as i64);
            }
            if flags & libc::MREMAP_MAYMOVE as u64 == 0 {
                return Ok(got);
            }
        }
        let to = match fixed {
            true => to,
            // Where the kernel would put it.
            false => {
                let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
                let args = [0, new_len, libc::PROT_NONE as u64, kind as u64, u64::MAX, 0];
                match self.call_at(pid, regs, WINDOW, libc::SYS_mmap, args)? {
                    error @ -4095..0 => return Ok(error),
                    at => at as u64,
                }
            }
        };
        self.move_parts(pid, regs, &parts, [old, old_len, new_len, flags, to])
    }

    fn move_parts(
        &mut self,
        pid: u32,
        regs: &Regs,
        parts: &[Range],
        [old, old_len, new_len, flags, to]: [u64; 5],
    ) -> Result<i64> {
        let how = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
        let kept = flags & libc::MREMAP_DONTUNMAP as u64;
        let unmap = |from: u64, to: u64| [from, to.saturating_sub(from), 0, 0, 0, 0];
        let mut error = None;
        let mut moved: Vec<[u64; 3]> = Vec::new();
        for (which, part) in parts.iter().enumerate() {
            let within = part.start - old;
            if within >= new_len {
                break;
            }
            let room = new_len - within;
            let last = which + 1 == parts.len();
            let (from, len) = (part.start, part.len().min(room));
            let wanted = if last { room } else { len };
            let args = [from, len, wanted, how | kept, to + within, 0];
            let got = self.remap_at(pid, regs, args)?;
            if got as u64 != to + within {
                error = Some(got);
                break;
            }
            moved.push([from, len, to + within]);
        }
        if let Some(error) = error {
            for [from, len, at] in moved {
                self.remap_at(pid, regs, [at, len, len, how, from, 0])?;
            }
            self.call_at(pid, regs, WINDOW, libc::SYS_munmap, unmap(to, to + new_len))?;
            return Ok(error);
        }
        if new_len < old_len {
            let rest = unmap(old + new_len, old + old_len);
            self.call_at(pid, regs, WINDOW, libc::SYS_munmap, rest)?;
        }
        Ok(to as i64)
    }
}
