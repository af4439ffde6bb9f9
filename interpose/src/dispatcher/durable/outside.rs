//! What the outside of a program is, at the moment of a cut.
//!
//! Invariant: reads only; what cannot be kept is an error that names it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chameleon_ckpt::image::{Clocks, Image, Machine, OpenFile, Process};
use chameleon_ckpt::write::Writer;
use chameleon_sys::{executor, raw};

use super::Dispatcher;
use crate::arena::Replica;
use crate::durable::files::{Files, mark_writable};
use crate::durable::process as outside;
use crate::maps;

impl Dispatcher {
    /// What stands in the way of an image whatever the processes do next: of which task, and why.
    pub(super) fn prevents_image(&self) -> Option<(usize, String)> {
        if let (Some(why), Some(first)) = (self.ipc_in_the_way(), self.processes().first()) {
            return Some((*first, why.to_owned()));
        }
        (0..self.tasks()).find_map(|t| {
            let task = self.arena.task(t);
            let why = if task.used != 2 {
                return None;
            } else if task.no_repair != 0 && task.vfork_parent == 0 {
                "it runs in another's memory (clone(2), CLONE_VM)"
            } else if !self.shares_in_order(t) {
                "it shares memory with others in no common order"
            } else {
                return None;
            };
            Some((task.leader as usize, why.to_owned()))
        })
    }

    /// What the outside of the processes of `tasks` is now, a parent before its children. With each goes the
    /// thread whose executor is free to be asked for timers, if any is.
    pub(super) fn describe_outside(
        &mut self,
        tasks: &[(usize, Option<usize>)],
    ) -> Result<Image, (usize, String)> {
        let empty = self.durable.as_mut().map(|d| std::mem::take(&mut d.empty)).unwrap_or_default();
        let mut files = Files::knowing(empty);
        let described = self.describe_all(tasks, &mut files);
        if let Some(durable) = &mut self.durable {
            durable.empty = std::mem::take(&mut files.empty);
        }
        described
    }

    fn describe_all(
        &mut self,
        tasks: &[(usize, Option<usize>)],
        files: &mut Files,
    ) -> Result<Image, (usize, String)> {
        let (mut processes, mut ended) = (Vec::new(), Vec::new());
        for (t, _) in tasks {
            // Before any descriptor is looked at: one may have open what another maps.
            self.describe_objects(*t, files).map_err(|why| (*t, why))?;
        }
        for (t, asked) in tasks {
            let process = self.describe_process(*t, *asked, files).map_err(|why| (*t, why))?;
            let known = |pid| tasks.iter().any(|(o, _)| self.arena.task(*o).tgid == pid);
            ended.extend(outside::ended_children(process.pid, known).map_err(|why| (*t, why))?);
            processes.push(process);
        }
        let first = tasks.first().map_or(0, |(t, _)| *t);
        files.finish().map_err(|why| (first, why))?;
        mark_writable(&mut files.open);
        self.name_owners(&mut files.open, &processes).map_err(|why| (first, why))?;
        processes.append(&mut ended);
        for one in &mut processes {
            // As the program knows them.
            for number in [&mut one.pid, &mut one.parent, &mut one.pgid, &mut one.sid] {
                *number = self.arena.shown(*number);
            }
        }
        let memory = std::mem::take(&mut files.memory).into_iter();
        let (shared, sources) = memory.map(|one| (one.object, one.source)).unzip();
        let Some(durable) = &mut self.durable else { return Err((first, String::new())) };
        durable.shared = sources;
        let sequence = Writer::inherit(&durable.images.dir).next_sequence();
        Ok(Image {
            sequence: sequence.map_err(|e| (first, e.to_string()))?,
            parent: None,
            whole: None, // the writer says
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_ns: raw::clock_ns(libc::CLOCK_REALTIME),
            clocks: Clocks {
                monotonic_ns: raw::clock_ns(libc::CLOCK_MONOTONIC),
                boottime_ns: raw::clock_ns(libc::CLOCK_BOOTTIME),
            },
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
            shared,
            files: std::mem::take(&mut files.open),
            // As they are now: people may have set another cadence.
            opaque: self.settings.checkpoints.map(|c| c.written()).unwrap_or_default(),
        })
    }

