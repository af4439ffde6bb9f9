//! Mapping, moving and unmapping of writable shared memory in every replica.
//!
//! Invariant: an object's extents are filled before a mapping of it is asked for, and freed when no
//! replica maps it any more, which the kernel's maps say. All replicas stand at the call and have the
//! same maps, so that one place is free in all.

use chameleon_sys::{fd, shadow};

use super::outside::Outside;
use super::{Dispatcher, WHOLE};
use crate::arena::{JOBS, Job, Object, Plan, Replica, commit, job, kind, ostate, rstate};
use crate::dispatcher::work::Outcome;
use crate::maps;
use crate::outside::{PATH, op};

pub(super) const PAGE: u64 = 4096;
/// Flags of mmap(2) that mean the same for a mapping of the shadow file.
const KEPT_FLAGS: i32 =
    libc::MAP_POPULATE | libc::MAP_LOCKED | libc::MAP_NORESERVE | libc::MAP_NONBLOCK;

/// Whether the kernel has no huge pages of any size to give (Documentation/admin-guide/mm/hugetlbpage).
fn no_huge_pages() -> bool {
    let Ok(mut sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return false };
    let none = |path| std::fs::read_to_string(path).is_ok_and(|s: String| s.trim() == "0");
    sizes.all(|size| {
        size.is_ok_and(|d| {
            let of = |name| none(d.path().join(name));
            of("nr_hugepages") && of("nr_overcommit_hugepages")
        })
    })
}

pub(super) fn failed(errno: i32) -> Outcome {
    Outcome::Value(-i64::from(errno))
}

impl Dispatcher {
    /// Whether a shared mapping of descriptor `number` that is only read must be one of the shadow file,
    /// because what others of this program write there is.
    pub(in crate::dispatcher) fn is_shadowed(&mut self, t: usize, number: i32) -> bool {
        self.arena.header().objects != 0 && self.object_behind(t, number).is_some()
    }

    /// mmap(2) of shared memory that may be written.
    pub(in crate::dispatcher) fn map_shared(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let [addr, len, prot, flags, number, offset] = self.arena.entry(t, head).args;
        let (flags, number) = (flags as i32, number as i32);
        let anonymous = flags & libc::MAP_ANONYMOUS != 0;
        if len == 0 || !offset.is_multiple_of(PAGE) {
            return failed(libc::EINVAL);
        }
        let (object, offset) = match anonymous {
            true => (self.anonymous_object(t), 0),
            false => (self.file_object(t, number), offset),
        };
        let object = match object {
            Ok(o) => o,
            Err(outcome) => return outcome,
        };
        let len = len.saturating_add(PAGE - 1) & !(PAGE - 1);
        if flags & libc::MAP_HUGETLB != 0 {
            if anonymous && no_huge_pages() {
                return failed(libc::ENOMEM); // as the kernel
            }
            return self.cannot_share(
                t,
                "mmap shared of huge pages",
                "they come from another file",
                libc::ENOMEM,
            );
        }
        if offset.saturating_add(len) > shadow::EXTENT {
            return self.cannot_share(t, "mmap shared", "it is longer than 1 TiB", libc::ENOMEM);
        }
        let fixed = flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
        let place = match fixed {
            0 => match self.free_place(t, len) {
                Some(at) => at,
                None => return failed(libc::ENOMEM),
            },
            _ => addr,
        };
        let how = if fixed == 0 { libc::MAP_FIXED_NOREPLACE } else { fixed };
        let mapped = flags & KEPT_FLAGS | how | libc::MAP_SHARED;
        let mut plan = self.plan(place as i64);
        plan.calls[0] = map_call(place, len, prot, mapped, shadow::extent(object, 0) + offset);
        plan.count = 1;
        let about = *self.arena.object(object);
        if about.kind == kind::FILE {
            self.plan_readers(t, object, about.file, &mut plan);
            (plan.object, plan.number) = (object as u32 + 1, number);
            plan.owner = self.arena.task(self.arena.task(t).leader as usize).tgid;
        }
        self.by_plan(t, plan)
    }

