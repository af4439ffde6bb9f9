//! What the kernel tells of descriptors that are open: which are one open file, what lies in a pipe, how
//! a socket is set. And the same the other way: making such ones anew.
//!
//! Invariant: describing takes nothing away and changes nothing. What is made is close-on-exec.

use crate::error::{Error, Result, check};
use crate::raw;
use crate::timer::When;

/// kcmp(2), KCMP_FILE.
const KCMP_FILE: u64 = 0;
/// ioctl_tty(2): asm-generic/ioctls.h.
const TCGETS2: u64 = 0x802c_542a;
/// struct termios2, in bytes.
const TERMIOS2: usize = 44;
/// struct sockaddr_storage, in bytes.
const ADDRESS: usize = 128;

/// Whether two descriptors, each of a process, share one open file (kcmp(2)); none where the kernel does
/// not say.
pub fn is_one_file(one: (u32, i32), other: (u32, i32)) -> Option<bool> {
    let (pids, numbers) = ((one.0.into(), other.0.into()), (one.1 as u64, other.1 as u64));
    let args = [pids.0, pids.1, KCMP_FILE, numbers.0, numbers.1, 0];
    // SAFETY: plain numbers.
    let order = unsafe { raw::syscall(libc::SYS_kcmp, args) };
    (order >= 0).then_some(order == 0)
}

/// What lies in the pipe behind a descriptor of ours that reads, which stays there (tee(2)).
///
/// # Errors
/// Of pipe2(2), tee(2).
pub fn pipe_contents(fd: i32) -> Result<Vec<u8>> {
    let capacity = pipe_capacity(fd)?;
    let (read, write) = crate::fd::pipe()?;
    raw::fcntl(write as u64, libc::F_SETPIPE_SZ as u64, capacity as u64);
    let args = [fd as u64, write as u64, capacity as u64, libc::SPLICE_F_NONBLOCK.into(), 0, 0];
    // SAFETY: plain numbers.
    let got = unsafe { raw::syscall(libc::SYS_tee, args) };
    crate::fd::close(write);
    let mut bytes = vec![0; got.max(0) as usize];
    let mut done = 0;
    while done < bytes.len() {
        let n = crate::fd::read_at(read, &mut bytes[done..], None);
        if n <= 0 {
            break;
        }
        done += n as usize;
    }
    crate::fd::close(read);
    bytes.truncate(done);
    match got {
        n if n >= 0 || -n == libc::EAGAIN as isize => Ok(bytes),
        n => check("tee", n).map(|_| bytes),
    }
}

/// Whether the other end of a pipe of ours is open nowhere any more (poll(2), POLLHUP and POLLERR).
pub fn is_hung_up(fd: i32) -> bool {
    let mut one = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one whole pollfd.
    let ready = unsafe { libc::poll(&mut one, 1, 0) };
    ready > 0 && one.revents & (libc::POLLHUP | libc::POLLERR) != 0
}

/// How much a pipe can hold, in bytes (fcntl(2), F_GETPIPE_SZ).
///
/// # Errors
/// It is no pipe.
pub fn pipe_capacity(fd: i32) -> Result<usize> {
    check("fcntl(F_GETPIPE_SZ)", raw::fcntl(fd as u64, libc::F_GETPIPE_SZ as u64, 0))
}

/// The modes of a terminal (struct termios2), if a descriptor of ours is one.
pub fn terminal_modes(fd: i32) -> Option<Vec<u8>> {
    let mut modes = vec![0; TERMIOS2];
    let args = [fd as u64, TCGETS2, modes.as_mut_ptr() as u64, 0, 0, 0];
    // SAFETY: room for a whole termios2.
    let ret = unsafe { raw::syscall(libc::SYS_ioctl, args) };
    (ret == 0).then_some(modes)
}

/// An option of a socket of ours (getsockopt(2)), as bytes.
pub fn socket_option(fd: i32, level: i32, name: i32) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `len` says how much room there is.
    let ret = unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut len) };
    value.truncate(len as usize);
    (ret == 0).then_some(value)
}

