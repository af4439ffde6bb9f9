//! The execution modes: how many replicas, how many equal ballots decide, what a late one means.
//!
//! Invariant: in every mode but `dual-first`, `k` is a majority of `n`, so that two different
//! decisions are impossible. Read by the command line, the voter and the supervisor (paper 3.4,
//! 4.2.4).

use std::fmt;
use std::str::FromStr;

use chameleon_proto::ids::MAX_REPLICAS;
use thiserror::Error;

/// An execution mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its family; [`Display`](fmt::Display) writes what parses back.
    pub name: ModeName,
    /// Replicas of each application process, 1 to 15.
    pub n: u8,
    /// Equal ballots that decide a call.
    pub k: u8,
    /// The first ballot decides; a later one that differs is reported.
    pub first: bool,
    /// Replicas behind a decided call may run behind, fed from a queue.
    pub slack: bool,
}

/// The family of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeName {
    /// One copy.
    Simplex,
    /// Two copies, the first ballot decides.
    DualFirst,
    /// Two copies that must agree.
    Dual,
    /// Two of three.
    Tmr,
    /// Three of four.
    Quad,
    /// K of N.
    Nmr,
}

/// Why a text is not a mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ModeError {
    #[error(
        "unknown mode '{0}'; modes are simplex, dual-first, dual, tmr, quad and nmr:K/N, for example nmr:3/5"
    )]
    Unknown(String),
    #[error("mode '{0}' is not of the form nmr:K/N with whole numbers, for example nmr:3/5")]
    Form(String),
    #[error("mode nmr:{k}/{n}: N must be from 1 to 15")]
    Replicas { k: u64, n: u64 },
    #[error("mode nmr:{k}/{n}: K may not be more than N, for there are only N ballots")]
    MoreThanAll { k: u64, n: u64 },
    #[error(
        "mode nmr:{k}/{n}: K must be more than half of N, else two answers could both win; the least K here is {least}"
    )]
    NoMajority { k: u64, n: u64, least: u64 },
}

impl Mode {
    /// One copy, nothing to vote.
    pub const SIMPLEX: Self = Self::of(ModeName::Simplex, 1, 1, false);
    /// Two copies; the first ballot decides, the other is compared and reported.
    pub const DUAL_FIRST: Self =
        Self { first: true, slack: true, ..Self::of(ModeName::DualFirst, 2, 1, true) };
    /// Two copies that must agree at every call.
    pub const DUAL: Self = Self::of(ModeName::Dual, 2, 2, false);
    /// Two of three.
    pub const TMR: Self = Self::of(ModeName::Tmr, 3, 2, true);
    /// Three of four.
    pub const QUAD: Self = Self::of(ModeName::Quad, 4, 3, true);

    const fn of(name: ModeName, n: u8, k: u8, slack: bool) -> Self {
        Self { name, n, k, first: false, slack }
    }

    /// K of N.
    ///
    /// # Errors
    /// [`ModeError`] if N is not 1 to 15, K more than N, or K no majority of N.
    pub fn nmr(k: u64, n: u64) -> Result<Self, ModeError> {
        if !(1..=u64::from(MAX_REPLICAS)).contains(&n) {
            return Err(ModeError::Replicas { k, n });
        }
        if k > n {
            return Err(ModeError::MoreThanAll { k, n });
        }
        if k * 2 <= n {
            return Err(ModeError::NoMajority { k, n, least: n / 2 + 1 });
        }
        Ok(Self::of(ModeName::Nmr, n as u8, k as u8, k < n))
    }

    /// The mode of these numbers, if no two different decisions are possible in it.
    pub fn of_numbers(n: u8, k: u8, first: bool, slack: bool) -> Option<Self> {
        let decides = k <= n && (first && k >= 1 || k > n / 2);
        if !(1..=MAX_REPLICAS).contains(&n) || !decides {
            return None;
        }
        let named = [Self::SIMPLEX, Self::DUAL_FIRST, Self::DUAL, Self::TMR, Self::QUAD];
        let same = |m: &Self| (m.n, m.k, m.first, m.slack) == (n, k, first, slack);
        let other = Self { name: ModeName::Nmr, n, k, first, slack };
        Some(named.into_iter().find(same).unwrap_or(other))
    }

    /// Its numbers in one word, which is not 0.
    pub const fn packed(self) -> u32 {
        u32::from_le_bytes([self.n, self.k, self.first as u8, self.slack as u8])
    }

    /// The mode of such a word.
    pub fn unpacked(word: u32) -> Option<Self> {
        let [n, k, first, slack] = word.to_le_bytes();
        Self::of_numbers(n, k, first != 0, slack != 0)
    }

