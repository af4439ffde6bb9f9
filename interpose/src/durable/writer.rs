//! The process that writes an image: forked of the ARMOR behind the cut, it reads the checkpoint, which
//! stands still, while the program runs on.
//!
//! ```text
//!   ARMOR ──fork──► CHECKPOINT ARMOR: memory, pages ─► images/N.tmp ─► images/N ─► what was written, into a pipe
//! ```
//!
//! Invariant: it ends with the ARMOR (PR_SET_PDEATHSIG); whatever happens to it, the images that are
//! there stay whole. It never gives the directory's lock back, which is the run's.

use std::io;
use std::path::PathBuf;

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::{Image, Machine, Process, SharedKind, Whole};
use chameleon_ckpt::source::{Pages, ProcMem, Run, Space};
use chameleon_ckpt::write::{Compression, Contents, Writer};
use chameleon_ckpt::{PAGE, retain};
use chameleon_policy::increments;
use chameleon_proto::codec;
use chameleon_sys::{cpu, fd, process, raw, shadow, title};
use serde::{Deserialize, Serialize};

use super::increment::{self, Known};
use super::shared::{self, Source};
use super::{Described, memory};
use crate::arena::Arena;

/// Where images go.
#[derive(Clone, Debug)]
pub struct Images {
    /// The directory.
    pub dir: PathBuf,
    /// The descriptor whose lock keeps others from it.
    pub lock: i32,
    /// How many are kept restorable.
    pub keep: usize,
    /// Which run it is.
    pub run: [u8; 16],
    /// The CPUs that may be used.
    pub cpus: [u64; 16],
    /// The program and its arguments.
    pub command: Vec<Vec<u8>>,
}

/// What has become of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Written(Done),
    /// It is not, and why.
    Failed(String),
}

/// An image that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Bytes of its files.
    pub bytes: u64,
    /// The image that it builds on.
    pub parent: Option<u64>,
    /// Why it is a whole one.
    pub whole: Option<Whole>,
    /// Pages that were written.
    pub written: u64,
    /// Pages that were left to the parent.
    pub left: u64,
    /// CPU time that it took to write, in nanoseconds.
    pub work_ns: u64,
}

impl Outcome {
    /// What comes out of the pipe of a writer that has ended.
    pub fn read(bytes: &[u8]) -> Self {
        let killed = || Self::Failed("its writer was killed".to_owned());
        match bytes.split_first() {
            Some((0, rest)) => codec::decode(rest).map_or_else(|_| killed(), Self::Written),
            Some((_, text)) => Self::Failed(String::from_utf8_lossy(text).into_owned()),
            None => killed(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Written(done) => [&[0][..], &codec::encode(done).unwrap_or_default()].concat(),
            Self::Failed(text) => [&[1], text.as_bytes()].concat(),
        }
    }
}

/// Whose memory a process of an image gets.
#[derive(Clone, Copy, Debug)]
pub struct Frozen {
    /// The process in the image, by place.
    pub process: usize,
    /// The checkpoint.
    pub pid: u32,
    /// Where its heap ends.
    pub brk: u64,
    /// The task of its first thread.
    pub leader: usize,
    /// What has not changed since an image.
    pub known: Option<Known>,
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The description, without memory.
    pub image: &'a Image,
    /// Whose memory it gets.
    pub all: &'a [Frozen],
    /// Where the bytes of shared memory are.
    pub sources: &'a [Source],
    /// Why it is a whole image, if nothing is known of any process.
    pub whole: Whole,
}

/// Writes an image and ends the calling process, which `armor` has forked. `out` is the pipe.
pub fn live(images: &Images, arena: Arena, order: &Order<'_>, out: i32, armor: u32) -> ! {
    raw::prctl(libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0);
    if raw::getppid() as u32 != armor {
        process::exit_now(1);
    }
    title::set_name(b"chameleon: CHECKPOINT");
    let kept = [Some(out), Some(images.lock), shadow::file()];
    fd::close_all_but(&kept.into_iter().flatten().collect::<Vec<_>>());
    cpu::set(0, &images.cpus); // the ARMOR may be kept to one
    cpu::leave_to_others();
    let outcome = match write(images, arena, order) {
        Ok(done) => Outcome::Written(done),
        Err(text) => Outcome::Failed(text),
    };
    fd::write_at(out, &outcome.bytes(), None);
    process::exit_now(0)
}

/// The memory of one process, or one object of shared memory, on its way.
struct Part<'a> {
    space: Space,
    pages: Counted<'a>,
    /// All of its pages.
    runs: Vec<Run>,
    /// The same with what is left to the parent, if that is known.
    marked: Option<Vec<Run>>,
}

impl Part<'_> {
    /// Pages that have changed, and pages that have not.
    fn count(&self) -> (u64, u64) {
        increment::count(self.marked.as_ref().unwrap_or(&self.runs))
    }
}

