//! What was measured, with its target, as a table and as JSON.
//!
//! Invariant: a figure keeps every round's value, so that its spread can be seen.

use std::fmt;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

/// All figures, in the order they were measured.
#[derive(Default)]
pub struct Figures(Vec<Figure>, Vec<String>);

struct Figure {
    part: &'static str,
    what: String,
    unit: &'static str,
    /// One a round, sorted.
    values: Vec<f64>,
    asked: Option<Asked>,
    /// What the paper of 1999 has.
    paper: Option<f64>,
}

/// What is asked for of a median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    /// This, or less.
    AtMost(f64),
    /// This, or more.
    AtLeast(f64),
}

impl Figures {
    /// Adds a figure; a round that gave nothing is not in `values`.
    pub fn add(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
        target: Option<f64>,
    ) {
        self.beside(part, what, unit, values, target.map(Asked::AtMost), None);
    }

    /// The same, with another kind of target and with the paper's figure.
    pub fn beside(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        mut values: Vec<f64>,
        asked: Option<Asked>,
        paper: Option<f64>,
    ) {
        values.sort_by(f64::total_cmp);
        self.0.push(Figure { part, what: what.into(), unit, values, asked, paper });
    }

    /// Adds a line for people.
    pub fn note(&mut self, line: String) {
        self.1.push(line);
    }

    /// The lines for people.
    pub fn notes(&self) -> &[String] {
        &self.1
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY);
        // The paper has something beside a few of them only.
        let paper = self.0.iter().any(|figure| figure.paper.is_some());
        let head = ["", "what", "median", "least", "most", "unit", "asked for", ""];
        table.set_header(head.into_iter().chain(paper.then_some("paper")));
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for figure in &self.0 {
            let row = [
                Cell::new(figure.part),
                Cell::new(&figure.what),
                right(number(figure.median())),
                right(number(figure.values.first().copied())),
                right(number(figure.values.last().copied())),
                Cell::new(figure.unit),
                right(figure.asked.map_or(String::new(), |asked| asked.to_string())),
                Cell::new(match figure.met() {
                    Some(true) => "met",
                    Some(false) => "NOT MET",
                    None => "",
                }),
            ];
            let old = || right(figure.paper.map_or(String::new(), |paper| number(Some(paper))));
            table.add_row(row.into_iter().chain(paper.then(old)));
        }
        table.to_string()
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let list: Vec<Value> = self
            .0
            .iter()
            .map(|figure| {
                json!({
                    "part": figure.part,
                    "what": figure.what,
                    "unit": figure.unit,
                    "median": figure.median(),
                    "values": figure.values,
                    "target": figure.asked.map(Asked::number),
                    "at_least": matches!(figure.asked, Some(Asked::AtLeast(_))),
                    "paper": figure.paper,
                    "met": figure.met(),
                })
            })
            .collect();
        json!({ "figures": list, "notes": self.1 })
    }
}

impl Figure {
    fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    /// `None` without a target; a figure without a value has not met its own.
    fn met(&self) -> Option<bool> {
        let asked = self.asked?;
        Some(self.median().is_some_and(|median| match asked {
            Asked::AtMost(most) => median <= most,
            Asked::AtLeast(least) => median >= least,
        }))
    }
}

impl Asked {
    const fn number(self) -> f64 {
        match self {
            Self::AtMost(number) | Self::AtLeast(number) => number,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if matches!(self, Self::AtMost(_)) { "<=" } else { ">=" };
        write!(f, "{sign} {}", self.number())
    }
}

/// The median of numbers in ascending order.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// Three significant digits, or a dash.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Figures};

    #[test]
    fn medians_and_targets() {
        let mut figures = Figures::default();
        figures.add("a", "odd", "x", vec![3.0, 1.0, 2.0], Some(2.0));
        figures.add("a", "even", "x", vec![1.0, 2.0], Some(1.0));
        figures.add("a", "nothing", "x", vec![], Some(1.0));
        figures.add("a", "no target", "x", vec![5.0], None);
        assert!(!figures.table().contains("paper"));
        figures.beside("a", "most", "1/s", vec![2.0], Some(Asked::AtLeast(3.0)), Some(71.0));
        figures.beside("a", "more", "1/s", vec![3.0], Some(Asked::AtLeast(3.0)), None);
        let list = figures.json()["figures"].clone();
        assert_eq!(list[0]["median"], 2.0);
        assert_eq!(list[0]["met"], true);
        assert_eq!(list[1]["median"], 1.5);
        assert_eq!(list[1]["met"], false);
        assert_eq!(list[2]["met"], false);
        assert!(list[3]["met"].is_null());
        assert_eq!(list[4]["met"], false);
        assert_eq!(list[4]["paper"], 71.0);
        assert_eq!(list[5]["met"], true);
        let table = figures.table();
        assert!(
            table.contains("paper") && table.contains("71.0") && table.contains(">= 3"),
            "{table}"
        );
    }
}
