//! Asking a run for something over its socket.
//!
//! Invariant: an answer comes, or an error, within the time given and a second. An ARMOR that dies before it has
//! answered is asked again: its successor holds the same socket. Used by the command.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use chameleon_proto::runs::{LINE, Reply, Request, from_line, to_line};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::list::Living;

/// How long it is waited before a run that has lost its ARMOR is asked again.
const AGAIN: Duration = Duration::from_millis(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It has ended meanwhile.
    #[error("run {0} has ended")]
    Ended(String),
    /// It does not answer.
    #[error("run {0} has not answered within {1:?}")]
    Late(String, Duration),
    /// It answers what is not understood.
    #[error("run {0} answers what this version does not understand")]
    Strange(String),
}

/// A connection to a run's socket.
fn call(run: &Living) -> io::Result<UnixStream> {
    let directory = File::open(&run.directory)?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), super::CONTROL);
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Where a stopped run's queue is full, connecting waits (unix(7)).
    let most = TimeVal::new(1, 0);
    setsockopt(&socket, SendTimeout, &most)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    Ok(UnixStream::from(socket))
}

impl Living {
    /// The process that listens at its socket (`SO_PEERCRED`, unix(7)): its supervisor, with which all of the run
    /// ends, whatever of the program is left (ADR 0006).
    pub fn supervisor(&self) -> Option<u32> {
        let peer = getsockopt(&call(self).ok()?, PeerCredentials).ok()?;
        u32::try_from(peer.pid()).ok()
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Question<'a> {
    run: &'a Living,
    request: Request,
    stream: Option<UnixStream>,
}

impl<'a> Question<'a> {
    /// Sends a request without waiting for its answer.
    pub fn send(run: &'a Living, request: Request) -> Self {
        let mut question = Self { run, request, stream: None };
        question.stream = question.connect().ok();
        question
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = call(self.run)?;
        stream.write_all(to_line(&self.request)?.as_bytes())?;
        Ok(stream)
    }

    /// Waits for the answer, at most for `patience`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn answer(mut self, patience: Duration) -> Result<Reply, AskError> {
        let (id, start) = (|| self.run.info.id.clone(), Instant::now());
        loop {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(AskError::Late(id(), patience));
            }
            match self.stream.take().map(|stream| read(stream, left)) {
                Some(Ok(line)) if line.ends_with(b"\n") => {
                    return from_line(&line).map_err(|_| AskError::Strange(id()));
                }
                Some(Err(e)) if timed_out(&e) => return Err(AskError::Late(id(), patience)),
                // Nobody was there to answer, or it died while it did.
                _ => {}
            }
            if !self.run.directory.exists() {
                return Err(AskError::Ended(id()));
            }
            std::thread::sleep(AGAIN.min(left));
            self.stream = self.connect().ok();
        }
    }
}

fn timed_out(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn read(stream: UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE as u64)).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Asks a run and waits for its answer, at most for `patience`.
///
/// # Errors
/// See [`AskError`].
pub fn ask(run: &Living, request: Request, patience: Duration) -> Result<Reply, AskError> {
    Question::send(run, request).answer(patience)
}
