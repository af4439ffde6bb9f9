//! Fault injection: a bit of a register or of memory flipped, a replica killed or stopped for
//! ever, at a trapped call of its choice; and looking for faults that have not shown yet.
//!
//! Invariant: an injection happens at most once in a run, whoever is in charge of it.

use chameleon_proto::event::{Address, Bytes, Event, Injected, Latent};
use chameleon_proto::inject::{Area, Fault, Injection, Reg};
use chameleon_sys::{memory, process};

use super::Dispatcher;
use crate::arena::{job, rstate};
use crate::maps::{self, Range};

impl Dispatcher {
    fn due(&self, t: usize, r: usize) -> Option<(usize, Injection)> {
        if self.settings.injections.is_empty() {
            return None;
        }
        let task = self.arena.task(t);
        let calls = task.replicas[r].calls;
        let done = self.arena.header().injected;
        self.settings.injections.iter().copied().enumerate().take(64).find(|(i, inj)| {
            done & (1 << i) == 0
                && inj.replica as usize == r
                // One whose call offered no place for it strikes at the next that does.
                && inj.call <= calls
                && inj.process == task.ordinal
        })
    }

    fn injected(&mut self, t: usize, i: usize, inj: &Injection) {
        self.arena.header().injected |= 1 << i;
        self.report.say(Event::Injected(Injected {
            process: self.arena.task(t).tgid,
            replica: inj.replica,
            call: inj.call,
            fault: inj.fault,
        }));
    }

    /// Faults that strike before the call is looked at: memory, kill.
    pub(super) fn put_faults(&mut self, t: usize, r: usize) {
        let Some((i, inj)) = self.due(t, r) else { return };
        let pid = self.arena.task(t).replicas[r].pid;
        match inj.fault {
            Fault::Mem { area, bit, offset } => {
                if let Some(range) = area_of(pid, area) {
                    let addr = range.start + offset.unwrap_or(0) % range.len().max(1);
                    let mut byte = [0u8; 1];
                    if memory::read(pid, addr, &mut byte).is_ok() {
                        byte[0] ^= 1 << (bit.unwrap_or(0) & 7);
                        let _ = memory::write(pid, addr, &byte);
                    }
                }
                self.injected(t, i, &inj);
            }
            Fault::Kill => {
                self.injected(t, i, &inj);
                process::kill(pid, libc::SIGKILL);
            }
            Fault::Reg { .. } | Fault::Hang => {}
        }
    }

    /// Faults that strike when the replica goes on behind its call: registers, hang. True when
    /// the tracer answers the call.
    /// A checkpoint that is due there is made first.
    pub(super) fn fault_behind(&mut self, t: usize, r: usize, seq: u64, ret: i64) -> bool {
        let Some((i, inj)) = self.due(t, r) else { return false };
        let (kind, args) = match inj.fault {
            Fault::Reg { reg, bit } => {
                let place = Reg::ALL.iter().position(|x| *x == reg).unwrap_or(0) as u64;
                (job::FLIP, [place, u64::from(bit), 0, 0, 0, 0])
            }
            Fault::Hang => (job::HANG, [0; 6]),
            Fault::Mem { .. } | Fault::Kill => return false,
        };
        let mut job = self.job_for(t, r, kind);
        job.ret = ret;
        job.args = args;
        if self.arena.task(t).group == 0 {
            job.copies = self.freezes(t, r, seq);
        }
        if !self.ask(job) {
            return false;
        }
        if job.copies != 0 {
            self.is_frozen_soon(t);
        }
        self.injected(t, i, &inj);
        true
    }

    /// Compares the writable memory of donor `r` with that of the others at the same call: it is
    /// fit to be copied if it equals at least one, and more than it differs from. What differs is
    /// told once for each pair.
    pub(super) fn is_sound(&mut self, t: usize, r: usize) -> bool {
        let task = self.arena.task(t);
        let donor = task.replicas[r];
        let (mut equal, mut different) = (0, 0);
        for o in (0..task.n as usize).filter(|o| *o != r) {
            let x = self.arena.task(t).replicas[o];
            if x.state != rstate::PARKED || x.seq != donor.seq {
                continue;
            }
            let ranges = maps::writable(donor.pid);
            let found =
                ranges.into_iter().find_map(|g| maps::first_difference(donor.pid, x.pid, g));
            let Some((address, expected, got)) = found else {
                equal += 1;
                continue;
            };
            different += 1;
            if !self.latent_told.contains(&(donor.pid, x.pid)) {
                self.latent_told.push((donor.pid, x.pid));
                self.report.say(Event::Latent(Latent {
                    process: self.arena.task(t).tgid,
                    donor: r as u8,
                    other: o as u8,
                    address: Address(address),
                    expected: Bytes::of(&expected),
                    got: Bytes::of(&got),
                }));
            }
        }
        equal > different
    }
}

fn area_of(pid: u32, area: Area) -> Option<Range> {
    match area {
        Area::Heap => maps::heap(pid),
        Area::Stack => maps::stack(pid),
        Area::Data => maps::data(pid),
        Area::Shared => maps::shadows(pid).first().map(|s| s.range),
    }
}
