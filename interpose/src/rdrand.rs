//! rdrand and rdseed: the instructions that no setting of the processor can trap, which give every
//! replica other numbers. Where they are in the code of a program's files; what takes their place.
//!
//! A replica's copy of `0f c7 /6` or `/7` (Intel SDM, RDRAND and RDSEED) becomes `0f 0b` (UD2) with
//! everything around it as it was. The instruction is as long as before, prefixes and register are
//! still to be read where it stands, and executing it raises SIGILL, upon which the tracer answers
//! (`tracer/numbers.rs`).
//!
//! Of the places where these three bytes stand in code, most are no such instruction: displacements
//! of calls that go some MiB back end so (`e8 2b 0f c7 ff`), and so do numbers in tables. What is
//! one is told by what follows, as nobody draws a number in order not to use it. The instructions
//! behind are followed while they neither jump nor touch the flags, until one
//!
//! - reads the carry flag, which says whether there was a number: all users of the compilers'
//!   `_rdrand64_step`, libstdc++, libcrypto, libgcrypt, valgrind; or
//! - uses the register drawn into, where the flag is not looked at: libsodium, careless programs.
//!
//! In front there must be no instruction that needs the three bytes as its displacement. How well
//! that decides is in docs/adr/0009.
//!
//! Invariant: only what is decided by [`find`] is ever changed; reads nothing but what it is given.

mod code;
mod sites;

pub use code::{CONTEXT, Draw, find};
pub use sites::Sites;
