//! Points of time and spans as people read them.
//!
//! Invariant: times are in UTC, to the millisecond. Used by all commands that show what happened.

use time::OffsetDateTime;

/// `2026-01-31 12:00:01.500`: nanoseconds since 1970.
pub fn stamp(at_ns: u64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ns)) else {
        return format!("{at_ns} ns");
    };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let ms = at.millisecond();
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// `+12.345 ms` from one point to another.
pub fn since(from_ns: u64, to_ns: u64) -> String {
    let sign = if to_ns < from_ns { '-' } else { '+' };
    format!("{sign}{:.3} ms", from_ns.abs_diff(to_ns) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_to_the_millisecond() {
        assert_eq!(stamp(0), "1970-01-01 00:00:00.000");
        assert_eq!(stamp(1_785_499_201_500_000_000), "2026-07-31 12:00:01.500");
        assert_eq!(since(1_000_000, 13_345_600), "+12.346 ms");
        assert_eq!(since(2_000_000, 1_000_000), "-1.000 ms");
    }
}
