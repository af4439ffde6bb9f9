//! `node.toml`: what a node's daemon is told when it is started.
//!
//! Invariant: a key that is not known is refused, with what is allowed; what `init` and `node enroll`
//! write is what is read here. Used by the daemon, and by commands to find it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use chameleon_netd::identity::Identity;
use chameleon_netd::{Config, Network, Own, Settings};
use serde::Deserialize;

use super::place::Place;

/// A node's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// What the environment is called.
    pub name: String,
    /// Whether the FTM is on this node.
    #[serde(default)]
    pub manager: bool,
    /// The socket for ARMORs and commands of this node.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Users (numbers), besides root and the daemon's own, whose commands are taken.
    #[serde(default)]
    pub users: Vec<u32>,
    /// Where Prometheus reads.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Other nodes.
    #[serde(default)]
    pub network: Option<Listen>,
    /// Newcomers.
    #[serde(default)]
    pub authority: Option<Door>,
}

/// How other nodes reach this one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Where the daemon listens for others.
    pub listen: SocketAddr,
    /// Where others find it: `host:port`.
    pub address: String,
}

/// Where the authority lets newcomers in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where newcomers find it: `host:port`.
    pub address: String,
}

impl NodeFile {
    /// That of a node.
    pub fn load(place: &Place) -> anyhow::Result<Self> {
        let path = place.node_file();
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "{shown} is not there: {} is no node of an environment; `chameleon init` begins an \
                 environment, `chameleon node enroll` joins one",
                place.directory().display()
            ),
            read => read.with_context(|| format!("cannot read {shown}"))?,
        };
        toml::from_str(&text).with_context(|| format!("{shown} cannot be understood"))
    }

    /// As text, for people to read and change.
    pub fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!(
            "# A node of a Chameleon environment (docs/environment.md). The daemon reads it when it starts.\n\
             name = {}\n\
             # Whether the environment's FTM is on this node.\n\
             manager = {}\n",
            quoted(&self.name),
            self.manager
        );
        text += "# The socket for commands; without it DIR/daemon.sock.\n";
        match &self.socket {
            Some(socket) => text += &format!("socket = {}\n", quoted(&socket.to_string_lossy())),
            None => text += &format!("# socket = \"{}\"\n", super::place::SYSTEM_SOCKET),
        }
        text += "# Users (numbers), besides root and the daemon's own, whose commands are taken.\n";
        text += &format!("users = {:?}\n", self.users);
        text += "# Where Prometheus reads: an address of this machine alone.\n";
        match &self.metrics {
            Some(at) => text += &format!("metrics = \"{at}\"\n"),
            None => text += "# metrics = \"127.0.0.1:9464\"\n",
        }
        text += "\n# Where the daemon listens for other nodes, and where they find it.\n";
        match &self.network {
            Some(Listen { listen, address }) => {
                text +=
                    &format!("[network]\nlisten = \"{listen}\"\naddress = {}\n", quoted(address));
            }
            None => {
                text +=
                    "# [network]\n# listen = \"0.0.0.0:7410\"\n# address = \"this-host:7410\"\n";
            }
        }
        if let Some(Door { listen, address }) = &self.authority {
            text += "\n# Where newcomers call.\n";
            text += &format!("[authority]\nlisten = \"{listen}\"\naddress = {}\n", quoted(address));
        }
        text
    }

    /// The daemon's socket.
    pub fn socket(&self, place: &Place) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| place.socket())
    }

    /// What the daemon is told.
    pub fn config(&self, place: &Place) -> anyhow::Result<Config> {
        let identity = Identity::load(&place.identity())?;
        let nodes = identity.joined().nodes.clone();
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let program = program.to_string_lossy().into_owned();
        let (listen, address) = match &self.network {
            Some(network) => (Some(network.listen), network.address.clone()),
            None => (None, String::new()),
        };
        Ok(Config {
            socket: self.socket(place),
            state: place.state(),
            program: vec![program, "armor".to_owned()],
            users: self.users.clone(),
            network: Some(Network { listen, address, identity, nodes }),
            authority: self
                .authority
                .as_ref()
                .map(|door| Own { directory: place.authority(), listen: door.listen }),
            metrics: self.metrics,
            settings: Settings::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let alone = NodeFile {
            name: "a \"quoted\" name".into(),
            manager: true,
            socket: None,
            users: vec![],
            metrics: None,
            network: None,
            authority: None,
        };
        assert_eq!(toml::from_str::<NodeFile>(&alone.text()).unwrap(), alone);
        let full = NodeFile {
            socket: Some("/run/chameleon/daemon.sock".into()),
            users: vec![1000, 1001],
            metrics: Some("127.0.0.1:9464".parse().unwrap()),
            network: Some(Listen {
                listen: "[::]:7410".parse().unwrap(),
                address: "n1:7410".into(),
            }),
            authority: Some(Door {
                listen: "[::]:7411".parse().unwrap(),
                address: "n1:7411".into(),
            }),
            ..alone
        };
        assert_eq!(toml::from_str::<NodeFile>(&full.text()).unwrap(), full);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<NodeFile>("name = \"x\"\nsokket = \"y\"\n").unwrap_err();
        assert!(error.to_string().contains("sokket"), "{error}");
    }
}
