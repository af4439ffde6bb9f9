//! What the outside of a program is, at the moment of a cut.
//!
//! Invariant: reads only; what cannot be kept is an error that names it.

use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{Descriptor, Image, Machine, OpenFile, Process, Timer};
use chameleon_ckpt::write::Writer;
use chameleon_sys::executor::{slot, state};
use chameleon_sys::{executor, raw};

use super::Dispatcher;
use crate::durable::files::{Files, mark_writable};
use crate::durable::process as outside;
use crate::outside::op;

impl Dispatcher {
    /// What the outside of the process of task `t` is now. Its timers are known if the executor of one of its
    /// threads is free to be `asked`.
    pub(super) fn describe_outside(
        &mut self,
        t: usize,
        asked: Option<usize>,
    ) -> Result<Image, String> {
        let live = |o: usize| matches!(self.arena.task(o).used, 1..=3);
        let of = |o: usize| self.arena.task(o).leader as usize;
        let others = (0..self.tasks()).filter(|o| *o != t && live(*o));
        let processes = 1 + others.filter(|o| of(*o) == *o).count();
        let threads: Vec<usize> = (0..self.tasks()).filter(|o| live(*o) && of(*o) == t).collect();
        if threads.len() > 1 && self.group_of(t).is_none() {
            return Err("it has several threads".to_owned());
        }
        if processes > 1 {
            return Err("it has several processes".to_owned());
        }
        let task = self.arena.task(t);
        if task.shares != 0 {
            return Err("it shares memory with others".to_owned());
        }
        if task.timers.iter().any(|timer| timer.armed != 0) {
            return Err("it has timers of CPU time (setitimer(2))".to_owned());
        }
        let tgid = self.arena.task(t).tgid;
        for one in threads {
            self.take_signals(one);
            let task = self.arena.task(one);
            if task.used != 2 || task.pending != 0 || outside::has_pending(tgid, task.tid) {
                return Err("a signal is on its way to it".to_owned());
            }
        }
        let mut process = outside::describe(tgid)?;
        if process.root != b"/" {
            return Err("its root directory is not / (chroot(2))".to_owned());
        }
        if let Some(asked) = asked {
            let timer = self.real_timer(asked)?;
            process.timers = timer.into_iter().collect();
            if let Some(durable) = &mut self.durable {
                durable.timed = !process.timers.is_empty();
            }
        } else if self.group_of(t).is_some() && self.durable.as_ref().is_some_and(|d| d.timed) {
            return Err("a timer cannot be asked while all its threads wait".to_owned());
        }
        let (descriptors, open) = self.describe_files(t, tgid)?;
        process.descriptors = descriptors;
        self.fill_process(t, &mut process);
        let Some(durable) = &self.durable else { return Err(String::new()) };
        let sequence = Writer::inherit(&durable.images.dir).next_sequence();
        Ok(Image {
            sequence: sequence.map_err(|e| e.to_string())?,
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
            processes: vec![process],
            shared: Vec::new(),
            files: open,
            opaque: durable.images.options.clone(),
        })
    }

    #[allow(clippy::type_complexity)]
    fn describe_files(
        &mut self,
        t: usize,
        tgid: u32,
    ) -> Result<(Vec<Descriptor>, Vec<OpenFile>), String> {
        self.watch_executor(t);
        let own = [executor::bell_fd(), executor::lifeline_fd()];
        let mut files = Files::default();
        let all = files.of(tgid, self.pidfds[t], &own)?;
        mark_writable(&mut files.open);
        Ok((all, files.open))
    }

    fn fill_process(&self, t: usize, process: &mut Process) {
        let task = self.arena.task(t);
        process.pid = self.arena.number(t);
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
    fn real_timer(&mut self, t: usize) -> Result<Option<Timer>, String> {
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
