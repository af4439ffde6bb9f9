//! An object of shared memory as it is outside: a file, or a segment.
//!
//! Invariant: a segment is attached here only while it is looked at, so that the program counts its
//! own attachments alone.

use chameleon_sys::segment::Segment;
use chameleon_sys::{Result, fd, shadow};

/// See the head of this file.
#[derive(Debug)]
pub(super) enum Outside {
    /// A descriptor of ours.
    File(i32),
    Segment(Segment),
}

impl Outside {
    /// Its length in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File(f) => fd::size(*f).unwrap_or(0),
            Self::Segment(s) => s.len(),
        }
    }

    pub(super) fn read(&self, at: u64, buf: &mut [u8]) {
        match self {
            Self::File(f) => shadow::read(*f, at, buf),
            Self::Segment(s) => s.read(at, buf),
        }
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(f) => shadow::write(*f, at, bytes),
            Self::Segment(s) => {
                s.write(at, bytes);
                Ok(())
            }
        }
    }

    /// The first position of a part from which on there is anything.
    pub(super) fn next_data(&self, part: std::ops::Range<u64>) -> Option<u64> {
        match self {
            Self::File(f) => shadow::next_data(*f, part.start, part.end),
            Self::Segment(_) => Some(part.start).filter(|_| !part.is_empty()),
        }
    }
}
