//! From a decided ballot to the executor's request, and from its result to what every replica is
//! given: the same table row read in both directions.
//!
//! Invariant: no pointer of the program reaches the executor; each is replaced by the address of
//! arena memory that is at least as long as the row says.

use chameleon_sys::executor::slot;

use crate::arena::{Arena, Piece, TOGETHER};
use crate::ballot::{
    CONTROL_MOST, IOVEC, MMSGHDR, MOST_VECTORS, MSGHDR, NAME_MOST, POINTING, collected_word,
    ifconf_room, leads_nowhere, pointed, room_most,
};
use crate::table::row::{Arg, Len, Row};

/// Builds requests and collects results for one task.
#[derive(Clone, Copy, Debug)]
pub struct Marshal {
    /// The arena.
    pub arena: Arena,
    /// The task.
    pub task: usize,
}

impl Marshal {
    fn address(&self, offset: usize) -> u64 {
        self.arena.region.address(offset)
    }

    fn ins(&self) -> &'static [Piece] {
        let head = self.arena.task(self.task).head;
        let e = self.arena.entry(self.task, head);
        self.arena.pieces(e.ins_at, e.ins)
    }

    /// Whether the call at the head has its buffers in the long area.
    fn long(&self) -> bool {
        let head = self.arena.task(self.task).head;
        self.arena.entry(self.task, head).long != 0
    }

    fn word(&self, addr: u64) -> Option<u32> {
        collected_word(self.arena, self.ins(), addr)
    }

    fn room(&self, len: Len, args: &[u64; 6]) -> usize {
        let n = len.bytes(args, 0, &mut |a| self.word(a)).unwrap_or(0);
        n.min(room_most(self.arena, len, self.long())) as usize
    }

    /// Room for what goes to `addr`; it may hold what was here before.
    fn take_unclean(&self, addr: u64, len: usize) -> Option<usize> {
        self.arena.take_like(self.task, addr, len.max(8), self.long())
    }

    fn take(&self, len: usize) -> Option<usize> {
        let at = self.arena.take(self.task, len.max(8), self.long())?;
        if !self.long() {
            self.arena.region.bytes(at, len).fill(0);
        }
        Some(at)
    }

    /// The executor's arguments for the call at the head. `None` while the data ring is too full.
    pub fn request(&self, row: &Row) -> Option<[u64; 6]> {
        let head = self.arena.task(self.task).head;
        let e = self.arena.entry(self.task, head);
        let mut args = e.args;
        for (i, arg) in row.args.iter().enumerate() {
            let pointer = !matches!(arg, Arg::Int | Arg::Fd | Arg::DirFd | Arg::Addr);
            if e.args[i] == 0 || pointer && leads_nowhere(e.args[i]) {
                continue; // as it is: the kernel answers the executor what it would the program
            }
            let first = self.ins().iter().find(|p| p.arg as usize == i);
            match *arg {
                Arg::Int | Arg::Fd | Arg::DirFd | Arg::Addr => {}
                Arg::Path | Arg::Str => args[i] = self.address(first?.offset()),
                Arg::In(len) => {
                    let p = first?;
                    args[i] = self.address(p.offset());
                    clamp(&mut args, len, p.len as usize);
                }
                Arg::Out { cap, used } => {
                    let n = self.room(cap, &e.args);
                    // What the result counts is what the kernel wrote; elsewhere it may leave gaps,
                    // which must not show what was here before.
                    let counted = matches!(used, Len::Ret | Len::RetTimes(_));
                    let at = match counted {
                        true => self.take_unclean(e.args[i], n),
                        false => self.take(n),
                    };
                    args[i] = self.address(at?);
                    clamp(&mut args, cap, n);
                }
                Arg::InOut(_) | Arg::InOutAlways(_) => {
                    let p = first?;
                    let at = self.take(p.len as usize)?;
                    self.copy(p.offset(), at, p.len as usize);
                    args[i] = self.address(at);
                }
                Arg::IovIn(c) | Arg::IovOut(c) => {
                    let count = e.args[usize::from(c)];
                    if count > 0 && count <= MOST_VECTORS {
                        let read = matches!(arg, Arg::IovIn(_));
                        let (at, n) = self.vector(i, 0, count as usize, read)?;
                        args[i] = self.address(at);
                        args[usize::from(c)] = n as u64;
                    }
                }
                Arg::MsgIn | Arg::MsgOut => {
                    let at = self.take(MSGHDR)?;
                    self.message(i, 0, at, MSGHDR, matches!(arg, Arg::MsgIn))?;
                    args[i] = self.address(at);
                }
                Arg::MmsgIn(c) | Arg::MmsgOut(c) => {
                    let count = (e.args[usize::from(c)] & 0xffff_ffff).min(MOST_VECTORS) as usize;
                    let at = self.take(count * MMSGHDR)?;
                    let mut collected = 0;
                    while collected < count {
                        let (m, here) = (collected as u32 * 4, at + collected * MMSGHDR);
                        if self.pieces_of(i, m).next().is_none() {
                            break;
                        }
                        self.message(i, m, here, MMSGHDR, matches!(arg, Arg::MmsgIn(_)))?;
                        collected += 1;
                    }
                    args[i] = self.address(at);
                    args[usize::from(c)] = collected as u64;
                }
                Arg::Filter | Arg::Ifconf => {
                    let at = self.take(POINTING)?;
                    self.copy(first?.offset(), at, POINTING);
                    self.point(i, at, *arg)?;
                    args[i] = self.address(at);
                }
            }
        }
        // Where a word in memory says how long a buffer is, it says at most what was taken.
        for (i, arg) in row.args.iter().enumerate() {
            if let Arg::Out { cap: cap @ Len::U32At(at), .. } = *arg
                && e.args[i] != 0
                && let Some(o) = self.arena.region.offset_of(args[usize::from(at)])
            {
                let word = self.arena.region.record::<u32>(o);
                *word = (*word).min(room_most(self.arena, cap, self.long()) as u32);
            }
        }
        Some(args)
    }

    /// What a structure at `at` that says how much there is and where, says to the executor.
    fn point(&self, arg: usize, at: usize, kind: Arg) -> Option<()> {
        let (count, place) = pointed(self.arena, at);
        let there = match kind {
            Arg::Ifconf if place != 0 => {
                let n = ifconf_room(count);
                *self.arena.region.record::<i32>(at) = (count as i32).min(n as i32);
                self.address(self.take(n)?)
            }
            _ => match self.pieces_of(arg, 1).next() {
                Some(p) => self.address(p.offset()),
                None => place, // null, or where nothing is
            },
        };
        *self.arena.region.record::<u64>(at + 8) = there;
        Some(())
    }

    fn copy(&self, from: usize, to: usize, len: usize) {
        let source = &*self.arena.region.bytes(from, len);
        self.arena.region.bytes(to, len).copy_from_slice(source);
    }

    fn pieces_of(&self, arg: usize, sub: u32) -> impl Iterator<Item = &'static Piece> {
        self.ins().iter().filter(move |p| p.arg as usize == arg && p.sub == sub)
    }

    /// A vector for the executor: its place and how many buffers it has.
    fn vector(&self, arg: usize, sub: u32, count: usize, read: bool) -> Option<(usize, usize)> {
        let mut pieces = self.pieces_of(arg, sub + 2);
        let array = pieces.next()?;
        let at = self.take(count * IOVEC)?;
        let mut left = if self.long() { self.arena.most() } else { TOGETHER };
        let mut used = 0;
        for v in 0..count {
            let [base, len] = *self.arena.region.record::<[u64; 2]>(array.offset() + v * IOVEC);
            let (offset, n) = if read {
                let Some(p) = pieces.next() else { break };
                (p.offset(), p.len as usize)
            } else {
                let n = (len as usize).min(left);
                left -= n;
                (self.take_unclean(base, n)?, n)
            };
            *self.arena.region.record::<[u64; 2]>(at + v * IOVEC) =
                [self.address(offset), n as u64];
            used += 1;
            if !read && left == 0 {
                break;
            }
        }
        Some((at, used))
    }

    /// A message header for the executor at `at`.
    fn message(&self, arg: usize, sub: u32, at: usize, size: usize, read: bool) -> Option<()> {
        let original = self.pieces_of(arg, sub).next()?;
        self.copy(original.offset(), at, size);
        let h = self.arena.region.record::<[u64; 6]>(at);
        let [name, name_len, iov, count, control, control_len] = *h;
        if name != 0 {
            let n = (name_len as u32 as usize).min(NAME_MOST);
            h[0] = match self.pieces_of(arg, sub + 1).next() {
                Some(p) if read => self.address(p.offset()),
                _ => self.address(self.take(n)?),
            };
            h[1] = (name_len & !0xffff_ffff) | n as u64;
        }
        if iov != 0 && count > 0 && count <= MOST_VECTORS {
            let (array, n) = self.vector(arg, sub, count as usize, read)?;
            h[2] = self.address(array);
            h[3] = n as u64;
        }
        if control != 0 && control_len != 0 {
            h[4] = match self.pieces_of(arg, sub + 3).next() {
                Some(p) if read => self.address(p.offset()),
                _ => {
                    h[5] = control_len.min(CONTROL_MOST as u64);
                    self.address(self.take(h[5] as usize)?)
                }
            };
        }
        Some(())
    }

    /// What came out of the call at the head that returned `ret`, as pieces to be written into
    /// every replica.
    pub fn result(&self, row: &Row, ret: i64, out: &mut Vec<Piece>) {
        out.clear();
        let head = self.arena.task(self.task).head;
        let e = self.arena.entry(self.task, head);
        let performed =
            *self.arena.region.record::<[u64; 6]>(self.arena.slot(self.task) + slot::ARGS);
        for (i, arg) in row.args.iter().enumerate() {
            let (addr, Some(at)) = (e.args[i], self.arena.region.offset_of(performed[i])) else {
                continue;
            };
            if addr == 0 {
                continue;
            }
            match *arg {
                Arg::Out { cap, used } if ret >= 0 => {
                    let room = self.room(cap, &e.args);
                    let n = used
                        .bytes(&e.args, ret, &mut |a| self.word_after(row, &performed, a))
                        .unwrap_or(0);
                    push(out, addr, at, room.min(n as usize), i);
                }
                Arg::InOut(_) if ret < 0 => {}
                Arg::InOut(_) | Arg::InOutAlways(_) => {
                    let n = self.pieces_of(i, 0).next().map_or(0, |p| p.len);
                    push(out, addr, at, n as usize, i);
                }
                Arg::IovOut(_) if ret > 0 => {
                    self.scatter(i, 0, at, ret as usize, out);
                }
                Arg::Ifconf if ret >= 0 => {
                    let Some(p) = self.pieces_of(i, 0).next() else { continue };
                    let (room, place) = pointed(self.arena, p.offset());
                    let (filled, ours) = pointed(self.arena, at);
                    push(out, addr, at, 4, i);
                    if let Some(o) = self.arena.region.offset_of(ours).filter(|_| place != 0) {
                        push(out, place, o, ifconf_room(filled).min(ifconf_room(room)), i);
                    }
                }
                Arg::MsgOut if ret >= 0 => self.received(i, 0, addr, at, ret as usize, out),
                Arg::MmsgOut(_) | Arg::MmsgIn(_) if ret > 0 => {
                    for m in 0..ret as usize {
                        let (theirs, ours) = (addr + (m * MMSGHDR) as u64, at + m * MMSGHDR);
                        let len = *self.arena.region.record::<u32>(ours + MSGHDR) as usize;
                        if matches!(arg, Arg::MmsgOut(_)) {
                            self.received(i, m as u32 * 4, theirs, ours, len, out);
                        }
                        push(out, theirs + MSGHDR as u64, ours + MSGHDR, 4, i);
                    }
                }
                _ => {}
            }
        }
    }

    /// A word of the program's memory as the executor's call left it.
    fn word_after(&self, row: &Row, performed: &[u64; 6], addr: u64) -> Option<u32> {
        let head = self.arena.task(self.task).head;
        let e = self.arena.entry(self.task, head);
        let i = (0..row.args.len()).find(|i| {
            e.args[*i] == addr
                && match row.args[*i] {
                    Arg::InOut(_) | Arg::InOutAlways(_) => true,
                    // A structure that begins with its own size, as the kernel has written it.
                    Arg::Out { cap, .. } => self.room(cap, &e.args) >= size_of::<u32>(),
                    _ => false,
                }
        });
        match i.and_then(|i| self.arena.region.offset_of(performed[i])) {
            Some(at) => Some(*self.arena.region.record::<u32>(at)),
            None => self.word(addr),
        }
    }

    /// Spreads `len` bytes over the buffers of the program's vector. `at` is our vector.
    fn scatter(&self, arg: usize, sub: u32, at: usize, len: usize, out: &mut Vec<Piece>) {
        let Some(array) = self.pieces_of(arg, sub + 2).next() else { return };
        let mut left = len;
        for v in 0..array.len as usize / IOVEC {
            if left == 0 {
                break;
            }
            let [theirs, _] = *self.arena.region.record::<[u64; 2]>(array.offset() + v * IOVEC);
            let [ours, room] = *self.arena.region.record::<[u64; 2]>(at + v * IOVEC);
            let n = left.min(room as usize);
            if let Some(o) = self.arena.region.offset_of(ours) {
                push(out, theirs, o, n, arg);
            }
            left -= n;
        }
    }

    fn received(
        &self,
        arg: usize,
        sub: u32,
        theirs: u64,
        ours: usize,
        len: usize,
        out: &mut Vec<Piece>,
    ) {
        let Some(original) = self.pieces_of(arg, sub).next() else { return };
        let [name, name_len, _, _, control, room] =
            *self.arena.region.record::<[u64; 6]>(original.offset());
        let [our_name, our_name_len, our_iov, _, our_control, our_control_len] =
            *self.arena.region.record::<[u64; 6]>(ours);
        if let Some(at) = self.arena.region.offset_of(our_name).filter(|_| name != 0) {
            let n = (our_name_len as u32).min(name_len as u32) as usize;
            push(out, name, at, n.min(NAME_MOST), arg);
        }
        if let Some(at) = self.arena.region.offset_of(our_iov) {
            self.scatter(arg, sub, at, len, out);
        }
        if let Some(at) = self.arena.region.offset_of(our_control).filter(|_| control != 0) {
            push(out, control, at, our_control_len.min(room) as usize, arg);
        }
        // What the kernel changes in the header: the name's length, the control data's, flags.
        push(out, theirs + 8, ours + 8, 4, arg);
        push(out, theirs + 40, ours + 40, 12, arg);
    }
}

