//! A process made of an image: a replica that has just executed the same program, and stands at its first
//! instruction, loses all its memory but the window and gets that of the image.
//!
//! ```text
//!   booted ─► unmapped ─► heap and arguments placed ─► ranges mapped ─► pages written ─► handlers, stacks, registers
//! ```
//!
//! Invariant: it does not run before everything is in place. What differs from the machine of the image
//! (where the vDSO is) is not used by the program: calls of the vDSO are made outside.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use chameleon_ckpt::PAGE;
use chameleon_ckpt::image::{Advice, Backing, Memory, Process, Range, Thread};
use chameleon_ckpt::read::{Chain, Piece};
use chameleon_ckpt::source::Space;
use chameleon_sys::filter::WINDOW;
use chameleon_sys::rights::{self, Capabilities};
use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{describe, schedule, shadow};

use super::Tracer;
use super::agree::yielding;
use crate::maps;

/// Where arguments of injected calls are put: behind the code of the window's page.
pub(super) const SCRATCH: u64 = WINDOW + 0x200;
const SCRATCH_LEN: usize = PAGE - 0x200;
/// The kernel's own addresses begin here.
const KERNEL: u64 = 1 << 63;
/// Zeros, to be written over what a file has.
const ZEROS: [u8; PAGE] = [0; PAGE];

type Outcome<T> = Result<T, String>;

/// A replica that is being filled.
struct Renewed<'a> {
    tracer: &'a mut Tracer,
    pid: u32,
    /// Its registers as it stood at the program's first instruction.
    regs: Regs,
}

impl Tracer {
    /// Makes replica `pid` of task `t` the process at place `which` of the image, with its first thread.
    pub(super) fn renew(
        &mut self,
        pid: u32,
        t: usize,
        chain: &mut Chain,
        which: usize,
    ) -> Outcome<()> {
        let process = chain.image().processes.get(which).cloned();
        let process = process.ok_or("the image has no such process")?;
        let first = usize::from(process.first_has_ended());
        let thread = process.threads.get(first).cloned().ok_or("the image has no thread")?;
        let regs = tracee::regs(pid).map_err(|e| e.to_string())?;
        let regs = Regs { orig_rax: u64::MAX, ..regs };
        let mut one = Renewed { tracer: self, pid, regs };
        let left = one.unmap()?;
        one.place(&process.memory)?;
        one.map(&process.memory, &left)?;
        one.fill(&process, chain)?;
        one.settle(&process)?;
        let ordinal = self.arena.task(t).ordinal;
        self.patched.remove(&ordinal);
        self.patch_image(pid, t, 0);
        self.renew_thread((pid, regs), &thread)
    }

    /// Makes thread `pid` one of the image; it was stopped with `regs`, and its process is as it
    /// is to be.
    pub(super) fn renew_thread(
        &mut self,
        (pid, regs): (u32, Regs),
        thread: &Thread,
    ) -> Outcome<()> {
        Renewed { tracer: self, pid, regs }.settle_thread(thread)?;
        let saved: &[u8; size_of::<Regs>()] =
            thread.registers.as_slice().try_into().map_err(|_| {
                format!("the image has {} bytes of registers", thread.registers.len())
            })?;
        let regs = Regs { orig_rax: u64::MAX, ..tracee::registers_of(saved) };
        let regs = match thread.interrupted {
            true => {
                self.interrupt(pid, regs);
                yielding(regs)
            }
            false => regs,
        };
        tracee::set_regs(pid, &regs).map_err(|e| e.to_string())
    }
}

