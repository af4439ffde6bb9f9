//! The way of an ARMOR, and of a person's command, to the daemon of its node: one connection to a unix
//! socket, without threads and without a runtime, for a loop that waits in `poll`.
//!
//! ```text
//!  Down ──it is time──► Calling ──Welcome──► Up ──closed, out of step──► Down
//!   ▲                     │ refused: an error for the caller
//!   └──closed, too late───┘
//! ```
//!
//! Invariant: nothing is sent twice. When the connection is lost the caller is told which messages did
//! not go out, and which went out and were not confirmed by the daemon: it knows what they
//! were for, and whether to send them again. That the daemon read a message does not say that its receiver
//! did: only an answer does. While the link is down nothing is kept: sending
//! says so. Used by `supervisor` for ARMORs, by `tools/chameleon` for commands.

mod inbox;
mod outbox;
mod wire;

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chameleon_proto::birth::{Birth, BirthError};
use chameleon_proto::frame::{self, FrameError};
use chameleon_proto::ids::{ArmorId, Epoch, Incarnation, NodeId, armors};
use chameleon_proto::message::env::Hello;
use chameleon_proto::message::{Envelope, Message};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use inbox::Inbox;
use outbox::Outbox;
pub use outbox::{Lost, Sent};
use wire::Wire;

/// How long a daemon may take to answer the first message.
const WELCOME: Duration = Duration::from_secs(5);
/// Waits between two calls of a daemon that is gone: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Why the link cannot do what it was told.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum LinkError {
    #[error("cannot call the daemon at {socket}: {source}")]
    Call { socket: PathBuf, source: io::Error },
    #[error("the daemon at {socket} did not answer within {} s", WELCOME.as_secs())]
    Silent { socket: PathBuf },
    #[error("the daemon refused the connection: {0}")]
    Refused(String),
    #[error("there is no connection to the daemon at present")]
    Down,
    #[error("the daemon does not take messages as fast as they come; receive, then send again")]
    Full,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error("cannot read what the daemon gave on the standard input: {0}")]
    Input(io::Error),
    #[error("cannot wait for the daemon: {0}")]
    Wait(io::Error),
}

/// What came in.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub enum Event {
    /// A message.
    Message(Envelope),
    /// The connection is gone, and with it these messages. The link calls again by itself.
    Lost(Lost),
    /// The connection is there again.
    Back,
    /// A frame came that could not be read; it was skipped.
    Unreadable(FrameError),
}

/// Reads what the daemon gave to this ARMOR from the standard input, to its end.
///
/// # Errors
/// [`LinkError::Input`], [`LinkError::Birth`] if the process was not started by a daemon.
pub fn birth() -> Result<Birth, LinkError> {
    let mut bytes = Vec::new();
    let limit = chameleon_proto::birth::LIMIT as u64 + 64;
    io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(LinkError::Input)?;
    Ok(Birth::decode(&bytes)?)
}

/// A connection to the daemon, or the endeavour to have one.
#[derive(Debug)]
pub struct Link {
    socket: PathBuf,
    id: ArmorId,
    hello: Hello,
    node: NodeId,
    ftm: Option<ArmorId>,
    epoch: Epoch,
    state: State,
    inbox: Inbox,
    outbox: Outbox,
    back_off: Duration,
}

#[derive(Debug)]
enum State {
    Down { until: Instant },
    Calling { wire: Wire, until: Instant },
    Up { wire: Wire },
}

impl Link {
    /// The link of an ARMOR that a daemon started; returns when the daemon has taken it.
    ///
    /// # Errors
    /// [`LinkError::Call`], `Silent`, `Refused`.
    pub fn armor(birth: &Birth) -> Result<Self, LinkError> {
        let (cookie, manager) = (birth.cookie.clone(), Some(birth.manager));
        let hello = Hello { cookie, pid: std::process::id(), manager };
        Self::open(Path::new(&birth.socket), birth.armor, hello)
    }

    /// The link of a person's command; the daemon gives it its name.
    ///
    /// # Errors
    /// As [`Link::armor`].
    pub fn client(socket: &Path) -> Result<Self, LinkError> {
        let id = ArmorId::first(armors::CLIENT, 0);
        let hello = Hello { cookie: Vec::new(), pid: std::process::id(), manager: None };
        Self::open(socket, id, hello)
    }

    fn open(socket: &Path, id: ArmorId, hello: Hello) -> Result<Self, LinkError> {
        let mut link = Self {
            socket: socket.to_owned(),
            id,
            hello,
            node: NodeId(0),
            ftm: None,
            epoch: Epoch(0),
            state: State::Down { until: Instant::now() },
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            back_off: BACK_OFF.0,
        };
        link.state = State::Calling { wire: link.call()?, until: Instant::now() + WELCOME };
        while !link.is_up() {
            if link.inbox.is_empty() {
                link.wait(None, &[])?;
            }
            link.pump()?;
            if let State::Down { .. } = link.state {
                return Err(LinkError::Silent { socket: link.socket });
            }
        }
        // Being there is not being there again.
        link.inbox.events.retain(|event| *event != Event::Back);
        Ok(link)
    }

