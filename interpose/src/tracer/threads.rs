//! Repair with threads: a fork copies one thread, the others are made again in the copy, each at
//! the call at which its twin waits.
//!
//! Invariant: asked for only while every thread of the donor waits at a call and none is about to
//! be answered. Each of them makes its call again afterwards, in the donor and in the copies.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Errno, Error, Result, memory, notify};

use super::jobs::PLAIN_COPY;
use super::{Read, Tracer};
use crate::arena::{Job, Replica, commit, rstate};

/// How a thread of a copy is cloned: as pthread_create(3) does, without what its registers and the
/// dispatcher bring.
const LIKE_A_THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;
const CLEARS: u64 = libc::CLONE_CHILD_CLEARTID as u64;
/// Kernel-internal: restart the call whatever the handler's flags (include/linux/errno.h).
const ERESTARTNOINTR: i64 = 513;
/// Below the stack pointer, out of the red zone (System V ABI, 3.2.2).
const SCRATCH: u64 = 1024;

/// What there is to a thread beside its memory.
#[derive(Debug)]
struct Context {
    task: usize,
    pid: u32,
    regs: Regs,
    extended: Vec<u8>,
    mask: u64,
    /// `stack_t`, if it has an alternate stack (sigaltstack(2)).
    stack: Option<[u64; 3]>,
    clears: u64,
    read: Read,
    /// Where it goes on behind the call, if it was preempted.
    interrupted: Option<Regs>,
}

