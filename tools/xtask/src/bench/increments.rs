//! Images of a run: what an increment of 1 GiB of which a hundredth changed takes beside the stop, what looking
//! for it takes within the stop, and what images cost a program that writes all of its memory.
//!
//! How long the disk takes is not counted: the writer waits for it in the background.

use std::ffi::{OsStr, OsString};
use std::fs;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::figure::Figures;
use super::launch::{Bench, wall};
use super::recovery::{numbers, read};

const PART: &str = "images";

/// Milliseconds of CPU time asked for.
const WORK_TARGET: f64 = 20.0;
/// At most this ratio is asked for.
const STOP_TARGET: f64 = 1.1;

/// Measures all.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: images of a run");
    let [mut work, mut look, mut full, mut stops] = [const { Vec::new() }; 4];
    for _ in 0..bench.rounds {
        // In pages: one of a hundred.
        let words = words(bench, "parts", ["1024", "100", "400"]);
        let plain = stop(bench, &words, false)?;
        let with = stop(bench, &words, true)?;
        stops.push(with / plain);
        let report = bench.path("report");
        let increment = |event: &Value| event["kind"] == "increment";
        let whole =
            |event: &Value| event["kind"] == "full" && event["changed"].as_u64() > Some(1 << 17);
        work.push(middle(read(&report, "image", "work_ms", increment)?)?);
        look.push(middle(read(&report, "image", "looked_ms", increment)?)?);
        full.push(middle(read(&report, "image", "work_ms", whole)?)?);
    }
    let what = "increment of 1 % of 1 GiB in a run, CPU time beside the stop";
    figures.add(PART, what, "ms", work, Some(WORK_TARGET));
    figures.add(PART, "looking for it, in the stop", "ms", look, None);
    figures.add(PART, "full image of 1 GiB in a run, zstd, CPU time", "ms", full, None);
    let what = "stop for a checkpoint of 1 GiB, with images / without";
    figures.add(PART, what, "x", stops, Some(STOP_TARGET));
    rewritten(bench, figures)
}

fn words(bench: &Bench, guest: &str, rest: [&str; 3]) -> Vec<OsString> {
    let rest = rest.iter().map(OsString::from);
    std::iter::once(bench.path(guest).into_os_string()).chain(rest).collect()
}

/// How long checkpoints of a program take, with images or without; the report stays.
fn stop(bench: &Bench, words: &[OsString], images: bool) -> anyhow::Result<f64> {
    let (report, home) = (bench.path("report"), bench.path("ckpt"));
    let mut options =
        vec![OsStr::new("--checkpoint=1s"), OsStr::new("--report"), report.as_os_str()];
    if images {
        options.extend([OsStr::new("--checkpoint-dir"), home.as_os_str()]);
    }
    wall(vec![(bench.voted("simplex", &options, words), &bench.path("out"))])?;
    if images {
        fs::remove_dir_all(&home).context("cannot remove the images")?;
    }
    // The first ones are of little memory.
    let late = |event: &Value| event["why"] == "time" && event["seq"].as_u64() > Some(20);
    middle(read(&report, "checkpoint", "ms", late)?)
}

fn middle(mut values: Vec<f64>) -> anyhow::Result<f64> {
    values.sort_by(f64::total_cmp);
    super::median(&values).context("nothing was measured")
}

/// A program that computes and keeps writing its 200 MB: with images, and with checkpoints alone.
fn rewritten(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    let words: [OsString; 3] = [bench.path("sweeps").into(), "200".into(), "80".into()];
    let (report, home) = (bench.path("report"), bench.path("ckpt"));
    let (with_out, without_out) = (bench.path("out-with"), bench.path("out-without"));
    let (mut walls, mut spent) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let mut options =
            vec![OsStr::new("--checkpoint=1.5s"), OsStr::new("--report"), report.as_os_str()];
        let without = wall(vec![(bench.voted("simplex", &options, &words), &without_out)])?;
        let cpu_without: f64 = numbers(&report, "exit", "cpu_ms")?.iter().sum();
        options.extend([OsStr::new("--checkpoint-dir"), home.as_os_str()]);
        let with = wall(vec![(bench.voted("simplex", &options, &words), &with_out)])?;
        let cpu_with: f64 = numbers(&report, "exit", "cpu_ms")?.iter().sum();
        fs::remove_dir_all(&home).context("cannot remove the images")?;
        ensure!(fs::read(&with_out)? == fs::read(&without_out)?, "wrong output");
        walls.push(with.as_secs_f64() / without.as_secs_f64());
        spent.push(cpu_with / cpu_without);
    }
    let what = "200 MB written over and over, images each 1.5 s / checkpoints alone";
    figures.add(PART, what, "x", walls, None);
    figures.add(PART, format!("{what}, the program's CPU time"), "x", spent, None);
    Ok(())
}
