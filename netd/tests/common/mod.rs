//! What the tests of the daemon share: daemons as processes, commands, waiting for conditions.
#![allow(dead_code, reason = "each test uses a part")]

pub mod cluster;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chameleon_link::{Event, Link};
use chameleon_proto::ids::{ArmorId, Incarnation, NodeId, armors};
use chameleon_proto::message::env::{Install, Installed, Request};
use chameleon_proto::message::{Envelope, Message};

/// The program with the daemon and the ARMOR of the tests.
pub const PROBE: &str = env!("CARGO_BIN_EXE_netd-probe");

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that is a process, in a directory of its own.
pub struct Node {
    pub directory: tempfile::TempDir,
    daemon: Child,
    ping: u64,
    /// ARMORs' processes, to be ended with the test.
    pids: Vec<u32>,
}

impl Node {
    pub fn new() -> Self {
        Self::with_ping(500)
    }

    pub fn with_ping(ping: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let daemon = spawn(directory.path(), ping);
        Self { directory, daemon, ping, pids: Vec::new() }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("daemon.sock")
    }

    pub fn client(&self) -> Link {
        Link::client(&self.socket()).unwrap()
    }

    /// SIGKILL, and nothing else.
    pub fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.daemon = spawn(self.directory.path(), self.ping);
    }

    /// Has an ARMOR installed and waits until it is.
    pub fn install(&mut self, client: &mut Link, armor: ArmorId) -> Installed {
        let install = Install { armor, parameters: String::new(), program: None };
        client.send(daemon(), Message::Install(install)).unwrap();
        let installed = wait(client, |envelope| match &envelope.message {
            Message::Installed(installed) if installed.armor == armor => Some(*installed),
            Message::Refused(refused) => panic!("{}", refused.why),
            _ => None,
        });
        self.pids.push(installed.pid);
        installed
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        end(&self.pids);
    }
}

/// Ends ARMORs' processes, as far as they still are this test's: a number may be another's by now.
pub fn end(pids: &[u32]) {
    for pid in pids {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.starts_with(PROBE.as_bytes()) {
            signal(*pid, rustix::process::Signal::KILL);
        }
    }
}

fn spawn(directory: &Path, ping: u64) -> Child {
    let mut daemon = Command::new(PROBE)
        .args(["daemon", directory.to_str().unwrap(), &ping.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    daemon
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

pub fn daemon() -> ArmorId {
    ArmorId::daemon(NodeId(0))
}

pub fn voter(number: u32) -> ArmorId {
    ArmorId::first(armors::VOTER, number)
}

pub fn life(armor: ArmorId, life: u32) -> ArmorId {
    ArmorId { incarnation: Incarnation(life), ..armor }
}

/// The first message that is what is waited for; pings are answered meanwhile.
pub fn wait<T>(link: &mut Link, mut wanted: impl FnMut(&Envelope) -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match link.receive(Some(Duration::from_secs(1))).unwrap() {
            Some(Event::Message(Envelope { source, message: Message::Ping { nonce }, .. })) => {
                link.send(source, Message::Pong { nonce, calls: 0 }).unwrap();
            }
            Some(Event::Message(envelope)) => {
                if let Some(found) = wanted(&envelope) {
                    return found;
                }
            }
            _ => {}
        }
    }
    panic!("it did not happen");
}

/// Waits until something is so.
pub fn until(mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a request; its answer comes later, if one does.
pub fn tell(link: &mut Link, to: ArmorId, number: u64, text: &str) {
    link.send(to, Message::Request(Request { number, text: text.into() })).unwrap();
}

/// Asks and waits for the answer.
pub fn ask(link: &mut Link, to: ArmorId, number: u64, text: &str) -> String {
    tell(link, to, number, text);
    wait(link, |envelope| match &envelope.message {
        Message::Answer(answer) if answer.number == number => Some(answer.text.clone()),
        Message::Undeliverable(back) if back.destination == to => panic!("{back:?}"),
        Message::Refused(refused) => panic!("{}", refused.why),
        _ => None,
    })
}
