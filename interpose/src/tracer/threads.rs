//! Repair of a group: a fork copies one thread of a process, the others are made again in the copy, each
//! at the call at which its twin waits; and every process that shares the memory is copied so.
//!
//! Invariant: asked for only while every thread of the donor waits at a call and none is about to
//! be answered. Each of them makes its call again afterwards, in the donor and in the copies. All
//! copies are there before anything runs, or there are none and the donor is as it was.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result, memory, notify, process};

use super::jobs::PLAIN_COPY;
use super::trap::Interrupted;
use super::{Read, Tracer};
use crate::arena::{Job, MAX_REPLICAS, Replica, commit, job, rstate};

/// How a thread of a copy is cloned: as pthread_create(3) does, without what its registers and the
/// dispatcher bring.
pub(super) const LIKE_A_THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;
pub(super) const CLEARS: u64 = libc::CLONE_CHILD_CLEARTID as u64;
/// Kernel-internal: restart the call whatever the handler's flags (include/linux/errno.h).
const ERESTARTNOINTR: i64 = 513;
/// Below the stack pointer, out of the red zone (System V ABI, 3.2.2).
const SCRATCH: u64 = 1024;

/// What there is to a thread beside its memory.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) task: usize,
    /// The task of its process.
    pub(super) leader: usize,
    pub(super) pid: u32,
    pub(super) regs: Regs,
    pub(super) extended: Vec<u8>,
    pub(super) mask: u64,
    /// `stack_t`, if it has an alternate stack (sigaltstack(2)).
    pub(super) stack: Option<[u64; 3]>,
    clears: u64,
    read: Read,
    /// It has its answer, and goes on behind its call.
    behind: bool,
    /// Where it goes on behind the call, if it was preempted.
    pub(super) interrupted: Option<Interrupted>,
}

/// A thread of a copy, before it counts: its id, whose twin it is, and of which replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made<'a> {
    pub(super) pid: u32,
    pub(super) like: &'a Context,
    pub(super) replica: usize,
}

impl Tracer {
    /// Makes the copies. The first thread is stopped already if its registers are given.
    pub(super) fn copy_threads(
        &mut self,
        i: usize,
        job: &Job,
        stopped: Option<Regs>,
    ) -> Result<()> {
        let from = job.replica as usize;
        let mut all = Vec::new();
        let mut made = Vec::new();
        let outcome = self.stop_all(job, stopped, &mut all).and_then(|()| {
            self.make_room(job);
            self.make_copies(job, &all, &mut made)
        });
        match &outcome {
            Ok(()) => {
                made.iter().for_each(|m| self.join(m, from));
                self.describe_copies(&made);
            }
            Err(_) => {
                made.drain(..).for_each(|m| process::kill(m.pid, libc::SIGKILL));
            }
        }
        for c in &all {
            let _ = tracee::set_regs(c.pid, &c.regs);
            let donor = &mut self.arena.task(c.task).replicas[from];
            // One that has died meanwhile stays dead.
            if donor.pid == c.pid && donor.state == rstate::PARKED {
                donor.state = rstate::RUNNING;
            }
        }
        self.done(i, outcome.as_ref().err().map_or(0, |e| e.errno as i32 as u32));
        let runs = made.iter().filter(|m| !self.arena.checkpoints().contains(&m.replica));
        for pid in runs.map(|m| m.pid).chain(all.iter().map(|c| c.pid)) {
            let _ = tracee::resume(pid, 0); // else it has been killed
        }
        // What failed is undone: no replica has to be ended for it.
        outcome.map_err(|e| Error { errno: Errno::EAGAIN, ..e })
    }

    /// Stops every thread of the donor, process by process.
    fn stop_all(&mut self, job: &Job, stopped: Option<Regs>, all: &mut Vec<Context>) -> Result<()> {
        let (first, from) = (job.task as usize, job.replica as usize);
        let group = self.arena.task(first).group;
        let mut members: Vec<usize> = (0..self.arena.header().tasks as usize)
            .filter(|o| {
                let x = self.arena.task(*o);
                x.used == 2 && x.group == group && x.exiting == 0
            })
            .collect();
        let leader = |t: usize| self.arena.task(t).leader as usize;
        members.sort_by_key(|t| (leader(*t), leader(*t) != *t));
        for t in members {
            let context = match stopped.filter(|_| t == first) {
                Some(regs) => self
                    .context_of(t, job.pid, regs)
                    .map(|c| Context { behind: job::answers(job.kind), ..c }),
                None => self.context(t, from),
            };
            all.push(context?);
        }
        Ok(())
    }

    /// Ends what there is of the replicas that are to be made: those to come are in their places, and
    /// in their memory.
    fn make_room(&mut self, job: &Job) {
        let group = self.arena.task(job.task as usize).group;
        for t in 0..self.arena.header().tasks as usize {
            let x = self.arena.task(t);
            let lives = x.used == 2 && x.group == group && x.exiting == 0;
            for r in (0..MAX_REPLICAS).filter(|r| lives && job.copies & (1 << r) != 0) {
                x.replicas[r].state = rstate::EXPECTED;
            }
        }
        commit();
        self.end_old(job);
    }

