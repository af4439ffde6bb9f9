//! Open files of an image, opened again: first all of them above every number that the program has, later,
//! in the process that becomes the outside, each under its own numbers.
//!
//! Terminals, and pipes whose other end was beyond the program, are replaced by the restoring shell's own
//! descriptor of the same number.
//!
//! Invariant: descriptors that shared one open file share one again. Called by the restart alone.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, FileTimes, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chameleon_ckpt::image::{Image, OpenFile, OpenKind, Owner, PipeEnd, Process, Regular, TimerFd};
use chameleon_ckpt::locks::{self, Conflict, Held};
use chameleon_interpose::arena::Arena;
use chameleon_sys::{describe, executor, fd, owner, raw};

use super::sockets;

pub(super) type Outcome<T> = Result<T, String>;

/// Files that are open again, by their place in the image.
#[derive(Debug)]
pub(crate) struct Opened {
    files: Vec<i32>,
    /// The first number above those of the program.
    least: i32,
    /// Open files that hold the record locks of processes for them, by the process's place and that of the file.
    held: BTreeMap<(usize, u32), i32>,
    /// Who is told by signals of which files, and whether that is on.
    owners: Vec<(usize, Owner, bool)>,
}

/// The first number above those of all processes of an image.
pub(super) fn least(image: &Image) -> i32 {
    let numbers = image.processes.iter().flat_map(|one| &one.descriptors).map(|one| one.fd);
    numbers.max().unwrap_or(0).max(2) + 1
}

/// Opens all files of an image, whose first process is the one that is started; `memory` has a descriptor for
/// each of its shared objects, and `held` its locks.
///
/// # Errors
/// What cannot be opened, in words.
pub(super) fn open(image: &Image, memory: &[i32], held: Held) -> Outcome<Opened> {
    let process = image.processes.first().ok_or("the image has no process")?;
    let least = least(image);
    let (files, pipes, pairs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut all = All { image, process, memory, least, files, pipes, pairs };
    let Held { files: mut locked, processes } = held;
    for (place, file) in image.files.iter().enumerate() {
        let made = all.one(place as u32, file)?;
        let made = all.lock(made, file, locked.remove(&(place as u32)))?;
        all.files.push(made);
    }
    let above = processes.into_iter().map(|(key, file)| Ok((key, all.kept(file)?)));
    let held = above.collect::<Outcome<_>>()?;
    all.fill_pairs()?;
    all.settle_datagrams()?;
    all.settle_epolls()?;
    let said = image.files.iter().enumerate().filter_map(|(place, file)| {
        let tells = file.flags as i32 & libc::O_ASYNC != 0;
        let any = tells || file.owner != Owner::default();
        any.then_some((place, file.owner, tells))
    });
    Ok(Opened { owners: said.collect(), files: all.files, least, held })
}

pub(super) struct All<'a> {
    pub(super) image: &'a Image,
    process: &'a Process,
    /// A descriptor for each shared object.
    memory: &'a [i32],
    pub(super) least: i32,
    pub(super) files: Vec<i32>,
    /// Pipes of the program's own: read end and write end.
    pipes: BTreeMap<u64, (i32, i32)>,
    /// Pairs of sockets: both ends, and how many of them have been given to an open file.
    pub(super) pairs: BTreeMap<u64, ([i32; 2], usize)>,
}

