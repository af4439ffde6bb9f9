//! What is counted, and its text for Prometheus.
//!
//! Invariant: whatever is refused is counted under its reason. Served by `scrape`.

use std::fmt;

use chameleon_proto::message::env::NoWay;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why something was not done: one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    reason: &'static str,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    way: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum To {
    Armor,
    Node,
    Daemon,
}

/// The daemon's counters.
pub struct Metrics {
    registry: Registry,
    /// Frames for ARMORs of this node.
    pub to_armors: Counter,
    /// Frames for other nodes.
    pub to_nodes: Counter,
    /// Frames for the daemon itself.
    pub to_daemon: Counter,
    refused: Family<Why, Counter>,
    undeliverable: Family<Why, Counter>,
    connections: Family<Why, Counter>,
    armors_down: Family<Why, Counter>,
    enrolment: Family<Why, Counter>,
    /// ARMORs that are installed.
    pub armors: Gauge,
    /// ARMORs that a restarted daemon took back.
    pub adopted: Counter,
    /// Lines left out of the log.
    pub lines_left_out: Counter,
    /// Certificates revoked or expired on connections that were there.
    pub cut: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("chameleon");
        let frames: Family<Way, Counter> = Family::default();
        let of = |way| frames.get_or_create(&Way { way }).clone();
        let (to_armors, to_nodes, to_daemon) = (of(To::Armor), of(To::Node), of(To::Daemon));
        registry.register("frames", "Frames passed on", frames);
        let mut family = |name, help| {
            let family: Family<Why, Counter> = Family::default();
            registry.register(name, help, family.clone());
            family
        };
        let refused = family("frames_refused", "Frames that were not taken");
        let undeliverable = family("frames_undeliverable", "Frames that went back");
        let connections = family("connections_refused", "Connections that were not taken");
        let armors_down = family("armors_down", "ARMORs that went down untold");
        let enrolment = family("enrolments", "What came of those who asked for a certificate");
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let adopted = counter("armors_adopted", "ARMORs that a restarted daemon took back");
        let lines_left_out = counter("log_lines_left_out", "Lines left out of the log");
        let cut =
            counter("connections_cut", "Connections ended as their certificate was no longer good");
        let armors = Gauge::default();
        registry.register("armors", "ARMORs installed", armors.clone());
        Self {
            registry,
            to_armors,
            to_nodes,
            to_daemon,
            refused,
            undeliverable,
            connections,
            armors_down,
            enrolment,
            armors,
            adopted,
            lines_left_out,
            cut,
        }
    }
}

impl Metrics {
    /// A frame was not taken.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Why { reason }).inc();
    }

    /// A frame went back.
    pub fn undeliverable(&self, why: NoWay) {
        let reason = match why {
            NoWay::Unknown => "unknown",
            NoWay::NotHere => "not_here",
            NoWay::OtherLife => "other_life",
            NoWay::Unreachable => "unreachable",
            NoWay::Full => "full",
        };
        self.undeliverable.get_or_create(&Why { reason }).inc();
    }

    /// A connection was not taken.
    pub fn no_connection(&self, reason: &'static str) {
        self.connections.get_or_create(&Why { reason }).inc();
    }

    /// An ARMOR went down without being told to.
    pub fn armor_down(&self, reason: &'static str) {
        self.armors_down.get_or_create(&Why { reason }).inc();
    }

    /// Someone asked for a certificate; what came of it.
    pub fn enrolment(&self, reason: &'static str) {
        self.enrolment.get_or_create(&Why { reason }).inc();
    }

    /// All of it as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
