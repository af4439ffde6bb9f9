//! Processes: fork, exec and exit, in the outside and in every replica.
//!
//! Invariant: the tree of executors is the real tree of the program: made by a real fork of the
//! parent's executor, so descriptors, directory, identity and children are the kernel's own.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::{memory, notify, raw, shadow};

use super::Dispatcher;
use super::own_status::slots_in_use;
use super::work::Outcome;
use crate::arena::{JOBS, MAX_REPLICAS, Noted, Replica, Task, commit, job, phase, rstate};
use crate::outside::op;

const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
const CLONE_VFORK: u64 = libc::CLONE_VFORK as u64;
const CLONE_VM: u64 = libc::CLONE_VM as u64;
/// Flags whose meaning the executor's own clone carries out.
const OUTSIDE_FLAGS: u64 = 0xff | libc::CLONE_PARENT as u64;
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Steps of a fork.
pub(super) const OUTSIDE: u32 = 1;
pub(super) const REPLICAS: u32 = 2;

/// The clone that a call of the fork family stands for: flags, stack, parent_tid, child_tid, tls.
pub(super) fn clone_args(nr: u32, args: &[u64; 6]) -> [u64; 5] {
    match i64::from(nr) {
        libc::SYS_fork => [libc::SIGCHLD as u64, 0, 0, 0, 0],
        libc::SYS_vfork => [CLONE_VFORK | CLONE_VM | libc::SIGCHLD as u64, 0, 0, 0, 0],
        _ => [args[0], args[1], args[2], args[3], args[4]],
    }
}

/// Whether a call makes a new task.
pub(super) fn is_fork(nr: u32) -> bool {
    matches!(i64::from(nr), libc::SYS_fork | libc::SYS_vfork | libc::SYS_clone)
}

impl Dispatcher {
    /// clone(2), fork(2), vfork(2).
    pub(super) fn fork(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let [flags, ..] = clone_args(e.nr, &e.args);
        if flags & NAMESPACES != 0 {
            let reason = "the outside's namespaces would part from the replicas'";
            self.refuse_always(t, "clone with new namespaces".into(), reason.into(), libc::EPERM);
            return Outcome::Value(-i64::from(libc::EPERM));
        }
        match self.arena.task(t).step {
            0 => self.fork_outside(t, flags),
            OUTSIDE => match self.taken(t) {
                None => Outcome::Wait,
                Some(ret) => self.fork_replicas(t, ret),
            },
            _ if self.is_forking(t) => Outcome::Wait,
            _ => self.fork_done(t),
        }
    }

    pub(super) fn free_task(&self) -> Option<usize> {
        let tasks = self.arena.header().tasks as usize;
        let free = (1..tasks).find(|i| self.arena.task(*i).used == 0 && !self.keeps_group(*i));
        free.or_else(|| (tasks < crate::arena::MAX_TASKS).then_some(tasks))
    }

    fn fork_outside(&mut self, t: usize, flags: u64) -> Outcome {
        let Some(child) = self.free_task().or_else(|| self.free_task_of_ended(t)) else {
            let reason = "there are as many processes and threads as Chameleon can carry (1024)";
            self.refuse_always(t, "fork".into(), reason.into(), libc::EAGAIN);
            return Outcome::Value(-i64::from(libc::EAGAIN));
        };
        let is_thread = flags & CLONE_THREAD != 0;
        self.make_child(t, child, flags);
        self.forget_copies(t);
        let (what, outside) = if is_thread {
            (op::THREAD, super::threads::EXECUTOR_THREAD)
        } else {
            (op::FORK, flags & OUTSIDE_FLAGS)
        };
        self.draft(t);
        self.arena.task(t).kept = child as u64;
        let args = [outside, self.arena.slot(child) as u64, 0, 0, 0, 0];
        self.request_then(t, what, args, OUTSIDE);
        Outcome::Wait
    }

