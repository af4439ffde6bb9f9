//! The nodes as placement sees them.
//!
//! Invariant: what is said of a node is its last answer, its failures fade, and what was put there and
//! has not begun yet counts as if it had.

use chameleon_policy::place::Candidate;
use chameleon_proto::ids::armors;
use chameleon_proto::message::env::{AppState, NodeInfo};

use super::core::Core;
use crate::context::wall_ns;

impl Core {
    /// The nodes.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.tables().nodes().map(|info| self.candidate(info)).collect()
    }

    /// The nodes that get something, for managers that place by themselves. Of others they hear when that changes.
    pub(super) fn open_nodes(&self) -> Vec<NodeInfo> {
        let open = |info: &&NodeInfo| self.members.closed(info.node).is_none();
        self.tables().nodes().filter(open).cloned().collect()
    }

    fn candidate(&self, info: &NodeInfo) -> Candidate {
        let (mut promised_cpu, mut promised_memory) = (0, 0);
        for placed in self.tables().on(info.node) {
            let app = placed.armor.app().filter(|_| placed.armor.kind == armors::EXECUTION);
            let Some(app) = app else { continue };
            let begins = self.tables().app(app).is_some_and(|app| app.state == AppState::Starting);
            let Some(planned) = self.planned(app) else { continue };
            promised_cpu += planned.cpu;
            promised_memory += if begins { planned.memory } else { 0 };
        }
        Candidate {
            closed: self.members.closed(info.node),
            health: self.health.get(&info.node).copied().unwrap_or(info.health),
            promised_cpu,
            promised_memory,
            failures: self.histories.get(&info.node).map_or(0, |history| history.at(wall_ns())),
            ..Candidate::of(info)
        }
    }
}
