//! Several nodes on the loopback address, each daemon a thread of the test.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chameleon_link::Link;
use chameleon_netd::authority::Authority;
use chameleon_netd::identity::Identity;
use chameleon_netd::{Config, Listening, Network, Own, Settings, enroll};
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::Install;
use tokio::sync::oneshot;

use super::{PROBE, end, wait};

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A daemon that is a thread.
pub struct Member {
    pub node: NodeId,
    pub directory: PathBuf,
    pub listening: Listening,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// ARMORs' processes, to be ended with the test.
    pids: RefCell<Vec<u32>>,
}

impl Member {
    pub fn socket(&self) -> PathBuf {
        self.directory.join("daemon.sock")
    }

    pub fn client(&self) -> Link {
        Link::client(&self.socket()).unwrap()
    }

    /// Has an ARMOR installed by a command of this node.
    pub fn install(&self, client: &mut Link, armor: ArmorId) {
        let install = Install { armor, parameters: String::new(), program: None };
        client.send(ArmorId::daemon(self.node), Message::Install(install)).unwrap();
        let pid = wait(client, |envelope| match &envelope.message {
            Message::Installed(installed) if installed.armor == armor => Some(installed.pid),
            Message::Refused(refused) => panic!("{}", refused.why),
            _ => None,
        });
        self.pids.borrow_mut().push(pid);
    }

    pub fn address(&self) -> String {
        self.listening.network.unwrap().to_string()
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The value of a row of the metrics.
    pub fn metric(&self, row: &str) -> u64 {
        let text = scrape(self.listening.metrics.unwrap());
        let line = text.lines().find_map(|line| line.strip_prefix(row));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
        end(&self.pids.borrow());
    }
}

pub fn scrape(at: SocketAddr) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// An environment: its authority, whose own node is the first member.
pub struct Cluster {
    pub directory: tempfile::TempDir,
    pub settings: Settings,
    pub life: Duration,
    pub members: Vec<Member>,
}

impl Cluster {
    pub fn new() -> Self {
        Self::with(Settings { renew_look: Duration::from_millis(50), ..Settings::default() }, None)
    }

    /// With these settings, and certificates of so short a life for all but the first.
    pub fn with(settings: Settings, life: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(&directory.path().join("authority"), now()).unwrap();
        let node = directory.path().join("node1");
        authority.own_identity(&node.join("identity"), "", now()).unwrap();
        let life = life.unwrap_or(chameleon_netd::authority::LIFE);
        let mut cluster = Self { directory, settings, life, members: Vec::new() };
        let own = Own {
            directory: cluster.directory.path().join("authority"),
            listen: "127.0.0.1:0".parse().unwrap(),
        };
        let member = cluster.start(node, Some(own), Vec::new());
        cluster.members.push(member);
        cluster
    }

    pub fn authority(&self) -> Authority {
        Authority::load(&self.directory.path().join("authority")).unwrap().with_life(self.life)
    }

    /// Where newcomers call.
    pub fn door(&self) -> String {
        self.members[0].listening.authority.unwrap().to_string()
    }

    /// Enrols one more node and starts its daemon, which knows the others and they it.
    pub fn join(&mut self) {
        let node = self.directory.path().join(format!("node{}", self.members.len() + 1));
        std::fs::create_dir(&node).unwrap();
        let token = self.authority().new_token(Duration::from_secs(60), now()).unwrap();
        // The port is known only when it listens; it is told below.
        enroll::enroll(&node.join("identity"), &self.door(), &token.text(), "").unwrap();
        let known = self.members.iter().map(|member| (member.node, member.address())).collect();
        let member = self.start(node, None, known);
        self.members.push(member);
    }

    /// Starts a daemon in a directory with an identity.
    pub fn start(
        &self,
        directory: PathBuf,
        authority: Option<Own>,
        nodes: Vec<(NodeId, String)>,
    ) -> Member {
        let identity = Identity::load(&directory.join("identity")).unwrap();
        let node = identity.node();
        let config = Config {
            socket: directory.join("daemon.sock"),
            state: directory.join("state"),
            program: vec![PROBE.into(), "armor".into()],
            users: vec![],
            network: Some(Network {
                listen: Some("127.0.0.1:0".parse().unwrap()),
                address: String::new(),
                identity,
                nodes,
            }),
            authority,
            metrics: Some("127.0.0.1:0".parse().unwrap()),
            settings: self.settings,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (send, ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let ready = |listening| send.send(listening).unwrap();
            let stop = async {
                let _ = stopped.await;
            };
            chameleon_netd::run(config, ready, stop).unwrap();
        });
        let listening = ready.recv().unwrap();
        Member {
            node,
            directory,
            listening,
            stop: Some(stop),
            thread: Some(thread),
            pids: RefCell::default(),
        }
    }
}
