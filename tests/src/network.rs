//! Nodes of a test as network namespaces, each with a link to one switch, which is a bridge in a namespace of its own.
//!
//! ```text
//!   node 1: eth0 10.77.0.1 ──veth── p1 ┐
//!   node 2: eth0 10.77.0.2 ──veth── p2 ┤ br0   (the switch)
//!   node 3: eth0 10.77.0.3 ──veth── p3 ┘
//! ```
//!
//! Invariant: nothing of it is in the machine's own network, and no namespace has a name: each is there as long
//! as a process that holds it (which ends with the thread of its test, however that ends), and its links with it. Used by `environment`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::unistd::Uid;

use crate::mark::VARIABLE;
use crate::{have, output};

/// The port of a daemon; newcomers call at the one behind it.
const PORT: u16 = 7410;

/// A switch and the nodes at it.
#[derive(Debug)]
pub(crate) struct Network {
    switch: Namespace,
    /// The first is node 1.
    nodes: Vec<Namespace>,
}

/// A network namespace: of the process that holds it.
#[derive(Debug)]
struct Namespace(Child);

impl Network {
    /// So many nodes. Nothing, and a word of it, where namespaces cannot be had.
    pub(crate) fn new(nodes: u32, mark: &str) -> Option<Self> {
        if !have(&["ip", "nsenter", "unshare", "setpriv"]) {
            return None;
        }
        if !Uid::effective().is_root() {
            println!("skipped: only root can make network namespaces");
            return None;
        }
        let Some(switch) = Namespace::new(mark) else {
            println!("skipped: this machine lets nobody make network namespaces");
            return None;
        };
        let nodes = (0..nodes).map(|_| Namespace::new(mark)).collect::<Option<Vec<_>>>();
        let network = Self { switch, nodes: nodes.expect("more namespaces can be made") };
        network.switch.ip("link add br0 type bridge stp_state 0");
        network.switch.ip("link set br0 up");
        for node in 1..=network.nodes.len() as u32 {
            let at = network.at(node);
            network
                .switch
                .ip(&format!("link add p{node} type veth peer name eth0 netns {}", at.pid()));
            network.switch.ip(&format!("link set p{node} master br0 up"));
            at.ip(&format!("address add {}/24 dev eth0", address(node)));
            at.ip("link set eth0 up");
        }
        Some(network)
    }

    fn at(&self, node: u32) -> &Namespace {
        &self.nodes[node as usize - 1]
    }

    /// A command that is to be given words, on a node.
    pub(crate) fn command(&self, node: u32, program: &std::path::Path) -> Command {
        let mut command = self.at(node).command();
        command.arg(program);
        command
    }

    /// The link of a node to the switch is cut, or mended.
    pub(crate) fn link(&self, node: u32, up: bool) {
        self.switch.ip(&format!("link set p{node} {}", if up { "up" } else { "down" }));
    }

    /// The switch fails, or works again.
    pub(crate) fn switch(&self, up: bool) {
        self.switch.ip(&format!("link set br0 {}", if up { "up" } else { "down" }));
    }
}

/// Where the daemon of a node listens.
pub(crate) fn listen(node: u32) -> String {
    format!("{}:{PORT}", address(node))
}

fn address(node: u32) -> String {
    format!("10.77.0.{node}")
}

impl Namespace {
    /// One more, with its loopback device; nothing if that cannot be.
    fn new(mark: &str) -> Option<Self> {
        let mut command = Command::new("setpriv");
        // The thread that makes it is that of the test, and ends with it.
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c"]);
        command.arg("ip link set lo up && echo there && exec sleep infinity");
        command.env(VARIABLE, mark).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv starts");
        let mut line = String::new();
        let said = child.stdout.take().map(|said| BufReader::new(said).read_line(&mut line));
        let namespace = Self(child);
        (matches!(said, Some(Ok(1..))) && line == "there\n").then_some(namespace)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What follows is run in it, as the process that is started.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--net", "--"]);
        command
    }

    #[track_caller]
    fn ip(&self, words: &str) {
        let mut command = self.command();
        command.arg("ip").args(words.split(' '));
        let output = output(command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {words}: {error}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
