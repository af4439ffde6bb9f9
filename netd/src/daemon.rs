//! The daemon: what it knows, and what becomes of each frame.
//!
//! ```text
//!  local::serve ──┐                                   ┌─► queue of an ARMOR ─► pump::write
//!  peer::serve  ──┼─► Daemon::frame ─► Router::decide ┼─► queue of a node   ─► peer::call
//!  own messages ──┘        (pure)                     ├─► own::take: the daemon itself
//!                                                     └─► back, refused, waiting
//! ```
//!
//! Invariant: one thread runs all of a daemon's tasks, and no borrow of its state lives across an `await`. A
//! frame is never waited for by another: if its queue is full it goes back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use chameleon_policy::detector;
use chameleon_proto::frame::{self, Header};
use chameleon_proto::ids::{ArmorId, ArmorType, Epoch, Incarnation, NodeId, armors};
use chameleon_proto::message::env::{NoWay, Refused, Undeliverable, Welcome};
use chameleon_proto::message::{Envelope, Kind, Message};

use crate::armors::Armors;
use crate::config::Config;
use crate::descriptors;
use crate::error::NetError;
use crate::files;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::peer::Peers;
use crate::queue::Queue;
use crate::reports::Reports;
use crate::route::{Name, Origin, Reason, Router, Verdict, name};
use crate::state::{self, State};
use crate::waiting::{Added, Frame, Waiting};

/// A host daemon.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) config: Config,
    /// Its name in this life.
    pub(crate) id: ArmorId,
    pub(crate) router: RefCell<Router>,
    /// What waits for ARMORs and commands of this node.
    pub(crate) queues: RefCell<HashMap<Name, Rc<Queue>>>,
    pub(crate) peers: Peers,
    pub(crate) armors: Armors,
    pub(crate) reports: Reports,
    pub(crate) waiting: RefCell<Waiting>,
    /// The FTM that is known, and its node.
    pub(crate) ftm: Cell<Option<(ArmorId, NodeId)>>,
    /// The FTM's backup, as the FTM says.
    pub(crate) backup: Cell<Option<ArmorId>>,
    /// The epoch in which that was said.
    pub(crate) ftm_since: Cell<Epoch>,
    /// When an ARMOR hangs.
    pub(crate) pings: Cell<detector::Settings>,
    clients: Cell<u32>,
    /// How often others were asked who the FTM is.
    pub(crate) turns: Cell<usize>,
    /// The limit of descriptors that it was started with, if it has raised that.
    pub(crate) descriptors: Option<u64>,
    pub(crate) metrics: Rc<Metrics>,
    pub(crate) log: Log,
}

impl Daemon {
    /// The daemon of this configuration, with what the last one of its directory left.
    pub(crate) fn new(config: Config, state: &State) -> Result<Rc<Self>, NetError> {
        files::directory(&config.state)?;
        let node = config.network.as_ref().map_or(NodeId(0), |network| network.identity.node());
        let id = ArmorId { incarnation: Incarnation(state.life), ..ArmorId::daemon(node) };
        let mut router = Router::new(node, state.epoch);
        for (node, address) in &state.nodes {
            router.table.know(*node, address.clone());
        }
        for (node, address) in config.network.iter().flat_map(|network| &network.nodes) {
            router.table.know(*node, address.clone());
        }
        if let Some((ftm, at)) = state.ftm {
            router.table.put(ftm, at);
        }
        let metrics = Rc::new(Metrics::default());
        let peers = Peers::new(config.network.as_ref())?;
        Ok(Rc::new(Self {
            id,
            router: RefCell::new(router),
            queues: RefCell::default(),
            peers,
            armors: Armors::default(),
            reports: Reports::default(),
            waiting: RefCell::default(),
            ftm: Cell::new(state.ftm),
            backup: Cell::new(None),
            ftm_since: Cell::new(state.epoch),
            pings: Cell::new(detector::Settings {
                interval: config.settings.ping,
                misses: config.settings.misses,
            }),
            clients: Cell::new(0),
            turns: Cell::new(0),
            descriptors: descriptors::raise(),
            log: Log::new(Rc::clone(&metrics)),
            metrics,
            config,
        }))
    }

