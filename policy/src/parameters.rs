//! The parameters of an environment: names, meanings, defaults (paper 4.1.1: "parameters for heartbeats
//! and retries, which can be changed while it runs").
//!
//! Invariant: a value that is in the tables has been checked, so reading it back does not fail. What is
//! kept under [`is_internal`] names is the FTM's own, and no person sets it. Asked by the FTM for each
//! `set`, by the Backup FTM and the HEARTBEAT ARMOR for what they go by.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::detector::Settings;
use crate::{document, duration};

/// Between two heartbeats of a node, and of the FTM by its backup.
pub const HEARTBEAT_INTERVAL: &str = "heartbeat.interval";
/// Heartbeats in a row without an answer that make a node down.
pub const HEARTBEAT_MISSES: &str = "heartbeat.misses";
/// What heartbeats ask for: [`HEARTBEATS`].
pub const HEARTBEAT_BLOCK: &str = "heartbeat.block";
/// Between two pings of an ARMOR by its daemon.
pub const ARMOR_PING: &str = "armor.ping";
/// Pings in a row without an answer that make an ARMOR hang.
pub const ARMOR_MISSES: &str = "armor.misses";
/// How often something that is not answered is asked for again.
pub const RETRIES: &str = "retries";

/// Names and defaults.
pub const ALL: [(&str, &str); 6] = [
    (HEARTBEAT_INTERVAL, "200ms"),
    (HEARTBEAT_MISSES, "3"),
    (HEARTBEAT_BLOCK, "health"),
    (ARMOR_PING, "500ms"),
    (ARMOR_MISSES, "3"),
    (RETRIES, "3"),
];

/// The heartbeats there are.
pub const HEARTBEATS: [&str; 2] = ["ping", "health"];

/// The shortest interval: below it a busy machine's own delays are misses.
const SHORTEST: Duration = Duration::from_millis(10);

/// Whether a name is of what the FTM keeps for itself in the same table.
pub fn is_internal(name: &str) -> bool {
    !ALL.iter().any(|(known, _)| *known == name)
}

/// Whether a person may set this.
///
/// # Errors
/// In words: there is no such parameter, or it cannot be that.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    match name {
        HEARTBEAT_INTERVAL | ARMOR_PING => match duration::parse(value) {
            Err(error) => Err(format!("{name}: {error}")),
            Ok(interval) if interval < SHORTEST => {
                Err(format!("{name} must be at least {}", duration::text(SHORTEST)))
            }
            Ok(_) => Ok(()),
        },
        HEARTBEAT_MISSES | ARMOR_MISSES | RETRIES => match value.parse::<u32>() {
            Ok(1..=100) => Ok(()),
            _ => Err(format!("{name} must be a whole number from 1 to 100, not '{value}'")),
        },
        HEARTBEAT_BLOCK if HEARTBEATS.contains(&value) => Ok(()),
        HEARTBEAT_BLOCK => Err(format!("{name}: {}", document::meant(value, &HEARTBEATS))),
        _ => Err(format!("there is no parameter '{name}'; {}", document::meant(name, &names))),
    }
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Default for Parameters {
    fn default() -> Self {
        Self(ALL.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

impl Parameters {
    /// The defaults, and what a table says otherwise; what is no parameter is passed over.
    pub fn of<'a>(table: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = Self::default();
        for (name, value) in table {
            if check(name, value).is_ok() {
                all.0.insert(name.to_owned(), value.to_owned());
            }
        }
        all
    }

    /// All, by name.
    pub const fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether heartbeats ask for the node's health.
    pub fn health(&self) -> bool {
        self.value(HEARTBEAT_BLOCK) == "health"
    }

    /// The heartbeats'.
    pub fn heartbeat(&self) -> Settings {
        self.settings(HEARTBEAT_INTERVAL, HEARTBEAT_MISSES)
    }

    /// How often something is asked for again.
    pub fn retries(&self) -> u32 {
        self.value(RETRIES).parse().unwrap_or(3)
    }

    fn settings(&self, interval: &str, misses: &str) -> Settings {
        let default = Settings::default();
        Settings {
            interval: duration::parse(self.value(interval)).unwrap_or(default.interval),
            misses: self.value(misses).parse().unwrap_or(default.misses),
        }
    }

    fn value(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_what_may_be_set_and_a_table_changes_them() {
        assert!(ALL.iter().all(|(name, value)| check(name, value).is_ok()));
        let of = Parameters::of([("heartbeat.interval", "50ms"), ("node.3", "drained")]);
        assert_eq!(of.heartbeat(), Settings { interval: Duration::from_millis(50), misses: 3 });
        assert_eq!(of.all().len(), ALL.len());
        assert!(of.health() && of.retries() == 3 && is_internal("node.3"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        for (name, value, why) in [
            ("heartbeat.interval", "1ms", "at least 10ms"),
            ("heartbeat.interval", "soon", "heartbeat.interval"),
            ("armor.misses", "0", "from 1 to 100"),
            ("heartbeat.block", "pong", "ping"),
            ("heartbeat.intervall", "1s", "heartbeat.interval"),
        ] {
            let error = check(name, value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
