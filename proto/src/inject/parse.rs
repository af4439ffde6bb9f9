//! Reading an injection from text.
//!
//! Invariant: what parses is in range and says each thing once. Called through `FromStr` only.

use std::str::FromStr;

use thiserror::Error;

use super::{Area, Fault, Injection, Reg};
use crate::ids::MAX_REPLICAS;

/// Why an injection is not one. Each message is one line that names the bad part and says what is
/// valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum InjectError {
    #[error(
        "unknown part '{0}' in a fault; parts are replica=R, call=K, process=P and one of reg=NAME,bit=B, mem=heap|stack|data|shared[,bit=B][,offset=O], kill, hang"
    )]
    UnknownPart(String),
    #[error("'{part}' is given twice in a fault")]
    Twice { part: &'static str },
    #[error("'{part}' is missing in the fault; an example: replica=1,call=20,reg=rax,bit=7")]
    Missing { part: &'static str },
    #[error("{part}={given} in a fault: it must be a whole number from {low} to {high}")]
    Range { part: &'static str, given: String, low: u64, high: u64 },
    #[error(
        "unknown register '{0}'; registers are rax rbx rcx rdx rsi rdi rbp rsp r8 to r15 and rip"
    )]
    UnknownRegister(String),
    #[error("unknown memory area '{0}'; areas are heap, stack, data and shared")]
    UnknownArea(String),
    #[error(
        "more than one fault in '{0}'; give one of reg, mem, kill, hang (and --inject again for another)"
    )]
    ManyFaults(String),
    #[error(
        "no fault in '{0}'; give one of reg=NAME,bit=B, mem=heap|stack|data|shared, kill, hang"
    )]
    NoFault(String),
    #[error("'{part}' has no meaning with {fault}")]
    Stray { part: &'static str, fault: &'static str },
}

impl FromStr for Reg {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        let found = Self::ALL.into_iter().find(|reg| reg.name() == text);
        found.ok_or_else(|| InjectError::UnknownRegister(text.to_owned()))
    }
}

impl FromStr for Area {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        let found = Self::ALL.into_iter().find(|area| area.name() == text);
        found.ok_or_else(|| InjectError::UnknownArea(text.to_owned()))
    }
}

/// The parts of a text, each at most once.
#[derive(Default)]
struct Parts {
    replica: Option<u64>,
    call: Option<u64>,
    process: Option<u64>,
    bit: Option<u64>,
    offset: Option<u64>,
    reg: Option<Reg>,
    mem: Option<Area>,
    kill: Option<()>,
    hang: Option<()>,
}

/// Fills `slot` unless it is filled.
fn once<T>(slot: &mut Option<T>, part: &'static str, value: T) -> Result<(), InjectError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(InjectError::Twice { part }),
    }
}

/// A whole number, decimal or `0x` hexadecimal, from `low` to `high`.
fn number(part: &'static str, text: &str, low: u64, high: u64) -> Result<u64, InjectError> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(InjectError::Range { part, given: text.to_owned(), low, high }),
    }
}

impl Parts {
    fn parse(text: &str) -> Result<Self, InjectError> {
        let mut parts = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("replica", v)) => {
                    let value = number("replica", v, 0, u64::from(MAX_REPLICAS) - 1)?;
                    once(&mut parts.replica, "replica", value)?;
                }
                Some(("call", v)) => {
                    once(&mut parts.call, "call", number("call", v, 1, u64::MAX)?)?;
                }
                Some(("process", v)) => {
                    let value = number("process", v, 0, u64::from(u32::MAX))?;
                    once(&mut parts.process, "process", value)?;
                }
                Some(("bit", v)) => once(&mut parts.bit, "bit", number("bit", v, 0, 63)?)?,
                Some(("offset", v)) => {
                    once(&mut parts.offset, "offset", number("offset", v, 0, u64::MAX)?)?;
                }
                Some(("reg", v)) => once(&mut parts.reg, "reg", v.parse()?)?,
                Some(("mem", v)) => once(&mut parts.mem, "mem", v.parse()?)?,
                None if part == "kill" => once(&mut parts.kill, "kill", ())?,
                None if part == "hang" => once(&mut parts.hang, "hang", ())?,
                _ => return Err(InjectError::UnknownPart(part.to_owned())),
            }
        }
        Ok(parts)
    }

    /// Refuses `bit` and `offset` where they say nothing.
    fn bare(&self, fault: &'static str) -> Result<(), InjectError> {
        if self.bit.is_some() {
            return Err(InjectError::Stray { part: "bit", fault });
        }
        if self.offset.is_some() {
            return Err(InjectError::Stray { part: "offset", fault });
        }
        Ok(())
    }

    fn fault(&self, text: &str) -> Result<Fault, InjectError> {
        match (self.reg, self.mem, self.kill, self.hang) {
            (Some(reg), None, None, None) => {
                if self.offset.is_some() {
                    return Err(InjectError::Stray { part: "offset", fault: "reg" });
                }
                let bit = self.bit.ok_or(InjectError::Missing { part: "bit" })?;
                Ok(Fault::Reg { reg, bit: bit as u8 })
            }
            (None, Some(area), None, None) => {
                if let Some(bit) = self.bit.filter(|bit| *bit > 7) {
                    let given = bit.to_string();
                    return Err(InjectError::Range { part: "bit", given, low: 0, high: 7 });
                }
                Ok(Fault::Mem { area, bit: self.bit.map(|bit| bit as u8), offset: self.offset })
            }
            (None, None, Some(()), None) => self.bare("kill").map(|()| Fault::Kill),
            (None, None, None, Some(())) => self.bare("hang").map(|()| Fault::Hang),
            (None, None, None, None) => Err(InjectError::NoFault(text.to_owned())),
            _ => Err(InjectError::ManyFaults(text.to_owned())),
        }
    }
}

