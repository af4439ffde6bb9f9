//! The work of a decided call: what its row says, performed by the executor, here, or by the replicas themselves.
//!
//! Invariant: `step` 0 means that nothing has been done; whatever has an effect outside is asked
//! of the executor exactly once, and its answer is taken from the slot.

use std::sync::atomic::Ordering;

use chameleon_proto::event::Word;
use chameleon_sys::executor::{self, NOT_STARTED, slot, state};
use chameleon_sys::{memory, raw};

use super::Dispatcher;
use super::arrive::{ERESTARTNOINTR, ERESTARTSYS};
use super::futex2;
use super::inside::changes_size_limit;
use super::rendezvous::row_of;
use crate::arena::{Entry, commit, how};
use crate::marshal::Marshal;
use crate::outside::op;
use crate::table::resolve;
use crate::table::row::{Class, Restart, Row, Special};

/// What a step of a call's work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something else has to happen first.
    Wait,
    /// The step is done, the next may be looked at.
    Next,
    /// The call is answered with this value and what came out.
    Value(i64),
    /// The replicas execute the call themselves.
    Continue,
    /// They do, and the tracer changes the code that has been mapped.
    Patch,
    /// The tracer has them make the calls of the entry's plan instead.
    Remap,
    /// The task has ended.
    Gone,
}

/// Calls whose answer is the same in any process: performed here.
pub(super) fn is_placeless(nr: u32) -> bool {
    matches!(
        i64::from(nr),
        libc::SYS_clock_gettime
            | libc::SYS_gettimeofday
            | libc::SYS_time
            | libc::SYS_clock_getres
            | libc::SYS_getrandom
            | libc::SYS_sysinfo
    )
}

impl Dispatcher {
    pub(super) fn marshal(&self, t: usize) -> Marshal {
        Marshal { arena: self.arena, task: t }
    }

    /// Goes on with the call at the head; false when it has to wait.
    pub(super) fn work(&mut self, t: usize) -> bool {
        let (nr, args, fault) = {
            let task = self.arena.task(t);
            let e = self.arena.entry(t, task.head);
            (e.nr, e.args, e.fault)
        };
        if self.arena.task(t).step >= process_steps::EXEC {
            return self.exec_step(t);
        }
        if let Some(went_on) = self.give_back_blocked(t) {
            return went_on;
        }
        if self.aborts_and_recovers(t) {
            return true;
        }
        if fault == 0 && self.arena.task(t).step == 0 {
            if !self.is_kept_before_change(t) {
                return false;
            }
            self.before_change(t);
        }
        let outcome = if fault != 0 {
            Outcome::Value(-i64::from(fault))
        } else {
            match resolve(nr, &args) {
                Ok(r) => self.work_by_class(t, r),
                // A command that this kernel may not know either: its own answer, nothing lost.
                Err(unknown) if unknown.what != "ioctl" => {
                    Outcome::Value(-i64::from(unknown.errno))
                }
                Err(unknown) => {
                    let name = format!("{} {:#x}", unknown.what, unknown.request);
                    let reason = "nobody knows its buffers";
                    self.refuse_always(t, name.into(), reason.into(), unknown.errno);
                    Outcome::Value(-i64::from(unknown.errno))
                }
            }
        };
        match outcome {
            Outcome::Wait | Outcome::Gone => false,
            Outcome::Next => true,
            Outcome::Value(ret) => {
                self.after_change(t, ret);
                self.complete(t, ret, how::VALUE, 0);
                true
            }
            Outcome::Patch => {
                self.complete(t, 0, how::PATCH, 0);
                true
            }
            Outcome::Remap => {
                self.complete(t, 0, how::REMAP, 0);
                true
            }
            Outcome::Continue => {
                // A mask was lifted: what it held back is taken before the next instruction.
                let mask = self.arena.task(t).mask;
                if self.first_unblocked(t, mask).is_none() {
                    self.complete(t, 0, how::CONTINUE, 0);
                    return true;
                }
                let (live, here) = self.masks(t);
                if here != live {
                    return self.wait_for_all(t);
                }
                self.complete_with_signal(t, 0, mask, how::CONTINUE)
            }
        }
    }

