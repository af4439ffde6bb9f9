//! Sockets of one machine that are connected with one another (unix(7)): which are a pair, what lies in
//! one.
//!
//! Invariant: what lies in a socket stays there. Called at the cut of an image, when nobody else reads it.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::error::{Errno, Error, Result, check};
use crate::raw;

/// sock_diag(7): SOCK_DIAG_BY_FAMILY, UDIAG_SHOW_PEER, UNIX_DIAG_PEER, UNIX_DIAG_SHUTDOWN.
const BY_FAMILY: u16 = 20;
const SHOW_PEER: u32 = 4;
const PEER: u16 = 2;
const SHUTDOWN: u16 = 6;
/// The kernel's header of a netlink message, and of its answer of a socket of one machine.
const HEADER: usize = 16;
const ANSWER: usize = 16;
/// The most that is looked at at once, in bytes.
const ROOM: usize = 256 << 10;

/// What the kernel says of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The inode of the socket that it is connected with, 0 when that is closed.
    pub peer: u32,
    /// What of it is shut down (shutdown(2)): 1 reading, 2 writing.
    pub shut: u8,
}

/// Asks for the socket with an inode (sock_diag(7)).
///
/// # Errors
/// There is none, or the kernel does not tell.
pub fn peer(ino: u32) -> Result<Peer> {
    let mut request = Vec::with_capacity(HEADER + 24);
    request.extend(40u32.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    for word in [u32::MAX, ino, SHOW_PEER, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    // SAFETY: plain numbers; then buffers with their lengths.
    let (answer, errno) = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let socket = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG);
        if socket < 0 {
            return Err(Error::last("socket(NETLINK_SOCK_DIAG)"));
        }
        let mut answer = vec![0u8; 4096];
        let sent = libc::send(socket, request.as_ptr().cast(), request.len(), 0);
        let got = match sent {
            n if n < 0 => n,
            _ => libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0),
        };
        let errno = Error::last("sock_diag");
        libc::close(socket);
        answer.truncate(got.max(0) as usize);
        (answer, errno)
    };
    parse(&answer).ok_or(errno)
}

fn parse(answer: &[u8]) -> Option<Peer> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if half(4)? != BY_FAMILY {
        return None;
    }
    let (mut at, mut found) = (HEADER + ANSWER, Peer::default());
    while let (Some(len), Some(kind)) = (half(at), half(at + 2)) {
        let value = answer.get(at + 4..at + usize::from(len))?;
        match (kind, value) {
            (PEER, [a, b, c, d, ..]) => found.peer = u32::from_ne_bytes([*a, *b, *c, *d]),
            (SHUTDOWN, [shut, ..]) => found.shut = *shut,
            _ => {}
        }
        at += usize::from(len).next_multiple_of(4).max(4);
    }
    Some(found)
}

/// What lies in a socket: a message, or a part of a stream.
#[derive(Debug, Default)]
pub struct Unread {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Open files that come with the first of them (unix(7), SCM_RIGHTS), under numbers of ours.
    pub files: Vec<OwnedFd>,
    /// The address of the socket that sent it (struct sockaddr, as bytes); of a stream none.
    pub from: Vec<u8>,
}

/// What a socket of ours of this kind would read next, message by message, of a stream in pieces.
///
/// # Errors
/// Of recvmsg(2), setsockopt(2).
pub fn unread(fd: i32, kind: i32) -> Result<Vec<Unread>> {
    set_peek(fd, 0)?;
    let found = look_through(fd, kind);
    set_peek(fd, -1)?;
    found
}

fn look_through(fd: i32, kind: i32) -> Result<Vec<Unread>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(mut next) = peek(fd, ROOM, 0, kind)? {
        let len = next.bytes.len();
        if kind == libc::SOCK_STREAM && !next.files.is_empty() {
            // The kernel ends a part behind the bytes that files come with; others may be before them. Of one
            // that does not fit into what can be written to it copies nothing.
            set_peek(fd, at)?;
            let without = match peek(fd, len - 1, NOWHERE, kind) {
                Ok(before) => before.unwrap_or_default().bytes.len(),
                Err(error) if error.errno == Errno::EFAULT => 0,
                Err(error) => return Err(error),
            };
            set_peek(fd, at + len as i32)?;
            if without > 0 {
                let bytes = next.bytes.drain(..without).collect();
                found.push(Unread { bytes, ..Unread::default() });
            }
        }
        at += len as i32;
        found.push(next);
    }
    Ok(found)
}

/// Bytes that nobody can write to: in the lowest page of addresses.
const NOWHERE: usize = 1;

