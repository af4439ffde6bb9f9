//! When two results are alike: byte for byte, or their numbers within a tolerance.
//!
//! Invariant: a result is alike to itself, and alike is symmetric; within a tolerance it is not
//! transitive (1.0 and 1.1, 1.1 and 1.2), which [`super::results`] allows for. Paper 4.2.4: success
//! on exact match or success on match within 10 percent variation.
//!
//! # Rules within a tolerance
//!
//! *Text* is cut into words, at blanks, line ends and any of `, ; = ( ) [ ] { } " '`. Two words are
//! alike if they are equal, or both numbers (decimal, with sign, point and exponent as in `-1.5e-3`;
//! `inf` and `nan` in any case) and within the tolerance. What is between words must be equal, but a run
//! of blanks (spaces and tabs) is like any other: columns widen with their numbers. A part of a word
//! is no number: `v1.5`, `12:30` and `2024-01-01` are compared as they are, and so is `0x1f`.
//!
//! *Doubles* are an array of IEEE 754 numbers of 8 bytes, little endian; bytes that are left over at
//! the end must be equal.
//!
//! Two numbers `a` and `b` are within a tolerance if `|a - b|` is at most `absolute`, or at most
//! `relative` times the larger of `|a|` and `|b|`. Something that is not a number is alike to another
//! such; an infinity to itself; both are alike to no number. A text of digits that a double cannot hold
//! (`1e999`) is compared as it is.

/// How far two numbers may be apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// As a part of the larger one: 0.1 is ten percent.
    pub relative: f64,
    /// In the numbers' own unit.
    pub absolute: f64,
}

/// When two results are alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// Byte for byte.
    Exact,
    /// Text, its numbers within a tolerance.
    Text(Tolerance),
    /// Binary doubles, within a tolerance.
    Doubles(Tolerance),
}

impl Scheme {
    /// Whether two results are alike.
    pub fn alike(&self, a: &[u8], b: &[u8]) -> bool {
        a == b
            || match self {
                Self::Exact => false,
                Self::Text(tolerance) => texts(a, b, tolerance),
                Self::Doubles(tolerance) => doubles(a, b, tolerance),
            }
    }

    /// Whether what is alike to one thing is alike to each other.
    pub const fn is_transitive(&self) -> bool {
        matches!(self, Self::Exact)
    }
}

impl Tolerance {
    /// Whether two numbers are within it.
    pub fn covers(&self, a: f64, b: f64) -> bool {
        if a.is_nan() || b.is_nan() {
            return a.is_nan() && b.is_nan();
        }
        // Not only quicker: infinities have no distance.
        if a == b {
            return true;
        }
        if a.is_infinite() || b.is_infinite() {
            return false;
        }
        // The difference of two finite numbers may be infinite; then they are far apart indeed.
        let apart = (a - b).abs();
        apart <= self.absolute || apart <= self.relative * a.abs().max(b.abs()) && apart.is_finite()
    }
}

fn texts(a: &[u8], b: &[u8], tolerance: &Tolerance) -> bool {
    let mut left = Pieces(a);
    let mut right = Pieces(b);
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(Piece::Blank), Some(Piece::Blank)) => {}
            (Some(Piece::Mark(one)), Some(Piece::Mark(two))) if one == two => {}
            (Some(Piece::Word(one)), Some(Piece::Word(two))) if words(one, two, tolerance) => {}
            _ => return false,
        }
    }
}

fn words(a: &[u8], b: &[u8], tolerance: &Tolerance) -> bool {
    a == b || matches!((number(a), number(b)), (Some(a), Some(b)) if tolerance.covers(a, b))
}

/// The number that a word is, if it is one that a double holds.
fn number(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let number: f64 = text.parse().ok()?;
    let digits = word.iter().any(u8::is_ascii_digit);
    (number.is_finite() || !digits).then_some(number)
}

/// A piece of a text.
enum Piece<'a> {
    /// A run of spaces and tabs.
    Blank,
    /// One byte that separates words.
    Mark(u8),
    /// What is between such.
    Word(&'a [u8]),
}

/// Cuts a text into pieces.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let first = *self.0.first()?;
        let run = |wanted: fn(u8) -> bool| {
            self.0.iter().position(|byte| !wanted(*byte)).unwrap_or(self.0.len())
        };
        let (piece, length) = if is_blank(first) {
            (Piece::Blank, run(is_blank))
        } else if is_mark(first) {
            (Piece::Mark(first), 1)
        } else {
            let length = run(|byte| !is_blank(byte) && !is_mark(byte));
            (Piece::Word(&self.0[..length]), length)
        };
        self.0 = &self.0[length..];
        Some(piece)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_mark(byte: u8) -> bool {
    b"\n\r\x0b\x0c,;=()[]{}\"'".contains(&byte)
}

