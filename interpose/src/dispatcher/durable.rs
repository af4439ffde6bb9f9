//! Durable checkpoints: when a checkpoint is asked of the tracer, the outside's records of that moment are
//! kept with it, and a process of its own writes both to an image.
//!
//! ```text
//!   checkpoint due ─► cut: outside described, undo log begun ─► frozen ─► writer forked ─► image, or why not
//! ```
//!
//! Invariant: a cut is made while no call is being performed, so that the outside is exactly what it was
//! behind the checkpoint's last call; from then on nothing changes a file before the undo log has what
//! was there. A checkpoint that is being read stays.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use chameleon_ckpt::image::{FileId, Image, Machine, OpenFile, Process, Timer};
use chameleon_ckpt::undo::UndoLog;
use chameleon_ckpt::write::Writer;
use chameleon_proto::event::{self, Event};
use chameleon_sys::executor::{slot, state};
use chameleon_sys::process::{self as own, Fork};
use chameleon_sys::{executor, fd, raw};

use super::{Dispatcher, IMAGE};
use crate::arena::{JOBS, phase, want};
use crate::durable::files::{Files, mark_writable};
use crate::durable::process as outside;
use crate::durable::writer::{self, Images, Outcome};
use crate::outside::op;

/// What the dispatcher keeps for images.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) images: Images,
    /// What undoes what is done to files since the latest cut; none before the first.
    pub(super) log: Option<UndoLog>,
    /// Files that were written to, open for reading.
    pub(super) files: BTreeMap<FileId, (PathBuf, File)>,
    /// A file that the call at a task's head is about to make.
    pub(super) making: Option<(usize, u64, PathBuf)>,
    cut: Option<Cut>,
    writing: Option<Writing>,
    /// The latest image: of which task, and before which call.
    latest: Option<(usize, u64)>,
    /// The program has set a timer of which only its outside knows, which must be free to be asked.
    pub(super) timed: bool,
    /// Why there was no image; said once each.
    told: Vec<String>,
}

/// A checkpoint that has been asked for, and the outside's records.
#[derive(Debug)]
struct Cut {
    task: usize,
    seq: u64,
    began: u64,
    image: Image,
}

/// An image that is being written.
#[derive(Debug)]
struct Writing {
    task: usize,
    seq: u64,
    image: u64,
    began: u64,
    pipe: i32,
    pid: u32,
}

/// Calls that take nothing before they come back, so that they can be made again.
const WAITS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
];

/// How often a thread has gone to sleep, if it sleeps in a call (proc_pid_status(5)): the same number later
/// means that it has slept all the time.
fn asleep(tid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
    };
    let sleeps = value("State")?.starts_with('S');
    let often = value("voluntary_ctxt_switches")?.parse().ok()?;
    sleeps.then_some(often)
}

impl Durable {
    pub(super) fn new(images: Images) -> Self {
        Self {
            images,
            log: None,
            files: BTreeMap::new(),
            making: None,
            cut: None,
            writing: None,
            latest: None,
            timed: true, // perhaps, until it has been asked
            told: Vec::new(),
        }
    }
}

impl Dispatcher {
    /// A successor goes on with the undo log; whatever was being written has gone with its writer.
    pub(super) fn settle_images(&mut self) {
        let latest = self.arena.header().image;
        let Some(durable) = &mut self.durable else { return };
        if latest != 0 {
            let dir = chameleon_ckpt::dir::Dir::new(&durable.images.dir);
            match UndoLog::reopen(&dir, latest) {
                Ok(log) => durable.log = Some(log),
                Err(e) => self.undo_is_broken(&e.to_string()),
            }
        }
        for t in 0..self.tasks() {
            self.arena.task(t).recovery.pinned = 0;
        }
    }

    /// Whether the outside of a task is between two calls, so that it can be described.
    pub(super) fn may_be_cut(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let between = task.phase == phase::COLLECT && self.executor_idle(t) && task.drafting == 0;
        self.durable.is_none() || between
    }

