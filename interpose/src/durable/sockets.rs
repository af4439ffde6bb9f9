//! Sockets of the outside: what each is, what lies in it, and how it is set.
//!
//! Invariant: nothing is taken from a socket; what cannot be made or sent again is an error that names it. Called at
//! the cut, with the other open files ([`super::files`]).

use std::os::fd::AsRawFd;

use chameleon_ckpt::image::{Listen, Message, OpenKind, SocketOption};
use chameleon_sys::{describe, fd, unix};

use super::Described;
use super::files::Files;

/// Options of a socket that are kept: level and name (socket(7), ip(7), ipv6(7), tcp(7), udp(7)), in an order in which
/// none changes one before it.
const OPTIONS: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_PASSCRED),
    (libc::SOL_SOCKET, libc::SO_PASSSEC),
    (libc::SOL_SOCKET, SO_PASSPIDFD),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_NO_CHECK),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IP, libc::IP_RECVTTL),
    (libc::IPPROTO_IP, libc::IP_RECVTOS),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
    (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_IF),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_UDP, libc::UDP_CORK),
    (libc::IPPROTO_UDP, libc::UDP_SEGMENT),
    (libc::IPPROTO_UDP, libc::UDP_GRO),
    // After IP_TOS, which sets it.
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
];

/// asm-generic/socket.h; the libc crate lacks it.
const SO_PASSPIDFD: i32 = 76;

impl Files {
    /// The socket behind descriptor `own`, with inode `ino`.
    pub(super) fn socket(&mut self, own: i32, ino: u64) -> Described<OpenKind> {
        let ask = |name| describe::socket_number(own, name).unwrap_or(0);
        let (family, kind) = (ask(libc::SO_DOMAIN), ask(libc::SO_TYPE));
        let protocol = ask(libc::SO_PROTOCOL);
        let local = describe::socket_address(own, false).unwrap_or_default();
        let inet = matches!(family, libc::AF_INET | libc::AF_INET6);
        if !inet && family != libc::AF_UNIX {
            return Err(format!(
                "a socket of family {family} is open, which cannot be opened again"
            ));
        }
        let peer = describe::socket_address(own, true);
        let has_name = |address: &[u8]| match family {
            libc::AF_UNIX => address.len() > 2,
            // struct sockaddr_in and _in6 have the port at the same place.
            _ => address.get(2..4).is_some_and(|port| port != [0, 0]),
        };
        if let Some(peer) = &peer {
            if family == libc::AF_UNIX && !has_name(&local) && !has_name(peer) {
                return self.end_of_pair(own, ino, kind);
            }
            if kind != libc::SOCK_DGRAM {
                return Ok(OpenKind::Connected { family, kind, local, peer: peer.clone() });
            }
            if !has_name(peer) {
                return Err("a datagram socket with a name has a peer without one".to_owned());
            }
        }
        let listens = ask(libc::SO_ACCEPTCONN) != 0;
        let options = options(own, [family, kind, protocol]);
        if !has_name(&local) && !listens && peer.is_none() {
            return Ok(OpenKind::Socket { family, kind, protocol, options });
        }
        let (mut unread, mut lost) = (Vec::new(), false);
        if kind == libc::SOCK_DGRAM {
            match inet {
                true => lost = unix::holds_something(own),
                false => unread = self.unread(own, ino, kind)?,
            }
        }
        // How many may wait is not told; more than asked for does no harm.
        let backlog = listens.then_some(4096);
        Ok(OpenKind::Listening(Listen {
            family,
            kind,
            protocol,
            address: local,
            backlog,
            peer,
            unread,
            lost,
            options,
        }))
    }

    /// An end of a pair (socketpair(2)).
    fn end_of_pair(&mut self, own: i32, ino: u64, kind: i32) -> Described<OpenKind> {
        let found = unix::peer(ino as u32).map_err(cannot)?;
        let mut unread = self.unread(own, ino, kind)?;
        unread.iter_mut().for_each(|one| one.from.clear()); // they are of its peer
        let pair = match found.peer {
            0 => ino,
            other => ino.min(other.into()),
        };
        if found.peer != 0 {
            self.peers.push(pair);
        }
        Ok(OpenKind::SocketPair {
            pair,
            kind,
            unread,
            shut: (found.shut & 1 != 0, found.shut & 2 != 0),
            options: options(own, [libc::AF_UNIX, kind, 0]),
        })
    }

