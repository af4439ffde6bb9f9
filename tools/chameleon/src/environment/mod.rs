//! The commands of an environment: a node's daemon, the starter of its FTM, and what people ask.
//!
//! ```text
//!  init ─► node.toml, authority, identity        place: where all of that is
//!  daemon ─► netd::run (one thread) ┐
//!                 starter, a thread ┴► ftm ─► Install ─► the FTM
//!  submit, ps, set, …: asking ─► Request ─► FTM ─► Answer
//! ```
//!
//! Invariant: whatever is asked is asked of the FTM by way of this node's daemon; a command that cannot
//! says what is not there and how it is started. Called by `main`.

mod apps;
mod asking;
mod daemon;
mod doctor;
mod events;
mod explain;
mod ftm;
mod init;
mod logs;
mod node;
mod node_file;
mod place;
mod plan;
mod set;
mod shutdown;
mod status;
mod stop;
mod submit;
mod table;
mod top;
mod units;
mod when;

pub use apps::{running, text as apps};
pub use daemon::run as daemon;
pub use doctor::findings;
pub use events::run as events;
pub use explain::run as explain;
pub use ftm::run as ftm;
pub use init::run as init;
pub use logs::run as logs;
pub use node::run as node;
pub use plan::run as plan;
pub use set::run as set;
pub use shutdown::run as shutdown;
pub use status::run as status;
pub use stop::run as stop;
pub use submit::run as submit;
pub use top::run as top;
pub use units::DIRECTORY as UNITS;
pub use when::age;

/// What is said of an answer of another kind than the question's.
const NOT_UNDERSTOOD: &str = "the FTM answers what this version does not understand";