fn write(images: &Images, arena: Arena, order: &Order<'_>) -> Described<Done> {
    let mut image = order.image.clone();
    image.machine = Machine::here().map_err(|e| format!("/proc/cpuinfo cannot be read ({e})"))?;
    let parent = order.all.iter().filter_map(|one| Some(one.known?.image)).max();
    let dir = Dir::new(&images.dir);
    image.whole = parent.map_or(Some(order.whole), |parent| retain::whole(&dir, Some(parent)));
    let number = |object: usize| {
        let is_it = |s: &Source| matches!(s, Source::Extent { object: own, .. } if *own == object);
        order.sources.iter().position(is_it).map(|place| place as u32)
    };
    let mut parts = Vec::new();
    let (mut changed, mut unchanged) = (0, 0);
    for one in order.all {
        let Some(process) = image.processes.get_mut(one.process) else { continue };
        let part = describe(process, one, parent, (arena, &number))?;
        let known = arena.known(one.leader);
        (known.changed, known.unchanged) = part.count();
        (changed, unchanged) = (changed + known.changed, unchanged + known.unchanged);
        parts.push(part);
    }
    for (n, source) in order.sources.iter().enumerate() {
        parts.extend(shared_part(&mut image, n as u32, source, arena));
    }
    if image.whole.is_none() && increments::is_nearly_whole(changed, unchanged) {
        image.whole = Some(Whole::Rewritten);
    }
    image.parent = parent.filter(|_| image.whole.is_none());
    if image.whole.is_some() {
        parts.iter_mut().for_each(|part| part.marked = None);
    }
    let pages: u64 = parts.iter().map(|part| part.count().0).sum();
    arena.header().image_bytes = pages * PAGE as u64;
    let contents: Vec<Contents<'_>> = parts
        .iter()
        .map(|Part { space, pages, runs, marked }| Contents {
            space: *space,
            pages,
            runs: marked.as_ref().unwrap_or(runs),
        })
        .collect();
    let writer = Writer::inherit(&images.dir);
    let written = writer.write(&image, &contents, Compression::Zstd).map_err(|e| e.to_string())?;
    // Whatever is left over is taken away with the next one.
    let _ = writer.retain(images.keep);
    let work_ns = raw::clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
    let (parent, whole) = (image.parent, image.whole);
    Ok(Done { bytes: written.bytes, parent, whole, written: pages, left: written.parent, work_ns })
}

/// Describes the memory of a checkpoint. `number` gives the place in the image of an object of shared memory.
fn describe(
    process: &mut Process,
    frozen: &Frozen,
    parent: Option<u64>,
    (arena, number): (Arena, &dyn Fn(usize) -> Option<u32>),
) -> Described<Part<'static>> {
    let (memory, runs) = memory::describe(frozen.pid, frozen.brk, number)?;
    process.memory = memory;
    let pages = ProcMem::open(frozen.pid);
    let pages = pages.map_err(|e| format!("its memory cannot be opened ({e})"))?;
    let known = frozen.known.filter(|known| parent == Some(known.image));
    let marked = known.map(|known| increment::mark(&runs, known.ranges));
    let pages = Counted { pages: Box::new(pages), arena };
    Ok(Part { space: Space::Process(process.pid), pages, runs, marked })
}

/// The memory of object `n` of an image.
fn shared_part<'a>(
    image: &mut Image,
    n: u32,
    source: &'a Source,
    arena: Arena,
) -> Option<Part<'a>> {
    let mapped = shared::mapped_size(image, n);
    let object = image.shared.get_mut(n as usize)?;
    let of_file = matches!(object.kind, SharedKind::File(_));
    if object.kind == SharedKind::Anonymous {
        object.size = mapped;
    }
    let (pages, runs): (Box<dyn Pages>, _) = match source {
        Source::Extent { object: own, place } => {
            let runs = shared::runs(*own, *place, object.size, of_file);
            (Box::new(shared::Extent::new(*own, *place)), runs)
        }
        Source::Bytes(bytes) => {
            (Box::new(shared::Bytes(bytes)), shared::all_of(bytes.len() as u64))
        }
    };
    let pages = Counted { pages, arena };
    Some(Part { space: Space::Shared(n), pages, runs, marked: None })
}

/// Memory of which is told how much has been read.
struct Counted<'a> {
    pages: Box<dyn Pages + 'a>,
    arena: Arena,
}

impl Pages for Counted<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        self.pages.read(addr, buf)?;
        self.arena.header().image_read += buf.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_back_and_half_of_one_is_a_death() {
        let done =
            Done { bytes: 77, parent: Some(6), written: 8, left: 9, work_ns: 5, whole: None };
        for outcome in [Outcome::Written(done), Outcome::Failed("no room".to_owned())] {
            assert_eq!(Outcome::read(&outcome.bytes()), outcome);
        }
        let killed = Outcome::Failed("its writer was killed".to_owned());
        assert_eq!(Outcome::read(&[0, 1, 2]), killed);
        assert_eq!(Outcome::read(&[]), killed);
    }
}
