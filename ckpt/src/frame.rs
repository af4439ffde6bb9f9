//! A value in a file: a header laid out by hand, then the value in the project's codec.
//!
//! ```text
//! 0  8  magic "CHMLCKPT"
//! 8  4  format version          16  8  bytes of the value
//! 12 4  kind of file            24  8  XXH3 of the header before this and of the value
//! ```
//!
//! The header stands outside the codec so that a file of another version is named, not misread.
//!
//! Invariant: the codec sees no byte whose checksum has not been found right. Called by the writer,
//! the reader and the undo log.

use std::hash::Hasher;
use std::path::Path;

use chameleon_proto::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use twox_hash::XxHash3_64;

use crate::FORMAT;
use crate::error::{Error, Result, damaged};

const MAGIC: &[u8; 8] = b"CHMLCKPT";

/// Bytes of a header.
pub const HEADER: usize = 32;

/// The longest value, in bytes: a description of a program with some millions of pieces of memory.
pub const LIMIT: usize = 256 << 20;

/// What kind of file a frame is, or begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `manifest`.
    Manifest = 1,
    /// `index`.
    Index = 2,
    /// One record of an undo log.
    Undo = 3,
    /// Where files of an image are on this machine.
    Moved = 4,
}

/// XXH3 with 64 bits: 25 GB/s here, CRC-32C 14, and twice the bits.
pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// The frame of a value, and the checksum in it.
///
/// # Errors
/// What the codec says, for example that the value is longer than [`LIMIT`].
pub fn seal<T: Serialize>(kind: Kind, value: &T) -> std::result::Result<(Vec<u8>, u64), String> {
    let value = codec::encode_up_to::<LIMIT, T>(value).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(HEADER + value.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    let sum = sum(&bytes, &value);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&value);
    Ok((bytes, sum))
}

fn sum(head: &[u8], value: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::new();
    hasher.write(head);
    hasher.write(value);
    hasher.finish()
}

/// Bytes of a frame whose header begins `bytes`, with the header.
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::OtherVersion`], [`Error::Truncated`], [`Error::Damaged`].
pub fn length(file: &Path, kind: Kind, bytes: &[u8], at: u64) -> Result<u64> {
    let begun = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(begun) {
        let what = "it begins with other bytes";
        return Err(Error::NotAnImage { file: file.to_owned(), what });
    }
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let found = at + bytes.len() as u64;
        return Err(Error::Truncated { file: file.to_owned(), found, wanted: at + HEADER as u64 });
    };
    let found = word32(header, 8);
    if found != FORMAT {
        return Err(Error::OtherVersion { file: file.to_owned(), found, known: FORMAT });
    }
    if word32(header, 12) != kind as u32 {
        let what = "it is another kind of file";
        return Err(Error::NotAnImage { file: file.to_owned(), what });
    }
    let long = word64(header, 16);
    if long > LIMIT as u64 {
        return Err(damaged(file, at, format!("its header claims {long} bytes")));
    }
    Ok(HEADER as u64 + long)
}

/// The value of exactly the frame in `bytes`, which begin at byte `at` of the file, and its checksum.
///
/// # Errors
/// As [`length`].
pub fn open<T: DeserializeOwned>(
    file: &Path,
    kind: Kind,
    bytes: &[u8],
    at: u64,
) -> Result<(T, u64)> {
    let wanted = length(file, kind, bytes, at)?;
    let found = bytes.len() as u64;
    if found < wanted {
        let (found, wanted) = (at + found, at + wanted);
        return Err(Error::Truncated { file: file.to_owned(), found, wanted });
    }
    if found > wanted {
        return Err(damaged(file, at + wanted, "there are bytes behind its end"));
    }
    let (head, value) = (&bytes[..24], &bytes[HEADER..]);
    let stored = word64(bytes, 24);
    if stored != sum(head, value) {
        return Err(damaged(file, at, "its checksum is wrong"));
    }
    let value = codec::decode_up_to::<LIMIT, T>(value)
        .map_err(|error| damaged(file, at + HEADER as u64, error.to_string()))?;
    Ok((value, stored))
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}
