//! What the blocks of one ARMOR share.
//!
//! Invariant: blocks do not know each other; they share who they are, when they want to be woken, the
//! epoch, the wish to end, and what one of them leaves for those that come after it or stand beside it
//! ([`Context::shared`]). Read by the main loop between two messages.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use chameleon_link::{Link, LinkError};
use chameleon_proto::birth::Birth;
use chameleon_proto::ids::{ArmorId, Epoch, NodeId};

/// Shared by the blocks of an ARMOR and its main loop.
#[derive(Clone)]
pub struct Context(Rc<Shared>);

struct Shared {
    birth: Birth,
    epoch: Cell<Epoch>,
    wake_ns: Cell<Option<u64>>,
    end: Cell<bool>,
    why: RefCell<Option<String>>,
    up: Cell<bool>,
    ftm: Cell<Option<ArmorId>>,
    kept: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    watched: RefCell<Vec<Rc<OwnedFd>>>,
}

impl Context {
    /// Of an ARMOR with this birth, in this epoch.
    pub fn new(birth: Birth, epoch: Epoch) -> Self {
        Self(Rc::new(Shared {
            birth,
            epoch: Cell::new(epoch),
            wake_ns: Cell::new(None),
            end: Cell::new(false),
            why: RefCell::default(),
            up: Cell::new(true),
            ftm: Cell::new(None),
            kept: RefCell::default(),
            watched: RefCell::default(),
        }))
    }

    /// The one value of this type that the ARMOR's blocks have in common; it stays when a block is
    /// exchanged. Made by the first who asks for it.
    pub fn shared<T: Default + 'static>(&self) -> Rc<RefCell<T>> {
        let mut kept = self.0.kept.borrow_mut();
        let value =
            kept.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(RefCell::<T>::default()));
        // Each is under its own type, so the cast is never refused.
        Rc::clone(value).downcast().unwrap_or_default()
    }

    /// Whether there is a connection to the daemon: without one nobody's silence means anything.
    pub fn is_connected(&self) -> bool {
        self.0.up.get()
    }

    /// The FTM that the daemon told of last.
    pub fn ftm(&self) -> Option<ArmorId> {
        self.0.ftm.get()
    }

    /// What the link knows now.
    pub(crate) fn connection(&self, up: bool, ftm: Option<ArmorId>) {
        self.0.up.set(up);
        self.0.ftm.set(ftm);
    }

    /// Its own name.
    pub fn own(&self) -> ArmorId {
        self.0.birth.armor
    }

    /// What it was started with.
    pub fn parameters(&self) -> &str {
        &self.0.birth.parameters
    }

    /// Where the environment's files are on this node: as its daemon says, or else where its socket is.
    pub fn directory(&self) -> PathBuf {
        let beside = || Path::new(&self.0.birth.socket).parent().map(Path::to_owned);
        std::env::var_os("CHAMELEON_DIR").map(PathBuf::from).or_else(beside).unwrap_or_default()
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

    /// Has a `Tick` come as soon as this descriptor can be read (a pidfd: its process has ended). That is told
    /// again and again until it is let go.
    pub fn watch(&self, fd: Rc<OwnedFd>) {
        self.0.watched.borrow_mut().push(fd);
    }

    /// It is not watched any more.
    pub fn unwatch(&self, fd: &Rc<OwnedFd>) {
        self.0.watched.borrow_mut().retain(|other| !Rc::ptr_eq(other, fd));
    }

    /// Whether any is.
    pub(crate) fn watches(&self) -> bool {
        !self.0.watched.borrow().is_empty()
    }

    /// Waits for the link or for one of them, at most as long as is said; whether it was one of them.
    ///
    /// # Errors
    /// [`LinkError::Wait`].
    pub(crate) fn wait(&self, link: &Link, left: Option<Duration>) -> Result<bool, LinkError> {
        let watched = self.0.watched.borrow();
        let fds: Vec<_> = watched.iter().map(|fd| fd.as_fd()).collect();
        link.wait(left, &fds)
    }

    /// Asks that the ARMOR ends when the message at hand has been handled and what was said is sent.
    pub fn end(&self) {
        self.0.end.set(true);
    }

    /// Asks that the ARMOR ends as failed, for this reason.
    pub fn fail(&self, why: String) {
        self.0.why.replace(Some(why));
        self.0.end.set(true);
    }

    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.why.borrow_mut().take()
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

/// CLOCK_BOOTTIME in nanoseconds: it goes on while the machine is suspended.
pub fn boot_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |now| {
        let (seconds, rest) = (now.tv_sec().unsigned_abs(), now.tv_nsec().unsigned_abs());
        seconds * 1_000_000_000 + rest
    })
}

/// CLOCK_REALTIME in nanoseconds since 1970 (UTC).
pub fn wall_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
