//! Interposition: what a program's calls mean (the syscall table), how they travel between
//! replicas and the outside, and who performs them.
//!
//! Invariant: which buffers a call has and who performs it is said by its row in [`table`]; other
//! modules know numbers of system calls only where a call has a handler of its own ([`dispatcher`])
//! or may be carried in part ([`ballot`]). Used by the supervisor.

pub mod arena;
pub mod ballot;
pub mod dispatcher;
pub mod durable;
pub mod maps;
pub mod marshal;
pub mod outside;
pub mod procfile;
pub mod rdrand;
mod robust;
pub mod table;
pub mod tracer;
