//! Ballots: collecting the bytes that a call takes in, and comparing another replica's with them.
//!
//! Invariant: whatever a replica's memory says is checked against bounds and copied before it is
//! believed; two ballots are equal only if call, arguments and every byte going in are equal.

use chameleon_sys::memory;

use crate::arena::{Arena, CHUNK, Piece, Replica};
use crate::table::row::{Arg, Len, Row};

/// Most bytes that one vector or message carries at once; more is carried in part, as
/// writev(2) may.
const VECTOR_MOST: usize = 4 << 20;

/// Bytes of a path or name at most.
const STRING_MOST: usize = 4096;

/// Sizes of the kernel's structures.
pub(crate) const IOVEC: usize = 16;
pub(crate) const MSGHDR: usize = 56;
pub(crate) const MMSGHDR: usize = 64;
/// Most vectors or messages of one call (`UIO_MAXIOV`).
pub(crate) const MOST_VECTORS: u64 = 1024;

/// Why a ballot could not be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A pointer does not lead to readable memory: the call's answer is `EFAULT`.
    Fault,
    /// A string has no end within its limit: the call's answer is `ENAMETOOLONG`.
    TooLong,
    /// A buffer is longer than any that is carried: the call's answer is `EINVAL`.
    TooMuch,
    /// No room in the data ring until replicas that are behind have caught up.
    Full,
}

/// Collects the bytes going in of a call that replica `pid` made, into the task's data.
pub struct Gather<'a> {
    arena: Arena,
    task: usize,
    pid: u32,
    args: [u64; 6],
    /// The call may do a part of what it was asked for.
    in_parts: bool,
    /// What was collected.
    pieces: &'a mut Vec<Piece>,
}

impl<'a> Gather<'a> {
    /// For the call at the head of `task` as `replica` made it; `pieces` is scratch.
    pub fn new(arena: Arena, task: usize, replica: &Replica, pieces: &'a mut Vec<Piece>) -> Self {
        pieces.clear();
        let in_parts = matches!(
            i64::from(replica.nr),
            libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto
        );
        Self { arena, task, pid: replica.pid, args: replica.args, in_parts, pieces }
    }

    /// Collects everything that `row` says goes in.
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
                    if whole > CHUNK as u64 && !self.in_parts {
                        return Err(Trouble::TooMuch);
                    }
                    self.bytes(i, 0, addr, whole.min(CHUNK as u64) as usize)?;
                }
                Arg::IovIn(c) => self.vector(i, 0, addr, self.args[usize::from(c)], true)?,
                Arg::IovOut(c) => self.vector(i, 0, addr, self.args[usize::from(c)], false)?,
                Arg::MsgIn => self.message(i, 0, addr, MSGHDR, true)?,
                Arg::MsgOut => self.message(i, 0, addr, MSGHDR, false)?,
                Arg::MmsgIn(c) => self.messages(i, addr, c, true)?,
                Arg::MmsgOut(c) => self.messages(i, addr, c, false)?,
                Arg::Int | Arg::Fd | Arg::DirFd | Arg::Addr | Arg::Out { .. } => {}
            }
        }
        Ok(())
    }

    fn length(&self, len: Len) -> Result<u64, Trouble> {
        let mut word = |addr| memory::read_value::<u32>(self.pid, addr).ok();
        len.bytes(&self.args, 0, &mut word).ok_or(Trouble::Fault)
    }

    fn bytes(&mut self, arg: usize, sub: u32, addr: u64, len: usize) -> Result<usize, Trouble> {
        let at = self.arena.take_data(self.task, len.max(8)).ok_or(Trouble::Full)?;
        let room = self.arena.region.bytes(at, len);
        let mut len = len;
        if memory::read(self.pid, addr, room).is_err() {
            // write(2) takes what is there before the fault.
            len = memory::read_some(self.pid, addr, room);
            if len == 0 || !self.in_parts {
                return Err(Trouble::Fault);
            }
        }
        self.pieces.push(Piece {
            addr,
            len: len as u32,
            at8: (at / 8) as u32,
            arg: arg as u32,
            sub,
        });
        Ok(at)
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
        let at = self.arena.take_data(self.task, n).ok_or(Trouble::Full)?;
        self.arena.region.bytes(at, n).copy_from_slice(&buf[..n]);
        let piece = Piece { addr, len: n as u32, at8: (at / 8) as u32, arg: arg as u32, sub: 0 };
        self.pieces.push(piece);
        Ok(())
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
        let at = self.bytes(arg, sub + 2, addr, count as usize * IOVEC)?;
        if !read {
            return Ok(());
        }
        let mut left = VECTOR_MOST;
        for v in 0..count as usize {
            let [base, len] = *self.arena.region.record::<[u64; 2]>(at + v * IOVEC);
            let n = (len as usize).min(left);
            self.bytes(arg, sub + 2, base, n)?;
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
        let at = self.bytes(arg, sub, addr, size)?;
        let [name, name_len, iov, count, control, control_len] =
            *self.arena.region.record::<[u64; 6]>(at);
        if read && name != 0 {
            self.bytes(arg, sub + 1, name, (name_len as u32).min(128) as usize)?;
        }
        if iov != 0 {
            self.vector(arg, sub, iov, count, read)?;
        }
        if read && control != 0 && control_len != 0 {
            self.bytes(arg, sub + 3, control, (control_len as usize).min(CHUNK))?;
        }
        Ok(())
    }

    fn messages(&mut self, arg: usize, addr: u64, count: u8, read: bool) -> Result<(), Trouble> {
        let count = (self.args[usize::from(count)] & 0xffff_ffff).min(MOST_VECTORS);
        for m in 0..count {
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
        }
    }
    None
}