    fn work_by_class(&mut self, t: usize, r: &'static Row) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        match r.class {
            _ if !self.lockstep() && native_alone(&e) => Outcome::Continue,
            Class::Sync if i64::from(e.nr) == libc::SYS_readv => {
                self.vector_read_here(t, r).unwrap_or_else(|| self.performed(t, r))
            }
            Class::Sync => match (i64::from(e.nr), self.performed(t, r)) {
                (libc::SYS_getdents64, Outcome::Value(n)) if n > 0 => self.hide_own(t, n),
                (libc::SYS_sched_setaffinity, Outcome::Value(0)) => {
                    self.affinity_was_set(t);
                    Outcome::Value(0)
                }
                (libc::SYS_wait4 | libc::SYS_waitid, Outcome::Value(ret)) if ret >= 0 => {
                    self.usage_of_ended(t, ret);
                    Outcome::Value(ret)
                }
                (libc::SYS_rt_sigtimedwait, Outcome::Value(signal)) if signal > 0 => {
                    self.taken_by_wait(t);
                    Outcome::Value(signal)
                }
                (_, outcome) => outcome,
            },
            Class::First => match i64::from(e.nr) {
                libc::SYS_getpid => {
                    let leader = self.arena.task(t).leader as usize;
                    Outcome::Value(i64::from(self.arena.number(leader)))
                }
                libc::SYS_gettid => Outcome::Value(i64::from(self.arena.number(t))),
                libc::SYS_sched_getaffinity => self.affinity(t, r),
                // A long one would keep the dispatcher from everything else.
                _ if is_placeless(e.nr) && e.long == 0 => self.performed_here(t, r),
                libc::SYS_fstat | libc::SYS_fcntl => {
                    self.performed_on_copy(t, r).unwrap_or_else(|| self.performed(t, r))
                }
                libc::SYS_prctl if e.args[0] as i32 == libc::PR_GET_TSC => {
                    let outcome = self.performed(t, r);
                    self.says_counter_is_free(t, outcome);
                    outcome
                }
                _ => self.performed(t, r),
            },
            Class::Mirror => match self.performed(t, r) {
                Outcome::Value(ret) if ret >= 0 => {
                    if changes_size_limit(&e) {
                        self.quick.trust_writes = false;
                        self.arena.header().limited = 1;
                    }
                    Outcome::Continue
                }
                other => other,
            },
            Class::Native => {
                // Only trapped when the filter could not tell (a request of a native call).
                // Or, where images are written, to be known of.
                if i64::from(e.nr) == libc::SYS_madvise {
                    let leader = self.arena.task(t).leader as usize;
                    self.arena.task(leader).unforked = 1;
                }
                Outcome::Continue
            }
            Class::Nosys => {
                Outcome::Value(-i64::from(if r.errno == 0 { libc::ENOSYS } else { r.errno }))
            }
            Class::Refused => {
                let errno = if r.errno == 0 { libc::ENOSYS } else { r.errno };
                let reason = r.note.trim_end_matches('.');
                match native_alone(&e) {
                    true => self.refuse(t, r.name.into(), reason.into(), errno),
                    false => self.refuse_always(t, r.name.into(), reason.into(), errno),
                }
                Outcome::Value(-i64::from(errno))
            }
            Class::Special(s) => self.special(t, r, s),
        }
    }

    fn special(&mut self, t: usize, r: &'static Row, s: Special) -> Outcome {
        let head = self.arena.task(t).head;
        let args = self.arena.entry(t, head).args;
        match s {
            Special::Fork => self.fork(t),
            Special::Exec => self.exec(t),
            Special::Exit => self.exit(t),
            Special::Mmap => self.map(t),
            Special::SigAction => self.signal_action(t),
            Special::SigMask => self.signal_mask(t),
            Special::SigReturn => self.signal_return(t),
            Special::MaskedWait => self.performed(t, r),
            Special::TidAddress => {
                self.arena.task(t).clears = args[0];
                Outcome::Value(i64::from(self.arena.number(t)))
            }
            Special::Close => self.closes(t, r),
            Special::Fchdir => match self.performed(t, r) {
                Outcome::Value(ret) if ret >= 0 => {
                    self.lend(t, args[0] as u32);
                    Outcome::Continue
                }
                other => other,
            },
            Special::CpuTime => self.cpu_time(t, r),
            Special::CpuTimer => self.cpu_timer(t, r),
            Special::ReadWrite => self.read_write(t, r),
            Special::Thread => self.thread_call(t),
            Special::SharedMemory => {
                let outcome = self.shared_memory(t, r);
                self.as_seen(t, outcome)
            }
            Special::SharedRange => {
                let outcome = self.shared_range(t);
                self.as_seen(t, outcome)
            }
        }
    }

    /// Has the executor perform the call as its row says.
    pub(super) fn performed(&mut self, t: usize, r: &'static Row) -> Outcome {
        match self.arena.task(t).step {
            0 => {
                self.forget_copies(t);
                let Some(mut args) = self.marshal(t).request(r) else { return self.no_room(t) };
                if let Some(errno) = self.redirect(t, r, &mut args) {
                    return Outcome::Value(-i64::from(errno));
                }
                self.with_real_numbers(t, &mut args);
                let what = if self.writes_in_pieces(t) { op::PIECES } else { op::PERFORM };
                self.request_then(t, what, args, 1);
                Outcome::Wait
            }
            _ => match self.taken(t) {
                None => Outcome::Wait,
                Some(ret) => {
                    self.own_numbers_in_buffers(t, ret);
                    let ret = self.with_own_numbers(t, ret);
                    match self.pieces_written(t) {
                        0 => self.judge(t, r, ret),
                        written => self.judge_pieces(t, r, ret, written),
                    }
                }
            },
        }
    }

    /// capset(2): its header may hold the program's own number, which is the outside's; 0 means the
    /// caller, in a replica too.
    pub(super) fn name_nobody(&mut self, t: usize, r: usize, header: u64) {
        // A header in memory that cannot be written keeps its number: the call then fails.
        let pid = self.arena.task(t).replicas[r].pid;
        let _ = memory::write(pid, header + 4, &0u32.to_ne_bytes());
    }

    /// prctl(2), PR_GET_TSC: to the program its time stamps look untrapped.
    fn says_counter_is_free(&self, t: usize, outcome: Outcome) {
        let args = *self.arena.region.record::<[u64; 6]>(self.arena.slot(t) + slot::ARGS);
        if outcome == Outcome::Value(0)
            && let Some(o) = self.arena.region.offset_of(args[1])
        {
            *self.arena.region.record::<u32>(o) = 1; // PR_TSC_ENABLE
        }
    }

    pub(super) fn no_room(&mut self, t: usize) -> Outcome {
        let task = self.arena.task(t);
        if task.tail < task.head {
            self.behind = true;
            return Outcome::Wait;
        }
        Outcome::Value(-i64::from(libc::ENOMEM))
    }

    /// Performs the call here.
    fn performed_here(&mut self, t: usize, r: &'static Row) -> Outcome {
        let Some(args) = self.marshal(t).request(r) else { return self.no_room(t) };
        let at = self.fill(t, op::PERFORM, args);
        self.arena.task(t).step = process_steps::ANSWERED_HERE;
        Outcome::Value(executor::perform_here(self.arena.region, at))
    }

    /// An interrupted call: which signal, and how the program is to see it.
    pub(super) fn judge(&mut self, t: usize, r: &'static Row, ret: i64) -> Outcome {
        self.take_signals(t);
        if self.arena.task(t).used != 2 {
            return Outcome::Gone;
        }
        let interrupted = ret == NOT_STARTED || ret == -i64::from(libc::EINTR);
        let (live, here) = self.masks(t);
        // A call that went through has left its own mask again when the signal is looked at.
        let mask = if interrupted { self.mask_during(t, r) } else { self.arena.task(t).mask };
        let signal = self.first_unblocked(t, mask);
        if !interrupted && signal.is_none() {
            return Outcome::Value(ret);
        }
        if signal.is_none() {
            if ret == NOT_STARTED || r.blocks {
                // Interrupted for nothing that the program may see: go on with the same request.
                self.reissue(t);
                return Outcome::Wait;
            }
            return Outcome::Value(ret);
        }
        if here != live {
            self.behind = true;
            self.arena.task(t).quorum_at = match self.arena.task(t).quorum_at {
                0 => raw::now_ns(),
                at => at,
            };
            // Looked at again when the rest have come; the executor's answer stays in the slot.
            return Outcome::Wait;
        }
        let restarts = signal.is_some_and(|s| self.restarts(t, s));
        let answer = match (ret, r.restart) {
            (NOT_STARTED, _) => -ERESTARTNOINTR,
            _ if !interrupted => ret,
            (_, Restart::Sys) if restarts => -ERESTARTSYS,
            (_, Restart::Always) => -ERESTARTNOINTR,
            _ => -i64::from(libc::EINTR),
        };
        self.complete_with_signal(t, answer, mask, how::VALUE);
        Outcome::Next
    }

    /// Fills the slot of a task for a request; its offset.
    pub(super) fn fill(&mut self, t: usize, what: u32, args: [u64; 6]) -> usize {
        let at = self.arena.slot(t);
        let task = self.arena.task(t);
        let region = self.arena.region;
        let nr = match i64::from(self.arena.entry(t, task.head).nr) {
            libc::SYS_vmsplice => libc::SYS_writev as u32,
            futex2::WAITV | futex2::WAIT => libc::SYS_futex as u32, // it waits at its gate
            nr => nr as u32,
        };
        let taken = region.atomic_u32(at + slot::TAKEN).load(Ordering::Relaxed);
        region.atomic_u32(at + slot::OP).store(what, Ordering::Relaxed);
        region.atomic_u32(at + slot::NR).store(nr, Ordering::Relaxed);
        region.atomic_u32(at + slot::SEEN).store(taken, Ordering::Relaxed);
        region.atomic_u64(at + slot::MASK).store(task.mask, Ordering::Relaxed);
        *region.record::<[u64; 6]>(at + slot::ARGS) = args;
        at
    }

    /// Sends the executor a request.
    pub(super) fn request(&mut self, t: usize, what: u32, args: [u64; 6]) {
        let at = self.fill(t, what, args);
        self.send_request(at);
        self.arena.task(t).drafting = 0;
    }

    /// Sends the executor a request and goes to `step`, both or neither.
    pub(super) fn request_then(&mut self, t: usize, what: u32, args: [u64; 6], step: u32) {
        self.draft(t);
        (self.arena.task(t).step, self.arena.task(t).asked_at) = (step, self.now);
        self.request(t, what, args);
    }

    /// Begins to draw up a request: if it is not sent, a successor puts the handler's step and
    /// numbers back to what they are now, and finds the executor's last answer again.
    pub(super) fn draft(&mut self, t: usize) {
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        let task = self.arena.task(t);
        if task.drafting != 0 {
            return;
        }
        (task.undo_step, task.undo_kept, task.undo_mask) = (task.step, task.kept, task.mask);
        task.undo_state = word.load(Ordering::Acquire);
        commit();
        task.drafting = 1;
        commit();
        word.store(state::IDLE, Ordering::Release);
    }

    /// Ends a draft that asks for nothing.
    pub(super) fn undraft(&mut self, t: usize) {
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        let task = self.arena.task(t);
        word.store(task.undo_state, Ordering::Release);
        commit();
        task.drafting = 0;
    }

    /// Sends the request that is in the slot once more, knowing of the signals taken since.
    pub(super) fn reissue(&mut self, t: usize) {
        let at = self.arena.slot(t);
        let region = self.arena.region;
        let taken = region.atomic_u32(at + slot::TAKEN).load(Ordering::Relaxed);
        region.atomic_u32(at + slot::SEEN).store(taken, Ordering::Relaxed);
        self.send_request(at);
    }

    fn send_request(&mut self, at: usize) {
        commit();
        let word = self.arena.region.atomic_u32(at + slot::STATE);
        word.store(state::REQUEST, Ordering::Release);
        commit();
        raw::futex_wake(word, 1);
    }

    /// Whether the executor of a task has nothing to do.
    pub(super) fn executor_idle(&self, t: usize) -> bool {
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        matches!(word.load(Ordering::Acquire), state::IDLE | state::DONE)
    }

    /// The result of the executor's request, once it is there.
    pub(super) fn taken(&self, t: usize) -> Option<i64> {
        let at = self.arena.slot(t);
        let region = self.arena.region;
        (region.atomic_u32(at + slot::STATE).load(Ordering::Acquire) == state::DONE)
            .then(|| region.atomic_u64(at + slot::RET).load(Ordering::Relaxed) as i64)
    }

    /// Says that several replicas cannot make a call.
    pub(super) fn refuse(&mut self, t: usize, call: Word, reason: Word, errno: i32) {
        let (process, program) = (self.arena.task(t).tgid, self.name(t));
        let advice = match self.settings.mode.n {
            1 if self.settings.checkpoints.is_none() => "run it without --changeable",
            1 => "run it without --checkpoint",
            _ if self.settings.checkpoints.is_some() => "use --mode simplex without --checkpoint",
            _ => "use --mode simplex",
        };
        self.report.refused(process, program, call, reason, errno, advice);
    }

    /// Says that a call cannot be made here, whatever the mode.
    pub(super) fn refuse_always(&mut self, t: usize, call: Word, reason: Word, errno: i32) {
        let (process, program) = (self.arena.task(t).tgid, self.name(t));
        let advice = "run it without Chameleon";
        self.report.refused(process, program, call, reason, errno, advice);
    }

    /// The program's name, for people.
    pub(super) fn name(&self, t: usize) -> String {
        let leader = self.arena.task(t).leader as usize;
        let name = self.arena.task(leader).name;
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    }

    /// The name of a call, with its request where it has one.
    pub(super) fn call_name(&self, nr: u32, args: &[u64; 6]) -> &'static str {
        if nr == u32::MAX { "a 32-bit call" } else { row_of(nr, args).name }
    }
}

