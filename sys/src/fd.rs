//! Descriptors of our own processes: eventfds, epoll, duplicates of another process's.
//!
//! Invariant: all are close-on-exec; who holds a number closes it.

use crate::error::{Error, Result, check};
use crate::raw;

/// A new eventfd that does not block (eventfd(2)).
pub fn bell() -> Result<i32> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 { Err(Error::last("eventfd")) } else { Ok(fd) }
}

/// Empties an eventfd.
pub fn silence(fd: i32) {
    let mut v = 0u64;
    // SAFETY: eight writable bytes of a local live across the call.
    unsafe { libc::read(fd, (&raw mut v).cast(), 8) };
}

/// A new epoll instance.
pub fn epoll() -> Result<i32> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 { Err(Error::last("epoll_create1")) } else { Ok(fd) }
}

/// Watches `fd` for input, reported as `token`.
pub fn watch(epoll: i32, fd: i32, token: u64) -> Result<()> {
    let mut e = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
    // SAFETY: `e` is valid for the call.
    let r = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut e) };
    if r < 0 { Err(Error::last("epoll_ctl")) } else { Ok(()) }
}

/// Stops watching `fd`.
pub fn unwatch(epoll: i32, fd: i32) {
    // SAFETY: no event structure is needed for a removal.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
}

/// What [`wait`] found: the token, and whether the other side has hung up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    /// The token given to [`watch`].
    pub token: u64,
    /// Nothing can come from there any more.
    pub hung_up: bool,
}

/// Waits up to `timeout_ms` (-1: for ever) and fills `out`; how many are ready.
pub fn wait(epoll: i32, out: &mut [Ready], timeout_ms: i32) -> usize {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
    let max = out.len().min(events.len());
    // SAFETY: `events` has room for `max` entries.
    let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), max as i32, timeout_ms) };
    let n = n.max(0) as usize;
    for (o, e) in out.iter_mut().zip(&events[..n]) {
        *o = Ready {
            token: e.u64,
            hung_up: e.events & libc::EPOLLHUP as u32 != 0 && e.events & libc::EPOLLIN as u32 == 0,
        };
    }
    n
}

/// Waits until there is something to read (poll(2)).
pub fn wait_for_input(fd: i32) {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one whole entry to read and write.
    unsafe { libc::poll(&mut one, 1, -1) };
}

/// A pidfd of a process (pidfd_open(2)).
pub fn pidfd(pid: u32) -> Result<i32> {
    check("pidfd_open", raw::pidfd_open(u64::from(pid), 0)).map(|f| f as i32)
}

/// A duplicate of descriptor `fd` of the process behind `pidfd` (pidfd_getfd(2)).
pub fn take(pidfd: i32, fd: i32) -> Result<i32> {
    check("pidfd_getfd", raw::pidfd_getfd(pidfd as u64, fd as u64, 0)).map(|f| f as i32)
}

/// Closes a descriptor of ours.
pub fn close(fd: i32) {
    raw::close(fd as u64);
}

/// File type, device number and status flags of a descriptor of ours.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// `st_mode & S_IFMT`.
    pub format: u32,
    /// Device number of a special file.
    pub rdev: u64,
    /// Device and inode.
    pub file: [u64; 2],
    /// `O_…` status flags (fcntl(2), F_GETFL).
    pub flags: i32,
    /// How many names it has.
    pub links: u64,
    /// Its permissions (chmod(2)).
    pub mode: u32,
}

/// What a descriptor of ours is.
pub fn kind(fd: i32) -> Result<Kind> {
    // SAFETY: an all-zero stat is a valid value, and fstat fills it.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is valid to write to.
    if unsafe { libc::fstat(fd, &mut st) } < 0 {
        return Err(Error::last("fstat"));
    }
    let flags = raw::fcntl(fd as u64, libc::F_GETFL as u64, 0) as i32;
    Ok(Kind {
        format: st.st_mode & libc::S_IFMT,
        rdev: st.st_rdev,
        file: [st.st_dev, st.st_ino],
        flags,
        links: st.st_nlink,
        mode: st.st_mode & 0o7777,
    })
}

