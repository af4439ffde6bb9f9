//! Ballots: collecting the bytes that a call takes in, and comparing another replica's with them.
//!
//! Invariant: whatever a replica's memory says is checked against bounds and copied before it is
//! believed; two ballots are equal only if call, arguments and every byte going in are equal.

use chameleon_sys::memory;

use crate::arena::{Arena, CHUNK, Piece, Replica, TOGETHER};
use crate::table::row::{Arg, Len, Row};

/// Bytes of a path or name at most.
const STRING_MOST: usize = 4096;

/// Sizes of the kernel's structures.
pub(crate) const IOVEC: usize = 16;
pub(crate) const MSGHDR: usize = 56;
pub(crate) const MMSGHDR: usize = 64;
/// `struct sock_fprog` and `struct ifconf`: how much there is, then where.
pub(crate) const POINTING: usize = 16;
/// `struct sock_filter`.
const FILTER: usize = 8;
/// Most vectors or messages of one call (`UIO_MAXIOV`).
pub(crate) const MOST_VECTORS: u64 = 1024;
/// Room that a received name or control message has at most, in bytes.
pub(crate) const NAME_MOST: usize = 128;
pub(crate) const CONTROL_MOST: usize = 64 << 10;
/// Room behind a length in memory that the program may never have set, as it need not for
/// accept(2), at most.
const U32_MOST: usize = 4 << 20;

/// Why a ballot could not be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A pointer does not lead to readable memory: the call's answer is `EFAULT`.
    Fault,
    /// A string has no end within its limit: the call's answer is `ENAMETOOLONG`.
    TooLong,
    /// A buffer is longer than any that is carried: the call's answer is `EINVAL`.
    TooMuch,
    /// No room in the data ring or the long area until replicas that are behind have caught up.
    Full,
}

/// How much room a call's output has at most, whatever the program says.
pub(crate) fn room_most(arena: Arena, cap: Len, long: bool) -> u64 {
    let most = match cap {
        _ if !long => CHUNK,
        Len::U32At(_) => U32_MOST.min(arena.most()),
        _ => arena.most(),
    };
    most as u64
}