impl All<'_> {
    fn one(&mut self, place: u32, file: &OpenFile) -> Outcome<i32> {
        // Nobody is told before all are there (`Opened::tell_owners`).
        let flags = file.flags as i32 & !libc::O_ASYNC;
        match &file.kind {
            OpenKind::Regular(regular) => self.regular(regular, flags),
            OpenKind::Directory { path, offset } => {
                let made = self.path(path, flags)?;
                raw::lseek(made as u64, *offset as u64, libc::SEEK_SET as u64);
                Ok(made)
            }
            OpenKind::Device { controlling: true, path, .. } => match self.own(place) {
                Some(own) => self.above(Ok(own), false),
                // One that is not among the first three: the terminal of this session.
                None => self.path(b"/dev/tty", flags).or_else(|_| self.path(path, flags)),
            },
            OpenKind::Device { path, .. } => self.path(path, flags),
            OpenKind::Pipe(end) if end.outward && end.path.is_none() => match self.own(place) {
                Some(own) => self.above(Ok(own), false),
                None => self.path(b"/dev/null", libc::O_RDWR),
            },
            OpenKind::Pipe(end) if end.path.is_some() => self.fifo(end, flags),
            OpenKind::Pipe(end) => self.pipe(end, flags),
            OpenKind::Listening(listen) => self.listening(listen, flags),
            OpenKind::Connected { family, .. } => {
                let made = self.above(describe::reset_connection(*family), true)?;
                raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
                Ok(made)
            }
            OpenKind::Socket { family, kind, protocol, options } => {
                let made = self.socket([*family, *kind, *protocol], options)?;
                raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
                Ok(made)
            }
            OpenKind::EventFd { count, semaphore } => {
                self.flagged(describe::eventfd(*count, *semaphore), flags)
            }
            OpenKind::TimerFd(timer) => {
                let TimerFd { clock, left_ns, every_ns, expired, due_ns, cancels } = *timer;
                let when = due_ns.ok_or(left_ns);
                self.flagged(describe::timerfd(clock, when, every_ns, expired, cancels), flags)
            }
            OpenKind::SignalFd { mask } => self.flagged(describe::signalfd(*mask), flags),
            OpenKind::Epoll { .. } => self.flagged(fd::epoll(), flags),
            OpenKind::SocketPair { pair, kind, options, .. } => {
                let made = self.end_of_pair(*pair, *kind)?;
                sockets::set(made, options);
                raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
                Ok(made)
            }
            OpenKind::Memfd { object, offset } => {
                let made = self.memory.get(*object as usize).ok_or("the image lacks a memfd")?;
                let made = self.path(format!("/proc/self/fd/{made}").as_bytes(), flags)?;
                raw::lseek(made as u64, *offset, libc::SEEK_SET as u64);
                Ok(made)
            }
            OpenKind::Inotify { .. } => Err("inotify cannot be made again".to_owned()),
            OpenKind::Other(name) => Err(format!("{name} cannot be opened again")),
        }
    }

    /// Gives a file that was opened its locks: `held` has them, if it is the same file still.
    fn lock(&self, made: i32, file: &OpenFile, held: Option<File>) -> Outcome<i32> {
        if file.locks.is_empty() {
            return Ok(made);
        }
        let made = File::from(fd::owned(made));
        let file_of = |file: &File| file.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
        if let Some(mut held) = held.filter(|held| file_of(held) == file_of(&made)) {
            let mut made = made;
            let at = made.stream_position().unwrap_or(0);
            let _ = held.seek(SeekFrom::Start(at));
            return self.kept(held);
        }
        for lock in &file.locks {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", made.as_raw_fd()));
            let path = path.unwrap_or_default();
            locks::take(&made, *lock).map_err(|e| {
                Conflict::of(&made, path.as_os_str().as_bytes(), *lock, &e).to_string()
            })?;
        }
        Ok(made.into_raw_fd())
    }

    /// A file of ours above all numbers of the program.
    fn kept(&self, file: File) -> Outcome<i32> {
        self.above(Ok(file.into_raw_fd()), true)
    }

    /// The restoring shell's descriptor of a number that the program has this file under.
    fn own(&self, place: u32) -> Option<i32> {
        let numbers = self.process.descriptors.iter().filter(|one| one.file == place);
        numbers.map(|one| one.fd).find(|number| {
            let open = raw::fcntl(*number as u64, libc::F_GETFD as u64, 0) >= 0;
            (0..3).contains(number) && open
        })
    }

    /// Moves what was made above all numbers of the program.
    pub(super) fn above(&self, made: chameleon_sys::Result<i32>, close: bool) -> Outcome<i32> {
        let made = made.map_err(|e| e.to_string())?;
        let copy = describe::duplicate_above(made, self.least).map_err(|e| e.to_string());
        if close {
            fd::close(made);
        }
        copy
    }

    fn flagged(&self, made: chameleon_sys::Result<i32>, flags: i32) -> Outcome<i32> {
        let made = self.above(made, true)?;
        raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
        Ok(made)
    }

    fn path(&self, path: &[u8], flags: i32) -> Outcome<i32> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let name = CString::new(path).map_err(|e| format!("{shown}: {e}"))?;
        let once = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOFOLLOW;
        let flags = flags & !once | libc::O_NOCTTY;
        let made = describe::open(&name, flags);
        self.above(made, true).map_err(|e| format!("{shown}: {e}"))
    }

    fn regular(&self, file: &Regular, flags: i32) -> Outcome<i32> {
        let made = match file.unlinked {
            false => self.path(&file.path, flags & !libc::O_TMPFILE)?, // it has a name now
            true => self.nameless(file, flags)?,
        };
        raw::lseek(made as u64, file.offset, libc::SEEK_SET as u64);
        Ok(made)
    }

    /// A file without a name is made again without one (open(2), O_TMPFILE), on a file system that has
    /// such.
    fn nameless(&self, file: &Regular, flags: i32) -> Outcome<i32> {
        let mut last = String::new();
        for place in nameless_places(&file.path) {
            match self.path(place, libc::O_TMPFILE | libc::O_RDWR) {
                Ok(made) => {
                    let again = format!("/proc/self/fd/{made}");
                    let copy =
                        describe::duplicate_above(made, self.least).map_err(|e| e.to_string())?;
                    let mut bytes = File::from(fd::owned(copy));
                    bytes.write_all(&file.contents).map_err(|e| format!("a removed file: {e}"))?;
                    let _ = bytes.set_permissions(Permissions::from_mode(file.mode & 0o7777));
                    let [read, changed] = file.times_ns.map(time_of);
                    let times = FileTimes::new().set_accessed(read).set_modified(changed);
                    let _ = bytes.set_times(times);
                    let made_again = self.path(again.as_bytes(), flags & !libc::O_TMPFILE)?;
                    fd::close(made);
                    return Ok(made_again);
                }
                Err(e) => last = e,
            }
        }
        Err(format!("a removed file cannot be made again: {last}"))
    }

    fn pipe(&mut self, end: &PipeEnd, flags: i32) -> Outcome<i32> {
        if !self.pipes.contains_key(&end.pipe) {
            let (read, write) = fd::pipe().map_err(|e| e.to_string())?;
            let both = (self.above(Ok(read), true)?, self.above(Ok(write), true)?);
            raw::fcntl(both.1 as u64, libc::F_SETPIPE_SZ as u64, end.capacity.into());
            self.pour(end.pipe, both.1)?;
            self.pipes.insert(end.pipe, both);
        }
        let (read, write) = self.pipes[&end.pipe];
        let made = if end.writes { write } else { read };
        // Each open file of the image gets one of its own (proc_pid_fd(5)).
        let kept = flags & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND | libc::O_DIRECT);
        self.path(format!("/proc/self/fd/{made}").as_bytes(), kept)
    }

    /// Puts what lay in a pipe into it; `write` is an end for that.
    fn pour(&self, pipe: u64, write: i32) -> Outcome<()> {
        let ends = self.image.files.iter().filter_map(|file| match &file.kind {
            OpenKind::Pipe(other) if other.pipe == pipe => Some(other),
            _ => None,
        });
        let unread = ends.map(|other| &other.unread).find(|unread| !unread.is_empty());
        let Some(unread) = unread else { return Ok(()) };
        raw::fcntl(write as u64, libc::F_SETFL as u64, libc::O_NONBLOCK as u64);
        let poured = fd::write_at(write, unread, None);
        raw::fcntl(write as u64, libc::F_SETFL as u64, 0);
        match poured == unread.len() as isize {
            true => Ok(()),
            false => Err("what lay in a pipe does not fit into it here".to_owned()),
        }
    }

    /// A FIFO (fifo(7)) is opened again by its name; an end of ours that does both has nobody wait for
    /// the other, until all are open.
    fn fifo(&mut self, end: &PipeEnd, flags: i32) -> Outcome<i32> {
        let path = end.path.as_deref().unwrap_or_default();
        if !self.pipes.contains_key(&end.pipe) {
            let both = self.path(path, libc::O_RDWR | libc::O_NONBLOCK)?;
            self.pour(end.pipe, both)?;
            self.pipes.insert(end.pipe, (both, both));
        }
        let made = self.path(path, flags | libc::O_NONBLOCK)?;
        raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
        Ok(made)
    }
}

