//! Runs: of a row's command, natively or in a mode, and what is seen of it.
//!
//! Invariant: every run starts from the same files at the same path and has a limit on its time.
//! Only processes that carry a run's mark, and its process group, are ever killed.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::judge;
use super::row::{Row, search_path};
use super::server::Server;
use crate::bench;
use crate::report::{self, Refusal};

/// How long a process of a run may outlive the one that was started.
const PATIENCE: Duration = Duration::from_secs(3);

/// The variable by which the processes of a run are known.
const MARK: &str = "XTASK_COMPAT_RUN";

/// The directory that everything is done in.
pub struct Desk {
    dir: TempDir,
    chameleon: PathBuf,
}

/// A row that is set up.
pub struct Ready<'a> {
    desk: &'a Desk,
    row: &'a Row,
    /// Kept as long as it is to serve.
    _server: Option<Server>,
    port: u16,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signal(i32),
    /// It was given up after this time.
    Late(Duration),
    /// It ended, and so many of its processes did not.
    Left(usize),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "death by signal {signal}"),
            Self::Late(limit) => write!(f, "no end within {} s", limit.as_secs()),
            Self::Left(count) => write!(f, "{count} processes left running"),
        }
    }
}

/// What was seen of a run; what the row does not compare is empty.
#[derive(Clone, Debug)]
pub struct Seen {
    pub end: End,
    pub wall: Duration,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Name and content; none if there is no such file.
    pub files: Vec<(String, Option<Vec<u8>>)>,
    /// The first line of stderr, Chameleon's own first.
    pub said: String,
    pub refusals: Vec<Refusal>,
    pub disturbance: Option<String>,
    /// The events of its report.
    pub report: Vec<Value>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            end: End::Exited(0),
            wall: Duration::ZERO,
            stdout: Vec::new(),
            stderr: Vec::new(),
            files: Vec::new(),
            said: String::new(),
            refusals: Vec::new(),
            disturbance: None,
            report: Vec::new(),
        }
    }
}

impl Seen {
    /// Whether the program ended by itself.
    pub fn ended_well(&self) -> bool {
        matches!(self.end, End::Exited(0..=124))
    }

    /// How it ended, and the first line that it said.
    pub fn complaint(&self) -> String {
        let first = String::from_utf8_lossy(&self.stderr);
        let line = if self.said.is_empty() { first.lines().next() } else { Some(&*self.said) };
        match line {
            Some(line) if !line.is_empty() => format!("{}: {line}", self.end),
            _ => self.end.to_string(),
        }
    }
}

impl Desk {
    /// Builds chameleon for release and makes the inputs.
    pub fn prepare() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("xtask-compat-").tempdir()?;
        let chameleon = dir.path().join("chameleon");
        fs::copy(bench::built()?, &chameleon)
            .context("cannot copy the chameleon that was built")?;
        let desk = Self { dir, chameleon };
        fs::create_dir(desk.path("inputs"))?;
        bench::inputs::lines(&desk.path("inputs/lines"), 8_000_000)?;
        bench::inputs::noise(&desk.path("inputs/noise"), 4_000_000)?;
        bench::inputs::tree(&desk.path("inputs/tree"), 20, 50)?;
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command in this environment and directory.
    fn command(&self, words: &[OsString], directory: &str) -> Command {
        let mut command = Command::new(&words[0]);
        let date = "2020-01-01T00:00:00Z";
        command
            .args(&words[1..])
            .current_dir(self.path(directory))
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("INPUTS", self.path("inputs"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("TERM", "xterm");
        for name in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{name}_NAME"), "A")
                .env(format!("GIT_{name}_EMAIL"), "a@b")
                .env(format!("GIT_{name}_DATE"), date);
        }
        command
    }

    /// Runs a shell line in a directory and returns what it printed on both.
    fn shell(&self, line: &str, directory: &str) -> anyhow::Result<(bool, String)> {
        let words = ["sh", "-ec", line].map(OsString::from);
        let output = self.command(&words, directory).output().context("cannot run sh")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Fills the template that each run of this row starts from, and starts its server.
    pub fn set_up<'a>(&'a self, row: &'a Row) -> anyhow::Result<Ready<'a>> {
        for name in ["template", "home", "tmp"] {
            let _ = fs::remove_dir_all(self.path(name));
            fs::create_dir(self.path(name))?;
        }
        let (well, said) = self.shell(row.setup, "template")?;
        ensure!(well, "its setup failed: {said}");
        let server =
            if row.served { Some(Server::start(&self.path("template/site"))?) } else { None };
        let port = match (&server, row.client) {
            (Some(server), _) => server.port,
            (None, "") => 0,
            _ => TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
        };
        Ok(Ready { desk: self, row, _server: server, port })
    }

    /// The first number with dots that the version command prints, or a dash.
    pub fn version(&self, row: &Row) -> String {
        let text = self.shell(&row.version, "template").map(|(_, text)| text).unwrap_or_default();
        version_in(&text).unwrap_or_else(|| "-".to_string())
    }
}

impl Ready<'_> {
    /// Runs the command, as it is or in a mode with these options.
    pub fn run(&self, mode: Option<&str>, flags: &[String]) -> anyhow::Result<Seen> {
        for name in ["work", "home", "tmp", "seen"] {
            let _ = fs::remove_dir_all(self.desk.path(name));
        }
        for name in ["home", "tmp", "seen"] {
            fs::create_dir(self.desk.path(name))?;
        }
        let copied = Command::new("cp")
            .arg("-a")
            .args([self.desk.path("template"), self.desk.path("work")])
            .status()?;
        ensure!(copied.success(), "cannot copy the files");
        let mark = mark();
        let mut command = self.desk.command(&self.words(mode, flags), "work");
        command
            .env(MARK, &mark)
            .stdout(File::create(self.desk.path("seen/stdout"))?)
            .stderr(File::create(self.desk.path("seen/stderr"))?)
            .process_group(0);
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let client = self.start_client(&mark)?;
        let in_time = ended_within(&child, self.row.limit)?;
        let wall = begin.elapsed();
        if let Some(mut client) = client {
            ended_within(&client, PATIENCE)?;
            let _ = killpg(pid_of(&client), Signal::SIGKILL);
            client.wait()?;
        }
        let end = self.finish(&mut child, in_time, &mark)?;
        self.look(end, wall)
    }

    /// Starts the client beside the program.
    fn start_client(&self, mark: &str) -> anyhow::Result<Option<Child>> {
        if self.row.client.is_empty() {
            return Ok(None);
        }
        let line = self.row.client.replace("{port}", &self.port.to_string());
        let words = ["sh", "-c", &line].map(OsString::from);
        let mut command = self.desk.command(&words, "work");
        let seen = File::create(self.desk.path("seen/client"))?;
        command.env(MARK, mark).stdout(seen.try_clone()?).stderr(seen).process_group(0);
        Ok(Some(command.spawn().context("cannot run sh")?))
    }

    /// The words of the command: the driver of the terminal, chameleon, the program.
    fn words(&self, mode: Option<&str>, flags: &[String]) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if !self.row.steps.is_empty() {
            let driver = crate::root().join("tests/programs/drive.py");
            words.extend(["python3".into(), driver.into()]);
            words.extend(self.row.steps.iter().map(OsString::from));
            words.push("--".into());
        }
        if let Some(mode) = mode {
            words.push(self.desk.chameleon.clone().into());
            words.extend(["run", "--mode", mode, "--report"].map(OsString::from));
            words.push(self.desk.path("seen/report").into());
            words.extend(flags.iter().map(OsString::from));
            words.push("--".into());
        }
        let guests = crate::root().join("target/guests").display().to_string();
        let port = self.port.to_string();
        let filled =
            |word: &&str| word.replace("{port}", &port).replace("{guests}", &guests).into();
        words.extend(self.row.command.iter().map(filled));
        words
    }

