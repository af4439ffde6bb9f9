//! `chameleon init`: the first node of a new environment, with its authority.
//!
//! Invariant: nothing that is there is overwritten; `node.toml` is written last, so a directory that has
//! one is a whole node. Called by `main`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use chameleon_netd::authority::Authority;
use chameleon_netd::identity::Identity;
use serde_json::json;

use super::node_file::{Door, Listen, NodeFile};
use super::place::{Place, SYSTEM_SOCKET};
use super::units::Units;
use crate::cli::InitArgs;

/// Seconds since 1970 (UTC).
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

/// Makes it.
pub fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let place = Place::of(&args.place)?;
    let directory = place.directory().display();
    let path = place.new_node_file()?;
    let units = args.systemd.as_ref();
    let units = units.map(|into| Units::of(&place, into, "init", true)).transpose()?;
    let file = node_file(args)?;
    let door = file.authority.as_ref().map(|door| door.address.clone()).unwrap_or_default();
    place.make()?;
    let authority = Authority::create(&place.authority(), now())?;
    authority.own_identity(&place.identity(), &door, now())?;
    let node = Identity::load(&place.identity())?.node().0;
    fs::write(&path, file.text()).with_context(|| format!("cannot write {}", path.display()))?;
    let made = made(&place, units.as_ref())?;
    let text =
        format!("environment {}: this is node {node}, in {directory}\n{}", file.name, made.0);
    let object = json!({
        "name": file.name, "node": node, "dir": place.directory(), "socket": file.socket(&place),
        "units": made.1,
    });
    crate::print(&if args.json { object.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the units, if there are to be any; lines that say so and what comes next, and the files.
pub fn made(place: &Place, units: Option<&Units>) -> anyhow::Result<(String, Vec<PathBuf>)> {
    let Some(units) = units else {
        return Ok((
            format!("next: chameleon daemon --dir {}", place.directory().display()),
            vec![],
        ));
    };
    let written = units.write()?;
    let lines: Vec<String> =
        written.iter().map(|path| format!("written: {}", path.display())).collect();
    Ok((format!("{}\nnext: {}", lines.join("\n"), units.advice()), written))
}

fn node_file(args: &InitArgs) -> anyhow::Result<NodeFile> {
    let (network, authority) = match args.listen {
        Some(listen) => {
            let (network, door) = listens(listen, args.address.as_deref())?;
            (Some(network), Some(door))
        }
        None => (None, None),
    };
    Ok(NodeFile {
        name: args.name.clone(),
        manager: true,
        socket: args.systemd.as_ref().map(|_| SYSTEM_SOCKET.into()),
        users: Vec::new(),
        metrics: args.metrics,
        network,
        authority,
    })
}

/// Where a node listens, and newcomers call: at the port behind.
fn listens(listen: SocketAddr, address: Option<&str>) -> anyhow::Result<(Listen, Door)> {
    let Some(next) = listen.port().checked_add(1).filter(|_| listen.port() != 0) else {
        bail!("--listen {listen}: name a port from 1 to 65534; the one behind it is for newcomers");
    };
    let address = reached(listen, address)?;
    let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
    let port: u16 = port
        .parse()
        .with_context(|| format!("--address {address}: write HOST:PORT, for example n1:7410"))?;
    let door = Door {
        listen: SocketAddr::new(listen.ip(), next),
        address: format!("{host}:{}", port.saturating_add(1)),
    };
    Ok((Listen { listen, address }, door))
}

/// Where others find one who listens there.
pub fn reached(listen: SocketAddr, address: Option<&str>) -> anyhow::Result<String> {
    if let Some(address) = address {
        return Ok(address.to_owned());
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen.to_string());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("this machine has no name; say --address")?;
    Ok(format!("{}:{}", host.trim(), listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_call_at_the_port_behind() {
        let (network, door) = listens("0.0.0.0:7410".parse().unwrap(), Some("n1:80")).unwrap();
        assert_eq!((network.address.as_str(), door.address.as_str()), ("n1:80", "n1:81"));
        assert_eq!(door.listen, "0.0.0.0:7411".parse().unwrap());
        let (network, door) = listens("[::1]:7410".parse().unwrap(), None).unwrap();
        assert_eq!((network.address.as_str(), door.address.as_str()), ("[::1]:7410", "[::1]:7411"));
        for (listen, address) in
            [("127.0.0.1:0", None), ("127.0.0.1:65535", None), ("127.0.0.1:1", Some("n1"))]
        {
            assert!(listens(listen.parse().unwrap(), address).is_err());
        }
    }
}
