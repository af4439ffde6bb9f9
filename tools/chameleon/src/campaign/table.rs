//! The outcome of a campaign, for people and for machines.
//!
//! Invariant: every finished run is counted once; what went wrong can be repeated from what is
//! printed.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::outcome::{is_good, key};
use super::trial::Finished;
use crate::cli::CampaignArgs;
use chameleon_policy::campaign::Outcome;

/// A run whose fault was not masked.
struct Bad {
    number: u32,
    outcome: Outcome,
    fault: String,
    status: String,
}

/// The counts so far.
pub struct Summary<'a> {
    args: &'a CampaignArgs,
    seed: u64,
    calls: u64,
    counts: [u32; Outcome::ALL.len()],
    bad: Vec<Bad>,
    /// Whether someone ended the campaign early.
    pub interrupted: bool,
}

impl<'a> Summary<'a> {
    /// Nothing counted yet; `calls` is the range the faults were drawn from.
    pub fn new(args: &'a CampaignArgs, seed: u64, calls: u64) -> Self {
        Self {
            args,
            seed,
            calls,
            counts: [0; Outcome::ALL.len()],
            bad: Vec::new(),
            interrupted: false,
        }
    }

    /// Counts a run.
    pub fn add(&mut self, run: &Finished, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|one| *one == outcome);
        self.counts[place.expect("ALL has all")] += 1;
        if !is_good(outcome) {
            self.bad.push(Bad {
                number: run.number,
                outcome,
                fault: run.fault.map(|fault| fault.to_string()).unwrap_or_default(),
                status: if run.gave_up { "given up".to_string() } else { run.status.to_string() },
            });
        }
    }

    /// Whether no output was wrong and nothing was lost.
    pub fn all_good(&self) -> bool {
        self.bad.is_empty()
    }

    fn done(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY);
        table.set_header(["outcome", "runs", "share"]);
        let done = self.done();
        for (outcome, count) in Outcome::ALL.iter().zip(self.counts) {
            let share = 100.0 * f64::from(count) / f64::from(done.max(1));
            table.add_row([
                Cell::new(outcome.to_string()),
                Cell::new(count).set_alignment(CellAlignment::Right),
                Cell::new(format!("{share:.1} %")).set_alignment(CellAlignment::Right),
            ]);
        }
        let mut text = format!(
            "{table}\n{done} of {} runs, mode {}, {} voted calls without a fault, seed {}",
            self.args.runs, self.args.mode, self.calls, self.seed
        );
        if self.interrupted {
            text.push_str("\ninterrupted");
        }
        for bad in self.bad_in_order() {
            text.push_str(&format!(
                "\nrun {}: {} ({}): chameleon run --mode {} --timeout {}ms --inject {} -- {}",
                bad.number,
                bad.outcome,
                bad.status,
                self.args.mode,
                self.args.timeout.as_millis(),
                bad.fault,
                quoted(&self.program()),
            ));
        }
        text
    }

    /// For machines: one object.
    pub fn json(&self) -> Value {
        let counts: serde_json::Map<String, Value> = Outcome::ALL
            .iter()
            .zip(self.counts)
            .map(|(outcome, count)| (key(*outcome).to_string(), json!(count)))
            .collect();
        let bad: Vec<Value> = self
            .bad_in_order()
            .into_iter()
            .map(|bad| {
                json!({
                    "run": bad.number,
                    "outcome": key(bad.outcome),
                    "inject": bad.fault,
                    "end": bad.status,
                })
            })
            .collect();
        json!({
            "program": self.program(),
            "mode": self.args.mode.to_string(),
            "seed": self.seed,
            "runs": self.args.runs,
            "done": self.done(),
            "calls": self.calls,
            "interrupted": self.interrupted,
            "outcomes": counts,
            "bad": bad,
        })
    }

    /// By number; with several jobs they end in any order.
    fn bad_in_order(&self) -> Vec<&Bad> {
        let mut bad: Vec<&Bad> = self.bad.iter().collect();
        bad.sort_by_key(|bad| bad.number);
        bad
    }

    fn program(&self) -> Vec<String> {
        let words = self.args.command.iter();
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

/// Words as a shell takes them.
fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    };
    words.iter().map(quote).collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_the_same_words_again() {
        let words = ["sh", "-c", "echo 'a b' $x", ""].map(String::from);
        let line = quoted(&words);
        assert_eq!(line, r"sh -c 'echo '\''a b'\'' $x' ''");
    }
}
