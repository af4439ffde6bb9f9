//! `chameleon run`: turns arguments into a [`RunConfig`] and becomes the program's outside.
//!
//! Invariant: returns only when the program could not be started. Called by `main` alone.

use chameleon_policy::mode::Mode;
use chameleon_proto::inject::Injection;
use chameleon_supervisor::RunConfig;

use crate::OWN_FAILURE;
use crate::cli::RunArgs;

/// Why the program did not start.
pub struct Failure {
    /// One line, without the leading `chameleon: `.
    pub message: String,
    /// 125 for Chameleon's own failure, 126 for a program that cannot be executed, 127 for one
    /// that is not there.
    pub status: u8,
}

/// Runs the program; whatever it does afterwards, this process ends as the program ends.
pub fn run(args: RunArgs) -> Failure {
    // Of one whose mode is changed there may be more later.
    let stray = stray_injection(args.mode, &args.inject).filter(|_| !args.changeable);
    if let Some(message) = stray {
        return Failure { message, status: OWN_FAILURE };
    }
    let checkpoints = match args.recovery.checkpoints() {
        Ok(checkpoints) => checkpoints,
        Err(message) => return Failure { message, status: OWN_FAILURE },
    };
    let mut command = args.command.into_iter();
    // The command line requires at least one word.
    let program = command.next().unwrap_or_default();
    let config = RunConfig {
        mode: args.mode,
        report: args.report,
        injections: args.inject,
        timeout: args.timeout,
        placement: args.placement,
        verify_donor: args.verify_donor,
        threads: args.threads,
        changeable: args.changeable,
        checkpoints,
        images: args.recovery.checkpoint_dir,
        restarts: args.recovery.restart.unwrap_or(0),
        verbose: args.verbose,
        program,
        args: command.collect(),
    };
    match chameleon_supervisor::run(config) {
        Ok(never) => match never {},
        Err(error) => Failure { message: error.to_string(), status: error.status() },
    }
}

/// An injection into a replica that the mode does not have would silently never happen.
fn stray_injection(mode: Mode, injections: &[Injection]) -> Option<String> {
    let stray = injections.iter().find(|one| one.replica >= mode.n)?;
    let valid = match mode.n {
        1 => "only replica 0".to_string(),
        n => format!("replicas 0 to {}", n - 1),
    };
    Some(format!(
        "--inject {stray}: mode {mode} has {valid}, so there is no replica {}",
        stray.replica
    ))
}
