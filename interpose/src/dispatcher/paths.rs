//! Paths that mean the program itself (/proc/self/…), and programs that cannot be replicated.
//!
//! Invariant: what the outside has for the program (descriptors, directory, identity) is read from
//! the outside; what only a replica has (its image, its memory map) from a replica.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chameleon_sys::{Errno, memory};

use super::work::Outcome;
use super::{Dispatcher, native};
use crate::arena::Entry;
use crate::table::row::{Arg, Row};

/// Entries of /proc/PID (proc(5)) that are about the address space.
/// The call that a process is in is that of its replicas, as they made it.
const OF_THE_IMAGE: [&[u8]; 12] = [
    b"exe",
    b"maps",
    b"smaps",
    b"smaps_rollup",
    b"mem",
    b"auxv",
    b"environ",
    b"pagemap",
    b"map_files",
    b"statm",
    b"numa_maps",
    b"syscall",
];

impl Dispatcher {
    /// Replaces paths in a request that lead to the program's own /proc entries. An errno where
    /// the call must fail instead.
    pub(super) fn redirect(&mut self, t: usize, r: &Row, args: &mut [u64; 6]) -> Option<i32> {
        let task = self.arena.task(t);
        if i64::from(self.arena.entry(t, task.head).nr) == libc::SYS_pselect6 && args[5] != 0 {
            return self.carry_mask(t, args);
        }
        for (i, arg) in r.args.iter().enumerate() {
            if *arg != Arg::Path {
                continue;
            }
            let Some(at) = self.arena.region.offset_of(args[i]) else { continue };
            let Some(p) = self.path_at(at) else { continue };
            let Some((of, rest)) = self.proc_entry(t, p) else { continue };
            let entry = rest.split(|b| *b == b'/').next().unwrap_or(rest);
            let mut new = if OF_THE_IMAGE.contains(&entry) {
                let winner = if of == t { self.first_winner(t) } else { None };
                let Some(pid) = winner.or_else(|| self.any_replica(of)) else { continue };
                format!("/proc/{pid}/").into_bytes()
            } else if self.arena.header().renumbered != 0 {
                let task = self.arena.task(of);
                match task.leader as usize {
                    leader if leader == of && !p.windows(6).any(|w| w == b"/task/") => {
                        format!("/proc/{}/", task.tgid)
                    }
                    _ => format!("/proc/{}/task/{}/", task.tgid, task.tid),
                }
                .into_bytes()
            } else {
                continue;
            };
            new.extend_from_slice(rest);
            new.push(0);
            let Some(place) = self.arena.take_data(t, new.len()) else {
                return Some(libc::ENOMEM);
            };
            self.arena.region.bytes(place, new.len()).copy_from_slice(&new);
            args[i] = self.arena.region.address(place);
        }
        None
    }

    /// pselect6(2): its last argument is a structure with the address and size of a mask.
    fn carry_mask(&mut self, t: usize, args: &mut [u64; 6]) -> Option<i32> {
        let pid = self.first_winner(t)?;
        let Ok([at, size]) = memory::read_value::<[u64; 2]>(pid, args[5]) else {
            return Some(libc::EFAULT);
        };
        let Some(place) = self.arena.take_data(t, 24) else { return Some(libc::ENOMEM) };
        let room = self.arena.region.record::<[u64; 3]>(place);
        *room = [0, size, 0];
        if at != 0 {
            let Ok(mask) = memory::read_value::<u64>(pid, at) else { return Some(libc::EFAULT) };
            room[0] = self.arena.region.address(place + 16);
            room[2] = mask;
        }
        args[5] = self.arena.region.address(place);
        None
    }

    fn any_replica(&self, t: usize) -> Option<u32> {
        let task = self.arena.task(t);
        let all = &task.replicas[..task.n as usize];
        all.iter().find(|r| crate::arena::is_live(r)).map(|r| r.pid)
    }