    /// The tracer has been asked for a checkpoint of task `t`, for the reason `why`: if it goes into an
    /// image, the outside is described now.
    pub(super) fn begin_cut(&mut self, t: usize, why: u32) {
        let Some(durable) = &self.durable else { return };
        let due = matches!(why, want::TIME | want::CALLS | want::ASKED | want::JOURNAL);
        if !due || durable.cut.is_some() || durable.writing.is_some() || !self.may_be_cut(t) {
            return;
        }
        let began = raw::now_ns();
        match self.describe_outside(t, true) {
            Ok(image) => drop(self.cut(t, began, image)),
            Err(why) => self.say_no_image(t, 0, began, why),
        }
    }

    fn cut(&mut self, t: usize, began: u64, image: Image) -> bool {
        let seq = self.arena.task(t).head;
        if !self.begin_log(image.sequence) {
            return false;
        }
        if let Some(durable) = &mut self.durable {
            durable.cut = Some(Cut { task: t, seq, began, image });
        }
        true
    }

    /// A checkpoint is due of a task that waits in a call for long: it is made there, and the call made
    /// again by whoever goes on from it.
    pub(super) fn cut_waiting(&mut self, t: usize) {
        let Some(durable) = &self.durable else { return };
        let task = self.arena.task(t);
        let latest = durable.latest == Some((t, task.head));
        let busy = durable.cut.is_some() || durable.writing.is_some() || durable.timed || latest;
        let e = self.arena.entry(t, task.head);
        if busy
            || task.phase != phase::WORK
            || !WAITS.contains(&i64::from(e.nr))
            || !matches!(self.wanted(t), want::TIME | want::JOURNAL)
        {
            return;
        }
        let Some(before) = asleep(task.tid) else { return };
        let began = raw::now_ns();
        let described = self.describe_outside(t, false);
        // What it waits for has come meanwhile: perhaps a part of it was taken.
        if asleep(task.tid) != Some(before) || self.arena.task(t).phase != phase::WORK {
            return;
        }
        match described {
            Ok(image) => {
                if self.cut(t, began, image) && !self.freeze_parked(t) {
                    self.forget_cut(t);
                }
            }
            Err(why) => {
                self.arena.task(t).recovery.taken_at = self.now; // not at each look
                self.say_no_image(t, 0, began, why);
            }
        }
    }

    /// From now on what is done to files goes into the log of checkpoint `sequence`.
    fn begin_log(&mut self, sequence: u64) -> bool {
        let Some(durable) = &mut self.durable else { return false };
        let dir = chameleon_ckpt::dir::Dir::new(&durable.images.dir);
        match UndoLog::create(&dir, sequence) {
            Ok(log) => {
                durable.log = Some(log);
                durable.files.clear();
                self.arena.header().image = sequence;
                true
            }
            Err(e) => {
                self.say_no_image(0, sequence, raw::now_ns(), e.to_string());
                false
            }
        }
    }

