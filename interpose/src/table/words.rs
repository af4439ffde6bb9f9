//! The words in which rows are written: short constructors for [`Row`] and its parts.
//!
//! Invariant: constant functions only; a family file is data and nothing else. Used by the family
//! files of the table and by the tables of requests.

pub(super) use super::row::Arg::{
    Addr, DirFd, Fd, Filter, Ifconf, In, InOut, InOutAlways, Int, IovIn, IovOut, MmsgIn, MmsgOut,
    MsgIn, MsgOut, Out, Path, Str,
};
pub(super) use super::row::Class::{First, Mirror, Native, Nosys, Refused, Sync};
pub(super) use super::row::{Arg, Class, Inside, Len, Restart, Row, Special};

/// A row and the number (of the call or of the request) under which it is found.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The number.
    pub nr: u32,
    /// What it says.
    pub row: Row,
}

/// An entry that never waits; [`Entry::waits`] and [`Entry::sleeps`] say otherwise.
pub(super) const fn call(nr: u32, name: &'static str, class: Class, args: &'static [Arg]) -> Entry {
    let errno = match class {
        Class::Nosys => libc::ENOSYS,
        Class::Refused => libc::EPERM,
        _ => 0,
    };
    let row = Row {
        name,
        class,
        args,
        restart: Restart::No,
        blocks: false,
        retracted: false,
        errno,
        note: "",
    };
    Entry { nr, row }
}

impl Entry {
    /// May wait for ever; a handler with `SA_RESTART` has it restarted.
    pub(super) const fn waits(mut self) -> Entry {
        self.row.blocks = true;
        self.row.restart = Restart::Sys;
        self
    }

    /// May wait for ever; every handler ends it with `EINTR`.
    pub(super) const fn sleeps(mut self) -> Entry {
        self.row.blocks = true;
        self
    }

    /// May wait for ever; no handler ends it.
    pub(super) const fn goes_on(mut self) -> Entry {
        self.row.blocks = true;
        self.row.restart = Restart::Always;
        self
    }

    /// A roll-back can take it back.
    pub(super) const fn retracted(mut self) -> Entry {
        self.row.retracted = true;
        self
    }

    /// Why it is classified so.
    pub(super) const fn note(mut self, why: &'static str) -> Entry {
        self.row.note = why;
        self
    }

    /// The error of a Nosys or Refused row, where it is not the usual one.
    pub(super) const fn error(mut self, errno: i32) -> Entry {
        self.row.errno = errno;
        self
    }
}

/// A call with a handler of its own.
pub(super) const fn own(handler: Special) -> Class {
    Class::Special(handler)
}

/// The kernel reads `n` bytes.
pub(super) const fn reads(n: u32) -> Arg {
    In(Len::Fixed(n))
}

/// The kernel reads as many bytes as argument `i` (a `size_t`) says.
pub(super) const fn reads_arg(i: u8) -> Arg {
    In(Len::Arg(i))
}

/// The kernel reads as many bytes as argument `i` (an `int`) says.
pub(super) const fn reads_arg32(i: u8) -> Arg {
    In(Len::Arg32(i))
}

/// The kernel writes `n` bytes.
pub(super) const fn writes(n: u32) -> Arg {
    Out { cap: Len::Fixed(n), used: Len::Fixed(n) }
}

/// Room of argument `i` (a `size_t`) bytes, of which the result says how many are filled.
pub(super) const fn fills(i: u8) -> Arg {
    Out { cap: Len::Arg(i), used: Len::Ret }
}

/// Room of argument `i` (an `int`) bytes, of which the result says how many are filled.
pub(super) const fn fills32(i: u8) -> Arg {
    Out { cap: Len::Arg32(i), used: Len::Ret }
}

/// Room whose size is the `u32` at argument `i`, which the kernel then sets to what it has.
pub(super) const fn fills_at(i: u8) -> Arg {
    Out { cap: Len::U32At(i), used: Len::U32At(i) }
}

/// The kernel reads `n` bytes and writes them anew.
pub(super) const fn updates(n: u32) -> Arg {
    InOut(Len::Fixed(n))
}

/// The kernel reads `n` bytes and may write them anew, even when the call fails.
pub(super) const fn touches(n: u32) -> Arg {
    InOutAlways(Len::Fixed(n))
}