/// Where a regular file is kept.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Device and inode.
    pub file: [u64; 2],
    /// On a file system of this machine whose files hold what was written to them: not one that
    /// the kernel makes up (proc, sysfs), nor one behind a network or a process.
    pub is_local: bool,
    /// Bytes that an ordinary user may still write there.
    pub room: u64,
}

/// Where the file behind a descriptor of ours is kept (fstat(2), fstatfs(2)).
pub fn place_of(fd: i32) -> Option<Place> {
    // SAFETY: all-zero structures are valid values, and the calls fill them.
    unsafe {
        let (mut st, mut fs): (libc::stat, libc::statfs) = std::mem::zeroed();
        if libc::fstat(fd, &mut st) < 0 || libc::fstatfs(fd, &mut fs) < 0 {
            return None;
        }
        let is_local = LOCAL.contains(&(fs.f_type as u32));
        let room = fs.f_bavail.saturating_mul(fs.f_bsize as u64);
        Some(Place { file: [st.st_dev, st.st_ino], is_local, room })
    }
}

/// statfs(2), f_type: ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs.
const LOCAL: [u32; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
];

/// Reads into `buf` at the file position, or at `offset` when one is given; the raw answer.
pub fn read_at(fd: i32, buf: &mut [u8], offset: Option<u64>) -> isize {
    let (p, n) = (buf.as_mut_ptr() as u64, buf.len() as u64);
    // SAFETY: `buf` is writable for its length.
    unsafe {
        match offset {
            None => raw::syscall(libc::SYS_read, [fd as u64, p, n, 0, 0, 0]),
            Some(o) => raw::syscall(libc::SYS_pread64, [fd as u64, p, n, o, 0, 0]),
        }
    }
}

/// Writes `buf` at the file position, or at `offset` when one is given; the raw answer.
pub fn write_at(fd: i32, buf: &[u8], offset: Option<u64>) -> isize {
    let (p, n) = (buf.as_ptr() as u64, buf.len() as u64);
    // SAFETY: `buf` is readable for its length.
    unsafe {
        match offset {
            None => raw::syscall(libc::SYS_write, [fd as u64, p, n, 0, 0, 0]),
            Some(o) => raw::syscall(libc::SYS_pwrite64, [fd as u64, p, n, o, 0, 0]),
        }
    }
}

/// Closes every descriptor marked close-on-exec except `spare`, as an exec would (execve(2)).
/// Uses no heap.
pub fn close_marked(spare: [i32; 2]) {
    let mut numbers = [0i32; 256];
    loop {
        let n = marked(spare, &mut numbers);
        for fd in &numbers[..n] {
            raw::close(*fd as u64);
        }
        if n < numbers.len() {
            return;
        }
    }
}

/// Fills `out` with descriptors that are marked close-on-exec; how many.
fn marked(spare: [i32; 2], out: &mut [i32]) -> usize {
    let mut n = 0;
    let mut consider = |fd: i32, own: i32| {
        let flags = raw::fcntl(fd as u64, libc::F_GETFD as u64, 0);
        if fd != own && flags > 0 && flags & 1 != 0 && !spare.contains(&fd) && n < out.len() {
            out[n] = fd;
            n += 1;
        }
    };
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
    // SAFETY: a NUL-terminated constant path; the other arguments are numbers.
    let dir = unsafe {
        raw::syscall(libc::SYS_open, [c"/proc/self/fd".as_ptr() as u64, flags, 0, 0, 0, 0])
    };
    if dir < 0 {
        (0..4096).for_each(|fd| consider(fd, -1));
        return n;
    }
    let mut buf = [0u8; 4096];
    loop {
        let args = [dir as u64, buf.as_mut_ptr() as u64, buf.len() as u64, 0, 0, 0];
        // SAFETY: `buf` is writable for its length.
        let got = unsafe { raw::syscall(libc::SYS_getdents64, args) };
        if got <= 0 {
            break;
        }
        let mut at = 0;
        while at + 19 < got as usize {
            // struct linux_dirent64: reclen at 16, name at 19, decimal for a descriptor.
            let len = u16::from_ne_bytes([buf[at + 16], buf[at + 17]]) as usize;
            let name = &buf[at + 19..at + len];
            let digits = name.iter().take_while(|b| b.is_ascii_digit());
            if name[0].is_ascii_digit() {
                let fd = digits.fold(0i32, |v, d| v.wrapping_mul(10) + i32::from(d - b'0'));
                consider(fd, dir as i32);
            }
            at += len.max(1);
        }
    }
    raw::close(dir as u64);
    n
}

