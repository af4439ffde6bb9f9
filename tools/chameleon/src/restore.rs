//! `chameleon restore`: says what stands in the way of starting an image, or becomes the outside of the
//! program that goes on from it.
//!
//! Invariant: returns only when the program was not started. Called by `main` alone.

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;

use chameleon_ckpt::preflight::{Finding, Severity};
use chameleon_supervisor::restore::{RestoreConfig, RestoreError, prepare};
use indicatif::ProgressBar;
use serde_json::json;

use crate::OWN_FAILURE;
use crate::cli::RestoreArgs;

/// Looks, tells, and starts the program unless something stands in the way.
pub fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let (as_json, dry_run) = (args.json, args.dry_run);
    let config = RestoreConfig {
        dir: args.dir,
        at: args.at,
        mode: args.mode,
        cadence: args.checkpoint,
        report: args.report,
        timeout: args.timeout,
        verbose: args.verbose,
        progress,
    };
    let prepared = prepare(config)?;
    let passes = prepared.passes();
    if as_json {
        say(&as_value(prepared.sequence(), passes, &prepared.findings).to_string());
    } else {
        for finding in &prepared.findings {
            say(&as_line(finding));
        }
    }
    if dry_run {
        let status = if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        return Ok(status);
    }
    let error = match prepared.start() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    finish();
    let status = match &error {
        RestoreError::Launch(error) => error.status(),
        _ => OWN_FAILURE,
    };
    Ok(crate::complain(&error.to_string(), status))
}

fn as_line(finding: &Finding) -> String {
    let Finding { severity, what, advice } = finding;
    match severity {
        Severity::Obstacle => format!("chameleon: in the way: {what}: {advice}"),
        Severity::Note => format!("chameleon: {what}: {advice}"),
    }
}

fn as_value(image: u64, passes: bool, findings: &[Finding]) -> serde_json::Value {
    let found: Vec<_> = findings
        .iter()
        .map(|one| {
            let stops = one.severity == Severity::Obstacle;
            json!({ "obstacle": stops, "what": one.what, "advice": one.advice })
        })
        .collect();
    json!({ "image": image, "startable": passes, "findings": found })
}

/// On stderr: stdout is the program's. One that is closed leaves nobody to tell.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

thread_local! {
    /// Drawn on a terminal's stderr only, without a thread of its own: this process is to fork.
    static BAR: RefCell<Option<ProgressBar>> = const { RefCell::new(None) };
}

fn progress(done: u64, total: u64) {
    BAR.with_borrow_mut(|bar| {
        let bar = bar.get_or_insert_with(|| crate::progress::bar(total));
        bar.set_length(total);
        bar.set_position(done);
        if done >= total {
            bar.finish_and_clear();
        }
    });
}

fn finish() {
    BAR.with_borrow_mut(|bar| {
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    });
}