/// Steps of work that are not those of the call at the head.
pub(super) mod process_steps {
    /// The outside carries out an exec that the replicas have done.
    pub(crate) const EXEC: u32 = 1000;
    /// Before that it detaches segments of shared memory (shmdt(2)).
    pub(crate) const DETACHING: u32 = 1010;
    /// Before that the executor of another thread than the first catches what is pending for it.
    pub(crate) const CATCHING: u32 = 1011;
    /// A signal that the program blocks goes back to the kernel.
    pub(crate) const GIVE_BACK: u32 = 900;
    /// The call is answered by the dispatcher alone and may be made again.
    pub(crate) const ANSWERED_HERE: u32 = 51;
    /// A file is read or written in pieces that go straight between it and the replicas.
    pub(crate) const IN_PIECES: u32 = 52;
    /// What a predecessor had not appended yet is appended.
    pub(crate) const APPENDING: u32 = 53;
}

/// Calls that a single replica makes itself, and that several may not.
fn native_alone(e: &Entry) -> bool {
    match i64::from(e.nr) {
        libc::SYS_mbind | libc::SYS_set_mempolicy => true,
        libc::SYS_prctl => matches!(e.args[0] as i32, libc::PR_GET_TSC | libc::PR_SET_TSC),
        _ => false,
    }
}