impl Tracer {
    /// Makes the copies. The first thread is stopped already if its registers are given.
    pub(super) fn copy_threads(
        &mut self,
        i: usize,
        job: &Job,
        stopped: Option<Regs>,
    ) -> Result<()> {
        let (first, from) = (job.task as usize, job.replica as usize);
        let group = self.arena.task(first).group;
        let members: Vec<usize> = (0..self.arena.header().tasks as usize)
            .filter(|o| {
                let x = self.arena.task(*o);
                x.used == 2 && x.group == group && x.exiting == 0 && *o != first
            })
            .collect();
        let mut all = Vec::with_capacity(members.len() + 1);
        all.push(match stopped {
            Some(regs) => self.context_of(first, job.pid, regs)?,
            None => self.context(first, from)?,
        });
        for t in members {
            all.push(self.context(t, from)?);
        }
        let mut made = Vec::new();
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            let flags = PLAIN_COPY | if all[0].clears != 0 { CLEARS } else { 0 };
            let args = [flags, 0, 0, all[0].clears, 0];
            let leader = self.clone_in(all[0].pid, &all[0].regs, args)?.child;
            made.push(leader);
            let regs = all[0].regs;
            self.own_shared_memory(leader, &regs, from, replica)?;
            for c in &all[1..] {
                let flags = LIKE_A_THREAD | if c.clears != 0 { CLEARS } else { 0 };
                let child = self.clone_in(leader, &regs, [flags, 0, 0, c.clears, 0])?.child;
                made.push(child);
                self.take_on(child, c)?;
                self.join(child, c, replica, from);
            }
            tracee::set_regs(leader, &regs)?;
            self.join(leader, &all[0], replica, from);
        }
        for c in &all {
            tracee::set_regs(c.pid, &c.regs)?;
            self.arena.task(c.task).replicas[from].state = rstate::RUNNING;
            made.push(c.pid);
        }
        self.done(i, 0);
        made.into_iter().try_for_each(|pid| tracee::resume(pid, 0))
    }

    /// Stops the donor's thread of task `t` at its call, which it will make again.
    fn context(&mut self, t: usize, from: usize) -> Result<Context> {
        let replica = self.arena.task(t).replicas[from];
        let asked = Job { pid: replica.pid, ..bytemuck::Zeroable::zeroed() };
        let again = || notify::answer(replica.listener as i32, replica.id, -ERESTARTNOINTR);
        let mut regs = self.stop_behind(&asked, again)?;
        if (regs.orig_rax as i64) < 0 {
            return Err(Error { operation: "copying a thread", errno: Errno::EIO });
        }
        regs.rax = regs.orig_rax;
        regs.rip -= 2;
        regs.orig_rax = u64::MAX;
        self.context_of(t, replica.pid, regs)
    }

    /// What there is to a stopped thread that is to go on with `regs`.
    fn context_of(&mut self, t: usize, pid: u32, regs: Regs) -> Result<Context> {
        let extended = tracee::extended_state(pid)?;
        let stack = self.alternate_stack(pid, &regs)?;
        Ok(Context {
            task: t,
            pid,
            regs,
            extended,
            mask: tracee::signal_mask(pid)?,
            stack,
            clears: self.arena.task(t).clears,
            interrupted: self.interrupted.get(&pid).copied(),
            read: self.tracees.get(&pid).map_or_else(Read::default, |x| x.read),
        })
    }

    /// sigaltstack(2) of a stopped thread.
    fn alternate_stack(&mut self, pid: u32, regs: &Regs) -> Result<Option<[u64; 3]>> {
        let at = (regs.rsp - SCRATCH) & !15;
        let Ok(saved) = memory::read_value::<[u64; 3]>(pid, at) else { return Ok(None) };
        self.call_at(pid, regs, WINDOW, libc::SYS_sigaltstack, [0, at, 0, 0, 0, 0])?;
        let stack = memory::read_value::<[u64; 3]>(pid, at)?;
        memory::write_value(pid, at, &saved)?;
        Ok((stack[1] as i32 & libc::SS_DISABLE == 0).then_some(stack))
    }

    /// Makes a new thread what `c` says.
    fn take_on(&mut self, child: u32, c: &Context) -> Result<()> {
        if let Some(stack) = c.stack {
            let at = (c.regs.rsp - SCRATCH) & !15;
            let saved = memory::read_value::<[u64; 3]>(child, at)?;
            let [sp, flags, size] = stack;
            let plain = [sp, flags & !(libc::SS_ONSTACK as u64), size];
            memory::write_value(child, at, &plain)?;
            self.call_at(child, &c.regs, WINDOW, libc::SYS_sigaltstack, [at, 0, 0, 0, 0, 0])?;
            memory::write_value(child, at, &saved)?;
        }
        tracee::set_extended_state(child, &c.extended)?;
        tracee::set_signal_mask(child, c.mask)?;
        tracee::set_regs(child, &c.regs)
    }

    /// A replica, and with it the sequences of its task, becomes another task's.
    pub(super) fn move_to(&mut self, job: &Job) {
        let to = job.child_task as usize;
        let (old, new) = (self.arena.task(job.task as usize).ordinal, self.arena.task(to).ordinal);
        // The first one to be moved takes them along; none of the others runs meanwhile.
        if let Some(x) = self.stamps.remove(&old) {
            self.stamps.insert(new, x);
        }
        if let Some(x) = self.numbers.remove(&old) {
            self.numbers.insert(new, x);
        }
        if let Some(x) = self.patched.remove(&old) {
            self.patched.insert(new, x);
        }
        if let Some(told) = self.cpu_signals.remove(&old) {
            let most = self.cpu_signals.entry(new).or_default();
            *most = told.max(*most);
        }
        if let Some(x) = self.tracees.get_mut(&job.pid) {
            x.task = to;
        }
        self.arena.forget_pid(job.pid);
        self.arena.note_pid(job.pid, to, job.replica as usize);
    }

    /// A new thread is replica `replica` of its task.
    fn join(&mut self, child: u32, c: &Context, replica: usize, from: usize) {
        self.adopt(child, c.task, replica, c.read);
        if let Some(regs) = c.interrupted {
            self.interrupted.insert(child, regs);
        }
        let donor = self.arena.task(c.task).replicas[from];
        let r = &mut self.arena.task(c.task).replicas[replica];
        *r = Replica {
            pid: child,
            state: r.state,
            arrived: r.arrived,
            class: 255,
            died_by: 0,
            deliver: 0,
            ..donor
        };
        commit();
        r.state = rstate::RUNNING;
    }
}