/// A word of the program's memory as far as it was collected.
pub(crate) fn collected_word(arena: Arena, pieces: &[Piece], addr: u64) -> Option<u32> {
    let p = pieces.iter().find(|p| addr >= p.addr && addr + 4 <= p.addr + u64::from(p.len))?;
    let b = arena.region.bytes(p.offset() + (addr - p.addr) as usize, 4);
    Some(u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

/// What a structure of [`POINTING`] bytes in the arena says: how much, and where.
pub(crate) fn pointed(arena: Arena, at: usize) -> (u32, u64) {
    let [count, place] = *arena.region.record::<[u64; 2]>(at);
    (count as u32, place)
}

/// Room that SIOCGIFCONF has for a length that the program says: what it is told of is whole
/// interfaces, as many as fit.
pub(crate) fn ifconf_room(said: u32) -> usize {
    usize::try_from(said as i32).unwrap_or(0).min(CHUNK)
}

/// Whether no process has anything at an address: below what may be mapped (sysctl
/// vm.mmap_min_addr is 64 KiB) or beyond user space. A read into it must fail before it takes
/// anything.
pub(crate) fn leads_nowhere(addr: u64) -> bool {
    !(0x1_0000..1 << 47).contains(&addr)
}

/// Collects the bytes going in of a call that replica `pid` made, into the task's data.
pub struct Gather<'a> {
    arena: Arena,
    task: usize,
    pid: u32,
    args: [u64; 6],
    /// The call may do a part of what it was asked for.
    in_parts: bool,
    /// Only the first piece of its buffer belongs to the ballot.
    in_pieces: bool,
    /// Its buffers are more than the data ring is for: from where that shows they are taken of
    /// the long area.
    pub long: bool,
    /// Bytes of its buffers so far, in and out.
    together: u64,
    /// What was collected.
    pieces: &'a mut Vec<Piece>,
}

impl<'a> Gather<'a> {
    /// For the call at the head of `task` as `replica` made it; `pieces` is scratch. Of one that is
    /// carried `in_pieces` only the first is collected.
    pub fn new(
        arena: Arena,
        task: usize,
        replica: &Replica,
        in_pieces: bool,
        pieces: &'a mut Vec<Piece>,
    ) -> Self {
        pieces.clear();
        let in_parts = matches!(
            i64::from(replica.nr),
            libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto
        );
        let (pid, args) = (replica.pid, replica.args);
        Self { arena, task, pid, args, in_parts, in_pieces, long: false, together: 0, pieces }
    }

    /// Collects everything that `row` says goes in, and finds out whether the call is a long one.
    pub fn all(&mut self, row: &Row) -> Result<(), Trouble> {
        for (i, arg) in row.args.iter().enumerate() {
            let addr = self.args[i];
            if addr == 0 {
                continue;
            }
            match *arg {
                Arg::Path | Arg::Str => self.string(i, addr)?,
                Arg::In(len) | Arg::InOut(len) | Arg::InOutAlways(len) => {
                    let whole = self.length(len)?;
                    let most = if self.in_pieces { CHUNK } else { self.arena.most() };
                    if whole > most as u64 && !self.in_parts {
                        return Err(Trouble::TooMuch);
                    }
                    let n = whole.min(most as u64);
                    self.weigh(n);
                    if !matches!(arg, Arg::In(_)) {
                        self.weigh(n); // it is copied for the executor
                    }
                    self.buffer(i, 0, addr, n as usize).map_err(|e| match e {
                        // The kernel refuses such lengths before it looks at what is there.
                        Trouble::Fault if n > CHUNK as u64 => Trouble::TooMuch,
                        other => other,
                    })?;
                }
                Arg::IovIn(c) => self.vector(i, 0, addr, self.args[usize::from(c)], true)?,
                Arg::IovOut(c) => self.vector(i, 0, addr, self.args[usize::from(c)], false)?,
                Arg::MsgIn => self.message(i, 0, addr, MSGHDR, true)?,
                Arg::MsgOut => self.message(i, 0, addr, MSGHDR, false)?,
                Arg::MmsgIn(c) => self.messages(i, addr, c, true)?,
                Arg::MmsgOut(c) => self.messages(i, addr, c, false)?,
                Arg::Filter | Arg::Ifconf => self.pointing(i, addr, *arg)?,
                Arg::Int | Arg::Fd | Arg::DirFd | Arg::Addr | Arg::Out { .. } => {}
            }
        }
        for (i, arg) in row.args.iter().enumerate() {
            if let Arg::Out { cap, .. } = *arg
                && !self.in_pieces
                && !leads_nowhere(self.args[i])
            {
                let mut word = |addr| collected_word(self.arena, self.pieces, addr);
                let n = cap.bytes(&self.args, 0, &mut word).unwrap_or(0);
                self.weigh(n.min(room_most(self.arena, cap, true)));
            }
        }
        Ok(())
    }

    /// Counts a buffer of `len` bytes.
    fn weigh(&mut self, len: u64) {
        self.together = self.together.saturating_add(len);
        let large = len > CHUNK as u64 || self.together > TOGETHER as u64;
        self.long |= large && self.arena.most() > CHUNK;
    }

    fn length(&self, len: Len) -> Result<u64, Trouble> {
        let mut word = |addr| memory::read_value::<u32>(self.pid, addr).ok();
        len.bytes(&self.args, 0, &mut word).ok_or(Trouble::Fault)
    }

    fn bytes(&mut self, arg: usize, sub: u32, addr: u64, len: usize) -> Result<usize, Trouble> {
        let at = self.arena.take(self.task, len.max(8), self.long).ok_or(Trouble::Full)?;
        self.fill(arg, sub, addr, at, len)
    }

    /// A buffer of the program, which lies here as it does there (see [`Arena::take_like`]).
    fn buffer(&mut self, arg: usize, sub: u32, addr: u64, len: usize) -> Result<(), Trouble> {
        let at = self.arena.take_like(self.task, addr, len.max(8), self.long);
        self.fill(arg, sub, addr, at.ok_or(Trouble::Full)?, len).map(drop)
    }

    fn fill(
        &mut self,
        arg: usize,
        sub: u32,
        addr: u64,
        at: usize,
        len: usize,
    ) -> Result<usize, Trouble> {
        let mut done = 0;
        while done < len {
            let from = addr.wrapping_add(done as u64);
            let room = self.arena.region.bytes(at + done, (len - done).min(CHUNK));
            if memory::read(self.pid, from, room).is_err() {
                // write(2) takes what is there before the fault.
                done += memory::read_some(self.pid, from, room);
                if done == 0 || !self.in_parts {
                    return Err(Trouble::Fault);
                }
                break;
            }
            done += room.len();
            if done < len {
                self.arena.beat_on();
            }
        }
        self.keep(arg, sub, addr, at, done);
        Ok(at)
    }

    fn keep(&mut self, arg: usize, sub: u32, addr: u64, at: usize, len: usize) {
        let (at, arg) = (at as u64, arg as u32);
        self.pieces.push(Piece { addr, at, len: len as u32, arg, sub, spare: 0 });
    }

    fn string(&mut self, arg: usize, addr: u64) -> Result<(), Trouble> {
        let mut buf = [0u8; STRING_MOST];
        let n = memory::read_str(self.pid, addr, &mut buf).map_err(|e| {
            if e.errno == chameleon_sys::Errno::ENAMETOOLONG {
                Trouble::TooLong
            } else {
                Trouble::Fault
            }
        })?;
        let at = self.arena.take(self.task, n, self.long).ok_or(Trouble::Full)?;
        self.arena.region.bytes(at, n).copy_from_slice(&buf[..n]);
        self.keep(arg, 0, addr, at, n);
        Ok(())
    }

    /// A structure that says how much there is and where; what is there, if it is read.
    fn pointing(&mut self, arg: usize, addr: u64, kind: Arg) -> Result<(), Trouble> {
        self.weigh(2 * POINTING as u64); // it is copied for the executor
        let at = self.bytes(arg, 0, addr, POINTING)?;
        let (count, place) = pointed(self.arena, at);
        match kind {
            Arg::Filter if place != 0 && !leads_nowhere(place) => {
                let n = usize::from(count as u16) * FILTER;
                self.weigh(n as u64);
                self.bytes(arg, 1, place, n).map(drop)
            }
            Arg::Ifconf if place != 0 => {
                self.weigh(ifconf_room(count) as u64);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An `iovec` array, and its buffers if they are read.
    fn vector(
        &mut self,
        arg: usize,
        sub: u32,
        addr: u64,
        count: u64,
        read: bool,
    ) -> Result<(), Trouble> {
        if count == 0 || count > MOST_VECTORS {
            return Ok(()); // the kernel says EINVAL, or there is nothing
        }
        self.weigh(2 * count * IOVEC as u64); // it has one like it for the executor
        let at = self.bytes(arg, sub + 2, addr, count as usize * IOVEC)?;
        // Before any buffer is taken: all are in one place or the other.
        let mut left = self.arena.most();
        for v in 0..count as usize {
            let [_, len] = *self.arena.region.record::<[u64; 2]>(at + v * IOVEC);
            let n = (len as usize).min(left);
            self.weigh(n as u64);
            left -= n;
        }
        if !read {
            return Ok(());
        }
        let mut left = if self.long { self.arena.most() } else { TOGETHER };
        for v in 0..count as usize {
            let [base, len] = *self.arena.region.record::<[u64; 2]>(at + v * IOVEC);
            let n = (len as usize).min(left);
            self.buffer(arg, sub + 2, base, n)?;
            left -= n;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        arg: usize,
        sub: u32,
        addr: u64,
        size: usize,
        read: bool,
    ) -> Result<(), Trouble> {
        self.weigh(2 * size as u64);
        let at = self.bytes(arg, sub, addr, size)?;
        let [name, name_len, iov, count, control, control_len] =
            *self.arena.region.record::<[u64; 6]>(at);
        if name != 0 {
            self.weigh(NAME_MOST as u64);
        }
        if read && name != 0 {
            self.bytes(arg, sub + 1, name, (name_len as u32 as usize).min(NAME_MOST))?;
        }
        let control_most = if read { CHUNK } else { CONTROL_MOST };
        let control_len = (control_len as usize).min(control_most);
        if control != 0 {
            self.weigh(control_len as u64);
        }
        if iov != 0 {
            self.vector(arg, sub, iov, count, read)?;
        }
        if read && control != 0 && control_len != 0 {
            self.bytes(arg, sub + 3, control, control_len)?;
        }
        Ok(())
    }

    fn messages(&mut self, arg: usize, addr: u64, count: u8, read: bool) -> Result<(), Trouble> {
        let count = (self.args[usize::from(count)] & 0xffff_ffff).min(MOST_VECTORS);
        for m in 0..count {
            if m > 0 && self.together > self.arena.most() as u64 {
                break; // sendmmsg(2) and recvmmsg(2) may do a part of the messages
            }
            let at = addr.wrapping_add(m * MMSGHDR as u64);
            self.message(arg, m as u32 * 4, at, MMSGHDR, read)?;
        }
        Ok(())
    }
}

/// The first thing in which a ballot differs from the one collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another call number.
    Call,
    /// The scalar or address of this argument.
    Argument(usize),
    /// A byte of what this argument leads to: argument, offset in the piece, index of the piece.
    Bytes(usize, usize, usize),
    /// What this argument leads to cannot be read in this replica only.
    Unreadable(usize),
}

/// Compares the call that `replica` stands at with a collected ballot: number, arguments, pieces.
/// `scratch` must not be empty.
pub fn compare(
    arena: Arena,
    nr: u32,
    args: &[u64; 6],
    used_args: usize,
    pieces: &[Piece],
    replica: &Replica,
    scratch: &mut [u8],
) -> Option<Difference> {
    if replica.nr != nr {
        return Some(Difference::Call);
    }
    if let Some(i) = (0..used_args).find(|i| replica.args[*i] != args[*i]) {
        return Some(Difference::Argument(i));
    }
    for (index, p) in pieces.iter().enumerate() {
        let mut done = 0;
        while done < p.len as usize {
            let n = (p.len as usize - done).min(scratch.len());
            let theirs = &mut scratch[..n];
            if memory::read(replica.pid, p.addr + done as u64, theirs).is_err() {
                return Some(Difference::Unreadable(p.arg as usize));
            }
            let ours = &*arena.region.bytes(p.offset() + done, n);
            if ours != theirs {
                let at = ours.iter().zip(&*theirs).position(|(a, b)| a != b).unwrap_or(0);
                return Some(Difference::Bytes(p.arg as usize, done + at, index));
            }
            done += n;
            if done < p.len as usize {
                arena.beat_on();
            }
        }
    }
    None
}
