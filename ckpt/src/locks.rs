//! Locks on files (flock(2), fcntl_locking(2)) of an image: taken before anything is changed, so that nobody
//! has one that the program had, and nobody gets one while files are put back.
//!
//! Invariant: nothing waits for a lock; without all of them none is kept. A lock of a process is held for it by an
//! open file meanwhile, since it would be lost with the first descriptor of the file that is closed.
//! Called by the preflight, which gives them back at once, and by a restart.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::image::{Image, Lock, LockKind, OpenFile, OpenKind};
use crate::undo::Rollback;

/// How long others are given to end: those of a run that was just killed need a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lock of an image that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The file, as bytes.
    pub path: Vec<u8>,
    /// The lock.
    pub lock: Lock,
    /// Who is in its way: number and name, if it can be seen.
    pub holder: Option<(u32, String)>,
    /// The kernel's word, when it is not that somebody has it.
    pub error: Option<String>,
}

impl Conflict {
    /// Why `lock` could not be taken through `file`, whose path that is.
    pub fn of(file: &File, path: &[u8], lock: Lock, error: &io::Error) -> Self {
        let held = error.kind() == io::ErrorKind::WouldBlock;
        let holder = if held { holder(file, lock) } else { None };
        let error = (!held).then(|| error.to_string());
        Self { path: path.to_vec(), lock, holder, error }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        match (self.lock.kind, self.lock.last) {
            (LockKind::Whole, _) => write!(f, "{path} (flock)")?,
            (_, Some(last)) => write!(f, "bytes {} to {last} of {path}", self.lock.first)?,
            (_, None) => write!(f, "{path} from byte {} on", self.lock.first)?,
        }
        match (&self.error, &self.holder) {
            (Some(error), _) => write!(f, ": the lock cannot be had: {error}"),
            (None, Some((pid, name))) => write!(f, ": the lock is held by process {pid} ({name})"),
            (None, None) => f.write_str(": the lock is held by a process that cannot be seen"),
        }
    }
}

/// Open files that have the locks of an image.
#[derive(Debug, Default)]
pub struct Held {
    /// Those of open files: opened as the program had them, by their place in the image.
    pub files: BTreeMap<u32, File>,
    /// Those of processes: by the place of the process and of the open file.
    pub processes: BTreeMap<(usize, u32), File>,
}

impl Held {
    /// Takes the locks of files that have a name; those of others nobody can have taken.
    ///
    /// # Errors
    /// Those that cannot be had.
    pub fn take(image: &Image, rollback: Option<&Rollback>) -> Result<Self, Vec<Conflict>> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::try_to_take(image, rollback) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                tried => return tried,
            }
        }
    }

    fn try_to_take(image: &Image, rollback: Option<&Rollback>) -> Result<Self, Vec<Conflict>> {
        let (mut held, mut conflicts) = (Self::default(), Vec::new());
        for (place, open) in
            image.files.iter().enumerate().filter(|(_, open)| !open.locks.is_empty())
        {
            let Some((path, file)) = now(open, rollback) else { continue };
            conflicts.extend(open.locks.iter().filter_map(|lock| try_one(&file, path, *lock)));
            held.files.insert(place as u32, file);
        }
        for (which, process) in image.processes.iter().enumerate() {
            for (place, lock) in &process.locks {
                let Some(open) = image.files.get(*place as usize) else { continue };
                let Some((path, fresh)) = now(open, rollback) else { continue };
                let file = held.processes.entry((which, *place)).or_insert(fresh);
                conflicts.extend(try_one(file, path, *lock));
            }
        }
        if conflicts.is_empty() { Ok(held) } else { Err(conflicts) }
    }
}

/// A file as the program had it open, wherever it is before names are put back.
fn now<'a>(open: &'a OpenFile, rollback: Option<&Rollback>) -> Option<(&'a [u8], File)> {
    let path = match &open.kind {
        OpenKind::Regular(file) if !file.unlinked => &file.path,
        OpenKind::Directory { path, .. } => path,
        _ => return None,
    };
    let then = Path::new(OsStr::from_bytes(path));
    let names = rollback.and_then(|rollback| rollback.names().ok()).unwrap_or_default();
    let here = names.now(then)?;
    let flags = open.flags as i32;
    let mut how = File::options();
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => how.read(true),
        libc::O_WRONLY => how.write(true),
        _ => how.read(true).write(true),
    };
    let directory = matches!(open.kind, OpenKind::Directory { .. });
    let once = if directory { ONCE } else { ONCE | libc::O_TMPFILE };
    how.custom_flags(flags & !(libc::O_ACCMODE | once) | libc::O_NOCTTY);
    // That it cannot be opened is found elsewhere.
    Some((path, how.open(here).ok()?))
}

/// Flags that mean something when a file is opened for the first time only (open(2)).
const ONCE: i32 = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOFOLLOW;

fn try_one(file: &File, path: &[u8], lock: Lock) -> Option<Conflict> {
    // Nobody but an open file can hold one for a process.
    let kind = if lock.kind == LockKind::Process { LockKind::Open } else { lock.kind };
    let error = take(file, Lock { kind, ..lock }).err()?;
    Some(Conflict::of(file, path, lock, &error))
}

