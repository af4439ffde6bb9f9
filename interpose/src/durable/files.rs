//! Open files of the outside: what each descriptor is, and which share one open file.
//!
//! Invariant: nothing is taken from a pipe or socket; a descriptor that cannot be opened again is an
//! error that names it. Called at the cut, while no call is being performed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use chameleon_ckpt::image::{
    Descriptor, EpollItem, FileId, Lock, LockKind, OpenFile, OpenKind, Owner, PipeEnd, Regular,
    SharedKind, SharedObject, TimerFd,
};
use chameleon_ckpt::locks;
use chameleon_sys::{describe, fd, owner, raw, unix};

use super::shared::Source;
use super::{Described, field};
use crate::dispatcher::durable::shared::memory_kind;

/// The longest file without a name whose bytes go into the image.
const UNNAMED_MOST: u64 = 64 << 20;

/// Devices that have no state of their own: /dev/null and so on (null(4)); and terminals (tty(4)).
const MEMORY_DEVICES: u32 = 1;
const TERMINALS: u32 = 5;
/// /dev/ptmx (pts(4)).
const MULTIPLEXER: (u32, u32) = (5, 2);

/// The open files of a program, as they are found.
#[derive(Debug, Default)]
pub struct Files {
    /// All of them; descriptors name them by place.
    pub open: Vec<OpenFile>,
    /// Where each was found first.
    known: Vec<Known>,
    /// Shared memory, by its place in the image.
    pub memory: Vec<Memory>,
    /// What epoll instances wait for, by their place.
    pub(super) epolls: Vec<Waiting>,
    /// Pairs of sockets of which both ends are open somewhere.
    pub(super) peers: Vec<u64>,
    /// Open files that were found in sockets, under numbers of ours.
    pub(super) on_their_way: Vec<OwnedFd>,
    /// Sockets, by inode, in which an empty datagram was found once.
    pub empty: BTreeSet<u64>,
    /// Record locks of the process that is described, each with the place of its open file.
    locks: Locks,
}

/// Shared memory that was described.
#[derive(Debug)]
pub struct Memory {
    /// The file that it is, if it is one.
    pub id: FileId,
    /// What the image says of it.
    pub object: SharedObject,
    /// Where its bytes are.
    pub source: Source,
}

/// A descriptor that was described.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// What it leads to.
    id: FileId,
    pid: u32,
    number: i32,
    file: u32,
}

/// Record locks of a process, each with the place of the open file that it was taken through.
type Locks = Vec<(u32, Lock)>;

/// What an epoll instance waits for: the number under which it was added, events, the program's word.
type Target = (i32, u32, u64);

/// The place of an epoll instance, what it waits for, and whether nothing of that has happened.
type Waiting = (u32, Vec<Target>, bool);

impl Files {
    /// None yet; in the sockets `empty` an empty datagram was found before.
    pub fn knowing(empty: BTreeSet<u64>) -> Self {
        Self { empty, ..Self::default() }
    }

