//! Every way in which memory can change, and what is said of it. The process that is watched is this
//! one, in memory that only the test uses.

use std::os::fd::FromRawFd;

use super::*;

const PAGE: u64 = 4096;

struct Memory {
    start: u64,
    pages: u64,
    tracker: Option<Tracker>,
    map: Pagemap,
}

fn mmap(at: u64, pages: u64, flags: i32, fd: i32) -> u64 {
    // SAFETY: new memory, or memory that is this test's own.
    let found = unsafe {
        libc::mmap(at as *mut _, (pages * PAGE) as usize, 3, libc::MAP_PRIVATE | flags, fd, 0)
    };
    assert_ne!(found, libc::MAP_FAILED);
    found as u64
}

/// Some pages of anonymous memory, all written, watched and protected.
fn memory(pages: u64) -> Memory {
    let start = mmap(0, pages, libc::MAP_ANONYMOUS, -1);
    let memory = watched(start, pages);
    for k in 0..pages {
        memory.write(k, k as u8 + 1);
    }
    memory.changed(Behind::Nothing);
    memory
}

fn watched(start: u64, pages: u64) -> Memory {
    // SAFETY: plain numbers.
    let fd = unsafe { raw::syscall(CALL.0, [CALL.1, 0, 0, 0, 0, 0]) };
    let fd = check("userfaultfd", fd).unwrap();
    // SAFETY: just made.
    let tracker = Tracker::new(unsafe { OwnedFd::from_raw_fd(fd as i32) }).unwrap();
    let memory = Memory {
        start,
        pages,
        tracker: Some(tracker),
        map: Pagemap::open(std::process::id()).unwrap(),
    };
    memory.watch(start, pages).unwrap();
    memory
}

impl Memory {
    fn at(&self, page: u64) -> u64 {
        self.start + page * PAGE
    }

    /// Watches so many pages from an address on.
    fn watch(&self, start: u64, pages: u64) -> Result<()> {
        self.tracker.as_ref().unwrap().watch(&self.map, start, start + pages * PAGE)
    }

    fn write(&self, page: u64, value: u8) {
        // SAFETY: a page of this test's own memory.
        unsafe { std::ptr::write_volatile(self.at(page) as *mut u8, value) };
    }

    fn madvise(&self, page: u64, pages: u64, advice: i32) -> i32 {
        // SAFETY: pages of this test's own memory.
        unsafe { libc::madvise(self.at(page) as *mut _, (pages * PAGE) as usize, advice) }
    }

    /// A letter a page: `c`hanged, `u`nchanged, `g`uard, `.` for none.
    fn changed(&self, behind: Behind) -> String {
        let end = self.at(self.pages);
        let mut known = Vec::new();
        self.map.unchanged(self.start, end, behind, &mut known).unwrap();
        let mut letters = vec!['.'; self.pages as usize];
        let mut fill = |start: u64, end: u64, letter| {
            let at = |addr| ((addr - self.start) / PAGE) as usize;
            letters[at(start)..at(end)].fill(letter);
        };
        for run in self.map.present(self.start, end, behind).unwrap() {
            fill(run.start, run.end, if run.state == State::Guard { 'g' } else { 'c' });
        }
        known.into_iter().for_each(|[start, end]| fill(start, end, 'u'));
        letters.into_iter().collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this test's own memory, which nothing points to any more.
        unsafe { libc::munmap(self.start as *mut _, (self.pages * PAGE) as usize) };
    }
}

#[test]
fn writes_are_seen_once() {
    let memory = memory(6);
    assert_eq!(memory.changed(Behind::Nothing), "uuuuuu");
    memory.write(1, 9);
    // The same value is a write, too.
    memory.write(4, 5);
    assert_eq!(memory.changed(Behind::Nothing), "ucuucu");
    assert_eq!(memory.changed(Behind::Nothing), "uuuuuu");
}

#[test]
fn what_the_kernel_writes_is_seen() {
    let memory = memory(4);
    let mut ends = [0; 2];
    // SAFETY: two descriptors to write to; a byte of a literal; a page of this test's own.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        assert_eq!(libc::write(ends[1], b"x".as_ptr().cast(), 1), 1);
        assert_eq!(libc::read(ends[0], memory.at(2) as *mut _, 1), 1);
        libc::close(ends[0]);
        libc::close(ends[1]);
    }
    assert_eq!(memory.changed(Behind::Nothing), "uucu");
    crate::memory::write(std::process::id(), memory.at(0), &[1, 2, 3]).unwrap();
    assert_eq!(memory.changed(Behind::Nothing), "cuuu");
}

#[test]
fn pages_that_are_dropped_are_none() {
    let memory = memory(5);
    memory.madvise(1, 2, libc::MADV_DONTNEED);
    assert_eq!(memory.changed(Behind::Nothing), "u..uu");
    memory.write(2, 1);
    assert_eq!(memory.changed(Behind::Nothing), "u.cuu");
}

