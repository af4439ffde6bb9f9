//! Frames: a header laid out by hand, then an encoded message.
//!
//! ```text
//!  0 magic "CHML"   4 version  6 kind     8 body length   12 checksum (CRC-32, as in zlib)
//! 16 source: type 2, number 4, incarnation 4
//! 26 destination: the same                36 epoch        44 the body
//! ```
//! All little endian.
//!
//! Invariant: the header does not depend on the codec, so a receiver can route, fence off and skip
//! a frame whose body it cannot read; the checksum covers everything but itself. Used by the links
//! between ARMORs.

use thiserror::Error;

use crate::codec::{self, CodecError};
use crate::ids::{ArmorId, ArmorType, Epoch, Incarnation};
use crate::message::{Envelope, Message};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"CHML";

/// Version of frame and codec together.
pub const VERSION: u16 = 1;

/// Bytes of the header.
pub const HEADER: usize = 44;

/// Longest body, in bytes.
pub const LIMIT: usize = codec::LIMIT;

/// Why bytes are not a frame, or a message does not fit one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum FrameError {
    #[error("a frame does not begin with the magic bytes; the stream is out of step")]
    Magic,
    #[error("a frame is of version {0}; this is version {VERSION}")]
    Version(u16),
    #[error("a frame's body of {0} bytes is longer than {LIMIT}")]
    TooLong(u32),
    #[error("a frame ends after {have} of {need} bytes")]
    Short { have: usize, need: usize },
    #[error("a frame's checksum is {got:#010x}; its bytes give {computed:#010x}")]
    Checksum { got: u32, computed: u32 },
    #[error("a frame of kind {header} holds a message of kind {body}")]
    Kind { header: u16, body: u16 },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the message's kind.
    pub kind: u16,
    /// Bytes of the body.
    pub length: u32,
    /// CRC-32 of the header without this field, then of the body.
    pub checksum: u32,
    /// Who sent it.
    pub source: ArmorId,
    /// Who shall have it.
    pub destination: ArmorId,
    /// The composition that the sender knew.
    pub epoch: Epoch,
}

impl Header {
    /// Reads a header from the first [`HEADER`] bytes of a stream, so that the reader knows how
    /// many more to wait for.
    ///
    /// # Errors
    /// [`FrameError::Short`], `Magic`, `Version`, `TooLong`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else {
            return Err(FrameError::Short { have: bytes.len(), need: HEADER });
        };
        if bytes[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = u16_at(bytes, 4);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let length = u32_at(bytes, 8);
        if length as usize > LIMIT {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self {
            kind: u16_at(bytes, 6),
            length,
            checksum: u32_at(bytes, 12),
            source: armor_at(bytes, 16),
            destination: armor_at(bytes, 26),
            epoch: Epoch(u64::from(u32_at(bytes, 36)) | u64::from(u32_at(bytes, 40)) << 32),
        })
    }

    /// Bytes of the whole frame.
    pub const fn frame_length(&self) -> usize {
        HEADER + self.length as usize
    }

    fn write(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.checksum.to_le_bytes());
        for (at, armor) in [(16, self.source), (26, self.destination)] {
            bytes[at..at + 2].copy_from_slice(&armor.kind.0.to_le_bytes());
            bytes[at + 2..at + 6].copy_from_slice(&armor.number.to_le_bytes());
            bytes[at + 6..at + 10].copy_from_slice(&armor.incarnation.0.to_le_bytes());
        }
        bytes[36..44].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes
    }
}