    /// Describes the descriptors of process `pid`, behind `pidfd`, but for those in `own`; and its record locks
    /// (fcntl(2), F_SETLK), each with the place of an open file that it has.
    ///
    /// # Errors
    /// What cannot be described.
    pub fn of(&mut self, pid: u32, pidfd: i32, own: &[i32]) -> Described<(Vec<Descriptor>, Locks)> {
        let gone = |e: std::io::Error| format!("its descriptors cannot be listed ({e})");
        let mut numbers: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
            .map_err(gone)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|number| !own.contains(number))
            .collect();
        numbers.sort_unstable();
        let mut all = Vec::new();
        for number in numbers {
            all.push(self.one(pid, pidfd, number)?);
        }
        self.settle_epolls(&all)?;
        Ok((all, std::mem::take(&mut self.locks)))
    }

    /// All processes have been described: what leads from one to another stays within the program.
    ///
    /// # Errors
    /// A socket leads out of it, or a pipe of its own has packets.
    pub fn finish(&mut self) -> Described<()> {
        self.settle_pipes();
        let packets = |open: &OpenFile| {
            // The end that writes alone says it; what lies in the pipe has no marks where one ends.
            let own = matches!(&open.kind, OpenKind::Pipe(end) if !end.outward);
            own && open.flags as i32 & libc::O_DIRECT != 0
        };
        if self.open.iter().any(packets) {
            return Err("a pipe is set to carry packets (pipe(7), O_DIRECT)".to_owned());
        }
        self.settle_senders()?;
        let mut ends: BTreeMap<u64, usize> = BTreeMap::new();
        for open in &self.open {
            if let OpenKind::SocketPair { pair, .. } = open.kind {
                *ends.entry(pair).or_default() += 1;
            }
        }
        match self.peers.iter().any(|pair| ends.get(pair) == Some(&1)) {
            true => Err("a pair of sockets (socketpair(2)) leads out of the program".to_owned()),
            false => Ok(()),
        }
    }

    pub(super) fn one(&mut self, pid: u32, pidfd: i32, number: i32) -> Described<Descriptor> {
        let link = format!("/proc/{pid}/fd/{number}");
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))
            .map_err(|e| format!("descriptor {number} cannot be described ({e})"))?;
        let flags = field(&info, "flags").and_then(|f| u32::from_str_radix(f, 8).ok()).unwrap_or(0);
        let close_on_exec = flags & libc::O_CLOEXEC as u32 != 0;
        let facts = fs::metadata(&link).map_err(|e| format!("descriptor {number}: {e}"))?;
        let id = FileId { dev: facts.dev(), ino: facts.ino() };
        for known in self.known.iter().filter(|known| known.id == id) {
            match describe::is_one_file((known.pid, known.number), (pid, number)) {
                Some(true) => {
                    let file = known.file;
                    self.note_locks(file, &info);
                    return Ok(Descriptor { fd: number, file, close_on_exec });
                }
                Some(false) => {}
                None => return Err("this kernel does not tell open files apart (kcmp(2))".into()),
            }
        }
        let copy = fd::take(pidfd, number).map_err(|e| format!("descriptor {number}: {e}"))?;
        let copy = File::from(fd::owned(copy));
        let path = fs::read_link(&link).map_err(|e| format!("descriptor {number}: {e}"))?;
        // It may lie in itself, being a socket.
        let file = self.open.len() as u32;
        self.known.push(Known { id, pid, number, file });
        let nothing = OpenKind::Other(String::new());
        let (owner, locks) = (Owner::default(), Vec::new());
        self.open.push(OpenFile { flags: 0, owner, kind: nothing, locks });
        let kind = self.kind(&path, &facts, &info, &copy, (&link, file))?;
        let kept = !(libc::O_CLOEXEC | libc::O_LARGEFILE | 0x8000) as u32;
        let told = owner::of(copy.as_raw_fd());
        let owner = Owner { kind: told.kind, number: told.number as u32, signal: told.signal };
        if info.lines().any(locks::is_lease) {
            let shown = path.display();
            return Err(format!("there is a lease on {shown} (fcntl(2), F_SETLEASE)"));
        }
        let all = info.lines().filter_map(locks::read).map(|(lock, _)| lock);
        let locks = all.filter(|lock| lock.kind != LockKind::Process).collect();
        self.note_locks(file, &info);
        self.open[file as usize] = OpenFile { flags: flags & kept, owner, kind, locks };
        Ok(Descriptor { fd: number, file, close_on_exec })
    }

    /// The locks that the process which is described took through an open file at place `file`: another process that
    /// has it does not see them.
    fn note_locks(&mut self, file: u32, info: &str) {
        for (lock, _) in info.lines().filter_map(locks::read) {
            let one = (file, lock);
            if lock.kind == LockKind::Process && !self.locks.contains(&one) {
                self.locks.push(one);
            }
        }
    }

    fn kind(
        &mut self,
        path: &Path,
        facts: &fs::Metadata,
        info: &str,
        copy: &File,
        (link, file): (&str, u32),
    ) -> Described<OpenKind> {
        let own = copy.as_raw_fd();
        let name = path.as_os_str().as_bytes();
        let shown = path.display();
        let offset = field(info, "pos").and_then(|p| p.parse::<u64>().ok()).unwrap_or(0);
        let what = facts.file_type();
        let cannot = |what: &str| Err(format!("{what} is open, which cannot be opened again"));
        if what.is_file() {
            let id = FileId { dev: facts.dev(), ino: facts.ino() };
            let removed = |one: &Memory| {
                one.id == id && matches!(one.object.kind, SharedKind::Removed { .. })
            };
            if let Some(object) = self.memory.iter().position(removed) {
                return Ok(OpenKind::Memfd { object: object as u32, offset });
            }
            if name.starts_with(b"/memfd:") {
                let object = self.memory_behind(id, facts.size(), name, (link, own))?;
                return Ok(OpenKind::Memfd { object, offset });
            }
            let below = name.strip_prefix(b"/proc/").and_then(|rest| rest.first());
            if below.is_some_and(u8::is_ascii_digit) {
                return cannot(&shown.to_string()); // it is of a process that will not be
            }
            return regular(path, facts, offset, link);
        }
        if what.is_dir() && name.ends_with(b" (deleted)") && !path.exists() {
            return cannot("a directory that has been removed");
        }
        if what.is_dir() {
            return Ok(OpenKind::Directory { path: name.to_vec(), offset: offset as i64 });
        }
        if what.is_char_device() {
            let modes = describe::terminal_modes(own);
            let number = (libc::major(facts.rdev()), libc::minor(facts.rdev()));
            if number == MULTIPLEXER {
                return cannot("a terminal that the program made itself (pty(7))");
            }
            if number.0 != MEMORY_DEVICES && modes.is_none() && number.0 != TERMINALS {
                return cannot(&shown.to_string());
            }
            return Ok(OpenKind::Device {
                path: name.to_vec(),
                rdev: facts.rdev(),
                controlling: modes.is_some(),
                termios: modes.unwrap_or_default(),
            });
        }
        if what.is_fifo() {
            return self.pipe(own, path, facts);
        }
        if what.is_socket() {
            return self.socket(own, facts.ino());
        }
        let number = |key, radix| {
            field(info, key).and_then(|n| u64::from_str_radix(n, radix).ok()).unwrap_or(0)
        };
        match name {
            b"anon_inode:[eventfd]" => Ok(OpenKind::EventFd {
                count: number("eventfd-count", 16),
                semaphore: number("eventfd-semaphore", 10) != 0,
            }),
            b"anon_inode:[timerfd]" => Ok(OpenKind::TimerFd(timer(info))),
            b"anon_inode:[signalfd]" => Ok(OpenKind::SignalFd { mask: number("sigmask", 16) }),
            b"anon_inode:[eventpoll]" => {
                self.epolls.push((file, targets(info), !unix::holds_something(own)));
                Ok(OpenKind::Epoll { items: Vec::new(), quiet: false })
            }
            _ => cannot(&shown.to_string()),
        }
    }

    /// The place of memory that has descriptor `own`; what nobody maps is read.
    fn memory_behind(
        &mut self,
        id: FileId,
        size: u64,
        name: &[u8],
        (link, own): (&str, i32),
    ) -> Described<u32> {
        if let Some(known) = self.memory.iter().position(|one| one.id == id) {
            return Ok(known as u32);
        }
        if size > UNNAMED_MOST {
            return Err(format!(
                "memory of {size} bytes is open that nobody maps (memfd_create(2))"
            ));
        }
        let bytes = fs::read(link).map_err(|e| format!("a memfd cannot be read ({e})"))?;
        let object = SharedObject { kind: memory_kind(name, own), size };
        self.memory.push(Memory { id, object, source: Source::Bytes(bytes) });
        Ok(self.memory.len() as u32 - 1)
    }

    fn pipe(&mut self, own: i32, path: &Path, facts: &fs::Metadata) -> Described<OpenKind> {
        let flags = fd::kind(own).map_or(0, |k| k.flags) & libc::O_ACCMODE;
        let failed = |e: chameleon_sys::Error| format!("a pipe cannot be read ({e})");
        let pipe = facts.ino();
        let same = |open: &OpenFile| matches!(&open.kind, OpenKind::Pipe(end) if end.pipe == pipe && !end.unread.is_empty());
        let unread = match flags == libc::O_WRONLY || self.open.iter().any(same) {
            true => Vec::new(),
            false => describe::pipe_contents(own).map_err(failed)?,
        };
        // A FIFO that lost its name is as good as a pipe without one.
        let here = fs::metadata(path).is_ok_and(|f| (f.dev(), f.ino()) == (facts.dev(), pipe));
        let path = here.then(|| path.as_os_str().as_bytes().to_vec());
        Ok(OpenKind::Pipe(PipeEnd {
            pipe,
            writes: flags != libc::O_RDONLY,
            path: path.filter(|path| path.starts_with(b"/")),
            capacity: describe::pipe_capacity(own).map_err(failed)? as u32,
            unread,
            // Until its other end is found, if there is one.
            outward: !describe::is_hung_up(own),
        }))
    }

    /// Epoll instances name what they wait for by numbers.
    fn settle_epolls(&mut self, all: &[Descriptor]) -> Described<()> {
        for (file, targets, quiet) in std::mem::take(&mut self.epolls) {
            let mut items = Vec::new();
            for (number, events, data) in targets {
                let Some(found) = all.iter().find(|d| d.fd == number) else {
                    return Err(format!(
                        "an epoll instance waits for descriptor {number}, which is closed"
                    ));
                };
                items.push(EpollItem { fd: number, file: found.file, events, data });
            }
            self.open[file as usize].kind = OpenKind::Epoll { items, quiet };
        }
        Ok(())
    }

    /// A pipe of which both ends are here is the program's own.
    fn settle_pipes(&mut self) {
        let mut ends: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        for open in &self.open {
            if let OpenKind::Pipe(end) = &open.kind {
                let both = ends.entry(end.pipe).or_default();
                *(if end.writes { &mut both.1 } else { &mut both.0 }) = true;
            }
        }
        for open in &mut self.open {
            if let OpenKind::Pipe(end) = &mut open.kind {
                end.outward &= ends.get(&end.pipe) != Some(&(true, true));
            }
        }
    }
}

