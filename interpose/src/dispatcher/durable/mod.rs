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

mod group;
mod outside;
pub(crate) mod shared;
mod timers;
mod writing;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use chameleon_ckpt::image::{FileId, Image};
use chameleon_ckpt::undo::UndoLog;
use chameleon_sys::raw;

use super::Dispatcher;
use crate::arena::{phase, want};
use crate::durable::shared::Source;
use crate::durable::writer::Images;

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
    /// The latest image: of which tasks, and before which call of each.
    latest: Vec<(usize, u64)>,
    /// The program has set a timer of which only its outside knows, which must be free to be asked.
    pub(super) timed: bool,
    /// When the latest image was begun or given up, in monotonic nanoseconds.
    image_at: u64,
    /// Where the bytes of the shared memory of the latest cut are, by place in its image.
    shared: Vec<Source>,
    /// Since when a checkpoint of a group has been put off because its moment could not be kept; or 0.
    put_off_since: u64,
    /// Why there was no image; said once each.
    told: Vec<String>,
}

/// Checkpoints that have been asked for, and the outside's records.
#[derive(Debug)]
struct Cut {
    parts: Vec<Part>,
    began: u64,
    image: Image,
}

/// What a cut has of one process.
#[derive(Clone, Debug)]
struct Part {
    /// Its threads, the first one first, and the call that each stands before.
    threads: Vec<(usize, u64)>,
    /// Where its checkpoint is, once it has been made.
    place: Option<usize>,
}

impl Part {
    /// The task of its first thread.
    fn leader(&self) -> usize {
        self.threads[0].0
    }
}

/// An image that is being written.
#[derive(Debug)]
struct Writing {
    parts: Vec<Part>,
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
            latest: Vec::new(),
            timed: true, // perhaps, until it has been asked
            image_at: raw::now_ns(),
            shared: Vec::new(),
            put_off_since: 0,
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

    /// Whether an image is due by time, whatever checkpoints in memory there have been since the latest.
    pub(super) fn image_is_due(&self) -> bool {
        let (Some(durable), Some(c)) = (&self.durable, self.settings.checkpoints) else {
            return false;
        };
        let free = durable.cut.is_none() && durable.writing.is_none();
        free && c.cadence.due(self.now, durable.image_at, 0, 0)
    }

    /// The tracer has been asked for a checkpoint of task `t`, for the reason `why`: if it goes into an
    /// image, the outside is described now.
    pub(super) fn begin_cut(&mut self, t: usize, why: u32) {
        let Some(durable) = &self.durable else { return };
        let due = matches!(why, want::TIME | want::CALLS | want::ASKED | want::JOURNAL);
        let due = due || self.image_is_due();
        if !due || durable.cut.is_some() || durable.writing.is_some() || !self.may_be_cut(t) {
            return;
        }
        let began = raw::now_ns();
        self.note_image(began);
        match self.describe_outside(t, Some(t)) {
            Ok(image) => drop(self.cut(t, began, image)),
            Err(why) => self.say_no_image(t, 0, began, why),
        }
    }

    fn cut(&mut self, t: usize, began: u64, image: Image) -> bool {
        let parts = vec![Part { threads: vec![(t, self.arena.task(t).head)], place: None }];
        if !self.begin_log(image.sequence) {
            return false;
        }
        if let Some(durable) = &mut self.durable {
            durable.cut = Some(Cut { parts, began, image });
        }
        true
    }

    /// An image is begun, or there is none at this moment.
    fn note_image(&mut self, now: u64) {
        if let Some(durable) = &mut self.durable {
            durable.image_at = now;
        }
    }

    /// A checkpoint is due of a task that waits in a call for long: it is made there, and the call made
    /// again by whoever goes on from it.
    pub(super) fn cut_waiting(&mut self, t: usize) {
        let Some(durable) = &self.durable else { return };
        let task = self.arena.task(t);
        let latest = durable.latest.contains(&(t, task.head));
        let busy = durable.cut.is_some() || durable.writing.is_some() || durable.timed || latest;
        let e = self.arena.entry(t, task.head);
        if busy
            || task.group != 0
            || task.phase != phase::WORK
            || !WAITS.contains(&i64::from(e.nr))
            || !matches!(self.wanted(t), want::TIME | want::JOURNAL)
        {
            return;
        }
        let Some(before) = asleep(task.tid) else { return };
        let began = raw::now_ns();
        let described = self.describe_outside(t, None);
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
}
