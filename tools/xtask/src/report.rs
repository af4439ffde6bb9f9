//! Reading what `chameleon run --report` wrote.
//!
//! Invariant: read as a stranger would, as `docs/report.md` describes it; a line that was cut off is
//! no event.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A `refused` of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The program, by the name of its file.
    pub program: String,
    /// The call.
    pub call: String,
    /// What the program was answered.
    pub answer: String,
    /// Why.
    pub reason: String,
}

impl Refusal {
    /// The call and its answer, for people.
    pub fn brief(&self) -> String {
        format!("{} ({})", self.call, self.answer)
    }
}

/// The events of a report; none if there is no such file.
pub fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The refusals of a report, each once.
pub fn refusals(report: &[Value]) -> Vec<Refusal> {
    let mut found = Vec::new();
    for event in report.iter().filter(|event| event["event"] == "refused") {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_string();
        let refusal = Refusal {
            program: text("program"),
            call: text("call"),
            answer: text("answer"),
            reason: text("reason"),
        };
        if !found.contains(&refusal) {
            found.push(refusal);
        }
    }
    found
}