/// Takes a lock through a file without waiting for it; one of a process is the caller's.
///
/// # Errors
/// Of flock(2) and fcntl(2): [`io::ErrorKind::WouldBlock`] when somebody else has it.
pub fn take(file: &impl AsFd, lock: Lock) -> io::Result<()> {
    let wanted = range(lock);
    let done = match lock.kind {
        LockKind::Whole => return take_whole(file, lock.exclusive),
        LockKind::Open => fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)),
        LockKind::Process => fcntl(file, FcntlArg::F_SETLK(&wanted)),
    };
    Ok(done.map(drop)?)
}

/// Gives up all locks of ranges that an open file has.
pub fn give_up(file: &impl AsFd) {
    let all = Lock { kind: LockKind::Open, exclusive: false, first: 0, last: None };
    let none = libc::flock { l_type: libc::F_UNLCK as i16, ..range(all) };
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&none));
}

fn take_whole(file: &impl AsFd, exclusive: bool) -> io::Result<()> {
    // A duplicate is the same open file, and what was locked stays so when it is closed.
    let file = File::from(file.as_fd().try_clone_to_owned()?);
    let done = if exclusive { file.try_lock() } else { file.try_lock_shared() };
    done.map_err(io::Error::from)
}

fn range(lock: Lock) -> libc::flock {
    // Offsets are signed (fcntl_locking(2)); a length of 0 goes to the end.
    let len = lock.last.map_or(0, |last| last.saturating_sub(lock.first).saturating_add(1));
    libc::flock {
        l_type: if lock.exclusive { libc::F_WRLCK } else { libc::F_RDLCK } as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: lock.first as i64,
        l_len: len as i64,
        l_pid: 0,
    }
}

/// Who has a lock that is in the way.
fn holder(file: &File, lock: Lock) -> Option<(u32, String)> {
    let pid = holder_of_range(file, lock).or_else(|| {
        let facts = file.metadata().ok()?;
        let (major, minor) = (libc::major(facts.dev()), libc::minor(facts.dev()));
        let inode = format!("{major:02x}:{minor:02x}:{}", facts.ino());
        let all = fs::read_to_string("/proc/locks").unwrap_or_default();
        let here = |line: &&str| line.contains(&*inode) && !line.contains("->");
        all.lines().filter(here).find_map(|line| in_the_way(line, lock).filter(|pid| *pid > 0))
    });
    let pid = pid.map(|pid| pid as u32).or_else(|| holder_that_is_seen(file, lock))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim_end().to_owned()))
}

fn holder_of_range(file: &File, lock: Lock) -> Option<i32> {
    if lock.kind == LockKind::Whole {
        return None;
    }
    let mut other = range(lock);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut other)).ok()?;
    (other.l_pid > 0).then_some(other.l_pid)
}

/// A lock of an open file names no process: it is sought among the files of all that can be seen.
fn holder_that_is_seen(file: &File, lock: Lock) -> Option<u32> {
    let own = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let ino = own.lines().find(|line| line.starts_with("ino:"))?;
    let all = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        let texts = files.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let mut same = texts.filter(|text| text.lines().any(|line| line == ino));
        *pid != std::process::id()
            && same.any(|text| text.lines().any(|line| in_the_way(line, lock).is_some()))
    })
}

/// Whether a line of proc_locks(5), or of proc_pid_fdinfo(5), is of a lock that keeps `lock` from being taken:
/// its process, -1 for one of an open file.
fn in_the_way(line: &str, lock: Lock) -> Option<i32> {
    let (other, pid) = read(line)?;
    let alike = (other.kind == LockKind::Whole) == (lock.kind == LockKind::Whole);
    let meet = other.first <= lock.last.unwrap_or(u64::MAX)
        && lock.first <= other.last.unwrap_or(u64::MAX);
    (alike && meet && (other.exclusive || lock.exclusive)).then_some(pid)
}

/// A lock as the kernel shows it: `1: POSIX  ADVISORY  WRITE 2873 00:2f:312 10 19`, after `lock:` in
/// proc_pid_fdinfo(5), and whose it is, -1 of an open file; none of what is no lock.
pub fn read(line: &str) -> Option<(Lock, i32)> {
    let line = line.strip_prefix("lock:").unwrap_or(line);
    let mut words = line.split_whitespace().skip(1);
    let kind = match words.next()? {
        "FLOCK" => LockKind::Whole,
        "OFDLCK" => LockKind::Open,
        "POSIX" => LockKind::Process,
        _ => return None,
    };
    let exclusive = words.nth(1)? == "WRITE";
    let pid = words.next()?.parse().ok()?;
    let first = words.nth(1)?.parse().ok()?;
    let last = words.next()?.parse().ok(); // or EOF
    Some((Lock { kind, exclusive, first, last }, pid))
}

/// Whether a line of proc_pid_fdinfo(5) shows a lease (fcntl(2), F_SETLEASE).
pub fn is_lease(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("lock:") && matches!(words.nth(1), Some("LEASE" | "DELEG"))
}

#[cfg(test)]
mod tests;
