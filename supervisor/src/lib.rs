//! The ARMOR runtime and the processes of a run: the supervisor, which is the replicas' tracer and
//! the ARMOR's parent, and the EXECUTION ARMOR, which dispatches, votes and fans out.
//!
//! ```text
//!   chameleon run ──fork──► (gone) ──fork──► SUPERVISOR ──fork──► EXECUTION (and its successors)
//!        │                                      └──fork──► replicas
//!        └─ becomes the outside of the program
//! ```
//!
//! Invariant: the process that the shell started is the program, for everyone outside. The
//! supervisor's death ends every replica (PTRACE_O_EXITKILL) and every executor (lifeline); the
//! ARMOR's death ends nothing.

mod again;
pub mod armor;
mod blocks;
mod durable;
mod execution;
mod failing;
mod giveup;
mod keeper;
mod launch;
mod link;
mod liveness;
pub mod restore;
pub mod runs;
mod search;

pub use launch::{LaunchError, RunConfig, run};
