//! What ARMORs and nodes are called where people read of them.
//!
//! Invariant: an ARMOR is called by what it does and for which application, a node by its number and its
//! host; the numbers of messages are not for people. Used by all who write notes, plans and rows of `status`.

use chameleon_proto::ids::{AppId, ArmorId, NodeId, armors};

use super::Tables;
use crate::spec::Specification;

impl Tables {
    /// An ARMOR: "SURROGATE of count", "EXECUTION of product (replica 1, part 0)".
    pub fn called(&self, armor: ArmorId) -> String {
        let of = |what: &str| match armor.app() {
            Some(app) => format!("{what} of {}", self.name_of(app)),
            None => what.to_owned(),
        };
        match armor.kind {
            armors::SURROGATE => of("SURROGATE"),
            armors::VOTER => of("VOTER"),
            armors::CHECKPOINT => of("CHECKPOINT"),
            armors::EXECUTION => of("EXECUTION") + &self.which(armor),
            armors::DAEMON => format!("the daemon of {}", self.at(NodeId(armor.number))),
            armors::INITIALIZATION => {
                format!("INITIALIZATION of {}", self.at(NodeId(armor.number)))
            }
            _ => armor.called(),
        }
    }

    /// A node: "node 2 (n2)".
    pub fn at(&self, node: NodeId) -> String {
        match self.node(node).map(|info| info.name.as_str()) {
            Some("") | None => format!("node {}", node.0),
            Some(name) => format!("node {} ({name})", node.0),
        }
    }

    /// An application.
    fn name_of(&self, app: AppId) -> String {
        self.app(app).map_or_else(|| format!("application {}", app.0), |app| app.name.clone())
    }

    /// Which of an application's EXECUTION ARMORs it is, where there are several.
    fn which(&self, armor: ArmorId) -> String {
        let Some((app, k)) = armor.app().zip(armor.nth()) else { return String::new() };
        let others = self.armors().filter(|other| {
            other.armor.kind == armors::EXECUTION
                && other.armor.app() == Some(app)
                && !other.armor.same_armor(armor)
        });
        if k == 0 && others.count() == 0 {
            return String::new();
        }
        let specification = self.app(app).map(|app| Specification::parse(&app.specification));
        match specification.and_then(Result::ok).map(|spec| spec.app.parts.len() as u32) {
            Some(parts @ 2..) => format!(" (replica {}, part {})", k / parts, k % parts),
            _ => format!(" (replica {k})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::message::env::{App, AppState, Health, NodeInfo, Row};

    use super::*;

    fn node(number: u32, name: &str) -> Row {
        Row::Node(NodeInfo {
            node: NodeId(number),
            name: name.into(),
            address: String::new(),
            os: String::new(),
            kernel: String::new(),
            cpu: String::new(),
            features: Vec::new(),
            health: Health::default(),
        })
    }

    fn app(number: u32, name: &str, parts: &str) -> Row {
        Row::App(App {
            id: AppId(number),
            name: name.into(),
            specification: format!("[app]\nname = \"{name}\"\n{parts}"),
            strategy: "tmr".into(),
            manager: None,
            state: AppState::Running,
            submitted_ns: 0,
        })
    }

    fn there(armor: ArmorId) -> Row {
        Row::Armor { armor, manager: armor, node: NodeId(1) }
    }

    #[test]
    fn an_armor_is_called_by_what_it_does_and_for_whom() {
        let part = "[[part]]\ncommand = [\"a\"]\nresults = [\"c\"]\n";
        let execution = |app, k| ArmorId::execution(AppId(app), k);
        let tables = Tables::from_rows([
            node(2, "n2"),
            app(1, "count", "command = [\"a\"]\n"),
            app(2, "product", &[part, part].concat()),
            app(3, "sum", "command = [\"a\"]\nresults = [\"c\"]\n"),
            there(execution(1, 0)),
            there(execution(2, 0)),
            there(execution(2, 3)),
            there(execution(3, 0)),
            there(execution(3, 2)),
        ])
        .unwrap();
        for (armor, called) in [
            (ArmorId::first(armors::SURROGATE, 1), "SURROGATE of count"),
            (ArmorId::first(armors::SURROGATE, 9).successor(), "SURROGATE of application 9"),
            (ArmorId::first(armors::VOTER, 2), "VOTER of product"),
            (execution(1, 0).successor(), "EXECUTION of count"),
            (execution(2, 0), "EXECUTION of product (replica 0, part 0)"),
            (execution(2, 3), "EXECUTION of product (replica 1, part 1)"),
            (execution(3, 2), "EXECUTION of sum (replica 2)"),
            (ArmorId::first(armors::FTM, 1), "FTM"),
            (ArmorId::first(armors::BACKUP_FTM, 2), "Backup FTM 2"),
            (ArmorId::first(armors::HEARTBEAT, 1), "HEARTBEAT"),
            (ArmorId::daemon(NodeId(2)), "the daemon of node 2 (n2)"),
            (ArmorId::first(armors::INITIALIZATION, 3), "INITIALIZATION of node 3"),
        ] {
            assert_eq!(tables.called(armor), called);
        }
    }
}
