//! Readings of the time stamp counter inside a replica: the code of the program that makes them is
//! led to that which reads clocks (`crate::clock`), and the time is told in ticks.
//!
//! ```text
//!  rdtsc; shl $32,%rdx; or %rdx,%rax  ──patched──►  jmp *STUB ──► stub ──► clock ──► stub:
//!                                                                      shl, or ──► behind the site
//! ```
//!
//! rdtsc has two bytes and the jump seven, so what follows is done in the stub. Only a few kinds of
//! instructions are taken along, which do the same wherever they stand, and at the end a jump.
//!
//! Invariant: as much as the program can see of a reading is what the instruction does: rax, rdx and,
//! of rdtscp, rcx (0). What is below the red zone of its stack is used.

use bytemuck::{Pod, Zeroable};

use crate::clock::{self, PRIVATE};
use crate::inside::is_jumped_into;

/// A page below 2 GiB: `jmp *disp32` reaches it from anywhere. Next to `inside::SLOTS`.
pub const STUBS: u64 = 0x7ffe_0000;
/// Its bytes: the address of the code that reads, then stubs.
pub const STUBS_LEN: u64 = 4096;
/// Stubs in it.
pub const MOST_STUBS: u64 = 41;
const STUB_LEN: u64 = 96;

/// Where a replica's [`State`] is, in the page of its own that clocks have.
pub const STATE: u64 = PRIVATE + 0x100;
/// Readings at one place from which on it is worth while to patch it.
pub const OFTEN: u64 = 8;
/// In place of a number of readings: the place cannot be patched.
const NEVER: u64 = u64::MAX;
/// Places that are kept.
const PLACES: usize = 64;

/// What a replica knows of its readings, in its own memory: so a copy of it knows the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct State {
    /// How time is told in ticks; zeros before the first reading.
    pub scale: Scale,
    /// Where the reading that has trapped goes on.
    pub back: u64,
    /// Stubs in use.
    pub stubs: u64,
    /// Addresses of readings that have trapped, and how often, or [`NEVER`]. 0 for none yet.
    places: [[u64; 2]; PLACES],
}

/// What is to be done about a reading that has trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trapped {
    /// There are not many there.
    Seldom,
    /// The place is to be patched.
    Often,
    /// It cannot be.
    Hopeless,
}

impl State {
    /// Counts a reading at `at`.
    pub fn count(&mut self, at: u64) -> Trapped {
        let Some(place) = self.places.iter_mut().find(|p| p[0] == at || p[0] == 0) else {
            return Trapped::Hopeless;
        };
        place[0] = at;
        if place[1] == NEVER {
            return Trapped::Hopeless;
        }
        place[1] += 1;
        if place[1] < OFTEN { Trapped::Seldom } else { Trapped::Often }
    }

    /// The place of a reading cannot be patched.
    pub fn give_up(&mut self, at: u64) {
        if let Some(place) = self.places.iter_mut().find(|p| p[0] == at) {
            place[1] = NEVER;
        }
    }

    /// Whether readings were made at `at`, and it may be patched yet.
    pub fn may_become_often(&self, at: u64) -> bool {
        at != 0 && self.places.iter().any(|p| p[0] == at && p[1] != NEVER)
    }
}

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_MONOTONIC_RAW, in nanoseconds.
    pub ns: u64,
    /// The time stamp counter.
    pub ticks: u64,
}

/// How many looks at both clocks; the one that took least is taken.
const LOOKS: usize = 5;

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let look = |_| {
            let before = crate::tracee::time_stamp();
            let ns = crate::raw::clock_ns(libc::CLOCK_MONOTONIC_RAW);
            let took = crate::tracee::time_stamp() - before;
            (took, Self { ns, ticks: before + took / 2 })
        };
        (0..LOOKS).map(look).min_by_key(|(took, _)| *took).map_or_else(Self::default, |m| m.1)
    }
}

/// What a time of CLOCK_MONOTONIC_RAW is in ticks of the time stamp counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Scale {
    ns: u64,
    /// Ticks in 2^32 nanoseconds.
    rate: u64,
    ticks: u64,
}

