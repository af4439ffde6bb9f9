//! The SURROGATE MANAGER of one application (paper 4.1.2): carries out what was planned for it.
//!
//! ```text
//!   Install EXECUTION ARMORs (and a VOTER, where replicas stand apart) ─► Execute ─► Executing ─► Executed
//!        ▲                                                                    │           │
//!        └──── Recovery block ◄── ArmorDown, NodeDown, a failed program, a lost vote ─────┘
//!   rows, notes ─► FTM and Backup FTM          what people ask ◄── FTM
//! ```
//!
//! Invariant: what was planned is not decided again; what fails is decided by `policy::recovery`. The
//! next life of a manager has the same parameters and what the FTM's tables say of its ARMORs, which go on
//! meanwhile, and asks each how it is.

use std::cell::RefCell;
use std::rc::Rc;

use desk::Desk;

mod act;
mod desk;
mod keep;
mod leave;
mod manage;
mod parameters;
mod recover;

pub(crate) use manage::{MANAGE, build};
pub use parameters::{Known, Parameters, ParametersError};
pub(crate) use recover::{IN_PLACE, MOVE, in_place, move_away};

/// Why a form of replicas is refused.
pub const NOT_LINKED: &str = "replicas on several nodes whose every call is voted are not possible yet; name the \
    files that are its results (results = [...]), or ask for one node (nodes = 1)";

/// How often what is under way is looked after.
const TURN_NS: u64 = 500_000_000;

/// The desk that its blocks share; none if there is nothing to manage.
type Shared = Rc<RefCell<Option<Desk>>>;

/// Does something at the desk.
fn with(desk: &Shared, act: impl FnOnce(&mut Desk)) {
    if let Some(desk) = desk.borrow_mut().as_mut() {
        act(desk);
    }
}

#[cfg(test)]
mod tests;
