//! The ARMORs of an environment (paper 4): what `chameleon armor TYPE` becomes when a daemon starts it.
//!
//! ```text
//!  daemon ─frames─► link ─► process (main loop) ─► supervisor::armor ─► blocks, one module each
//!                    ▲                                                     │ policy decides
//!                    └──────────────── Outbox ◄─────────────────────────────┘
//! ```
//!
//! Invariant: a block's only entry is `process_message`; it never waits. Time is told to it
//! (`Tick`), decisions are `policy`'s. An ARMOR that loses its daemon goes on and calls again; one that
//! the daemon does not take back has been replaced, and ends. Used by `tools/chameleon`.

mod backup;
pub mod checkpoint;
mod common;
pub mod context;
pub mod execution;
mod ftm;
mod heartbeat;
mod initialization;
mod process;
mod registry;
#[cfg(test)]
mod stage;
mod store;
pub mod surrogate;
pub mod voter;

pub use process::{ProcessError, run};