    /// Whom open files tell by signals, as the program knows them.
    fn name_owners(&self, files: &mut [OpenFile], processes: &[Process]) -> Result<(), String> {
        let is_thread = |number| {
            let mut all = (0..self.tasks()).map(|t| self.arena.task(t));
            all.any(|task| task.used != 0 && task.tid == number)
        };
        let is_one =
            |number| processes.iter().any(|one| [one.pid, one.pgid, one.sid].contains(&number));
        for file in files {
            let number = &mut file.owner.number;
            if *number != 0 && !is_thread(*number) && !is_one(*number) {
                return Err(format!(
                    "an open file sends signals to {number}, who is not of the program (fcntl(2), F_SETOWN)"
                ));
            }
            *number = self.arena.shown(*number);
        }
        Ok(())
    }

    fn describe_process(
        &mut self,
        t: usize,
        asked: Option<usize>,
        files: &mut Files,
    ) -> Result<Process, String> {
        let tgid = self.arena.task(t).tgid;
        let mut process = outside::describe(tgid)?;
        if let Some(why) = self.said_in_the_way(t) {
            return Err(why.to_owned());
        }
        if process.root != b"/" {
            return Err("its root directory is not / (chroot(2))".to_owned());
        }
        let threads: Vec<usize> = (0..self.tasks()).filter(|o| self.is_thread_of(*o, t)).collect();
        for one in threads {
            if self.has_left_others(one) {
                continue;
            }
            self.take_signals(one);
            let task = self.arena.task(one);
            if task.used != 2 || task.pending != 0 || outside::has_pending(tgid, task.tid) {
                return Err("a signal is on its way to it".to_owned());
            }
        }
        let gone = process.cwd.ends_with(b" (deleted)");
        if gone && !Path::new(OsStr::from_bytes(&process.cwd)).exists() {
            return Err("its working directory has been removed".to_owned());
        }
        process.subreaper = self.arena.task(t).noted.subreaper != 0;
        process.timers = self.timers_of(t, asked)?;
        self.watch_executor(t);
        let own = [executor::bell_fd(), executor::lifeline_fd()];
        (process.descriptors, process.locks) = files.of(tgid, self.pidfds[t], &own)?;
        self.fill_process(t, &mut process);
        Ok(process)
    }

    /// Whether a task is a thread of the process of task `t`, and lives.
    fn is_thread_of(&self, o: usize, t: usize) -> bool {
        let task = self.arena.task(o);
        task.leader as usize == t && matches!(task.used, 1..=3)
    }

    fn fill_process(&self, t: usize, process: &mut Process) {
        let task = self.arena.task(t);
        process.name = outside::until_nul(&task.name);
        // Of a thread that has ended nothing is told.
        let living = (0..self.tasks()).filter(|o| self.is_thread_of(*o, t));
        let mut replicas =
            living.flat_map(|o| self.arena.task(o).replicas[..task.n as usize].iter());
        let exe = replicas.find_map(|x| match x.pid {
            0 => None,
            pid => std::fs::read_link(format!("/proc/{pid}/exe")).ok(),
        });
        let locked = |x: &Replica| (x.pid != 0).then(|| maps::locked(x.pid));
        let mut replicas = self.arena.task(t).replicas[..task.n as usize].iter();
        process.locked = replicas.find_map(locked).unwrap_or_default();
        process.exe = exe.map(|exe| exe.as_os_str().as_bytes().to_vec()).unwrap_or_default();
        // What makes an image of the same program the same to it: AT_RANDOM, and what `ps` shows.
        process.opaque = bytemuck::bytes_of(&task.random).to_vec();
        process
            .opaque
            .extend(std::fs::read(format!("/proc/{}/cmdline", task.tgid)).unwrap_or_default());
    }
}