    /// Whether the tracer has not made all of a new task's replicas yet, or that is not known.
    fn is_forking(&self, t: usize) -> bool {
        (0..JOBS).any(|i| {
            let j = self.arena.job(i);
            j.state != 0 && j.kind == job::FORK && j.task as usize == t
        })
    }

    /// After a takeover: records of tasks whose making was not asked of any executor.
    pub(super) fn settle_unborn(&mut self) {
        for child in (1..self.tasks()).filter(|child| self.is_never_born(*child)) {
            self.arena.task(child).used = 0;
        }
    }

    /// Whether this is the record of a task that nobody is making: the executor that was to is gone, or was never
    /// asked.
    pub(super) fn is_never_born(&self, child: usize) -> bool {
        let makes = |t: usize| {
            let p = self.arena.task(t);
            let forks = is_fork(self.arena.entry(t, p.head).nr) && p.phase == phase::WORK;
            p.used == 2 && forks && p.step == OUTSIDE && p.kept as usize == child
        };
        self.arena.task(child).used == 1 && !(0..self.tasks()).any(makes)
    }

    /// The record of a new task, in the state of its parent.
    fn make_child(&mut self, t: usize, child: usize, flags: u64) {
        let is_thread = flags & CLONE_THREAD != 0;
        let shares = flags & CLONE_VM != 0;
        let h = self.arena.header();
        h.tasks = h.tasks.max(child as u32 + 1);
        let ordinal = h.next_ordinal;
        h.next_ordinal += 1;
        let parent = *self.arena.task(t);
        let c = self.arena.task(child);
        *c = Task {
            used: 1,
            leader: if is_thread { parent.leader } else { child as u32 },
            ordinal,
            n: parent.n,
            mask: parent.mask,
            parent: parent.leader,
            parent_ordinal: self.arena.task(parent.leader as usize).ordinal,
            lent: parent.lent,
            name: parent.name,
            slots: if is_thread { 0 } else { slots_in_use(parent.tgid) },
            execs: 0,
            table: if is_thread { parent.table } else { h.next_table },
            group: if is_thread { parent.group } else { 0 },
            clears: 0,
            cpus: parent.cpus,
            shares: parent.shares,
            unforked: self.arena.task(parent.leader as usize).unforked,
            inside: Self::inside_of_child(&parent.inside, shares),
            noted: match is_thread {
                true => Noted { slack: parent.noted.slack, ..bytemuck::Zeroable::zeroed() },
                false => parent.noted.of_child(&self.arena.task(parent.leader as usize).noted),
            },
            ..bytemuck::Zeroable::zeroed()
        };
        h.next_table += 1;
        if !is_thread {
            for s in 1..=64 {
                let of = self.arena.action(parent.leader as usize, s);
                *self.arena.action(child, s) = *of;
            }
        }
        let from = self.arena.slot(t) + slot::TITLE;
        let title = self.arena.region.bytes(from, slot::TITLE_LEN);
        let to = self.arena.slot(child) + slot::TITLE;
        self.arena.region.bytes(to, slot::TITLE_LEN).copy_from_slice(title);
        self.arena.entry(child, 0).open = 0;
        // What an earlier task left in the slot must not be taken for a request.
        for word in [slot::STATE, slot::POSTED, slot::TAKEN] {
            let at = self.arena.slot(child) + word;
            self.arena.region.atomic_u32(at).store(0, Ordering::Relaxed);
        }
    }

