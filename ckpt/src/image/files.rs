//! What an image says of open files.
//!
//! Invariant: plain data. What is in kernel buffers (pipes, socket pairs) is kept; what lies with a
//! peer beyond the program (connections) cannot be and is reset.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Which file it is, wherever it is (stat(2), `st_dev` and `st_ino`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl FileId {
    /// Of a file that was looked at.
    pub fn of(facts: &Metadata) -> Self {
        Self { dev: facts.dev(), ino: facts.ino() }
    }
}

/// When a file was changed last, in nanoseconds since the epoch.
pub fn mtime_ns(facts: &Metadata) -> i64 {
    facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec())
}

/// An open file description (open(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    /// The flags that can be read back: access, O_APPEND, O_NONBLOCK (fcntl(2), F_GETFL).
    pub flags: u32,
    /// Who is told by a signal when something can be read or written.
    pub owner: Owner,
    /// What it is.
    pub kind: OpenKind,
    /// Locks that it has: of the whole file (flock(2)) and of ranges (fcntl(2), F_OFD_SETLK).
    pub locks: Vec<Lock>,
}

/// Who is told by a signal (fcntl(2), F_SETOWN_EX and F_SETSIG); whether at all, the flags say (O_ASYNC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP.
    pub kind: i32,
    /// The thread, process or group that the program sees; 0 for nobody.
    pub number: u32,
    /// The signal; 0 for SIGIO.
    pub signal: i32,
}

/// A lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whose it is.
    pub kind: LockKind,
    /// Whether nobody else may have one there, or others of those who only read.
    pub exclusive: bool,
    /// The first byte; 0 when it is of the whole file.
    pub first: u64,
    /// The last byte; none when it goes on to wherever the file ends.
    pub last: Option<u64>,
}

/// Whose a lock is, and how it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockKind {
    /// An open file's, of the whole file (flock(2)).
    Whole,
    /// An open file's, of a range (fcntl(2), F_OFD_SETLK).
    Open,
    /// A process's, of a range (fcntl(2), F_SETLK).
    Process,
}

/// What is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenKind {
    /// A file with bytes.
    Regular(Regular),
    /// A directory.
    Directory {
        /// Where it is, as bytes.
        path: Vec<u8>,
        /// How far it was read (getdents(2)).
        offset: i64,
    },
    /// A character or block device, a terminal among them.
    Device {
        /// Where it is, as bytes.
        path: Vec<u8>,
        /// `st_rdev` (stat(2)).
        rdev: u64,
        /// Whether it is the terminal of the session (tty(4)), which a restart replaces by its own.
        controlling: bool,
        /// struct termios2 (ioctl_tty(2), TCGETS2), as bytes; empty when it is no terminal.
        termios: Vec<u8>,
    },
    /// An end of a pipe or FIFO (pipe(7)).
    Pipe(PipeEnd),
    /// An end of a socket pair within the program (socketpair(2)).
    SocketPair {
        /// Which pair: two open files with the same number are its ends.
        pair: u64,
        /// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
        kind: i32,
        /// What this end would read next.
        unread: Vec<Message>,
        /// Whether this end gave up reading, writing (shutdown(2)).
        shut: (bool, bool),
        /// Options that are set.
        options: Vec<SocketOption>,
    },
    /// A socket that listens, or a datagram socket that is bound or has a peer.
    Listening(Listen),
    /// A connection to somebody beyond the program; a restart opens it as one that was reset.
    Connected {
        /// AF_INET and so on (socket(2)).
        family: i32,
        /// SOCK_STREAM and so on.
        kind: i32,
        /// Its own address (getsockname(2)), as bytes.
        local: Vec<u8>,
        /// The peer's (getpeername(2)), as bytes.
        peer: Vec<u8>,
    },
    /// A socket that is neither bound nor connected.
    Socket {
        /// As above.
        family: i32,
        /// As above.
        kind: i32,
        /// The protocol.
        protocol: i32,
        /// Options that are set.
        options: Vec<SocketOption>,
    },
    /// eventfd(2).
    EventFd {
        /// Its count.
        count: u64,
        /// EFD_SEMAPHORE.
        semaphore: bool,
    },
    /// timerfd_create(2).
    TimerFd(TimerFd),
    /// signalfd(2).
    SignalFd {
        /// The signals, a bit each.
        mask: u64,
    },
    /// epoll(7).
    Epoll {
        /// What it waits for.
        items: Vec<EpollItem>,
        /// Whether nothing of that had happened, but for edges that had been told (EPOLLET).
        quiet: bool,
    },
    /// memfd_create(2), or another descriptor of shared memory.
    Memfd {
        /// Its place in [`super::Image::shared`].
        object: u32,
        /// File position in bytes.
        offset: u64,
    },
    /// inotify(7); what was not read yet is lost.
    Inotify {
        /// Watch descriptor, mask and path as bytes.
        watches: Vec<(i32, u32, Vec<u8>)>,
    },
    /// Something that cannot be opened again, by the name in proc_pid_fd(5).
    Other(String),
}

