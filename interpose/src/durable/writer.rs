//! The process that writes an image: forked of the ARMOR behind the cut, it reads the checkpoint, which
//! stands still, while the program runs on.
//!
//! ```text
//!   ARMOR ──fork──► CHECKPOINT ARMOR: memory, pages ─► images/N.tmp ─► images/N ─► what was written, into a pipe
//! ```
//!
//! Invariant: it ends with the ARMOR (PR_SET_PDEATHSIG); whatever happens to it, the images that are
//! there stay whole. It never gives the directory's lock back, which is the run's.

use std::path::PathBuf;

use chameleon_ckpt::image::{Image, Machine, SharedKind};
use chameleon_ckpt::source::{Pages, ProcMem, Run, Space};
use chameleon_ckpt::write::{Compression, Contents, Writer};
use chameleon_sys::{cpu, fd, process, raw, shadow, title};

use super::shared::Source;
use super::{Described, memory, shared};

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
    /// What a restart is to be told of the run's options, as `chameleon_policy` writes them.
    pub options: Vec<u8>,
    /// The program and its arguments.
    pub command: Vec<Vec<u8>>,
}

/// What has become of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there: how many bytes its files have.
    Written(u64),
    /// It is not, and why.
    Failed(String),
}

impl Outcome {
    /// What comes out of the pipe of a writer that has ended.
    pub fn read(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((0, rest)) => match rest.try_into() {
                Ok(bytes) => Self::Written(u64::from_le_bytes(bytes)),
                Err(_) => Self::Failed("its writer was killed".to_owned()),
            },
            Some((_, text)) => Self::Failed(String::from_utf8_lossy(text).into_owned()),
            None => Self::Failed("its writer was killed".to_owned()),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Written(bytes) => [&[0][..], &bytes.to_le_bytes()].concat(),
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
    /// Its place among the replicas.
    pub place: usize,
}

/// Writes `image` with the memory of the checkpoints `all`, and ends the calling process. `out` is the
/// pipe.
pub fn live(
    images: &Images,
    image: Image,
    (all, sources): (&[Frozen], &[Source]),
    out: i32,
    armor: u32,
) -> ! {
    raw::prctl(libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0);
    if raw::getppid() as u32 != armor {
        process::exit_now(1);
    }
    title::set_name(b"chameleon: CHECKPOINT");
    let kept = [Some(out), Some(images.lock), shadow::file()];
    fd::close_all_but(&kept.into_iter().flatten().collect::<Vec<_>>());
    cpu::set(0, &images.cpus); // the ARMOR may be kept to one
    cpu::leave_to_others();
    let outcome = match write(images, image, all, sources) {
        Ok(bytes) => Outcome::Written(bytes),
        Err(text) => Outcome::Failed(text),
    };
    fd::write_at(out, &outcome.bytes(), None);
    process::exit_now(0)
}

fn write(images: &Images, mut image: Image, all: &[Frozen], sources: &[Source]) -> Described<u64> {
    let number = |object: usize| {
        let is_it = |s: &Source| matches!(s, Source::Extent(own) if *own == object);
        sources.iter().position(is_it).map(|place| place as u32)
    };
    image.machine = Machine::here().map_err(|e| format!("/proc/cpuinfo cannot be read ({e})"))?;
    let mut memories: Vec<(Space, Box<dyn Pages + '_>, Vec<Run>)> = Vec::new();
    for one in all {
        let Some(process) = image.processes.get_mut(one.process) else { continue };
        let (memory, runs) = memory::describe(one.pid, one.brk, number)?;
        process.memory = memory;
        let space = Space::Process(process.pid);
        let pages = ProcMem::open(one.pid);
        let pages = pages.map_err(|e| format!("its memory cannot be opened ({e})"))?;
        memories.push((space, Box::new(pages), runs));
    }
    let place = all.first().map_or(0, |one| one.place);
    for (n, source) in sources.iter().enumerate() {
        let mapped = shared::mapped_size(&image, n as u32);
        let Some(object) = image.shared.get_mut(n) else { continue };
        let of_file = matches!(object.kind, SharedKind::File(_));
        if object.kind == SharedKind::Anonymous {
            object.size = mapped;
        }
        let space = Space::Shared(n as u32);
        let (pages, runs): (Box<dyn Pages>, _) = match source {
            Source::Extent(o) => {
                let runs = shared::runs(*o, place, object.size, of_file);
                (Box::new(shared::Extent::new(*o, place)), runs)
            }
            Source::Bytes(bytes) => {
                (Box::new(shared::Bytes(bytes)), shared::all_of(bytes.len() as u64))
            }
        };
        memories.push((space, pages, runs));
    }
    let contents: Vec<Contents<'_>> = memories
        .iter()
        .map(|(space, pages, runs)| Contents { space: *space, pages: &**pages, runs })
        .collect();
    let writer = Writer::inherit(&images.dir);
    let written = writer.write(&image, &contents, Compression::Zstd).map_err(|e| e.to_string())?;
    // Whatever is left over is taken away with the next one.
    let _ = writer.retain(images.keep);
    Ok(written.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_back_and_half_of_one_is_a_death() {
        for outcome in [Outcome::Written(77), Outcome::Failed("no room".to_owned())] {
            assert_eq!(Outcome::read(&outcome.bytes()), outcome);
        }
        let killed = Outcome::Failed("its writer was killed".to_owned());
        assert_eq!(Outcome::read(&[0, 1, 2]), killed);
        assert_eq!(Outcome::read(&[]), killed);
    }
}
