//! An environment in the work directory: its nodes, their daemons, and what people ask it.
//!
//! Invariant: all of its processes are the copy of chameleon in the work directory, or end with one that is;
//! they have ended when the value is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use chameleon_link::{Event, Link};
use chameleon_proto::ask::{Ask, NodeRow, Numbered, Told};
use chameleon_proto::ids::{ArmorType, NodeId};
use chameleon_proto::message::env::{AppState, Request};
use chameleon_proto::message::{Envelope, Message};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::launch::Bench;
use crate::bench::procs;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// An environment.
pub struct Environment {
    directory: PathBuf,
    chameleon: PathBuf,
    daemons: BTreeMap<u32, Child>,
    /// To the daemon of the first node.
    link: Link,
    asked: u64,
}

/// Nanoseconds since 1970 (UTC), as in events.
pub fn wall_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// Milliseconds from one such time to another.
pub fn ms(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns as f64 - from_ns as f64) / 1e6
}

/// Ends a process at once.
pub fn end(pid: i32) {
    // One that has ended meanwhile needs no more.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Waits until there is such a value.
pub fn until<T>(
    what: &str,
    mut value: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = value()? {
            return Ok(value);
        }
        ensure!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(LOOK);
    }
}

impl Environment {
    /// So many nodes on the loopback address, all of which are up.
    pub fn start(bench: &Bench, nodes: u32) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("env-").tempdir_in(bench.path("."))?.keep();
        let listen = loopback()?;
        let mut first = command(&bench.chameleon, &directory, 1, &["init", "--listen", &listen]);
        done(&mut first)?;
        let daemon = daemon(&bench.chameleon, &directory, 1)?;
        // From here on whatever fails, the daemon is ended.
        let ending = Ending(Some((bench.chameleon.clone(), daemon)));
        let socket = directory.join("node1/daemon.sock");
        let link = until("the daemon listens", || Ok(Link::client(&socket).ok()))?;
        let mut environment = Self {
            directory,
            chameleon: bench.chameleon.clone(),
            daemons: ending.into_daemons(),
            link,
            asked: 0,
        };
        environment.managers()?;
        environment.grow(nodes)?;
        Ok(environment)
    }

    /// The first node is joined by others until there are so many, and all are up.
    pub fn grow(&mut self, nodes: u32) -> anyhow::Result<()> {
        for node in 2..=nodes {
            self.join(node, &own_address(node))?;
            self.start_daemon(node)?;
        }
        until("all nodes are up", || {
            let up = self.nodes()?.iter().filter(|node| is_set_up(node)).count();
            Ok((up == nodes as usize).then_some(()))
        })
    }

    /// The directory of a node.
    pub fn node(&self, node: u32) -> PathBuf {
        self.directory.join(format!("node{node}"))
    }

    /// A directory for files of an application.
    pub fn scratch(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The socket of the first node's daemon.
    pub fn socket(&self) -> PathBuf {
        self.node(1).join("daemon.sock")
    }

    /// Waits for the FTM and its backup.
    pub fn managers(&mut self) -> anyhow::Result<()> {
        until("FTM and backup", || match self.ask(&Ask::Status) {
            Ok(Told::Status(status)) => Ok(status.backup.map(|_| ())),
            // There is none yet.
            _ => Ok(None),
        })
    }

    /// A connection of its own, to the first node.
    pub fn link(&self) -> anyhow::Result<Link> {
        Ok(Link::client(&self.socket())?)
    }

    /// A command on a node, done.
    pub fn command(&self, node: u32, words: &[&str]) -> anyhow::Result<String> {
        done(&mut command(&self.chameleon, &self.directory, node, words))
    }

    /// Where newcomers call.
    pub fn door(&self) -> anyhow::Result<String> {
        let file = fs::read_to_string(self.node(1).join("node.toml"))?;
        let (_, door) = file.rsplit_once("address = \"").context("nobody is let in")?;
        Ok(door.split('"').next().unwrap_or_default().to_owned())
    }

    /// Lets one more node in, numbered in order; its daemon is not started.
    pub fn join(&self, node: u32, listen: &str) -> anyhow::Result<()> {
        let token = self.command(1, &["node", "token", "create"])?;
        let file = self.directory.join("token");
        fs::write(&file, token)?;
        let (door, file) = (self.door()?, file.to_string_lossy().into_owned());
        let words =
            ["node", "enroll", "--server", &door, "--token-file", &file, "--listen", listen];
        self.command(node, &words)?;
        Ok(())
    }

    /// Starts the daemon of a node.
    pub fn start_daemon(&mut self, node: u32) -> anyhow::Result<()> {
        let child = daemon(&self.chameleon, &self.directory, node)?;
        self.daemons.insert(node, child);
        Ok(())
    }

    /// Ends the daemon of a node at once.
    pub fn end_daemon(&mut self, node: u32) -> anyhow::Result<()> {
        let mut child = self.daemons.remove(&node).context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A node crashes: its daemon, its ARMORs and what they run end at once.
    pub fn crash(&mut self, node: u32) -> anyhow::Result<()> {
        let armors = self.armors(node);
        let runs = self.runs(node)?;
        // The daemon first: it has no time to tell of the others.
        self.end_daemon(node)?;
        armors.iter().for_each(|(_, _, pid)| end(*pid));
        runs.into_iter().for_each(end);
        Ok(())
    }

    /// Type, number and process of each ARMOR of a node, as its daemon keeps them.
    pub fn armors(&self, node: u32) -> Vec<(u16, u64, i32)> {
        let file = fs::read(self.node(node).join("state/daemon.json")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&file).unwrap_or_default();
        let armor = |kept: &Value| {
            let (id, pid) = (&kept["armor"], kept["process"][0].as_i64()?);
            let kind = u16::try_from(id["kind"].as_u64()?).ok()?;
            Some((kind, id["number"].as_u64()?, i32::try_from(pid).ok()?))
        };
        state["armors"].as_array().into_iter().flatten().filter_map(armor).collect()
    }

    /// The process of an ARMOR of this type on a node, as soon as there is one.
    pub fn armor(&self, node: u32, kind: ArmorType) -> anyhow::Result<i32> {
        until("the ARMOR is there", || {
            let mut armors = self.armors(node).into_iter();
            Ok(armors.find(|armor| armor.0 == kind.0).map(|armor| armor.2))
        })
    }

    /// Whether a node has an ARMOR of this type.
    pub fn has(&self, node: u32, kind: ArmorType) -> bool {
        self.armors(node).iter().any(|armor| armor.0 == kind.0)
    }

    /// The processes of the runs that a node's EXECUTION ARMORs follow.
    fn runs(&self, node: u32) -> anyhow::Result<Vec<i32>> {
        let mut found = Vec::new();
        let Ok(apps) = fs::read_dir(self.node(node).join("apps")) else { return Ok(found) };
        for app in apps {
            for home in fs::read_dir(app?.path())? {
                let text = fs::read_to_string(home?.path().join("run.toml")).unwrap_or_default();
                let pid = text.lines().find_map(|line| line.strip_prefix("pid = "));
                found.extend(pid.and_then(|pid| pid.parse::<i32>().ok()));
            }
        }
        Ok(found)
    }

    /// Asks the FTM once.
    ///
    /// # Errors
    /// It refuses, is not there or does not answer.
    pub fn ask(&mut self, ask: &Ask) -> anyhow::Result<Told> {
        self.asked += 1;
        let until = Instant::now() + ANSWER;
        while self.link.ftm().is_none() || !self.link.is_up() {
            ensure!(Instant::now() < until, "there is no FTM");
            self.link.receive(Some(LOOK))?;
        }
        let ftm = self.link.ftm().context("there is no FTM")?;
        let request = Request { number: self.asked, text: serde_json::to_string(ask)? };
        self.link.send(ftm, Message::Request(request))?;
        while Instant::now() < until {
            let Some(Event::Message(envelope)) = self.link.receive(Some(LOOK))? else { continue };
            let Envelope { message, .. } = envelope;
            match message {
                Message::Answer(answer) if answer.number == self.asked => {
                    return match serde_json::from_str(&answer.text)? {
                        Told::Refused { why } => bail!("{why}"),
                        told => Ok(told),
                    };
                }
                Message::Undeliverable(back) if back.destination == ftm => bail!("no way to {ftm}"),
                Message::Refused(refused) => bail!("{}", refused.why),
                _ => {}
            }
        }
        bail!("{ftm} does not answer")
    }

    /// The nodes.
    pub fn nodes(&mut self) -> anyhow::Result<Vec<NodeRow>> {
        match self.ask(&Ask::Nodes)? {
            Told::Nodes { nodes } => Ok(nodes),
            other => bail!("asked for nodes, told {other:?}"),
        }
    }

    /// What happened since then, the oldest first; nothing as long as there is no FTM.
    pub fn events(&mut self, since_ns: u64) -> Vec<Numbered> {
        let ask = Ask::Events { after: 0, most: 100, app: None, incident: None };
        let Ok(Told::Events { mut events, .. }) = self.ask(&ask) else { return Vec::new() };
        events.retain(|event| event.note.at_ns >= since_ns);
        events
    }

    /// Hands an application in, and waits until it runs; its number.
    pub fn submit(&mut self, name: &str, app: &str, needs: &str) -> anyhow::Result<u32> {
        let directory = self.scratch(name)?;
        let specification = format!(
            "[app]\nname = \"{name}\"\ndirectory = {directory:?}\n\
             environment = {{ PATH = \"/usr/local/bin:/usr/bin:/bin\" }}\n{app}\n\
             [dependability]\n{needs}\n"
        );
        let directory = directory.to_string_lossy().into_owned();
        let number = match self.ask(&Ask::Submit { specification, directory })? {
            Told::Submitted { app, .. } => app,
            other => bail!("an application was handed in, and the FTM says {other:?}"),
        };
        self.runs_well(number)?;
        Ok(number)
    }

    /// Waits until an application runs, all of it.
    pub fn runs_well(&mut self, number: u32) -> anyhow::Result<()> {
        until("the application runs", || {
            let Ok(Told::Apps { apps }) = self.ask(&Ask::Apps { all: true }) else {
                return Ok(None);
            };
            let row = apps.into_iter().find(|row| row.app.id.0 == number);
            let row = row.context("the application is gone")?;
            ensure!(!row.app.state.is_over(), "the application is over: {:?}", row.app.state);
            Ok((row.app.state == AppState::Running).then_some(()))
        })
    }

    /// The process of a node's daemon.
    pub fn daemon(&self, node: u32) -> anyhow::Result<i32> {
        let child = self.daemons.get(&node).context("it does not run")?;
        Ok(child.id().cast_signed())
    }

    /// The number of the first node, as messages have it.
    pub fn first(&self) -> NodeId {
        self.link.node()
    }
}

/// Whether a node takes part and is described.
pub fn is_set_up(node: &NodeRow) -> bool {
    node.standing == "up" && !node.info.cpu.is_empty()
}

impl Drop for Environment {
    fn drop(&mut self) {
        end_all(&self.chameleon, &mut self.daemons);
    }
}

/// A daemon that is ended if the environment does not come about.
struct Ending(Option<(PathBuf, Child)>);

impl Ending {
    fn into_daemons(mut self) -> BTreeMap<u32, Child> {
        self.0.take().map(|(_, daemon)| (1, daemon)).into_iter().collect()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((chameleon, daemon)) = self.0.take() {
            end_all(&chameleon, &mut BTreeMap::from([(1, daemon)]));
        }
    }
}

/// Ends all processes of the copy of chameleon, and what ends with them.
fn end_all(chameleon: &Path, daemons: &mut BTreeMap<u32, Child>) {
    let start = Instant::now();
    loop {
        let left = procs::of(chameleon);
        left.iter().copied().for_each(end);
        daemons.values_mut().for_each(|child| drop(child.try_wait()));
        if left.is_empty() || start.elapsed() > PATIENCE {
            return;
        }
        sleep(LOOK);
    }
}

fn command(chameleon: &Path, directory: &Path, node: u32, words: &[&str]) -> Command {
    let runtime = directory.join(format!("runtime{node}"));
    // If it cannot be made the command says so.
    let _ = fs::create_dir_all(&runtime);
    let mut command = Command::new(chameleon);
    command.args(words).current_dir(directory).stdin(Stdio::null());
    command.env("CHAMELEON_DIR", directory.join(format!("node{node}")));
    command.env("XDG_RUNTIME_DIR", runtime).env("LC_ALL", "C");
    command
}

fn done(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn daemon(chameleon: &Path, directory: &Path, node: u32) -> anyhow::Result<Child> {
    let log = directory.join(format!("node{node}.log"));
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = command(chameleon, directory, node, &["daemon"]);
    command.stdout(log.try_clone()?).stderr(log).process_group(0);
    command.spawn().context("the daemon cannot be started")
}

/// Where a node listens: each has a loopback address of its own (hundreds of connections may have all ports).
pub fn own_address(node: u32) -> String {
    format!("127.1.{}.{}:7410", node >> 8 & 0xff, node & 0xff)
}

/// Two ports of the loopback address that were free a moment ago, the second behind the first.
fn loopback() -> anyhow::Result<String> {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let next = port.checked_add(1).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let Some(Ok(_)) = next {
            return Ok(format!("127.0.0.1:{port}"));
        }
    }
    bail!("no two ports beside each other are free")
}
