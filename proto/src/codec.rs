//! Values to bytes and back: the only place that knows the codec.
//!
//! Invariant: what is encoded decodes to an equal value; nothing longer than [`LIMIT`], or than the
//! limit that the caller names, is encoded or decoded, and no input makes decoding allocate more than a small multiple of it. The codec is
//! bincode, pinned and fenced in here (`docs/adr/0003-bincode.md`): to exchange it, rewrite this
//! file and the fixtures of its tests, and raise the frame's version. Called by `frame` and by
//! whoever stores messages.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The longest encoding, in bytes.
pub const LIMIT: usize = 1 << 20;

/// Why encoding or decoding failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The value would take more than [`LIMIT`] bytes.
    #[error("a message is longer than {LIMIT} bytes")]
    TooLong,
    /// The value cannot be encoded.
    #[error("a message cannot be encoded: {0}")]
    Encode(String),
    /// The bytes are no such value.
    #[error("a message cannot be decoded: {0}")]
    Decode(String),
    /// There are bytes behind the value.
    #[error("a message has {0} bytes too many")]
    Trailing(usize),
}

/// Little endian, variable-length integers.
const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard().with_limit::<LIMIT>();

/// The bytes of a value.
///
/// # Errors
/// [`CodecError::TooLong`], [`CodecError::Encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, CONFIG)
        .map_err(|error| CodecError::Encode(error.to_string()))?;
    if bytes.len() > LIMIT { Err(CodecError::TooLong) } else { Ok(bytes) }
}

/// As [`encode`], for what is kept in files: up to `N` bytes, since a description of a whole
/// program may be longer than any message.
///
/// # Errors
/// [`CodecError::Encode`], also when it would be longer than `N` bytes.
pub fn encode_up_to<const N: usize, T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, CONFIG.with_limit::<N>())
        .map_err(|error| CodecError::Encode(error.to_string()))?;
    let long = || CodecError::Encode(format!("it is longer than {N} bytes"));
    if bytes.len() > N { Err(long()) } else { Ok(bytes) }
}

/// The value that [`encode_up_to`] gave these bytes for.
///
/// # Errors
/// [`CodecError::Decode`], also of more than `N` bytes, [`CodecError::Trailing`].
pub fn decode_up_to<const N: usize, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > N {
        return Err(CodecError::Decode(format!("it is longer than {N} bytes")));
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG.with_limit::<N>())
        .map_err(|error| CodecError::Decode(error.to_string()))?;
    if used < bytes.len() { Err(CodecError::Trailing(bytes.len() - used)) } else { Ok(value) }
}

/// The value of exactly these bytes.
///
/// # Errors
/// [`CodecError::TooLong`], [`CodecError::Decode`], [`CodecError::Trailing`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > LIMIT {
        return Err(CodecError::TooLong);
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|error| CodecError::Decode(error.to_string()))?;
    if used < bytes.len() { Err(CodecError::Trailing(bytes.len() - used)) } else { Ok(value) }
}

#[cfg(test)]
mod tests;
