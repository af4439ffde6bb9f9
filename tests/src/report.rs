//! Reading `--report`: JSON lines, as `docs/report.md` describes them.
//!
//! Invariant: read as a stranger would, field by field, without the types that wrote it. Used by the
//! scenarios (an undisturbed run has no event but start, refused and exit) and the fault tests.

use serde_json::Value;

/// The events of one run, in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    events: Vec<Value>,
}

impl Report {
    /// Reads the lines of a report.
    ///
    /// # Panics
    /// If a line is no JSON object with an `event`.
    pub fn parse(text: &str) -> Self {
        let events = text
            .lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("report line {line:?}: {error}"));
                assert!(event["event"].is_string(), "no event in {line:?}");
                event
            })
            .collect();
        Self { events }
    }

    /// How many events of this name there are.
    pub fn count(&self, name: &str) -> usize {
        self.named(name).count()
    }

    /// The events of this name.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == *name)
    }

    /// The events that say that something went wrong with a replica or with Chameleon.
    pub fn disturbances(&self) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| {
                !matches!(
                    event["event"].as_str(),
                    Some("start" | "exit" | "refused" | "checkpoint" | "recovery")
                )
            })
            .collect()
    }

    /// All events as lines, for a message.
    pub fn text(&self) -> String {
        self.events.iter().map(|event| format!("{event}\n")).collect()
    }

    /// Whether nothing was reported at all.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
