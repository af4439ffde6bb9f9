//! The answer to a decided call: what came out goes into a replica's memory, and it goes on, by itself or
//! by the tracer; and decided calls that nobody needs any more are let go of.
//!
//! Invariant: what a replica's next call is is written before it can make it.

use chameleon_sys::{memory, notify};

use super::Dispatcher;
use crate::arena::{CHUNK, Entry, Job, commit, how, job, rstate};
use crate::maps;

/// Whether a call moves or grows memory that is several mappings in replica `pid` (see the tracer's `join`).
fn moves_several(e: &Entry, pid: u32) -> bool {
    let part = e.args[0]..e.args[0].saturating_add(e.args[1]);
    i64::from(e.nr) == libc::SYS_mremap && maps::are_several(pid, part)
}

impl Dispatcher {
    /// Gives replica `r` the result of the decided call `seq`.
    pub(super) fn answer(&mut self, t: usize, r: usize, seq: u64) {
        if self.is_rolling(t) && self.bears_vfork_again(t, r, seq) {
            return;
        }
        let e = *self.arena.entry(t, seq);
        let replica = self.arena.task(t).replicas[r];
        let (listener, id) = (replica.listener as i32, replica.id);
        let mut ret = e.ret;
        if e.inside != 0 {
            self.write_inside(t, replica.pid, &e);
        }
        self.behind |= self.arena.task(t).inside.fast != 0;
        if e.how == how::VALUE || e.outs != 0 {
            for p in self.arena.pieces(e.outs_at, e.outs) {
                let bytes = &*self.arena.region.bytes(p.offset(), p.len as usize);
                for (i, part) in bytes.chunks(CHUNK).enumerate() {
                    if i > 0 {
                        self.beat(true);
                    }
                    if memory::write(replica.pid, p.addr + (i * CHUNK) as u64, part).is_err() {
                        ret = -i64::from(libc::EFAULT);
                        if notify::is_waiting(listener, id) {
                            self.not_taken(t, seq);
                        }
                    }
                }
            }
            if e.arm != 0 {
                let mut job = self.job_for(t, r, job::ARM);
                job.ret = ret;
                // If it has too much to do, the replica is looked at again with those that are behind.
                self.behind |= !self.ask(job);
                return;
            }
            if e.signal == 0 && self.answer_by_tracer(t, r, seq, ret) {
                return;
            }
        }
        if e.signal != 0 && self.give_signal(t, r, &e) {
            return;
        }
        let copies = if e.signal == 0 { self.freezes(t, r, seq) } else { 0 };
        let job = match e.how {
            how::PATCH => Some(Job { args: e.args, ..self.job_for(t, r, job::PATCH) }),
            how::REMAP => Some(self.remap_job(t, r, e.plan)),
            how::CONTINUE if moves_several(&e, replica.pid) => {
                Some(Job { args: e.args, ..self.job_for(t, r, job::JOIN) })
            }
            how::CONTINUE if copies != 0 => {
                Some(Job { hold: 0, ..self.job_for(t, r, job::REPAIR_BEHIND) })
            }
            _ => None,
        };
        if matches!(e.how, how::CONTINUE | how::PATCH) {
            self.lend_again(t, r, seq);
            if i64::from(e.nr) == libc::SYS_capset {
                self.name_nobody(t, r, e.args[0]);
            }
        }
        if let Some(job) = job {
            // If it has too much to do, the replica is looked at again with those that are behind.
            let asked = self.ask(Job { copies, ..job });
            self.behind |= !asked;
            if asked && copies != 0 {
                self.is_frozen_soon(t);
            }
            return;
        }
        let usable_from = self.arena.task(t).recovery.from;
        self.passes(t, seq);
        self.arena.task(t).replicas[r].next = seq + 1;
        commit();
        let sent = if e.how == how::CONTINUE {
            notify::let_continue(listener, id)
        } else {
            notify::answer(listener, id, ret)
        };
        if sent.is_err() {
            // It is gone, which the tracer reports, and never came behind the call.
            self.arena.task(t).recovery.from = usable_from;
        }
        commit();
        let replica = &mut self.arena.task(t).replicas[r];
        replica.seq = seq + 1;
        replica.class = 255;
        replica.arrived = self.now;
        commit();
        replica.state = rstate::RUNNING;
    }

    /// Lets go of entries that every replica has passed, those too that are about to be made: of a
    /// new process's, some may be several calls ahead before the others are there.
    pub(super) fn retire(&mut self, t: usize) {
        let places = self.places();
        let task = self.arena.task(t);
        let mut oldest = task.head;
        for r in &task.replicas[..task.n as usize] {
            if crate::arena::is_live(r) {
                let passed = if r.state == rstate::JOB { r.seq } else { r.seq.min(task.head) };
                oldest = oldest.min(passed);
                if r.seq < task.head && r.state == rstate::RUNNING {
                    self.behind = true;
                }
            }
        }
        task.slowest = oldest.min(task.head);
        if self.keeps_from_birth(t) {
            oldest = 0;
        }
        for p in places.filter(|p| self.is_usable(t, *p)) {
            oldest = oldest.min(self.call_of_checkpoint(t, p));
        }
        task.tail = task.tail.max(oldest.min(task.head));
        self.forget_lent(t);
        // What is not kept of a call for later is in nobody's way once all replicas are behind it.
        let kept = self.arena.entry(t, task.long_seq).once != 0;
        if task.long_used != 0 && if kept { task.tail } else { task.slowest } > task.long_seq {
            self.arena.cut_long(t, 0);
        }
    }
}
