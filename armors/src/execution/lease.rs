//! The lease of a program that may be started on another node (ADR 0025).
//!
//! ```text
//!   Execute ─► none: it waits ──Leased──► started, or found under way ──asks, Leased──► … ─► none left: killed
//!                     ▲                                                                       │ its end: CutOff
//!                     └──── Execute, a later attempt ◄─── Leased: it is said (once more) ◄────┘
//! ```
//!
//! Invariant: no program that needs a lease is started without one, or is there much longer than it. Its daemon
//! is needed for that no more than the FTM: one that hangs brings no lease. Used by the EXECUTION ARMOR.

use chameleon_policy::lease::Held;
use chameleon_proto::ids::armors;
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Fault, Lease as Ask, Leased};
use chameleon_supervisor::armor::Outbox;

use super::Follow;
use crate::context::{boot_ns, now_ns};

/// What its people read.
pub(super) const WHY: &str = "its node was cut off from the FTM for longer than its lease; it was ended, since it \
    may have been started on another node";

/// The lease of the program.
#[derive(Debug, Default)]
pub(super) struct Lease {
    held: Held,
    /// The program is to be started as soon as there is one.
    waits: bool,
    /// The program was ended because there was none.
    cut: bool,
}

impl Lease {
    /// A run is found that another life of this ARMOR has started.
    pub fn found(&mut self) {
        self.held.found(boot_ns());
    }

    /// Another attempt begins: nothing of an earlier one is started any more.
    pub fn anew(&mut self) {
        (self.cut, self.waits) = (false, false);
    }

    /// Whether a program that needs one may be started now; if not it waits.
    pub fn may_start(&mut self) -> bool {
        self.waits = !self.held.holds(boot_ns());
        !self.waits
    }

    /// How the end of a run is judged: it did not fail by itself if it was ended for want of a lease.
    pub fn judge(&self, fault: Option<(Fault, String)>) -> Option<(Fault, String)> {
        fault.map(|fault| if self.cut { (Fault::CutOff, WHY.to_owned()) } else { fault })
    }

    /// Whether its run was ended for want of one.
    pub const fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Follow {
    /// Asks for the lease when it is time to; ends the run if there is none any more.
    pub(super) fn keep(&mut self, outbox: &mut Outbox) {
        let leased = self.order.as_ref().is_some_and(|order| order.leased);
        if !leased || self.running.is_none() && !self.lease.waits && !self.lease.cut {
            return;
        }
        let now = boot_ns();
        let mut next = u64::MAX;
        if self.running.is_some() && !self.lease.cut {
            if self.lease.held.holds(now) {
                next = self.lease.held.until_ns();
            } else {
                self.lease.cut = true;
                self.kill();
                eprintln!("chameleon: {}: {WHY}", outbox.own());
            }
        }
        if now >= self.lease.held.asks_ns() {
            self.lease.held.asked(now);
            if let Some(ftm) = self.context.ftm() {
                outbox.send(ftm, Message::Lease(Ask { asked_ns: now }));
            }
        }
        let next = next.min(self.lease.held.asks_ns());
        self.context.wake_at(now_ns() + next.saturating_sub(now));
    }

    /// The FTM gives it.
    pub(super) fn leased(&mut self, leased: &Leased, outbox: &mut Outbox) {
        if ![armors::FTM, armors::BACKUP_FTM].contains(&outbox.source().kind) {
            return;
        }
        self.lease.held.given(leased.asked_ns, leased.term_ns);
        if !self.lease.held.holds(boot_ns()) {
            return;
        }
        if self.lease.waits {
            self.launch(outbox);
        } else if self.lease.cut && self.running.is_none() {
            // What was said of it when nobody could hear it.
            self.tell(outbox);
        }
        self.keep(outbox);
    }
}
