//! Answering on a run's socket, between two turns of the dispatcher.
//!
//! Invariant: never waits for a client, and holds a bounded number of them; a client gets one line
//! for the one line it sends. Nothing is kept that a successor needs: it finds the socket as it is, and a
//! client whose ARMOR died asks again. Owned by the EXECUTION ARMOR.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use chameleon_interpose::dispatcher::Dispatcher;
use chameleon_policy::checkpoint::Cadence;
use chameleon_policy::mode::Mode;
use chameleon_proto::message::{Message, ModeNumbers};
use chameleon_proto::runs::{Reply, Request, Status, from_line, to_line};
use chameleon_sys::fd;

/// Clients at a time; the oldest has to go for one more.
const CLIENTS: usize = 32;
/// The longest request, in bytes.
const REQUEST: usize = 1024;

/// The server of a run's socket.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    line: Vec<u8>,
    waits_for: Option<Awaited>,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// The checkpoint of this request.
    Checkpoint(u64),
    /// That the run has this mode.
    Mode(Mode),
}

impl Server {
    /// Serves the listening socket of this number, which is the caller's own.
    pub(crate) fn new(listener: i32, dispatcher: &mut Dispatcher) -> Option<Self> {
        dispatcher.watch_control(listener).ok()?;
        Some(Self { listener: fd::owned(listener).into(), clients: Vec::new() })
    }

    /// Takes what has come and answers what can be answered. What a block of the ARMOR has to be told comes
    /// back; then there is more to answer.
    pub(crate) fn serve(&mut self, dispatcher: &mut Dispatcher) -> Vec<Message> {
        while let Ok((stream, _)) = self.listener.accept() {
            let able = stream.set_nonblocking(true).is_ok()
                && dispatcher.watch_control(stream.as_raw_fd()).is_ok();
            if !able {
                continue;
            }
            if self.clients.len() == CLIENTS {
                self.clients.remove(0);
            }
            self.clients.push(Client { stream, line: Vec::new(), waits_for: None });
        }
        let mut said = Vec::new();
        self.clients.retain_mut(|client| client.goes_on(dispatcher, &mut said));
        said
    }
}

impl Client {
    /// Whether there is more to do for it.
    fn goes_on(&mut self, dispatcher: &mut Dispatcher, said: &mut Vec<Message>) -> bool {
        let reply = match (self.listen(), self.waits_for) {
            (Heard::Closed, _) => return false,
            (_, Some(Awaited::Mode(mode))) => match dispatcher.change_answer(mode) {
                None => return true,
                Some(Ok(())) => Reply::Set { mode: mode.to_string() },
                Some(Err(why)) => refused(&why.to_string()),
            },
            (_, Some(Awaited::Checkpoint(ticket))) => match dispatcher.checkpoint_answer(ticket) {
                None => return true,
                Some(Ok(())) => Reply::Taken { ticket, images: dispatcher.writes_images() },
                Some(Err(why)) => refused(why),
            },
            (Heard::Part, None) => return true,
            (Heard::Line, None) => match from_line(&self.line) {
                Err(_) => refused("the request is not understood"),
                Ok(Request::Status) => Reply::Status(status(dispatcher)),
                Ok(Request::Image { ticket }) => Reply::Image(dispatcher.image_answer(ticket)),
                Ok(Request::Set { mode, timeout_ns, checkpoint }) => match wanted(dispatcher, mode)
                    .and_then(|mode| set_cadence(dispatcher, checkpoint).map(|()| mode))
                {
                    Err(why) => refused(&why),
                    Ok(mode) => {
                        said.extend(timeout_ns.map(|ns| Message::SetTimeout { ns: ns.max(1) }));
                        let Mode { n, k, first, slack, .. } = mode;
                        said.push(Message::SetMode(ModeNumbers { n, k, first, slack }));
                        self.waits_for = Some(Awaited::Mode(mode));
                        return true;
                    }
                },
                Ok(Request::Checkpoint) => match dispatcher.ask_checkpoint() {
                    Err(why) => refused(why),
                    Ok(ticket) => {
                        self.waits_for = Some(Awaited::Checkpoint(ticket));
                        return true;
                    }
                },
            },
        };
        if let Ok(line) = to_line(&reply) {
            // A reply fits any socket's buffer; a client that is gone needs none.
            let _ = self.stream.write_all(line.as_bytes());
        }
        false
    }

    fn listen(&mut self) -> Heard {
        let mut buffer = [0; REQUEST];
        loop {
            match self.stream.read(&mut buffer) {
                // Its side may be closed behind a whole request, which is answered.
                Ok(0) if self.waits_for.is_none() && self.line.contains(&b'\n') => break,
                Ok(0) => return Heard::Closed,
                Ok(n) => self.line.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Heard::Closed,
            }
            if self.line.len() > REQUEST {
                return Heard::Closed;
            }
        }
        if self.line.contains(&b'\n') { Heard::Line } else { Heard::Part }
    }
}

enum Heard {
    Closed,
    Part,
    Line,
}

/// The mode that a run is to have: if none is named, what it has or is about to have.
fn wanted(dispatcher: &Dispatcher, mode: Option<String>) -> Result<Mode, String> {
    let Some(text) = mode else {
        return Ok(dispatcher.changes_to().unwrap_or(dispatcher.mode()));
    };
    let mode: Mode = text.parse().map_err(|e| format!("{e}"))?;
    // By its own name: nmr:2/3 is tmr.
    let mode = Mode::unpacked(mode.packed()).unwrap_or(mode);
    dispatcher.may_change(mode).map(|()| mode).map_err(|e| e.to_string())
}

/// Another cadence of checkpoints, if one is asked for.
fn set_cadence(dispatcher: &mut Dispatcher, cadence: Option<String>) -> Result<(), String> {
    let Some(text) = cadence else { return Ok(()) };
    let cadence: Cadence = text.parse().map_err(|e| format!("{e}"))?;
    Ok(dispatcher.set_cadence(cadence)?)
}

fn refused(why: &str) -> Reply {
    Reply::Refused { why: why.to_owned() }
}

fn status(dispatcher: &Dispatcher) -> Status {
    let h = dispatcher.counts();
    Status {
        calls: h.calls,
        checkpoints: h.checkpoints,
        rollbacks: h.rollbacks,
        repairs: h.repairs.into(),
        takeovers: h.takeovers.into(),
        mode: dispatcher.mode().to_string(),
        changes_to: dispatcher.changes_to().map(|mode| mode.to_string()),
        checkpoint: dispatcher.cadence().map(|cadence| cadence.to_string()),
    }
}