    /// Mappings of an object's file that are only read and were made before: the replicas map the object
    /// there instead, so that they see there what they write. More than a plan holds stay as they are
    /// and see it when it has gone out.
    fn plan_readers(&self, t: usize, object: usize, file: [u64; 2], plan: &mut Plan) {
        let before = self.of_a_winner(t, |pid| maps::of_file(pid, file)).unwrap_or_default();
        let room = plan.calls[plan.count as usize..].iter_mut();
        for (call, m) in room.zip(before) {
            let offset = shadow::extent(object, 0) + m.offset;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            *call = map_call(m.range.start, m.range.len(), m.prot as u64, flags, offset);
            plan.count += 1;
        }
    }

    fn cannot_share(
        &mut self,
        t: usize,
        what: &'static str,
        why: &'static str,
        errno: i32,
    ) -> Outcome {
        self.refuse(t, what.into(), why.into(), errno);
        failed(errno)
    }

    pub(super) fn plan(&self, ret: i64) -> Plan {
        Plan { ret, ..bytemuck::Zeroable::zeroed() }
    }

    /// Has the tracer make the calls of a plan in every replica.
    pub(super) fn by_plan(&mut self, t: usize, plan: Plan) -> Outcome {
        let Some(at) = self.arena.take_data(t, size_of::<Plan>()) else { return self.no_room(t) };
        *self.arena.region.record::<Plan>(at) = plan;
        let head = self.arena.task(t).head;
        self.arena.entry(t, head).plan = at as u64;
        Outcome::Remap
    }

    /// The job that carries a plan out in replica `r`.
    pub(in crate::dispatcher) fn remap_job(&self, t: usize, r: usize, plan: u64) -> Job {
        Job { args: [plan, 0, 0, 0, 0, 0], ..self.job_for(t, r, job::REMAP) }
    }

    /// A record for a new object that call `head` of `t` maps; one that a predecessor began to make for
    /// it is taken again.
    pub(super) fn new_object(
        &mut self,
        t: usize,
        wanted: u32,
        file: [u64; 2],
    ) -> Result<usize, Outcome> {
        if shadow::file().is_none() {
            let why = "there is no file in memory for it where the size of files is limited";
            return Err(self.cannot_share(t, "mmap shared and writable", why, libc::ENOMEM));
        }
        self.free_unmapped();
        let task = self.arena.task(t);
        let (seq, ordinal) = (task.head, task.ordinal);
        let most = self.arena.header().objects as usize;
        let begun = |o: &usize| {
            let x = self.arena.object(*o);
            x.state == ostate::FILLING && x.ordinal == ordinal && x.seq == seq
        };
        let free = |o: &usize| self.arena.object(*o).state == ostate::FREE;
        let found = (0..most).find(begun).or_else(|| (0..most.min(shadow::OBJECTS)).find(free));
        let o = found.unwrap_or(most);
        if o >= shadow::OBJECTS {
            let why = "there are as many shared objects as Chameleon can carry (1024)";
            return Err(self.cannot_share(t, "mmap shared and writable", why, libc::ENOMEM));
        }
        let object = self.arena.object(o);
        let group = match self.arena.task(t).shares {
            0 => ordinal + 1,
            group => group,
        };
        object.state = ostate::FILLING;
        commit();
        *object = Object {
            state: ostate::FILLING,
            kind: wanted,
            file,
            generation: object.generation + 1,
            synced_at: self.now,
            group,
            task: t as u32,
            ordinal,
            seq,
            ..bytemuck::Zeroable::zeroed()
        };
        let h = self.arena.header();
        h.objects = h.objects.max(o as u32 + 1);
        clear_extents(o);
        self.join(t, group);
        let leader = self.arena.task(t).leader as usize;
        // What it writes there what it reads, and others read, must show.
        self.arena.task(leader).inside.off = 1;
        Ok(o)
    }

    pub(super) fn use_object(&self, o: usize) {
        commit();
        self.arena.object(o).state = ostate::USED;
    }

