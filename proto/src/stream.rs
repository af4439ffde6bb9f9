//! Frames out of a stream of bytes: a buffer that a reader fills and takes whole frames from.
//!
//! Invariant: a frame is given out once, whole and checked; what is not whole yet is at most one frame
//! long. An error ends the stream unless the frame's body alone cannot be read. Used by `link` and
//! `netd`, which read.

use std::ops::Range;

use crate::frame::{self, FrameError, Header};
use crate::message::Envelope;

/// Bytes that there is room for at least, whenever bytes are asked for.
const CHUNK: usize = 64 << 10;

/// The buffer.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Stream {
    /// Where the next bytes go; how many came is said with [`Stream::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.bytes.len() < self.to + CHUNK {
            self.bytes.resize(self.to + CHUNK, 0);
        }
        &mut self.bytes[self.to..]
    }

    /// So many bytes came.
    pub fn filled(&mut self, bytes: usize) {
        self.to = (self.to + bytes).min(self.bytes.len());
    }

    /// Forgets what is not taken yet.
    pub fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    /// The next whole frame: its header, and where its bytes are: [`Stream::bytes`] has them until there are
    /// new ones.
    ///
    /// # Errors
    /// As [`frame::check`]: the stream cannot be read on.
    pub fn check(&mut self) -> Option<Result<(Header, Range<usize>), FrameError>> {
        match frame::check(&self.bytes[self.from..self.to]) {
            Ok(header) => {
                let at = self.from..self.from + header.frame_length();
                self.from = at.end;
                Some(Ok((header, at)))
            }
            Err(FrameError::Short { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The bytes of a frame.
    pub fn bytes(&self, at: Range<usize>) -> &[u8] {
        &self.bytes[at]
    }

    /// The next message.
    ///
    /// # Errors
    /// [`FrameError::Codec`] and `Kind` for a frame that is skipped; after any other the stream cannot
    /// be read on.
    pub fn open(&mut self) -> Option<Result<Envelope, FrameError>> {
        Some(self.check()?.and_then(|(_, at)| Ok(frame::open(&self.bytes[at])?.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ArmorId, ArmorType, Epoch};
    use crate::message::Message;

    fn envelope(nonce: u64) -> Envelope {
        let armor = ArmorId::first(ArmorType(8), 1);
        let message = Message::Ping { nonce };
        Envelope { source: armor, destination: armor, epoch: Epoch(1), message }
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in() {
        let all: Vec<u8> = (0..50).flat_map(|n| frame::seal(&envelope(n)).unwrap()).collect();
        for step in [1, 7, 44, 45, 1000] {
            let mut stream = Stream::default();
            let mut nonce = 0;
            for piece in all.chunks(step) {
                stream.space()[..piece.len()].copy_from_slice(piece);
                stream.filled(piece.len());
                while let Some(next) = stream.open() {
                    assert_eq!(next, Ok(envelope(nonce)));
                    nonce += 1;
                }
            }
            assert_eq!(nonce, 50);
        }
    }
}
