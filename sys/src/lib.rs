//! The kernel: every raw system call, every pointer and every line of `unsafe` of the project.
//!
//! Invariant: what leaves this crate is safe to call; each `unsafe` block argues why it holds.
//! Callers: `interpose` (replicas, the outside, the dispatcher) and `supervisor` (processes).

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("Chameleon runs on Linux x86-64");

pub mod auxv;
pub mod block;
pub mod clock;
pub mod cpu;
pub mod describe;
pub mod error;
pub mod executor;
pub mod fd;
pub mod filter;
pub mod image;
pub mod inside;
pub mod memory;
pub mod notify;
pub mod owner;
pub mod pagemap;
pub mod process;
pub mod raw;
pub mod region;
pub mod rights;
pub mod schedule;
pub mod segment;
pub mod shadow;
pub mod stamp;
pub mod timens;
pub mod timer;
pub mod title;
pub mod tracee;
pub mod unix;

pub use error::{Errno, Error, Result};
