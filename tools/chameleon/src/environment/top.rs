//! `chameleon top`: nodes, applications and the last events, drawn again and again.
//!
//! Invariant: only on a terminal; an FTM that is being replaced is waited for. Called by `main`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chameleon_proto::ask::Ask;

use super::asking::Environment;
use super::{apps, events, node, status};
use crate::cli::TopArgs;

/// Events that are shown.
const EVENTS: u32 = 10;
/// Clears the screen and goes to its first cell (console_codes(4)).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Draws until it is interrupted.
pub fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    if !stdout.is_terminal() {
        bail!(
            "top draws on a terminal, and stdout is none; for programs there are `chameleon status \
             --json`, `ps --json` and `events -f --json`"
        );
    }
    let mut environment = Environment::of(&args.place)?;
    loop {
        // Whole first, so that the screen is not empty meanwhile.
        let screen = screen(&mut environment)?;
        writeln!(stdout, "{CLEAR}{screen}").and_then(|()| stdout.flush()).context("cannot draw")?;
        std::thread::sleep(args.interval);
    }
}

fn screen(environment: &mut Environment) -> anyhow::Result<String> {
    let status = status::ask(environment)?;
    let nodes = node::ask(environment)?;
    let apps = apps::ask(environment, true)?;
    let ask = Ask::Events { after: 0, most: EVENTS, app: None, incident: None };
    let (events, _) = events::ask(environment, &ask)?;
    let events: Vec<String> = events.iter().map(events::line).collect();
    Ok(format!(
        "{}\n\n{}\n\n{}\n\n{}",
        status::summary(&status),
        node::text(&nodes),
        apps::text(&apps),
        events.join("\n")
    ))
}
