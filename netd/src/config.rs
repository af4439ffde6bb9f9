//! What a daemon is told when it is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chameleon_proto::ids::NodeId;

use crate::identity::Identity;

/// What a daemon is told when it is started.
#[derive(Debug)]
pub struct Config {
    /// The unix socket for ARMORs and commands of this node. Its directory must exist.
    pub socket: PathBuf,
    /// The directory for what must survive the daemon; made if it is not there, open to its user
    /// alone.
    pub state: PathBuf,
    /// The program and first arguments of an ARMOR of the project's own; the name of the type follows:
    /// `chameleon armor`.
    pub program: Vec<String>,
    /// Users, besides root and the daemon's own, whose commands are taken.
    pub users: Vec<u32>,
    /// Where other daemons call, and who this node is for them; nothing for a node that has joined no environment.
    pub network: Option<Network>,
    /// The environment's authority, if it is on this node.
    pub authority: Option<Own>,
    /// Where Prometheus reads: a loopback address.
    pub metrics: Option<SocketAddr>,
    /// Its numbers.
    pub settings: Settings,
}

/// The authority of the environment on this node.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its directory.
    pub directory: PathBuf,
    /// Where newcomers call.
    pub listen: SocketAddr,
}

/// A node among others.
#[derive(Debug)]
pub struct Network {
    /// Where the daemon listens for others; nothing for an environment of one node.
    pub listen: Option<SocketAddr>,
    /// Where others find it: `host:port`; empty if it does not listen.
    pub address: String,
    /// Its key and certificate.
    pub identity: Identity,
    /// Nodes that are known before the FTM tells of any, and where their daemons listen.
    pub nodes: Vec<(NodeId, String)>,
}

/// Numbers that a daemon goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two pings of an ARMOR (`armor.ping`).
    pub ping: Duration,
    /// Pings without an answer that make a hang (`armor.misses`).
    pub misses: u32,
    /// How long an ARMOR may take from its start to its first message, or to call again after the daemon
    /// was restarted.
    pub hello: Duration,
    /// How long an ARMOR may take to end when it is told to, before SIGTERM, and again before SIGKILL.
    pub leave: Duration,
    /// Bytes that wait for one receiver at most.
    pub queue: usize,
    /// Connections that have not said yet who they are, at most.
    pub strangers: usize,
    /// How long a frame waits for the FTM to say where its receiver is.
    pub whereis: Duration,
    /// How long a call of another node may take.
    pub call: Duration,
    /// Between two calls of a node that does not answer: at first, and at most.
    pub back_off: (Duration, Duration),
    /// How long before its end a certificate is renewed, as a part of its life: one in so many.
    pub renew_at: u32,
    /// Between two looks at whether something of the certificates is due or new.
    pub renew_look: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping: Duration::from_millis(500),
            misses: 3,
            hello: Duration::from_secs(5),
            leave: Duration::from_secs(2),
            queue: 4 << 20,
            strangers: 64,
            whereis: Duration::from_secs(1),
            call: Duration::from_secs(1),
            back_off: (Duration::from_millis(50), Duration::from_secs(1)),
            renew_at: 3,
            renew_look: Duration::from_secs(5),
        }
    }
}