fn push(out: &mut Vec<Piece>, addr: u64, at: usize, len: usize, arg: usize) {
    if len > 0 {
        let (at, arg) = (at as u64, arg as u32);
        out.push(Piece { addr, at, len: len as u32, arg, sub: 0, spare: 0 });
    }
}

/// Where a buffer is carried only in part, the argument that says its length says so too: a part
/// is a legal answer of every call that gets here with more (see `ballot::Trouble::TooMuch`).
fn clamp(args: &mut [u64; 6], len: Len, carried: usize) {
    let carried = carried as u64;
    match len {
        Len::Arg(i) => args[usize::from(i)] = args[usize::from(i)].min(carried),
        Len::ArgPlus(i, n) => {
            let most = carried.saturating_sub(u64::from(n));
            args[usize::from(i)] = args[usize::from(i)].min(most);
        }
        Len::ArgTimes(i, n) => {
            let most = carried / u64::from(n.max(1));
            args[usize::from(i)] = args[usize::from(i)].min(most);
        }
        Len::Arg32(i) if args[usize::from(i)] & 0xffff_ffff > carried => {
            args[usize::from(i)] = carried;
        }
        // A count that is negative as an int must stay what it is: the kernel's EINVAL.
        Len::Times32(i, n)
            if (args[usize::from(i)] as i32) > 0
                && (args[usize::from(i)] & 0xffff_ffff) * u64::from(n) > carried =>
        {
            args[usize::from(i)] = carried / u64::from(n.max(1));
        }
        _ => {}
    }
}
