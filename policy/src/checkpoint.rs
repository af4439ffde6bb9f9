//! Checkpoints: when one is due, and which one a failed process goes back to.
//!
//! ```text
//!   failure ─► noted in the history ─► decide ─► roll back to a checkpoint ─► replay ─► run
//!                    ▲                    │                                       │
//!                    │                    └─► give up, with a verdict             │
//!                    └──────────── another failure ◄──────────────────────────────┤
//!              cleared ◄───────── the call of the failure passed by a further one ┘
//! ```
//!
//! Invariant: pure; time and call numbers come in. A failure leads to at most `retries` roll-backs;
//! within one history the checkpoints that are tried only get older, and one that is suspect (see
//! [`History::decide`]) is not tried again. The records are plain numbers of fixed size, so that they
//! can lie in memory that a successor shares. Asked by the dispatcher; the settings come from the
//! command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::duration::{self, DurationError};

mod keep;
mod recovery;
mod written;

pub use keep::gives_way;
pub use recovery::{Decision, FAILURES, Failure, History, MOST_RETRIES, Verdict, failure};

/// What `chameleon run` was told about checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// When one is due.
    pub cadence: Cadence,
    /// Roll-backs of one failure before it is given up; at most [`MOST_RETRIES`].
    pub retries: u8,
    /// A process that makes no progress for so long has failed.
    pub livelock: Option<Duration>,
    /// Bytes of journal that a process may have; a checkpoint is forced before it is full.
    pub journal: u64,
    /// Bytes that all checkpoints together may hold; the oldest are dropped for it.
    pub memory: u64,
    /// Checkpoints of a process that are kept.
    pub kept: u32,
}

impl Checkpoints {
    /// Roll-backs of one failure, if nothing else is said.
    pub const RETRIES: u8 = 3;
    /// Bytes of journal of a process, if nothing else is said.
    pub const JOURNAL: u64 = 64 << 20;
    /// Checkpoints of a process that are kept: one for each try and one to spare.
    pub const KEPT: u32 = 4;
}

/// How often a checkpoint is taken: by time, by calls, or by whichever is first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// So long after the last one.
    pub every: Option<Duration>,
    /// So many calls after the last one.
    pub calls: Option<u64>,
}

impl Cadence {
    /// Whether one is due at `now_ns`, with `calls_now` calls decided, when the last one was taken at
    /// `last_ns` (of the same clock) after `calls_at_last` calls.
    pub fn due(&self, now_ns: u64, last_ns: u64, calls_now: u64, calls_at_last: u64) -> bool {
        let time = self
            .every
            .is_some_and(|every| u128::from(now_ns.saturating_sub(last_ns)) >= every.as_nanos());
        let calls = self.calls.is_some_and(|n| calls_now.saturating_sub(calls_at_last) >= n);
        time || calls
    }
}

/// Why a text is no cadence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum CadenceError {
    #[error(
        "'{0}' is neither a time nor a number of calls; write for example 1.5s, 1000calls, or both as 1.5s,1000calls"
    )]
    Form(String),
    #[error(transparent)]
    Duration(DurationError),
    #[error("'{0}' is not a number of calls; write for example 1000calls")]
    Calls(String),
    #[error(
        "'{0}' says the same twice; write a time, a number of calls, or both as 1.5s,1000calls"
    )]
    Twice(String),
}

impl FromStr for Cadence {
    type Err = CadenceError;

    /// Reads `1.5s`, `1000calls` (also `1000 calls`), or both with a comma between.
    fn from_str(text: &str) -> Result<Self, CadenceError> {
        let mut cadence = Self::default();
        for part in text.split(',').map(str::trim) {
            let twice = match part.strip_suffix("calls").or_else(|| part.strip_suffix("call")) {
                Some(number) => cadence.calls.replace(count(number.trim_end(), part)?).is_some(),
                None => cadence.every.replace(time(part)?).is_some(),
            };
            if twice {
                return Err(CadenceError::Twice(text.to_owned()));
            }
        }
        Ok(cadence)
    }
}

fn time(part: &str) -> Result<Duration, CadenceError> {
    duration::parse(part).map_err(|e| match e {
        DurationError::Form(text) => CadenceError::Form(text),
        other => CadenceError::Duration(other),
    })
}

fn count(digits: &str, part: &str) -> Result<u64, CadenceError> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse().ok().filter(|n| plain && *n > 0);
    number.ok_or_else(|| CadenceError::Calls(part.to_owned()))
}

impl fmt::Display for Cadence {
    /// As it parses back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(every) = self.every {
            f.write_str(&duration::text(every))?;
        }
        if let Some(calls) = self.calls {
            let comma = if self.every.is_some() { "," } else { "" };
            write!(f, "{comma}{calls}calls")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cadence(ms: Option<u64>, calls: Option<u64>) -> Cadence {
        Cadence { every: ms.map(Duration::from_millis), calls }
    }

    #[test]
    fn the_documented_forms() {
        for (text, wanted) in [
            ("1.5s", cadence(Some(1500), None)),
            ("200ms", cadence(Some(200), None)),
            ("1000calls", cadence(None, Some(1000))),
            ("1000 calls", cadence(None, Some(1000))),
            ("1call", cadence(None, Some(1))),
            ("1.5s,1000calls", cadence(Some(1500), Some(1000))),
            ("1000 calls, 2s", cadence(Some(2000), Some(1000))),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
            assert_eq!(wanted.to_string().parse(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_one_line() {
        for text in
            ["", "soon", "0s", "calls", "0calls", "-1calls", "+1calls", "1.5calls", "1s,", "1s,2s"]
        {
            let error = text.parse::<Cadence>().unwrap_err().to_string();
            assert!(!error.contains('\n') && error.contains('\''), "{text}: {error}");
        }
        assert_eq!("3calls,4calls".parse::<Cadence>().unwrap_err(), {
            CadenceError::Twice("3calls,4calls".into())
        });
        assert!("99999999999999999999calls".parse::<Cadence>().is_err());
    }

    proptest! {
        #[test]
        fn due_by_whichever_is_first(
            every in prop::option::of(1u64..1000),
            calls in prop::option::of(1u64..1000),
            now in 0u64..2_000_000_000,
            last in 0u64..2_000_000_000,
            calls_now in 0u64..2000,
            calls_at_last in 0u64..2000,
        ) {
            let one = cadence(every, calls);
            let by_time = every.is_some_and(|ms| now >= last + ms * 1_000_000);
            let by_calls = calls.is_some_and(|n| calls_now >= calls_at_last + n);
            prop_assert_eq!(one.due(now, last, calls_now, calls_at_last), by_time || by_calls);
        }

        #[test]
        fn what_is_written_reads_back(
            us in prop::option::of(1u64..604_800_000_000),
            calls in prop::option::of(1u64..),
        ) {
            prop_assume!(us.is_some() || calls.is_some());
            let one = Cadence { every: us.map(Duration::from_micros), calls };
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }
    }
}
