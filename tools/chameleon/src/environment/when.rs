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

/// Seconds since then: nanoseconds since 1970.
pub fn ago(at_ns: u64) -> f64 {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
    (now - i128::from(at_ns)).max(0) as f64 / 1e9
}

/// A time that has gone by, in brief: `1m01s`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, ..) => format!("{d}d{h:02}h"),
    }
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

    #[test]
    fn ages_are_short() {
        for (seconds, text) in
            [(0.9, "0s"), (59.0, "59s"), (61.0, "1m01s"), (3_700.0, "1h01m"), (90_000.0, "1d01h")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
