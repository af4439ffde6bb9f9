//! `chameleon completions` and `chameleon man`: texts that are made from the command line's definition.
//!
//! Called by `main`, and by whoever packs the program.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions of a shell.
pub fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chameleon", &mut text);
    crate::print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each command into a directory.
pub fn man(directory: &Path) -> anyhow::Result<ExitCode> {
    let write = || {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)
    };
    write().with_context(|| format!("cannot write into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
