//! The runs of a user: where each says that it lives, and how it is asked for something
//! (`docs/adr/0014-runs-and-their-sockets.md`).
//!
//! ```text
//!   $XDG_RUNTIME_DIR/chameleon/runs/ID/   or /run/chameleon (root), /tmp/chameleon-UID
//!       info      what it is; the supervisor holds a lock on it for as long as it lives
//!       control   a socket: made and held by the supervisor, served by the EXECUTION ARMOR
//! ```
//!
//! Invariant: nothing here can make a run fail, is inherited by a process of the program, or stays
//! behind a run that ended; what is left by one that was killed is taken away by the next look.

mod ask;
mod entry;
mod list;
mod place;
mod serve;

pub use ask::{AskError, Question, ask};
pub use chameleon_proto::runs::{ImageState, Info, Reply, Request, Status};
pub use list::{Living, list};

pub(crate) use entry::Entry;
pub(crate) use serve::Server;

/// The file that says what a run is.
const INFO: &str = "info";
/// Its name until it is whole and locked.
const INFO_NEW: &str = "info.new";
/// The socket.
const CONTROL: &str = "control";