/// The same of an option that is a number.
pub fn socket_number(fd: i32, name: i32) -> Option<i32> {
    let bytes = socket_option(fd, libc::SOL_SOCKET, name)?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Sets an option of a socket of ours; one that cannot be set stays.
pub fn set_socket_option(fd: i32, level: i32, name: i32, value: &[u8]) {
    // SAFETY: `value` is readable for its length.
    unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as u32) };
}

/// Where a socket of ours is bound (getsockname(2)), or its peer (getpeername(2)): struct sockaddr, as
/// bytes. None of one that is not connected.
pub fn socket_address(fd: i32, peer: bool) -> Option<Vec<u8>> {
    let mut at = vec![0u8; ADDRESS];
    let mut len = at.len() as libc::socklen_t;
    let place = at.as_mut_ptr().cast();
    // SAFETY: `len` says how much room there is.
    let ret = unsafe {
        match peer {
            false => libc::getsockname(fd, place, &mut len),
            true => libc::getpeername(fd, place, &mut len),
        }
    };
    at.truncate(len as usize);
    (ret == 0).then_some(at)
}

/// A new socket (socket(2)).
///
/// # Errors
/// Of socket(2).
pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<i32> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 { Err(Error::last("socket")) } else { Ok(fd) }
}

/// Binds a socket of ours to an address (bind(2)), and has it listen if a backlog is given (listen(2)).
///
/// # Errors
/// The address is taken, or cannot be had.
pub fn bind(fd: i32, address: &[u8], backlog: Option<u32>) -> Result<()> {
    // SAFETY: `address` is readable for its length.
    unsafe {
        if libc::bind(fd, address.as_ptr().cast(), address.len() as u32) < 0 {
            return Err(Error::last("bind"));
        }
        if let Some(backlog) = backlog
            && libc::listen(fd, backlog as i32) < 0
        {
            return Err(Error::last("listen"));
        }
    }
    Ok(())
}

