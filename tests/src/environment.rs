//! An environment for a test: nodes in a directory of their own, each with a daemon that is a process of
//! the test's, and the FTM that they start.
//!
//! Invariant: whatever of it runs is found by the mark in its environment, by a parent that has it or by
//! the directory among its arguments, and is ended by its number with the value; nothing else is.
//! Used by the tests of the environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::mark::{self, VARIABLE, descendants, titled, working_in};
use crate::network::{self, Network};
use crate::run::limit;
use crate::{chameleon, output};

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// An environment.
#[derive(Debug)]
pub struct Environment {
    directory: tempfile::TempDir,
    mark: String,
    binary: PathBuf,
    /// Who all of it is, if not the caller.
    user: Option<u32>,
    daemons: RefCell<BTreeMap<u32, Child>>,
    network: Option<Network>,
}

/// An ARMOR of a node, as its daemon keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armor {
    /// Registered number of its type.
    pub kind: u64,
    /// Its number.
    pub number: u64,
    /// How often it was started again.
    pub life: u64,
    /// Its process.
    pub pid: i32,
}

impl Environment {
    /// One node, with its FTM; returns when the FTM answers.
    pub fn start() -> Self {
        let environment = Self::initialised(&[]);
        environment.start_daemon(1, &[]);
        environment.status();
        environment
    }

    /// The same, all of it another user's; the caller is root.
    pub fn start_as(user: u32) -> Self {
        let mut environment = Self::made();
        // Its programs are below directories that may be closed to others.
        environment.binary = environment.path().join("chameleon");
        // By another process: a child of a test beside would have it open for writing for a moment, and it could not be executed.
        let mut copy = Command::new("cp");
        copy.arg(chameleon()).arg(&environment.binary);
        assert!(output(copy).status.success(), "the file can be copied");
        environment.open();
        chown(environment.path(), Some(user), Some(user)).expect("the owner can be set");
        environment.user = Some(user);
        environment.done(&["init"]);
        environment.start_daemon(1, &[]);
        environment.status();
        environment
    }

    /// Other users may go through its directory.
    pub fn open(&self) {
        let mode = fs::Permissions::from_mode(0o711);
        fs::set_permissions(self.path(), mode).expect("the mode can be set");
    }

    fn made() -> Self {
        Self::in_network(mark::fresh(), None)
    }

    fn in_network(mark: String, network: Option<Network>) -> Self {
        let directory = tempfile::Builder::new().prefix("env-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        let binary = chameleon().to_owned();
        Self { directory, mark, binary, user: None, daemons: RefCell::default(), network }
    }

    /// The first node is made and nothing is started.
    pub fn initialised(options: &[&str]) -> Self {
        let environment = Self::made();
        environment.done(&[&["init"][..], options].concat());
        environment
    }

    /// A directory that is the environment's: nodes, and what tests put beside them.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory for files of this name, made now.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        path
    }

    /// The directory of a node.
    pub fn node(&self, node: u32) -> PathBuf {
        self.path().join(format!("node{node}"))
    }

    /// A command about the environment, as given on a node.
    pub fn command_on(&self, node: u32, words: &[&str]) -> Command {
        let mut command = match &self.network {
            Some(network) => network.command(node, &self.binary),
            None => Command::new(&self.binary),
        };
        command.args(words);
        self.prepare(&mut command, node);
        command
    }

