//! The scenario harness: runs a command as it is and under `chameleon run`, and compares.
//!
//! Invariant: both runs see the same directory (same path, same content, wiped between), the same
//! environment and the same input, so that every difference is Chameleon's; each run is followed by
//! a search for what it left behind. Used by the integration tests of this crate alone.

mod binary;
mod compare;
pub mod environment;
mod guests;
mod harass;
mod leftover;
mod mark;
mod needs;
mod network;
mod outcome;
mod report;
mod run;
mod scenario;
pub mod server;
mod threads;
mod tree;
pub mod workload;

pub use binary::{chameleon, crashing};
pub use compare::{differences, without_chameleon_lines};
pub use guests::guest;
pub use harass::{Dice, Victim, harass, rollbacks, supervisor};
pub use mark::{Marked, marked, state};
pub use needs::{have, need, program_path, python, script};
pub use outcome::{Ending, Outcome};
pub use report::Report;
pub use run::{Running, output, until};
pub use scenario::{Scenario, program};

/// The modes that every guest and every program is run in, as `--mode` takes them.
pub const MODES: [&str; 4] = ["simplex", "dual", "tmr", "nmr:3/5"];

/// The modes that replicate, with three replicas or more: a single fault is masked.
pub const MASKING: [&str; 2] = ["tmr", "nmr:3/5"];
