//! `chameleon node`: tokens, enrolment, and what is done with nodes.
//!
//! Invariant: what the authority signs is done in its directory, on its node; what managers must know is asked
//! of the FTM. A revocation counts as soon as the authority has signed it, whether or not there is
//! an FTM. Called by `main`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chameleon_netd::authority::Authority;
use chameleon_netd::enroll;
use chameleon_proto::ask::{Ask, NodeRow, Staying, Told};
use chameleon_proto::ids::NodeId;
use serde_json::json;

use super::asking::Environment;
use super::init::{made, now, reached};
use super::node_file::{Listen, NodeFile};
use super::place::{Place, SYSTEM_SOCKET};
use super::submit::read;
use super::table::table;
use super::units::Units;
use crate::cli::{
    CreateTokenArgs, Directory, DrainArgs, EnrollArgs, NodeArgs, NodeCommand, OneNodeArgs,
    StatusArgs, TokenCommand,
};

/// Does it.
pub fn run(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        NodeCommand::Token(args) => match &args.command {
            TokenCommand::Create(args) => create_token(args),
        },
        NodeCommand::Enroll(args) => enroll(args),
        NodeCommand::List(args) => list(args),
        NodeCommand::Drain(args) => drain(args),
        NodeCommand::Undrain(args) => undrain(args),
        NodeCommand::Revoke(args) => revoke(args),
    }
}

/// The authority of a node's directory.
fn authority(place: &Place) -> anyhow::Result<(NodeFile, Authority)> {
    let file = NodeFile::load(place)?;
    if !place.authority().exists() {
        bail!(
            "the environment's authority is not on this node (there is no {}): do this on its first \
             node",
            place.authority().display()
        );
    }
    Ok((file, Authority::load(&place.authority())?))
}

