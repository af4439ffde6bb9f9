//! Changing the settings of a run that is under way, over its socket.
//!
//! Invariant: the ARMOR does not wait: a thread asks, and rings when it has been answered.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Setting {
    number: u64,
    bell: Rc<OwnedFd>,
}

impl Setting {
    /// Asks the run of this process.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub fn begin(number: u64, pid: u32, values: &BTreeMap<String, String>) -> Result<Self, String> {
        let _ = (number, pid, values);
        Err("a run that is under way keeps its settings".to_owned())
    }

    /// What can be read when it has been answered.
    pub fn bell(&self) -> &Rc<OwnedFd> {
        &self.bell
    }

    /// The answer, once there is one: the order's number, and why it was refused.
    pub fn answer(&mut self) -> Option<(u64, Option<String>)> {
        let _ = self.number;
        None
    }
}
