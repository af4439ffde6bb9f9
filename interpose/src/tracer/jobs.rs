//! The dispatcher's jobs: answer a replica's call and, before it executes another instruction, do
//! to it what only a tracer can.
//!
//! Invariant: one mechanism makes every copy of a replica. The program's own fork, a repair, and a
//! checkpoint are the same injected clone at the same kind of place: behind an answered call.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result, inside, memory, notify, process, raw};

use super::{Read, Tracer};
use crate::arena::{JOBS, Job, Replica, commit, job, rstate};

const CLONE_VFORK: u64 = libc::CLONE_VFORK as u64;
const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;
const CLONE_PARENT_SETTID: u64 = libc::CLONE_PARENT_SETTID as u64;
const CLONE_CHILD_SETTID: u64 = libc::CLONE_CHILD_SETTID as u64;
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_FILES: u64 = libc::CLONE_FILES as u64;
const CLONE_FS: u64 = libc::CLONE_FS as u64;
const CLONE_UNTRACED: u64 = libc::CLONE_UNTRACED as u64;
/// How often a child is borne again in one fork.
const MOST_BIRTHS: u32 = 3;
pub(super) const PLAIN_COPY: u64 = CLONE_PARENT | libc::SIGCHLD as u64;

impl Tracer {
    /// Carries out the jobs that have been asked for, in the order of their places.
    pub fn run_jobs(&mut self) {
        self.look_after_attempt();
        for i in 0..JOBS {
            if self.arena.job(i).state == 1 {
                self.run_job(i);
            }
        }
    }

    fn run_job(&mut self, i: usize) {
        let job = *self.arena.job(i);
        self.said_done = false;
        let known = self
            .tracees
            .get(&job.pid)
            .is_some_and(|t| t.task == job.task as usize && t.replica == job.replica as usize);
        let outcome = match job.kind {
            job::FORGET => {
                self.let_go_of(job.args[0] as usize);
                Ok(())
            }
            _ if !known => Err(Error { operation: "job", errno: Errno::ESRCH }),
            // Whatever has died, the parent stands amid a call that is not its own: it is made anew.
            job::FORK => self.fork(i, &job).inspect_err(|_| process::kill(job.pid, libc::SIGKILL)),
            job::REPAIR | job::REPAIR_BEHIND => self.repair(i, &job),
            job::THAW if self.arena.task(job.task as usize).group != 0 => {
                self.thaw_threads(i, &job)
            }
            job::THAW => self.thaw(i, &job),
            job::FREEZE => self.freeze_waiting(i, &job),
            job::REPAIR_THREADS => self.copy_threads(i, &job, None),
            job::RELEASE => self.release(i, &job),
            job::KILL => {
                self.end_replica(job.pid, job.task as usize, job.replica as usize);
                self.unhold(job.pid);
                Ok(())
            }
            job::MASKED_SIGNAL => self.masked_signal(i, &job),
            job::FLIP => self.flip(i, &job),
            job::HANG => self.hang(i, &job),
            job::ARM => self.arm(i, &job),
            job::PATCH => self.patch_mapping(i, &job),
            job::AGREE if self.begin_to_agree(i, &job) => return,
            job::AGREE => Err(Error { operation: "preempting a thread", errno: Errno::EAGAIN }),
            job::REMAP => self.remap(i, &job),
            job::JOIN => self.remap_joined(i, &job),
            job::WORD => self.change_word(i, &job),
            job::MOVE => {
                self.move_to(&job);
                Ok(())
            }
            job::LOCKS => self.give_locks_up(i, &job),
            job::PREEMPT if !self.arena.begin_job(i) => return,
            job::PREEMPT => match tracee::interrupt(job.pid) {
                Ok(()) => return, // goes on when it has stopped: `preempted`
                Err(e) => Err(e),
            },
            _ => Err(Error { operation: "job", errno: Errno::EINVAL }),
        };
        let error = outcome.err().map_or(0, |e| e.errno as i32 as u32);
        let harmless = [Errno::ESRCH as i32 as u32, Errno::EAGAIN as i32 as u32];
        if error != 0 && known && !harmless.contains(&error) {
            // What was half done to it cannot be known: it must not run on.
            process::kill(job.pid, libc::SIGKILL);
        }
        self.done(i, error);
    }

