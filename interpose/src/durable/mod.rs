//! What an image says of a program, as it is found: the outside's records at the cut, the memory of a
//! checkpoint afterwards.
//!
//! ```text
//!   cut (dispatcher): open files, identity, timers ──┐
//!   checkpoint (tracer): registers, mask, handlers ──┼──► Image ──► `chameleon_ckpt::write`
//!   its memory (writer): ranges, pages ──────────────┘
//! ```
//!
//! Invariant: describing changes nothing; what cannot be described is an error that names it. Called
//! by the dispatcher and by the process that writes.

pub mod files;
pub mod increment;
pub mod memory;
pub mod process;
pub mod shared;
mod sockets;
pub mod threads;
pub mod timers;
pub mod writer;

/// Why there is no image, in words that go into a line.
pub type Described<T> = std::result::Result<T, String>;

/// The octal, hexadecimal or decimal number behind `key:` in a text of /proc.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}
