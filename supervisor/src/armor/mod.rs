//! The runtime of an ARMOR: building blocks, and what moves messages between them.
//!
//! ```text
//!  frame ─► Armor ─► MessageDispatch ─► CompositionController ─► Block::process_message
//!             ▲  who subscribed?             owns the blocks          │
//!             └────────── MessageSend ◄────────── Outbox ◄────────────┘
//!                              └─► Link ─► another ARMOR
//! ```
//!
//! Invariant: a block is reached through `process_message` only, and the composition changes only
//! between two messages: a change that a block asks for while it works waits until every
//! subscriber has had the message at hand. This is the room of control; the path of a call
//! (ballot, vote, result) is plain function calls between the same blocks' state and does not pass
//! here. Paper 7.2 to 7.4. Used by each ARMOR process and by the supervisor.

mod block;
mod compose;
mod dispatch;
mod factory;
mod loaded;
mod runtime;
mod send;

pub use block::{Block, Outbox};
pub use compose::CompositionController;
pub use dispatch::MessageDispatch;
pub use factory::{ArmorEntry, ArmorFactory, BlockEntry, BlockFactory, FactoryError};
pub use loaded::{Loader, is_loaded};
pub use runtime::{Armor, ArmorError};
pub use send::{Link, LinkError, MessageSend};

#[cfg(test)]
mod tests;