    /// Who this is: a command learns it from its daemon.
    pub const fn id(&self) -> ArmorId {
        self.id
    }

    /// The daemon's node.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The FTM that the daemon told of.
    pub const fn ftm(&self) -> Option<ArmorId> {
        self.ftm
    }

    /// The newest epoch that the daemon or a `NewManager` told of, or that was set; what is sent carries it.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// From here on what is sent carries this epoch, if it is newer: for an FTM that is promoted.
    pub fn raise(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Whether there is a connection.
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// What to wait for with `poll`, and whether for room to write too. Nothing while it is down: then
    /// call [`Link::pump`] after [`Link::due`].
    pub fn waits(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.state {
            State::Down { .. } => None,
            State::Calling { wire, .. } => Some((wire.as_fd(), wire.is_pending())),
            State::Up { wire } => Some((wire.as_fd(), wire.is_pending())),
        }
    }

    /// How long until [`Link::pump`] has something to do of itself.
    pub fn due(&self) -> Option<Duration> {
        let at = match &self.state {
            State::Down { until } | State::Calling { until, .. } => Some(*until),
            State::Up { .. } => self.outbox.asks_at(),
        };
        at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Sends a message, or as much of it as the socket takes: the rest follows with the next call of any
    /// of these functions.
    ///
    /// # Errors
    /// [`LinkError::Down`], `Full`, `Frame`: the message was not sent and will not be.
    pub fn send(&mut self, destination: ArmorId, message: Message) -> Result<(), LinkError> {
        self.queue(destination, message)?;
        self.flush();
        Ok(())
    }

    /// As [`Link::send`], but it goes out only with the next call of another of these functions: for many
    /// small messages.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn queue(&mut self, destination: ArmorId, message: Message) -> Result<(), LinkError> {
        let envelope = Envelope { source: self.id, destination, epoch: self.epoch, message };
        self.queue_envelope(&envelope)
    }

    /// As [`Link::queue`], with all of the header given. The daemon refuses a source that is not this link's.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn queue_envelope(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        let State::Up { wire } = &mut self.state else { return Err(LinkError::Down) };
        let bytes = frame::seal(envelope)?;
        if !wire.has_room(bytes.len()) || self.outbox.is_full() {
            return Err(LinkError::Full);
        }
        wire.put(&bytes);
        self.outbox.sent(envelope.destination, envelope.message.kind(), bytes.len());
        if self.outbox.is_time_to_ask() {
            self.ask();
        }
        Ok(())
    }

    /// Asks the daemon to say that it has read all that was sent so far.
    fn ask(&mut self) {
        let State::Up { wire } = &mut self.state else { return };
        let ping = Envelope {
            source: self.id,
            destination: ArmorId::daemon(self.node),
            epoch: self.epoch,
            message: Message::Ping { nonce: self.outbox.ask() },
        };
        if let Ok(bytes) = frame::seal(&ping) {
            wire.put(&bytes);
            self.outbox.more(bytes.len());
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) {
        let State::Up { wire } = &mut self.state else { return };
        if !wire.is_pending() {
            return;
        }
        match wire.write() {
            Ok(written) => self.outbox.written(written),
            Err(_) => self.lose(),
        }
    }

    /// The next of what came in. Waits for it as long as is said, for ever if nothing is; then nothing.
    ///
    /// # Errors
    /// [`LinkError::Refused`] if a daemon that was called again does not take this ARMOR back: it has
    /// been replaced, and is to end. [`LinkError::Wait`].
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Event>, LinkError> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(event) = self.inbox.events.pop_front() {
                // What was queued does not wait until all that came in has been taken.
                self.flush();
                return Ok(Some(event));
            }
            self.pump()?;
            if !self.inbox.is_empty() {
                continue;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.wait(left, &[])?;
        }
    }