    /// What the outside of task `t` is now. Its timer is known if the executor is `free` to be asked.
    fn describe_outside(&mut self, t: usize, free: bool) -> Result<Image, String> {
        let others = (0..self.tasks()).filter(|o| *o != t && self.arena.task(*o).used != 0);
        let (threads, processes) = others.fold((1, 1), |(threads, processes), o| {
            match self.arena.task(o).leader as usize {
                leader if leader == o => (threads, processes + 1),
                _ => (threads + 1, processes),
            }
        });
        if threads > 1 {
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
        self.take_signals(t);
        if self.arena.task(t).used != 2 || self.arena.task(t).pending != 0 {
            return Err("a signal is on its way to it".to_owned());
        }
        let tgid = self.arena.task(t).tgid;
        let mut process = outside::describe(tgid)?;
        if process.root != b"/" {
            return Err("its root directory is not / (chroot(2))".to_owned());
        }
        if free {
            let timer = self.real_timer(t)?;
            process.timers = timer.into_iter().collect();
            if let Some(durable) = &mut self.durable {
                durable.timed = !process.timers.is_empty();
            }
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
    ) -> Result<(Vec<chameleon_ckpt::image::Descriptor>, Vec<OpenFile>), String> {
        self.watch_executor(t);
        let own = [executor::bell_fd(), executor::lifeline_fd()];
        let mut files = Files::default();
        let all = files.of(tgid, self.pidfds[t], &own)?;
        mark_writable(&mut files.open);
        Ok((all, files.open))
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

    /// The tracer has made the checkpoint of task `t` at `place`: if it was cut, a process writes it.
    pub(super) fn write_image(&mut self, t: usize, place: usize) {
        let Some(durable) = &mut self.durable else { return };
        if durable.cut.as_ref().is_none_or(|cut| cut.task != t) {
            return;
        }
        let Some(mut cut) = durable.cut.take() else { return };
        let x = self.arena.task(t).replicas[place];
        let stopped = *self.arena.stopped(t, place);
        let image = cut.image.sequence;
        if x.seq != cut.seq || x.pid == 0 || stopped.made != x.pid || x.deliver != 0 {
            return self.say_no_image(
                t,
                image,
                cut.began,
                "the tracer could not describe it".into(),
            );
        }
        let process = &mut cut.image.processes[0];
        process.dispositions = outside::dispositions(self.arena, t, &stopped);
        process.threads = vec![outside::thread(self.arena, t, place, &stopped)];
        match self.fork_writer(&cut, x.pid, stopped.brk) {
            Ok((pid, pipe)) => {
                self.arena.task(t).recovery.pinned = place as u32 + 1;
                let seq = cut.seq;
                let writing = Writing { task: t, seq, image, began: cut.began, pipe, pid };
                if let Some(durable) = &mut self.durable {
                    durable.writing = Some(writing);
                }
            }
            Err(e) => self.say_no_image(t, image, cut.began, format!("no process for it ({e})")),
        }
    }

    fn fork_writer(&self, cut: &Cut, pid: u32, brk: u64) -> chameleon_sys::Result<(u32, i32)> {
        let armor = raw::getpid() as u32;
        let (read, write) = fd::pipe()?;
        match own::fork() {
            Ok(Fork::Child) => match &self.durable {
                Some(d) => writer::live(&d.images, cut.image.clone(), pid, brk, write, armor),
                None => own::exit_now(1),
            },
            Ok(Fork::Parent(child)) => {
                fd::close(write);
                fd::watch(self.epoll, read, IMAGE)?;
                Ok((child, read))
            }
            Err(e) => {
                fd::close(read);
                fd::close(write);
                Err(e)
            }
        }
    }

    /// No checkpoint came of a cut: the job failed.
    pub(super) fn forget_cut(&mut self, t: usize) {
        let asked = (0..JOBS).any(|i| {
            let j = self.arena.job(i);
            j.state == 1 && j.task as usize == t && j.copies != 0
        });
        if let Some(durable) = &mut self.durable
            && !asked
        {
            durable.cut.take_if(|cut| cut.task == t);
        }
    }

    /// The writer of an image has said what became of it, or has ended.
    pub(super) fn image_is_written(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let Some(writing) = durable.writing.take() else { return };
        let mut said = vec![0; 4096];
        let n = fd::read_at(writing.pipe, &mut said, None).max(0) as usize;
        fd::unwatch(self.epoll, writing.pipe);
        fd::close(writing.pipe);
        own::reap(writing.pid);
        let t = writing.task;
        self.arena.task(t).recovery.pinned = 0;
        match Outcome::read(&said[..n]) {
            Outcome::Written(bytes) => {
                if let Some(durable) = &mut self.durable {
                    durable.latest = Some((t, writing.seq));
                }
                let image = event::Image {
                    process: self.arena.task(t).tgid,
                    program: self.name(t),
                    image: Some(writing.image),
                    kind: "full".into(),
                    bytes,
                    ms: raw::now_ns().saturating_sub(writing.began) as f64 / 1e6,
                    error: None,
                };
                self.report.say(Event::Image(image));
            }
            Outcome::Failed(why) => self.say_no_image(t, writing.image, writing.began, why),
        }
        if self.arena.task(t).used == 2 {
            self.forget_useless(t);
        }
    }

    /// There is no image; people are told each reason once.
    pub(super) fn say_no_image(&mut self, t: usize, image: u64, began: u64, why: String) {
        let event = event::Image {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            image: (image != 0).then_some(image),
            kind: "full".into(),
            bytes: 0,
            ms: raw::now_ns().saturating_sub(began) as f64 / 1e6,
            error: Some(why.clone()),
        };
        let Some(durable) = &mut self.durable else { return };
        // One that will be there with the next checkpoint is worth no line.
        let passing = why.contains("signal");
        let known = passing || durable.told.contains(&why);
        if !known {
            durable.told.push(why);
        }
        match known {
            true => self.report.say_quietly(&Event::Image(event)),
            false => self.report.say(Event::Image(event)),
        }
    }
}