    fn anonymous_object(&mut self, t: usize) -> Result<usize, Outcome> {
        // The call may be here again after a takeover.
        let (seq, ordinal) = (self.arena.task(t).head, self.arena.task(t).ordinal);
        let made = self.used_objects().find(|o| {
            let x = self.arena.object(*o);
            x.kind == kind::ANONYMOUS && x.ordinal == ordinal && x.seq == seq
        });
        if let Some(o) = made {
            return Ok(o);
        }
        let o = self.new_object(t, kind::ANONYMOUS, [0; 2])?;
        self.use_object(o);
        Ok(o)
    }

    /// The object behind a descriptor: as it is in use, or new and filled.
    fn file_object(&mut self, t: usize, number: i32) -> Result<usize, Outcome> {
        let copy = self.copy_of(t, number).ok_or(failed(libc::EBADF))?;
        let found = fd::kind(copy);
        fd::close(copy);
        let about = found.map_err(|e| failed(e.errno as i32))?;
        let device = (about.rdev >> 8 & 0xfff, about.rdev & 0xff);
        match about.format {
            libc::S_IFREG => {}
            // zero(4): memory without a name.
            libc::S_IFCHR if device == (1, 5) => return self.anonymous_object(t),
            _ => {
                let why = "what a device or another special file has there cannot be copied";
                return Err(self.cannot_share(t, "mmap shared and writable", why, libc::ENODEV));
            }
        }
        if let Some(o) = self.object_of_file(kind::FILE, about.file) {
            if self.must_unite(t, o) {
                return Err(Outcome::Wait);
            }
            self.map_again(t, o);
            if let Some(f) = self.file_of(o) {
                self.note_mapping(t, f, libc::MAP_SHARED);
            }
            return Ok(o);
        }
        if about.links > 0 && maps::is_written_to(about.file) {
            let why = "another program has it mapped, too, whose changes would not be seen in time";
            return Err(self.cannot_share(t, "mmap shared and writable", why, libc::ENODEV));
        }
        let tgid = self.arena.task(self.arena.task(t).leader as usize).tgid;
        let again = shadow::open_again(tgid, number).or_else(|| self.copy_of(t, number));
        let file = again.ok_or(failed(libc::EBADF))?;
        let room = self.has_room(file);
        let o = match room {
            true => self.new_object(t, kind::FILE, about.file),
            false => {
                let why = "there is not enough memory for a copy of it for each replica";
                Err(self.cannot_share(t, "mmap shared and writable", why, libc::ENOMEM))
            }
        };
        let o = o.inspect_err(|_| fd::close(file))?;
        self.close_file(o);
        let generation = self.arena.object(o).generation;
        self.shared.files.insert(o, (generation, file));
        self.fill_extents(o, &Outside::File(file));
        self.note_mapping(t, file, libc::MAP_SHARED);
        for other in 0..self.tasks() {
            // What others put off would come into this memory late.
            let i = &mut self.arena.task(other).inside;
            (i.fast, i.stale) = (0, 1);
        }
        self.use_object(o);
        Ok(o)
    }

    /// A task maps an object that is in use: what it belongs to, and that it is not to be freed.
    pub(super) fn map_again(&mut self, t: usize, o: usize) {
        self.join(t, self.arena.object(o).group);
        let (object, task) = (self.arena.object(o), self.arena.task(t));
        (object.task, object.ordinal, object.seq) = (t as u32, task.ordinal, task.head);
        let leader = task.leader as usize;
        self.arena.task(leader).inside.off = 1;
    }