    fn path_at(&self, at: usize) -> Option<&'static [u8]> {
        // A string of the arena ends within its 4096 bytes (see `ballot`).
        let bytes = &*self.arena.region.bytes(at, 4096.min(self.arena.region.len() - at));
        bytes.iter().position(|b| *b == 0).map(|n| &bytes[..n])
    }

    /// The task of this run that a path in /proc is about, and what follows its directory there:
    /// `/proc/self/`, `/proc/PID/`, `/proc/PID/task/TID/` ….
    fn proc_entry<'a>(&self, t: usize, path: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let rest = path.strip_prefix(b"/proc/")?;
        let leader = self.arena.task(t).leader as usize;
        let (mut of, mut rest) = match rest {
            _ if rest.starts_with(b"self/") => (leader, &rest[5..]),
            _ if rest.starts_with(b"thread-self/") => (t, &rest[12..]),
            _ => self.numbered(rest)?,
        };
        if let Some(thread) = rest.strip_prefix(b"task/") {
            let process = self.arena.task(of).leader;
            (of, rest) = self.numbered(thread)?;
            if self.arena.task(of).leader != process {
                return None; // there is no such file
            }
        }
        Some((of, rest))
    }

    /// The task whose number begins a path, and what follows it.
    fn numbered<'a>(&self, path: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let slash = path.iter().position(|b| *b == b'/')?;
        let number = std::str::from_utf8(&path[..slash]).ok()?.parse().ok()?;
        Some((self.task_of(number)?, &path[slash + 1..]))
    }

    /// What follows `/proc/self/` or the same by number, if the path is such.
    fn own_proc_entry<'a>(&self, t: usize, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(b"/proc/")?;
        for own in [b"self/".as_slice(), b"thread-self/"] {
            if let Some(r) = rest.strip_prefix(own) {
                return Some(r);
            }
        }
        let slash = rest.iter().position(|b| *b == b'/')?;
        let number: u32 = std::str::from_utf8(&rest[..slash]).ok()?.parse().ok()?;
        (number == self.arena.task(t).tgid).then(|| &rest[slash + 1..])
    }

    /// A descriptor named by the path of an exec: /dev/fd/N or /proc/self/fd/N, which the replica
    /// does not have unless it is lent.
    pub(super) fn descriptor_path(&self, t: usize, e: &Entry) -> Option<u32> {
        let path = self.exec_path(e)?;
        let rest = path
            .strip_prefix(b"/dev/fd/")
            .or_else(|| self.own_proc_entry(t, path).and_then(|r| r.strip_prefix(b"fd/")))?;
        std::str::from_utf8(rest).ok()?.parse().ok()
    }

    fn exec_path(&self, e: &Entry) -> Option<&'static [u8]> {
        let arg = if i64::from(e.nr) == libc::SYS_execveat { 1 } else { 0 };
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let p = pieces.iter().find(|p| p.arg == arg)?;
        Some(&self.arena.region.bytes(p.offset(), p.len as usize - 1)[..])
    }

    /// Device and number of the file that a path of the call at the head leads to now, which is argument
    /// `arg`; from the directory of descriptor `from`, or the working directory.
    ///
    /// # Errors
    /// Why it cannot be told; [`Errno::ENOENT`] if there is none.
    pub(super) fn file_at(&self, t: usize, arg: u32, from: Option<i32>) -> Result<[u64; 2], Errno> {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let mut pieces = self.arena.pieces(e.ins_at, e.ins).iter();
        let Some(p) = pieces.find(|p| p.arg == arg) else { return Err(Errno::EFAULT) };
        let path = &*self.arena.region.bytes(p.offset(), p.len as usize - 1);
        let base = match from.filter(|fd| *fd != libc::AT_FDCWD) {
            _ if path.starts_with(b"/") => "root".to_owned(),
            Some(fd) => format!("fd/{fd}"),
            None => "cwd".to_owned(),
        };
        let mut full = format!("/proc/{}/{base}/", task.tgid).into_bytes();
        full.extend_from_slice(path);
        let known = std::fs::metadata(Path::new(OsStr::from_bytes(&full)));
        let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
        known.map(|m| [m.dev(), m.ino()]).map_err(errno)
    }

    /// A program that replicas cannot become: of another architecture, or with more rights than a
    /// traced process gets. With a single replica its outside becomes it (see `native`).
    pub(super) fn refuse_image(&mut self, t: usize) -> Option<Outcome> {
        if self.arena.task(t).step == native::NATIVE {
            return Some(self.native_exec_failed(t));
        }
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let path = self.exec_path(&e)?;
        let tgid = self.arena.task(t).tgid;
        let name = String::from_utf8_lossy(path).into_owned();
        let full = if path.starts_with(b"/") {
            format!("/proc/{tgid}/root{name}")
        } else {
            format!("/proc/{tgid}/cwd/{name}")
        };
        // proc(5): the owner of /proc/PID is the effective identity of the process.
        let owner =
            std::fs::metadata(format!("/proc/{tgid}")).map_or((0, 0), |m| (m.uid(), m.gid()));
        let reason = chameleon_sys::image::why_not(full.as_ref(), owner, &tgid.to_string())?;
        if !self.lockstep() {
            return Some(self.native_exec(t, &e));
        }
        let errno = Errno::ENOEXEC as i32;
        self.refuse(t, format!("execve of {name}").into(), reason.into(), errno);
        Some(Outcome::Value(-i64::from(errno)))
    }
}
