//! A node that gets nothing new: who is told, and what is there.
//!
//! Invariant: what runs there goes on until it ends by itself, unless the person who drains the node says
//! otherwise; whatever stays is named. Used by the block of the nodes.

use chameleon_policy::membership::Standing;
use chameleon_policy::place::{Ask as Need, place};
use chameleon_policy::spec::Specification;
use chameleon_proto::ask::{Ask, Staying, Told};
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::Request;
use chameleon_supervisor::armor::Outbox;

use super::core::Core;

impl Core {
    /// Managers of applications hear whether a node takes something new; with `restart` what runs there leaves it.
    pub(super) fn tell_standing(&self, node: NodeId, restart: bool, outbox: &mut Outbox) {
        let message = match self.members.standing(node) {
            Some(Standing::Up) => self.tables().node(node).cloned().map(Message::NodeInfo),
            Some(Standing::Draining) => {
                let ask = Ask::Drain { node: node.0.to_string(), undo: false, restart };
                let text = serde_json::to_string(&ask).unwrap_or_default();
                // To this number nothing is answered.
                Some(Message::Request(Request { number: 0, text }))
            }
            _ => None,
        };
        for surrogate in self.surrogates() {
            message.iter().for_each(|message| outbox.send(surrogate, message.clone()));
        }
    }

    /// What the person hears who drains a node.
    pub(super) fn drained(&self, node: NodeId, restart: bool, text: String) -> Told {
        let runs = |armor: &ArmorId| [armors::EXECUTION, armors::VOTER].contains(&armor.kind);
        let there = self.tables().on(node).map(|placed| placed.armor).filter(runs);
        Told::Drained {
            text,
            restart,
            there: there.filter_map(|armor| self.staying(armor, node)).collect(),
        }
    }

    fn staying(&self, armor: ArmorId, node: NodeId) -> Option<Staying> {
        let app = self.tables().app(armor.app()?).filter(|app| !app.state.is_over())?;
        let run = self.runs.get(&armor.number).filter(|_| armor.kind == armors::EXECUTION);
        Some(Staying {
            app: app.id.0,
            name: app.name.clone(),
            what: self.tables().called(armor),
            run: run.map(|run| run.run.clone()).filter(|id| !id.is_empty()),
            restart: self.elsewhere_instead(armor, node),
        })
    }

    /// What would become of one that is to leave a node, as far as can be said now: its manager decides.
    fn elsewhere_instead(&self, armor: ArmorId, node: NodeId) -> String {
        let Some(planned) = armor.app().and_then(|app| self.planned(app)) else {
            return "stays: its plan is not known".to_owned();
        };
        let kept = planned.options.contains_key("checkpoint");
        let need = match armor.kind {
            armors::EXECUTION => {
                let others = self.tables().armors().filter(|other| {
                    other.armor.kind == armors::EXECUTION
                        && other.armor.app() == armor.app()
                        && other.armor != armor
                        && other.node != node
                });
                let features = Specification::parse(&planned.specification)
                    .map_or_else(|_| Vec::new(), |specification| specification.app.features);
                Need {
                    memory: planned.memory,
                    cpu: planned.cpu,
                    features,
                    apart: others.map(|other| other.node).collect(),
                    not: vec![node],
                    ..Need::default()
                }
            }
            _ => Need { not: vec![node], ..Need::default() },
        };
        match place(&need, &self.candidates()) {
            Err(none) => format!("stays: {none}"),
            Ok(choice) => {
                let images = if kept { " and without its checkpoints" } else { "" };
                let at = self.tables().at(choice.node);
                format!("begins anew{images} on another node, at present {at}")
            }
        }
    }
}