    /// The mask of all replicas: bit `i` for replica `i`.
    pub const fn all(&self) -> u16 {
        (1 << self.n) - 1
    }

    /// Whether a single fault of one replica is masked, so that the program goes on undisturbed.
    pub const fn masks_one_fault(&self) -> bool {
        !self.first && self.n > self.k
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "simplex" => return Ok(Self::SIMPLEX),
            "dual-first" => return Ok(Self::DUAL_FIRST),
            "dual" => return Ok(Self::DUAL),
            "tmr" => return Ok(Self::TMR),
            "quad" => return Ok(Self::QUAD),
            _ => {}
        }
        let Some(ratio) = text.strip_prefix("nmr:") else {
            return Err(ModeError::Unknown(text.to_owned()));
        };
        let numbers = ratio.split_once('/').and_then(|(k, n)| Some((whole(k)?, whole(n)?)));
        let Some((k, n)) = numbers else {
            return Err(ModeError::Form(text.to_owned()));
        };
        Self::nmr(k, n)
    }
}

/// A whole number of digits only (`+3` and the like are refused), small enough to double.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().filter(|value| *value <= u64::from(u32::MAX)) } else { None }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            ModeName::Simplex => f.write_str("simplex"),
            ModeName::DualFirst => f.write_str("dual-first"),
            ModeName::Dual => f.write_str("dual"),
            ModeName::Tmr => f.write_str("tmr"),
            ModeName::Quad => f.write_str("quad"),
            ModeName::Nmr => write!(f, "nmr:{}/{}", self.k, self.n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_writes_what_it_reads() {
        for text in
            ["simplex", "dual-first", "dual", "tmr", "quad", "nmr:1/1", "nmr:3/5", "nmr:8/15"]
        {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_named_modes_are_the_papers() {
        let numbers = |text: &str| {
            let mode: Mode = text.parse().unwrap();
            (mode.n, mode.k, mode.first, mode.slack)
        };
        assert_eq!(numbers("simplex"), (1, 1, false, false));
        assert_eq!(numbers("dual-first"), (2, 1, true, true));
        assert_eq!(numbers("dual"), (2, 2, false, false));
        assert_eq!(numbers("tmr"), (3, 2, false, true));
        assert_eq!(numbers("quad"), (4, 3, false, true));
        assert_eq!(numbers("nmr:3/5"), (5, 3, false, true));
        assert_eq!(numbers("nmr:3/3"), (3, 3, false, false));
    }

    #[test]
    fn a_mode_is_its_numbers() {
        for text in ["simplex", "dual-first", "dual", "tmr", "quad", "nmr:3/3", "nmr:8/15"] {
            let mode: Mode = text.parse().unwrap();
            assert_eq!(Mode::unpacked(mode.packed()), Some(mode));
        }
        assert_eq!(Mode::unpacked(0), None);
        assert_eq!(Mode::of_numbers(4, 2, false, true), None);
        assert_eq!(Mode::of_numbers(16, 9, false, true), None);
    }

    #[test]
    fn what_could_decide_twice_is_refused() {
        for n in 1..=15 {
            for k in 0..=16 {
                let accepted = Mode::nmr(k, n).is_ok();
                assert_eq!(accepted, k <= n && 2 * k > n, "nmr:{k}/{n}");
            }
        }
    }

    #[test]
    fn an_error_is_one_line_that_says_what_is_valid() {
        for (text, want) in [
            ("trm", "tmr"),
            ("nmr:2/4", "least K here is 3"),
            ("nmr:0/1", "least K here is 1"),
            ("nmr:6/5", "more than N"),
            ("nmr:9/16", "1 to 15"),
            ("nmr:0/0", "1 to 15"),
            ("nmr:3", "nmr:K/N"),
            ("nmr:+3/5", "nmr:K/N"),
            ("nmr:99999999999999999999/5", "nmr:K/N"),
            ("", "modes are"),
        ] {
            let message = text.parse::<Mode>().unwrap_err().to_string();
            assert!(message.contains(want) && !message.contains('\n'), "'{text}': {message}");
        }
    }

    #[test]
    fn masking_needs_a_spare_replica() {
        assert!(Mode::TMR.masks_one_fault() && Mode::QUAD.masks_one_fault());
        assert!(!Mode::SIMPLEX.masks_one_fault() && !Mode::DUAL.masks_one_fault());
        assert!(!Mode::DUAL_FIRST.masks_one_fault());
        assert_eq!(Mode::TMR.all(), 0b111);
        assert_eq!(Mode::nmr(8, 15).unwrap().all(), 0x7fff);
    }
}
