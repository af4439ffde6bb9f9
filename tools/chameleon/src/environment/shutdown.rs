//! `chameleon shutdown`: ends an environment: its applications, then its managers. Daemons go on.
//!
//! Invariant: the starter is told first, by a file, or it would have an FTM installed again; if the FTM does not do it
//! the file is taken back. Called by `main`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chameleon_proto::ask::Ask;

use super::asking::Environment;
use super::node_file::NodeFile;
use super::place::Place;
use crate::cli::ShutdownArgs;

/// Asks for it.
pub fn run(args: &ShutdownArgs) -> anyhow::Result<ExitCode> {
    let place = Place::of(&args.place)?;
    let file = NodeFile::load(&place)?;
    if !file.manager {
        bail!("the managers are on another node; the environment is ended there");
    }
    let mut environment = Environment::at(&file.socket(&place))?;
    let ended = place.ended();
    std::fs::create_dir_all(place.manager())
        .and_then(|()| std::fs::write(&ended, ""))
        .with_context(|| format!("cannot write {}", ended.display()))?;
    let outcome = environment.order(&Ask::Shutdown, args.json);
    if outcome.is_err() {
        // It was made just now.
        let _ = std::fs::remove_file(&ended);
    }
    outcome
}