    /// Marks the job under way done, once: as soon as it is, its place may hold another one.
    pub(super) fn done(&mut self, i: usize, error: u32) {
        let j = self.arena.job(i);
        if !std::mem::replace(&mut self.said_done, true) {
            j.error = error;
            j.done_at = raw::now_ns();
            commit();
            j.state = 2;
            raw::ring_bell(chameleon_sys::executor::bell_fd());
        }
    }

    /// Answers the call so that the replica stops right behind it.
    pub(super) fn answer_and_stop(&mut self, job: &Job) -> Result<Regs> {
        self.stop_behind(job, || notify::answer(job.listener as i32, job.id, job.ret))
    }

    /// The same with an answer of the caller's choice.
    pub(super) fn stop_behind(
        &mut self,
        job: &Job,
        answer: impl FnOnce() -> Result<()>,
    ) -> Result<Regs> {
        tracee::interrupt(job.pid)?;
        answer()?;
        self.until_stopped(job.pid)
    }

    /// Waits for the stop of a replica that was asked to.
    pub(super) fn until_stopped(&mut self, pid: u32) -> Result<Regs> {
        loop {
            match self.wait_for(pid)? {
                (Stop::Interrupted, _) => return tracee::regs(pid),
                (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(Error { operation: "answering a replica", errno: Errno::ESRCH });
                }
                (Stop::Signal(s), _) => {
                    // Sent again once the replica runs; its siginfo is replaced then.
                    tracee::resume(pid, 0)?;
                    process::tgkill_any(pid, s);
                }
                _ => tracee::resume(pid, 0)?,
            }
        }
    }

    fn fork(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let mut tries = 0;
        let child = loop {
            // Killed before it was a checkpoint: its parent stands there, and bears it again.
            match self.bear(job, &regs)? {
                Some(child) => break child,
                None if tries == MOST_BIRTHS => {
                    return Err(Error { operation: "bearing a replica", errno: Errno::ESRCH });
                }
                None => tries += 1,
            }
        };
        if job.hold != 0
            && let Some(t) = self.tracees.get_mut(&job.pid)
        {
            t.held = true;
        }
        self.done(i, 0);
        // One that has died meanwhile is reported by wait(2).
        let _ = tracee::resume(child, 0);
        if job.hold == 0 {
            let _ = tracee::resume(job.pid, 0);
        }
        Ok(())
    }

    /// Makes the child that a stopped replica is to have; `None` if it was gone before it was its checkpoint.
    fn bear(&mut self, job: &Job, regs: &Regs) -> Result<Option<u32>> {
        let [flags, stack, ptid, ctid, tls, waits] = job.args;
        let not_native =
            CLONE_VFORK | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_PIDFD | CLONE_UNTRACED;
        let mut native = flags & !not_native;
        if flags & CLONE_THREAD == 0 {
            native = (native & !(0xff | CLONE_FILES | CLONE_FS)) | PLAIN_COPY;
        }
        let cloned = self.clone_in(job.pid, regs, [native, stack, 0, ctid, tls])?;
        let clock = self.hand_on_clock(job, &cloned, flags)?;
        let virtual_tid = job.ret as u32;
        if flags & CLONE_PARENT_SETTID != 0 {
            let _ = memory::write_value(job.pid, ptid, &virtual_tid);
        }
        if flags & CLONE_CHILD_SETTID != 0 {
            let _ = memory::write_value(cloned.child, ctid, &virtual_tid);
        }
        let mut child = *regs;
        child.rax = 0;
        child.rsp = cloned.regs.rsp;
        child.fs_base = cloned.regs.fs_base;
        child.gs_base = cloned.regs.gs_base;
        if waits != 0 {
            // It stands at a call from the start, whose answer is 0 as the clone's is in a child.
            child.rax = libc::SYS_sched_yield as u64;
            child.rip -= 2;
        }
        tracee::set_regs(cloned.child, &child)?;
        tracee::set_regs(job.pid, regs)?;
        let child_task = job.child_task as usize;
        let read = Read { clock, ..Read::default() };
        self.adopt(cloned.child, child_task, job.replica as usize, read);
        self.inherit_patches(job.task as usize, child_task);
        let from = self.arena.task(job.task as usize).replicas[job.replica as usize];
        let r = &mut self.arena.task(job.child_task as usize).replicas[job.replica as usize];
        r.pid = cloned.child;
        r.listener = from.listener;
        r.execs = 0;
        r.seq = 0;
        commit();
        let own = flags & libc::CLONE_VM as u64 == 0 && self.arena.task(child_task).group == 0;
        if own && !self.freeze_beginning(cloned.child, &child, 0) {
            return Ok(None);
        }
        // Only now: until here its death is nobody's.
        self.arena.task(child_task).replicas[job.replica as usize].state = rstate::RUNNING;
        Ok(Some(cloned.child))
    }