/// A connected socket whose peer has reset the connection (tcp(7)): of a pair over the loopback address
/// the other end is closed without lingering.
///
/// # Errors
/// There is no such network.
pub fn reset_connection(family: i32) -> Result<i32> {
    let listener = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let mut at = [0u8; 16];
    at[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    at[4..8].copy_from_slice(&[127, 0, 0, 1]);
    let made = bind(listener, &at, Some(1)).and_then(|()| {
        let at = socket_address(listener, false).unwrap_or_default();
        let ours = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
        // SAFETY: `at` is readable for its length; nothing is wanted of the peer's address.
        unsafe {
            if libc::connect(ours, at.as_ptr().cast(), at.len() as u32) < 0 {
                let error = Error::last("connect");
                crate::fd::close(ours);
                return Err(error);
            }
            let theirs = libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut());
            // socket(7), SO_LINGER: on, for no time.
            let linger = [1u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat();
            set_socket_option(theirs, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
            crate::fd::close(theirs);
        }
        Ok(ours)
    });
    crate::fd::close(listener);
    let _ = family; // the program may ask for it; what it gets is of AF_INET
    made
}

/// The seals of memory behind a descriptor of ours (fcntl(2), F_GET_SEALS).
pub fn seals(fd: i32) -> u32 {
    raw::fcntl(fd as u64, libc::F_GET_SEALS as u64, 0).max(0) as u32
}

/// Memory with a descriptor (memfd_create(2)), of a length, that can be sealed.
///
/// # Errors
/// Of memfd_create(2), ftruncate(2).
pub fn memfd(name: &std::ffi::CStr, size: u64) -> Result<i32> {
    // SAFETY: a NUL-terminated name, and a number.
    let fd =
        unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(Error::last("memfd_create"));
    }
    match set_size(fd, size) {
        Ok(()) => Ok(fd),
        Err(e) => {
            crate::fd::close(fd);
            Err(e)
        }
    }
}

/// Makes a file so many bytes long (ftruncate(2)).
///
/// # Errors
/// Of ftruncate(2).
pub fn set_size(fd: i32, size: u64) -> Result<()> {
    // SAFETY: numbers alone.
    if unsafe { libc::ftruncate(fd, size as libc::off_t) } < 0 {
        return Err(Error::last("ftruncate"));
    }
    Ok(())
}

/// Sets its permissions (fchmod(2)); one that may not be set stays.
pub fn set_mode(fd: i32, mode: u32) {
    // SAFETY: numbers alone.
    unsafe { libc::fchmod(fd, mode) };
}

/// Seals it (fcntl(2), F_ADD_SEALS).
///
/// # Errors
/// Of fcntl(2).
pub fn seal(fd: i32, seals: u32) -> Result<()> {
    let ret = raw::fcntl(fd as u64, libc::F_ADD_SEALS as u64, seals.into());
    check("fcntl(F_ADD_SEALS)", ret).map(drop)
}

/// A new eventfd (eventfd(2)).
///
/// # Errors
/// Of eventfd(2).
pub fn eventfd(count: u64, semaphore: bool) -> Result<i32> {
    let flags = libc::EFD_CLOEXEC | if semaphore { libc::EFD_SEMAPHORE } else { 0 };
    // SAFETY: plain numbers.
    let fd = unsafe { libc::eventfd(0, flags) };
    if fd < 0 {
        return Err(Error::last("eventfd"));
    }
    if count > 0 {
        crate::fd::write_at(fd, &count.to_ne_bytes(), None);
    }
    Ok(fd)
}

/// timerfd_create(2), TFD_IOC_SET_TICKS: a number of eight bytes.
const SET_TICKS: u64 = 0x4008_5400;

/// A new timer with a descriptor (timerfd_create(2)): when it expires, `Err(0)` for never, nanoseconds
/// between expiries; and how often it has expired, which nobody has read.
///
/// # Errors
/// Of timerfd_create(2).
pub fn timerfd(clock: i32, when: When, every_ns: u64, expired: u64, cancels: bool) -> Result<i32> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::timerfd_create(clock, libc::TFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::last("timerfd_create"));
    }
    let time = |ns: u64| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    };
    let set = |when: When| {
        let cancel = if cancels { libc::TFD_TIMER_CANCEL_ON_SET } else { 0 };
        let (value, flags) = match when {
            Ok(due) => (due, libc::TFD_TIMER_ABSTIME | cancel),
            Err(left) => (left, 0),
        };
        let setting = libc::itimerspec { it_interval: time(every_ns), it_value: time(value) };
        // SAFETY: a whole itimerspec; the old one is not wanted.
        unsafe { libc::timerfd_settime(fd, flags, &setting, std::ptr::null_mut()) == 0 }
    };
    // One that has expired goes on only when that is read: it expires anew, now.
    let stands = expired > 0 && when == Err(0);
    if !set(if stands { Err(1) } else { when }) {
        let error = Error::last("timerfd_settime");
        crate::fd::close(fd);
        return Err(error);
    }
    if stands {
        crate::fd::wait_for_input(fd);
    }
    if expired > u64::from(stands) {
        let args = [fd as u64, SET_TICKS, &raw const expired as u64, 0, 0, 0];
        // SAFETY: eight readable bytes. Without CONFIG_CHECKPOINT_RESTORE the number stays 1.
        unsafe { raw::syscall(libc::SYS_ioctl, args) };
    }
    Ok(fd)
}

/// A descriptor for signals that come (signalfd(2)), a bit each; which of them are blocked stays.
///
/// # Errors
/// Of signalfd4(2).
pub fn signalfd(signals: u64) -> Result<i32> {
    let args = [u64::MAX, &raw const signals as u64, 8, libc::SFD_CLOEXEC as u64, 0, 0];
    // SAFETY: eight readable bytes as the set.
    let ret = unsafe { raw::syscall(libc::SYS_signalfd4, args) };
    check("signalfd4", ret).map(|fd| fd as i32)
}

