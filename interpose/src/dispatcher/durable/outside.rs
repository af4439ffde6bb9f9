//! What the outside of a program is, at the moment of a cut.
//!
//! Invariant: reads only; what cannot be kept is an error that names it.

use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{Image, Machine, Process, Timer};
use chameleon_ckpt::write::Writer;
use chameleon_sys::executor::{slot, state};
use chameleon_sys::{executor, raw};

use super::Dispatcher;
use crate::durable::files::{Files, mark_writable};
use crate::durable::process as outside;
use crate::outside::op;

impl Dispatcher {
    /// What stands in the way of an image whatever the processes do next: of which task, and why.
    pub(super) fn prevents_image(&self) -> Option<(usize, String)> {
        (0..self.tasks()).find_map(|t| {
            let task = self.arena.task(t);
            let why = if task.used != 2 {
                return None;
            } else if task.leader as usize != t {
                "it has several threads"
            } else if task.shares != 0 {
                "it shares memory with others"
            } else if task.timers.iter().any(|timer| timer.armed != 0) {
                "it has timers of CPU time (setitimer(2))"
            } else {
                return None;
            };
            Some((task.leader as usize, why.to_owned()))
        })
    }

    /// What the outside of the processes of `tasks` is now, a parent before its children. The timer of one
    /// is asked for if its executor is free, which is said with it.
    pub(super) fn describe_outside(
        &mut self,
        tasks: &[(usize, bool)],
    ) -> Result<Image, (usize, String)> {
        let mut files = Files::default();
        let (mut processes, mut ended) = (Vec::new(), Vec::new());
        for (t, free) in tasks {
            let process = self.describe_process(*t, *free, &mut files).map_err(|why| (*t, why))?;
            let known = |pid| tasks.iter().any(|(o, _)| self.arena.task(*o).tgid == pid);
            ended.extend(outside::ended_children(process.pid, known).map_err(|why| (*t, why))?);
            processes.push(process);
        }
        let first = tasks.first().map_or(0, |(t, _)| *t);
        files.finish().map_err(|why| (first, why))?;
        mark_writable(&mut files.open);
        processes.append(&mut ended);
        for one in &mut processes {
            // As the program knows them.
            for number in [&mut one.pid, &mut one.parent, &mut one.pgid, &mut one.sid] {
                *number = self.arena.shown(*number);
            }
        }
        let Some(durable) = &self.durable else { return Err((first, String::new())) };
        let sequence = Writer::inherit(&durable.images.dir).next_sequence();
        Ok(Image {
            sequence: sequence.map_err(|e| (first, e.to_string()))?,
            parent: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_ns: raw::clock_ns(libc::CLOCK_REALTIME),
            run: durable.images.run,
            command: durable.images.command.clone(),
            mode: self.settings.mode.to_string(),
            machine: Machine {
                kernel: String::new(),
                arch: String::new(),
                cpu_vendor: String::new(),
                cpu_model: String::new(),
                cpu_features: Vec::new(),
                page_size: 0,
            }, // the writer says
            processes,
            shared: Vec::new(),
            files: files.open,
            opaque: durable.images.options.clone(),
        })
    }

    fn describe_process(
        &mut self,
        t: usize,
        free: bool,
        files: &mut Files,
    ) -> Result<Process, String> {
        let tgid = self.arena.task(t).tgid;
        let mut process = outside::describe(tgid)?;
        if process.root != b"/" {
            return Err("its root directory is not / (chroot(2))".to_owned());
        }
        let timed = self.durable.as_ref().is_some_and(|d| d.timed.contains_key(&t));
        if free && timed {
            process.timers = self.real_timer(t)?.into_iter().collect();
            if process.timers.is_empty()
                && let Some(durable) = &mut self.durable
            {
                durable.timed.remove(&t);
            }
        }
        self.watch_executor(t);
        let own = [executor::bell_fd(), executor::lifeline_fd()];
        process.descriptors = files.of(tgid, self.pidfds[t], &own)?;
        self.fill_process(t, &mut process);
        Ok(process)
    }

    fn fill_process(&self, t: usize, process: &mut Process) {
        let task = self.arena.task(t);
        process.name = outside::until_nul(&task.name);
        let replica = task.replicas[..task.n as usize].iter().find(|x| x.pid != 0);
        let exe = replica.and_then(|x| std::fs::read_link(format!("/proc/{}/exe", x.pid)).ok());
        process.exe = exe.map(|exe| exe.as_os_str().as_bytes().to_vec()).unwrap_or_default();
        // What makes an image of the same program the same to it: AT_RANDOM, and what `ps` shows.
        process.opaque = bytemuck::bytes_of(&task.random).to_vec();
        process
            .opaque
            .extend(std::fs::read(format!("/proc/{}/cmdline", task.tgid)).unwrap_or_default());
    }

    /// ITIMER_REAL, which only its own process is told of (getitimer(2)): the executor is asked.
    pub(super) fn real_timer(&mut self, t: usize) -> Result<Option<Timer>, String> {
        let at = self.arena.slot(t);
        let region = self.arena.region;
        let word = region.atomic_u32(at + slot::STATE);
        let before = word.load(std::sync::atomic::Ordering::Acquire);
        let place = region.address(at + slot::AGAIN);
        *region.record::<[u64; 4]>(at + slot::AGAIN) = [0; 4];
        self.fill(t, op::PERFORM, [libc::ITIMER_REAL as u64, place, 0, 0, 0, 0]);
        region
            .atomic_u32(at + slot::NR)
            .store(libc::SYS_getitimer as u32, std::sync::atomic::Ordering::Relaxed);
        word.store(state::REQUEST, std::sync::atomic::Ordering::Release);
        raw::futex_wake(word, 1);
        let until = raw::now_ns() + 1_000_000_000;
        while word.load(std::sync::atomic::Ordering::Acquire) != state::DONE {
            if raw::now_ns() > until {
                return Err("its outside does not answer".to_owned());
            }
            raw::futex_wait_for(word, state::RUNNING, 1);
        }
        let ret = region.atomic_u64(at + slot::RET).load(std::sync::atomic::Ordering::Relaxed);
        word.store(before, std::sync::atomic::Ordering::Release);
        if ret as i64 != 0 {
            return Err("its timer cannot be asked (a signal came)".to_owned());
        }
        let [every, every_us, left, left_us] = *region.record::<[u64; 4]>(at + slot::AGAIN);
        let ns = |seconds: u64, us: u64| seconds * 1_000_000_000 + us * 1000;
        let (left_ns, every_ns) = (ns(left, left_us), ns(every, every_us));
        let which = libc::ITIMER_REAL as u32;
        Ok((left_ns != 0).then_some(Timer::Interval { which, left_ns, every_ns }))
    }
}