    /// Reaps the process and ends what is left of its run.
    fn finish(&self, child: &mut Child, in_time: bool, mark: &str) -> anyhow::Result<End> {
        if !in_time {
            // It has not been waited for, so its number is still its own.
            let _ = killpg(pid_of(child), Signal::SIGKILL);
        }
        let status = child.wait()?;
        let start = Instant::now();
        let mut left = marked(mark);
        while !left.is_empty() && in_time && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
            left = marked(mark);
        }
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        Ok(match (in_time, status.signal()) {
            (false, _) => End::Late(self.row.limit),
            _ if !left.is_empty() => End::Left(left.len()),
            (_, Some(signal)) => End::Signal(signal),
            _ => End::Exited(status.code().unwrap_or(-1)),
        })
    }

    fn look(&self, end: End, wall: Duration) -> anyhow::Result<Seen> {
        let report = report::events(&self.desk.path("seen/report"));
        let stderr = fs::read(self.desk.path("seen/stderr"))?;
        let (own, others): (Vec<&[u8]>, Vec<&[u8]>) = stderr
            .split_inclusive(|byte| *byte == b'\n')
            .partition(|line| line.starts_with(b"chameleon: "));
        let first = own.first().or(others.first()).copied().unwrap_or_default();
        let said = String::from_utf8_lossy(first).trim_end().to_string();
        let row = self.row;
        let file = |name: &&str| {
            let content = fs::read(self.desk.path("work").join(name));
            ((*name).to_string(), content.ok())
        };
        let client = match row.client {
            "" => None,
            _ => Some((
                "what the client saw".to_string(),
                fs::read(self.desk.path("seen/client")).ok(),
            )),
        };
        Ok(Seen {
            end,
            wall,
            stdout: if row.stdout { fs::read(self.desk.path("seen/stdout"))? } else { Vec::new() },
            stderr: if row.stderr { others.concat() } else { Vec::new() },
            files: row.files.iter().map(file).chain(client).collect(),
            said,
            refusals: report::refusals(&report),
            disturbance: judge::disturbance(&report),
            report,
        })
    }
}

fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Waits for the end of a child, which is left to be reaped. False if it does not come in time.
fn ended_within(child: &Child, limit: Duration) -> anyhow::Result<bool> {
    let (sender, receiver) = channel();
    let pid = pid_of(child);
    std::thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let _ = sender.send(waitid(Id::Pid(pid), flags));
    });
    match receiver.recv_timeout(limit) {
        Ok(waited) => waited.map(|_| true).context("cannot wait for a run"),
        Err(_) => Ok(false),
    }
}

/// The living processes of a run.
fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        // Of a zombie it is empty.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|entry| OsStr::new(&wanted).as_encoded_bytes() == entry)
    })
    .map(Pid::from_raw)
    .collect()
}

fn version_in(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let numbers = text.split(|c| !is_part(c)).map(|part| part.trim_matches('.'));
    numbers.filter(|part| part.contains('.')).map(str::to_string).next()
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_first_number_with_dots_is_the_version() {
        assert_eq!(version_in("sort (GNU coreutils) 9.1\n").as_deref(), Some("9.1"));
        assert_eq!(version_in("OpenSSL 3.0.19 27 Jan 2026").as_deref(), Some("3.0.19"));
        assert_eq!(version_in("none."), None);
    }
}
