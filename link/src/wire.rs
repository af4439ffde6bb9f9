//! The socket, and what waits to be written to it.
//!
//! Invariant: never waits. What is not written yet is kept in order and is at most [`LIMIT`] long. Used
//! by `lib`.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The most bytes that wait to be written.
pub const LIMIT: usize = 4 << 20;

#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    pending: Vec<u8>,
    from: usize,
}

impl Wire {
    pub fn call(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, pending: Vec::new(), from: 0 })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub const fn is_pending(&self) -> bool {
        self.from < self.pending.len()
    }

    pub const fn has_room(&self, bytes: usize) -> bool {
        self.pending.len() - self.from + bytes <= LIMIT
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Writes what the socket takes; how many bytes that were.
    pub fn write(&mut self) -> io::Result<usize> {
        let before = self.from;
        let mut result = Ok(());
        while self.is_pending() {
            match self.stream.write(&self.pending[self.from..]) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.from += n;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => result = Err(error),
            }
            break;
        }
        let written = self.from - before;
        if !self.is_pending() {
            self.pending.clear();
            self.from = 0;
        } else if self.from > LIMIT / 4 {
            self.pending.drain(..self.from);
            self.from = 0;
        }
        result.map(|()| written)
    }

    /// Reads once; 0 if there is nothing at present.
    ///
    /// # Errors
    /// Also when the other end is closed.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            return match self.stream.read(into) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => Ok(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(error),
            };
        }
    }
}
