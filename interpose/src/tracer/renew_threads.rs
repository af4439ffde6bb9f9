//! The threads of a process that was made of an image, and the other replicas of all of them.
//!
//! Invariant: nothing runs before every thread of every replica is there.

use chameleon_ckpt::image::Process;
use chameleon_sys::tracee::{self, Regs};

use super::threads::{CLEARS, LIKE_A_THREAD};
use super::{Read, Tracer};
use crate::arena::{Job, MAX_REPLICAS, Replica, commit, rstate};
use crate::durable::threads;

type Outcome<T> = Result<T, String>;

impl Tracer {
    /// Makes the other threads of replica 0 of the process of task `leader`, whose first thread is `pid`, and copies
    /// of all.
    pub(super) fn renew_threads(
        &mut self,
        pid: u32,
        leader: usize,
        process: &Process,
        n: usize,
    ) -> Outcome<()> {
        let mut tasks = threads::tasks_of(self.arena, leader);
        let mut own = process.threads.as_slice();
        if process.first_has_ended() {
            // The one that was made in its place is the next.
            own = &own[1..];
            tasks.remove(0);
            self.becomes(pid, leader, tasks[0]);
        }
        let first = tasks[0];
        let text = |e: chameleon_sys::Error| e.to_string();
        let regs = Regs { orig_rax: u64::MAX, ..tracee::regs(pid).map_err(text)? };
        for (&t, thread) in tasks.iter().zip(own).skip(1) {
            let clears = thread.clear_child_tid;
            let flags = LIKE_A_THREAD | if clears != 0 { CLEARS } else { 0 };
            let made = self.clone_in(pid, &regs, [flags, 0, 0, clears, 0]).map_err(text)?;
            self.adopt(made.child, t, 0, Read::default());
            self.inherit_patches(leader, t);
            self.renew_thread((made.child, made.regs), thread)?;
            let like = self.arena.task(first).replicas[0];
            let own = &mut self.arena.task(t).replicas[0];
            let arrived = own.arrived;
            *own = Replica { pid: made.child, execs: 0, arrived, state: rstate::NONE, ..like };
            commit();
            own.state = rstate::RUNNING;
        }
        tracee::set_regs(pid, &regs).map_err(text)?;
        if n == 1 {
            return Ok(());
        }
        let mut all = Vec::new();
        for t in tasks {
            let own = self.arena.task(t).replicas[0].pid;
            let regs = Regs { orig_rax: u64::MAX, ..tracee::regs(own).map_err(text)? };
            let context = self.context_of(t, own, regs).map_err(text)?;
            tracee::set_regs(own, &regs).map_err(text)?;
            all.push(context);
        }
        let copies = (1 << n) - 2;
        let job = Job { copies, ..bytemuck::Zeroable::zeroed() };
        let mut made = Vec::new();
        self.make_copies(&job, &all, &mut made).map_err(text)?;
        for m in &made {
            self.join(m, 0);
        }
        tracee::set_regs(pid, &regs).map_err(text)
    }

    /// Replica 0 of task `from`, the process `pid`, is that of another thread, `to`: `from` has ended.
    fn becomes(&mut self, pid: u32, from: usize, to: usize) {
        self.adopt(pid, to, 0, Read::default());
        self.inherit_patches(from, to);
        let was = self.arena.task(from).replicas[0];
        let gone = Replica { state: rstate::NONE, class: 255, ..bytemuck::Zeroable::zeroed() };
        self.arena.task(from).replicas = [gone; MAX_REPLICAS];
        let own = &mut self.arena.task(to).replicas[0];
        *own = Replica { arrived: own.arrived, ..was };
        commit();
    }
}
