//! How the environment is, as people read it.
//!
//! Invariant: what it would not survive is said.

use std::collections::BTreeSet;

use chameleon_policy::health::size;
use chameleon_policy::membership::Standing;
use chameleon_proto::ask::{AppRow, ArmorRow, NodeRow, RunRow, Status};
use chameleon_proto::ids::{AppId, ArmorId, NodeId, armors};
use chameleon_proto::message::env::App;

use super::core::Core;
use crate::surrogate::Parameters as Surrogate;

/// Bytes of memory below which a node is mentioned.
const LITTLE: u64 = 64 << 20;

impl Core {
    /// All of it.
    pub(super) fn status(&self) -> Status {
        let (own, backup) = (self.own(), self.backup);
        let rest = self.tables().armors().filter(|placed| Some(placed.armor) != backup);
        let nodes: Vec<Standing> = self.members.all().map(|(_, standing)| standing).collect();
        let nodes: Vec<&Standing> = nodes
            .iter()
            .filter(|standing| !matches!(standing, Standing::Revoked | Standing::Enrolled))
            .collect();
        let up = nodes.iter().filter(|standing| ***standing != Standing::Down).count();
        let running = self.tables().apps().filter(|app| !app.state.is_over()).count();
        Status {
            ftm: self.row(own, own, self.context.node()),
            backup: backup.and_then(|backup| {
                let placed = self.tables().known(backup)?;
                Some(self.row(backup, placed.manager, placed.node))
            }),
            armors: rest
                .map(|placed| self.row(placed.armor, placed.manager, placed.node))
                .collect(),
            epoch: self.epoch.0,
            nodes: (up as u32, nodes.len() as u32),
            apps: (running as u32, self.tables().apps().count() as u32),
            incidents: self.notes.incidents(),
            parameters: self.parameters().all().clone(),
            warnings: self.warnings(),
        }
    }

    fn row(&self, armor: ArmorId, manager: ArmorId, node: NodeId) -> ArmorRow {
        let name = |kind| armors::name(kind).unwrap_or("unknown");
        ArmorRow {
            kind: name(armor.kind).to_owned(),
            number: armor.number,
            life: armor.incarnation.0,
            node: node.0,
            manager: format!("{} {}", name(manager.kind), manager.number),
            app: armor.app().map(|app| app.0),
            called: self.tables().called(armor),
            at: self.tables().at(node),
            managed_by: self.tables().called(manager),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let node = self.context.node();
        let mut warnings = vec![format!(
            "FTM and Backup FTM are on one host, {}: its loss is not survived",
            self.tables().at(node)
        )];
        if self.backup.is_none() {
            warnings.push(
                "there is no Backup FTM at present: the FTM's loss would not be survived".into(),
            );
        }
        warnings
            .extend(self.trouble.iter().map(|why| format!("the FTM's state is not kept: {why}")));
        for (node, standing) in self.members.all() {
            match standing {
                Standing::Down => warnings.push(format!("{} is down", self.tables().at(node))),
                Standing::Draining => {
                    warnings.push(format!("{} is drained", self.tables().at(node)))
                }
                _ => {}
            }
        }
        for (node, health) in &self.health {
            if health.memory > 0 && health.memory_available < LITTLE {
                let left = size(health.memory_available);
                let at = self.tables().at(*node);
                warnings.push(format!("{at} has only {left} of memory left"));
            }
        }
        warnings
    }

    /// The nodes.
    pub(super) fn node_rows(&self) -> Vec<NodeRow> {
        let row = |info: &chameleon_proto::message::env::NodeInfo| {
            let node = info.node;
            let examined = !info.cpu.is_empty();
            let standing = match self.members.standing(node) {
                Some(Standing::Up) if !examined => "joining",
                Some(Standing::Up) => "up",
                Some(Standing::Draining) => "drained",
                Some(Standing::Down) => "down",
                Some(Standing::Revoked) => "revoked",
                Some(Standing::Enrolled) | None => "joining",
            };
            NodeRow {
                info: info.clone(),
                standing: standing.to_owned(),
                now: self.health.get(&node).copied(),
                failures: self.tables().failures(node).count() as u32,
                armors: self
                    .tables()
                    .on(node)
                    .filter(|placed| placed.armor.kind != armors::DAEMON)
                    .count() as u32,
            }
        };
        self.tables().nodes().map(row).collect()
    }

    /// The applications.
    pub(super) fn app_rows(&self, all: bool) -> Vec<AppRow> {
        let apps = self.tables().apps().filter(|app| all || !app.state.is_over());
        apps.map(|app| self.app_row(app)).collect()
    }

    fn app_row(&self, app: &App) -> AppRow {
        let planned = self.planned(app.id);
        let there: BTreeSet<u32> = self
            .tables()
            .armors()
            .filter(|placed| is_execution_of(placed.armor, app.id))
            .map(|placed| placed.node.0)
            .collect();
        let nodes = match &planned {
            Some(planned) if there.is_empty() => planned.nodes.clone(),
            _ => there.into_iter().collect(),
        };
        let running = self.run_rows(app, planned.as_ref());
        AppRow {
            mode: planned.map_or_else(String::new, |planned| planned.mode),
            app: app.clone(),
            nodes,
            runs: running.iter().map(|run| run.id.clone()).filter(|id| !id.is_empty()).collect(),
            running,
            recoveries: self.notes.recoveries(app.id),
        }
    }
}

impl Core {
    /// What runs of an application: of each of its ARMORs that the tables have, as its manager said.
    fn run_rows(&self, app: &App, planned: Option<&Surrogate>) -> Vec<RunRow> {
        if app.state.is_over() {
            return Vec::new();
        }
        let mode = planned.map_or_else(String::new, |planned| {
            planned.options.get("mode").unwrap_or(&planned.mode).clone()
        });
        let there = self.tables().armors().filter(|placed| is_execution_of(placed.armor, app.id));
        there
            .filter_map(|placed| {
                let run = self.runs.get(&placed.armor.number)?;
                Some(RunRow {
                    id: run.run.clone(),
                    node: placed.node.0,
                    at: self.tables().at(placed.node),
                    pid: run.pid,
                    mode: mode.clone(),
                    began_ns: run.began_ns,
                    restarts: run.attempt.saturating_sub(1),
                    by: self.tables().called(placed.armor),
                })
            })
            .collect()
    }
}

fn is_execution_of(armor: ArmorId, app: AppId) -> bool {
    armor.kind == armors::EXECUTION && armor.app() == Some(app)
}
