//! What a node's heartbeats say about its health (paper 4.2.1: errors of memory and I/O in the last
//! interval), and its history of failures, which fades.
//!
//! Invariant: a complaint is about what has changed since the answer before; counters that went back
//! (a machine that was started again) complain of nothing. A history only grows by what is added and
//! otherwise falls. Asked by the heartbeat blocks and by placement.

use std::fmt;
use std::time::Duration;

use chameleon_proto::message::env::Health;

/// One whole failure, in the unit of [`History`].
pub const FAILURE: u64 = 1000;

/// Something that is not as it should be with a node that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// So many errors of memory since the last answer.
    Memory(u64),
    /// So many errors of block devices since the last answer.
    Io(u64),
    /// Less memory is available than [`LOW_MEMORY`] of it: bytes.
    LowMemory(u64),
    /// So many programs wait for each processor, in hundredths: more than [`HIGH_LOAD`].
    Load(u32),
}

/// The part of the memory that should be available.
pub const LOW_MEMORY: u64 = 16;

/// The load on each processor that is worth a word, in hundredths.
pub const HIGH_LOAD: u32 = 400;

impl Complaint {
    /// How much of a failure it is. Errors of the hardware foretell one (paper 4.1.1: the history log);
    /// load and memory are what placement looks at anyway.
    pub const fn weight(self) -> u64 {
        match self {
            Self::Memory(_) | Self::Io(_) => FAILURE / 4,
            Self::LowMemory(_) | Self::Load(_) => 0,
        }
    }
}

/// What is wrong, by two answers in a row; the first has no one before it.
pub fn complaints(before: Option<&Health>, now: &Health) -> Vec<Complaint> {
    let grown = |count: fn(&Health) -> Option<u64>| {
        let (before, now) = (before.and_then(count)?, count(now)?);
        now.checked_sub(before).filter(|grown| *grown > 0)
    };
    let low = now.memory > 0 && now.memory_available < now.memory / LOW_MEMORY;
    let load = now.load / now.cpus.max(1);
    [
        grown(|health| health.memory_errors).map(Complaint::Memory),
        grown(|health| health.io_errors).map(Complaint::Io),
        low.then_some(Complaint::LowMemory(now.memory_available)),
        (load > HIGH_LOAD).then_some(Complaint::Load(load)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(count) => write!(f, "{count} errors of memory"),
            Self::Io(count) => write!(f, "{count} errors of block devices"),
            Self::LowMemory(bytes) => write!(f, "only {} of memory are available", size(*bytes)),
            Self::Load(load) => write!(f, "a load of {}.{:02} a processor", load / 100, load % 100),
        }
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let units = [(30, 'G'), (20, 'M'), (10, 'K')];
    match units.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

/// Failures of a node, each worth half as much after [`History::HALF_LIFE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    weight: u64,
    at_ns: u64,
}

impl History {
    /// The time in which a failure loses half of its weight.
    pub const HALF_LIFE: Duration = Duration::from_secs(3600);

    /// Adds a failure of this weight ([`FAILURE`] for a whole one) at `now_ns`.
    pub fn add(&mut self, weight: u64, now_ns: u64) {
        *self =
            Self { weight: self.at(now_ns).saturating_add(weight), at_ns: now_ns.max(self.at_ns) };
    }

    /// What is left of it at `now_ns`, in thousandths of a failure.
    pub fn at(&self, now_ns: u64) -> u64 {
        let half = Self::HALF_LIFE.as_nanos() as u64;
        let past = now_ns.saturating_sub(self.at_ns);
        let left =
            u32::try_from(past / half).ok().and_then(|halves| self.weight.checked_shr(halves));
        let left = left.unwrap_or(0);
        // A straight line between two halvings.
        let fallen = u128::from(left.div_ceil(2)) * u128::from(past % half) / u128::from(half);
        left - fallen as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn what_has_grown_since_the_last_answer_is_complained_of() {
        let fine = Health {
            load: 100,
            cpus: 2,
            memory: 16 << 30,
            memory_available: 8 << 30,
            memory_errors: Some(3),
            io_errors: Some(0),
            armors: 2,
        };
        assert_eq!(complaints(None, &fine), []);
        assert_eq!(complaints(Some(&fine), &fine), []);
        let ill = Health {
            load: 900,
            memory_available: 1 << 29,
            memory_errors: Some(5),
            io_errors: Some(1),
            ..fine
        };
        let said: Vec<String> =
            complaints(Some(&fine), &ill).iter().map(Complaint::to_string).collect();
        assert_eq!(
            said,
            [
                "2 errors of memory",
                "1 errors of block devices",
                "only 512.0M of memory are available",
                "a load of 4.50 a processor"
            ]
        );
        assert_eq!(complaints(Some(&ill), &fine), []);
        assert_eq!(complaints(Some(&fine), &Health { memory_errors: None, ..fine }), []);
    }

    #[test]
    fn a_failure_fades() {
        let mut history = History::default();
        assert_eq!(history.at(5 * HOUR), 0);
        history.add(FAILURE, HOUR);
        let left: Vec<u64> =
            [2, 3, 4, 5].iter().map(|hours| history.at(hours * HOUR / 2)).collect();
        assert_eq!(left, [1000, 750, 500, 375]);
        history.add(FAILURE, 2 * HOUR);
        assert_eq!(history.at(2 * HOUR), 1500);
        assert_eq!(history.at(99 * HOUR), 0);
        // A clock that went back takes nothing away and adds nothing.
        history.add(FAILURE, HOUR);
        assert_eq!((history.at(HOUR), history.at(2 * HOUR)), (2500, 2500));
    }

    proptest! {
        #[test]
        fn a_history_only_falls_between_failures(
            failures in prop::collection::vec((0u64..1 << 45, 0u64..4000), 0..10),
            later in prop::collection::vec(0u64..1 << 45, 0..10),
        ) {
            let mut history = History::default();
            let mut now = 0;
            let mut most = 0;
            for (step, weight) in failures {
                now += step;
                let before = history.at(now);
                history.add(weight, now);
                most += weight;
                prop_assert_eq!(history.at(now), before + weight);
            }
            let mut last = history.at(now);
            prop_assert!(last <= most);
            for step in later {
                now += step;
                prop_assert!(history.at(now) <= last);
                last = history.at(now);
            }
        }
    }
}
