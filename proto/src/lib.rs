//! What the parts of the system say to each other and to the user: names, messages, events.
//!
//! Invariant: plain data and its encodings; no I/O, no `unsafe`. Used by every other room.

pub mod ask;
pub mod birth;
pub mod codec;
pub mod event;
pub mod frame;
pub mod ids;
pub mod inject;
pub mod message;
pub mod runs;
pub mod stream;