/// Opens the file behind a descriptor of ours again, for reading only.
pub fn reopen_read_only(fd: i32) -> Option<i32> {
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    // SAFETY: a NUL-terminated path.
    let new = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    (new >= 0).then_some(new)
}

/// Makes a copy of descriptor `fd` under `number`, close-on-exec (dup3(2)).
pub fn place(fd: i32, number: i32) -> Result<()> {
    check("dup3", raw::dup3(fd as u64, number as u64, libc::O_CLOEXEC as u64)).map(drop)
}

/// A pipe, close-on-exec: read end, write end.
pub fn pipe() -> Result<(i32, i32)> {
    let mut ends = [0i32; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(Error::last("pipe2"));
    }
    Ok((ends[0], ends[1]))
}

/// Closes every descriptor of the calling process from 0 up that is not in `keep`. Of 0 to 2, to which some write
/// without having opened them (a panic its message, to 2), those are /dev/null then, and no file of ours.
pub fn close_all_but(keep: &[i32]) {
    let mut sorted: Vec<u64> = keep.iter().filter(|f| **f >= 0).map(|f| *f as u64).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut from = 0;
    for k in sorted {
        if k > from {
            raw::close_range(from, k - 1, 0);
        }
        from = k + 1;
    }
    raw::close_range(from, u64::from(u32::MAX), 0);
    loop {
        // SAFETY: a NUL-terminated path; open(2) takes the lowest free number.
        let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if !(0..=2).contains(&null) {
            close(null);
            return;
        }
    }
}

/// The size of the file behind a descriptor of ours.
pub fn size(fd: i32) -> Option<u64> {
    // SAFETY: an all-zero stat is a valid value, and fstat fills it.
    unsafe {
        let mut st: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &mut st) == 0).then_some(st.st_size as u64)
    }
}

/// Bytes of the file behind a descriptor of ours that are kept somewhere: not its holes (stat(2)).
pub fn occupied(fd: i32) -> Option<u64> {
    // SAFETY: an all-zero stat is a valid value, and fstat fills it.
    unsafe {
        let mut st: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &mut st) == 0).then_some(st.st_blocks as u64 * 512)
    }
}

/// Whether a descriptor of ours is of a file in /proc (statfs(2), PROC_SUPER_MAGIC).
pub fn is_of_proc(fd: i32) -> bool {
    // SAFETY: an all-zero statfs is a valid value, and fstatfs fills it.
    unsafe {
        let mut st: libc::statfs = std::mem::zeroed();
        libc::fstatfs(fd, &mut st) == 0 && st.f_type == libc::PROC_SUPER_MAGIC
    }
}

/// Whether something can be read from a descriptor of ours without waiting (poll(2)).
pub fn has_input(fd: i32) -> bool {
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut p, 1, 0) == 1 && p.revents & libc::POLLIN != 0 }
}

/// A descriptor of ours by number, as an owner of it.
pub fn owned(fd: i32) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller hands over a number it opened and does not close itself.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}
