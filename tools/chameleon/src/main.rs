//! The `chameleon` command: reads its arguments and does what they say.
//!
//! Invariant: up to [`chameleon_supervisor::run`] this process is single-threaded, opens nothing and
//! starts nothing, because under `run` it goes on to be the outside of the program.

mod campaign;
mod cli;
mod doctor;
mod environment;
mod images;
mod progress;
mod restore;
mod run;
mod runs;
mod written;

use std::process::ExitCode;

use cli::Command;

/// The status of a failure that is Chameleon's own, not the program's.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(end) => return end,
    };
    let outcome = match cli.command {
        Command::Run(args) => return fail(run::run(*args)),
        Command::Restore(args) => restore::run(args),
        Command::Campaign(args) => campaign::run(&args),
        Command::Ps(args) => runs::ps(&args),
        Command::Checkpoint(args) => runs::checkpoint(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Images(args) => images::run(&args),
        Command::Init(args) => environment::init(&args),
        Command::Daemon(args) => environment::daemon(&args),
        Command::Ftm(args) => environment::ftm(&args),
        Command::Submit(args) => environment::submit(&args),
        Command::Plan(args) => environment::plan(&args),
        Command::Set(args) => environment::set(&args),
        Command::Status(args) => environment::status(&args),
        Command::Top(args) => environment::top(&args),
        Command::Logs(args) => environment::logs(&args),
        Command::Events(args) => environment::events(&args),
        Command::Explain(args) => environment::explain(&args),
        Command::Stop(args) => environment::stop(&args),
        Command::Shutdown(args) => environment::shutdown(&args),
        Command::Node(args) => environment::node(&args),
        Command::Completions { shell } => written::completions(shell),
        Command::Man { directory } => written::man(&directory),
        Command::Armor { kind } => {
            chameleon_armors::run(&kind).map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from)
        }
    };
    outcome.unwrap_or_else(|error| complain(&format!("{error:#}"), OWN_FAILURE))
}

/// Says why `run` did not start the program.
fn fail(failure: run::Failure) -> ExitCode {
    complain(&failure.message, failure.status)
}

/// Prints a result; a closed or full stdout is an error, not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}

/// One line on stderr and the status that goes with it.
fn complain(message: &str, status: u8) -> ExitCode {
    use std::io::Write;
    // A closed stderr leaves nobody to tell; the status still says it.
    let _ = writeln!(std::io::stderr(), "chameleon: {message}");
    ExitCode::from(status)
}
