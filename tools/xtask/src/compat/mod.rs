//! `cargo xtask compat`: real programs as they are and in each mode, and the page
//! docs/compatibility.md that says what came of it.
//!
//! A row of `rows` is a program and what it is asked to do. Each is run in rounds, natively and in
//! every mode once a round, always from the same files at the same path.
//!
//! Invariant: works in a temporary directory that is removed; what it starts has ended when it ends;
//! the page is written only by a run of all rows.

pub mod judge;
mod machine;
mod page;
pub mod row;
pub mod rows;
pub mod run;
mod server;

use std::fs;

use anyhow::{Context, bail, ensure};
use clap::Args;

use judge::Verdict;
use page::{Cell, Line, Page};
use row::Row;
use run::{Desk, Seen};

use crate::report::Refusal;

/// The modes, in the order of the page's columns.
const MODES: [&str; 3] = ["simplex", "dual", "tmr"];

/// Options of `cargo xtask compat`.
#[derive(Debug, Args)]
pub struct CompatArgs {
    /// Only rows of this name, or whose first word it is (may be repeated); no page is written
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// How many rounds; each ratio is a median over them
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Print the results as one JSON object on stdout; no page is written
    #[arg(long)]
    json: bool,
}

/// Runs the rows; writes the page, or prints it.
pub fn run(args: &CompatArgs) -> anyhow::Result<()> {
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| wanted(row, &args.only)).collect();
    ensure!(!rows.is_empty(), "no row has this name");
    let desk = Desk::prepare()?;
    let mut page = Page::new(args.rounds);
    let mut failed = 0;
    for row in &rows {
        if let Some(missing) = row.missing() {
            eprintln!("compat: {}: {missing} is not installed", row.name);
            page.missing.push(row.name.to_string());
            continue;
        }
        // What came of the other rows is worth having all the same.
        match measure(&desk, row, args.rounds) {
            Ok(line) => {
                eprintln!("compat: {}", line.brief());
                page.lines.push(line);
            }
            Err(error) => {
                eprintln!("compat: {} failed: {error:#}", row.name);
                failed += 1;
            }
        }
    }
    if args.json {
        println!("{}", page.json());
    } else if args.only.is_empty() {
        let path = crate::root().join("docs/compatibility.md");
        fs::write(&path, page.markdown())
            .with_context(|| format!("cannot write {}", path.display()))?;
    } else {
        println!("{}", page.markdown());
    }
    ensure!(failed == 0, "{failed} rows are no test: they fail or differ without Chameleon");
    Ok(())
}

fn wanted(row: &Row, only: &[String]) -> bool {
    let first = row.name.split(' ').next();
    only.is_empty() || only.iter().any(|name| row.name == name || first == Some(name))
}

/// All rounds of one row.
fn measure(desk: &Desk, row: &Row, rounds: u32) -> anyhow::Result<Line> {
    let ready = desk.set_up(row)?;
    let native = ready.run(None, &[])?;
    ensure!(native.ended_well(), "its native run: {}", native.complaint());
    let again = ready.run(None, &[])?;
    if let Some(difference) = judge::difference(&native, &again) {
        bail!("two native runs differ: {difference}");
    }
    let mut cells = MODES.map(|mode| Cell { mode, verdict: Verdict::Same, ratios: Vec::new() });
    let mut refusals: Vec<Refusal> = Vec::new();
    for _ in 0..rounds {
        let plain = ready.run(None, &[])?;
        // What did not go well once is not tried again.
        for cell in cells.iter_mut().filter(|cell| cell.verdict.is_well()) {
            let under = ready.run(Some(cell.mode), &[])?;
            cell.verdict = judge::verdict(&native, &under);
            cell.ratios.push(ratio(&under, &plain));
            for refusal in under.refusals {
                if !refusals.contains(&refusal) {
                    refusals.push(refusal);
                }
            }
        }
    }
    let version = desk.version(row);
    Ok(Line::new(row, version, cells, refusals))
}

fn ratio(under: &Seen, plain: &Seen) -> f64 {
    under.wall.as_secs_f64() / plain.wall.as_secs_f64()
}