/// Moves a page of a test's own memory over another.
fn move_to(from: u64, to: u64) {
    let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: pages of the test's own memory.
    let found = unsafe { libc::mremap(from as *mut _, 4096, 4096, how, to as *mut u8) };
    assert_eq!(found as u64, to);
}

/// A page that was never touched, between two that cannot be, so that it is a mapping by itself; watched.
fn untouched(memory: &Memory) -> u64 {
    let start = mmap(0, 3, libc::MAP_ANONYMOUS, -1);
    for page in [start, start + 2 * PAGE] {
        // SAFETY: memory of this test's own.
        assert_eq!(unsafe { libc::mprotect(page as *mut _, 4096, libc::PROT_NONE) }, 0);
    }
    memory.watch(start + PAGE, 1).unwrap();
    start + PAGE
}

#[test]
fn pages_that_were_moved_or_mapped_anew_are_changed() {
    let memory = memory(6);
    let aside = mmap(0, 1, libc::MAP_ANONYMOUS, -1);
    move_to(memory.at(1), aside);
    move_to(memory.at(2), memory.at(1));
    move_to(aside, memory.at(2));
    mmap(memory.at(4), 1, libc::MAP_ANONYMOUS | libc::MAP_FIXED, -1);
    memory.write(4, 5);
    assert_eq!(memory.changed(Behind::Nothing), "uccucu");
    // They are not watched, and stay changed until they are.
    assert_eq!(memory.changed(Behind::Nothing), "uccucu");
    memory.watch(memory.start, 6).unwrap();
    memory.changed(Behind::Nothing);
    assert_eq!(memory.changed(Behind::Nothing), "uuuuuu");
}

#[test]
fn a_mapping_that_the_kernel_has_let_go_keeps_no_protection() {
    let memory = memory(6);
    // It becomes one mapping with what is before and behind its new place, and the kernel watches none of that
    // any more; yet the pages stay marked as protected.
    let aside = untouched(&memory);
    move_to(aside, memory.at(3));
    // None of these takes the marks away.
    memory.write(0, 9);
    move_to(memory.at(1), aside);
    move_to(memory.at(2), memory.at(1));
    move_to(aside, memory.at(2));
    memory.watch(memory.start, 6).unwrap();
    assert_eq!(memory.changed(Behind::Nothing), "ccc.cc");
    // And from then on they are watched as any.
    memory.write(0, 10);
    assert_eq!(memory.changed(Behind::Nothing), "cuu.uu");
    memory.watch(memory.start, 6).unwrap();
    assert_eq!(memory.changed(Behind::Nothing), "uuu.uu");
}

#[test]
fn a_child_and_changed_rights_are_no_writes() {
    let memory = memory(4);
    // SAFETY: the child writes one byte of this test's own memory and ends; nothing is allocated.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            std::ptr::write_volatile(memory.at(1) as *mut u8, 7);
            libc::_exit(0);
        }
        assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
        assert_eq!(libc::mprotect(memory.at(2) as *mut _, 4096, 1), 0);
        assert_eq!(libc::mprotect(memory.at(2) as *mut _, 4096, 3), 0);
    }
    assert_eq!(memory.changed(Behind::Nothing), "uuuu");
    memory.write(2, 7);
    assert_eq!(memory.changed(Behind::Nothing), "uucu");
}

#[test]
fn huge_pages_are_seen_page_by_page() {
    let pages = 1024;
    let whole = mmap(0, pages + 512, libc::MAP_ANONYMOUS, -1);
    let start = whole.next_multiple_of(2 << 20);
    let memory = watched(start, pages);
    memory.madvise(0, pages, libc::MADV_HUGEPAGE);
    for k in 0..pages {
        memory.write(k, 1);
    }
    memory.changed(Behind::Nothing);
    memory.write(3, 2);
    let found = memory.changed(Behind::Nothing);
    // The kernel may say more of a huge page, never less.
    assert_eq!(found.chars().nth(3), Some('c'));
    assert_eq!(&found[512..], "u".repeat(512));
}

#[test]
fn of_a_private_file_only_what_was_written_is_there() {
    let name = std::env::temp_dir().join(format!("chameleon-pagemap-{}", std::process::id()));
    std::fs::write(&name, vec![9; 5 * PAGE as usize]).unwrap();
    let file = File::options().read(true).open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    let memory = watched(mmap(0, 5, 0, file.as_raw_fd()), 5);
    // SAFETY: a page of this test's own mapping.
    assert_eq!(unsafe { std::ptr::read_volatile(memory.at(0) as *const u8) }, 9);
    memory.write(1, 1);
    memory.write(2, 1);
    memory.write(3, 1);
    assert_eq!(memory.changed(Behind::File), ".ccc.");
    memory.write(2, 2);
    assert_eq!(memory.changed(Behind::File), ".ucu.");
    // A page that is the file's again must not be called unchanged; "none" would be right as well.
    memory.madvise(1, 1, libc::MADV_DONTNEED);
    let found = memory.changed(Behind::File);
    assert_ne!(found.chars().nth(1), Some('u'), "{found}");
    assert_eq!(&found[2..], "uu.");
}

