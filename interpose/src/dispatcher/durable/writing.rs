//! A cut whose checkpoints have been made goes to a process that writes it.
//!
//! Invariant: a checkpoint that is being read stays; what became of an image is said.

use chameleon_ckpt::image::{Image, Process, Thread};
use chameleon_proto::event::{self, Event};
use chameleon_proto::runs::ImageState;
use chameleon_sys::process::{self as own, Fork};
use chameleon_sys::{fd, raw};

use super::{Dispatcher, Part, Writing};
use crate::dispatcher::IMAGE;
use crate::durable::process as outside;
use crate::durable::writer::{self, Frozen, Order, Outcome};

/// What is said of a full disk ([`chameleon_ckpt::Error::NoSpace`]).
const NO_ROOM: &str = "no room for a checkpoint";

/// Why a cut may fail that succeeds soon afterwards: words of such reasons.
const PASSING: &[&str] = &[
    "signal",
    "ending",
    "being made",
    "about to become",
    "in the midst",
    "computes",
    "busy",
    "a thread is in",
    "a timer",
];
/// Cuts in a row that may fail so before people are told.
const PATIENT: u32 = 8;

impl Dispatcher {
    /// Has the image of a cut written.
    pub(super) fn write_cut(&mut self, parts: Vec<Part>, mut image: Image, began: u64) {
        let (sequence, first) = (image.sequence, parts[0].leader);
        self.pin(&parts);
        self.find_shared(&parts);
        let mut all = Vec::new();
        for (which, part) in parts.iter().enumerate() {
            match self.describe_frozen(which, part, &mut image.processes[which]) {
                Some(frozen) => all.push(frozen),
                None => {
                    let why = "the tracer could not describe it".to_owned();
                    self.unpin(&parts);
                    return self.say_no_image(first, sequence, began, why);
                }
            }
        }
        let header = self.arena.header();
        (header.image_bytes, header.image_read) = (0, 0);
        match self.fork_writer(&image, &all) {
            Ok((pid, pipe)) => {
                let writing = Writing { parts, image: sequence, began, pipe, pid };
                if let Some(durable) = &mut self.durable {
                    durable.writing = Some(writing);
                }
            }
            Err(e) => {
                self.unpin(&parts);
                self.say_no_image(first, sequence, began, format!("no process for it ({e})"));
            }
        }
    }

    /// The checkpoints of a cut are to be read: they stay, though their processes end.
    fn pin(&mut self, parts: &[Part]) {
        for part in parts {
            self.arena.task(part.leader).recovery.pinned = part.place as u32 + 1;
        }
    }

    /// They have been read.
    fn unpin(&mut self, parts: &[Part]) {
        for part in parts {
            self.arena.task(part.leader).recovery.pinned = 0;
        }
        for part in parts {
            let t = part.leader;
            if let Some(g) = self.group_of(t) {
                self.forget_unused_of_group(g);
            }
            match self.arena.task(t).used {
                2 => self.forget_useless(t),
                3 if self.pidfds[t] < 0 => {
                    self.forget_checkpoint(t, part.place);
                    self.free(t);
                }
                _ => {}
            }
        }
    }

    /// Adds to the process `which` of an image what the tracer knows of its checkpoint.
    fn describe_frozen(&self, which: usize, part: &Part, process: &mut Process) -> Option<Frozen> {
        let (leader, place) = (part.leader, part.place);
        let kept = std::mem::take(&mut process.threads);
        let mut kept = kept.into_iter();
        if part.threads[0].0 != leader {
            process.threads.extend(kept.next()); // it has ended
        }
        for (t, seq) in &part.threads {
            let x = self.arena.task(*t).replicas[place];
            let stopped = *self.arena.stopped(*t, place);
            if x.seq != *seq || x.pid == 0 || stopped.made != x.pid || x.deliver != 0 {
                return None;
            }
            let thread = outside::thread(self.arena, *t, place, &stopped);
            process.threads.push(match kept.next() {
                Some(kept) => Thread { name: kept.name, opaque: kept.opaque, ..thread },
                None => thread,
            });
        }
        let alone = self.group_of(leader).is_none();
        if let Some(first) = process.threads.first_mut().filter(|_| alone && part.written != 0) {
            first.opaque = part.written.to_le_bytes().to_vec();
        }
        let first = part.threads[0].0;
        let (pid, stopped) =
            (self.arena.task(first).replicas[place].pid, *self.arena.stopped(first, place));
        process.dispositions = outside::dispositions(self.arena, leader, &stopped);
        process.barriers = stopped.barriers;
        let known = self.known(leader, pid);
        Some(Frozen { process: which, pid, brk: stopped.brk, leader, known })
    }