impl Renewed<'_> {
    /// A call of the replica; a negative answer is an error that says what it was for.
    fn call(&mut self, what: &str, nr: i64, args: [u64; 6]) -> Outcome<u64> {
        match self.raw(nr, args)? {
            ret if (-4095..0).contains(&ret) => {
                let errno = chameleon_sys::Errno::from_raw(-ret as i32);
                Err(format!("{what}: {errno}"))
            }
            ret => Ok(ret as u64),
        }
    }

    fn raw(&mut self, nr: i64, args: [u64; 6]) -> Outcome<i64> {
        let regs = self.regs;
        self.tracer.call_at(self.pid, &regs, WINDOW, nr, args).map_err(|e| e.to_string())
    }

    /// Puts bytes where a call can read them.
    fn put(&self, bytes: &[u8]) -> Outcome<()> {
        if bytes.len() > SCRATCH_LEN {
            return Err(format!("{} bytes are too many for one argument", bytes.len()));
        }
        tracee::poke_bytes(self.pid, SCRATCH, bytes).map_err(|e| e.to_string())
    }

    /// Takes everything away but the window; what cannot be (a vDSO that is sealed).
    fn unmap(&mut self) -> Outcome<Vec<maps::Range>> {
        let mut left = Vec::new();
        for line in maps::lines(self.pid) {
            let range = line.range;
            if range.start == WINDOW || range.start >= KERNEL {
                continue;
            }
            let args = [range.start, range.len(), 0, 0, 0, 0];
            if self.raw(libc::SYS_munmap, args)? != 0 {
                left.push(range);
            }
        }
        Ok(left)
    }

    /// Says where heap, arguments and environment are (prctl(2), PR_SET_MM_MAP, which needs no rights).
    fn place(&mut self, memory: &Memory) -> Outcome<()> {
        let at = crate::maps::stat(self.pid);
        let auxv = SCRATCH + 0x100;
        let none = u64::from(u32::MAX) << 32;
        let map = [
            at(26),
            at(27),
            at(45),
            at(46),
            memory.brk.0,
            memory.brk.1,
            at(28),
            memory.arguments.0,
            memory.arguments.1,
            memory.environment.0,
            memory.environment.1,
            auxv,
            memory.auxv.len() as u64 | none,
        ];
        let mut bytes: Vec<u8> = map.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let len = bytes.len() as u64;
        bytes.resize(0x100, 0);
        bytes.extend(&memory.auxv);
        self.put(&bytes)?;
        let args = [libc::PR_SET_MM as u64, libc::PR_SET_MM_MAP as u64, SCRATCH, len, 0, 0];
        if self.raw(libc::SYS_prctl, args)? == 0 {
            return Ok(());
        }
        // Without it (CONFIG_CHECKPOINT_RESTORE) the heap begins where the same program's does.
        let now = self.raw(libc::SYS_brk, [0; 6])? as u64;
        if now != memory.brk.0 {
            return Err(format!(
                "the heap would begin at {now:#x} and not at {:#x}, and this kernel does not place it \
                 (PR_SET_MM_MAP)",
                memory.brk.0
            ));
        }
        let got = self.call("brk", libc::SYS_brk, [memory.brk.1, 0, 0, 0, 0, 0])?;
        if got == memory.brk.1 { Ok(()) } else { Err("there is no memory for the heap".to_owned()) }
    }

    fn map(&mut self, memory: &Memory, left: &[maps::Range]) -> Outcome<()> {
        let mut open: Option<(&[u8], u64)> = None;
        for range in &memory.ranges {
            if let Some(taken) = left.iter().find(|l| l.start < range.end && range.start < l.end) {
                return Err(format!(
                    "the kernel has its own pages at {:#x}, where the program had memory",
                    taken.start
                ));
            }
            let fixed = (libc::MAP_FIXED as u32 | range.flags) as u64;
            let (kind, offset) = match &range.backing {
                Backing::Anonymous => (fixed | (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64, 0),
                Backing::File { file, offset, private } => {
                    if open.is_none_or(|(path, _)| path != file.path) {
                        if let Some((_, number)) = open.take() {
                            self.raw(libc::SYS_close, [number, 0, 0, 0, 0, 0])?;
                        }
                        let number = self.open(&file.path)?;
                        open = Some((&file.path, number));
                    }
                    let kind = if *private { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
                    (fixed | kind as u64, *offset)
                }
                Backing::Shared { object, offset } => {
                    (fixed | libc::MAP_SHARED as u64, shadow::extent(*object as usize, 0) + *offset)
                }
                Backing::Special(_) => continue,
            };
            let number = match (&range.backing, open) {
                (Backing::File { .. }, Some((_, number))) => number,
                (Backing::Shared { .. }, _) => shadow::file_in_replica() as u64,
                _ => u64::MAX,
            };
            let len = range.end - range.start;
            let what = format!("memory at {:#x}", range.start);
            let args = [range.start, len, u64::from(range.prot), kind, number, offset];
            self.call(&what, libc::SYS_mmap, args)?;
            self.advise(range)?;
        }
        if let Some((_, number)) = open {
            self.raw(libc::SYS_close, [number, 0, 0, 0, 0, 0])?;
        }
        Ok(())
    }

    fn open(&mut self, path: &[u8]) -> Outcome<u64> {
        let mut bytes = path.to_vec();
        bytes.push(0);
        self.put(&bytes)?;
        let shown = String::from_utf8_lossy(path);
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
        self.call(&shown, libc::SYS_open, [SCRATCH, flags, 0, 0, 0, 0])
    }

    /// Advice that the kernel does not take now (huge pages that it has not) stays without effect.
    fn advise(&mut self, range: &Range) -> Outcome<()> {
        let Advice { dont_fork, wipe_on_fork, dont_dump, huge, mergeable, sequential } =
            range.advice;
        let all = [
            dont_fork.then_some(libc::MADV_DONTFORK),
            wipe_on_fork.then_some(libc::MADV_WIPEONFORK),
            dont_dump.then_some(libc::MADV_DONTDUMP),
            huge.map(|on| if on { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE }),
            mergeable.then_some(libc::MADV_MERGEABLE),
            sequential.map(|on| if on { libc::MADV_SEQUENTIAL } else { libc::MADV_RANDOM }),
        ];
        let len = range.end - range.start;
        for advice in all.into_iter().flatten() {
            self.raw(libc::SYS_madvise, [range.start, len, advice as u64, 0, 0, 0])?;
        }
        Ok(())
    }

    /// Writes the pages that the image has.
    fn fill(&mut self, process: &Process, chain: &mut Chain) -> Outcome<()> {
        let path = format!("/proc/{}/mem", self.pid);
        let memory = OpenOptions::new().write(true).open(&path);
        let memory = memory.map_err(|e| format!("{path}: {e}"))?;
        let header = self.tracer.arena.header();
        let mut failed = None;
        let own = |range: &&Range| !matches!(range.backing, Backing::Shared { .. });
        for range in process.memory.ranges.iter().filter(own) {
            let file = matches!(range.backing, Backing::File { .. });
            let write = |at: u64, bytes: &[u8]| put_at(&memory, at, bytes);
            let read =
                chain.read(Space::Process(process.pid), range.start, range.end, |at, piece| {
                    let done = match piece {
                        Piece::Data(bytes) => {
                            header.restored += bytes.len() as u64;
                            write(at, bytes)
                        }
                        Piece::Zero(pages) if file => {
                            (0..pages).try_for_each(|page| write(at + page * PAGE as u64, &ZEROS))
                        }
                        _ => Ok(()),
                    };
                    failed = failed.take().or(done.err());
                });
            read.map_err(|e| e.to_string())?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// What a process has beside memory and threads.
    fn settle(&mut self, process: &Process) -> Outcome<()> {
        for signal in (1..=64u32).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(&(*s as i32)))
        {
            let said = process.dispositions.iter().find(|one| one.signal == signal);
            let words = said.map_or([0; 4], |d| [d.handler, d.flags, d.restorer, d.mask]);
            self.put(bytemuck::bytes_of(&words))?;
            let args = [u64::from(signal), SCRATCH, 0, 8, 0, 0];
            self.call("a signal's handler", libc::SYS_rt_sigaction, args)?;
        }
        self.settle_rights(process)?;
        for limit in &process.limits {
            // One above what may be had here stays as it is.
            let _ = describe::set_limit(self.pid, limit.resource, limit.soft, limit.hard);
        }
        Ok(())
    }

    /// Rights and habits, as its outside has them (`chameleon_sys::rights`); what may not be had stays as it is.
    fn settle_rights(&mut self, process: &Process) -> Outcome<()> {
        let who = &process.credentials;
        let prctl = |option: i32, a: u64, b: u64| [option as u64, a, b, 0, 0, 0];
        self.put(bytemuck::cast_slice(&who.groups))?;
        self.raw(libc::SYS_setgroups, [who.groups.len() as u64, SCRATCH, 0, 0, 0, 0])?;
        let sets = &who.capabilities;
        for one in (0..64).filter(|one| sets.bounding >> one & 1 == 0) {
            self.raw(libc::SYS_prctl, prctl(libc::PR_CAPBSET_DROP, one, 0))?;
        }
        let own = rights::of(self.pid).unwrap_or_default();
        let permitted = sets.permitted & own.permitted;
        self.put(&rights::records(Capabilities {
            effective: sets.effective & permitted,
            permitted,
            inheritable: sets.inheritable & (own.inheritable | own.permitted),
        }))?;
        self.raw(libc::SYS_capset, [SCRATCH, SCRATCH + 8, 0, 0, 0, 0])?;
        let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
        for one in (0..64).filter(|one| sets.ambient >> one & 1 != 0) {
            self.raw(libc::SYS_prctl, prctl(libc::PR_CAP_AMBIENT, raise, one))?;
        }
        if process.no_huge_pages {
            self.raw(libc::SYS_prctl, prctl(libc::PR_SET_THP_DISABLE, 1, 0))?;
        }
        if who.no_new_privs {
            self.raw(libc::SYS_prctl, prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0))?;
        }
        let persona = process.personality | libc::ADDR_NO_RANDOMIZE as u64;
        self.raw(libc::SYS_personality, [persona, 0, 0, 0, 0, 0])?;
        // membarrier(2): what it has registered for is a bit of the mask each.
        for one in (0..32).map(|bit| 1 << bit).filter(|one| process.barriers & one != 0) {
            self.raw(libc::SYS_membarrier, [one.into(), 0, 0, 0, 0, 0])?;
        }
        for (start, end) in &process.locked {
            self.raw(libc::SYS_mlock, [*start, end - start, 0, 0, 0, 0])?;
        }
        Ok(())
    }

    /// Everything of a thread but its registers.
    fn settle_thread(&mut self, thread: &Thread) -> Outcome<()> {
        let stack = thread.alt_stack;
        if stack.flags & libc::SS_DISABLE as u32 == 0 {
            let flags = u64::from(stack.flags & !(libc::SS_ONSTACK as u32));
            self.put(bytemuck::bytes_of(&[stack.base, flags, stack.size]))?;
            let args = [SCRATCH, 0, 0, 0, 0, 0];
            self.call("the stack of signal handlers", libc::SYS_sigaltstack, args)?;
        }
        if thread.robust_list.head != 0 {
            let list = thread.robust_list;
            let args = [list.head, list.len, 0, 0, 0, 0];
            self.call("its robust futexes", libc::SYS_set_robust_list, args)?;
        }
        if thread.clear_child_tid != 0 {
            self.raw(libc::SYS_set_tid_address, [thread.clear_child_tid, 0, 0, 0, 0, 0])?;
        }
        let mut name = thread.name.clone();
        name.resize(16, 0);
        self.put(&name)?;
        self.raw(libc::SYS_prctl, [libc::PR_SET_NAME as u64, SCRATCH, 0, 0, 0, 0])?;
        self.put(&[0xcc; SCRATCH_LEN])?;
        if let Some(nice) = schedule::nice_of(&thread.schedule.attributes) {
            schedule::set_nice(self.pid, nice);
        }
        let text = |e: chameleon_sys::Error| e.to_string();
        // A CPU with more features has more state; what the program never had is as at its start.
        let room = tracee::extended_state(self.pid).map_err(text)?.len();
        let mut state = thread.extended.clone();
        state.resize(room.max(state.len()), 0);
        tracee::set_extended_state(self.pid, &state).map_err(text)?;
        tracee::set_signal_mask(self.pid, thread.blocked).map_err(text)
    }
}

fn put_at(memory: &File, at: u64, bytes: &[u8]) -> Outcome<()> {
    memory.write_all_at(bytes, at).map_err(|e| format!("memory at {at:#x}: {e}"))
}
