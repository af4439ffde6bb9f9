//! Reads of /proc/PID/status, stat and wchan of the program's own processes: the text is drawn up
//! here, because no single process of ours shows what the program's would.
//!
//! Invariant: a descriptor of such a file is the outside's, and its position counts; a text that
//! was begun is read to its end as it was, as the kernel's is.

use std::os::unix::ffi::OsStrExt;

use chameleon_sys::executor;
use chameleon_sys::{fd, raw};

use super::Dispatcher;
use crate::arena::{CHUNK, Entry, is_live, rstate};
use crate::ballot::IOVEC;
use crate::procfile::{self, File, Known};

/// Room for a text; the longest line is that of the groups.
const ROOM: usize = 256 << 10;
/// Nanoseconds in a tick of proc(5).
const TICK_NS: u64 = 10_000_000;

/// Whose file a descriptor leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    file: File,
    tid: u32,
    thread: bool,
}

impl Dispatcher {
    /// Whether the duplicate `copy` is of a file that is drawn up here.
    pub(super) fn about_own(&self, copy: i32) -> Option<About> {
        if fd::size(copy) != Some(0) {
            return None;
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{copy}")).ok()?;
        let (file, tid, thread) = procfile::meant(path.as_os_str().as_bytes())?;
        (fd::is_of_proc(copy) && self.task_of_executor(tid).is_some()).then_some(About {
            file,
            tid,
            thread,
        })
    }

    /// The living task whose executor has the number `tid`.
    fn task_of_executor(&self, tid: u32) -> Option<usize> {
        (0..self.tasks()).find(|t| {
            let task = self.arena.task(*t);
            task.used == 2 && task.tid == tid
        })
    }

    /// The living task that the program knows by a number.
    pub(super) fn task_of(&self, number: u32) -> Option<usize> {
        (0..self.tasks()).find(|t| self.arena.task(*t).used == 2 && self.arena.number(*t) == number)
    }

    /// read(2), pread64(2) or readv(2) of such a file through its duplicate, into where the request
    /// in the slot says.
    pub(super) fn read_own(&mut self, t: usize, e: &Entry, copy: i32, about: About) -> i64 {
        let slot = self.arena.slot(t);
        let args = *self.arena.region.record::<[u64; 6]>(slot + executor::slot::ARGS);
        if self.arena.region.offset_of(args[1]).is_none() {
            // There is nowhere to read to: the kernel says how that fails.
            return executor::perform_here(self.arena.region, slot);
        }
        let placed = i64::from(e.nr) == libc::SYS_pread64;
        let from = if placed {
            e.args[3]
        } else {
            raw::lseek(copy as u64, 0, libc::SEEK_CUR as u64).max(0) as u64
        };
        if (from as i64) < 0 {
            return -i64::from(libc::EINVAL);
        }
        let key = (self.arena.task(t).table, e.args[0] as i32);
        let kept = self.quick.texts.remove(&key).filter(|_| from > 0);
        let text = match kept.map_or_else(|| self.own_text(t, copy, about), Ok) {
            Ok(text) => text,
            Err(errno) => return -i64::from(errno),
        };
        let rest = &text[text.len().min(from as usize)..];
        let n = self.put(t, i64::from(e.nr) == libc::SYS_readv, rest);
        if !placed {
            raw::lseek(copy as u64, from + n as u64, libc::SEEK_SET as u64);
        }
        self.quick.texts.insert(key, text);
        n as i64
    }

    /// Fills the buffer, or the buffers, of the request in the slot; how much there was room for.
    fn put(&self, t: usize, vector: bool, mut bytes: &[u8]) -> usize {
        let region = self.arena.region;
        let args = *region.record::<[u64; 6]>(self.arena.slot(t) + executor::slot::ARGS);
        let whole = bytes.len();
        for v in 0..if vector { args[2] as usize } else { 1 } {
            let [at, len] = if vector {
                let Some(o) = region.offset_of(args[1]) else { break };
                *region.record::<[u64; 2]>(o + v * IOVEC)
            } else {
                [args[1], args[2]]
            };
            let n = bytes.len().min(len as usize).min(CHUNK);
            if let Some(o) = region.offset_of(at) {
                region.bytes(o, n).copy_from_slice(&bytes[..n]);
            }
            bytes = &bytes[n..];
        }
        whole - bytes.len()
    }

    fn own_text(&mut self, t: usize, copy: i32, about: About) -> Result<Vec<u8>, i32> {
        let mut outside = vec![0; ROOM];
        let n = fd::read_at(copy, &mut outside, Some(0));
        if n < 0 {
            return Err(-n as i32);
        }
        outside.truncate(n as usize);
        let Some(of) = self.task_of_executor(about.tid) else { return Ok(outside) };
        let task = self.arena.task(of);
        // Of a process that is behind in some replicas, the one that has come farthest.
        let live = task.replicas[..task.n as usize].iter().filter(|r| r.pid != 0 && is_live(r));
        let farthest = live.max_by_key(|r| (r.seq, r.state == rstate::PARKED)).copied();
        let Some(replica) = farthest else { return Ok(outside) };
        let (pid, name) = (replica.pid, about.file.name());
        let path = if about.thread {
            format!("/proc/{pid}/task/{pid}/{name}")
        } else {
            format!("/proc/{pid}/{name}")
        };
        let Ok(inside) = std::fs::read(path) else { return Ok(outside) };
        if about.file == File::Wchan && of != t && replica.state == rstate::RUNNING {
            return Ok(if self.executor_idle(of) { inside } else { outside });
        }
        let asleep = matches!(procfile::state(about.file, &inside), Some(b'S' | b'D'));
        let computes = replica.state != rstate::RUNNING || !asleep;
        let mut known = self.known_of(of);
        let waits = self.is_queued(of);
        known.running = of == t || self.executor_idle(of) && computes && !waits;
        if let (true, Some(ticks)) = (about.thread, procfile::ticks(&inside)) {
            known.ticks = ticks;
        }
        let text = procfile::text(about.file, &outside, &inside, &known);
        Ok(match self.arena.header().renumbered {
            0 => text,
            _ => procfile::renumbered(about.file, text, |number| self.told(number)),
        })
    }

    /// What is known of a task, but whether it computes.
    fn known_of(&mut self, t: usize) -> Known {
        let ticks = self.process_cpu_ns(t) / TICK_NS;
        let task = self.arena.task(t);
        let leader = task.leader as usize;
        let mut known = Known {
            blocked: task.mask,
            ticks,
            child_ticks: self.arena.task(leader).child_cpu / TICK_NS,
            slots: self.descriptor_slots(leader),
            ..Known::default()
        };
        for s in 1..=64 {
            match self.arena.action(leader, s).handler {
                0 => {}
                1 => known.ignored |= 1 << (s - 1),
                _ => known.caught |= 1 << (s - 1),
            }
        }
        for info in &task.signals[..task.pending as usize] {
            let (signal, code) = (info[0] as u32, info[1] as i32);
            let bit = 1u64 << (signal - 1);
            if code == libc::SI_TKILL { known.pending |= bit } else { known.shared_pending |= bit }
        }
        known
    }

    /// The places in a process's descriptor table but for our own two: the kernel doubles it from 64
    /// on as numbers are taken, and never makes it smaller.
    pub(super) fn descriptor_slots(&self, leader: usize) -> u32 {
        let task = self.arena.task(leader);
        task.slots = task.slots.max(slots_in_use(task.tgid));
        task.slots
    }

    /// A descriptor of the program has been closed: the table stays as large as it made it.
    pub(super) fn had_descriptor(&self, t: usize, number: u32) {
        let task = self.arena.task(self.arena.task(t).leader as usize);
        task.slots = task.slots.max(slots_for(number));
    }
}

/// The places that the descriptor table of a process has when it is copied, at a fork.
pub(super) fn slots_in_use(tgid: u32) -> u32 {
    let own = [executor::bell_fd(), executor::lifeline_fd()];
    let listed = std::fs::read_dir(format!("/proc/{tgid}/fd")).into_iter().flatten().flatten();
    let numbers = listed.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let highest = numbers.filter(|n| !own.contains(n)).max().unwrap_or(0);
    slots_for(highest as u32)
}

/// The places of a table that has room for a descriptor.
fn slots_for(highest: u32) -> u32 {
    (highest + 1).next_power_of_two().max(64)
}
