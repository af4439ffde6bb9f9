//! The page docs/compatibility.md, and the same as JSON.
//!
//! Invariant: a function of what was measured, but for its head, which names day and machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::MODES;
use super::judge::Verdict;
use super::machine;
use super::row::Row;
use crate::bench::median;
use crate::report::Refusal;

/// What a mode came to.
pub struct Cell {
    pub mode: &'static str,
    pub verdict: Verdict,
    /// Wall time over that of the native run of the same round.
    pub ratios: Vec<f64>,
}

/// A row of the table.
pub struct Line {
    name: &'static str,
    package: &'static str,
    version: String,
    does: &'static str,
    cells: [Cell; MODES.len()],
    refusals: Vec<Refusal>,
}

/// All of it.
pub struct Page {
    rounds: u32,
    pub lines: Vec<Line>,
    /// Names of rows whose programs are not installed.
    pub missing: Vec<String>,
}

impl Cell {
    /// The median of the ratios, where the result was the native one.
    fn overhead(&self) -> Option<f64> {
        if !self.verdict.is_well() {
            return None;
        }
        let mut sorted = self.ratios.clone();
        sorted.sort_by(f64::total_cmp);
        median(&sorted)
    }

    fn ratio(&self) -> String {
        self.overhead().map_or("-".to_string(), |ratio| format!("{ratio:.2}"))
    }
}

impl Line {
    /// Of a row.
    pub fn new(
        row: &Row,
        version: String,
        cells: [Cell; MODES.len()],
        refusals: Vec<Refusal>,
    ) -> Self {
        Self { name: row.name, package: row.package, version, does: row.does, cells, refusals }
    }

    /// One line for a terminal.
    pub fn brief(&self) -> String {
        let cells = self.cells.iter().map(|cell| match cell.verdict {
            Verdict::Same => format!("{} {}", cell.mode, cell.ratio()),
            _ => format!("{} {}", cell.mode, cell.verdict.text()),
        });
        format!("{}: {}", self.name, cells.collect::<Vec<_>>().join(", "))
    }
}

impl Page {
    /// An empty one.
    pub fn new(rounds: u32) -> Self {
        Self { rounds, lines: Vec::new(), missing: Vec::new() }
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Compatibility\n\n\
             Written by `cargo xtask compat`. Real programs from Debian, run natively and in three \
             modes, and\nwhat they wrote compared. The numbers are the wall time over that of the \
             native run of the same round\n(median of {}): a program that computes takes about as \
             long as so many copies of it would take on this\nmachine, a short one shows what \
             starting costs.\nOther work on the machine blurs them.\n\n{}\n\n",
            self.rounds,
            machine::describe()
        );
        text += "| program | version | what it does | simplex | | dual | | tmr | |\n";
        text += "|---|---|---|---|--:|---|--:|---|--:|\n";
        for line in &self.lines {
            let _ = write!(text, "| {} | {} | {} |", line.name, line.version, line.does);
            for cell in &line.cells {
                let verdict = cell.verdict.text().replace('|', "\\|");
                let _ = write!(text, " {verdict} | {} |", cell.ratio());
            }
            text.push('\n');
        }
        for cell in [0, 1, 2] {
            let well = self.lines.iter().filter(|line| line.cells[cell].verdict.is_well()).count();
            let start = if cell == 0 { "\nThe native result: " } else { ", " };
            let _ = write!(text, "{start}{well} of {} in {}", self.lines.len(), MODES[cell]);
        }
        text += ".\n\n## Refusals\n\n";
        text += &self.refusals();
        if !self.missing.is_empty() {
            let _ = write!(text, "\n## Not installed\n\n{}\n", self.missing.join(", "));
        }
        text
    }

    /// Each refusal with the programs that met it.
    fn refusals(&self) -> String {
        let mut met: BTreeMap<[&str; 3], Vec<String>> = BTreeMap::new();
        for line in &self.lines {
            for refusal in &line.refusals {
                let names =
                    met.entry([&refusal.call, &refusal.answer, &refusal.reason]).or_default();
                let within = line.name.starts_with(&*refusal.program);
                let name = if within {
                    line.name.to_string()
                } else {
                    format!("{} ({})", line.name, refusal.program)
                };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if met.is_empty() {
            return "None.\n".to_string();
        }
        let mut text =
            "A program that gives the native result all the same does without the call.\n\n\
             | call | answered | why | met by |\n|---|---|---|---|\n"
                .to_string();
        for ([call, answer, reason], names) in met {
            let _ = writeln!(text, "| {call} | {answer} | {reason} | {} |", names.join(", "));
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({
            "machine": machine::describe(),
            "rounds": self.rounds,
            "rows": lines,
            "missing": self.missing,
        })
    }
}

impl Line {
    fn json(&self) -> Value {
        let modes: serde_json::Map<String, Value> = self
            .cells
            .iter()
            .map(|cell| {
                let value = json!({
                    "result": cell.verdict.text(),
                    "well": cell.verdict.is_well(),
                    "overhead": cell.overhead(),
                    "ratios": cell.ratios,
                });
                (cell.mode.to_string(), value)
            })
            .collect();
        let refusals: Vec<Value> = self
            .refusals
            .iter()
            .map(|refusal| {
                json!({
                    "program": refusal.program,
                    "call": refusal.call,
                    "answer": refusal.answer,
                    "reason": refusal.reason,
                })
            })
            .collect();
        json!({
            "name": self.name,
            "package": self.package,
            "version": self.version,
            "does": self.does,
            "modes": modes,
            "refusals": refusals,
        })
    }
}