    /// Whether each replica can have a copy of a file, with half of what is free left.
    fn has_room(&self, file: i32) -> bool {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
        let kib: u64 = line
            .and_then(|l| l.split_ascii_whitespace().next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(u64::MAX >> 10);
        let each = fd::occupied(file).unwrap_or(0);
        each.saturating_mul(u64::from(self.seats) + 1) <= (kib << 10) / 2
    }

    /// munmap(2), mremap(2) and msync(2) among the addresses of shared memory, whose changes have
    /// gone out.
    pub(in crate::dispatcher) fn shared_range(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        match i64::from(e.nr) {
            libc::SYS_mremap => self.move_shared(t, e.args),
            libc::SYS_msync if e.args[2] as i32 & libc::MS_SYNC != 0 => {
                self.keep_for_good(t, e.args[0]..e.args[0].saturating_add(e.args[1]))
            }
            _ => Outcome::Continue,
        }
    }

    /// msync(2), MS_SYNC: the outside waits until the files that are mapped there are on their disks, one
    /// after the other; `kept` is how many have been asked for. Then the replicas make the call, in which
    /// nothing is left to do, so that the kernel judges its arguments.
    fn keep_for_good(&mut self, t: usize, part: std::ops::Range<u64>) -> Outcome {
        let mut done = 0;
        if self.arena.task(t).step > 0 {
            match self.taken(t) {
                None => return Outcome::Wait,
                // fsync(2): what could not be written. Others mean that it may not be opened.
                Some(ret) if [libc::EIO, libc::ENOSPC, libc::EDQUOT].contains(&(-ret as i32)) => {
                    return Outcome::Value(ret);
                }
                Some(_) => done = self.arena.task(t).kept as usize,
            }
        }
        let mut mapped = self.of_a_winner(t, maps::shadows).unwrap_or_default();
        mapped.retain(|m| m.range.start < part.end && m.range.end > part.start);
        let held = |m: &maps::Shared| {
            let object = self.arena.object(shadow::owner(m.offset).0);
            object.held.checked_sub(1).filter(|_| object.state == ostate::USED)
        };
        let numbers: Vec<u32> = mapped.iter().filter_map(held).collect();
        let Some(number) = numbers.get(done) else { return Outcome::Continue };
        let path = format!("/proc/{}/fd/{number}\0", self.settings.supervisor);
        let Some(at) = self.arena.take_data(t, PATH) else { return self.no_room(t) };
        self.arena.region.bytes(at, path.len()).copy_from_slice(path.as_bytes());
        self.draft(t);
        self.arena.task(t).kept = done as u64 + 1;
        self.request_then(t, op::FSYNC, [at as u64, 0, 0, 0, 0, 0], 1);
        Outcome::Wait
    }

    /// mremap(2): the same part of the object, and more or less of it, is mapped where there is room.
    fn move_shared(&mut self, t: usize, args: [u64; 6]) -> Outcome {
        if self.arena.header().objects == 0 {
            return Outcome::Continue;
        }
        let [old, old_len, new_len, flags, to, _] = args;
        let page = |n: u64| n.saturating_add(PAGE - 1) & !(PAGE - 1);
        let (old_len, new_len, flags) = (page(old_len), page(new_len), flags as i32);
        let Some(all) = self.of_a_winner(t, maps::shadows) else { return failed(libc::EFAULT) };
        let mapping = all
            .into_iter()
            .find(|m| m.range.start <= old && old.saturating_add(old_len) <= m.range.end);
        let Some(m) = mapping.filter(|_| old.is_multiple_of(PAGE)) else {
            // Of something else, or of several mappings: the kernel's own answer.
            return Outcome::Continue;
        };
        let shrinks = new_len <= old_len && flags & libc::MREMAP_FIXED == 0;
        if new_len == 0 || old_len == 0 || shrinks {
            return Outcome::Continue;
        }
        let offset = m.offset + (old - m.range.start);
        let (object, place) = shadow::owner(offset);
        let within = offset - shadow::extent(object, place);
        if within + new_len > shadow::EXTENT {
            return failed(libc::ENOMEM);
        }
        let fixed = flags & libc::MREMAP_FIXED != 0;
        let stays = !fixed && {
            let part = old + old_len..old + new_len;
            let free = self.of_a_winner(t, |pid| maps::within(pid, part.clone()).is_empty());
            part.end <= shadow::ADDRESSES.end && free == Some(true)
        };
        let from = if stays { old_len } else { 0 };
        let at = match (stays, fixed) {
            (true, _) => old,
            (_, true) => to,
            _ if flags & libc::MREMAP_MAYMOVE == 0 => return failed(libc::ENOMEM),
            _ => match self.free_place(t, new_len) {
                Some(at) => at,
                None => return failed(libc::ENOMEM),
            },
        };
        let kind = if fixed { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE };
        let begin = shadow::extent(object, 0) + within + from;
        let mut plan = self.plan(at as i64);
        let flags_of = kind | libc::MAP_SHARED;
        plan.calls[0] = map_call(at + from, new_len - from, m.prot as u64, flags_of, begin);
        plan.count = 1;
        if !stays && flags & libc::MREMAP_DONTUNMAP == 0 {
            plan.calls[1] = [libc::SYS_munmap as u64, old, old_len, 0, 0, 0, 0];
            plan.count = 2;
        }
        self.by_plan(t, plan)
    }

    /// Frees the objects that no replica maps any more.
    pub(in crate::dispatcher) fn free_unmapped(&mut self) {
        let most = self.arena.header().objects as usize;
        if most == 0 {
            return;
        }
        let mut mapped = vec![false; shadow::OBJECTS];
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if !matches!(task.used, 1 | 2) || task.shares == 0 || task.leader as usize != t {
                continue;
            }
            // A checkpoint has what it maps in the same object.
            let maps = |x: &&Replica| crate::arena::is_live(x) || x.state == rstate::FROZEN;
            for x in task.replicas.iter().filter(maps) {
                for m in maps::shadows(x.pid) {
                    mapped[shadow::owner(m.offset).0] = true;
                }
            }
        }
        for (o, mapped) in mapped.iter().enumerate().take(most) {
            let object = *self.arena.object(o);
            if object.state == ostate::FREE || *mapped || self.is_being_mapped(&object) {
                continue;
            }
            if object.state == ostate::USED && object.kind == kind::FILE {
                self.sync(o, WHOLE, None);
            }
            self.give_object_back(o);
        }
        let used = (0..most).rev().find(|o| self.arena.object(*o).state != ostate::FREE);
        self.arena.header().objects = used.map_or(0, |o| o as u32 + 1);
    }