impl Opened {
    /// Files tell by signals whom they told (fcntl(2), F_SETOWN). Called once, when the processes have numbers.
    pub fn tell_owners(&self, arena: Arena) {
        for (place, one, tells) in &self.owners {
            let number = arena.real(one.number) as i32;
            let whom = owner::Owner { kind: one.kind, number, signal: one.signal };
            owner::set(self.files[*place], whom, *tells);
        }
    }

    /// Gives every file the numbers by which the process at place `which` knows it, closes whatever else is open but
    /// the outside's own two, and takes the process's record locks.
    ///
    /// # Errors
    /// One of them cannot be had any more.
    pub fn place(&self, which: usize, process: &Process) -> Result<(), Conflict> {
        let own = [executor::lifeline_fd(), executor::bell_fd()];
        for number in 0..self.least {
            let wanted = process.descriptors.iter().find(|one| one.fd == number);
            match wanted.and_then(|one| Some((one, self.files.get(one.file as usize)?))) {
                Some((one, file)) => {
                    let flags = if one.close_on_exec { libc::O_CLOEXEC } else { 0 };
                    raw::dup3(*file as u64, number as u64, flags as u64);
                }
                None => fd::close(number),
            }
        }
        // With each descriptor of a file that is closed a process loses its locks on it (fcntl_locking(2)): those
        // that hold them for it are the last to go.
        let held = self.held.iter().filter(|((one, _), _)| *one == which);
        let held: Vec<i32> = held.map(|(_, file)| *file).collect();
        let mut kept = [&held[..], &own].concat();
        kept.sort_unstable();
        let mut from = self.least;
        for number in kept {
            if from < number {
                raw::close_range(from as u64, number as u64 - 1, 0);
            }
            from = number + 1;
        }
        raw::close_range(from as u64, u64::from(u32::MAX), 0);
        for file in held {
            let file = File::from(fd::owned(file));
            locks::give_up(&file);
        }
        process.locks.iter().try_for_each(|(place, lock)| {
            let Some(one) = process.descriptors.iter().find(|one| one.file == *place) else {
                return Ok(()); // the lock went with it
            };
            // Not to be closed.
            let file = ManuallyDrop::new(File::from(fd::owned(one.fd)));
            let path = std::fs::read_link(format!("/proc/self/fd/{}", one.fd)).unwrap_or_default();
            let taken = locks::take(&*file, *lock);
            taken.map_err(|e| Conflict::of(&file, path.as_os_str().as_bytes(), *lock, &e))
        })
    }
}

/// Nanoseconds since the epoch, or before it.
fn time_of(ns: i64) -> SystemTime {
    let far = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { UNIX_EPOCH - far } else { UNIX_EPOCH + far }
}

/// Directories where a file without a name can be made again that was at a path.
pub(super) fn nameless_places(path: &[u8]) -> [&[u8]; 3] {
    let home = path.iter().rposition(|byte| *byte == b'/').map(|end| &path[..end]);
    [home.unwrap_or(b"/tmp"), b"/tmp", b"/dev/shm"]
}
