//! What the benchmark needs before it can measure, and how it starts programs.
//!
//! The chameleon under test is a copy in the temporary directory: its path is then the mark by
//! which the processes of this run are told from all others.
//!
//! Invariant: every program started is limited in time and waited for.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// When a program is given up.
const LIMIT: &str = "300";

const GUESTS: [&str; 9] =
    ["calls", "hold", "threads", "pauses", "multiply", "sweeps", "matrix", "factorial", "parts"];

/// The tools, the guests and the work directory.
pub struct Bench {
    /// Rounds of each comparison.
    pub rounds: u32,
    /// How long the application of the paper is to run by itself.
    pub seconds: f64,
    /// The copy of chameleon.
    pub chameleon: PathBuf,
    /// The CPU for what is pinned.
    pub cpu: String,
    /// The CPUs that this process may use.
    pub cpus: Vec<String>,
    dir: TempDir,
}

impl Bench {
    /// Builds chameleon for release, unless `CHAMELEON_BIN` names one as for the tests, and the guests.
    pub fn prepare(rounds: u32, seconds: f64) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("xtask-bench-").tempdir()?;
        let chameleon = dir.path().join("chameleon");
        let binary = env::var_os("CHAMELEON_BIN").map(PathBuf::from).map_or_else(built, Ok)?;
        fs::copy(&binary, &chameleon)
            .with_context(|| format!("cannot copy {}", binary.display()))?;
        let cpus = allowed_cpus()?;
        let bench = Self { rounds, seconds, chameleon, cpu: cpus[0].clone(), cpus, dir };
        for guest in GUESTS {
            bench.compile(guest)?;
        }
        Ok(bench)
    }

    /// A path in the work directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn compile(&self, guest: &str) -> anyhow::Result<()> {
        let source = crate::root().join(format!("tools/xtask/guests/{guest}.c"));
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-pthread", "-o"]).arg(self.path(guest)).arg(&source);
        let status = cc.status().context("cannot run cc")?;
        ensure!(status.success(), "cc cannot compile {}", source.display());
        Ok(())
    }

    /// A program in the work directory, with a limit on its time.
    pub fn plain(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-s", "KILL", LIMIT]).args(words);
        command.current_dir(self.dir.path()).env("LC_ALL", "C");
        command.stdin(Stdio::null());
        command
    }

    /// The same under `chameleon run`.
    pub fn voted(&self, mode: &str, options: &[&OsStr], words: &[impl AsRef<OsStr>]) -> Command {
        let mut all: Vec<&OsStr> = vec![self.chameleon.as_os_str()];
        all.extend(["run", "--mode", mode].map(OsStr::new));
        all.extend(options);
        all.push(OsStr::new("--"));
        all.extend(words.iter().map(AsRef::as_ref));
        self.plain(&all)
    }
}

/// Puts a command on one CPU.
pub fn pin(command: &Command, cpu: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", cpu]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        pinned.current_dir(dir);
    }
    pinned.env("LC_ALL", "C").stdin(Stdio::null());
    pinned
}

/// Runs a command to its end and returns its stdout.
pub fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?}: {}: {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts all commands at once, each with its stdout to the file beside it, and returns the wall
/// time until the last has ended.
pub fn wall(commands: Vec<(Command, &Path)>) -> anyhow::Result<Duration> {
    let mut prepared = Vec::with_capacity(commands.len());
    for (mut command, stdout) in commands {
        command.stdout(File::create(stdout)?);
        prepared.push(command);
    }
    let begin = Instant::now();
    let mut running = Vec::with_capacity(prepared.len());
    let mut failure = None;
    for mut command in prepared {
        match command.spawn() {
            Ok(child) => running.push((command, child)),
            Err(error) => failure = Some(format!("{command:?}: {error}")),
        }
    }
    for (command, child) in &mut running {
        let status = child.wait()?;
        if !status.success() {
            failure = Some(format!("{command:?}: {status}"));
        }
    }
    let wall = begin.elapsed();
    failure.map_or(Ok(wall), |said| bail!("{said}"))
}

/// Builds chameleon with the profile for release; the path of the result.
pub fn built() -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .args(["build", "--release", "--package", "chameleon", "--message-format", "json"])
        .current_dir(crate::root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(build.status.success(), "chameleon cannot be built");
    let text = String::from_utf8(build.stdout)?;
    let executable = text.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?;
        Some(PathBuf::from(path))
    });
    executable.context("cargo built no executable")
}

/// The CPUs this process may use, in order.
fn allowed_cpus() -> anyhow::Result<Vec<String>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .context("no Cpus_allowed_list in /proc/self/status")?;
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse()?, last.parse()?);
        cpus.extend((first..=last).map(|cpu| cpu.to_string()));
    }
    ensure!(!cpus.is_empty(), "cannot read Cpus_allowed_list {list:?}");
    Ok(cpus)
}