    /// Gives an object back that nobody maps. If the supervisor holds its file, the tracer ends that,
    /// once however often it is asked.
    fn give_object_back(&mut self, o: usize) {
        self.close_file(o);
        self.arena.object(o).state = ostate::GOING;
        commit();
        clear_extents(o);
        if self.arena.object(o).held == 0 {
            self.arena.object(o).state = ostate::FREE;
            return;
        }
        let asked = (0..JOBS)
            .map(|i| self.arena.job(i))
            .any(|j| j.state != 0 && j.kind == job::FORGET && j.args[0] == o as u64);
        if !asked {
            let job = self.job_for(0, 0, job::FORGET);
            self.ask(Job { pid: 0, args: [o as u64, 0, 0, 0, 0, 0], ..job });
        }
    }

    /// Whether the call that maps an object has not been carried out in every replica yet.
    fn is_being_mapped(&self, object: &Object) -> bool {
        let task = self.arena.task(object.task as usize);
        task.used == 2
            && task.ordinal == object.ordinal
            && task.replicas[..task.n as usize]
                .iter()
                .any(|x| crate::arena::is_live(x) && x.seq <= object.seq && x.state != rstate::NONE)
    }
}

fn clear_extents(o: usize) {
    if let Some(f) = shadow::file() {
        for place in 0..shadow::PLACES {
            shadow::clear(f, shadow::extent(o, place), shadow::EXTENT);
        }
    }
}

/// The mmap of a part of the shadow file, as a call of a plan.
pub(super) fn map_call(at: u64, len: u64, prot: u64, flags: i32, offset: u64) -> [u64; 7] {
    let number = shadow::file_in_replica() as u64;
    [libc::SYS_mmap as u64, at, len, prot, flags as u64, number, offset]
}
