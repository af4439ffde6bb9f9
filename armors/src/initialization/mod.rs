//! The INITIALIZATION ARMOR (paper 4.2.5): finds out what a node is, tells the FTM, and ends.
//!
//! Invariant: it is asked for nothing else and changes nothing.

use std::fs;

use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::env::{Health, NodeInfo};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, BlockEntry, Outbox};
use serde::Deserialize;

use crate::context::Context;

/// Its block.
pub(crate) const EXAMINE: BlockId = BlockId(410);

/// For the registry.
pub(crate) const ENTRIES: [BlockEntry<Context>; 1] =
    [BlockEntry { id: EXAMINE, name: "Examine", build }];

#[derive(Debug, Default, Deserialize)]
struct Birth {
    #[serde(default)]
    address: String,
}

struct Examine {
    context: Context,
    told: Option<ArmorId>,
}

fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Examine { context: context.clone(), told: None })
}

impl Block for Examine {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match message {
            Message::Attached => {
                outbox.subscribe(Kind::Welcome);
                outbox.subscribe(Kind::Pong);
                outbox.subscribe(Kind::Undeliverable);
            }
            Message::Welcome(_) => {
                let ftm = self.context.ftm().unwrap_or_else(|| self.context.manager());
                self.told = Some(ftm);
                outbox.send(ftm, Message::NodeInfo(self.examine()));
                // Its answer comes behind what was told.
                outbox.send(ftm, Message::Ping { nonce: 0 });
            }
            Message::Pong { .. } if Some(outbox.source()) == self.told => self.context.end(),
            // That FTM is not there: the next welcome names another.
            _ => {}
        }
    }
}

impl Examine {
    fn examine(&self) -> NodeInfo {
        let birth: Birth = toml::from_str(self.context.parameters()).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let features = field(&cpu, "flags").split_whitespace().map(str::to_owned).collect();
        NodeInfo {
            node: self.context.node(),
            name: read("/proc/sys/kernel/hostname").trim().to_owned(),
            address: birth.address,
            os: os(&read("/etc/os-release")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: named(field(&cpu, "model name")),
            features,
            health: health(&read("/proc/loadavg"), &read("/proc/meminfo"), &cpu),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A processor has a name, or the node would count as not examined.
fn named(model: &str) -> String {
    if model.is_empty() { std::env::consts::ARCH.to_owned() } else { model.to_owned() }
}

/// The first value of a name in the manner of /proc/cpuinfo (`proc(5)`).
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let of = |line: &'a str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    };
    text.lines().find_map(of).unwrap_or("")
}

/// Name and version of the system (`os-release(5)`).
fn os(release: &str) -> String {
    let of = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    of("PRETTY_NAME").or_else(|| of("NAME")).unwrap_or_else(|| std::env::consts::OS.to_owned())
}

/// Load, processors and memory; errors are counted by the daemon, which answers heartbeats.
fn health(load: &str, memory: &str, cpu: &str) -> Health {
    let kilobytes = |name| {
        let text = field(memory, name);
        let number = text.split_whitespace().next().and_then(|number| number.parse().ok());
        number.map_or(0, |number: u64| number.saturating_mul(1024))
    };
    let first: f64 =
        load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    Health {
        load: (first * 100.0) as u32,
        cpus: cpu.lines().filter(|line| line.starts_with("processor")).count() as u32,
        memory_available: kilobytes("MemAvailable"),
        memory: kilobytes("MemTotal"),
        ..Health::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let cpu = "processor\t: 0\nmodel name\t: A B\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nflags: fpu\n";
        assert_eq!((field(cpu, "model name"), field(cpu, "flags")), ("A B", "fpu sse2"));
        let got = health("1.50 0.2 0.1 1/2 3", "MemTotal:  8 kB\nMemAvailable:  2 kB\n", cpu);
        assert_eq!((got.load, got.cpus, got.memory, got.memory_available), (150, 2, 8192, 2048));
        assert_eq!(os("NAME=x\nPRETTY_NAME=\"Debian 13\"\n"), "Debian 13");
        assert_eq!(field("", "flags"), "");
    }
}
