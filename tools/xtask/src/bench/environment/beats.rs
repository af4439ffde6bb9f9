//! How much of a processor the heartbeats of many nodes take on the node of the FTM.
//!
//! Each node is a daemon of its own, on this machine and the loopback network: what is measured is what the first
//! node's processes use, not what the others do.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use chameleon_policy::parameters;
use chameleon_proto::ask::Ask;
use chameleon_proto::ids::armors;

use super::PART;
use super::place::{Environment, wall_ns};
use crate::bench::figure::{Asked, Figures};
use crate::bench::launch::Bench;
use crate::bench::procs;

/// How many nodes, and for how many the figures are: more daemons than this keep each other waiting on two
/// processors, where those of real nodes have their own.
const NODES: u32 = 250;
const ASKED: u32 = 1_000;
/// Percent of one processor for the FTM and its HEARTBEAT ARMOR.
const SHARE: Asked = Asked::AtMost(10.0);
/// From the moment at which all are up to the first round, and what a round is.
const SETTLE: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_secs(5);

/// How many heartbeats may be missed, and pings of ARMORs.
fn set_misses(environment: &mut Environment, misses: &str) -> anyhow::Result<()> {
    let names = [parameters::HEARTBEAT_MISSES, parameters::ARMOR_MISSES];
    let values = names.map(|name| (name.to_owned(), misses.to_owned())).into();
    environment.ask(&Ask::Set { app: None, values })?;
    Ok(())
}

/// Measures it.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: {NODES} nodes join; that takes a minute");
    let mut environment = Environment::start(bench, 1)?;
    // Newcomers on one machine keep each other waiting, which is not to count as a failure.
    set_misses(&mut environment, "100")?;
    environment.grow(NODES)?;
    sleep(SETTLE);
    set_misses(&mut environment, "3")?;
    let began_ns = wall_ns();
    let armors = [armors::FTM, armors::HEARTBEAT];
    let armors = [environment.armor(1, armors[0])?, environment.armor(1, armors[1])?];
    let daemon = environment.daemon(1)?;
    let used = || (armors.map(procs::cpu_ms).iter().sum::<f64>(), procs::cpu_ms(daemon));
    let (mut managers, mut gateway) = (Vec::new(), Vec::new());
    let scale = f64::from(ASKED) / f64::from(NODES);
    let percent = |ms: f64| ms / ROUND.as_millis() as f64 * 100.0 * scale;
    for _ in 0..bench.rounds {
        let before = used();
        sleep(ROUND);
        let after = used();
        managers.push(percent(after.0 - before.0));
        gateway.push(percent(after.1 - before.1));
    }
    let up = environment.nodes()?.iter().filter(|node| node.standing == "up").count();
    ensure!(up == NODES as usize, "{up} of {NODES} nodes are up");
    let said = environment.events(began_ns);
    ensure!(said.is_empty(), "something happened meanwhile: {said:?}");
    let of = format!("heartbeats of {ASKED} nodes (of {NODES}, scaled), of one processor");
    let what = format!("{of}: FTM and HEARTBEAT ARMOR");
    figures.beside(PART, what, "%", managers, Some(SHARE), None);
    figures.add(PART, format!("{of}: the daemon of the FTM's node"), "%", gateway, None);
    Ok(())
}
