//! An environment, end to end: real daemons, managers and programs, on this machine.
//!
//! Invariant: each test has an environment of its own, which ends with it. Run by `cargo test`.

mod applications;
mod checkpoint;
mod commands;
mod managers;
mod names;
mod nodes;
mod systemd;
mod table2;
mod users;
