//! `chameleon events`: what happened, and what happens.
//!
//! Invariant: each event once, in the order of their numbers; whoever follows asks again for what is
//! behind the last. Called by `main`, used by `explain` and `top`.

use std::process::ExitCode;
use std::time::Duration;

use chameleon_proto::ask::{Ask, Numbered, Told};
use chameleon_proto::message::env::Step;

use super::asking::Environment;
use super::table::plain;
use super::when::stamp;
use crate::cli::EventsArgs;

/// Between two questions of one who follows.
const LOOK: Duration = Duration::from_millis(100);

/// Prints them.
pub fn run(args: &EventsArgs) -> anyhow::Result<ExitCode> {
    let mut environment = Environment::of(&args.place)?;
    let mut after = args.after;
    let mut most = args.most;
    loop {
        let ask = Ask::Events { after, most, app: args.app.clone(), incident: None };
        let (events, newest) = self::ask(&mut environment, &ask)?;
        for event in &events {
            crate::print(&if args.json { serde_json::to_string(event)? } else { line(event) })?;
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        after = newest.max(after);
        // What comes from here on is wanted whole.
        most = u32::MAX;
        std::thread::sleep(LOOK);
    }
}

/// Asks for events; they and the newest number there is.
pub fn ask(environment: &mut Environment, ask: &Ask) -> anyhow::Result<(Vec<Numbered>, u64)> {
    match environment.ask(ask)? {
        Told::Events { events, newest } => Ok((events, newest)),
        _ => anyhow::bail!(super::NOT_UNDERSTOOD),
    }
}

/// One, for people.
pub fn line(event: &Numbered) -> String {
    let note = &event.note;
    let incident = match note.incident {
        0 => "-".to_owned(),
        number => format!("#{number}"),
    };
    let app = note.app.map_or_else(|| "-".to_owned(), |app| format!("app {}", app.0));
    format!(
        "{:>5}  {}  {incident:>5}  node {}  {app:<7}  {:<9}  {}",
        event.number,
        stamp(note.at_ns),
        note.node.0,
        step(note.step),
        plain(&note.text)
    )
}

/// A step in one word.
pub const fn step(step: Step) -> &'static str {
    match step {
        Step::Detected => "detected",
        Step::Decided => "decided",
        Step::Recovered => "recovered",
        Step::GivenUp => "given up",
        Step::Info => "info",
    }
}
