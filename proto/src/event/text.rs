//! Bytes and addresses as a report shows them.
//!
//! Invariant: the text form parses back to the same value. Used in events only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The text is not what [`Bytes`] or [`Address`] write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is neither up to 16 bytes in hexadecimal nor an address such as 0x7f00")]
pub struct NotHex(String);

/// Up to 16 bytes, shown as hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes {
    length: u8,
    data: [u8; Self::MOST],
}

impl Bytes {
    /// How many bytes are kept.
    pub const MOST: usize = 16;

    /// The first 16 of `bytes`, or all if they are fewer.
    pub fn of(bytes: &[u8]) -> Self {
        let mut data = [0; Self::MOST];
        let length = bytes.len().min(Self::MOST);
        data[..length].copy_from_slice(&bytes[..length]);
        Self { length: length as u8, data }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.data[..usize::from(self.length)]
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Bytes {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let bad = || NotHex(text.to_owned());
        if text.len() > 2 * Self::MOST || !text.len().is_multiple_of(2) {
            return Err(bad());
        }
        let mut bytes = [0; Self::MOST];
        for (slot, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(bad);
            *slot = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self::of(&bytes[..text.len() / 2]))
    }
}

/// An address in a program, shown as `0x…` (JSON numbers lose precision beyond 53 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for Address {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        value.map(Self).ok_or_else(|| NotHex(text.to_owned()))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl TryFrom<String> for Bytes {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_and_read_back() {
        let long: Vec<u8> = (0..40).collect();
        assert_eq!(Bytes::of(&long).as_slice(), &long[..16]);
        for bytes in [&long[..0], &long[..1], &long[..16], b"\xff\x00\n"] {
            assert_eq!(Bytes::of(bytes).to_string().parse(), Ok(Bytes::of(bytes)));
        }
        for bad in ["f", "zz", "é", "000102030405060708090a0b0c0d0e0f10"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_read_back() {
        for address in [0, 0x7fff_ffff_f000, u64::MAX] {
            assert_eq!(Address(address).to_string().parse(), Ok(Address(address)));
        }
        for bad in ["", "0x", "12", "0x+1", "0x10000000000000000"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
