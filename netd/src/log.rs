//! Lines of the daemon's log that others can bring about.
//!
//! Invariant: each reason has its own limit, so a flood of one hides no other; what was left out is
//! counted, in the next line and in the metrics. Used by all of the daemon.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chameleon_proto::frame::Header;
use chameleon_proto::message::Envelope;
use chameleon_proto::message::env::{ArmorDown, NoWay};
use tracing::{info, warn};

use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::route::{Origin, Reason};

/// Lines of one reason at once, and how long until there may be one more.
const LINES: (u32, Duration) = (5, Duration::from_secs(10));

/// The log of a daemon.
#[derive(Debug)]
pub struct Log {
    limits: RefCell<HashMap<&'static str, Limit>>,
    metrics: Rc<Metrics>,
}

impl Log {
    /// One that counts what it leaves out.
    pub fn new(metrics: Rc<Metrics>) -> Self {
        Self { limits: RefCell::default(), metrics }
    }

    /// Whether a line about this may be written; how many were left out before it.
    fn may(&self, about: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut limits = self.limits.borrow_mut();
        let limit = limits.entry(about).or_insert_with(|| Limit::new(LINES.0, LINES.1, now));
        let may = limit.take(now);
        if may.is_none() {
            self.metrics.lines_left_out.inc();
        }
        may
    }

    /// A frame was refused.
    pub fn refused(&self, origin: Origin, header: &Header, reason: Reason) {
        if let Some(left_out) = self.may(reason.label()) {
            let (source, to, kind) = (header.source, header.destination, header.kind);
            warn!(?origin, %source, destination = %to, kind, left_out, "frame refused: {}", reason.why());
        }
    }

    /// A frame went back.
    pub fn undeliverable(&self, header: &Header, why: NoWay) {
        let about = match why {
            NoWay::Unknown => "unknown",
            NoWay::NotHere => "not here",
            NoWay::OtherLife => "other life",
            NoWay::Unreachable => "unreachable",
            NoWay::Full => "full",
        };
        if let Some(left_out) = self.may(about) {
            let (source, to, kind) = (header.source, header.destination, header.kind);
            info!(%source, destination = %to, kind, left_out, "frame went back: {about}");
        }
    }

    /// A connection was refused or ended.
    pub fn connection(&self, from: &dyn Display, why: &dyn Display) {
        if let Some(left_out) = self.may("connection") {
            warn!(%from, left_out, "connection refused: {why}");
        }
    }

    /// An ARMOR is down.
    pub fn down(&self, down: &ArmorDown) {
        if let Some(left_out) = self.may("down") {
            warn!(armor = %down.armor, how = ?down.how, left_out, "ARMOR down");
        }
    }

    /// A message for the daemon asked for what is not done.
    pub fn request(&self, envelope: &Envelope, why: &str) {
        if let Some(left_out) = self.may("request") {
            let kind = envelope.message.kind();
            warn!(source = %envelope.source, ?kind, left_out, "request refused: {why}");
        }
    }

    /// Something of the daemon's own does not work.
    pub fn trouble(&self, about: &'static str, error: &dyn Display) {
        if let Some(left_out) = self.may(about) {
            warn!(about, left_out, "{error}");
        }
    }
}
