//! Sizes of memory as a user writes them.
//!
//! Invariant: what parses is at least a page and at most [`LARGEST`], so that sums of it cannot
//! overflow. Called by the command line.

use thiserror::Error;

/// The largest size that is accepted: 1 PiB.
pub const LARGEST: u64 = 1 << 50;

/// The least: a page.
const LEAST: u64 = 4096;

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum SizeError {
    #[error("'{0}' is not a size; write a whole number and a unit (K, M, G), for example 64M")]
    Form(String),
    #[error("'{0}' is too small; write at least 4K")]
    TooSmall(String),
    #[error("'{0}' is too large; write a smaller size")]
    TooLarge(String),
}

/// Reads `64M`, `64MiB`, `2G`, `4096K`, `1T` (powers of 1024); a bare number is bytes.
///
/// # Errors
/// [`SizeError`], one line that says what is valid.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let form = || SizeError::Form(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return Err(form()),
    };
    if number.is_empty() {
        return Err(form());
    }
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = number.parse().or(Err(too_large()))?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes < LEAST => Err(SizeError::TooSmall(text.to_owned())),
        Some(bytes) if bytes <= LARGEST => Ok(bytes),
        _ => Err(too_large()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("2G", 2 << 30),
            ("4K", 4096),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_one_line() {
        for text in ["", "M", "-1M", "+1M", "1.5G", "1 M", "lots", "64MB", "١M"] {
            assert_eq!(parse(text), Err(SizeError::Form(text.to_owned())), "{text}");
        }
        for text in ["0", "0G", "4095", "3K"] {
            assert_eq!(parse(text), Err(SizeError::TooSmall(text.to_owned())), "{text}");
        }
        for text in ["2000T", "99999999999999999999", "18014398509481984K"] {
            assert_eq!(parse(text), Err(SizeError::TooLarge(text.to_owned())), "{text}");
        }
    }
}
