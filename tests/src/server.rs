//! Servers: started, waited for, put under load by plain clients, hit by a fault, ended by SIGTERM.
//!
//! Invariant: clients are native and limited in time; what a server was hit by is in its report, and
//! nothing else is. Used by `tests/servers.rs`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::outcome::{Ending, Outcome};
use crate::run::{self, Running, until};
use crate::scenario::Scenario;

/// How long a reply may take: it never decides a result but that of a server that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a server while it is under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// `kill -9` of the process that votes, which is Chameleon's own.
    KillArmor,
    /// `kill -9` of a replica of its first process.
    KillFirst,
    /// `kill -9` of a replica of its youngest process.
    KillLast,
    /// The one that `--inject` was given, which makes a replica crash.
    Injected,
}

/// A server under way.
#[derive(Debug)]
pub struct Server<'a> {
    scenario: &'a Scenario,
    running: Running,
    fault: Fault,
}

impl<'a> Server<'a> {
    /// Starts it and waits until it can be connected to.
    ///
    /// # Panics
    /// If it ends instead.
    #[track_caller]
    pub fn start(scenario: &'a Scenario, mode: &str, port: u16, fault: Fault) -> Self {
        let mut running = scenario.start(mode);
        let up = until(|| connect(port).is_ok() || !running.goes_on());
        if !up || !running.goes_on() {
            let outcome = scenario.finish(running);
            panic!("{mode}: the server ended: {}: {}", outcome.ending, outcome.err());
        }
        Self { scenario, running, fault }
    }

    /// Runs a load, with the fault in its midst.
    pub fn under_load<T: Send>(&self, load: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let load = scope.spawn(load);
            // Somewhere in the load; nothing depends on where.
            std::thread::sleep(Duration::from_millis(300));
            let before = self.running.has_told("outvoted");
            self.kill();
            // The youngest process may have been about to end, so that nobody missed the replica.
            while self.fault == Fault::KillLast && !load.is_finished() && !self.noticed(before) {
                self.kill();
            }
            load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether each process of the program has so many replicas again, though no client asks for
    /// anything: then the next fault is masked as the first one was.
    pub fn is_whole(&self, replicas: usize) -> bool {
        until(|| self.running.replicas().len() == replicas * self.running.program().len())
    }

    /// Whether the report tells of one more replica taken out, within a second.
    fn noticed(&self, before: usize) -> bool {
        let start = Instant::now();
        let mut told = false;
        while !told && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(5));
            told = self.running.has_told("outvoted") > before;
        }
        told
    }

    fn kill(&self) {
        let mut replicas = self.running.replicas();
        replicas.sort_by_key(|replica| replica.pid);
        let armors = self.running.processes();
        let victim = match self.fault {
            Fault::KillArmor => armors.iter().find(|process| process.is_armor("EXECUTION")),
            Fault::KillFirst => replicas.first(),
            Fault::KillLast => replicas.last(),
            Fault::None | Fault::Injected => return,
        };
        victim.expect("the victim is there").signal(Signal::SIGKILL);
    }

    /// Sends the server's process a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ends it by SIGTERM, and looks at what it said of the fault: it was masked.
    ///
    /// # Panics
    /// If it ends otherwise, if the report does not tell of the fault, or tells of another.
    #[track_caller]
    pub fn stop(self, ending: Ending) -> Outcome {
        self.running.signal(Signal::SIGTERM);
        let outcome = self.scenario.finish(self.running);
        outcome.ended(ending);
        let (report, text) = (&outcome.report, outcome.report.text());
        if self.fault == Fault::None {
            assert!(report.disturbances().is_empty(), "an undisturbed server reports:\n{text}");
            return outcome;
        }
        if self.fault == Fault::KillArmor {
            let takeovers = report.count("takeover");
            assert!(takeovers >= 1, "nobody took over:\n{text}");
            assert_eq!(report.disturbances().len(), takeovers, "{text}");
            return outcome;
        }
        assert!(report.count("outvoted") >= 1, "nobody was taken out:\n{text}");
        assert!(report.count("repaired") >= 1, "nobody was replaced:\n{text}");
        assert_eq!(report.count("lost_majority"), 0, "{text}");
        if self.fault == Fault::Injected {
            assert!(report.count("injected") >= 1, "no fault was put in:\n{text}");
        }
        outcome
    }
}

/// Runs a client to its end and returns its stdout.
///
/// # Panics
/// If it fails or takes too long.
#[track_caller]
pub fn client(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("LC_ALL", "C");
    let output = run::output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}\nstdout: {}\nstderr: {}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)
}

/// A client that sends bytes and reads what it expects.
#[derive(Debug)]
pub struct Talk(TcpStream);

impl Talk {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    #[track_caller]
    pub fn with(port: u16) -> Self {
        let stream = connect(port).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit can be set");
        stream.set_nodelay(true).expect("the delay can be set");
        Self(stream)
    }

    /// Sends a request and requires exactly this reply.
    ///
    /// # Panics
    /// If another reply comes, none, or the connection ends.
    #[track_caller]
    pub fn says(&mut self, request: &[u8], reply: &[u8]) {
        self.0.write_all(request).expect("the connection is there");
        let mut got = vec![0; reply.len()];
        let outcome = self.0.read_exact(&mut got);
        let shown = String::from_utf8_lossy(&got);
        assert!(outcome.is_ok(), "{outcome:?}: after {:?}", shown.trim_end_matches('\0'));
        assert!(got == reply, "{shown:?} instead of {:?}", String::from_utf8_lossy(reply));
    }

    /// Fetches a page over HTTP/1.1 and keeps the connection.
    ///
    /// # Panics
    /// If the status is not 200, the length is not given, or the connection ends.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Vec<u8> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).expect("the connection is there");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a head comes");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 200 ") || head.starts_with("http/1.0 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|text| text.trim().parse().ok()).expect("a length");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body comes");
        body
    }
}