fn regular(path: &Path, facts: &fs::Metadata, offset: u64, link: &str) -> Described<OpenKind> {
    let id = FileId { dev: facts.dev(), ino: facts.ino() };
    let name = path.as_os_str().as_bytes();
    let here = fs::metadata(path).ok().map(|f| FileId { dev: f.dev(), ino: f.ino() });
    let unlinked = here != Some(id);
    if unlinked && facts.nlink() > 0 {
        let shown = path.display();
        return Err(format!(
            "{shown} is open, and another file has its name, or none that is seen"
        ));
    }
    let mut contents = Vec::new();
    if unlinked {
        if facts.size() > UNNAMED_MOST {
            return Err(format!("a removed file of {} bytes is open", facts.size()));
        }
        contents = fs::read(link).map_err(|e| format!("a removed file cannot be read ({e})"))?;
    }
    Ok(OpenKind::Regular(Regular {
        path: name.to_vec(),
        id,
        offset,
        size: facts.size(),
        writable: false, // its flags say it: see `writable`
        unlinked,
        contents,
        mode: facts.mode(),
        times_ns: [
            facts.atime() * 1_000_000_000 + facts.atime_nsec(),
            facts.mtime() * 1_000_000_000 + facts.mtime_nsec(),
        ],
    }))
}

