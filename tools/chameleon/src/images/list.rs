//! `chameleon images list`: one line for each image.
//!
//! Invariant: reads descriptions only; what is wrong with one stands in its line. Called by `images`.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chameleon_ckpt::dir::{Dir, INDEX, MANIFEST, PAGES_BIN};
use chameleon_ckpt::read::Chain;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::json;

struct Line {
    sequence: u64,
    bytes: u64,
    /// When it was taken, in nanoseconds since the epoch.
    created_ns: u64,
    kind: &'static str,
    parent: Option<u64>,
    processes: usize,
    command: String,
    /// Whether files can be rolled back to it.
    undo: bool,
    wrong: Option<String>,
}

/// The list, and exit status 0.
pub fn run(dir: &Dir, as_json: bool) -> anyhow::Result<(String, ExitCode)> {
    let logs = dir.logs()?;
    let lines = dir.sequences()?.into_iter().map(|sequence| line(dir, sequence, &logs));
    let lines: Vec<Line> = lines.collect();
    let text = if as_json { value(&lines).to_string() } else { table(&lines) };
    Ok((text, ExitCode::SUCCESS))
}

fn line(dir: &Dir, sequence: u64, logs: &[u64]) -> Line {
    let home = dir.image(sequence);
    let files = [MANIFEST, INDEX, PAGES_BIN].map(|name| fs::metadata(home.join(name)));
    let bytes = files.into_iter().flatten().map(|facts| facts.len()).sum();
    let undo = logs.contains(&sequence);
    match Chain::open(dir, sequence) {
        Ok(chain) => {
            let image = chain.image();
            Line {
                sequence,
                bytes,
                created_ns: image.created_ns,
                kind: super::inspect::kind_of(image),
                parent: image.parent,
                processes: image.processes.len(),
                command: words(&image.command),
                undo,
                wrong: None,
            }
        }
        Err(error) => Line {
            sequence,
            bytes,
            created_ns: 0,
            kind: "",
            parent: None,
            processes: 0,
            command: String::new(),
            undo,
            wrong: Some(error.to_string()),
        },
    }
}

/// A command in one line, for people; control characters would reach the terminal.
pub fn words(command: &[Vec<u8>]) -> String {
    let words: Vec<String> =
        command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    words.join(" ").escape_debug().collect()
}

fn value(lines: &[Line]) -> serde_json::Value {
    let images: Vec<_> = lines
        .iter()
        .map(|one| {
            json!({
                "image": one.sequence, "bytes": one.bytes, "created_ns": one.created_ns,
                "kind": one.wrong.is_none().then_some(one.kind), "parent": one.parent, "processes": one.processes, "command": one.command,
                "files_can_be_rolled_back": one.undo, "wrong": one.wrong,
            })
        })
        .collect();
    json!({ "images": images })
}

fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["image", "age", "size", "kind", "builds on", "processes", "undo", "command"]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for one in lines {
        let (age, builds, processes) = match one.wrong {
            Some(_) => ("?".into(), "?".into(), "?".into()),
            None => (
                age(one.created_ns),
                one.parent.map_or("-".to_string(), |parent| parent.to_string()),
                one.processes.to_string(),
            ),
        };
        let undo = if one.undo { "yes" } else { "no" };
        let command = if one.wrong.is_some() { "NOT RESTORABLE" } else { &one.command };
        table.add_row([
            right(one.sequence.to_string()),
            right(age),
            right(size(one.bytes)),
            Cell::new(if one.wrong.is_some() { "?" } else { one.kind }),
            right(builds),
            right(processes),
            Cell::new(undo),
            Cell::new(command),
        ]);
    }
    let wrong = lines.iter().filter_map(|one| Some((one.sequence, one.wrong.as_ref()?)));
    let wrong: String =
        wrong.map(|(sequence, what)| format!("\nimage {sequence}: {what}")).collect();
    format!("{table}{wrong}")
}

fn age(created_ns: u64) -> String {
    let created = UNIX_EPOCH + Duration::from_nanos(created_ns);
    let passed = SystemTime::now().duration_since(created).unwrap_or_default();
    let text = indicatif::HumanDuration(Duration::from_secs(passed.as_secs()));
    format!("{text:#}")
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
