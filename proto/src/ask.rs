//! What people ask an environment, and what it answers: the text of [`crate::message::env::Request`]
//! and [`crate::message::env::Answer`], each a line of JSON.
//!
//! Invariant: a field that an older version does not know is passed over; one that it needs is never
//! taken away. Nothing is pushed: who follows asks again, with the number that it has come to. Asked by
//! `tools/chameleon`, answered by the FTM, which asks the managers of applications for what only they know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::env::{App, AppState, Health, NodeInfo, Note};

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How the environment is: answered with [`Told::Status`].
    Status,
    /// Run an application: [`Told::Submitted`].
    Submit {
        /// Its specification (TOML).
        specification: String,
        /// Where it was handed in: relative paths begin there.
        directory: String,
    },
    /// Which strategy a specification would get now: [`Told::Plan`].
    Plan {
        /// TOML.
        specification: String,
        /// Where relative paths begin.
        directory: String,
    },
    /// The applications: [`Told::Apps`].
    Apps {
        /// Those that have ended, too.
        all: bool,
    },
    /// Change a running application or, without one, a parameter of the environment: [`Told::Done`].
    Set {
        /// Name or number.
        app: Option<String>,
        /// Names and values: of an application `mode`, `timeout`, `checkpoint`; of the environment
        /// `heartbeat.interval` and the like.
        values: BTreeMap<String, String>,
    },
    /// End an application, or forget one that has ended: [`Told::Done`].
    Stop {
        /// Name or number.
        app: String,
    },
    /// Where an application's output is: [`Told::Logs`].
    Logs {
        /// Name or number.
        app: String,
    },
    /// The nodes: [`Told::Nodes`].
    Nodes,
    /// Place nothing on a node any more and move what is there: [`Told::Drained`]; or take it back: [`Told::Done`].
    Drain {
        /// Name or number.
        node: String,
        /// Whether it is the other way round.
        undo: bool,
        /// Whether programs that run there begin anew elsewhere: [`Told::Drained`] says which stay otherwise.
        #[serde(default)]
        restart: bool,
    },
    /// A node's certificate is no longer good (the command had the authority sign that): forget it: [`Told::Done`].
    Revoke {
        /// Name or number.
        node: String,
    },
    /// What happened: [`Told::Events`].
    Events {
        /// Behind this number.
        after: u64,
        /// At most so many, the newest.
        most: u32,
        /// Of this application alone: name or number.
        app: Option<String>,
        /// Of this incident alone.
        incident: Option<u64>,
    },
    /// End the environment's managers and what they manage: [`Told::Done`].
    Shutdown,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "one at a time, soon written or read as text")]
pub enum Told {
    /// It is not done.
    Refused {
        /// Why and what to do, in plain words.
        why: String,
    },
    /// It is done.
    Done {
        /// What, in plain words.
        text: String,
    },
    /// A node gets nothing new.
    Drained {
        /// What was done, in plain words.
        text: String,
        /// Whether what runs there begins anew elsewhere.
        restart: bool,
        /// What runs there, and what becomes of it.
        there: Vec<Staying>,
    },
    /// The application is being started.
    Submitted {
        /// Its number.
        app: u32,
        /// Its name.
        name: String,
        /// The strategy that was chosen.
        strategy: String,
        /// Why, in sentences.
        because: Vec<String>,
    },
    /// A plan.
    Plan {
        /// The strategy's name.
        strategy: String,
        /// For people, several lines.
        text: String,
        /// Options of `chameleon run`.
        options: BTreeMap<String, String>,
        /// Nodes, by name.
        nodes: Vec<String>,
        /// What it gives, in sentences.
        because: Vec<String>,
        /// Cheaper strategies, and why each is not enough.
        passed: Vec<(String, String)>,
    },
    /// The environment.
    Status(Status),
    /// Applications, by number.
    Apps {
        /// One each.
        apps: Vec<AppRow>,
    },
    /// Nodes, by number.
    Nodes {
        /// One each.
        nodes: Vec<NodeRow>,
    },
    /// An application's output.
    Logs {
        /// Where it is.
        files: Vec<LogFile>,
    },
    /// What happened, the oldest first.
    Events {
        /// Each with its number.
        events: Vec<Numbered>,
        /// The newest number there is.
        newest: u64,
    },
}

