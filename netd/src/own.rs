//! Messages for the daemon itself.
//!
//! Invariant: only managers, and commands of this node, install and uninstall; only the FTM says where
//! ARMORs are. Whatever else comes is refused with a reason. Called by `daemon`.

use std::rc::Rc;

use chameleon_policy::duration;
use chameleon_policy::epoch::Claim;
use chameleon_proto::frame::{self, Header};
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::env::{Heartbeaten, NewManager, NodeInfo, Places};
use chameleon_proto::message::{Envelope, Message};

use crate::daemon::{Daemon, manages};
use crate::gossip;
use crate::health;
use crate::places::Taken;
use crate::route::{Origin, name};

impl Daemon {
    /// Does what a frame for the daemon says.
    pub(crate) fn own(self: &Rc<Self>, origin: Origin, header: &Header, bytes: &[u8]) {
        let envelope = match frame::open(bytes) {
            Ok((envelope, _)) => envelope,
            Err(error) => {
                self.metrics.refused("body");
                return self.reply_refused(origin, header, error.to_string());
            }
        };
        if let Err(why) = self.obey(origin, &envelope) {
            self.metrics.refused("request");
            self.log.request(&envelope, &why);
            self.reply_refused(origin, header, why);
        }
    }

    /// # Errors
    /// Why it is not done.
    fn obey(self: &Rc<Self>, origin: Origin, envelope: &Envelope) -> Result<(), String> {
        let source = envelope.source;
        match &envelope.message {
            Message::Ping { nonce } => {
                let calls = self.metrics.to_daemon.get();
                self.reply(origin, source, Message::Pong { nonce: *nonce, calls });
                Ok(())
            }
            Message::Pong { nonce, .. } => {
                if let Some(entry) = self.armors.get(name(source)) {
                    entry.answered(*nonce);
                }
                Ok(())
            }
            Message::Heartbeat(beat) => {
                let health = beat.health.then(|| health::now(self.armors.count()));
                let answer = Heartbeaten { sequence: beat.sequence, node: self.node(), health };
                self.reply(origin, source, Message::Heartbeaten(answer));
                Ok(())
            }
            Message::Install(install) => {
                self.commands(source)?;
                self.install(source, install)
            }
            Message::Uninstall(armor) => {
                self.commands(source)?;
                self.uninstall(source, *armor)
            }
            Message::Places(places) => self.take_places(envelope, places),
            Message::NewManager(new) => {
                self.take_manager(origin, envelope, new)?;
                // Who its backup is the FTM alone knows.
                if self.ftm.get().is_some_and(|(ftm, _)| ftm == new.ftm && ftm == source) {
                    self.backup.set(new.backup);
                }
                Ok(())
            }
            Message::WhereIs(armor) => {
                let at = self.router.borrow().node_of(*armor).map(|node| (*armor, node));
                let version = self.router.borrow().table.version();
                let gone = if at.is_none() { vec![*armor] } else { vec![] };
                let at = at.into_iter().collect();
                let places = Places { version, all: false, at, gone, nodes: vec![] };
                self.reply(origin, source, Message::Places(places));
                Ok(())
            }
            Message::Undeliverable(back) => {
                self.reports.came_back(self, back.kind, back.destination);
                Ok(())
            }
            Message::Revoked(list) => self.take_revoked(list),
            Message::Parameter { name, value } => {
                if !manages(source.kind) && source.kind != armors::CLIENT {
                    return Err("parameters are the FTM's to set".into());
                }
                self.set(name, value)
            }
            Message::Refused(refused) => {
                self.log.trouble("refused", &refused.why);
                Ok(())
            }
            Message::Welcome(_) | Message::Hello(_) | Message::Heartbeaten(_) => Ok(()),
            _ => Err("a daemon does not take such a message".into()),
        }
    }

    /// Whether this one may have ARMORs installed.
    fn commands(&self, source: ArmorId) -> Result<(), String> {
        let may = manages(source.kind) || source.kind == armors::CLIENT;
        if may { Ok(()) } else { Err("only a manager may have ARMORs installed".into()) }
    }

    fn uninstall(self: &Rc<Self>, by: ArmorId, armor: ArmorId) -> Result<(), String> {
        let entry = self.armors.get(name(armor)).filter(|entry| entry.armor == armor);
        let entry = entry.ok_or("it is not installed on this node")?;
        let manager = entry.manager;
        let may = by == manager
            || by.same_armor(manager)
            || self.ftm.get().is_some_and(|(ftm, _)| ftm == by)
            || by.kind == armors::CLIENT;
        if !may {
            return Err(format!("it is managed by {manager}"));
        }
        entry.leave(self, by);
        Ok(())
    }

    fn take_places(self: &Rc<Self>, envelope: &Envelope, places: &Places) -> Result<(), String> {
        if self.ftm.get().is_none_or(|(ftm, _)| ftm != envelope.source) {
            return Err("only the FTM says where ARMORs are".into());
        }
        let taken = self.router.borrow_mut().table.take(envelope.epoch, places);
        if let Some((ftm, node)) = self.ftm.get() {
            self.router.borrow_mut().table.put(ftm, node);
        }
        if taken == Taken::Old {
            return Ok(());
        }
        if taken == Taken::Gap {
            let have = self.router.borrow().table.version();
            self.send(envelope.source, Message::AskPlaces { have });
        }
        if !places.nodes.is_empty() {
            self.save();
        }
        let named = places.at.iter().map(|(armor, _)| armor).chain(&places.gone);
        let named: Vec<_> = named.map(|armor| name(*armor)).collect();
        for waiting in self.waiting.borrow().names() {
            if places.all || named.contains(&waiting) {
                let daemon = Rc::clone(self);
                // Not from within: what is found may ask again.
                tokio::task::spawn_local(async move { daemon.found(waiting) });
            }
        }
        self.reports.retry(self);
        Ok(())
    }