/// Looks at up to `room` bytes that were not looked at, and at `nowhere` more that cannot be written to; none when
/// there are no more.
fn peek(fd: i32, room: usize, nowhere: usize, kind: i32) -> Result<Option<Unread>> {
    let mut bytes = vec![0u8; room];
    let mut control = [0u64; 256]; // for SCM_MAX_FD (253) descriptors and more
    let mut from = [0u8; 128];
    let piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let nowhere = libc::iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: nowhere };
    let mut pieces = [piece, nowhere];
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), pieces.len());
    (message.msg_name, message.msg_namelen) = (from.as_mut_ptr().cast(), from.len() as u32);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: buffers with their lengths, which live longer than the call; where there is none the kernel finds
    // that it cannot write.
    let got = unsafe { libc::recvmsg(fd, &mut message, flags) };
    if got < 0 {
        let error = Error::last("recvmsg");
        return if error.errno as i32 == libc::EAGAIN { Ok(None) } else { Err(error) };
    }
    let files = descriptors(&message);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Error { operation: "recvmsg", errno: Errno::EMFILE });
    }
    if got == 0 && kind == libc::SOCK_SEQPACKET && !is_at_end(fd) {
        return Err(Error { operation: "an empty packet", errno: Errno::ENODATA });
    }
    if got == 0 && kind != libc::SOCK_DGRAM {
        return Ok(None); // its end
    }
    bytes.truncate(got as usize);
    let len = if kind == libc::SOCK_DGRAM { message.msg_namelen as usize } else { 0 };
    Ok(Some(Unread { bytes, files, from: from[..len.min(from.len())].to_vec() }))
}

/// Whether nobody sends any more to a socket of ours (poll(2), POLLRDHUP).
fn is_at_end(fd: i32) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one whole pollfd.
    unsafe { libc::poll(&mut one, 1, 0) };
    one.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0
}

/// Whether something lies in a socket of ours, be it an empty datagram (poll(2), POLLIN).
pub fn holds_something(fd: i32) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one whole pollfd.
    let ready = unsafe { libc::poll(&mut one, 1, 0) };
    ready > 0 && one.revents & libc::POLLIN != 0
}

/// The descriptors that came with a message.
fn descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: the kernel filled the control data; the macros go through it within its length. Each descriptor
    // was just made, and nobody else knows it.
    unsafe {
        let mut one = libc::CMSG_FIRSTHDR(message);
        while !one.is_null() {
            if (*one).cmsg_level == libc::SOL_SOCKET && (*one).cmsg_type == libc::SCM_RIGHTS {
                let len = (*one).cmsg_len - libc::CMSG_LEN(0) as usize;
                found.extend((0..len / size_of::<i32>()).map(|k| {
                    let number = libc::CMSG_DATA(one).cast::<i32>().add(k).read_unaligned();
                    OwnedFd::from_raw_fd(number)
                }));
            }
            one = libc::CMSG_NXTHDR(message, one);
        }
    }
    found
}

/// socket(7), SO_PEEK_OFF: from where the next look goes on; -1 is as ever.
fn set_peek(fd: i32, offset: i32) -> Result<()> {
    let place = &raw const offset as u64;
    let args = [fd as u64, libc::SOL_SOCKET as u64, libc::SO_PEEK_OFF as u64, place, 4, 0];
    // SAFETY: four readable bytes.
    check("setsockopt(SO_PEEK_OFF)", unsafe { raw::syscall(libc::SYS_setsockopt, args) }).map(drop)
}

/// A pair of sockets (socketpair(2)).
///
/// # Errors
/// Of socketpair(2).
pub fn pair(kind: i32) -> Result<(i32, i32)> {
    let mut both = [0; 2];
    // SAFETY: room for two descriptors.
    let ret =
        unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, both.as_mut_ptr()) };
    if ret < 0 { Err(Error::last("socketpair")) } else { Ok((both[0], both[1])) }
}

/// Has a socket of ours send to an address (connect(2)).
///
/// # Errors
/// Of connect(2).
pub fn connect(fd: i32, address: &[u8]) -> Result<()> {
    // SAFETY: `address` is readable for its length.
    let ret = unsafe { libc::connect(fd, address.as_ptr().cast(), address.len() as u32) };
    if ret < 0 { Err(Error::last("connect")) } else { Ok(()) }
}

/// Sends a message, or a part of a stream, without waiting; the whole of it, or an error. The open files
/// `files` come with its first bytes.
///
/// # Errors
/// Of sendmsg(2).
pub fn send(fd: i32, bytes: &[u8], files: &[i32]) -> Result<()> {
    send_to(fd, bytes, files, &[])
}

