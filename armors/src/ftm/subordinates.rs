//! The ARMORs that the FTM itself installs: what each is started with, and what is on its way.
//!
//! Invariant: an ARMOR that is being installed is in the tables already, so that its first words find
//! their way; one whose installation is not heard of is asked after so many times as the parameters say.

use std::collections::BTreeMap;

use chameleon_policy::recovery::Attempts;
use chameleon_proto::ids::{AppId, ArmorId, ArmorType, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{ArmorDown, Install, Row};
use chameleon_supervisor::armor::Outbox;

use super::core::Core;
use crate::context::now_ns;
use crate::surrogate::{Known, Parameters as Surrogate};

/// Between two questions after one whose installation is not heard of.
const PATIENCE_NS: u64 = 1_000_000_000;

/// One that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installing {
    pub(super) node: NodeId,
    pub(super) due_ns: u64,
    pub(super) tries: u32,
    /// The incident that it ends; 0 for none.
    pub(super) incident: u64,
}

/// What the FTM remembers of them.
#[derive(Default)]
pub(super) struct Subordinates {
    pub(super) installing: BTreeMap<ArmorId, Installing>,
    pub(super) attempts: BTreeMap<(ArmorType, u32), Attempts>,
    /// What a manager is to hear when it is there again.
    pub(super) held: BTreeMap<(ArmorType, u32), Vec<ArmorDown>>,
    /// What was on a node when it failed, to be ended there if it comes back.
    pub(super) left: BTreeMap<NodeId, Vec<ArmorId>>,
}

impl Core {
    /// Has an ARMOR installed.
    pub(super) fn install(
        &mut self,
        armor: ArmorId,
        node: NodeId,
        incident: u64,
        outbox: &mut Outbox,
    ) {
        let manager = self.own();
        self.change(Row::Armor { armor, manager, node }, outbox);
        let due_ns = now_ns() + PATIENCE_NS;
        self.below.installing.insert(armor, Installing { node, due_ns, tries: 0, incident });
        self.send_install(armor, node, outbox);
    }

    fn send_install(&self, armor: ArmorId, node: NodeId, outbox: &mut Outbox) {
        let parameters = self.parameters_of(armor, node);
        let install = Install { armor, parameters, program: None };
        outbox.send(ArmorId::daemon(node), Message::Install(install));
        self.context.wake_at(now_ns() + PATIENCE_NS);
    }

    /// Asks after those that were not heard of for too long; those that are given up for now.
    pub(super) fn late(&mut self, now_ns: u64, outbox: &mut Outbox) -> Vec<ArmorId> {
        let retries = self.parameters().retries();
        let mut gone = Vec::new();
        let mut again = Vec::new();
        for (armor, installing) in &mut self.below.installing {
            if installing.due_ns > now_ns {
                continue;
            }
            if installing.tries >= retries {
                gone.push(*armor);
                continue;
            }
            installing.tries += 1;
            installing.due_ns = now_ns + PATIENCE_NS;
            again.push((*armor, installing.node));
        }
        for (armor, node) in again {
            // It may be there, and the daemon's word of it lost: then it answers.
            outbox.send(armor, Message::Ping { nonce: 0 });
            self.send_install(armor, node, outbox);
        }
        if let Some(due) = self.below.installing.values().map(|one| one.due_ns).min() {
            self.context.wake_at(due.max(now_ns + 1));
        }
        gone
    }

    /// What an ARMOR is started with.
    fn parameters_of(&self, armor: ArmorId, node: NodeId) -> String {
        let text = |value: &str| toml::Value::from(value).to_string();
        match armor.kind {
            armors::BACKUP_FTM => format!("state = {}\n", text(&self.directory.to_string_lossy())),
            armors::HEARTBEAT => {
                let parameters = self.parameters();
                let settings = parameters.heartbeat();
                format!(
                    "interval_ns = {}\nmisses = {}\nhealth = {}\n",
                    settings.interval.as_nanos(),
                    settings.misses,
                    parameters.health()
                )
            }
            armors::INITIALIZATION => {
                let address = self.tables().node(node).map_or("", |info| info.address.as_str());
                format!("address = {}\n", text(address))
            }
            armors::SURROGATE => self.surrogate(AppId(armor.number)).unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// What an application's manager is started with: as it was planned, with what has changed since.
    fn surrogate(&self, app: AppId) -> Option<String> {
        let mut parameters = self.planned(app)?;
        parameters.backup =
            self.backup.map(|armor| (armor.kind.0, armor.number, armor.incarnation.0));
        parameters.candidates = self.open_nodes();
        let manager = ArmorId::first(armors::SURROGATE, app.0);
        parameters.known = self
            .tables()
            .subordinates(manager)
            .map(|placed| Known::new(placed.armor, placed.node))
            .collect();
        parameters.to_toml().ok()
    }

    /// How an application was planned.
    pub(super) fn planned(&self, app: AppId) -> Option<Surrogate> {
        let text = self.tables().parameter(&planned_name(app))?;
        Surrogate::from_toml(text).ok()
    }

    /// What a manager of an application needs of a node.
    pub(super) fn needs(&self) -> chameleon_policy::place::Ask {
        let features = Vec::new();
        chameleon_policy::place::Ask { memory: 8 << 20, cpu: 1, features, ..Default::default() }
    }
}

/// Where the plan of an application is kept, in the table of parameters; nothing there is none.
pub(super) fn planned_name(app: AppId) -> String {
    format!("app.{}", app.0)
}