fn doubles(a: &[u8], b: &[u8], tolerance: &Tolerance) -> bool {
    let (left, left_rest) = a.as_chunks::<8>();
    let (right, right_rest) = b.as_chunks::<8>();
    left.len() == right.len()
        && left_rest == right_rest
        && left.iter().zip(right).all(|(a, b)| {
            a == b || tolerance.covers(f64::from_le_bytes(*a), f64::from_le_bytes(*b))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN_PERCENT: Tolerance = Tolerance { relative: 0.1, absolute: 0.0 };
    const HALF: Tolerance = Tolerance { relative: 0.0, absolute: 0.5 };

    fn text(tolerance: Tolerance, a: &str, b: &str) -> bool {
        Scheme::Text(tolerance).alike(a.as_bytes(), b.as_bytes())
    }

    #[test]
    fn numbers_in_text_are_within_the_tolerance() {
        for (a, b) in [
            ("1.0", "1.1"),
            ("x = 100, y = -5e3\n", "x = 91.5, y = -4900\n"),
            ("  9.99 12\n", " 10.02 12\n"),
            ("[1,2,3]", "[1.05,2,2.9]"),
            ("nan inf -inf", "NaN Inf -INF"),
            ("0", "-0.0"),
        ] {
            assert!(text(TEN_PERCENT, a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1.0", "1.2"),
            ("0", "0.0001"),
            ("1 2", "1\n2"),
            ("1 2", "1 2 "),
            ("1 2", "12"),
            ("1", "x"),
            ("v1.5", "v1.6"),
            ("12:30", "12:31"),
            ("0x1f", "0x20"),
            ("2024-01-01", "2024-01-02"),
            ("nan", "1"),
            ("inf", "-inf"),
            ("inf", "1e308"),
            ("1e999", "1e998"),
            ("1e308", "-1e308"),
            ("1,5", "1;5"),
            ("1", ""),
        ] {
            assert!(!text(TEN_PERCENT, a, b), "{a} {b}");
        }
        assert!(text(HALF, "0.25 100", "0.75 99.5"));
        assert!(!text(HALF, "0.25", "0.76"));
    }

    #[test]
    fn doubles_are_compared_one_by_one() {
        let bytes = |numbers: &[f64]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let scheme = Scheme::Doubles(TEN_PERCENT);
        assert!(scheme.alike(&bytes(&[1.0, -2.0, f64::NAN]), &bytes(&[1.05, -2.1, -f64::NAN])));
        assert!(!scheme.alike(&bytes(&[1.0, 2.0]), &bytes(&[1.0, 2.5])));
        assert!(!scheme.alike(&bytes(&[1.0]), &bytes(&[1.0, 1.0])));
        let with_rest = |number: f64, rest: u8| [bytes(&[number]), vec![rest]].concat();
        assert!(scheme.alike(&with_rest(1.0, 7), &with_rest(1.01, 7)));
        assert!(!scheme.alike(&with_rest(1.0, 7), &with_rest(1.0, 8)));
    }

    #[test]
    fn exact_is_exact() {
        assert!(Scheme::Exact.alike(b"1.0", b"1.0"));
        assert!(!Scheme::Exact.alike(b"1.0", b"1.00"));
    }

    fn scheme() -> impl Strategy<Value = Scheme> {
        (0.0..0.5f64, 0.0..2.0f64, 0..3).prop_map(|(relative, absolute, which)| {
            let tolerance = Tolerance { relative, absolute };
            [Scheme::Exact, Scheme::Text(tolerance), Scheme::Doubles(tolerance)][which as usize]
        })
    }

    proptest! {
        #[test]
        fn alike_is_reflexive_and_symmetric_whatever_the_bytes(
            scheme in scheme(), a: Vec<u8>, b: Vec<u8>, shared: Vec<u8>,
        ) {
            let a = [shared.clone(), a].concat();
            let b = [shared, b].concat();
            prop_assert!(scheme.alike(&a, &a));
            prop_assert_eq!(scheme.alike(&a, &b), scheme.alike(&b, &a));
        }

        #[test]
        fn no_tolerance_is_as_exact_as_numbers_are(a in "[-0-9. e\n]{0,12}", b in "[-0-9. e\n]{0,12}") {
            let none = Tolerance { relative: 0.0, absolute: 0.0 };
            if text(none, &a, &b) {
                let numbers = |text: &str| -> Vec<Option<f64>> {
                    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
                };
                prop_assert_eq!(numbers(&a), numbers(&b));
            }
        }

        #[test]
        fn what_the_tolerance_covers_is_alike_as_text_and_as_doubles(
            a in prop::collection::vec(-1e6..1e6f64, 1..8), by in -0.2..0.2f64,
        ) {
            let b: Vec<f64> = a.iter().map(|number| number * (1.0 + by)).collect();
            let covers = a.iter().zip(&b).all(|(a, b)| TEN_PERCENT.covers(*a, *b));
            let text = |numbers: &[f64]| {
                numbers.iter().map(f64::to_string).collect::<Vec<_>>().join("  ").into_bytes()
            };
            let bytes = |numbers: &[f64]| -> Vec<u8> {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            };
            prop_assert_eq!(Scheme::Text(TEN_PERCENT).alike(&text(&a), &text(&b)), covers);
            prop_assert_eq!(Scheme::Doubles(TEN_PERCENT).alike(&bytes(&a), &bytes(&b)), covers);
        }
    }
}
