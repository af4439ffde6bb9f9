//! What the HEARTBEAT ARMOR knows of the nodes, whichever block asks them.
//!
//! Invariant: a node is said to be down only when this node's own daemon answers quickly: a daemon that hangs
//! makes all others silent. Pure but for what it leaves in the outbox.

use std::collections::{BTreeMap, BTreeSet};

use chameleon_policy::detector::doubt::Doubts;
use chameleon_policy::detector::{Action, Detector, Settings};
use chameleon_policy::health::complaints;
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{Health, Heartbeat, Heartbeaten, NodeDown, Note, Places, Step};
use chameleon_supervisor::armor::Outbox;

use crate::context::wall_ns;

/// Heartbeats from one question of a node's health to the next.
const HEALTH_EACH: u64 = 5;

/// The nodes.
#[derive(Default)]
pub(super) struct Beats {
    /// Nothing before the first block has said how it is to be.
    detector: Option<Detector<NodeId>>,
    health: BTreeMap<NodeId, Health>,
    doubts: Doubts<NodeId>,
    down: BTreeMap<NodeId, NodeDown>,
    begun: bool,
}

/// To whom, and about what, a block speaks.
pub(super) struct Scene<'a> {
    pub(super) ftm: ArmorId,
    pub(super) node: NodeId,
    pub(super) health: bool,
    pub(super) now_ns: u64,
    pub(super) outbox: &'a mut Outbox,
}

impl Beats {
    /// The detector, made by the first block.
    pub(super) fn begin(&mut self, settings: Settings, base: u64) {
        self.detector.get_or_insert_with(|| Detector::new(settings, base));
    }

    /// Whether no block has been here before; said once.
    pub(super) fn is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// Other settings from now on.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Settings), now_ns: u64) {
        if let Some(detector) = &mut self.detector {
            let mut settings = detector.settings();
            change(&mut settings);
            detector.set(settings, now_ns);
        }
    }

    /// When there is something to do.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.detector.as_ref()?.next_ns()
    }

    /// These are the nodes from now on.
    pub(super) fn nodes(&mut self, places: &Places, now_ns: u64) {
        let Some(detector) = &mut self.detector else { return };
        let wanted: BTreeSet<NodeId> =
            places.nodes.iter().filter(|(_, at)| !at.is_empty()).map(|(node, _)| *node).collect();
        let known: BTreeSet<NodeId> = places.nodes.iter().map(|(node, _)| *node).collect();
        for node in &wanted {
            detector.watch(*node, now_ns);
        }
        for node in known.difference(&wanted) {
            detector.forget(*node);
            self.health.remove(node);
            self.doubts.forget(*node);
            self.down.remove(node);
        }
    }

    /// Sends what is due, and finds out who is silent.
    pub(super) fn tick(&mut self, scene: &mut Scene<'_>) {
        let Some(detector) = &mut self.detector else { return };
        let mut actions = Vec::new();
        detector.tick(scene.now_ns, &mut actions);
        for action in actions {
            match action {
                Action::Send(node, sequence) => {
                    let health = scene.health && sequence % HEALTH_EACH == 1;
                    let beat = Heartbeat { sequence, health };
                    scene.outbox.send(ArmorId::daemon(node), Message::Heartbeat(beat));
                }
                Action::Down(node, missed) if node != scene.node => {
                    let sequence = self.doubts.doubt(node, missed, scene.now_ns);
                    let beat = Heartbeat { sequence, health: false };
                    scene.outbox.send(ArmorId::daemon(scene.node), Message::Heartbeat(beat));
                }
                Action::Down(..) | Action::Suspect(..) | Action::Alive(..) => {}
            }
        }
    }

    /// This node's own daemon answers what it was asked.
    fn own_daemon(&mut self, sequence: u64, scene: &mut Scene<'_>) {
        let Some(detector) = &mut self.detector else { return };
        for (node, missed) in self.doubts.settle(detector, sequence, scene.now_ns) {
            let down = NodeDown { node, missed, at_ns: wall_ns() };
            self.down.insert(node, down);
            scene.outbox.send(scene.ftm, Message::NodeDown(down));
        }
    }

    /// There is another connection to this node's daemon.
    pub(super) fn begin_again(&mut self, now_ns: u64) {
        if let Some(detector) = &mut self.detector {
            self.doubts.begin_again(detector, now_ns);
        }
    }

    /// A node answers.
    pub(super) fn answered(&mut self, beat: &Heartbeaten, scene: &mut Scene<'_>) {
        if beat.node == scene.node && self.doubts.asked(beat.sequence) {
            return self.own_daemon(beat.sequence, scene);
        }
        let Some(detector) = &mut self.detector else { return };
        let Ok(change) = detector.answered(beat.node, beat.sequence) else { return };
        let back = matches!(change, Some(Action::Alive(..)));
        if back {
            self.down.remove(&beat.node);
            self.doubts.forget(beat.node);
        }
        if let Some(health) = beat.health {
            let before = self.health.insert(beat.node, health);
            for complaint in complaints(before.as_ref(), &health) {
                // Load and memory are said with each answer; a word of them once.
                let kind = std::mem::discriminant(&complaint);
                let again = complaint.weight() == 0
                    && before.is_some_and(|before| {
                        complaints(None, &before)
                            .iter()
                            .any(|one| std::mem::discriminant(one) == kind)
                    });
                if !again {
                    let text = format!("node {}: {complaint}", beat.node.0);
                    scene.outbox.send(scene.ftm, Message::Note(note(beat.node, text)));
                }
            }
        }
        if back || beat.health.is_some() {
            scene.outbox.send(scene.ftm, Message::Heartbeaten(*beat));
        }
    }

    /// There is another FTM: it hears who is down.
    pub(super) fn tell(&self, scene: &mut Scene<'_>) {
        for down in self.down.values() {
            scene.outbox.send(scene.ftm, Message::NodeDown(*down));
        }
    }
}

fn note(node: NodeId, text: String) -> Note {
    Note { incident: 0, at_ns: wall_ns(), node, app: None, step: Step::Info, text }
}
