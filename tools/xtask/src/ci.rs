//! `cargo xtask ci`: the one command that the continuous integration runs, too.

use std::process::Command;

use anyhow::{Context, bail};

/// Runs `.ci/run`.
pub fn run() -> anyhow::Result<()> {
    let script = crate::root().join(".ci/run");
    let status = Command::new(&script)
        .current_dir(crate::root())
        .status()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !status.success() {
        bail!("{}: {status}", script.display());
    }
    Ok(())
}
