//! A fault to put into one replica: what `--inject` says and a campaign draws.
//!
//! Invariant: `Display` of an [`Injection`] parses back to the same injection; a value that parsed
//! is in range. Read by the dispatcher (which performs it), the command line and the campaign.

use std::fmt;

use serde::{Deserialize, Serialize};

mod parse;

pub use parse::InjectError;

/// A register of the user context: the sixteen general ones and the program counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the processor's own")]
pub enum Reg {
    Rax,
    Rbx,
    Rcx,
    Rdx,
    Rsi,
    Rdi,
    Rbp,
    Rsp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    Rip,
}

impl Reg {
    /// Every register, in the order of the declaration.
    pub const ALL: [Self; 17] = [
        Self::Rax,
        Self::Rbx,
        Self::Rcx,
        Self::Rdx,
        Self::Rsi,
        Self::Rdi,
        Self::Rbp,
        Self::Rsp,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
        Self::Rip,
    ];

    /// The assembler's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rax => "rax",
            Self::Rbx => "rbx",
            Self::Rcx => "rcx",
            Self::Rdx => "rdx",
            Self::Rsi => "rsi",
            Self::Rdi => "rdi",
            Self::Rbp => "rbp",
            Self::Rsp => "rsp",
            Self::R8 => "r8",
            Self::R9 => "r9",
            Self::R10 => "r10",
            Self::R11 => "r11",
            Self::R12 => "r12",
            Self::R13 => "r13",
            Self::R14 => "r14",
            Self::R15 => "r15",
            Self::Rip => "rip",
        }
    }
}

/// A part of a program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// What brk(2) manages; a program without one has its largest anonymous mapping hit instead.
    Heap,
    /// The main thread's stack, from the stack pointer upwards.
    Stack,
    /// The writable mapping of the program's own file.
    Data,
    /// Memory that the program shares with other processes or through a file, where it has any.
    Shared,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 4] = [Self::Heap, Self::Stack, Self::Data, Self::Shared];
    /// The areas that every program has.
    pub const OF_ALL: [Self; 3] = [Self::Heap, Self::Stack, Self::Data];

    /// The word used in an injection.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::Data => "data",
            Self::Shared => "shared",
        }
    }
}

/// What goes wrong. In text and in reports: `reg=rax,bit=7`, `mem=heap,bit=3,offset=128`, `kill`,
/// `hang`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// One bit of a register flips when the replica goes on after the call.
    Reg {
        /// Which register.
        reg: Reg,
        /// Which bit, 0 to 63.
        bit: u8,
    },
    /// One bit of memory flips before the call is looked at.
    Mem {
        /// Which part of memory.
        area: Area,
        /// Which bit of the byte, 0 to 7; `None`: bit 0.
        bit: Option<u8>,
        /// Which byte of the area, modulo its length; `None`: the one who injects chooses a byte
        /// in use.
        offset: Option<u64>,
    },
    /// The replica is killed.
    Kill,
    /// The replica does not cast this ballot.
    Hang,
}

/// A fault, and where and when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Injection {
    /// Which replica, from 0.
    pub replica: u8,
    /// At which of its trapped calls, from 1.
    pub call: u64,
    /// In which process of the application, in order of creation; 0 is the root.
    pub process: u32,
    /// What goes wrong.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg { reg, bit } => write!(f, "reg={},bit={bit}", reg.name()),
            Self::Mem { area, bit, offset } => {
                write!(f, "mem={}", area.name())?;
                if let Some(bit) = bit {
                    write!(f, ",bit={bit}")?;
                }
                if let Some(offset) = offset {
                    write!(f, ",offset={offset}")?;
                }
                Ok(())
            }
            Self::Kill => f.write_str("kill"),
            Self::Hang => f.write_str("hang"),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica={},call={}", self.replica, self.call)?;
        if self.process != 0 {
            write!(f, ",process={}", self.process)?;
        }
        write!(f, ",{}", self.fault)
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl TryFrom<String> for Fault {
    type Error = InjectError;

    fn try_from(text: String) -> Result<Self, InjectError> {
        text.parse()
    }
}
