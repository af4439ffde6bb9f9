//! Nodes: how long until one takes part, until its crash is known, and until what ran on it runs elsewhere;
//! and how long a change of mode takes.

use std::time::Instant;

use anyhow::ensure;
use chameleon_proto::ask::Ask;
use chameleon_proto::ids::armors;

use super::PART;
use super::place::{Environment, is_set_up, ms, own_address, until, wall_ns};
use super::recovery::over;
use crate::bench::figure::{Asked, Figures};
use crate::bench::launch::Bench;

/// Milliseconds asked for, and the paper's.
const SET_UP: (Asked, f64) = (Asked::AtMost(200.0), 2245.0);
/// Three heartbeats, 200 ms apart, of which the first may just have been answered.
const DOWN: Asked = Asked::AtMost(800.0);

/// Measures all of them.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: nodes that come and go");
    let (mut set_up, mut down, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    let mut modes = [Vec::new(), Vec::new()];
    for _ in 0..bench.rounds {
        let mut environment = Environment::start(bench, 2)?;
        set_up.push(newcomer(&mut environment, 3)?);
        let (known, moved) = crash(&mut environment)?;
        down.push(known);
        elsewhere.push(moved);
        for (change, mode) in change_modes(&mut environment)?.into_iter().zip(&mut modes) {
            mode.push(change);
        }
    }
    let what =
        "a node that has enrolled, from the start of its daemon until it is up and described";
    figures.beside(PART, what, "ms", set_up, Some(SET_UP.0), Some(SET_UP.1));
    let what = "a node crashed, until that is known";
    figures.beside(PART, what, "ms", down, Some(DOWN), None);
    let what = "a node crashed, until its program runs on another";
    figures.add(PART, what, "ms", elsewhere, None);
    for (name, values) in ["simplex to tmr", "tmr to simplex"].into_iter().zip(modes) {
        figures.add(PART, format!("a running program's mode, {name}"), "ms", values, None);
    }
    Ok(())
}

/// Milliseconds until a node that has enrolled takes part and is described.
fn newcomer(environment: &mut Environment, node: u32) -> anyhow::Result<f64> {
    environment.join(node, &own_address(node))?;
    let start = Instant::now();
    environment.start_daemon(node)?;
    until("it takes part", || {
        let nodes = environment.nodes()?;
        let is = nodes.iter().any(|row| row.info.node.0 == node && is_set_up(row));
        Ok(is.then_some(()))
    })?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// A node with a program crashes: milliseconds until that is known and until it runs on another.
fn crash(environment: &mut Environment) -> anyhow::Result<(f64, f64)> {
    environment.ask(&Ask::Drain { node: "1".into(), undo: false, restart: false })?;
    let waits = "command = [\"/bin/sh\", \"-c\", \"while :; do sleep 0.1; done\"]";
    let number = environment.submit("moved", waits, "node-loss = \"restarted\"")?;
    environment.ask(&Ask::Drain { node: "1".into(), undo: true, restart: false })?;
    let lost = [2, 3].into_iter().find(|node| environment.has(*node, armors::EXECUTION));
    ensure!(lost.is_some(), "it runs nowhere");
    let at_ns = wall_ns();
    environment.crash(lost.unwrap_or(2))?;
    // The FTM's word of the node, and the manager's of the program.
    let [detected, ..] = over(environment, at_ns, |event| event.note.app.is_none())?;
    let [.., recovered] = over(environment, at_ns, |event| event.note.app.is_some())?;
    environment.runs_well(number)?;
    Ok((ms(at_ns, detected), ms(at_ns, recovered)))
}

/// Milliseconds of a change from one replica to three, and back.
fn change_modes(environment: &mut Environment) -> anyhow::Result<[f64; 2]> {
    let waits = "command = [\"/bin/sh\", \"-c\", \"while :; do sleep 0.01; done\"]";
    environment.submit("changed", waits, "")?;
    let mut set = |mode: &str| {
        until("its mode is changed", || {
            let values = [("mode".to_owned(), mode.to_owned())].into();
            let start = Instant::now();
            let ask = Ask::Set { app: Some("changed".to_owned()), values };
            // It may just be about to execute another program, which is refused.
            Ok(environment.ask(&ask).ok().map(|_| start.elapsed().as_secs_f64() * 1e3))
        })
    };
    Ok([set("tmr")?, set("simplex")?])
}
