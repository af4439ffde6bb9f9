//! Durations as a user writes them.
//!
//! Invariant: what parses is finite, more than nothing and no more than a week, so that sums of it
//! cannot overflow. Called by the command line.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that is accepted.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum DurationError {
    #[error(
        "'{0}' is not a duration; write a number and a unit (us, ms, s, m, h), for example 1.5s or 200ms"
    )]
    Form(String),
    #[error("'{0}' is no time at all; write a duration of at least 1us")]
    Nothing(String),
    #[error("'{0}' is longer than a week; write a shorter duration")]
    TooLong(String),
}

/// Reads `1.5s`, `200ms`, `500us`, `2m`, `1h`; a bare number is seconds.
///
/// # Errors
/// [`DurationError`], one line that says what is valid.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let form = || DurationError::Form(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_ns: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(form()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return Err(form());
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let digits = |digits: &str| digits.parse::<u64>().or(Err(too_long()));
    let whole_ns = match whole {
        "" => 0,
        _ => digits(whole)?.checked_mul(unit_ns).ok_or_else(too_long)?,
    };
    // Twelve decimals are finer than a nanosecond of an hour; the rest is cut.
    let part = &part[..part.len().min(12)];
    let part_ns = match part {
        "" => 0,
        _ => u128::from(digits(part)?) * u128::from(unit_ns) / 10u128.pow(part.len() as u32),
    };
    let total = Duration::from_nanos(whole_ns.saturating_add(part_ns as u64));
    if total < Duration::from_micros(1) {
        return Err(DurationError::Nothing(text.to_owned()));
    }
    if total > LONGEST { Err(too_long()) } else { Ok(total) }
}

/// A duration as [`parse`] reads it; what is finer than a microsecond is cut.
pub fn text(duration: Duration) -> String {
    match duration.as_micros() {
        us if us % 1_000_000 == 0 => format!("{}s", us / 1_000_000),
        us if us % 1000 == 0 => format!("{}ms", us / 1000),
        us => format!("{us}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms() {
        for (text, ns) in [
            ("1.5s", 1_500_000_000),
            ("200ms", 200_000_000),
            ("500us", 500_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("30", 30_000_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("0.000001", 1_000),
            ("0.1234567890123456789s", 123_456_789),
            ("168h", 604_800_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_one_line() {
        for text in ["", ".", "s", "-1s", "+1", "1 s", "1.2.3", "1d", "1e3", "NaN", "١s", "1S"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, DurationError::Form(text.to_owned()));
            let message = error.to_string();
            assert!(message.contains("1.5s") && !message.contains('\n'), "{message}");
        }
        for text in ["0", "0s", "0.0000001s", "0.5us"] {
            assert_eq!(parse(text), Err(DurationError::Nothing(text.to_owned())));
        }
        for text in ["169h", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (us, written) in
            [(1_500_000, "1500ms"), (2_000_000, "2s"), (1, "1us"), (60_000_000, "60s")]
        {
            let duration = Duration::from_micros(us);
            assert_eq!(text(duration), written);
            assert_eq!(parse(written), Ok(duration));
        }
    }
}