    fn fork_writer(&mut self, image: &Image, all: &[Frozen]) -> chameleon_sys::Result<(u32, i32)> {
        self.quick.forget_copies();
        let armor = raw::getpid() as u32;
        let (read, write) = fd::pipe()?;
        match own::fork() {
            Ok(Fork::Child) => match &self.durable {
                Some(d) => {
                    let order = Order { image, all, sources: &d.shared, whole: self.why_whole() };
                    writer::live(&d.images, self.arena, &order, write, armor)
                }
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

    /// The writer of an image has said what became of it, or has ended.
    pub(in crate::dispatcher) fn image_is_written(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let Some(writing) = durable.writing.take() else { return };
        let mut said = vec![0; 4096];
        let n = fd::read_at(writing.pipe, &mut said, None).max(0) as usize;
        fd::unwatch(self.epoll, writing.pipe);
        fd::close(writing.pipe);
        own::reap(writing.pid);
        let t = writing.parts[0].leader;
        match Outcome::read(&said[..n]) {
            Outcome::Written(done) => {
                let looked_ns = self.image_is_good(&writing, &done);
                let (image, bytes, parent) = (writing.image, done.bytes, done.parent);
                self.answer_requests(ImageState::Written { image, bytes, parent });
                if let Some(durable) = &mut self.durable {
                    // If the disk is full once more, that is news.
                    durable.told.retain(|reason| !reason.contains(NO_ROOM));
                    durable.latest =
                        writing.parts.iter().flat_map(|part| part.threads.clone()).collect();
                }
                let image = event::Image {
                    process: self.arena.task(t).tgid,
                    program: self.name(t),
                    image: Some(writing.image),
                    kind: if done.parent.is_some() { "increment" } else { "full" }.into(),
                    bytes: done.bytes,
                    ms: raw::now_ns().saturating_sub(writing.began) as f64 / 1e6,
                    error: None,
                    parent: done.parent,
                    whole: done.whole.map(|whole| whole.word().into()),
                    changed: done.written,
                    unchanged: done.left,
                    looked_ms: looked_ns as f64 / 1e6,
                    work_ms: done.work_ns as f64 / 1e6,
                };
                self.report.say(Event::Image(image));
            }
            Outcome::Failed(why) => self.say_no_image(t, writing.image, writing.began, why),
        }
        self.unpin(&writing.parts);
    }

    /// There is no image; people are told each reason once.
    pub(in crate::dispatcher) fn say_no_image(
        &mut self,
        t: usize,
        image: u64,
        began: u64,
        why: String,
    ) {
        let event = event::Image {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            image: (image != 0).then_some(image),
            kind: "full".into(),
            ms: raw::now_ns().saturating_sub(began) as f64 / 1e6,
            error: Some(why.clone()),
            ..Default::default()
        };
        self.answer_requests(ImageState::Failed { why: why.clone() });
        let Some(durable) = &mut self.durable else { return };
        // One that will be there with the next checkpoint is worth no line.
        let passing = PASSING.iter().any(|word| why.contains(word)) && durable.failed < PATIENT;
        // Whichever image it was.
        let reason: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
        let known = passing || durable.told.contains(&reason);
        if !known {
            durable.told.push(reason);
        }
        match known {
            true => self.report.say_quietly(&Event::Image(event)),
            false => self.report.say(Event::Image(event)),
        }
    }
}