impl Scale {
    /// That which is right at two moments.
    pub fn between(first: Moment, second: Moment) -> Self {
        let ns = second.ns.saturating_sub(first.ns).max(1);
        let ticks = second.ticks.saturating_sub(first.ticks);
        let rate = (u128::from(ticks) << 32) / u128::from(ns);
        Self { ns: first.ns, rate: rate as u64, ticks: first.ticks }
    }

    /// A time in ticks, as `crate::clock` tells it.
    pub fn at(&self, ns: u64) -> u64 {
        let since = u128::from(ns.wrapping_sub(self.ns)) * u128::from(self.rate);
        ((since >> 32) as u64).wrapping_add(self.ticks)
    }

    /// Whether there is none yet.
    pub fn is_none(&self) -> bool {
        self.rate == 0
    }
}

/// Bytes of the reading that `code` begins with: of rdtsc 2, of rdtscp 3.
pub fn reading(code: &[u8]) -> Option<u64> {
    match code {
        [0x0f, 0x31, ..] => Some(2),
        [0x0f, 0x01, 0xf9, ..] => Some(3),
        _ => None,
    }
}

/// How far before the end of `code` a reading begins, or what looks like one, if a patch of it would
/// change what stands at that end.
pub fn shortly_before(code: &[u8]) -> Option<u64> {
    let from = code.len().saturating_sub(JUMP_LEN - 1);
    let at = (from..code.len()).find(|i| reading(&code[*i..]).is_some())?;
    Some((code.len() - at) as u64)
}

/// A reading that can be patched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// rdtscp.
    pub numbered: bool,
    /// The instructions behind it that are done in the stub.
    pub taken: Vec<u8>,
    /// The jump behind these, if one was taken, too.
    pub jump: Option<Jump>,
}

/// A jump of the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Its bytes.
    len: usize,
    /// Its condition (Intel SDM, Jcc: the low half of the opcode), if it has one.
    condition: Option<u8>,
    /// How far it goes from its end.
    by: i64,
}

impl Jump {
    /// The jump that `code` begins with.
    fn decode(code: &[u8]) -> Option<Self> {
        let far = |at: usize| Some(i64::from(i32::from_le_bytes(*code.get(at..)?.first_chunk()?)));
        let (len, condition, by) = match *code.first_chunk::<2>()? {
            [c @ 0x70..=0x7f, by] => (2, Some(c & 15), i64::from(by as i8)),
            [0xeb, by] => (2, None, i64::from(by as i8)),
            [0x0f, c @ 0x80..=0x8f] => (6, Some(c & 15), far(2)?),
            [0xe9, _] => (5, None, far(1)?),
            _ => return None,
        };
        Some(Self { len, condition, by })
    }
}

impl Site {
    /// Bytes from its first to where the program goes on.
    pub fn length(&self) -> u64 {
        (self.head() + self.taken.len() + self.jump.map_or(0, |j| j.len)) as u64
    }

    fn head(&self) -> usize {
        if self.numbered { 3 } else { 2 }
    }
}

/// Bytes of [`jump`].
const JUMP_LEN: usize = 7;
/// The most bytes of one instruction that is taken along.
const MOST_TAKEN: usize = 10;

/// The reading at `at` in a piece of text, if it can be patched.
pub fn site(text: &[u8], at: usize) -> Option<Site> {
    let head = reading(text.get(at..)?)? as usize;
    let (mut ends, mut jump) = (Vec::with_capacity(JUMP_LEN), None);
    let mut end = at + head;
    let enough = at + JUMP_LEN;
    while end < enough && jump.is_none() {
        ends.push(end);
        jump = Jump::decode(text.get(end..)?);
        if jump.is_none() {
            end += length(text.get(end..)?)?;
        }
    }
    let taken = text.get(at + head..end)?.to_vec();
    let site = Site { numbered: head == 3, taken, jump };
    let fits = site.length() >= JUMP_LEN as u64;
    (fits && !is_jumped_into(text, at, |to| ends.contains(&to))).then_some(site)
}

