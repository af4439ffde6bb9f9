//! `chameleon images`: the checkpoint images of a directory: list, inspect, verify, prune.
//!
//! Invariant: only `prune` changes anything; one image that cannot be read hides no other. Called by
//! `main`.

mod inspect;
mod list;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chameleon_ckpt::Error;
use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::write::Writer;
use chameleon_ckpt::{retain, undo, verify};
use clap::{Args, Subcommand};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  chameleon images list ckpt
  chameleon images inspect ckpt --at 7
        what image 7 says of the program, and what stands in the way of starting it here
  chameleon images verify ckpt
        reads every byte of every image
  chameleon images prune ckpt --keep 2

Exit status: 0; 1 when verify found an image damaged, or inspect an obstacle; 125 when nothing
could be looked at.";

/// Options of `chameleon images`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(arg_required_else_help = false, disable_help_subcommand = true)]
pub struct ImagesArgs {
    #[command(subcommand)]
    action: Action,
}

/// What to do with the images.
#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each image
    List {
        #[command(flatten)]
        place: Place,
    },
    /// What an image says, and whether it could be started here
    Inspect {
        #[command(flatten)]
        place: Place,
        /// The number of the image (default: the newest that can be read)
        #[arg(long, value_name = "N")]
        at: Option<u64>,
    },
    /// Read every byte and compare checksums
    Verify {
        #[command(flatten)]
        place: Place,
        /// Only this image and those it builds on (default: all)
        #[arg(long, value_name = "N")]
        at: Option<u64>,
    },
    /// Remove old images that none of the kept ones needs
    Prune {
        #[command(flatten)]
        place: Place,
        /// How many images must stay restorable
        #[arg(long, value_name = "K", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// Where the images are, and how to print.
#[derive(Debug, Args)]
struct Place {
    /// The directory given to --checkpoint-dir
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Place {
    fn dir(&self) -> Dir {
        Dir::new(&self.dir)
    }
}

/// Does it and prints.
pub fn run(args: &ImagesArgs) -> anyhow::Result<ExitCode> {
    let (text, status) = act(&args.action)?;
    crate::print(&text)?;
    Ok(status)
}

fn act(action: &Action) -> anyhow::Result<(String, ExitCode)> {
    match action {
        Action::List { place } => list::run(&place.dir(), place.json),
        Action::Inspect { place, at } => inspect::run(&place.dir(), *at, place.json),
        Action::Verify { place, at } => verify(&place.dir(), *at, place.json),
        Action::Prune { place, keep, dry_run } => prune(place, usize::from(*keep), *dry_run),
    }
}

fn verify(dir: &Dir, at: Option<u64>, as_json: bool) -> anyhow::Result<(String, ExitCode)> {
    let all = match at {
        None => dir.sequences()?,
        Some(sequence) => {
            let chain = chameleon_ckpt::read::Chain::open(dir, sequence)?;
            chain.images().iter().rev().map(|one| one.image().sequence).collect()
        }
    };
    let bytes = all.iter().filter_map(|sequence| verify::bytes(dir, *sequence).ok()).sum();
    let bar = crate::progress::bar(bytes);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut checked = Vec::new();
    for sequence in all {
        bar.set_message(format!("image {sequence}"));
        let mut wrong = verify::image(dir, sequence, &mut |bytes| bar.inc(bytes));
        if wrong.is_empty() {
            wrong.extend(verify::chain(dir, sequence).err());
        }
        checked.push((sequence, wrong));
    }
    bar.finish_and_clear();
    let logs = dir.logs()?.into_iter().filter(|log| at.is_none_or(|at| *log >= at));
    let logs: Vec<String> = logs
        .filter_map(|log| undo::verify(dir, log).err())
        .map(|error| error.to_string())
        .collect();
    let good = logs.is_empty() && checked.iter().all(|(_, wrong)| wrong.is_empty());
    let text = if as_json {
        let images: Vec<_> = checked.iter().map(as_value).collect();
        json!({ "good": good, "images": images, "wrong_logs": logs }).to_string()
    } else {
        checked.iter().map(as_line).chain(logs).collect::<Vec<_>>().join("\n")
    };
    Ok((text, if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

fn as_value((sequence, wrong): &(u64, Vec<Error>)) -> serde_json::Value {
    let wrong: Vec<String> = wrong.iter().map(Error::to_string).collect();
    json!({ "image": sequence, "good": wrong.is_empty(), "wrong": wrong })
}

fn as_line((sequence, wrong): &(u64, Vec<Error>)) -> String {
    if wrong.is_empty() {
        return format!("image {sequence}: good");
    }
    let lines: Vec<String> = wrong.iter().map(|one| format!("image {sequence}: {one}")).collect();
    lines.join("\n")
}

fn prune(place: &Place, keep: usize, dry_run: bool) -> anyhow::Result<(String, ExitCode)> {
    let dir = place.dir();
    // Before a writer is made, which would make the directory.
    let plan = retain::plan_of(&dir, keep)?;
    let plan = if dry_run { plan } else { Writer::open(&place.dir)?.retain(keep)? };
    let text = if place.json {
        json!({ "removed": !dry_run, "images": plan.images, "logs": plan.logs }).to_string()
    } else {
        let verb = if dry_run { "would remove" } else { "removed" };
        let images: Vec<String> = plan.images.iter().rev().map(u64::to_string).collect();
        match images.is_empty() {
            true => format!("{verb} no image"),
            false => format!("{verb} images {}", images.join(", ")),
        }
    };
    Ok((text, ExitCode::SUCCESS))
}

#[cfg(test)]
mod tests;
