//! The records of a ring, as the code in a replica writes them (`chameleon_sys::inside`).
//!
//! Invariant: pure; a ring is written by a replica, so nothing in it is believed: what is no whole
//! record ends it.

use chameleon_sys::inside::{RECORD, RING_LEN};

/// A record of a ring.
pub(super) struct Record<'a> {
    pub(super) writes: bool,
    pub(super) fd: i32,
    pub(super) len: u64,
    /// What is written.
    pub(super) bytes: &'a [u8],
    /// Bytes of the whole record.
    pub(super) size: usize,
}

/// The record at the start of `ring`, if it is a whole one.
pub(super) fn record(ring: &[u8]) -> Option<Record<'_>> {
    let head: &[u8; RECORD] = ring.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let len = u64::from(word(16)) | u64::from(word(20)) << 32;
    let writes = word(0) == 1;
    let kept = if writes { usize::try_from(len).ok().filter(|n| *n <= RING_LEN)? } else { 0 };
    let size = RECORD + kept.next_multiple_of(8);
    let whole = word(0) <= 1 && size <= ring.len();
    whole.then(|| Record {
        writes,
        fd: word(4) as i32,
        len,
        bytes: &ring[RECORD..RECORD + kept],
        size,
    })
}

/// Whether a ring writes.
pub(super) fn has_writes(ring: &[u8]) -> bool {
    let mut at = 0;
    while let Some(r) = record(&ring[at..]) {
        if r.writes {
            return true;
        }
        at += r.size;
    }
    false
}

/// Bytes at the start of `ring` that are whole records and not more than `most`.
pub(super) fn whole_records(ring: &[u8], most: usize) -> usize {
    let mut at = 0;
    while let Some(r) = record(&ring[at..]).filter(|r| at + r.size <= most) {
        at += r.size;
    }
    at
}

/// Where in a ring's record a byte stands: the number of the argument it belongs to, and its offset
/// in what that argument leads to.
pub(in crate::dispatcher) fn place_in_record(ring: &[u8], at: usize) -> (u8, Option<u64>) {
    let mut from = 0;
    while let Some(r) = record(&ring[from..]) {
        if at < from + r.size {
            return match at - from {
                0..8 => (0, None),
                8..16 => (1, None),
                16..RECORD => (2, None),
                n => (1, Some((n - RECORD) as u64)),
            };
        }
        from += r.size;
    }
    (1, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(fd: u32, bytes: &[u8]) -> Vec<u8> {
        let mut r = Vec::new();
        r.extend(1u32.to_le_bytes());
        r.extend(fd.to_le_bytes());
        r.extend(0x1000u64.to_le_bytes());
        r.extend((bytes.len() as u64).to_le_bytes());
        r.extend(bytes);
        r.resize(r.len().next_multiple_of(8), 0);
        r
    }

    #[test]
    fn records_are_taken_apart_and_only_whole_ones_count() {
        let mut ring = write(5, b"hello");
        let first = ring.len();
        ring.extend(write(6, b"0123456789"));
        let r = record(&ring).unwrap();
        assert!(r.writes);
        assert_eq!((r.fd, r.bytes, r.size), (5, b"hello".as_slice(), first));
        assert_eq!(whole_records(&ring, ring.len()), ring.len());
        assert_eq!(whole_records(&ring, ring.len() - 1), first);
        assert_eq!(whole_records(&ring, 3), 0);
        assert!(record(&ring[..20]).is_none());
    }

    #[test]
    fn a_byte_is_found_in_its_record() {
        let mut ring = write(5, b"hello");
        let first = ring.len();
        ring.extend(write(6, b"0123456789"));
        assert_eq!(place_in_record(&ring, first + RECORD + 3), (1, Some(3)));
        assert_eq!(place_in_record(&ring, 16), (2, None));
        assert_eq!(place_in_record(&ring, first + 4), (0, None));
    }

    #[test]
    fn what_no_library_writes_is_no_record() {
        let mut ring = write(1, b"x");
        ring[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(record(&ring).is_none());
        ring[0] = 2;
        assert!(record(&ring).is_none());
    }
}
