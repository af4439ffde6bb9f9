//! How many bytes a buffer has: the meaning of [`Len`] in numbers.
//!
//! Invariant: no result is made of arithmetic that overflowed; memory of the program is only read
//! through the caller's function. Called by the marshaller for every buffer of a trapped call.

use super::row::{Inside, Len};

/// Largest `handle_bytes` that the kernel takes (`MAX_HANDLE_SZ`, open_by_handle_at(2)).
const MAX_HANDLE: u64 = 128;

/// `_LINUX_CAPABILITY_VERSION_1`, `_2` and `_3` (capget(2)).
const CAP_VERSIONS: [(u32, u64); 3] = [(0x1998_0330, 12), (0x2007_1026, 24), (0x2008_0522, 24)];

impl Len {
    /// The length in bytes for the call's arguments `args`; `ret` is what it returned (0 before
    /// the call), and `word` reads a `u32` at an address of the program.
    ///
    /// Before the call `word` reads the program's memory, and the lengths of `In`, `InOut` and room
    /// are settled then. After it, for what `Out` used, `word` reads what the call has written.
    ///
    /// `None` if `word` has none where one is needed (the call fails with `EFAULT`). A length that
    /// no buffer can have comes out as such, up to `u64::MAX`: the caller has its own bound. What
    /// came out may be more than the room was (recvfrom(2) with `MSG_TRUNC`, getsockname(2),
    /// getxattr(2) with size 0): **never copy more than the room**.
    pub fn bytes(
        self,
        args: &[u64; 6],
        ret: i64,
        word: &mut dyn FnMut(u64) -> Option<u32>,
    ) -> Option<u64> {
        let arg = |i: u8| args[usize::from(i)];
        let low = |i: u8| args[usize::from(i)] & 0xffff_ffff;
        let ret = u64::try_from(ret).unwrap_or(0);
        Some(match self {
            Len::Fixed(n) => u64::from(n),
            Len::Arg(i) => arg(i),
            Len::ArgTimes(i, n) => arg(i).saturating_mul(u64::from(n)),
            Len::Arg32(i) => low(i),
            Len::Times32(i, n) => low(i) * u64::from(n),
            Len::ArgPlus(i, n) => arg(i).saturating_add(u64::from(n)),
            Len::Ret => ret,
            Len::RetTimes(n) => ret.saturating_mul(u64::from(n)),
            Len::RetPlus(n) => ret.saturating_add(u64::from(n)),
            Len::IfRet(n) => {
                if ret > 0 {
                    u64::from(n)
                } else {
                    0
                }
            }
            Len::U32At(i) => match arg(i) {
                0 => 0,
                addr => u64::from(word(addr)?),
            },
            Len::FdSet(i) => low(i).div_ceil(64) * 8,
            Len::Bits(i) => low(i).div_ceil(8),
            Len::Inside(what) => what.bytes(args, word)?,
        })
    }
}

impl Inside {
    fn bytes(self, args: &[u64; 6], word: &mut dyn FnMut(u64) -> Option<u32>) -> Option<u64> {
        let mut at = |i: u8, offset: u64| match args[usize::from(i)] {
            0 => None,
            addr => word(addr.checked_add(offset)?).map(u64::from),
        };
        Some(match self {
            Inside::SchedAttr(i) => match at(i, 0)? {
                0 => 48,
                size => size.max(4),
            },
            Inside::FileHandle(i) => 8 + at(i, 0)?.min(MAX_HANDLE),
            Inside::CapData(i) => {
                let version = at(i, 0)?;
                let known = CAP_VERSIONS.iter().find(|(v, _)| u64::from(*v) == version);
                known.map_or(0, |&(_, size)| size)
            }
            Inside::Fiemap(i) => 32 + at(i, 24)? * 56,
            Inside::Dedupe(i) => 24 + (at(i, 16)? & 0xffff) * 32,
            Inside::RandPool(i) => 8 + at(i, 4)?,
        })
    }
}
