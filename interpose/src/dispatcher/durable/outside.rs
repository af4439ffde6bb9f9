//! What the outside of a program is, at the moment of a cut.
//!
//! Invariant: reads only; what cannot be kept is an error that names it.

use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{Descriptor, Image, Machine, Process};
use chameleon_ckpt::write::Writer;
use chameleon_sys::{executor, raw};

use super::Dispatcher;
use crate::durable::files::{Files, mark_writable};
use crate::durable::process as outside;

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
        if self.shares_with_others(t) {
            return Err("it shares memory with others".to_owned());
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
        process.timers = self.timers_of(t, asked)?;
        let (descriptors, mut files) = self.describe_files(t, tgid)?;
        process.descriptors = descriptors;
        let memory = std::mem::take(&mut files.memory).into_iter();
        let (shared, sources) = memory.map(|one| (one.object, one.source)).unzip();
        self.fill_process(t, &mut process);
        let Some(durable) = &mut self.durable else { return Err(String::new()) };
        durable.shared = sources;
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
            shared,
            files: files.open,
            opaque: durable.images.options.clone(),
        })
    }

    fn describe_files(&mut self, t: usize, tgid: u32) -> Result<(Vec<Descriptor>, Files), String> {
        self.watch_executor(t);
        let own = [executor::bell_fd(), executor::lifeline_fd()];
        let mut files = Files::default();
        self.describe_objects(t, &mut files)?;
        let all = files.of(tgid, self.pidfds[t], &own)?;
        mark_writable(&mut files.open);
        Ok((all, files))
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
}