    fn repair(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut regs = match job.kind {
            job::REPAIR_BEHIND => {
                self.stop_behind(job, || notify::let_continue(job.listener as i32, job.id))?
            }
            _ => self.answer_and_stop(job)?,
        };
        regs.orig_rax = u64::MAX;
        if self.arena.task(job.task as usize).group != 0 {
            return self.freeze_behind(i, job, regs);
        }
        let made = self.copies_behind(job, &regs);
        self.go_on(i, job.pid, &regs, made)
    }

    /// A replica has stopped in the midst of its computing, as a job asked. False if none did.
    pub(super) fn preempted(&mut self, pid: u32) -> bool {
        let asked = |i: &usize| {
            let j = self.arena.job(*i);
            j.state == 3 && j.kind == job::PREEMPT && j.pid == pid
        };
        let Some(i) = (0..JOBS).find(asked) else { return false };
        let job = *self.arena.job(i);
        self.said_done = false;
        let outcome = self.copy_computing(i, &job);
        if outcome.is_err() {
            process::kill(pid, libc::SIGKILL);
        }
        self.done(i, outcome.err().map_or(0, |e| e.errno as i32 as u32));
        true
    }

    /// A replica that was to be stopped in its computing has died instead.
    pub(super) fn preempts_no_more(&mut self, pid: u32) {
        for i in 0..JOBS {
            let j = self.arena.job(i);
            if j.state == 3 && j.kind == job::PREEMPT && j.pid == pid {
                self.said_done = false;
                self.done(i, Errno::EAGAIN as i32 as u32);
            }
        }
    }

