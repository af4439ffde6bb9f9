//! The two Heartbeat blocks: one code, which asks for health or does not.
//!
//! Invariant: while there is no connection to the daemon nothing is asked, and so nobody is missed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chameleon_policy::detector::Settings;
use chameleon_policy::{duration, parameters};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};
use serde::Deserialize;

use super::beats::{Beats, Scene};
use super::{HEALTH, PING};
use crate::context::{Context, now_ns};

#[derive(Debug, Deserialize)]
struct Birth {
    interval_ns: u64,
    misses: u32,
    health: bool,
}

struct HeartbeatBlock {
    context: Context,
    beats: Rc<RefCell<Beats>>,
    health: bool,
}

pub(super) fn ping(context: &Context) -> Box<dyn Block> {
    build(context, false)
}

pub(super) fn health(context: &Context) -> Box<dyn Block> {
    build(context, true)
}

fn build(context: &Context, health: bool) -> Box<dyn Block> {
    Box::new(HeartbeatBlock { context: context.clone(), beats: context.shared(), health })
}

impl Block for HeartbeatBlock {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        let shared = Rc::clone(&self.beats);
        let mut beats = shared.borrow_mut();
        if *message == Message::Attached {
            self.begin(&mut beats, outbox);
            return self.wake(&beats);
        }
        let ftm = self.context.ftm().unwrap_or_else(|| self.context.manager());
        let now_ns = now_ns();
        let mut scene =
            Scene { ftm, node: self.context.node(), health: self.health, now_ns, outbox };
        match message {
            Message::Tick { now_ns } if self.context.is_connected() => {
                scene.now_ns = *now_ns;
                beats.tick(&mut scene);
            }
            Message::Tick { .. } => {
                // A detector that is not asked counts nothing.
                return self.context.wake_at(now_ns + 50_000_000);
            }
            Message::Heartbeaten(beat) => beats.answered(beat, &mut scene),
            Message::Places(places) => beats.nodes(places, now_ns),
            Message::Welcome(_) => beats.begin_again(now_ns),
            Message::NewManager(_) => beats.tell(&mut scene),
            Message::Parameter { name, value } => set(&mut beats, name, value, now_ns),
            _ => {}
        }
        self.wake(&beats);
    }
}

impl HeartbeatBlock {
    fn begin(&self, beats: &mut Beats, outbox: &mut Outbox) {
        for kind in [
            Kind::Welcome,
            Kind::Tick,
            Kind::Heartbeaten,
            Kind::Places,
            Kind::NewManager,
            Kind::Parameter,
        ] {
            outbox.subscribe(kind);
        }
        let base = u64::from(self.context.own().incarnation.0) << 32;
        let birth = toml::from_str::<Birth>(self.context.parameters());
        let settings = birth.as_ref().map_or_else(
            |_| Settings::default(),
            |birth| Settings {
                interval: Duration::from_nanos(birth.interval_ns),
                misses: birth.misses,
            },
        );
        beats.begin(settings, base);
        // Its type begins with the plain block; the other one is put in its place if that is wanted.
        if !self.health && birth.is_ok_and(|birth| birth.health) && beats.is_new() {
            outbox.compose(chameleon_proto::message::Change::Replace { old: PING, new: HEALTH });
        }
    }

    fn wake(&self, beats: &Beats) {
        if let Some(at_ns) = beats.next_ns() {
            self.context.wake_at(at_ns);
        }
    }
}

fn set(beats: &mut Beats, name: &str, value: &str, now_ns: u64) {
    beats.set(
        |settings| match name {
            parameters::HEARTBEAT_INTERVAL => {
                settings.interval = duration::parse(value).unwrap_or(settings.interval);
            }
            parameters::HEARTBEAT_MISSES => {
                settings.misses = value.parse().unwrap_or(settings.misses);
            }
            _ => {}
        },
        now_ns,
    );
}