    /// A command on the first node.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_on(1, words)
    }

    fn prepare(&self, command: &mut Command, node: u32) {
        let runtime = self.scratch(&format!("runtime{node}"));
        if let Some(user) = self.user {
            chown(&runtime, Some(user), Some(user)).expect("the owner can be set");
            command.uid(user).gid(user);
        }
        command.env("CHAMELEON_DIR", self.node(node)).env("XDG_RUNTIME_DIR", runtime);
        command.env(VARIABLE, &self.mark).current_dir(self.path());
    }

    /// What a command on the first node said and how it ended.
    pub fn output(&self, words: &[&str]) -> Output {
        output(self.command(words))
    }

    /// What a command on the first node said; it must succeed.
    #[track_caller]
    pub fn done(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {}: {error}\n{}", output.status, self.logs());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a command with `--json` said; it must succeed.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.done(&[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    /// `chameleon status --json`, as soon as the FTM answers.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.until("the FTM answers", || {
            let output = self.output(&["status", "--json"]);
            output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
        })
    }

    /// Waits until there is such a value.
    ///
    /// # Panics
    /// After the limit of a run, with the daemons' logs.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut value: impl FnMut() -> Option<T>) -> T {
        let (start, limit) = (Instant::now(), limit().min(Duration::from_secs(60)));
        loop {
            if let Some(value) = value() {
                return value;
            }
            assert!(start.elapsed() < limit, "not in time: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the daemon of a node; returns when its socket is there.
    #[track_caller]
    pub fn start_daemon(&self, node: u32, options: &[&str]) {
        let mut command = self.command_on(node, &["daemon"]);
        let log = File::options().create(true).append(true).open(self.log(node));
        let log = log.expect("a file can be made");
        let second = log.try_clone().expect("a descriptor can be had");
        command.args(options).stdin(Stdio::null()).stdout(log).stderr(second).process_group(0);
        let child = command.spawn().expect("the daemon starts");
        self.daemons.borrow_mut().insert(node, child);
        self.until("the daemon listens", || {
            std::os::unix::net::UnixStream::connect(self.node(node).join("daemon.sock")).ok()
        });
    }

    /// The process of a node's daemon.
    pub fn daemon(&self, node: u32) -> i32 {
        self.daemons.borrow()[&node].id() as i32
    }

    /// Ends the daemon of a node with this signal, and waits for it.
    pub fn end_daemon(&self, node: u32, signal: Signal) {
        if let Some(mut child) = self.daemons.borrow_mut().remove(&node) {
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
            let _ = child.wait();
        }
    }

    /// A node crashes: its daemon, its ARMORs and all that they started end at once.
    pub fn crash(&self, node: u32) {
        let processes = descendants(self.armors(node).iter().map(|armor| armor.pid).collect());
        // The daemon first: it has no time to tell of the others.
        self.end_daemon(node, Signal::SIGKILL);
        processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
    }

    /// Lets one more node in, numbered by the order; its daemon is not started.
    #[track_caller]
    pub fn join(&self, node: u32) {
        let server = fs::read_to_string(self.node(1).join("node.toml")).expect("it is there");
        let server = server.rsplit_once("address = \"").expect("it listens").1;
        let server = server.split('"').next().expect("it is quoted");
        let token = self.done(&["node", "token", "create"]);
        let file = self.path().join("token");
        fs::write(&file, token).expect("a file can be written");
        let listen = self.network.as_ref().map_or_else(loopback, |_| network::listen(node));
        let file = file.to_string_lossy();
        let words =
            ["node", "enroll", "--server", server, "--token-file", &file, "--listen", &listen];
        let output = output(self.command_on(node, &words));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Nodes on the loopback address, all with their daemons; returns when the FTM knows them.
    #[track_caller]
    pub fn of_nodes(nodes: u32) -> Self {
        Self::initialised(&["--listen", &loopback()]).with_nodes(nodes)
    }

    /// As [`Environment::of_nodes`], each node in a network namespace with a link to one switch. Nothing where
    /// namespaces cannot be had, which is said.
    #[track_caller]
    pub fn on_a_network(nodes: u32) -> Option<Self> {
        let mark = mark::fresh();
        let network = Network::new(nodes, &mark)?;
        let environment = Self::in_network(mark, Some(network));
        environment.done(&["init", "--listen", &network::listen(1)]);
        Some(environment.with_nodes(nodes))
    }

    #[track_caller]
    fn with_nodes(self, nodes: u32) -> Self {
        self.start_daemon(1, &[]);
        self.status();
        for node in 2..=nodes {
            self.join(node);
            self.start_daemon(node, &[]);
        }
        let up = |status: Value| status["nodes"][0].as_u64() == Some(u64::from(nodes));
        self.until("all nodes are up", || up(self.status()).then_some(()));
        self
    }

    /// Cuts the link of a node to the switch, or mends it.
    pub fn link(&self, node: u32, up: bool) {
        self.network.as_ref().expect("it is on a network").link(node, up);
    }

    /// The switch fails, or works again.
    pub fn switch(&self, up: bool) {
        self.network.as_ref().expect("it is on a network").switch(up);
    }

    /// The ARMORs of a node whose processes its daemon knows.
    pub fn armors(&self, node: u32) -> Vec<Armor> {
        let file = fs::read(self.node(node).join("state/daemon.json")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&file).unwrap_or_default();
        let armor = |kept: &Value| {
            let id = &kept["armor"];
            Some(Armor {
                kind: id["kind"].as_u64()?,
                number: id["number"].as_u64()?,
                life: id["incarnation"].as_u64()?,
                pid: i32::try_from(kept["process"][0].as_u64()?).ok()?,
            })
        };
        state["armors"].as_array().into_iter().flatten().filter_map(armor).collect()
    }

    /// The first ARMOR of a type on a node, as soon as there is one.
    #[track_caller]
    pub fn armor(&self, node: u32, kind: u64) -> Armor {
        self.until("the ARMOR is there", || {
            self.armors(node).into_iter().find(|armor| armor.kind == kind)
        })
    }

    /// The file with the log of a node's daemon and its ARMORs.
    pub fn log(&self, node: u32) -> PathBuf {
        self.path().join(format!("node{node}.log"))
    }

    /// All logs, for a person.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for node in 1.. {
            let Ok(log) = fs::read_to_string(self.log(node)) else { break };
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            text += &format!("log of node {node}:\n{last}\n");
        }
        text
    }

    /// All processes of the environment that live.
    pub fn processes(&self) -> Vec<mark::Marked> {
        let mut found = mark::marked(&self.mark);
        found.extend(titled(&self.path().to_string_lossy()));
        // Runs have an environment and titles of their own, and one whose ARMOR was killed has no parent here.
        found.extend(working_in(self.path()));
        descendants(found.iter().map(|process| process.pid).collect())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let start = Instant::now();
        loop {
            let left = self.processes();
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            for child in self.daemons.borrow_mut().values_mut() {
                let _ = child.try_wait();
            }
            if left.is_empty() {
                break;
            }
            // A failed test says why it failed; this would only hide it.
            if start.elapsed() > PATIENCE && !std::thread::panicking() {
                panic!("these cannot be ended: {left:?}");
            }
            if start.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Two ports of the loopback address that were free a moment ago, the second behind the first.
fn loopback() -> String {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let port = listener.local_addr().expect("it is bound").port();
        let next = port.checked_add(1).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let Some(Ok(_)) = next {
            return format!("127.0.0.1:{port}");
        }
    }
    panic!("no two ports beside each other are free");
}