impl FromStr for Injection {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        let parts = Parts::parse(text)?;
        Ok(Self {
            fault: parts.fault(text)?,
            replica: parts.replica.ok_or(InjectError::Missing { part: "replica" })? as u8,
            call: parts.call.ok_or(InjectError::Missing { part: "call" })?,
            process: parts.process.unwrap_or(0) as u32,
        })
    }
}

impl FromStr for Fault {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        let parts = Parts::parse(text)?;
        for (part, given) in
            [("replica", parts.replica), ("call", parts.call), ("process", parts.process)]
        {
            if given.is_some() {
                return Err(InjectError::Stray { part, fault: "a fault alone" });
            }
        }
        parts.fault(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_parse() {
        assert_eq!(
            "replica=2,call=57,reg=rax,bit=7".parse(),
            Ok(Injection {
                replica: 2,
                call: 57,
                process: 0,
                fault: Fault::Reg { reg: Reg::Rax, bit: 7 }
            })
        );
        assert_eq!(
            "replica=1,call=5,mem=heap".parse(),
            Ok(Injection {
                replica: 1,
                call: 5,
                process: 0,
                fault: Fault::Mem { area: Area::Heap, bit: None, offset: None }
            })
        );
        assert_eq!("process=3,replica=0,call=1,hang".parse::<Injection>().unwrap().process, 3);
    }

    #[test]
    fn display_parses_back() {
        let mut faults = vec![Fault::Kill, Fault::Hang];
        for reg in Reg::ALL {
            faults.push(Fault::Reg { reg, bit: 63 });
        }
        for area in Area::ALL {
            for bit in [None, Some(7)] {
                for offset in [None, Some(u64::MAX)] {
                    faults.push(Fault::Mem { area, bit, offset });
                }
            }
        }
        for fault in faults {
            for process in [0, 9] {
                let injection = Injection { replica: 14, call: 1 << 40, process, fault };
                assert_eq!(injection.to_string().parse(), Ok(injection));
            }
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn an_error_names_the_bad_part_and_what_is_valid() {
        let cases = [
            ("replica=0,call=1,reg=eax,bit=1", ["eax", "r8 to r15"]),
            ("replica=0,call=1,mem=text", ["text", "heap, stack, data and shared"]),
            ("replica=15,call=1,kill", ["replica=15", "0 to 14"]),
            ("replica=0,call=0,kill", ["call=0", "from 1"]),
            ("replica=0,call=1,reg=rax,bit=64", ["bit=64", "0 to 63"]),
            ("replica=0,call=1,mem=heap,bit=8", ["bit=8", "0 to 7"]),
            ("replica=0,call=1,reg=rax", ["'bit' is missing", "example"]),
            ("call=1,kill", ["'replica' is missing", "example"]),
            ("replica=0,kill", ["'call' is missing", "example"]),
            ("replica=0,call=1", ["no fault", "kill, hang"]),
            ("replica=0,call=1,kill,hang", ["more than one", "one of"]),
            ("replica=0,call=1,kill,bit=1", ["'bit'", "kill"]),
            ("replica=0,replica=1,call=1,kill", ["'replica'", "twice"]),
            ("replica=0,call=1,explode", ["explode", "parts are"]),
            ("replica=-1,call=1,kill", ["replica=-1", "0 to 14"]),
            ("", ["unknown part ''", "parts are"]),
        ];
        for (text, wanted) in cases {
            let message = text.parse::<Injection>().unwrap_err().to_string();
            assert!(!message.contains('\n'), "{message}");
            for want in wanted {
                assert!(message.contains(want), "'{text}' gave '{message}', without '{want}'");
            }
        }
    }
}