#[test]
fn guards_have_no_bytes() {
    const MADV_GUARD_INSTALL: i32 = 102;
    let memory = memory(4);
    if memory.madvise(1, 1, MADV_GUARD_INSTALL) != 0 {
        // A kernel before 6.13.
        return;
    }
    let found = memory.changed(Behind::Nothing);
    assert!(["uguu", "ucuu"].contains(&&*found), "{found}");
}

#[test]
fn without_a_tracker_everything_is_changed() {
    let mut memory = memory(3);
    assert_eq!(memory.changed(Behind::Nothing), "uuu");
    memory.tracker = None;
    assert_eq!(memory.changed(Behind::Nothing), "ccc");
    let pages = memory.map.present(memory.start, memory.at(3), Behind::Nothing).unwrap();
    assert_eq!(pages, [Run { start: memory.start, end: memory.at(3), state: State::Changed }]);
    let map = &memory.map;
    let other = mmap(0, 3, libc::MAP_ANONYMOUS, -1);
    // SAFETY: memory of this test's own.
    unsafe { std::ptr::write_volatile(other as *mut u8, 1) };
    let found = map.present(other, other + 3 * PAGE, Behind::Nothing).unwrap();
    assert_eq!(found, [Run { start: other, end: other + PAGE, state: State::Changed }]);
    let mut known = Vec::new();
    map.unchanged(other, other + 3 * PAGE, Behind::Nothing, &mut known).unwrap();
    map.unchanged(other, other + 3 * PAGE, Behind::Nothing, &mut known).unwrap();
    assert!(known.is_empty(), "{known:?}");
    // SAFETY: as above; nothing points to it any more.
    unsafe { libc::munmap(other as *mut _, 3 * 4096) };
}

#[test]
fn another_process_is_watched_through_its_own_descriptor() {
    let start = mmap(0, 3, libc::MAP_ANONYMOUS, -1);
    // SAFETY: memory of this test's own; the child makes two system calls and waits to be killed.
    let child = unsafe {
        std::ptr::write_bytes(start as *mut u8, 1, 3 * 4096);
        let child = libc::fork();
        if child == 0 {
            let fd = raw::syscall(CALL.0, [CALL.1, 0, 0, 0, 0, 0]);
            std::ptr::write_volatile((start + 8) as *mut i64, fd as i64);
            loop {
                libc::pause();
            }
        }
        child
    };
    let pid = child as u32;
    let outcome = std::panic::catch_unwind(|| {
        // What was written before the fork is no descriptor.
        let mut fd: i64 = 0x0101_0101_0101_0101;
        while fd == 0x0101_0101_0101_0101 {
            fd = crate::memory::read_value(pid, start + 8).unwrap();
        }
        let tracker =
            Tracker::take(pid, check("userfaultfd", fd as isize).unwrap() as i32).unwrap();
        let map = Pagemap::open(pid).unwrap();
        let end = start + 3 * PAGE;
        tracker.watch(&map, start, end).unwrap();
        let mut known = Vec::new();
        map.unchanged(start, end, Behind::Nothing, &mut known).unwrap();
        assert!(known.is_empty(), "{known:?}");
        crate::memory::write(pid, start + PAGE, &[9]).unwrap();
        map.unchanged(start, end, Behind::Nothing, &mut known).unwrap();
        assert_eq!(known, [[start, start + PAGE], [start + 2 * PAGE, end]]);
    });
    // SAFETY: our own child and memory.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
        libc::munmap(start as *mut _, 3 * 4096);
    }
    outcome.unwrap();
}

/// What each page held at the last scan; none for a page that was not there.
type Copy = Vec<Option<Vec<u8>>>;

