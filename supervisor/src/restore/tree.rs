//! The processes of a program made again: as parents and children, with their groups and sessions, each the
//! outside of one.
//!
//! ```text
//!   made ──► every leader has its group ──► the others join ──► the run is started ──► outside
//! ```
//!
//! The process that was started is the first one; it makes the others before the supervisor is there, and
//! each of them its own children. Those that had ended end again, with the same status. A group or session
//! whose leader is gone is led by a process that goes, too, once the others are in it.
//!
//! Invariant: what is made here ends with the process that was started (the lifeline), at the latest when
//! the start fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chameleon_ckpt::image::Process;
use chameleon_interpose::arena::{Arena, Task};
use chameleon_interpose::{durable::threads, outside};
use chameleon_sys::executor::{self, slot};
use chameleon_sys::process::{self, Fork};
use chameleon_sys::{cpu, fd, raw};
use nix::unistd::{Pid, getpgrp, getsid, setpgid, setsid};

use super::files::Opened;

/// How far the making is: words that processes wait for.
const MADE: u32 = 1;
const LED: u32 = 2;
const JOINED: u32 = 3;
pub(super) const PLACED: u32 = 4;
pub(super) const FAILED: u32 = u32::MAX;
/// Groups that another process can lead than their own.
const LEADERS: usize = 200;
/// Children that had ended, at most: for their numbers there is room in a ring of signals that is not in
/// use yet.
const ENDED: usize = slot::RING_LEN * 16;
/// How long that may take, in nanoseconds.
pub(super) const PATIENCE_NS: u64 = 20_000_000_000;

/// All processes of an image, and what they are made of.
#[derive(Debug)]
pub(super) struct Tree {
    pub processes: Vec<Process>,
    pub opened: Opened,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    /// Processes that live, and those among them that have the number that they had.
    pub living: u32,
    pub same: u32,
}

impl Tree {
    fn living(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.processes.iter().enumerate().filter(|(_, one)| one.ended.is_none())
    }

    /// The place of the living process with a number.
    fn find(&self, pid: u32) -> Option<usize> {
        self.living().find(|(_, one)| one.pid == pid).map(|(i, _)| i)
    }

    fn children(&self, of: u32) -> impl Iterator<Item = usize> + '_ {
        let all = self.processes.iter().enumerate().skip(1);
        all.filter(move |(_, one)| one.parent == of).map(|(i, _)| i)
    }

    /// Living processes whose parent had ended: whoever had taken them in then has them now.
    fn orphans(&self) -> Vec<usize> {
        let all = self.living().skip(1);
        all.filter(|(_, one)| self.find(one.parent).is_none()).map(|(i, _)| i).collect()
    }

    /// The records of all tasks but the first.
    pub fn prepare(&self, arena: Arena) {
        let root = *arena.task(0);
        for (t, (_, one)) in self.living().enumerate().skip(1) {
            let parent = self.find(one.parent).unwrap_or(0);
            *arena.task(t) = Task {
                used: 1,
                leader: t as u32,
                ordinal: t as u32,
                n: root.n,
                parent: parent as u32,
                parent_ordinal: parent as u32,
                table: t as u32,
                slots: root.slots,
                cpus: cpu::allowed(0),
                ..bytemuck::Zeroable::zeroed()
            };
        }
        let living = self.living().count() as u32;
        let h = arena.header();
        (h.tasks, h.next_ordinal, h.next_table) = (living, living, living);
    }

    /// Makes all processes; the calling one is the first, and the only one that keeps descriptor `own`. On
    /// return they wait for the start of the run.
    ///
    /// # Errors
    /// Some could not be made.
    pub fn make(&self, arena: Arena, own: i32) -> Result<Made, String> {
        if self.processes.iter().filter(|one| one.ended.is_some()).count() > ENDED {
            return Err(format!("more than {ENDED} children have ended and were not waited for"));
        }
        process::set_mask(u64::MAX);
        let making = Making { tree: self, arena, own };
        making.leaders().for_each(|pair| *pair = [0; 2]);
        let word = making.word(0);
        word.store(0, Ordering::Relaxed);
        let root = &self.processes[0];
        outside::make_threads(arena, 0).map_err(|e| format!("a thread cannot be made ({e})"))?;
        let mut numbers = BTreeMap::new();
        note(&mut numbers, raw::getpid() as u32, root.pid);
        // What it is not in any more by itself.
        if root.sid == root.pid {
            let _ = setsid();
        }
        making.make_children(0)?;
        let helpers = making.make_orphans(&mut numbers)?;
        making.wait_for_all(MADE)?;
        let groups = making.lead(&mut numbers)?;
        making.wait_for_all(LED)?;
        making.join(0);
        making.make_ended(0)?;
        going_on(word, JOINED);
        making.wait_for_all(JOINED)?;
        for helper in helpers.into_iter().chain(groups) {
            process::kill(helper, libc::SIGKILL);
            process::reap(helper);
        }
        let mut made = Made::default();
        for (t, (_, one)) in self.living().enumerate() {
            for (real, shown) in threads::numbers(arena, t, one) {
                note(&mut numbers, real, shown);
            }
            made.living += 1;
            made.same += u32::from(arena.task(t).tid == one.pid);
            arena.task(t).used = if one.first_has_ended() { 3 } else { 2 };
        }
        for (place, one) in self.processes.iter().enumerate().filter(|(_, one)| one.ended.is_some())
        {
            note(&mut numbers, making.ended_word(place).load(Ordering::Acquire), one.pid);
        }
        let known: BTreeSet<u32> = numbers.values().copied().collect();
        for (now, then) in [(getpgrp(), root.pgid), (getsid(None).unwrap_or(getpgrp()), root.sid)] {
            if !known.contains(&then) {
                note(&mut numbers, now.as_raw() as u32, then);
            }
        }
        match arena.set_numbers(&numbers) {
            true => Ok(made),
            false => Err("there are too many processes".to_owned()),
        }
    }
}

