//! Durable checkpoints: at one moment at which no call of any process is being performed the outside is
//! described, and a process of its own writes that and a checkpoint of each process to an image.
//!
//! ```text
//!   checkpoint due ─► every process frozen where it is ─► cut: outside described, undo log begun
//!                  ─► writer forked ─► image, or why not
//! ```
//!
//! Invariant: what is described is exactly what the outside was behind the last call of each process that
//! its checkpoint stands behind; from then on nothing changes a file before the undo log has what was
//! there. A checkpoint that is being read stays.

mod asked;
mod cut;
mod group;
mod increments;
mod ipc;
mod noted;
mod outside;
pub(crate) mod shared;
mod timers;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use chameleon_ckpt::image::FileId;
use chameleon_ckpt::undo::UndoLog;
use chameleon_proto::runs::ImageState;
use chameleon_sys::raw;

use super::Dispatcher;
use crate::arena::commit;
use crate::durable::shared::Source;
use crate::durable::writer::Images;
pub(super) use cut::LOOK_MS;

/// What the dispatcher keeps for images.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) images: Images,
    /// What undoes what is done to files since the latest cut; none before the first.
    pub(super) log: Option<UndoLog>,
    /// Files that were written to, open for reading.
    pub(super) files: BTreeMap<FileId, (PathBuf, File)>,
    stage: Stage,
    /// How often in a row the processes could not be brought to one moment.
    failed: u32,
    /// When that may be tried again, in monotonic nanoseconds.
    retry_at: u64,
    writing: Option<Writing>,
    /// The latest image: of which tasks, and before which call of each.
    latest: Vec<(usize, u64)>,
    /// Since when a checkpoint that is due has been waiting for the replica whose writes are watched, in
    /// monotonic nanoseconds; or 0.
    waiting: u64,
    /// The request for a checkpoint up to which the image that is now dealt with answers all.
    serving: u64,
    /// What became of the latest image, and up to which request that answers all.
    became: Option<(u64, ImageState)>,
    /// When the latest image was begun, in monotonic nanoseconds.
    image_at: u64,
    /// Where the bytes of the shared memory of the latest cut are, by place in its image.
    shared: Vec<Source>,
    /// Why there was no image; said once each.
    told: Vec<String>,
    /// Sockets, by inode, in which an empty datagram was found once (`crate::durable::sockets`).
    empty: BTreeSet<u64>,
}

/// How far the next cut is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// None is due.
    #[default]
    No,
    /// One is, since then; calls are performed.
    Due(u64),
    /// No call is begun, since then.
    Held(u64),
}

/// What a cut has of one process.
#[derive(Clone, Debug)]
struct Part {
    /// The task of its first thread.
    leader: usize,
    /// Its threads, the first one first, and the call that each stands before.
    threads: Vec<(usize, u64)>,
    /// Where its checkpoint is.
    place: usize,
    /// How much it has written in the write that it waits in.
    written: u64,
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

impl Durable {
    pub(super) fn new(images: Images) -> Self {
        Self {
            images,
            log: None,
            files: BTreeMap::new(),
            stage: Stage::No,
            failed: 0,
            retry_at: 0,
            writing: None,
            latest: Vec::new(),
            waiting: 0,
            serving: 0,
            became: None,
            image_at: raw::now_ns(),
            shared: Vec::new(),
            told: Vec::new(),
            empty: BTreeSet::new(),
        }
    }
}

impl Dispatcher {
    /// Whether an image is due by time, whatever checkpoints in memory there have been since the latest.
    pub(super) fn image_is_due(&self) -> bool {
        let (Some(durable), Some(c)) = (&self.durable, self.settings.checkpoints) else {
            return false;
        };
        let free = durable.writing.is_none() && self.now >= durable.retry_at;
        free && c.cadence.due(self.now, durable.image_at, 0, 0)
    }

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

    /// From now on what is done to files goes into the log of checkpoint `sequence`.
    fn begin_log(&mut self, sequence: u64) -> bool {
        let Some(durable) = &mut self.durable else { return false };
        let dir = chameleon_ckpt::dir::Dir::new(&durable.images.dir);
        match UndoLog::create(&dir, sequence) {
            Ok(log) => {
                durable.log = Some(log);
                durable.files.clear();
                self.arena.header().image = sequence;
                commit();
                true
            }
            Err(e) => {
                self.say_no_image(0, sequence, raw::now_ns(), e.to_string());
                false
            }
        }
    }
}
