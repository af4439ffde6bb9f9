//! What the blocks of one ARMOR share.
//!
//! Invariant: blocks do not know each other; they share who they are, when they want to be woken, the
//! epoch, and the wish to end. Read by the main loop between two messages.

use std::cell::Cell;
use std::rc::Rc;

use chameleon_proto::birth::Birth;
use chameleon_proto::ids::{ArmorId, Epoch, NodeId};

/// Shared by the blocks of an ARMOR and its main loop.
#[derive(Clone, Debug)]
pub struct Context(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    birth: Birth,
    epoch: Cell<Epoch>,
    wake_ns: Cell<Option<u64>>,
    end: Cell<bool>,
}

impl Context {
    /// Of an ARMOR with this birth, in this epoch.
    pub fn new(birth: Birth, epoch: Epoch) -> Self {
        let (epoch, wake_ns, end) = (Cell::new(epoch), Cell::new(None), Cell::new(false));
        Self(Rc::new(Shared { birth, epoch, wake_ns, end }))
    }

    /// What it was started with.
    pub fn parameters(&self) -> &str {
        &self.0.birth.parameters
    }

    /// Who had it installed.
    pub fn manager(&self) -> ArmorId {
        self.0.birth.manager
    }

    /// Its node.
    pub fn node(&self) -> NodeId {
        self.0.birth.node
    }

    /// The environment's epoch, as far as this ARMOR knows.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch.get()
    }

    /// From now on what this ARMOR sends carries this epoch, if it is later: for one that begins it.
    pub fn raise(&self, epoch: Epoch) {
        self.0.epoch.set(self.epoch().max(epoch));
    }

    /// Asks for a `Tick` at this time of [`now_ns`] at the latest. It goes to all subscribers, so it may come
    /// earlier; after it a block that still waits asks again.
    pub fn wake_at(&self, at_ns: u64) {
        let sooner = self.0.wake_ns.get().is_none_or(|other| at_ns < other);
        if sooner {
            self.0.wake_ns.set(Some(at_ns));
        }
    }

    /// Asks that the ARMOR ends when the message at hand has been handled and what was said is sent.
    pub fn end(&self) {
        self.0.end.set(true);
    }

    /// Whether it is to end.
    pub(crate) fn ends(&self) -> bool {
        self.0.end.get()
    }

    /// When a block wants to be woken.
    pub(crate) fn wakes(&self) -> Option<u64> {
        self.0.wake_ns.get()
    }

    /// They are about to be.
    pub(crate) fn woken(&self) {
        self.0.wake_ns.set(None);
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now_ns() -> u64 {
    // It cannot fail for this clock (clock_gettime(2)).
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        let (seconds, rest) = (now.tv_sec().unsigned_abs(), now.tv_nsec().unsigned_abs());
        seconds * 1_000_000_000 + rest
    })
}