/// The word of task `t`: how far it is.
pub(super) fn word(arena: Arena, t: usize) -> &'static AtomicU32 {
    arena.region.atomic_u32(arena.slot(t) + slot::GATE)
}

/// Notes what the program knows a number by, unless that is known already.
fn note(numbers: &mut BTreeMap<u32, u32>, real: u32, shown: u32) {
    let taken = numbers.values().any(|known| *known == shown);
    if real != 0 && shown != 0 && !taken {
        numbers.entry(real).or_insert(shown);
    }
}

/// Says that a process has come so far.
pub(super) fn going_on(word: &AtomicU32, stage: u32) {
    word.store(stage, Ordering::Release);
    raw::futex_wake(word, i32::MAX as u32);
}

struct Making<'a> {
    tree: &'a Tree,
    arena: Arena,
    /// The lifeline, which is not theirs.
    own: i32,
}

impl Making<'_> {
    /// The word of task `t`: how far it is.
    fn word(&self, t: usize) -> &'static AtomicU32 {
        word(self.arena, t)
    }

    /// Where the number of the process at place `i`, which had ended, is kept meanwhile.
    fn ended_word(&self, i: usize) -> &'static AtomicU32 {
        let ended = self.tree.processes[..i].iter().filter(|one| one.ended.is_some()).count();
        self.arena.region.atomic_u32(self.arena.slot(0) + slot::RING + ended * 4)
    }

    /// Waits for all to have come so far.
    fn wait_for_all(&self, stage: u32) -> Result<(), String> {
        let until = raw::now_ns() + PATIENCE_NS;
        for t in 1..self.tree.living().count() {
            let word = self.word(t);
            loop {
                let now = word.load(Ordering::Acquire);
                if now >= stage && now != FAILED {
                    break;
                }
                if now == FAILED || raw::now_ns() > until {
                    return Err("a process could not be made".to_owned());
                }
                raw::futex_wait_for(word, now, 100);
            }
        }
        Ok(())
    }

    /// Waits for the first process to have come so far.
    fn wait_for_first(&self, stage: u32) {
        let word = self.word(0);
        loop {
            let now = word.load(Ordering::Acquire);
            if now >= stage {
                return;
            }
            raw::futex_wait_for(word, now, 100);
        }
    }

    /// Makes the children of the process at place `i`, which the caller is; and has it be in its session.
    fn make_children(&self, i: usize) -> Result<(), String> {
        let one = &self.tree.processes[i];
        let all: Vec<usize> = self.tree.children(one.pid).collect();
        let leads = i != 0 && one.sid == one.pid;
        // A child that was made before its parent left the session is in the one from before.
        let before = |c: &usize| leads && !self.is_in_own(*c, one.sid);
        for child in all.iter().filter(|c| before(c)) {
            self.make_child(*child)?;
        }
        if leads {
            setsid().map_err(|e| format!("a session cannot be made ({e})"))?;
        }
        for child in all.iter().filter(|c| !before(c)) {
            self.make_child(*child)?;
        }
        Ok(())
    }

    /// Whether a child is in the session of its parent, or in one of its own.
    fn is_in_own(&self, child: usize, sid: u32) -> bool {
        let child = &self.tree.processes[child];
        child.sid == sid || child.sid == child.pid
    }

    fn make_child(&self, i: usize) -> Result<(), String> {
        let one = &self.tree.processes[i];
        if one.ended.is_some() {
            return match one.pgid == one.pid {
                true => self.end(i), // its group needs it
                false => Ok(()),
            };
        }
        let made = process::fork_as(Some(one.pid), one.exit_signal);
        match made.map_err(|e| format!("a process cannot be made ({e})"))? {
            (Fork::Parent(_), _) => Ok(()),
            (Fork::Child, _) => self.live(i),
        }
    }

    /// The life of a process that was just made.
    fn live(&self, i: usize) -> ! {
        let one = &self.tree.processes[i];
        let t = self.tree.living().position(|(place, _)| place == i).unwrap_or(0);
        let word = self.word(t);
        fd::close(self.own);
        executor::tie_to(executor::lifeline_fd(), executor::lifeline_fd());
        let pid = raw::getpid() as u32;
        let task = self.arena.task(t);
        (task.tid, task.tgid) = (pid, pid);
        let home = Path::new(OsStr::from_bytes(&one.cwd));
        let made = self.make_children(i).and_then(|()| {
            outside::make_threads(self.arena, t).map_err(|e| e.to_string())?;
            std::env::set_current_dir(home).map_err(|e| format!("{}: {e}", home.display()))
        });
        if made.is_err() {
            going_on(word, FAILED);
            process::exit_now(1);
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(one.umask));
        going_on(word, MADE);
        self.wait_for_first(MADE);
        if one.pgid == one.pid {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        }
        going_on(word, LED);
        self.wait_for_first(LED);
        self.join(i);
        if self.make_ended(i).is_err() {
            going_on(word, FAILED);
            process::exit_now(1);
        }
        going_on(word, JOINED);
        let ready = self.arena.ready();
        loop {
            match ready.load(Ordering::Acquire) {
                0 => raw::futex_wait_for(ready, 0, 100),
                1 => self.tree.live(self.arena, i, t),
                _ => process::exit_now(0),
            }
        }
    }

    /// The first process says that all are made, and sees to it that each group can be joined. The
    /// processes that lead those whose leader is gone.
    fn lead(&self, numbers: &mut BTreeMap<u32, u32>) -> Result<Vec<u32>, String> {
        let root = &self.tree.processes[0];
        if root.pgid == root.pid {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        }
        going_on(self.word(0), MADE);
        self.wait_for_all(LED)?;
        let mut helpers = Vec::new();
        for group in self.groups_without_leader() {
            if numbers.values().any(|known| *known == group) {
                continue; // of a session that is led
            }
            let made = process::fork_as(Some(group), libc::SIGCHLD as u32);
            match made.map_err(|e| format!("a process cannot be made ({e})"))? {
                (Fork::Child, _) => {
                    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                    self.wait_to_be_killed();
                }
                (Fork::Parent(pid), _) => {
                    let _ = setpgid(Pid::from_raw(pid as i32), Pid::from_raw(pid as i32));
                    note(numbers, pid, group);
                    self.note_leader(group, pid);
                    helpers.push(pid);
                }
            }
        }
        going_on(self.word(0), LED);
        Ok(helpers)
    }

    /// Places where it is noted for the others which process leads a group in place of one that is gone.
    fn leaders(&self) -> impl Iterator<Item = &'static mut [u32; 2]> + '_ {
        let at = self.arena.slot(0) + slot::RING + slot::RING_LEN * 64;
        (0..LEADERS).map(move |k| self.arena.region.record(at + k * 8))
    }

    fn note_leader(&self, group: u32, pid: u32) {
        if let Some(free) = self.leaders().find(|pair| pair[1] == 0) {
            *free = [group, pid];
        }
    }

    /// Groups of which the leader is no process of the image, but for that which the first is in.
    fn groups_without_leader(&self) -> BTreeSet<u32> {
        let root = &self.tree.processes[0];
        let all = self.tree.processes.iter().map(|one| one.pgid);
        let led = |group: u32| self.tree.processes.iter().any(|one| one.pid == group);
        all.filter(|group| *group != root.pgid && !led(*group)).collect()
    }

    /// The real number of a group.
    fn group(&self, pgid: u32) -> Option<u32> {
        if let Some(t) = self.tree.living().position(|(_, one)| one.pid == pgid) {
            return Some(self.arena.task(t).tid);
        }
        if let Some(i) = self.tree.processes.iter().position(|one| one.pid == pgid) {
            return Some(self.ended_word(i).load(Ordering::Acquire)).filter(|pid| *pid != 0);
        }
        self.leaders().find(|pair| pair[1] != 0 && pair[0] == pgid).map(|pair| pair[1])
    }

    /// The caller, the process at place `i`, joins its group.
    fn join(&self, i: usize) {
        let one = &self.tree.processes[i];
        if one.pgid == one.pid || i == 0 {
            return;
        }
        // Of none it is that which all are in from the start.
        if let Some(group) = self.group(one.pgid) {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(group as i32));
        }
    }

    /// Makes the children of the process at place `i` that had ended, but for those that were made first.
    fn make_ended(&self, i: usize) -> Result<(), String> {
        let one = &self.tree.processes[i];
        let ended = self.tree.children(one.pid).filter(|c| {
            let child = &self.tree.processes[*c];
            child.ended.is_some() && child.pgid != child.pid
        });
        ended.into_iter().try_for_each(|child| self.end(child))
    }

    /// Makes a child that has ended.
    fn end(&self, i: usize) -> Result<(), String> {
        let one = &self.tree.processes[i];
        let status = one.ended.unwrap_or_default();
        let made = process::fork_as(Some(one.pid), one.exit_signal);
        let pid = match made.map_err(|e| format!("a process cannot be made ({e})"))? {
            (Fork::Child, _) => {
                if one.sid == one.pid {
                    let _ = setsid();
                } else if one.pgid == one.pid {
                    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                } else {
                    self.join(i);
                }
                match status & 0x7f {
                    0 => process::exit_now(status >> 8 & 0xff),
                    signal => process::die_by(signal),
                }
            }
            (Fork::Parent(pid), _) => pid,
        };
        self.ended_word(i).store(pid, Ordering::Release);
        process::wait_until_ended(pid);
        Ok(())
    }

    /// Makes those whose parent had ended: by a process in between, which leads their session, if its
    /// leader is gone.
    fn make_orphans(&self, numbers: &mut BTreeMap<u32, u32>) -> Result<Vec<u32>, String> {
        let mut sessions: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let root = self.tree.processes[0].sid;
        for orphan in self.tree.orphans() {
            let one = &self.tree.processes[orphan];
            let sid = if one.sid == one.pid { root } else { one.sid };
            sessions.entry(sid).or_default().push(orphan);
        }
        let mut helpers = Vec::new();
        for (sid, orphans) in sessions {
            let made = process::fork_as(Some(sid).filter(|sid| *sid != root), libc::SIGCHLD as u32);
            match made.map_err(|e| format!("a process cannot be made ({e})"))? {
                (Fork::Child, _) => {
                    if sid != root {
                        let _ = setsid();
                    }
                    for orphan in orphans {
                        if self.make_child(orphan).is_err() {
                            process::exit_now(1);
                        }
                    }
                    self.wait_to_be_killed();
                }
                (Fork::Parent(pid), _) => {
                    if sid != root {
                        note(numbers, pid, sid);
                        self.note_leader(sid, pid);
                    }
                    helpers.push(pid);
                }
            }
        }
        Ok(helpers)
    }

    /// The life of a process that is only there to lead others.
    fn wait_to_be_killed(&self) -> ! {
        fd::close(self.own);
        executor::tie_to(executor::lifeline_fd(), executor::lifeline_fd());
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}