/// How the environment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The FTM, in words, and the node that it is on.
    pub ftm: ArmorRow,
    /// Its backup, if there is one.
    pub backup: Option<ArmorRow>,
    /// All other ARMORs.
    pub armors: Vec<ArmorRow>,
    /// The epoch.
    pub epoch: u64,
    /// Nodes that are up, and all.
    pub nodes: (u32, u32),
    /// Applications that run, and all.
    pub apps: (u32, u32),
    /// Incidents so far, and those that are not over.
    pub incidents: (u64, u64),
    /// The environment's parameters.
    pub parameters: BTreeMap<String, String>,
    /// What people should know, in plain words: losses that it would not survive, nodes that are down.
    pub warnings: Vec<String>,
}

/// An ARMOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmorRow {
    /// Its type's name.
    pub kind: String,
    /// Its number.
    pub number: u32,
    /// How often it was started again.
    pub life: u32,
    /// The node that it is on.
    pub node: u32,
    /// Its manager: type and number.
    pub manager: String,
    /// Its application's number, if it has one.
    pub app: Option<u32>,
    /// What it is, for people: `SURROGATE of count`.
    #[serde(default)]
    pub called: String,
    /// Where it is, for people: `node 2 (n2)`.
    #[serde(default)]
    pub at: String,
    /// Its manager, for people.
    #[serde(default)]
    pub managed_by: String,
}

/// An application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRow {
    /// As the FTM has it.
    #[serde(flatten)]
    pub app: App,
    /// The mode at present, which `set` may have changed.
    pub mode: String,
    /// The nodes that it is on.
    pub nodes: Vec<u32>,
    /// IDs of its runs (`chameleon checkpoint ID` on that node).
    pub runs: Vec<String>,
    /// The same with what is known of each.
    #[serde(default)]
    pub running: Vec<RunRow>,
    /// How often something of it failed and was put right.
    pub recoveries: u32,
}

/// A run of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its ID, by which `checkpoint` and `set` know it on its node; empty as long as it has none.
    pub id: String,
    /// The node that it is on.
    pub node: u32,
    /// That node, for people: `node 2 (n2)`.
    pub at: String,
    /// The program's first process there.
    pub pid: u32,
    /// The run's mode.
    pub mode: String,
    /// When it began: nanoseconds since 1970 (UTC).
    pub began_ns: u64,
    /// How often the program was started before.
    pub restarts: u32,
    /// Which ARMOR runs it, for people: `EXECUTION of count`.
    pub by: String,
}

/// Something of an application that is on a node which gets nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staying {
    /// The application's number.
    pub app: u32,
    /// Its name.
    pub name: String,
    /// What is there, for people: `EXECUTION of count`.
    pub what: String,
    /// The ID of its run, if it is known.
    pub run: Option<String>,
    /// What `--restart` does with it, for people.
    pub restart: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// As its INITIALIZATION ARMOR reported it.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// `up`, `drained`, `down`, `revoked`, `joining`.
    pub standing: String,
    /// As it answered its last heartbeat, if it said.
    pub now: Option<Health>,
    /// How often it failed.
    pub failures: u32,
    /// ARMORs on it.
    pub armors: u32,
}

/// A file with output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The node that it is on.
    pub node: u32,
    /// That node's name.
    pub host: String,
    /// `stdout`, `stderr`, `report`.
    pub what: String,
    /// An absolute path.
    pub path: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// Grows with each.
    pub number: u64,
    /// What.
    #[serde(flatten)]
    pub note: Note,
}

impl AppState {
    /// Whether nothing of the application runs any more.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Failed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::message::env::Step;
    use crate::runs::{from_line, to_line};

    #[test]
    fn lines_are_exactly_these_and_read_back() {
        assert_eq!(to_line(&Ask::Status).unwrap(), "{\"ask\":\"status\"}\n");
        let refused = Told::Refused { why: "no".into() };
        assert_eq!(to_line(&refused).unwrap(), "{\"told\":\"refused\",\"why\":\"no\"}\n");
        let note = Note {
            incident: 3,
            at_ns: 5,
            node: NodeId(1),
            app: None,
            step: Step::Detected,
            text: "node 2 does not answer".into(),
        };
        let events = Told::Events { events: vec![Numbered { number: 9, note }], newest: 9 };
        let line = to_line(&events).unwrap();
        assert!(line.contains("\"number\":9,\"incident\":3"), "{line}");
        assert_eq!(from_line::<Told>(line.as_bytes()).unwrap(), events);
    }

    #[test]
    fn a_later_versions_fields_are_passed_over() {
        assert_eq!(from_line::<Ask>(br#"{"ask":"nodes","later":1}"#).unwrap(), Ask::Nodes);
        assert!(from_line::<Ask>(br#"{"ask":"unknown"}"#).is_err());
    }
}