    fn take_manager(
        self: &Rc<Self>,
        origin: Origin,
        envelope: &Envelope,
        new: &NewManager,
    ) -> Result<(), String> {
        let known = self.ftm.get().map(|(ftm, _)| ftm);
        let who = envelope.source.kind;
        let may = manages(who)
            || [armors::HEARTBEAT, armors::CLIENT].contains(&who)
            || who == armors::DAEMON && matches!(origin, Origin::Node(_));
        if !may || new.ftm.kind != armors::FTM && new.ftm.kind != armors::BACKUP_FTM {
            return Err("only managers say who the FTM is".into());
        }
        let claim = Claim { epoch: envelope.epoch, ftm: new.ftm };
        let held = known.map(|ftm| Claim { epoch: self.ftm_since.get(), ftm });
        if held.is_some_and(|held| held.ftm == claim.ftm && held.epoch >= claim.epoch) {
            return Ok(());
        }
        let holds = held.map_or(claim.epoch >= self.ftm_since.get(), |held| claim.beats(&held));
        if !holds {
            // A daemon that comes back says what it knew; that is no fault.
            if who == armors::DAEMON {
                return Ok(());
            }
            return Err("another FTM is known in a newer epoch or in the same".into());
        }
        self.router.borrow_mut().raise(envelope.epoch);
        self.ftm_since.set(envelope.epoch);
        self.set_ftm(new.ftm, new.node);
        Ok(())
    }

    /// This is the FTM from here on: ARMORs of this node are told, and it is asked for the places.
    pub(crate) fn set_ftm(self: &Rc<Self>, ftm: ArmorId, node: NodeId) {
        self.ftm.set(Some((ftm, node)));
        {
            let mut router = self.router.borrow_mut();
            router.table.put(ftm, node);
            router.table.doubt();
        }
        self.changed();
        let have = self.router.borrow().table.version();
        self.send(ftm, Message::AskPlaces { have });
        self.announce();
    }

    /// Tells the FTM that this node is there and where; what kind of machine it is the INITIALIZATION ARMOR
    /// finds out.
    pub(crate) fn announce(self: &Rc<Self>) {
        let Some(network) = &self.config.network else { return };
        let Some((ftm, _)) = self.ftm.get() else {
            // What two daemons say to each other first is who the FTM is.
            let nodes = network.nodes.iter().map(|(node, _)| *node);
            let turn = self.turns.replace(self.turns.get().wrapping_add(1));
            for node in gossip::asked(self.node(), nodes, turn) {
                self.send(ArmorId::daemon(node), Message::Ping { nonce: 0 });
            }
            return;
        };
        let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let info = NodeInfo {
            node: self.node(),
            name: read("/proc/sys/kernel/hostname"),
            address: network.address.clone(),
            os: read("/proc/sys/kernel/ostype"),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: String::new(),
            features: Vec::new(),
            health: health::now(self.armors.count()),
        };
        self.send(ftm, Message::NodeInfo(info));
    }

    /// A list of revoked certificates: if it is a later one of the authority's, it counts from here on and is
    /// passed on; the authority's own daemon tells all.
    pub(crate) fn take_revoked(self: &Rc<Self>, list: &[u8]) -> Result<(), String> {
        let later = match self.peers.identity.borrow_mut().as_mut() {
            Some(identity) => identity.revoke(list).map_err(|error| error.to_string())?,
            None => return Err("this node has joined no environment".into()),
        };
        if later {
            self.renewed();
            let nodes: Vec<NodeId> =
                self.router.borrow().table.nodes().map(|(node, _)| node).collect();
            let told = match self.config.authority {
                Some(_) => nodes.into_iter().filter(|node| *node != self.node()).collect(),
                None => gossip::heirs(self.node(), nodes.into_iter()),
            };
            for node in told {
                self.send(ArmorId::daemon(node), Message::Revoked(list.to_vec()));
            }
        }
        Ok(())
    }

    /// The identity or the list of revoked ones is another one.
    pub(crate) fn renewed(&self) {
        if let Err(error) = self.peers.renewed() {
            self.log.trouble("tls", &error);
        }
        self.metrics.cut.inc_by(self.peers.sweep());
    }

    /// A parameter of the environment.
    fn set(&self, parameter: &str, value: &str) -> Result<(), String> {
        let mut settings = self.pings.get();
        match parameter {
            "armor.ping" => {
                settings.interval = duration::parse(value).map_err(|error| error.to_string())?;
            }
            "armor.misses" => {
                settings.misses = value.parse().map_err(|_| "it must be a number".to_owned())?;
            }
            // Others' parameters are no concern of a daemon.
            _ => return Ok(()),
        }
        if settings.interval.is_zero() || settings.misses == 0 {
            return Err("it must be more than 0".into());
        }
        self.pings.set(settings);
        for entry in self.armors.all() {
            entry.ping_as(settings);
        }
        Ok(())
    }
}