/// The length of the instruction that `code` begins with, if it does the same wherever it stands and
/// neither jumps nor uses the stack but by a word near its pointers.
fn length(code: &[u8]) -> Option<usize> {
    if code.starts_with(&[0x0f, 0xae]) {
        return matches!(code.get(2)?, 0xe8 | 0xf0 | 0xf8).then_some(3); // fences
    }
    let rex = *code.first()? & 0xf0 == 0x40;
    let wide = rex && code[0] & 8 != 0;
    let at = usize::from(rex);
    let immediate = match *code.get(at)? {
        0xb8..=0xbf => return Some(at + if wide { 9 } else { 5 }),
        // add, or, and, sub, xor, cmp, test, mov
        0x01 | 0x03 | 0x09 | 0x0b | 0x21 | 0x23 | 0x29 | 0x2b | 0x31 | 0x33 | 0x39 | 0x3b => 0,
        0x85 | 0x89 | 0x8b | 0xd1 => 0,
        0x83 | 0xc1 => 1,
        0x81 | 0xc7 => 4,
        _ => return None,
    };
    let modrm = *code.get(at + 1)?;
    if code[at] == 0xc7 && modrm & 0x38 != 0 {
        return None; // xbegin
    }
    let register = modrm & 7 | if rex { code[0] << 3 & 8 } else { 0 };
    let memory = match (modrm >> 6, register) {
        (3, _) => 0,
        (1, 5) => 1, // from rbp
        (2, 5) => 4,
        (mode, 4) if code.get(at + 2) == Some(&0x24) => [1, 2, 5][usize::from(mode)], // from rsp
        _ => return None,
    };
    let len = at + 2 + memory + immediate;
    (len <= MOST_TAKEN).then_some(len)
}

/// Where stub number `index` begins, with the address of its code.
pub fn stub_at(index: u64) -> u64 {
    STUBS + (index + 1) * STUB_LEN
}

/// Where the code of a stub begins.
pub fn stub_code(index: u64) -> u64 {
    stub_at(index) + 8
}

/// What replaces a site's first bytes: `jmp *STUB`.
pub fn jump(index: u64) -> [u8; JUMP_LEN] {
    let mut code = [0xff, 0x24, 0x25, 0, 0, 0, 0];
    code[3..].copy_from_slice(&(stub_at(index) as u32).to_le_bytes());
    code
}

/// Whether `code` begins with what replaces a site.
pub fn is_jump(code: &[u8]) -> bool {
    (0..MOST_STUBS).any(|index| code.starts_with(&jump(index)))
}

/// Stub number `index`, for a site that goes on at `resume`.
pub fn stub(index: u64, site: &Site, resume: u64) -> Vec<u8> {
    let mut code = stub_code(index).to_le_bytes().to_vec();
    code.extend([0x48, 0x8d, 0x64, 0x24, 0x80]); // lea -128(%rsp),%rsp
    code.extend([0xff, 0x14, 0x25]); // call *STUBS
    code.extend((STUBS as u32).to_le_bytes());
    if site.numbered {
        code.extend([0xb9, 0, 0, 0, 0]); // TSC_AUX would be the CPU number
    }
    code.extend(&site.taken);
    let go = |code: &mut Vec<u8>, to: u64| {
        code.extend([0xff, 0x25, 0, 0, 0, 0]); // jmp *0(%rip)
        code.extend(to.to_le_bytes());
    };
    match site.jump {
        None => go(&mut code, resume),
        Some(Jump { condition: None, by, .. }) => go(&mut code, resume.wrapping_add_signed(by)),
        Some(Jump { condition: Some(c), by, .. }) => {
            code.extend([0x70 | c, 14]); // over what follows
            go(&mut code, resume);
            go(&mut code, resume.wrapping_add_signed(by));
        }
    }
    code
}

/// What the page of stubs begins with.
pub fn head() -> [u8; 8] {
    clock::stamp().to_le_bytes()
}

#[cfg(test)]
mod tests;