fn create_token(args: &CreateTokenArgs) -> anyhow::Result<ExitCode> {
    let place = Place::of(&args.place)?;
    let (file, authority) = authority(&place)?;
    let Some(door) = file.authority else {
        bail!(
            "newcomers cannot call: {} says nothing of [authority] and [network]; an environment for \
             several nodes is begun with `chameleon init --listen ADDR:PORT`",
            place.node_file().display()
        );
    };
    let token = authority.new_token(args.ttl, now())?.text();
    if args.json {
        let ttl = args.ttl.as_secs();
        crate::print(&json!({ "token": token, "server": door.address, "ttl": ttl }).to_string())?;
    } else {
        crate::print(&token)?;
        eprintln!(
            "chameleon: on the newcomer: chameleon node enroll --server {} --token-file -",
            door.address
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn enroll(args: &EnrollArgs) -> anyhow::Result<ExitCode> {
    let place = Place::of(&args.place)?;
    let directory = place.directory().display();
    let path = place.new_node_file()?;
    if args.listen.port() == 0 {
        bail!("--listen {}: name a port; other nodes call there", args.listen);
    }
    let units = args.systemd.as_ref();
    let units = units.map(|into| Units::of(&place, into, "node enroll", false)).transpose()?;
    let address = reached(args.listen, args.address.as_deref())?;
    let token = read(&args.token_file)?;
    place.make()?;
    let identity = enroll::enroll(&place.identity(), &args.server, token.trim(), &address)?;
    let file = NodeFile {
        name: args.server.clone(),
        manager: false,
        socket: args.systemd.as_ref().map(|_| SYSTEM_SOCKET.into()),
        users: Vec::new(),
        metrics: args.metrics,
        network: Some(Listen { listen: args.listen, address: address.clone() }),
        authority: None,
    };
    let node = identity.node().0;
    std::fs::write(&path, file.text())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let made = made(&place, units.as_ref())?;
    let object = json!({
        "node": node, "dir": place.directory(), "address": address, "units": made.1,
    });
    let text = format!("this is node {node}, in {directory}\n{}", made.0);
    crate::print(&if args.json { object.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// The nodes.
pub fn ask(environment: &mut Environment) -> anyhow::Result<Vec<NodeRow>> {
    match environment.ask(&Ask::Nodes)? {
        Told::Nodes { nodes } => Ok(nodes),
        _ => bail!(super::NOT_UNDERSTOOD),
    }
}

/// For people.
pub fn text(rows: &[NodeRow]) -> String {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    let row = |row: &NodeRow| {
        let health = row.now.unwrap_or(row.info.health);
        [
            row.info.node.0.to_string(),
            row.info.name.clone(),
            row.standing.clone(),
            format!("{:.2}", f64::from(health.load) / 100.0),
            health.cpus.to_string(),
            format!("{} of {}", gib(health.memory_available), gib(health.memory)),
            row.armors.to_string(),
            row.failures.to_string(),
            row.info.address.clone(),
        ]
    };
    let heads =
        ["NODE", "NAME", "STANDING", "LOAD", "CPUS", "GIB FREE", "ARMORS", "FAILURES", "ADDRESS"];
    table(heads, rows.iter().map(row))
}

fn list(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let rows = ask(&mut Environment::of(&args.place)?)?;
    crate::print(&if args.json { serde_json::to_string(&rows)? } else { text(&rows) })?;
    Ok(ExitCode::SUCCESS)
}

fn undrain(args: &OneNodeArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::Drain { node: args.node.clone(), undo: true, restart: false };
    Environment::of(&args.place)?.order(&ask, args.json)
}

fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let DrainArgs { node: OneNodeArgs { node, place, json }, restart } = args;
    let ask = Ask::Drain { node: node.clone(), undo: false, restart: *restart };
    let told = Environment::of(place)?.ask(&ask)?;
    let Told::Drained { text, there, .. } = &told else { bail!(super::NOT_UNDERSTOOD) };
    let lines: Vec<String> = there.iter().map(|one| staying(one, *restart)).collect();
    let text = [std::slice::from_ref(text), lines.as_slice()].concat().join("\n");
    crate::print(&if *json { serde_json::to_string(&told)? } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// A line about something that is on a drained node.
fn staying(one: &Staying, restart: bool) -> String {
    let run = one.run.as_ref().map_or_else(String::new, |run| format!(" (run {run})"));
    let (what, then) = (&one.what, &one.restart);
    match restart {
        true => format!("{what}{run} {then}"),
        false => format!("{what}{run} stays until it ends; with --restart it {then}"),
    }
}

fn revoke(args: &OneNodeArgs) -> anyhow::Result<ExitCode> {
    let place = Place::of(&Directory { dir: args.place.dir.clone() })?;
    let (_, authority) = authority(&place)?;
    let mut environment = Environment::of(&args.place);
    let node = match (args.node.parse(), &mut environment) {
        (Ok(number), _) => number,
        (Err(_), Ok(environment)) => {
            let rows = ask(environment)?;
            let row = rows.iter().find(|row| row.info.name == args.node);
            let row = row.with_context(|| {
                format!("no node is called {}; `chameleon node list` lists them", args.node)
            })?;
            row.info.node.0
        }
        (Err(_), Err(_)) => bail!(
            "without a daemon a node is known by its number alone; say that instead of {}",
            args.node
        ),
    };
    let (_, count) = authority.revoke(NodeId(node), now())?;
    if count == 0 {
        bail!("node {node} has no certificate that is good; nothing was revoked");
    }
    let told = environment
        .and_then(|mut environment| environment.ask(&Ask::Revoke { node: node.to_string() }));
    let object = json!({
        "node": node, "certificates": count, "forgotten": told.is_ok(),
        "why": told.as_ref().err().map(|error| format!("{error:#}")),
    });
    let mut text = format!("node {node}: {count} certificates are no longer good");
    if let Err(error) = &told {
        text += &format!("\nthe FTM does not know yet: {error:#}");
    }
    crate::print(&if args.json { object.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}
