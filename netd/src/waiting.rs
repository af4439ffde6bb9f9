//! Frames that wait for the FTM to say where an ARMOR is.
//!
//! Invariant: bounded in bytes; none waits for longer than it is let. Pure; time comes in. Used by `daemon`.

use std::collections::HashMap;
use std::time::Instant;

use crate::route::{Name, Origin};

/// Bytes that wait at most, for all ARMORs together.
const LIMIT: usize = 4 << 20;

/// A frame that waits.
#[derive(Debug)]
pub struct Frame {
    /// Where it came from.
    pub origin: Origin,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What came of adding a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is the first for this ARMOR: the FTM is to be asked.
    First,
    /// The FTM has been asked.
    More,
    /// There is no room.
    Full,
}

/// Frames by the ARMOR that is asked for.
#[derive(Debug, Default)]
pub struct Waiting {
    frames: HashMap<Name, (Instant, Vec<Frame>)>,
    bytes: usize,
}

impl Waiting {
    /// This frame waits until then at the latest.
    pub fn add(&mut self, name: Name, frame: Frame, until: Instant) -> Added {
        if self.bytes + frame.bytes.len() > LIMIT {
            return Added::Full;
        }
        self.bytes += frame.bytes.len();
        let (_, frames) = self.frames.entry(name).or_insert_with(|| (until, Vec::new()));
        frames.push(frame);
        if frames.len() == 1 { Added::First } else { Added::More }
    }

    /// All that waits for this ARMOR, in order.
    pub fn take(&mut self, name: Name) -> Vec<Frame> {
        let frames = self.frames.remove(&name).map_or_else(Vec::new, |(_, frames)| frames);
        self.bytes -= frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        frames
    }

    /// The ARMORs that are waited for.
    pub fn names(&self) -> Vec<Name> {
        self.frames.keys().copied().collect()
    }

    /// Those that have waited for too long.
    pub fn late(&self, now: Instant) -> Vec<Name> {
        self.frames.iter().filter(|(_, (until, _))| *until <= now).map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chameleon_proto::ids::armors;

    use super::*;

    #[test]
    fn frames_wait_in_order_and_not_without_end() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        let frame = |bytes: &[u8]| Frame { origin: Origin::Own, bytes: bytes.to_vec() };
        let name = (armors::VOTER, 1);
        assert_eq!(waiting.add(name, frame(b"1"), now), Added::First);
        assert_eq!(waiting.add(name, frame(b"2"), now + Duration::from_secs(9)), Added::More);
        assert_eq!(waiting.late(now), [name]);
        let taken = waiting.take(name);
        assert_eq!(taken.iter().map(|frame| &frame.bytes[..]).collect::<Vec<_>>(), [b"1", b"2"]);
        assert!(waiting.late(now).is_empty() && waiting.names().is_empty());
        let big = vec![0; LIMIT];
        assert_eq!(waiting.add(name, frame(&big), now), Added::First);
        assert_eq!(waiting.add((armors::VOTER, 2), frame(b"3"), now), Added::Full);
    }
}