    fn copy_computing(&mut self, i: usize, job: &Job) -> Result<()> {
        let (t, from) = (job.task as usize, job.replica as usize);
        let [signal, seq, ..] = job.args;
        let donor = self.arena.task(t).replicas[from];
        if donor.seq != seq {
            self.done(i, Errno::EAGAIN as i32 as u32);
            return tracee::resume(job.pid, 0);
        }
        let regs = tracee::regs(job.pid)?;
        let half_written = inside::place(regs.rip) != inside::Place::Elsewhere; // its ring
        let regs = between_instructions(regs);
        if half_written || !self.may_be_left_at(job.pid, regs.rip) {
            // It is out of there in a moment, and asked again then.
            self.done(i, Errno::EAGAIN as i32 as u32);
            return tracee::resume(job.pid, 0);
        }
        let like = Replica { deliver: signal as u32, ..donor };
        let mut made = Vec::new();
        let mut failed = 0;
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            match self.begin_copy(job.pid, &regs, t, [from, replica], like) {
                Ok(copied) => made.push(copied),
                // One that does without a checkpoint goes on.
                Err(_) if signal == 0 => failed = without_copy(true),
                Err(e) => {
                    made.iter().for_each(|copied| process::kill(copied.pid, libc::SIGKILL));
                    return Err(e);
                }
            }
        }
        self.arena.task(t).replicas[from].deliver = signal as u32;
        if signal != 0 {
            let copies = made.iter().filter(|copied| self.is_to_run(copied));
            let pids = copies.map(|copied| copied.pid).chain([job.pid]);
            pids.for_each(|pid| process::tgkill_any(pid, signal as i32));
        }
        self.go_on(i, job.pid, &regs, (made, failed))
    }

    fn release(&mut self, i: usize, job: &Job) -> Result<()> {
        let regs = tracee::regs(job.pid)?;
        let made = self.copies_behind(job, &regs);
        self.unhold(job.pid);
        self.go_on(i, job.pid, &regs, made)
    }

    fn unhold(&mut self, pid: u32) {
        if let Some(t) = self.tracees.get_mut(&pid) {
            t.held = false;
        }
    }

    /// A signal that arrived while the program waited under another mask (sigsuspend(2),
    /// ppoll(2) …): the handler must see that mask lifted and return to the old one. An injected
    /// rt_sigsuspend with the signal pending does exactly that; at the delivery stop the
    /// registers go back to behind the program's own call.
    fn masked_signal(&mut self, i: usize, job: &Job) -> Result<()> {
        let [signal, at, nr, ..] = job.args;
        let mask_at = if nr == libc::SYS_pselect6 as u64 {
            memory::read_value::<u64>(job.pid, at).unwrap_or(0)
        } else {
            at
        };
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let mut call = regs;
        call.rip = WINDOW;
        call.rax = libc::SYS_rt_sigsuspend as u64;
        call.rdi = mask_at;
        call.rsi = 8;
        tracee::set_regs(job.pid, &call)?;
        process::tgkill_any(job.pid, signal as i32);
        tracee::resume(job.pid, 0)?;
        loop {
            match self.wait_for(job.pid)? {
                (Stop::Signal(s), _) if s == signal as i32 || s == libc::SIGTRAP => break,
                (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                    self.on_stop(job.pid, stop, cpu);
                    return Err(Error { operation: "signal under a mask", errno: Errno::ESRCH });
                }
                _ => tracee::resume(job.pid, 0)?,
            }
        }
        tracee::set_regs(job.pid, &regs)?;
        self.done(i, 0);
        self.on_signal(job.pid, signal as i32);
        Ok(())
    }

    fn flip(&mut self, i: usize, job: &Job) -> Result<()> {
        let [register, bit, ..] = job.args;
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let made = self.copies_behind(job, &regs);
        *register_of(&mut regs, register as usize) ^= 1 << (bit & 63);
        self.go_on(i, job.pid, &regs, made)
    }

    fn hang(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut regs = self.answer_and_stop(job)?;
        regs.orig_rax = u64::MAX;
        let (made, error) = self.copies_behind(job, &regs);
        let kept = tracee::set_regs(job.pid, &regs);
        if kept.is_ok() {
            self.done(i, error);
        }
        self.release_copies(made);
        kept?;
        if let Some(t) = self.tracees.get_mut(&job.pid) {
            t.held = true;
        }
        Ok(())
    }
}

/// The registers from which a replica goes on when it was stopped anywhere. In a native call that
/// the stop interrupted the kernel would restart it from `orig_rax`, which a copy does not have:
/// so the call is made again from its instruction.
pub(super) fn between_instructions(mut r: Regs) -> Regs {
    let interrupted = (-516..=-512).contains(&(r.rax as i64));
    if (r.orig_rax as i64) >= 0 && interrupted {
        r.rax = r.orig_rax;
        r.rip -= 2;
    }
    r.orig_rax = u64::MAX;
    r
}

/// A register by its place in the order rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 … r15, rip.
fn register_of(r: &mut Regs, index: usize) -> &mut u64 {
    let all = [
        &mut r.rax, &mut r.rbx, &mut r.rcx, &mut r.rdx, &mut r.rsi, &mut r.rdi, &mut r.rbp,
        &mut r.rsp, &mut r.r8, &mut r.r9, &mut r.r10, &mut r.r11, &mut r.r12, &mut r.r13,
        &mut r.r14, &mut r.r15, &mut r.rip,
    ];
    let last = all.len() - 1;
    all.into_iter().nth(index.min(last)).unwrap_or_else(|| unreachable!("seventeen registers"))
}

/// The error of a job whose copies could not all be made, or 0. It is never that of a replica that is
/// gone: the donor lives, has been answered and goes on.
pub(super) fn without_copy(failed: bool) -> u32 {
    if failed { Errno::EAGAIN as i32 as u32 } else { 0 }
}
