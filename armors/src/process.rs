//! The main loop of an ARMOR's process.
//!
//! Invariant: one thread; messages are handled one at a time; it waits in `poll` only, until a
//! message comes or a block wants to be woken. What cannot be handled is the sender's fault and ends nothing.

use std::time::Duration;

use chameleon_link::{Event, LinkError as CallError, Lost, birth};
use chameleon_proto::frame::FrameError;
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::{NoWay, Undeliverable, Welcome};
use chameleon_proto::message::{Envelope, Message};
use chameleon_supervisor::armor::{Armor, ArmorError, FactoryError, Link, LinkError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::context::{Context, now_ns};
use crate::registry;

/// Why an ARMOR's process cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ProcessError {
    #[error(transparent)]
    Link(#[from] CallError),
    #[error(transparent)]
    Factory(#[from] FactoryError),
    #[error("the daemon started this process as ARMOR '{named}', but its name is {birth}")]
    Other { named: String, birth: ArmorId },
    #[error("{0}")]
    Failed(String),
}

/// Becomes the ARMOR that is described on the standard input; returns when it has ended as it should.
///
/// # Errors
/// [`ProcessError`].
pub fn run(kind: &str) -> Result<(), ProcessError> {
    let birth = birth()?;
    birth.descriptors.into_iter().for_each(limit_descriptors);
    let id = birth.armor;
    if armors::name(id.kind) != Some(kind) {
        return Err(ProcessError::Other { named: kind.to_owned(), birth: id });
    }
    let link = chameleon_link::Link::armor(&birth)?;
    let epoch = link.epoch();
    let context = Context::new(birth, epoch);
    let mut way = Way { link, context: context.clone() };
    let factory = registry::factory(&context)?;
    let mut armor = factory.build(id, epoch, context.clone(), &mut way)?;
    // What it begins with comes as it does after each loss of the daemon.
    welcome(&mut armor, &mut way);
    let mut known = context.ftm();
    while !context.ends() {
        let left = context.wakes().map(|at| Duration::from_nanos(at.saturating_sub(now_ns())));
        let event = match way.next(left) {
            Ok(event) => event,
            // Another life of it is there.
            Err(CallError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match event {
            Some(Event::Message(envelope)) => take(&mut armor, &mut way, envelope),
            Some(Event::Lost(lost)) => give_back(&mut armor, &mut way, lost),
            Some(Event::Back) => welcome(&mut armor, &mut way),
            Some(Event::Unreadable(_)) | None => {}
        }
        way.look();
        // The link takes what the daemon says for itself; blocks hear that there is another FTM.
        if context.ftm() != known {
            welcome(&mut armor, &mut way);
        }
        known = context.ftm();
        if context.wakes().is_some_and(|at| at <= now_ns()) {
            context.woken();
            heed(armor.tell(Message::Tick { now_ns: now_ns() }, &mut way));
        }
    }
    way.link.flush();
    context.failure().map_or(Ok(()), |why| Err(ProcessError::Failed(why)))
}

/// The limit of descriptors is what it was before the daemon raised it (getrlimit(2)).
fn limit_descriptors(soft: u64) {
    let now = getrlimit(Resource::Nofile);
    // Below the hard one it can always be set.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft), ..now });
}

fn take(armor: &mut Armor<Context>, way: &mut Way, envelope: Envelope) {
    way.look();
    armor.raise(way.link.epoch());
    heed(armor.deliver(envelope, way));
}

/// The daemon is there, for the first time or again.
fn welcome(armor: &mut Armor<Context>, way: &mut Way) {
    way.look();
    let welcome = Welcome { node: way.link.node(), ftm: way.link.ftm() };
    armor.raise(way.link.epoch());
    heed(armor.tell(Message::Welcome(welcome), way));
}

/// Messages that went down with the connection: their senders hear it as if they had come back.
fn give_back(armor: &mut Armor<Context>, way: &mut Way, lost: Lost) {
    for sent in lost.doubtful.into_iter().chain(lost.unsent) {
        let (destination, kind) = (sent.destination, sent.kind.number());
        let back = Undeliverable { destination, kind, why: NoWay::Unreachable };
        heed(armor.tell(Message::Undeliverable(back), way));
    }
}

/// What cannot be handled or sent: blocks that need an answer ask again when none comes.
fn heed(outcome: Result<usize, ArmorError>) {
    match outcome {
        Ok(_) | Err(ArmorError::Link(_)) => {}
        Err(error) => eprintln!("chameleon: {error}"),
    }
}

/// The link as the runtime sees it.
struct Way {
    link: chameleon_link::Link,
    context: Context,
}

impl Way {
    /// The next of what came in; nothing if the time is over or what a block watches has happened.
    fn next(&mut self, left: Option<Duration>) -> Result<Option<Event>, CallError> {
        if !self.context.watches() {
            return self.link.receive(left);
        }
        if let Some(event) = self.link.receive(Some(Duration::ZERO))? {
            return Ok(Some(event));
        }
        if self.context.wait(&self.link, left)? {
            self.context.wake_at(0);
        }
        self.link.receive(Some(Duration::ZERO))
    }

    /// Tells the blocks' common part what the link knows.
    fn look(&self) {
        self.context.raise(self.link.epoch());
        self.context.connection(self.link.is_up(), self.link.ftm());
    }
}

impl Link for Way {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        self.link.raise(self.context.epoch());
        self.context.raise(self.link.epoch());
        let mut envelope = envelope.clone();
        envelope.epoch = self.link.epoch();
        let queued = self.link.queue_envelope(&envelope);
        self.link.flush();
        queued.map_err(|error| match error {
            CallError::Frame(frame @ FrameError::Codec(_)) => LinkError::Frame(frame),
            _ => LinkError::NoWay(envelope.destination),
        })
    }
}