    /// This daemon's node.
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.id.number)
    }

    /// Keeps what the next daemon of this directory must know.
    pub(crate) fn save(&self) {
        let router = self.router.borrow();
        let state = State {
            boot: state::boot(),
            life: self.id.incarnation.0,
            epoch: router.epoch(),
            ftm: self.ftm.get(),
            nodes: router.table.nodes().map(|(node, at)| (node, at.to_owned())).collect(),
            armors: self.armors.kept(),
        };
        if let Err(error) = state::save(&self.config.state, &state) {
            self.log.trouble("state", &error);
        }
    }

    /// A name for a command that calls. None of this life is used again while it is in use.
    pub(crate) fn new_client(&self) -> ArmorId {
        loop {
            let n = self.clients.get();
            self.clients.set(n.wrapping_add(1));
            let life = Incarnation(self.id.incarnation.0 << 16 | n >> 16);
            let client = ArmorId::client(self.node(), n as u16, life);
            if !self.queues.borrow().contains_key(&name(client)) {
                return client;
            }
        }
    }

    /// Where a frame that is in a queue came from.
    pub(crate) fn origin_of(&self, header: &Header) -> Origin {
        if header.source.same_armor(self.id) {
            return Origin::Own;
        }
        match self.router.borrow().node_of(header.source) {
            Some(node) if node != self.node() => Origin::Node(node),
            _ => Origin::Local(header.source),
        }
    }

    /// What is said to those who are taken in, and again when it changes.
    pub(crate) fn welcome(&self, to: ArmorId) -> Vec<u8> {
        let ftm = self.ftm.get().map(|(ftm, _)| ftm);
        self.seal(to, Message::Welcome(Welcome { node: self.node(), ftm }))
    }

    /// A frame of the daemon's own.
    pub(crate) fn seal(&self, destination: ArmorId, message: Message) -> Vec<u8> {
        let epoch = self.router.borrow().epoch();
        let envelope = Envelope { source: self.id, destination, epoch, message };
        frame::seal(&envelope).unwrap_or_else(|error| {
            self.log.trouble("seal", &error);
            Vec::new()
        })
    }

    /// Sends a message of the daemon's own.
    pub(crate) fn send(self: &Rc<Self>, destination: ArmorId, message: Message) {
        let bytes = self.seal(destination, message);
        if let Ok(header) = Header::parse(&bytes) {
            self.frame(Origin::Own, &header, &bytes);
        }
    }

    /// What becomes of a frame that is whole and checked.
    pub(crate) fn frame(self: &Rc<Self>, origin: Origin, header: &Header, bytes: &[u8]) {
        let verdict = self.router.borrow().decide(origin, header);
        match verdict {
            Verdict::Own => {
                self.metrics.to_daemon.inc();
                self.own(origin, header, bytes);
            }
            Verdict::Local(name) => {
                let queue = self.queues.borrow().get(&name).cloned();
                match queue {
                    Some(queue) if queue.put(bytes) => {
                        self.metrics.to_armors.inc();
                    }
                    Some(_) => self.back(origin, header, NoWay::Full),
                    None => self.back(origin, header, NoWay::NotHere),
                }
            }
            Verdict::Peer(node) => match self.pass_on(node, bytes) {
                Ok(()) => {
                    self.metrics.to_nodes.inc();
                }
                Err(why) => self.back(origin, header, why),
            },
            Verdict::Ask(armor) => self.ask(armor, origin, header, bytes),
            Verdict::Back(why) => self.back(origin, header, why),
            Verdict::Refused(reason) => self.refuse(origin, header, reason),
        }
    }

    /// The epoch or the FTM is another one: the ARMORs of this node are told at once, or what they
    /// send would be refused.
    pub(crate) fn changed(self: &Rc<Self>) {
        let all: Vec<(Name, Rc<Queue>)> =
            self.queues.borrow().iter().map(|(name, queue)| (*name, Rc::clone(queue))).collect();
        for ((kind, number), queue) in all {
            queue.put_first(&self.welcome(ArmorId::first(kind, number)));
        }
        self.save();
        self.reports.retry(self);
    }

    fn ask(self: &Rc<Self>, armor: ArmorId, origin: Origin, header: &Header, bytes: &[u8]) {
        let Some((ftm, _)) = self.ftm.get() else {
            return self.unknown(armor, origin, header);
        };
        if ftm.same_armor(armor) {
            return self.unknown(armor, origin, header);
        }
        let frame = Frame { origin, bytes: bytes.to_vec() };
        let until = Instant::now() + self.config.settings.whereis;
        let added = self.waiting.borrow_mut().add(name(armor), frame, until);
        match added {
            Added::First => self.send(ftm, Message::WhereIs(armor)),
            Added::More => {}
            Added::Full => self.back(origin, header, NoWay::Full),
        }
    }

    /// Nobody knows this ARMOR, the frame's source or its destination.
    fn unknown(self: &Rc<Self>, armor: ArmorId, origin: Origin, header: &Header) {
        if armor == header.source && matches!(origin, Origin::Node(_)) {
            self.refuse(origin, header, Reason::Forged);
        } else {
            self.back(origin, header, NoWay::Unknown);
        }
    }

    /// What waited for this ARMOR is looked at again: the tables may know it now. If they do not it is not
    /// asked for again.
    pub(crate) fn found(self: &Rc<Self>, name: Name) {
        let frames = self.waiting.borrow_mut().take(name);
        for frame in frames {
            let Ok(header) = Header::parse(&frame.bytes) else { continue };
            let verdict = self.router.borrow().decide(frame.origin, &header);
            match verdict {
                Verdict::Ask(armor) if crate::route::name(armor) == name => {
                    self.unknown(armor, frame.origin, &header);
                }
                _ => self.frame(frame.origin, &header, &frame.bytes),
            }
        }
    }

    /// A frame cannot be delivered; its sender is told.
    pub(crate) fn back(self: &Rc<Self>, origin: Origin, header: &Header, why: NoWay) {
        self.metrics.undeliverable(why);
        self.log.undeliverable(header, why);
        let destination = header.destination;
        if origin == Origin::Own {
            self.reports.came_back(self, header.kind, destination);
        } else if !is_notice(header.kind) {
            let back = Undeliverable { destination, kind: header.kind, why };
            self.reply(origin, header.source, Message::Undeliverable(back));
        }
    }

    /// A frame is not taken; its sender is told why.
    fn refuse(self: &Rc<Self>, origin: Origin, header: &Header, reason: Reason) {
        self.metrics.refused(reason.label());
        self.log.refused(origin, header, reason);
        if !is_notice(header.kind) {
            self.reply_refused(origin, header, reason.why().to_owned());
        }
    }

    /// Says to the sender of a frame that what it asks for is not done.
    pub(crate) fn reply_refused(self: &Rc<Self>, origin: Origin, header: &Header, why: String) {
        let kind = kind_name(header.kind);
        let why = format!("{kind} for {}: {why}", header.destination);
        let refused = Refused { armor: Some(header.destination), why };
        self.reply(origin, header.source, Message::Refused(refused));
    }

    /// Answers by the connection that a frame came by, whatever the tables say.
    pub(crate) fn reply(self: &Rc<Self>, origin: Origin, to: ArmorId, message: Message) {
        let room = match origin {
            Origin::Own => true,
            Origin::Local(armor) => {
                let queue = self.queues.borrow().get(&name(armor)).cloned();
                queue.is_none_or(|queue| queue.put(&self.seal(armor, message)))
            }
            Origin::Node(node) => self.pass_on(node, &self.seal(to, message)).is_ok(),
        };
        if !room {
            self.metrics.refused("answer_full");
        }
    }
}

/// Whether a frame only says what became of another: it is not answered, or two daemons would answer
/// each other for ever.
fn is_notice(kind: u16) -> bool {
    kind == Kind::Undeliverable.number() || kind == Kind::Refused.number()
}

/// A kind in words.
fn kind_name(kind: u16) -> String {
    format!("a message of kind {kind}")
}

/// Whether ARMORs of this type manage others.
pub(crate) fn manages(kind: ArmorType) -> bool {
    [armors::FTM, armors::BACKUP_FTM, armors::SURROGATE].contains(&kind)
}