/// Marks those regular files that are open for writing.
pub fn mark_writable(files: &mut [OpenFile]) {
    for open in files {
        let writes = open.flags as i32 & libc::O_ACCMODE != libc::O_RDONLY;
        if let OpenKind::Regular(file) = &mut open.kind {
            file.writable = writes;
        }
    }
}

fn timer(info: &str) -> TimerFd {
    let number = |key| field(info, key).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    // "it_value: (1, 500)": seconds and nanoseconds.
    let time = |key| {
        let text = field(info, key).unwrap_or("").trim_matches(['(', ')']);
        let mut parts = text.split(',').map(|part| part.trim().parse::<u64>().unwrap_or(0));
        parts.next().unwrap_or(0) * 1_000_000_000 + parts.next().unwrap_or(0)
    };
    let clock = number("clockid") as i32;
    let flags = field(info, "settime flags").and_then(|n| i32::from_str_radix(n, 8).ok());
    let flags = flags.unwrap_or(0);
    // That of the day: it goes on where the machine stands.
    let of_day = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_ALARM);
    let left_ns = time("it_value");
    let absolute = of_day && left_ns != 0 && flags & libc::TFD_TIMER_ABSTIME != 0;
    TimerFd {
        clock,
        left_ns,
        due_ns: absolute.then(|| raw::clock_ns(libc::CLOCK_REALTIME) + left_ns),
        cancels: absolute && flags & libc::TFD_TIMER_CANCEL_ON_SET != 0,
        every_ns: time("it_interval"),
        expired: number("ticks"),
    }
}

/// proc_pid_fdinfo(5): "tfd: 5 events: 1d data: ffffffff00000005 …" for each.
fn targets(info: &str) -> Vec<Target> {
    let lines = info.lines().filter(|line| line.starts_with("tfd:"));
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |key: &str| {
                words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1).copied())
            };
            Some((
                after("tfd:")?.parse().ok()?,
                u32::from_str_radix(after("events:")?, 16).ok()?,
                u64::from_str_radix(after("data:")?, 16).ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_fdinfo_are_understood() {
        let text = "pos:\t0\nflags:\t02\ntfd:        5 events:       1d data: ffffffff00000005  pos:0 ino:1\n";
        assert_eq!(targets(text), [(5, 0x1d, 0xffff_ffff_0000_0005)]);
        let text =
            "clockid: 1\nticks: 2\nsettime flags: 01\nit_value: (1, 500)\nit_interval: (0, 7)\n";
        let timer = timer(text);
        assert_eq!(
            (timer.clock, timer.expired, timer.left_ns, timer.every_ns),
            (1, 2, 1_000_000_500, 7)
        );
    }
}