    /// Waits for the socket, for what is due or for one of `others` to be readable, at most as long as is said;
    /// whether it was one of those. What came in is for [`Link::receive`].
    ///
    /// # Errors
    /// [`LinkError::Wait`].
    pub fn wait(
        &self,
        left: Option<Duration>,
        others: &[BorrowedFd<'_>],
    ) -> Result<bool, LinkError> {
        // Rounded up, or the last millisecond would be spent turning.
        let timeout = [left, self.due()].into_iter().flatten().min().map(|wait| {
            PollTimeout::try_from(wait + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds: Vec<PollFd<'_>> =
            others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        if let Some((fd, write)) = self.waits() {
            let room = if write { PollFlags::POLLOUT } else { PollFlags::empty() };
            fds.push(PollFd::new(fd, PollFlags::POLLIN | room));
        }
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(LinkError::Wait(errno.into())),
        }
        let happened = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(fds[..others.len()].iter().any(happened))
    }

    /// Does what can be done without waiting: calls, writes, reads. What came in is for
    /// [`Link::receive`].
    ///
    /// # Errors
    /// [`LinkError::Refused`], as in [`Link::receive`].
    pub fn pump(&mut self) -> Result<(), LinkError> {
        match &self.state {
            State::Down { until } if Instant::now() >= *until => match self.call() {
                Ok(wire) => {
                    self.state = State::Calling { wire, until: Instant::now() + WELCOME };
                }
                Err(_) => self.back_off(),
            },
            State::Down { .. } => {}
            State::Calling { until, .. } if Instant::now() >= *until => self.back_off(),
            State::Calling { .. } => self.answer()?,
            State::Up { .. } => {
                if self.outbox.asks_at().is_some_and(|at| Instant::now() >= at) {
                    self.ask();
                }
                self.flush();
                self.read();
            }
        }
        Ok(())
    }

    fn back_off(&mut self) {
        self.state = State::Down { until: Instant::now() + self.back_off };
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
    }

    /// Calls the daemon and says who this is.
    fn call(&self) -> Result<Wire, LinkError> {
        let envelope = Envelope {
            source: self.id,
            destination: ArmorId::daemon(self.node),
            epoch: self.epoch,
            message: Message::Hello(self.hello.clone()),
        };
        let bytes = frame::seal(&envelope)?;
        let call = |socket: &Path| {
            let mut wire = Wire::call(socket)?;
            wire.put(&bytes);
            wire.write()?;
            io::Result::Ok(wire)
        };
        call(&self.socket).map_err(|source| LinkError::Call { socket: self.socket.clone(), source })
    }

    /// The daemon's first answer.
    fn answer(&mut self) -> Result<(), LinkError> {
        let State::Calling { wire, .. } = &mut self.state else { return Ok(()) };
        let read = wire.write().and_then(|_| self.inbox.read(wire));
        match self.inbox.stream.open() {
            Some(Ok(Envelope {
                destination, epoch, message: Message::Welcome(welcome), ..
            })) => {
                self.id = destination;
                (self.node, self.ftm) = (welcome.node, welcome.ftm);
                self.epoch = self.epoch.max(epoch);
                let before =
                    std::mem::replace(&mut self.state, State::Down { until: Instant::now() });
                if let State::Calling { wire, .. } = before {
                    self.state = State::Up { wire };
                }
                self.back_off = BACK_OFF.0;
                self.inbox.events.push_back(Event::Back);
                self.take();
            }
            Some(Ok(Envelope { message: Message::Refused(refused), .. })) => {
                self.inbox.stream.clear();
                self.back_off();
                return Err(LinkError::Refused(refused.why));
            }
            Some(_) => {
                self.inbox.stream.clear();
                self.back_off();
            }
            None if read.is_err() => {
                self.inbox.stream.clear();
                self.back_off();
            }
            None => {}
        }
        Ok(())
    }

    fn read(&mut self) {
        let State::Up { wire } = &mut self.state else { return };
        let read = self.inbox.read(wire);
        let in_step = self.take();
        if read.is_err() || !in_step {
            self.lose();
        }
    }

    /// Takes whole frames out of what was read; whether the stream is in step.
    fn take(&mut self) -> bool {
        while let Some(next) = self.inbox.stream.open() {
            match next {
                Ok(envelope) => {
                    let from_daemon = envelope.source.kind == armors::DAEMON
                        && envelope.source.number == self.node.0;
                    // Any other could shut this one out, or undo what epochs are for.
                    if from_daemon || matches!(envelope.message, Message::NewManager(_)) {
                        self.epoch = self.epoch.max(envelope.epoch);
                    }
                    match envelope.message {
                        Message::Pong { nonce, .. } if from_daemon => self.outbox.confirmed(nonce),
                        Message::Welcome(welcome) if from_daemon => self.ftm = welcome.ftm,
                        _ => self.inbox.events.push_back(Event::Message(envelope)),
                    }
                }
                Err(error @ (FrameError::Codec(_) | FrameError::Kind { .. })) => {
                    self.inbox.events.push_back(Event::Unreadable(error));
                }
                Err(error) => {
                    self.inbox.events.push_back(Event::Unreadable(error));
                    return false;
                }
            }
        }
        true
    }

    fn lose(&mut self) {
        self.inbox.stream.clear();
        self.inbox.events.push_back(Event::Lost(self.outbox.lose()));
        self.back_off = BACK_OFF.0;
        self.state = State::Down { until: Instant::now() };
        // A command is another one for another daemon.
        if self.id.kind == armors::CLIENT {
            self.id = ArmorId { number: 0, incarnation: Incarnation(0), ..self.id };
        }
    }
}
