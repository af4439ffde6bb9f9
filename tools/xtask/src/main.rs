//! `cargo xtask`: what developers run besides cargo itself.
//!
//! Invariant: works from any directory of the checkout; writes nothing in it but what it is asked
//! to write.

mod bench;
mod ci;
mod compat;
mod report;
mod rollbacks;
mod syscalls;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure: calls, programs, repair and takeover, memory; print ratios of one run
    Bench(bench::BenchArgs),
    /// Run real programs natively and in each mode and write docs/compatibility.md
    Compat(compat::CompatArgs),
    /// Kill replicas at random calls of real programs, again and again, and compare with the native run
    Rollbacks(rollbacks::RollbacksArgs),
    /// Write docs/syscalls.md from the syscall table
    Syscalls {
        /// Write nothing; fail when the page is not what the table says
        #[arg(long)]
        check: bool,
    },
    /// Run what the continuous integration runs: .ci/run
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::Compat(args) => compat::run(&args),
        Task::Rollbacks(args) => rollbacks::run(&args),
        Task::Syscalls { check } => syscalls::run(check),
        Task::Ci => ci::run(),
    }
}

/// The top directory of the checkout.
fn root() -> PathBuf {
    // This crate lives in tools/xtask.
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root.pop();
    root
}