/// A file with bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regular {
    /// Where it is, as bytes.
    pub path: Vec<u8>,
    /// Which file that is.
    pub id: FileId,
    /// File position in bytes (lseek(2)).
    pub offset: u64,
    /// Its length in bytes at the cut. What was appended since is cut off at a restart; what was
    /// overwritten is in the undo log (`crate::undo`).
    pub size: u64,
    /// Whether it is open for writing.
    pub writable: bool,
    /// Whether its name was gone at the cut (unlink(2)); then its bytes are `contents`.
    pub unlinked: bool,
    /// The bytes of a file that has no name.
    pub contents: Vec<u8>,
    /// Of such a one: its permissions (chmod(2)).
    pub mode: u32,
    /// When it was read and changed last, in nanoseconds since the epoch.
    pub times_ns: [i64; 2],
}

/// An end of a pipe (pipe(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeEnd {
    /// Which pipe: open files with the same number are its ends.
    pub pipe: u64,
    /// Whether this is the end that writes.
    pub writes: bool,
    /// Where the FIFO is (fifo(7)), as bytes; none for a pipe without a name.
    pub path: Option<Vec<u8>>,
    /// fcntl(2), F_GETPIPE_SZ, in bytes.
    pub capacity: u32,
    /// What lies in it; with the end that reads.
    pub unread: Vec<u8>,
    /// Whether the other end is beyond the program.
    pub outward: bool,
}

/// One message in a socket, or some bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Open files that come with it (unix(7), SCM_RIGHTS), by place.
    pub files: Vec<u32>,
    /// The address of the socket that sent it, as bytes; of a datagram to a socket that is bound.
    pub from: Vec<u8>,
}

/// A socket that waits at an address (listen(2), bind(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// AF_INET, AF_INET6 or AF_UNIX.
    pub family: i32,
    /// SOCK_STREAM, SOCK_DGRAM and so on.
    pub kind: i32,
    /// The protocol (socket(2)).
    pub protocol: i32,
    /// Where it is bound: struct sockaddr (getsockname(2)), as bytes.
    pub address: Vec<u8>,
    /// How many may wait (listen(2)); none when it does not listen.
    pub backlog: Option<u32>,
    /// Of a datagram socket: whom it sends to (connect(2)), as bytes.
    pub peer: Option<Vec<u8>>,
    /// Datagrams of this machine (unix(7)) that lie in it.
    pub unread: Vec<Message>,
    /// Whether datagrams of a network lie in it, which are lost.
    pub lost: bool,
    /// Options that are set.
    pub options: Vec<SocketOption>,
}

/// An option of a socket (getsockopt(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOption {
    /// SOL_SOCKET and so on.
    pub level: i32,
    /// SO_REUSEADDR and so on.
    pub name: i32,
    /// Its value, as bytes.
    pub value: Vec<u8>,
}

/// A timer with a descriptor (timerfd_create(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFd {
    /// CLOCK_REALTIME and so on.
    pub clock: i32,
    /// Nanoseconds until it expires, at the cut; 0 when it is not armed.
    pub left_ns: u64,
    /// Nanoseconds from one expiry to the next.
    pub every_ns: u64,
    /// Expiries that were not read yet.
    pub expired: u64,
    /// The time of CLOCK_REALTIME at which it expires, in nanoseconds, if it was set for one (TFD_TIMER_ABSTIME).
    pub due_ns: Option<u64>,
    /// Whether it tells that the clock was set (TFD_TIMER_CANCEL_ON_SET).
    pub cancels: bool,
}

/// One descriptor that an epoll waits for (epoll_ctl(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpollItem {
    /// The number it was added under.
    pub fd: i32,
    /// The place of its open file.
    pub file: u32,
    /// EPOLLIN and so on.
    pub events: u32,
    /// The program's own word.
    pub data: u64,
}