fn u16_at(bytes: &[u8; HEADER], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn armor_at(bytes: &[u8; HEADER], at: usize) -> ArmorId {
    ArmorId {
        kind: ArmorType(u16_at(bytes, at)),
        number: u32_at(bytes, at + 2),
        incarnation: Incarnation(u32_at(bytes, at + 6)),
    }
}

/// The frame of a message.
///
/// # Errors
/// [`FrameError::Codec`] if the message is too long.
pub fn seal(envelope: &Envelope) -> Result<Vec<u8>, FrameError> {
    let body = codec::encode(&envelope.message)?;
    let mut header = Header {
        kind: envelope.message.kind().number(),
        length: body.len() as u32,
        checksum: 0,
        source: envelope.source,
        destination: envelope.destination,
        epoch: envelope.epoch,
    };
    header.checksum = checksum(&header.write(), &body);
    let mut frame = Vec::with_capacity(header.frame_length());
    frame.extend_from_slice(&header.write());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The header of the frame at the beginning of `bytes`, which are all there and as they were sent;
/// what its body means is not looked at. For those who pass frames on.
///
/// # Errors
/// Any [`FrameError`] but `Kind` and `Codec`; `Short` means that more bytes are needed.
pub fn check(bytes: &[u8]) -> Result<Header, FrameError> {
    let header = Header::parse(bytes)?;
    let need = header.frame_length();
    let Some(body) = bytes.get(HEADER..need) else {
        return Err(FrameError::Short { have: bytes.len(), need });
    };
    let computed = checksum(&header.write(), body);
    if computed != header.checksum {
        return Err(FrameError::Checksum { got: header.checksum, computed });
    }
    Ok(header)
}

/// The message at the beginning of `bytes`, and how many of them it took.
///
/// # Errors
/// Any [`FrameError`]; `Short` means that more bytes are needed.
pub fn open(bytes: &[u8]) -> Result<(Envelope, usize), FrameError> {
    let header = check(bytes)?;
    let need = header.frame_length();
    let body = &bytes[HEADER..need];
    let message: Message = codec::decode(body)?;
    let kind = message.kind().number();
    if kind != header.kind {
        return Err(FrameError::Kind { header: header.kind, body: kind });
    }
    let Header { source, destination, epoch, .. } = header;
    Ok((Envelope { source, destination, epoch, message }, need))
}

/// The checksum of a frame; the header's own field for it is left out. CRC-32 as in zlib.
fn checksum(header: &[u8; HEADER], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..12]);
    crc.update(&header[16..]);
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            source: ArmorId::first(ArmorType(1), 2),
            destination: ArmorId::first(ArmorType(3), 0x0102_0304).successor(),
            epoch: Epoch(0x1122_3344_5566_7788),
            message: Message::Ping { nonce: 7 },
        }
    }

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        let frame = seal(&envelope()).unwrap();
        let covered = [&frame[..12], &frame[16..]].concat();
        assert_eq!(check(&frame).unwrap().checksum, crc32fast::hash(&covered));
    }

    #[test]
    fn a_frame_has_its_documented_layout() {
        let frame = seal(&envelope()).unwrap();
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(&hex[..24], "43484d4c0100010002000000");
        assert_eq!(&hex[32..], "010002000000000000000300040302010100000088776655443322110007");
        assert_eq!(open(&frame), Ok((envelope(), frame.len())));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let frame = seal(&envelope()).unwrap();
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_stream_is_taken_apart_frame_by_frame() {
        let mut stream = seal(&envelope()).unwrap();
        let first = stream.len();
        let second = Envelope { message: Message::Shutdown, ..envelope() };
        stream.extend(seal(&second).unwrap());
        assert_eq!(open(&stream).unwrap().1, first);
        assert_eq!(open(&stream[first..]), Ok((second, stream.len() - first)));
        for cut in 0..first {
            assert!(matches!(open(&stream[..cut]), Err(FrameError::Short { .. })), "{cut}");
        }
    }

    #[test]
    fn foreign_versions_and_lengths_are_named() {
        let frame = seal(&envelope()).unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = frame.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            open(&bad).unwrap_err()
        };
        assert_eq!(with(0, b"X"), FrameError::Magic);
        assert_eq!(with(4, &[9, 0]), FrameError::Version(9));
        assert_eq!(with(8, &[0xff; 4]), FrameError::TooLong(u32::MAX));
    }

    #[test]
    fn the_kind_in_the_header_must_be_the_bodys() {
        let body = codec::encode(&Message::Shutdown).unwrap();
        let mut header = Header {
            kind: 1,
            length: body.len() as u32,
            checksum: 0,
            source: envelope().source,
            destination: envelope().destination,
            epoch: Epoch(0),
        };
        header.checksum = checksum(&header.write(), &body);
        let frame = [&header.write()[..], &body].concat();
        assert_eq!(open(&frame), Err(FrameError::Kind { header: 1, body: 8 }));
    }

    #[test]
    fn what_is_too_long_is_not_sealed() {
        let refused = crate::event::Refused {
            process: 1,
            program: "x".repeat(LIMIT),
            call: "ioctl".into(),
            reason: "".into(),
            advice: "".into(),
            answer: "".into(),
        };
        let message = Message::Report(crate::event::Event::Refused(refused));
        let envelope = Envelope { message, ..envelope() };
        assert_eq!(seal(&envelope), Err(FrameError::Codec(CodecError::TooLong)));
    }
}
