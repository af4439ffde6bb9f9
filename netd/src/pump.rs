//! Bytes in and out of a connection.
//!
//! Invariant: whatever comes in, only whole and checked frames get further; the first that is not ends
//! the connection. What did not go out whole when it ends is in its queue again. Used by `local` and
//! `peer`.

use std::io;
use std::ops::Range;

use chameleon_proto::frame::{FrameError, Header};
use chameleon_proto::message::Envelope;
use chameleon_proto::stream::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::queue::Queue;

/// Reads after which others get their turn.
const TURN: u32 = 8;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The other end closed it.
    #[error("closed")]
    Closed,
    /// It broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is not wanted any more.
    #[error("{0}")]
    Cut(&'static str),
}

impl End {
    /// The label of the metric of refused frames, if one was.
    pub const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Frame(FrameError::Magic) => Some("magic"),
            Self::Frame(FrameError::Version(_)) => Some("version"),
            Self::Frame(FrameError::TooLong(_)) => Some("length"),
            Self::Frame(FrameError::Checksum { .. }) => Some("checksum"),
            Self::Frame(_) => Some("body"),
            _ => None,
        }
    }
}

/// Reads more bytes.
async fn fill<R: AsyncRead + Unpin>(from: &mut R, stream: &mut Stream) -> Result<(), End> {
    let n = from.read(stream.space()).await?;
    if n == 0 {
        return Err(End::Closed);
    }
    stream.filled(n);
    Ok(())
}

/// The first message of a connection, of at most so many bytes.
pub async fn first<R: AsyncRead + Unpin>(
    from: &mut R,
    stream: &mut Stream,
    most: usize,
) -> Result<Envelope, End> {
    let mut have = 0;
    loop {
        if let Some(message) = stream.open() {
            return Ok(message?);
        }
        if have > most {
            return Err(End::Cut("the first message is too long"));
        }
        let n = from.read(stream.space()).await?;
        if n == 0 {
            return Err(End::Closed);
        }
        stream.filled(n);
        have += n;
    }
}

/// Gives each frame that comes to `take`, until the connection ends.
pub async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    stream: &mut Stream,
    mut take: impl FnMut(&Header, &[u8]),
) -> End {
    let mut turn = 0;
    loop {
        while let Some(next) = stream.check() {
            match next {
                Ok((header, at)) => give(stream, &header, at, &mut take),
                Err(error) => return error.into(),
            }
        }
        turn = (turn + 1) % TURN;
        if turn == 0 {
            tokio::task::yield_now().await;
        }
        if let Err(end) = fill(from, stream).await {
            return end;
        }
    }
}

fn give(stream: &Stream, header: &Header, at: Range<usize>, take: &mut impl FnMut(&Header, &[u8])) {
    take(header, stream.bytes(at));
}

/// What a writer has taken from its queue.
#[derive(Debug, Default)]
pub struct Taken {
    bytes: Vec<u8>,
    written: usize,
}

impl Taken {
    /// The writer has ended: what did not go out whole is put back.
    pub fn put_back(&mut self, queue: &Queue) {
        queue.put_back(&self.bytes, self.written);
        self.bytes.clear();
        self.written = 0;
    }
}

/// Writes what is put into a queue, until the connection breaks or the queue is closed. May be dropped
/// at any time; [`Taken::put_back`] is to follow.
pub async fn write<W: AsyncWrite + Unpin>(to: &mut W, queue: &Queue, taken: &mut Taken) -> End {
    loop {
        while taken.written < taken.bytes.len() {
            match to.write(&taken.bytes[taken.written..]).await {
                Ok(0) => return End::Closed,
                Ok(n) => taken.written += n,
                Err(error) => return error.into(),
            }
            queue.left(taken.bytes.len() - taken.written);
        }
        if let Err(error) = to.flush().await {
            return error.into();
        }
        taken.bytes.clear();
        taken.written = 0;
        if !queue.take(&mut taken.bytes).await {
            return End::Cut("the queue is closed");
        }
    }
}
