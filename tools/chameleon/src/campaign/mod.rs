//! `chameleon campaign`: many runs of one program, each with one random fault, and what they did.
//!
//! The order: a native run gives the output to compare with; a run without a fault gives the
//! number of calls; then the faults, each drawn from the seed and the number of its run, so that a
//! seed means the same faults whatever the number of jobs.
//!
//! Invariant: whatever way a campaign ends, the processes it started have ended and its temporary
//! directory is gone. Called by `main`.

mod events;
mod golden;
mod outcome;
mod slots;
mod table;
mod trial;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chameleon_policy::campaign::{Campaign, Weights};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::CampaignArgs;
use events::Events;
use golden::Golden;
use slots::Slots;
use table::Summary;
use trial::{Finished, Scratch};

/// The status after ^C or SIGTERM, as shells give it for SIGINT.
const INTERRUPTED: u8 = 130;

/// How long a run may take at least before it is given up.
const SHORTEST_LIMIT: Duration = Duration::from_secs(60);

/// Runs a campaign and prints its outcome.
pub fn run(args: &CampaignArgs) -> anyhow::Result<ExitCode> {
    if args.jobs > 1 && !args.compare.is_empty() {
        bail!("--compare needs --jobs 1: runs at once would write the same file");
    }
    let events = Events::listen().context("cannot listen for signals")?;
    let scratch = Scratch::create(args)?;

    let Some((golden, rehearsal)) = prepare(args, &scratch, &events)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let mut summary = Summary::new(args, seed, rehearsal.calls);
    let campaign =
        Campaign { seed, calls: rehearsal.calls, n: args.mode.n, weights: Weights::default() };
    let trials = Trials { args, scratch: &scratch, events: &events, golden: &golden };
    let injected = trials.inject(&campaign, rehearsal.wall, &mut summary);
    golden.restore()?;
    injected?;

    crate::print(&if args.json { summary.json().to_string() } else { summary.text() })?;
    Ok(if summary.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if summary.all_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the run without a fault told.
struct Rehearsal {
    /// Calls voted.
    calls: u64,
    /// How long it took.
    wall: Duration,
}

/// The native run and the run without a fault; `None` when interrupted.
fn prepare(
    args: &CampaignArgs,
    scratch: &Scratch,
    events: &Events,
) -> anyhow::Result<Option<(Golden, Rehearsal)>> {
    let limit = args.limit.unwrap_or(Duration::MAX);
    let Some(native) = alone(trial::native(args, scratch)?, limit, events)? else {
        return Ok(None);
    };
    if native.gave_up {
        bail!("the native run took longer than --limit");
    }
    let golden = Golden::keep(&native, &args.compare, scratch)?;

    let begin = Instant::now();
    let Some(clean) = alone(trial::voted(args, scratch, 0, None)?, limit, events)? else {
        return Ok(None);
    };
    let wall = begin.elapsed();
    if clean.gave_up {
        bail!("the run without a fault took longer than --limit");
    }
    let difference = golden.compare(&clean)?;
    if let Some(what) = difference.first() {
        let said = clean.last_words();
        bail!(
            "{what} differs from the native run's without any fault, so faults cannot be told{said}"
        );
    }
    let calls = outcome::calls(&clean.report)?;
    if calls == 0 {
        bail!("the program makes no call that is voted, so there is no point to inject at");
    }
    clean.discard();
    Ok(Some((golden, Rehearsal { calls, wall })))
}

/// Waits for the only run there is; `None` when interrupted.
fn alone(
    trial: trial::Trial,
    limit: Duration,
    events: &Events,
) -> anyhow::Result<Option<Finished>> {
    let mut slots = Slots::new(1);
    slots.add(trial, limit);
    slots.next(events)
}

/// What all runs with a fault have in common.
struct Trials<'a> {
    args: &'a CampaignArgs,
    scratch: &'a Scratch,
    events: &'a Events,
    golden: &'a Golden,
}

impl Trials<'_> {
    /// Runs with one fault each, until all are done or someone interrupts.
    fn inject(
        &self,
        campaign: &Campaign,
        clean: Duration,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let default_limit = SHORTEST_LIMIT + clean.saturating_mul(10);
        let limit = self.args.limit.unwrap_or(default_limit);
        let bar = progress(self.args.runs);
        let mut slots = Slots::new(usize::from(self.args.jobs));
        let mut waiting = 1..=self.args.runs;
        loop {
            while slots.has_room() {
                let Some(number) = waiting.next() else {
                    break;
                };
                let fault = campaign.fault(u64::from(number));
                self.golden.clear()?;
                let trial = trial::voted(self.args, self.scratch, number, Some(fault))?;
                slots.add(trial, limit);
            }
            if slots.is_empty() {
                break;
            }
            let Some(finished) = slots.next(self.events)? else {
                summary.interrupted = true;
                break;
            };
            let outcome = outcome::judge(&finished.report, &self.golden.compare(&finished)?);
            summary.add(&finished, outcome);
            finished.discard();
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// A bar on stderr; indicatif hides it where stderr is no terminal.
fn progress(runs: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(runs));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A seed for who does not care which.
fn seed_of_the_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // 32 bits are easier to type again, and enough.
    now.map_or(1, |since| (since.as_nanos() >> 8) as u64 & 0xffff_ffff)
}
