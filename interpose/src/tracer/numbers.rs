//! Random numbers of the processor (rdrand, rdseed): the instructions are made to trap in each
//! replica, and answered from one sequence a task.
//!
//! When code of a file comes into a replica, before any of it runs: the program and its loader at
//! the end of an exec, a library in the call that maps it (the dispatcher lets that one be
//! answered here, see `job::PATCH`). A single replica draws its numbers itself.
//!
//! Invariant: only an instruction that was put here is ever answered here; a program's own UD2 is
//! its own. Replicas of one task have the same code at the same addresses, so one record serves.

use std::collections::BTreeSet;
use std::fs::File;

use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Errno, Error, Result, fd, memory, notify, raw};

use super::{Patches, Tracer};
use crate::arena::Job;
use crate::maps::{self, Range};
use crate::rdrand::Draw;

impl Tracer {
    /// A replica has executed a program, at the task's `exec`-th exec: all of them have the same
    /// code at the same addresses, so it is looked through in the first only.
    pub(super) fn patch_image(&mut self, pid: u32, task: usize, exec: u32) {
        if self.arena.header().lockstep == 0 {
            return;
        }
        let ordinal = self.arena.task(task).ordinal;
        let known = self.patched.get(&ordinal).filter(|p| p.exec == exec);
        if known.is_none() {
            let at = self.drawing_code(pid);
            self.patched.insert(ordinal, Patches { exec, at });
        }
        for at in &self.patched[&ordinal].at {
            // What cannot be changed stays: the replicas then differ, as they would have.
            let _ = patch(pid, *at);
        }
    }

    /// Where random numbers are drawn in the code that a process has of files.
    fn drawing_code(&mut self, pid: u32) -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        for code in maps::code(pid) {
            let sites = self.sites.of_path(&code.path, code.inode);
            all.extend(addresses(&sites, code.range, code.offset));
        }
        all
    }

    /// A replica maps a file that draws random numbers: lets it, and stops it right behind.
    /// `args` are those of mmap(2).
    pub(super) fn patch_mapping(&mut self, i: usize, job: &Job) -> Result<()> {
        let [_, len, _, _, number, offset] = job.args;
        let regs = self.stop_behind(job, || notify::let_continue(job.listener as i32, job.id))?;
        let failed = (-4095..0).contains(&(regs.rax as i64));
        if !failed && let Some(file) = lent(job.pid, number as i32) {
            let sites = self.sites.of_file(&file, &mut || {});
            let range = Range { start: regs.rax, end: regs.rax.saturating_add(len) };
            let ordinal = self.arena.task(job.task as usize).ordinal;
            let record = self.patched.entry(ordinal).or_default();
            for at in addresses(&sites, range, offset) {
                if patch(job.pid, at).is_ok() {
                    record.at.insert(at);
                }
            }
        }
        let regs = Regs { orig_rax: u64::MAX, ..regs };
        let made = self.copies_behind(job, &regs);
        self.go_on(i, job.pid, &regs, made)
    }

    /// A new process has the code of its parent.
    pub(super) fn inherit_patches(&mut self, parent: usize, child: usize) {
        if let Some(p) = self.patched.get(&self.arena.task(parent).ordinal) {
            let patches = Patches { exec: 0, at: p.at.clone() };
            self.patched.entry(self.arena.task(child).ordinal).or_insert(patches);
        }
    }

    /// SIGILL: a replica draws a random number. The first replica to ask decides.
    pub(super) fn random_number(&mut self, pid: u32) -> bool {
        let Ok(mut r) = tracee::regs(pid) else { return false };
        let mut code = [0u8; 8];
        let n = memory::read_some(pid, r.rip, &mut code);
        let Some(draw) = Draw::decode(&code[..n]) else { return false };
        let Some(t) = self.tracees.get_mut(&pid) else { return false };
        let key = self.arena.task(t.task).ordinal;
        if !self.patched.get(&key).is_some_and(|p| p.at.contains(&(r.rip + draw.opcode))) {
            return false;
        }
        let (task, mut decided) = (t.task, 0);
        let value = self.numbers.entry(key).or_default().at(t.read.numbers, || {
            decided += 1;
            let mut value = 0u64;
            raw::random(bytemuck::bytes_of_mut(&mut value));
            value
        });
        t.read.numbers += 1;
        self.note_drawn(task, decided);
        give(&mut r, &draw, value);
        let _ = tracee::set_regs(pid, &r);
        let _ = tracee::resume(pid, 0);
        true
    }
}

/// The file behind a descriptor of a replica.
fn lent(pid: u32, number: i32) -> Option<File> {
    let pidfd = fd::pidfd(pid).ok()?;
    let copy = fd::take(pidfd, number);
    fd::close(pidfd);
    copy.ok().map(|c| File::from(fd::owned(c)))
}

/// The addresses of those `sites` of a file that are in the part mapped to `range` from `offset` on.
fn addresses(sites: &[u64], range: Range, offset: u64) -> impl Iterator<Item = u64> {
    let inside = sites.iter().filter(move |s| **s >= offset && **s - offset < range.len());
    inside.map(move |s| range.start + (s - offset))
}

/// Makes the instruction whose opcode is at `at` in a stopped replica trap. An error if it is not
/// what the file has there.
fn patch(pid: u32, at: u64) -> Result<()> {
    let mut code = [0u8; 3];
    memory::read(pid, at, &mut code)?;
    if !matches!(code, [0x0f, 0xc7, 0xf0..=0xff]) {
        return Err(Error { operation: "changing code", errno: Errno::EFAULT });
    }
    let word = (at + 1) & !7; // within one page
    let mut bytes = tracee::peek(pid, word)?.to_le_bytes();
    bytes[(at + 1 - word) as usize] = 0x0b;
    tracee::poke(pid, word, u64::from_le_bytes(bytes))
}

/// Intel SDM, RDRAND and RDSEED: the register, CF = 1 (there is a number), the other flags 0.
fn give(r: &mut Regs, draw: &Draw, value: u64) {
    const CARRY: u64 = 1;
    const OTHERS: u64 = 0x8d4; // OF, SF, ZF, AF, PF
    let to = register(r, draw.register);
    *to = match draw.bits {
        16 => *to & !0xffff | value & 0xffff,
        32 => value & 0xffff_ffff,
        _ => value,
    };
    r.eflags = r.eflags & !OTHERS | CARRY;
    r.rip += draw.len;
}

/// A register by its number in the processor.
fn register(r: &mut Regs, number: usize) -> &mut u64 {
    match number {
        0 => &mut r.rax,
        1 => &mut r.rcx,
        2 => &mut r.rdx,
        3 => &mut r.rbx,
        4 => &mut r.rsp,
        5 => &mut r.rbp,
        6 => &mut r.rsi,
        7 => &mut r.rdi,
        8 => &mut r.r8,
        9 => &mut r.r9,
        10 => &mut r.r10,
        11 => &mut r.r11,
        12 => &mut r.r12,
        13 => &mut r.r13,
        14 => &mut r.r14,
        _ => &mut r.r15,
    }
}
