//! `chameleon stop`: ends an application, or has one that has ended forgotten.
//!
//! Called by `main`.

use std::process::ExitCode;

use chameleon_proto::ask::Ask;

use super::asking::Environment;
use crate::cli::StopArgs;

/// Asks for it.
pub fn run(args: &StopArgs) -> anyhow::Result<ExitCode> {
    Environment::of(&args.place)?.order(&Ask::Stop { app: args.app.clone() }, args.json)
}