/// The same to the socket at an address, or, if that is empty, to the peer.
///
/// # Errors
/// Of sendmsg(2).
pub fn send_to(fd: i32, bytes: &[u8], files: &[i32], to: &[u8]) -> Result<()> {
    let (mut done, mut files) = (0, files);
    loop {
        let rest = &bytes[done..];
        let mut control = [0u64; 256];
        let mut piece = libc::iovec { iov_base: rest.as_ptr() as *mut _, iov_len: rest.len() };
        // SAFETY: an all-zero msghdr is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&mut piece, 1);
        if !to.is_empty() {
            message.msg_name = to.as_ptr() as *mut _;
            message.msg_namelen = to.len() as u32;
        }
        if !files.is_empty() {
            let len = size_of_val(files);
            // SAFETY: `control` has room for SCM_MAX_FD (253) descriptors; with more the kernel does not get to
            // see it.
            unsafe {
                if libc::CMSG_SPACE(len as u32) as usize > size_of_val(&control) {
                    return Err(Error { operation: "sendmsg", errno: Errno::EINVAL });
                }
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(len as u32) as usize;
                let one = libc::CMSG_FIRSTHDR(&message);
                ((*one).cmsg_level, (*one).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
                (*one).cmsg_len = libc::CMSG_LEN(len as u32) as usize;
                files.as_ptr().cast::<u8>().copy_to(libc::CMSG_DATA(one), len);
            }
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `rest`, which is only read, and the control data are there for their lengths.
        let sent = unsafe { libc::sendmsg(fd, &message, flags) };
        if sent < 0 {
            return Err(Error::last("sendmsg"));
        }
        (done, files) = (done + sent as usize, &[]);
        if done >= bytes.len() {
            return Ok(());
        }
    }
}

/// Gives up reading or writing (shutdown(2)): bits as those of [`Peer::shut`].
pub fn shut(fd: i32, what: u8) {
    let how = match what & 3 {
        0 => return,
        1 => libc::SHUT_RD,
        2 => libc::SHUT_WR,
        _ => libc::SHUT_RDWR,
    };
    // SAFETY: plain numbers.
    unsafe { libc::shutdown(fd, how) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_pair_is_found_and_stays() {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            let (one, other) = pair(kind).unwrap();
            send(one, b"abc", &[]).unwrap();
            send(one, b"de", &[]).unwrap();
            for _ in 0..2 {
                let found = unread(other, kind).unwrap();
                assert!(found.iter().all(|one| one.files.is_empty()));
                let bytes: Vec<&[u8]> = found.iter().map(|one| one.bytes.as_slice()).collect();
                assert_eq!(bytes.concat(), b"abcde");
                assert!(kind == libc::SOCK_STREAM || found.len() == 2);
            }
            let mut first = [0; 3];
            assert_eq!(crate::fd::read_at(other, &mut first, None), 3);
            assert_eq!(&first, b"abc");
            [one, other].into_iter().for_each(crate::fd::close);
        }
    }

    #[test]
    fn open_files_come_with_the_bytes_that_they_were_sent_with() {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            let ((one, other), (read, write)) = (pair(kind).unwrap(), crate::fd::pipe().unwrap());
            let all: [(&[u8], &[i32]); 5] =
                [(b"ab", &[]), (b"cde", &[read]), (b"f", &[]), (b"g", &[write, read]), (b"h", &[])];
            for (bytes, files) in all {
                send(one, bytes, files).unwrap();
            }
            for _ in 0..2 {
                let found = unread(other, kind).unwrap();
                let parts: Vec<(&[u8], usize)> =
                    found.iter().map(|one| (one.bytes.as_slice(), one.files.len())).collect();
                let wanted: [(&[u8], usize); 5] =
                    [(b"ab", 0), (b"cde", 1), (b"f", 0), (b"g", 2), (b"h", 0)];
                assert_eq!(parts, wanted);
            }
            [one, other, read, write].into_iter().for_each(crate::fd::close);
        }
    }

    #[test]
    fn the_ends_of_a_pair_name_one_another() {
        let (one, other) = pair(libc::SOCK_STREAM).unwrap();
        let ino = |fd| crate::fd::kind(fd).unwrap().file[1] as u32;
        let (a, b) = (ino(one), ino(other));
        assert_eq!(peer(a).unwrap(), Peer { peer: b, shut: 0 });
        assert_eq!(peer(b).unwrap(), Peer { peer: a, shut: 0 });
        crate::fd::close(other);
        assert_eq!(peer(a).unwrap().peer, 0);
        crate::fd::close(one);
    }
}
