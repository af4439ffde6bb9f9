//! Where replicas, the dispatcher, the tracer and the executors run, and measuring for that decision;
//! one decision for the whole tree.
//!
//! A request to an executor on another CPU costs two wake-ups across CPUs, more than the vote; so it
//! is placed as the replicas are, and the program is told of the CPUs that it was given itself.
//!
//! Invariant: decisions are `policy::placement`'s; here they are only measured for and carried out.
//! A process of ours that is created inherits its maker's CPUs, so a new task is placed as its
//! parent was until the next period.

use chameleon_policy::cpus::CpuSet;
use chameleon_policy::placement::{Period as Measured, Placement, Placer};
use chameleon_sys::executor::slot;
use chameleon_sys::{cpu, notify, raw};

use super::Dispatcher;
use super::work::Outcome;
use crate::table::row::Row;

/// Milliseconds until a look when replicas compute together and nothing else happens.
pub(super) const LOOK_MS: i32 = 10;

/// Nanoseconds between looks.
const PERIOD_NS: u64 = 10_000_000;

/// What was counted at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Period {
    at: u64,
    calls: u64,
    cpu: u64,
}

impl Dispatcher {
    pub(super) fn start_placing(&mut self) {
        let allowed = CpuSet(cpu::allowed(0));
        let placer = Placer::new(self.settings.placement, allowed, cpu::current());
        self.period.at = raw::now_ns();
        self.carry_out(placer.current(), &placer);
        self.placer = Some(placer);
    }

    /// Whether a look at the clock is needed although nothing happens: only while several CPUs
    /// could be used and are not.
    pub(super) fn placing(&self) -> bool {
        self.placer.as_ref().is_some_and(|p| p.adapts() && p.current() != Placement::Spread)
            && self.someone_computes()
    }

    fn someone_computes(&self) -> bool {
        (0..self.tasks()).any(|t| {
            let task = self.arena.task(t);
            task.used == 2
                && task.replicas[..task.n as usize]
                    .iter()
                    .any(|r| r.state == crate::arena::rstate::RUNNING)
        })
    }

    /// Measures a period if one has passed, and acts on what the policy says.
    pub(super) fn place_again(&mut self) {
        let Some(mut placer) = self.placer.filter(Placer::adapts) else { return };
        let now = self.now;
        let wall_ns = now - self.period.at;
        if wall_ns < PERIOD_NS {
            return;
        }
        let mut cpu = self.arena.header().cpu;
        let mut n = 0;
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 2 {
                continue;
            }
            for (r, x) in task.replicas[..task.n as usize].iter().enumerate() {
                if x.pid != 0 && crate::arena::is_live(x) {
                    n = task.n;
                    // The clock is that of the whole process: once for all of its threads.
                    if task.leader as usize == t {
                        cpu += self.replica_cpu_ns(t, r);
                    }
                }
            }
        }
        let calls = self.arena.header().calls;
        let measured = Measured {
            calls: calls - self.period.calls,
            wall_ns,
            cpu_ns: cpu.saturating_sub(self.period.cpu),
            n: n as u8,
        };
        self.period = Period { at: now, calls, cpu };
        if let Some(p) = placer.observe(&measured) {
            self.carry_out(p, &placer);
        }
        self.placer = Some(placer);
    }

    fn carry_out(&mut self, p: Placement, placer: &Placer) {
        let mask = match p {
            Placement::Together(c) => {
                let mut one = CpuSet([0; 16]);
                one.insert(c);
                one
            }
            Placement::Spread => *placer.allowed(),
        };
        let together = matches!(p, Placement::Together(_));
        for l in &self.settings.listeners {
            notify::set_sync_wake_up(*l, together);
        }
        self.home = together.then_some(mask.0);
        cpu::set(0, &mask.0);
        cpu::set(self.settings.supervisor, &mask.0);
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used == 0 {
                continue;
            }
            self.place_executor(t);
            for r in &task.replicas[..task.n as usize] {
                if r.pid != 0 && crate::arena::is_live(r) {
                    cpu::set(r.pid, &mask.0);
                }
            }
        }
    }

    /// Has an executor run with the replicas, or wherever the program wants to be.
    fn place_executor(&self, t: usize) {
        let task = self.arena.task(t);
        if task.used == 2 && task.tid != 0 {
            cpu::set(task.tid, self.home.as_ref().unwrap_or(&task.cpus));
        }
    }

    /// The task whose thread the program calls `number`; 0 is its own.
    fn task_of_thread(&self, t: usize, number: u32) -> Option<usize> {
        match number {
            0 => Some(t),
            n => (0..self.tasks()).find(|o| {
                let task = self.arena.task(*o);
                task.used == 2 && task.tid == n
            }),
        }
    }

    /// sched_setaffinity(2) has succeeded: what the kernel made of it is what the program is told.
    pub(super) fn affinity_was_set(&mut self, t: usize) {
        let number = self.arena.entry(t, self.arena.task(t).head).args[0] as u32;
        if let Some(o) = self.task_of_thread(t, number) {
            let task = self.arena.task(o);
            task.cpus = cpu::allowed(task.tid);
            self.place_executor(o);
        }
    }

    /// sched_getaffinity(2).
    pub(super) fn affinity(&mut self, t: usize, r: &'static Row) -> Outcome {
        let e = *self.arena.entry(t, self.arena.task(t).head);
        let outcome = self.performed(t, r);
        let at = self.arena.slot(t) + slot::ARGS;
        let args = *self.arena.region.record::<[u64; 6]>(at);
        if let (Outcome::Value(n), Some(o), Some(place)) = (
            outcome,
            self.task_of_thread(t, e.args[0] as u32),
            self.arena.region.offset_of(args[2]),
        ) && n > 0
        {
            let n = (n as usize).min(128);
            let cpus = self.arena.task(o).cpus;
            let shown: &[u8] = bytemuck::cast_slice(&cpus);
            self.arena.region.bytes(place, n).copy_from_slice(&shown[..n]);
        }
        outcome
    }
}