/// Scans, and holds every page that is called unchanged against the copy of the last scan.
fn hold_against(memory: &Memory, behind: Behind, copy: &mut Copy, when: &str) -> usize {
    let (start, end) = (memory.start, memory.at(memory.pages));
    let mut known = Vec::new();
    memory.map.unchanged(start, end, behind, &mut known).unwrap();
    let mut now: Copy = vec![None; copy.len()];
    for run in memory.map.present(start, end, behind).unwrap() {
        for at in (run.start..run.end).step_by(PAGE as usize) {
            let mut bytes = vec![0; PAGE as usize];
            crate::memory::read(std::process::id(), at, &mut bytes).unwrap();
            now[((at - start) / PAGE) as usize] = Some(bytes);
        }
    }
    let mut unchanged = 0;
    for [from, to] in known {
        for at in (from..to).step_by(PAGE as usize) {
            let page = ((at - start) / PAGE) as usize;
            // What has gone since (MADV_FREE) is nobody's loss.
            if now[page].is_some() {
                assert_eq!(now[page], copy[page], "page {page}, {when}");
                unchanged += 1;
            }
        }
    }
    *copy = now;
    unchanged
}

/// Random changes of every kind; see `nothing_changed_is_ever_called_unchanged`.
fn change(memory: &Memory, kind: u64, page: u64, value: u8, children: &mut Vec<i32>) {
    let few = (value as u64 % 7 + 1).min(memory.pages - page);
    let other = (page * 7 + 3) % memory.pages;
    match kind % 16 {
        0 => drop(memory.madvise(page, few, libc::MADV_DONTNEED)),
        1 => drop(memory.madvise(page, few, libc::MADV_FREE)),
        2 if page != other => {
            let aside = mmap(0, 1, libc::MAP_ANONYMOUS, -1);
            move_to(memory.at(page), aside);
            move_to(memory.at(other), memory.at(page));
            move_to(aside, memory.at(other));
        }
        3 => {
            mmap(memory.at(page), few, libc::MAP_ANONYMOUS | libc::MAP_FIXED, -1);
        }
        // SAFETY: the child waits to be killed; nothing is allocated in it.
        4 if children.len() < 3 => unsafe {
            let child = libc::fork();
            if child == 0 {
                loop {
                    libc::pause();
                }
            }
            children.push(child);
        },
        5 => {
            if let Some(child) = children.pop() {
                reap(child);
            }
        }
        // MADV_COLLAPSE makes a huge page now.
        6 => drop(memory.madvise(0, memory.pages, 25)),
        7 => drop(memory.watch(memory.start, memory.pages)),
        8 => {
            let bytes = [value; 5000];
            let len = bytes.len().min(((memory.pages - page) * PAGE) as usize);
            crate::memory::write(std::process::id(), memory.at(page), &bytes[..len]).unwrap();
        }
        // SAFETY: a page of this test's own memory, which is readable.
        9 => drop(unsafe { std::ptr::read_volatile(memory.at(page) as *const u8) }),
        10 => drop(memory.madvise(page, few, libc::MADV_PAGEOUT)),
        _ => (page..page + few).for_each(|page| memory.write(page, value)),
    }
}

fn reap(child: i32) {
    // SAFETY: a child of our own.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
    }
}

#[test]
fn nothing_changed_is_ever_called_unchanged() {
    let pages = 1024;
    let name = std::env::temp_dir().join(format!("chameleon-pagemap-any-{}", std::process::id()));
    std::fs::write(&name, vec![3; (pages * PAGE) as usize]).unwrap();
    let file = File::options().read(true).open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    let whole = mmap(0, pages + 512, libc::MAP_ANONYMOUS, -1);
    let anonymous = watched(whole.next_multiple_of(2 << 20), pages);
    anonymous.madvise(0, pages, libc::MADV_HUGEPAGE);
    let of_file = watched(mmap(0, pages, 0, file.as_raw_fd()), pages);
    for (memory, behind) in [(&anonymous, Behind::Nothing), (&of_file, Behind::File)] {
        let mut copy: Copy = vec![None; pages as usize];
        let (mut children, mut unchanged) = (Vec::new(), 0);
        let mut random = 12345u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            random >> 33
        };
        (0..pages).for_each(|page| memory.write(page, 1));
        for round in 0..150 {
            unchanged += hold_against(memory, behind, &mut copy, &format!("round {round}"));
            for _ in 0..next() % 12 {
                change(memory, next(), next() % pages, next() as u8, &mut children);
            }
        }
        children.into_iter().for_each(reap);
        // Or the test has shown nothing.
        assert!(unchanged > 10_000, "{unchanged} pages");
    }
}

#[test]
fn a_mapping_is_found_by_an_address_in_it() {
    let memory = memory(3);
    // SAFETY: a page of this test's own memory.
    let done = unsafe { libc::mprotect(memory.at(1) as *mut _, PAGE as usize, libc::PROT_READ) };
    assert_eq!(done, 0);
    match mapping_at(std::process::id(), memory.at(1) + 5) {
        Err(error) => assert_eq!(error.errno, Errno::ENOTTY, "an older kernel"),
        found => assert_eq!(found.unwrap(), Some([memory.at(1), memory.at(2)])),
    }
    if let Ok(found) = mapping_at(std::process::id(), 0x1000) {
        assert_eq!(found, None);
    }
}