    /// The executor's child is there, or the fork failed outside.
    fn fork_replicas(&mut self, t: usize, ret: i64) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let [flags, stack, ptid, ctid, tls] = clone_args(e.nr, &e.args);
        let child = self.arena.task(t).kept as usize;
        if ret < 0 {
            self.arena.task(child).used = 0;
            return Outcome::Value(ret);
        }
        // Copies of the parent may be made while its executor forks: then its replicas come here again.
        if self.arena.task(child).used == 1 && !self.all_are_parked(t) {
            return Outcome::Wait;
        }
        let vfork = flags & CLONE_VFORK != 0;
        let parent = *self.arena.task(t);
        let many = self.lockstep();
        // Who shares memory is scheduled together; the parent of a vfork waits for its child anyway.
        let shares = parent.shares != 0 && !vfork;
        let joins = many && (flags & CLONE_THREAD != 0 || shares);
        if joins {
            self.found_group(t);
        }
        if vfork && parent.group == 0 {
            let e = self.arena.entry(t, head);
            (e.child, e.child_ordinal) = (child as u32 + 1, self.arena.task(child).ordinal);
        }
        if !self.turn_by_tracer(t) {
            return Outcome::Wait;
        }
        if joins {
            self.arena.task(child).group = self.arena.task(t).group;
            let e = self.arena.entry(t, head);
            (e.child, e.child_ordinal) = (child as u32 + 1, self.arena.task(child).ordinal);
        }
        self.arena.task(child).clears =
            if flags & libc::CLONE_CHILD_CLEARTID as u64 != 0 { ctid } else { 0 };
        if self.arena.task(child).used == 1 {
            self.give_birth(t, child, ret as u32, flags);
        }
        self.empty_rings(t, flags & CLONE_VM != 0, flags & CLONE_THREAD != 0);
        for r in 0..parent.n as usize {
            // A predecessor may have asked for some already.
            let parent = self.arena.task(t).replicas[r];
            let asked = parent.state != rstate::PARKED || parent.seq != head;
            if asked || self.arena.task(child).replicas[r].state != rstate::EXPECTED {
                continue;
            }
            let mut job = self.job_for(t, r, job::FORK);
            job.ret = self.arena.number(child).into();
            // With several replicas the order says when a new thread first runs.
            let waits = joins;
            job.args = [flags, stack, ptid, ctid, tls, waits.into()];
            job.child_task = child as u32;
            job.hold = u32::from(vfork);
            if self.ask(job) {
                self.answered_by_tracer(t, r);
            } else {
                self.arena.task(child).replicas[r].state = rstate::DEAD;
                self.lose(t, r, chameleon_proto::event::Reason::Late);
            }
        }
        self.arena.task(t).step = REPLICAS;
        Outcome::Next
    }

    /// The record of a new task comes to life: its executor is `tid`.
    fn give_birth(&mut self, t: usize, child: usize, tid: u32, flags: u64) {
        let parent = *self.arena.task(t);
        if flags & CLONE_THREAD == 0 {
            shadow::clear_clocks(child);
        }
        let c = self.arena.task(child);
        c.tid = tid;
        c.tgid = if flags & CLONE_THREAD != 0 { parent.tgid } else { tid };
        c.vfork_parent = if flags & CLONE_VFORK != 0 { t as u32 + 1 } else { 0 };
        c.no_repair = u32::from(flags & (CLONE_VM | CLONE_THREAD) == CLONE_VM);
        // It has the replicas that the parent has at this moment.
        (c.counts, c.fresh) = (parent.counts, parent.fresh);
        for r in 0..parent.n as usize {
            let state = parent.replicas[r].state;
            c.replicas[r].state = match state {
                rstate::PARKED if parent.replicas[r].seq == parent.head => rstate::EXPECTED,
                _ => rstate::DEAD,
            };
        }
        commit();
        self.arena.task(child).used = 2;
        self.watch_executor(child);
    }

    /// The tracer has answered every replica itself.
    fn fork_done(&mut self, t: usize) -> Outcome {
        let task = self.arena.task(t);
        let child = task.kept as usize;
        let n = task.n as usize;
        // The executor's answer is still in the slot; the child may be gone meanwhile.
        let Some(tid) = self.taken(t) else { return Outcome::Wait };
        let mut number = tid;
        if i64::from(self.arena.task(child).tid) == tid {
            number = self.arena.number(child).into();
            let at_head = |x: &Replica| x.state == rstate::JOB && x.seq == task.head;
            if task.replicas[..n].iter().any(at_head) {
                return Outcome::Wait; // it has died, which is about to be known
            }
            let again = |r: &usize| {
                let x = task.replicas[*r];
                let back = x.state == rstate::PARKED && x.seq == task.head;
                back && self.arena.task(child).replicas[*r].state == rstate::EXPECTED
            };
            if (0..n).any(|r| again(&r)) {
                // It had died before it was copied, and has been made anew.
                task.step = OUTSIDE;
                return Outcome::Next;
            }
            for r in 0..n {
                let c = &mut self.arena.task(child).replicas[r];
                if c.state == rstate::EXPECTED {
                    c.state = rstate::DEAD; // its job failed
                }
            }
            self.note_loss(child);
            let c = self.arena.task(child);
            let lost = c.used == 2 && c.dying == 0 && self.masks(child).0 == 0;
            if lost && self.dies_with_replicas(child) && self.is_rolling(t) {
                return Outcome::Wait; // both go back, and it is borne again here
            }
        }
        // The tracer has written it; a replica that is made anew is given it with the answer.
        let e = *self.arena.entry(t, task.head);
        let [flags, _, ptid, ..] = clone_args(e.nr, &e.args);
        if flags & libc::CLONE_PARENT_SETTID as u64 != 0 {
            self.words.push((t, ptid, number as u32));
        }
        Outcome::Value(number)
    }

    /// Lets the parent of a vfork go on: its child has executed a program or ended.
    pub(super) fn release_vfork_parent(&mut self, t: usize) {
        self.arena.task(t).no_repair = 0;
        if let Some(p) = (self.arena.task(t).vfork_parent as usize).checked_sub(1) {
            self.note_written_by_child(p, t);
            for r in 0..self.arena.task(p).n as usize {
                if self.arena.task(p).replicas[r].state == rstate::HELD {
                    self.release(p, r);
                }
            }
        }
        self.arena.task(t).vfork_parent = 0;
    }

    /// Has the tracer let a held replica go on, if it has not been asked to yet.
    pub(super) fn release(&mut self, t: usize, r: usize) {
        let mut job = self.job_for(t, r, job::RELEASE);
        let asked = (0..JOBS).any(|i| {
            let j = self.arena.job(i);
            j.state != 0 && j.kind == job::RELEASE && j.pid == job.pid
        });
        if asked {
            return;
        }
        job.copies = self.freezes_held(t, r);
        if self.ask(job) && job.copies != 0 {
            self.is_frozen_soon(t);
        }
    }

    /// execve(2): the replicas do it themselves; what came of it shows at their next call.
    pub(super) fn exec(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        if let Some(refused) = self.refuse_image(t) {
            return refused;
        }
        if !self.agree_on_vectors(t) {
            return Outcome::Gone;
        }
        let at_fd = i64::from(e.nr) == libc::SYS_execveat;
        if at_fd && e.args[0] as i32 >= 0 {
            self.lend(t, e.args[0] as u32);
        }
        if let Some(fd) = self.descriptor_path(t, &e) {
            self.lend(t, fd);
        }
        self.note_title(t, &e);
        let mut random = [0u64; 2];
        raw::random(bytemuck::bytes_of_mut(&mut random));
        let task = self.arena.task(t);
        task.random = random;
        task.exec_pending = 1;
        Outcome::Continue
    }

    /// The arguments and the environment are part of an exec's ballot, too long to be kept with it:
    /// all replicas stand here, and they are compared with one another. False if no majority is
    /// left.
    fn agree_on_vectors(&mut self, t: usize) -> bool {
        let (head, n) = (self.arena.task(t).head, self.arena.task(t).n as usize);
        let e = *self.arena.entry(t, head);
        if n == 1 {
            return true;
        }
        let first = if i64::from(e.nr) == libc::SYS_execveat { 2 } else { 1 };
        let mut read: [Option<Vec<u8>>; MAX_REPLICAS] = [const { None }; MAX_REPLICAS];
        for (r, place) in read.iter_mut().enumerate().take(n) {
            let x = self.arena.task(t).replicas[r];
            if x.state == rstate::PARKED && x.seq == head {
                let mut bytes = strings(x.pid, e.args[first]);
                bytes.push(1); // between the two vectors: no string holds it at its start
                bytes.extend(strings(x.pid, e.args[first + 1]));
                *place = Some(bytes);
            }
        }
        let k = usize::from(self.votes_of(t).k);
        let support = |b: &Vec<u8>| read.iter().flatten().filter(|o| *o == b).count();
        let Some(right) = read.iter().flatten().find(|b| support(b) >= k).cloned() else {
            self.majority_lost(t, read.iter().flatten().map(support).max().unwrap_or(0) as u8);
            return false;
        };
        let votes = support(&right) as u8;
        let losers: Vec<usize> =
            (0..n).filter(|r| read[*r].as_ref().is_some_and(|b| *b != right)).collect();
        for r in losers {
            let found = crate::ballot::Difference::Argument(first);
            self.report_difference(t, r, head, found, votes, 1);
            self.lose(t, r, chameleon_proto::event::Reason::Divergence);
        }
        true
    }

    /// Name and command line that `ps` will show if the exec succeeds.
    fn note_title(&mut self, t: usize, e: &crate::arena::Entry) {
        let (path_arg, argv_arg) =
            if i64::from(e.nr) == libc::SYS_execveat { (1, 2) } else { (0, 1) };
        let at = self.arena.slot(t) + slot::TITLE;
        let title = self.arena.region.bytes(at, slot::TITLE_LEN);
        title.fill(0);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        if let Some(p) = pieces.iter().find(|p| p.arg == path_arg) {
            let path = &*self.arena.region.bytes(p.offset(), p.len as usize - 1);
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
            let n = name.len().min(15);
            title[..n].copy_from_slice(&name[..n]);
        }
        let Some(pid) = self.first_winner(t) else { return };
        let (mut used, mut i) = (16, 0);
        while used < title.len() {
            let Ok(arg) = memory::read_value::<u64>(pid, e.args[argv_arg] + 8 * i) else { break };
            if arg == 0 {
                break;
            }
            match memory::read_str(pid, arg, &mut title[used..]) {
                Ok(n) => used += n,
                Err(_) => break,
            }
            i += 1;
        }
        self.arena.task(t).kept = (used - 16) as u64;
    }

    /// The pid of a replica that stands at the head with the decided ballot.
    pub(super) fn first_winner(&self, t: usize) -> Option<u32> {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let winners = (0..task.n as usize).filter(|r| e.votes & (1 << r) != 0);
        winners
            .map(|r| task.replicas[r])
            // One may have been killed that nobody has heard of yet.
            .find(|x| x.state == rstate::PARKED && notify::is_waiting(x.listener as i32, x.id))
            .map(|x| x.pid)
    }
}

/// The strings of a null-terminated vector in a process, each with its NUL, one after the other;
/// up to where they cannot be read. The kernel takes at most 6 MiB (execve(2)).
fn strings(pid: u32, vector: u64) -> Vec<u8> {
    const MOST: usize = 6 << 20;
    let mut all = Vec::new();
    let mut string = vec![0; 128 << 10]; // MAX_ARG_STRLEN
    let mut words = [0u64; 64];
    let mut at = vector;
    while at != 0 && all.len() < MOST {
        let step = ((4096 - (at as usize & 4095)) / 8).clamp(1, words.len());
        if memory::read(pid, at, bytemuck::cast_slice_mut(&mut words[..step])).is_err() {
            break;
        }
        for word in &words[..step] {
            if *word == 0 {
                return all;
            }
            let n = memory::read_str(pid, *word, &mut string).unwrap_or(0);
            all.extend_from_slice(&string[..n]);
        }
        at += 8 * step as u64;
    }
    all
}
