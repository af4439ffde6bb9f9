//! The few instructions that must be known: those that draw random numbers, and those that are
//! found behind them.
//!
//! Invariant: what is not known for sure is no random number; never reads beyond its slice.

use memchr::memmem;

/// How many bytes around a place are looked at, at most.
pub const CONTEXT: usize = 128;

/// Instructions followed behind a place.
const WALK: usize = 8;

/// A random number that was to be drawn where a replica has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Where its opcode is, counted from the start of the instruction.
    pub opcode: u64,
    /// Bytes of the whole instruction.
    pub len: u64,
    /// The register it goes to, by its number in the processor (0 rax, 1 rcx, 2 rdx, 3 rbx …).
    pub register: usize,
    /// Bits of the number: 16, 32 or 64.
    pub bits: u32,
}

impl Draw {
    /// What `code` was to do before its opcode became UD2's.
    pub fn decode(code: &[u8]) -> Option<Self> {
        let (wide, rex, at) = prefixes(code);
        let [0x0f, 0x0b, modrm @ 0xf0..=0xff] = *code.get(at..at + 3)? else { return None };
        let bits = match (rex & 8 != 0, wide) {
            (true, _) => 64,
            (false, true) => 16,
            (false, false) => 32,
        };
        let register = usize::from(modrm & 7 | (rex & 1) << 3);
        Some(Self { opcode: at as u64, len: at as u64 + 3, register, bits })
    }
}

/// Whether there is the prefix of 16-bit operands, the REX prefix or 0, and where the opcode is.
fn prefixes(code: &[u8]) -> (bool, u8, usize) {
    let mut at = 0;
    while code.get(at) == Some(&0x66) && at < 4 {
        at += 1;
    }
    match code.get(at) {
        Some(rex @ 0x40..=0x4f) => (at > 0, *rex, at + 1),
        _ => (at > 0, 0, at),
    }
}

/// Where in `code` random numbers are drawn: the offsets of the opcodes (`0f`). Places closer to
/// either end than what has to be seen of their surroundings are left out.
pub fn find(code: &[u8]) -> impl Iterator<Item = usize> {
    memmem::find_iter(code, b"\x0f\xc7").filter(|at| draws(code, *at))
}

fn draws(code: &[u8], at: usize) -> bool {
    let Some(&before) = code[..at].last_chunk::<4>() else { return false };
    let Some(modrm @ 0xf0..) = code.get(at + 2) else { return false };
    let available = if *modrm < 0xf8 {
        std::arch::is_x86_feature_detected!("rdrand")
    } else {
        std::arch::is_x86_feature_detected!("rdseed")
    };
    if !available || is_displacement(before) || is_table(code, at) {
        return false;
    }
    // The byte in front may be a REX prefix or the end of another instruction.
    let high = matches!(before[3], 0x40..=0x4f) && before[3] & 1 != 0;
    let low = modrm & 7;
    let registers = [Some(low), high.then_some(low | 8)];
    registers.into_iter().flatten().any(|r| match fate(r, &code[at + 3..]) {
        Fate::Checked => true,
        Fate::Used => !is_doubtful(before),
        Fate::Unused => false,
    })
}

/// Whether the instruction that ends, as it seems, with `before` goes on in the three bytes: it has
/// an address relative to its own, or is a conditional jump.
fn is_displacement([_, c, b, a]: [u8; 4]) -> bool {
    // With one byte of the displacement in front of the three, or none.
    is_relative(c, b) || is_relative(b, a)
}

/// Opcodes that compilers use with an address relative to the instruction's own.
const ADDRESSING: [u8; 31] = [
    0x01, 0x03, 0x0b, 0x10, 0x11, 0x23, 0x28, 0x29, 0x2b, 0x33, 0x39, 0x3b, 0x63, 0x6f, 0x7f, 0x80,
    0x81, 0x83, 0x84, 0x85, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xb6, 0xb7, 0xc6, 0xc7, 0xf7, 0xff,
];

/// Whether a displacement follows an opcode that ends with these two bytes.
fn is_relative(opcode: u8, last: u8) -> bool {
    let addresses = last & 0xc7 == 5 && ADDRESSING.contains(&opcode);
    addresses || (opcode == 0x0f && last & 0xf0 == 0x80)
}

/// Whether the last of the three bytes is the upper one of a small negative number among others:
/// a table of jumps (BOLT puts them next to code).
fn is_table(code: &[u8], at: usize) -> bool {
    [at - 2, at + 6, at + 10].iter().all(|i| code.get(*i).is_some_and(|b| *b >= 0xf0))
}

/// Whether what is in front may be a call or a jump that goes on in the three bytes, or the prefix
/// that makes RDPID or SENDUIPI of them: it can also be the end of something else (sub $1,%eax is
/// `83 e8 01`), but none of these has to do with the carry flag.
fn is_doubtful([_, _, b, a]: [u8; 4]) -> bool {
    let jump = matches!(b, 0xe8 | 0xe9) || matches!(a, 0xe8 | 0xe9);
    jump || a == 0xf3 || (b == 0xf3 && matches!(a, 0x40..=0x4f))
}