    /// What lies in a socket of this machine.
    fn unread(&mut self, own: i32, ino: u64, kind: i32) -> Described<Vec<Message>> {
        if self.empty.contains(&ino) && unix::holds_something(own) {
            return Err(EMPTY.to_owned());
        }
        self.empty.remove(&ino);
        let found = unix::unread(own, kind).map_err(cannot)?;
        if kind == libc::SOCK_DGRAM && found.iter().any(|one| one.bytes.is_empty()) {
            // The kernel shows it to a look once only.
            self.empty.insert(ino);
            return Err(EMPTY.to_owned());
        }
        let told = [libc::SO_PASSCRED, SO_PASSPIDFD];
        let told =
            told.into_iter().any(|name| describe::socket_number(own, name).unwrap_or(0) != 0);
        if told && !found.is_empty() {
            return Err("something lies in a socket with the numbers of who sent it (SO_PASSCRED)"
                .to_owned());
        }
        found.into_iter().map(|one| self.message(one)).collect()
    }

    /// A message that lies in a socket; open files that come with it are nobody's yet.
    fn message(&mut self, found: unix::Unread) -> Described<Message> {
        let own = std::process::id();
        let pidfd = fd::pidfd(own).map_err(|e| e.to_string())?;
        let pidfd = fd::owned(pidfd);
        let mut files = Vec::new();
        for one in found.files {
            let epolls = self.epolls.len();
            files.push(self.one(own, pidfd.as_raw_fd(), one.as_raw_fd())?.file);
            if self.epolls.len() > epolls {
                return Err("an epoll instance is on its way in a socket (SCM_RIGHTS)".to_owned());
            }
            self.on_their_way.push(one); // to be told from others
        }
        Ok(Message { bytes: found.bytes, files, from: found.from })
    }

    /// All are known: whoever sent what lies in a datagram socket can send it again.
    pub(super) fn settle_senders(&self) -> Described<()> {
        let named = |from: &[u8]| {
            let is =
                |kind: &OpenKind| matches!(kind, OpenKind::Listening(own) if own.address == from);
            from.len() <= 2 || self.open.iter().any(|open| is(&open.kind))
        };
        for open in &self.open {
            let OpenKind::Listening(own) = &open.kind else { continue };
            if own.unread.iter().any(|one| !named(&one.from)) {
                return Err("a datagram lies in a socket whose sender the program does not have \
                            (unix(7))"
                    .to_owned());
            }
        }
        Ok(())
    }
}

/// Why there is no image.
const EMPTY: &str = "an empty datagram lies in a socket (unix(7))";

fn cannot(e: chameleon_sys::Error) -> String {
    format!("a socket cannot be looked into ({e})")
}

/// Options of a socket that are not as they are at first in one of its family, kind and protocol.
fn options(fd: i32, [family, kind, protocol]: [i32; 3]) -> Vec<SocketOption> {
    let fresh = describe::socket(family, kind, protocol).ok().map(fd::owned);
    let found = OPTIONS.iter().filter_map(|(level, name)| {
        let mut value = describe::socket_option(fd, *level, *name)?;
        let first = fresh
            .as_ref()
            .and_then(|fresh| describe::socket_option(fresh.as_raw_fd(), *level, *name));
        if first.as_ref() == Some(&value) {
            return None;
        }
        if *level == libc::SOL_SOCKET && [libc::SO_RCVBUF, libc::SO_SNDBUF].contains(name) {
            // socket(7): the kernel doubles what it is told.
            let doubled = i32::from_ne_bytes(value.as_slice().try_into().ok()?);
            value = (doubled / 2).to_ne_bytes().to_vec();
        }
        Some(SocketOption { level: *level, name: *name, value })
    });
    found.collect()
}
