//! A node is to be emptied: nothing new is put there, and with `chameleon node drain --restart` what runs
//! there begins elsewhere, anew or from the image that is kept of it.
//!
//! ```text
//!   Ask::Drain ─► Uninstall, at its daemon ─► Uninstalled ─► Install of its successor on another node
//!                   its program ends by itself meanwhile: that is its end
//! ```
//!
//! Invariant: it is not begun elsewhere before its daemon has said that it is gone where it was. What has a
//! result already stays. Part of the manager's block.

use chameleon_policy::place::DRAINING;
use chameleon_policy::recovery::{Scene, Step as Do, Way, evacuate};
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::Step;
use chameleon_supervisor::armor::Outbox;

use super::desk::{Desk, Phase, Work};
use crate::context::now_ns;

impl Desk {
    /// A node gets nothing new; what is there leaves it if that is wanted.
    pub fn drain(&mut self, node: &str, restart: bool, outbox: &mut Outbox) {
        let Ok(node) = node.parse().map(NodeId) else { return };
        if let Some(known) = self.candidates.iter_mut().find(|known| known.id == node) {
            known.closed = Some(DRAINING);
        }
        if !restart || self.state.is_over() || self.stopping {
            return;
        }
        for index in 0..self.slots.len() {
            let stays = matches!(self.slots[index].phase, Phase::Over | Phase::GivenUp);
            if self.slots[index].node == node && !stays {
                self.leave(index, outbox);
            }
        }
        self.wake();
    }

    /// A slot's ARMOR is to go, if there is another node for it.
    fn leave(&mut self, index: usize, outbox: &mut Outbox) {
        let what = self.tables.called(self.slots[index].armor);
        let from = self.tables.at(self.slots[index].node);
        match self.other_node(index, outbox.own()) {
            Ok(_) => {
                let slot = &mut self.slots[index];
                (slot.phase, slot.leaves, slot.since_ns) = (Phase::Leaving, true, now_ns());
                let (daemon, armor) = (ArmorId::daemon(slot.node), slot.armor);
                outbox.send(daemon, Message::Uninstall(armor));
                self.note(0, Step::Info, format!("{what} leaves {from}"), outbox);
            }
            Err(why) => {
                self.note(0, Step::Info, format!("{what} stays on {from}: {why}"), outbox);
            }
        }
    }

    /// Where a slot's ARMOR would go.
    fn other_node(&self, index: usize, manager: ArmorId) -> Result<NodeId, String> {
        let slot = &self.slots[index];
        let (tables, nodes) = (&self.tables, self.candidates.as_slice());
        let scene = Scene { manager, tables, nodes, way: Way::Move, now_ns: now_ns() };
        let plan = evacuate(&scene, slot.node, &[(slot.armor, self.ask(index))]);
        let place = plan.steps.iter().find_map(|step| match step {
            Do::Install(_, node) => Some(*node),
            _ => None,
        });
        place.ok_or_else(|| plan.why.join(", "))
    }

    /// An ARMOR is gone that was to leave: its successor is put elsewhere.
    pub fn has_left(&mut self, armor: ArmorId, outbox: &mut Outbox) {
        let Some(index) = self.find(armor) else { return };
        let slot = &self.slots[index];
        if slot.armor != armor || !slot.leaves || self.state.is_over() {
            return;
        }
        match self.other_node(index, outbox.own()) {
            Ok(to) => {
                let text = match self.slots[index].work {
                    Work::Program { .. } if self.kept.image.is_some() => {
                        ", its program from the image that is kept of it"
                    }
                    Work::Program { .. } => ", its program from the beginning",
                    Work::Voter | Work::Keeper => "",
                };
                let text =
                    format!("{} is put on {}{text}", self.tables.called(armor), self.tables.at(to));
                self.note(0, Step::Info, text, outbox);
                self.slots[index].executed = None;
                self.install(index, armor.successor(), to, outbox);
            }
            // Nowhere else now: where it was, its program goes on from what is there.
            Err(_) => {
                let node = self.slots[index].node;
                self.slots[index].attempt += 1;
                self.install(index, armor.successor(), node, outbox);
            }
        }
    }
}