    /// Ends what there is of the replicas that a job is to make.
    pub(super) fn end_old(&mut self, job: &Job) {
        let group = self.arena.task(job.task as usize).group;
        let old: Vec<u32> = self
            .tracees
            .iter()
            .filter(|(_, x)| {
                job.copies & (1 << x.replica) != 0 && self.arena.task(x.task).group == group
            })
            .map(|(pid, _)| *pid)
            .collect();
        for pid in &old {
            process::kill(*pid, libc::SIGKILL);
        }
        for pid in old {
            while self.tracees.contains_key(&pid) {
                match self.wait_for(pid) {
                    Ok((stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu)) => {
                        self.on_stop(pid, stop, cpu);
                    }
                    Ok(_) => {} // its end comes behind that
                    Err(_) => break,
                }
            }
        }
    }

    /// Makes copies of all processes, stopped where they are to go on. None of them counts yet.
    pub(super) fn make_copies<'a>(
        &mut self,
        job: &Job,
        all: &'a [Context],
        made: &mut Vec<Made<'a>>,
    ) -> Result<()> {
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            let mut filled = Vec::new();
            for process in all.chunk_by(|a, b| a.leader == b.leader) {
                let Some((first, others)) = process.split_first() else { continue };
                let regs = first.regs;
                let clears = |c: &Context| if c.clears != 0 { CLEARS } else { 0 };
                let args = [PLAIN_COPY | clears(first), 0, 0, first.clears, 0];
                let frozen = self.arena.checkpoints().contains(&replica);
                let look = if frozen { self.look(first.pid, &regs, first.leader) } else { None };
                let (leader, unforked) = self.clone_whole(first.pid, first.leader, &regs, args)?;
                made.push(Made { pid: leader, like: first, replica });
                self.first_stop(leader)?;
                for one in unforked {
                    self.advise(leader, &regs, one.range, one.say)?;
                }
                self.note_look(first.leader, look, leader);
                let from = job.replica as usize;
                self.own_shared_memory(leader, &regs, from, replica, &mut filled)?;
                for c in others {
                    let args = [LIKE_A_THREAD | clears(c), 0, 0, c.clears, 0];
                    let child = self.clone_in(leader, &regs, args)?.child;
                    made.push(Made { pid: child, like: c, replica });
                    self.take_on(child, c)?;
                }
                tracee::set_regs(leader, &regs)?;
            }
            if let Some(first) =
                all.first().filter(|_| !self.arena.checkpoints().contains(&replica))
            {
                self.fill_unmapped(self.arena.task(first.leader).shares, replica, &filled)?;
            }
        }
        Ok(())
    }

    /// Stops the donor's thread of task `t` at its call, which it will make again.
    fn context(&mut self, t: usize, from: usize) -> Result<Context> {
        let pid = self.arena.task(t).replicas[from].pid;
        let context = self.stop_to_call_again(t, from).and_then(|r| self.context_of(t, pid, r));
        if context.is_err() {
            process::kill(pid, libc::SIGKILL); // where it is cannot be known
        }
        context
    }

    /// Stops replica `from` of task `t` at the call that it waits at; with the registers it makes it again.
    pub(super) fn stop_to_call_again(&mut self, t: usize, from: usize) -> Result<Regs> {
        let replica = self.arena.task(t).replicas[from];
        let asked = Job { pid: replica.pid, ..bytemuck::Zeroable::zeroed() };
        let again = || notify::answer(replica.listener as i32, replica.id, -ERESTARTNOINTR);
        let regs = self.stop_behind(&asked, again)?;
        match u64::try_from(regs.orig_rax as i64) {
            Ok(nr) => Ok(Regs { rax: nr, rip: regs.rip - 2, orig_rax: u64::MAX, ..regs }),
            Err(_) => Err(Error { operation: "copying a thread", errno: Errno::EIO }),
        }
    }

    /// What there is to a stopped thread that is to go on with `regs`.
    pub(super) fn context_of(&mut self, t: usize, pid: u32, regs: Regs) -> Result<Context> {
        let extended = tracee::extended_state(pid)?;
        let stack = self.alternate_stack(pid, &regs)?;
        Ok(Context {
            task: t,
            leader: self.arena.task(t).leader as usize,
            pid,
            regs,
            extended,
            mask: tracee::signal_mask(pid)?,
            stack,
            clears: self.arena.task(t).clears,
            behind: false,
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
            (x.task, x.ordinal) = (to, new);
        }
        self.arena.forget_pid(job.pid);
        self.arena.note_pid(job.pid, to, job.replica as usize);
    }

    /// A new thread is a replica of its task from now on.
    pub(super) fn join(&mut self, made: &Made, from: usize) {
        let Made { pid, like: c, replica } = *made;
        self.adopt(pid, c.task, replica, c.read);
        let frozen = self.arena.checkpoints().contains(&replica);
        if let Some(t) = self.tracees.get_mut(&pid) {
            t.held = frozen;
        }
        if let Some(at) = c.interrupted {
            self.interrupted.insert(pid, at);
        }
        let donor = self.arena.task(c.task).replicas[from];
        let r = &mut self.arena.task(c.task).replicas[replica];
        *r = Replica {
            pid,
            state: r.state,
            arrived: r.arrived,
            class: 255,
            died_by: 0,
            deliver: 0,
            seq: donor.seq + u64::from(c.behind),
            ..donor
        };
        commit();
        r.state = if frozen { rstate::FROZEN } else { rstate::RUNNING };
    }
}
