//! Sockets of one machine that are connected with one another (unix(7)): which are a pair, what lies in
//! one.
//!
//! Invariant: what lies in a socket stays there. Called at the cut of an image, when nobody else reads it.

use crate::error::{Error, Result, check};
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

/// What a socket of ours of this kind would read next, message by message, of a stream in pieces; and
/// whether descriptors come with it.
///
/// # Errors
/// Of recvmsg(2), setsockopt(2).
pub fn unread(fd: i32, kind: i32) -> Result<(Vec<Vec<u8>>, bool)> {
    set_peek(fd, 0)?;
    let mut found = Vec::new();
    let mut carries = false;
    let outcome = loop {
        let mut bytes = vec![0u8; ROOM];
        let mut control = [0u64; 64];
        let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: an all-zero msghdr is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&mut piece, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: buffers with their lengths, which live longer than the call.
        let got = unsafe { libc::recvmsg(fd, &mut message, flags) };
        carries |= take_descriptors(&message);
        if got < 0 {
            let error = Error::last("recvmsg");
            break if error.errno as i32 == libc::EAGAIN { Ok(()) } else { Err(error) };
        }
        if got == 0 && kind != libc::SOCK_DGRAM {
            break Ok(()); // its end
        }
        bytes.truncate(got as usize);
        found.push(bytes);
    };
    set_peek(fd, -1)?;
    outcome.map(|()| (found, carries))
}

/// Closes the descriptors that were looked at; whether there were any.
fn take_descriptors(message: &libc::msghdr) -> bool {
    let mut any = false;
    // SAFETY: the kernel filled the control data; the macros go through it within its length.
    unsafe {
        let mut one = libc::CMSG_FIRSTHDR(message);
        while !one.is_null() {
            if (*one).cmsg_level == libc::SOL_SOCKET && (*one).cmsg_type == libc::SCM_RIGHTS {
                any = true;
                let len = (*one).cmsg_len - libc::CMSG_LEN(0) as usize;
                for k in 0..len / size_of::<i32>() {
                    libc::close(libc::CMSG_DATA(one).cast::<i32>().add(k).read_unaligned());
                }
            }
            one = libc::CMSG_NXTHDR(message, one);
        }
    }
    any
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

/// Sends a message, or a part of a stream, without waiting; the whole of it, or an error.
///
/// # Errors
/// Of send(2).
pub fn send(fd: i32, bytes: &[u8]) -> Result<()> {
    let mut done = 0;
    loop {
        let rest = &bytes[done..];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `rest` is readable for its length.
        let sent = unsafe { libc::send(fd, rest.as_ptr().cast(), rest.len(), flags) };
        if sent < 0 {
            return Err(Error::last("send"));
        }
        done += sent as usize;
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
            send(one, b"abc").unwrap();
            send(one, b"de").unwrap();
            for _ in 0..2 {
                let (found, carries) = unread(other, kind).unwrap();
                assert_eq!((found.concat(), carries), (b"abcde".to_vec(), false));
                assert!(kind == libc::SOCK_STREAM || found.len() == 2);
            }
            let mut first = [0; 3];
            assert_eq!(crate::fd::read_at(other, &mut first, None), 3);
            assert_eq!(&first, b"abc");
            [one, other].into_iter().for_each(crate::fd::close);
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