/// What becomes of a number.
#[derive(PartialEq, Eq)]
enum Fate {
    /// The flag is looked at that says whether there is one.
    Checked,
    /// It is used.
    Used,
    /// Neither, as far as can be seen: it is none.
    Unused,
}

fn fate(register: u8, mut code: &[u8]) -> Fate {
    let (mut flags, mut stored) = (true, false);
    for _ in 0..WALK {
        let Some(i) = Instruction::decode(code) else { break };
        match i.effect(register) {
            Effect::ReadsCarry if flags => return Fate::Checked,
            Effect::UsesNumber => return Fate::Used,
            Effect::KeepsNumber => stored = true,
            Effect::None => {}
            Effect::SetsFlags => flags = false,
            Effect::ReadsCarry | Effect::Unknown => break,
        }
        code = &code[i.len..];
    }
    if stored { Fate::Used } else { Fate::Unused }
}

/// What an instruction has to do with the number.
enum Effect {
    /// Nothing.
    None,
    /// It looks at the flag.
    ReadsCarry,
    /// It copies the number, and leaves the flag as it is.
    KeepsNumber,
    /// It does something else with it.
    UsesNumber,
    /// The flag is gone.
    SetsFlags,
    /// The walk ends here.
    Unknown,
}

/// Opcodes with a ModRM byte and no immediate operand.
const PLAIN: [u16; 34] = [
    0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b,
    0x63, 0x85, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xd1, 0xd3, 0x0f1f, 0x0f42, 0x0f43, 0x0f6e, 0x0f92,
    0x0f93, 0x0faf, 0x0fb6, 0x0fb7,
];

/// An instruction of those that compilers put behind a random number.
struct Instruction {
    /// 0x0f in the upper byte for those of two bytes.
    opcode: u16,
    mode: u8,
    /// The register of the ModRM byte.
    reg: u8,
    /// Its other register, if `mode` is 3.
    rm: u8,
    len: usize,
}

impl Instruction {
    fn decode(code: &[u8]) -> Option<Self> {
        let (wide, rex, mut at) = prefixes(code);
        let mut opcode = u16::from(*code.get(at)?);
        at += 1;
        if opcode == 0x0f {
            opcode = 0x0f00 | u16::from(*code.get(at)?);
            at += 1;
        }
        let number = if wide { 2 } else { 4 };
        let (has_modrm, immediate) = match opcode {
            0x0f82 | 0x0f83 => (false, 4),
            0x25 => (false, number),
            0x72 | 0x73 => (false, 1),
            0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => (true, 1),
            0x81 | 0xc7 => (true, number),
            0x90 | 0xc3 => (false, 0),
            0xb8..=0xbf if rex & 8 != 0 => (false, 8),
            0xb8..=0xbf => (false, number),
            _ if PLAIN.contains(&opcode) => (true, 0),
            _ => return None,
        };
        let (mut mode, mut reg, mut rm) = (0, opcode as u8 & 7, 0);
        if has_modrm {
            let modrm = *code.get(at)?;
            at += 1;
            (mode, reg, rm) = (modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7);
            let mut none = rm == 5;
            if mode != 3 && rm == 4 {
                none = code.get(at)? & 7 == 5;
                at += 1;
            }
            at += match mode {
                0 if none => 4,
                1 => 1,
                2 => 4,
                _ => 0,
            };
            rm |= (rex & 1) << 3;
        }
        let len = at + immediate;
        (len <= code.len()).then_some(Self { opcode, mode, reg, rm, len })
    }

    fn effect(&self, register: u8) -> Effect {
        let pair = self.mode == 3;
        let (source, target) = (self.reg == register, pair && self.rm == register);
        match self.opcode {
            0x72 | 0x73 | 0x0f42 | 0x0f43 | 0x0f82 | 0x0f83 | 0x0f92 | 0x0f93 => Effect::ReadsCarry,
            0x11 | 0x13 | 0x19 | 0x1b => Effect::ReadsCarry, // adc, sbb
            0x80 | 0x81 | 0x83 if matches!(self.reg & 7, 2 | 3) => Effect::ReadsCarry,
            // xor of a register with itself: it becomes 0
            0x31 | 0x33 if pair && self.reg == self.rm && source => Effect::Unknown,
            0x31 | 0x33 if pair && self.reg == self.rm => Effect::SetsFlags,
            0x89 if source => Effect::KeepsNumber,
            // The rest between registers only: few other bytes look so.
            0x8b | 0x0f6e | 0x0fb6 | 0x0fb7 if target => Effect::KeepsNumber,
            0x01..=0x3b | 0x85 | 0x0faf if pair && (source || target) => Effect::UsesNumber,
            0x80 | 0x81 | 0x83 | 0xc0 | 0xc1 | 0xd1 | 0xd3 if target => Effect::UsesNumber,
            0x25 | 0xc3 if register == 0 => Effect::UsesNumber,
            0x63 | 0x88..=0x8b | 0x8d | 0x90 | 0xb8..=0xbf | 0xc6 | 0xc7 => Effect::None,
            0x0f1f | 0x0f6e | 0x0fb6 | 0x0fb7 => Effect::None,
            _ => Effect::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