/// Has an epoll instance wait for a descriptor (epoll_ctl(2), EPOLL_CTL_ADD).
///
/// # Errors
/// Of epoll_ctl(2).
pub fn epoll_add(epoll: i32, fd: i32, events: u32, data: u64) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` is valid for the call.
    let ret = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
    if ret < 0 { Err(Error::last("epoll_ctl")) } else { Ok(()) }
}

/// Takes what up to `most` items of an epoll instance tell now (epoll_wait(2)), each once.
pub fn take_events(epoll: i32, most: usize) {
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; most];
    // SAFETY: room for as many events as are asked for.
    unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), most as i32, 0) };
}

/// A duplicate of a descriptor of ours, the first free number from `least` on (fcntl(2),
/// F_DUPFD_CLOEXEC).
///
/// # Errors
/// There is no number left.
pub fn duplicate_above(fd: i32, least: i32) -> Result<i32> {
    let ret = raw::fcntl(fd as u64, libc::F_DUPFD_CLOEXEC as u64, least as u64);
    check("fcntl(F_DUPFD_CLOEXEC)", ret).map(|fd| fd as i32)
}

/// Opens a file (open(2)).
///
/// # Errors
/// Of open(2).
pub fn open(path: &std::ffi::CStr, flags: i32) -> Result<i32> {
    // SAFETY: a NUL-terminated path, then plain numbers.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
    if fd < 0 { Err(Error::last("open")) } else { Ok(fd) }
}

/// Sets the limit of a resource of a process (prlimit(2)).
///
/// # Errors
/// Of prlimit(2): `EPERM` above the hard limit.
pub fn set_limit(pid: u32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a whole rlimit to read; the old one is not wanted.
    let ret = unsafe { libc::prlimit(pid as i32, resource, &limit, std::ptr::null_mut()) };
    if ret < 0 { Err(Error::last("prlimit")) } else { Ok(()) }
}

/// The limit of a resource of a process, soft and hard (prlimit(2)); `u64::MAX` is RLIM_INFINITY.
pub fn limit(pid: u32, resource: u32) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a whole rlimit to write to; nothing is set.
    let ret = unsafe { libc::prlimit(pid as i32, resource, std::ptr::null(), &mut limit) };
    (ret == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

/// Arms ITIMER_REAL of the calling process (setitimer(2)), in nanoseconds.
pub fn set_real_timer(left_ns: u64, every_ns: u64) {
    let time = |ns: u64| libc::timeval {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_usec: (ns % 1_000_000_000 / 1000) as i64,
    };
    let timer = libc::itimerval { it_interval: time(every_ns), it_value: time(left_ns) };
    let args = [libc::ITIMER_REAL as u64, &raw const timer as u64, 0, 0, 0, 0];
    // SAFETY: a whole itimerval to read; the old one is not wanted.
    unsafe { raw::syscall(libc::SYS_setitimer, args) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_pipe_stays_there() {
        let (read, write) = crate::fd::pipe().unwrap();
        assert_eq!(pipe_contents(read).unwrap(), b"");
        crate::fd::write_at(write, b"abc", None);
        assert_eq!(pipe_contents(read).unwrap(), b"abc");
        assert_eq!(pipe_contents(read).unwrap(), b"abc");
        [read, write].into_iter().for_each(crate::fd::close);
    }

    #[test]
    fn a_duplicate_is_one_file_and_another_pipe_is_not() {
        let (read, write) = crate::fd::pipe().unwrap();
        let copy = duplicate_above(read, 10).unwrap();
        let own = std::process::id();
        if let Some(one) = is_one_file((own, read), (own, copy)) {
            assert!(one);
            assert_eq!(is_one_file((own, read), (own, write)), Some(false));
        }
        [read, write, copy].into_iter().for_each(crate::fd::close);
    }

    #[test]
    fn a_timer_that_has_expired_has_and_goes_on() {
        let read = |fd| {
            let mut ticks = [0; 8];
            assert_eq!(crate::fd::read_at(fd, &mut ticks, None), 8);
            u64::from_ne_bytes(ticks)
        };
        let fd = timerfd(libc::CLOCK_MONOTONIC, Err(0), 1_000_000, 1, false).unwrap();
        assert!(read(fd) >= 1 && read(fd) >= 1);
        crate::fd::close(fd);
        let fd = timerfd(libc::CLOCK_MONOTONIC, Err(3_600_000_000_000), 1, 5, false).unwrap();
        let told = read(fd);
        assert!(told == 5, "{told}");
        crate::fd::close(fd);
    }

    #[test]
    fn a_connection_is_reset() {
        let fd = reset_connection(libc::AF_INET).unwrap();
        assert_eq!(crate::fd::read_at(fd, &mut [0], None), -(libc::ECONNRESET as isize));
        crate::fd::close(fd);
    }
}
