//! An environment: recovery of what is killed beside the paper's Table 4, nodes, messages.
//!
//! Invariant: each figure is of an environment of its own in the work directory, on the loopback network, which
//! has ended when the figure is taken.

mod beats;
mod messages;
mod nodes;
mod place;
mod recovery;

use super::figure::Figures;
use super::launch::Bench;

const PART: &str = "environment";

/// Measures all of it.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    recovery::measure(bench, figures)?;
    nodes::measure(bench, figures)?;
    messages::measure(bench, figures)
}

/// The heartbeats of many nodes.
pub fn measure_beats(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    beats::measure(bench, figures)
}
