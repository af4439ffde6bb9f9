//! One run of the program, native or voted, with its output in files.
//!
//! Invariant: each run leads a process group of its own, which is what is killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::Context;
use chameleon_proto::inject::Injection;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cli::CampaignArgs;

/// Where the output of runs goes until it was compared; removed when dropped.
pub struct Scratch(TempDir);

impl Scratch {
    /// A new directory below `$TMPDIR`.
    pub fn create(args: &CampaignArgs) -> anyhow::Result<Self> {
        File::open(&args.stdin).with_context(|| format!("--stdin {}", args.stdin.display()))?;
        let dir = tempfile::Builder::new()
            .prefix("chameleon-campaign-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        Ok(Self(dir))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A run under way.
pub struct Trial {
    child: Child,
    run: Finished,
}

/// A run that has ended.
pub struct Finished {
    /// Counted from 1; 0 is the run without a fault.
    pub number: u32,
    /// The fault put into it.
    pub fault: Option<Injection>,
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it was killed because it took too long.
    pub gave_up: bool,
    /// Its stdout.
    pub stdout: PathBuf,
    /// Its stderr.
    pub stderr: PathBuf,
    /// Its report; there is none of a native run.
    pub report: PathBuf,
}

impl Finished {
    /// Its last line on stderr, to be put behind an error: `": …"`, or nothing.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.stderr).unwrap_or_default();
        match text.trim_end().lines().last() {
            Some(line) => format!(": {line}"),
            None => String::new(),
        }
    }

    /// Removes its files, which the directory would otherwise collect.
    pub fn discard(self) {
        for path in [self.stdout, self.stderr, self.report] {
            // What cannot be removed now goes with the directory.
            let _ = fs::remove_file(path);
        }
    }
}

/// Starts the program as it is.
pub fn native(args: &CampaignArgs, scratch: &Scratch) -> anyhow::Result<Trial> {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    start(command, args, scratch, "native", 0, None)
        .with_context(|| format!("cannot run {}", args.command[0].to_string_lossy()))
}

/// Starts the program under `chameleon run`, with a fault or without.
pub fn voted(
    args: &CampaignArgs,
    scratch: &Scratch,
    number: u32,
    fault: Option<Injection>,
) -> anyhow::Result<Trial> {
    let name = format!("run-{number}");
    let mut command = Command::new("/proc/self/exe");
    command.arg0("chameleon").arg("run");
    command.args(["--mode", &args.mode.to_string()]);
    command.args(["--timeout", &format!("{}ms", args.timeout.as_millis())]);
    command.arg("--report").arg(scratch.path(&name).with_extension("report"));
    if let Some(fault) = fault {
        command.args(["--inject", &fault.to_string()]);
    }
    command.arg("--").args(&args.command);
    start(command, args, scratch, &name, number, fault).context("cannot start chameleon run")
}

fn start(
    mut command: Command,
    args: &CampaignArgs,
    scratch: &Scratch,
    name: &str,
    number: u32,
    fault: Option<Injection>,
) -> io::Result<Trial> {
    let file = |extension: &str| -> PathBuf { scratch.path(name).with_extension(extension) };
    let (stdout, stderr) = (file("out"), file("err"));
    command.stdin(File::open(&args.stdin)?);
    command.stdout(File::create(&stdout)?);
    command.stderr(File::create(&stderr)?);
    let child = command.process_group(0).spawn()?;
    Ok(Trial {
        child,
        run: Finished {
            number,
            fault,
            status: ExitStatus::default(),
            gave_up: false,
            stdout,
            stderr,
            report: file("report"),
        },
    })
}

impl Trial {
    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it with all it started, and waits for its end.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        // Not yet waited for, so the number is still its own.
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL)?;
        self.child.wait()
    }

    /// What is left of it.
    pub fn finish(self, status: ExitStatus, gave_up: bool) -> anyhow::Result<Finished> {
        Ok(Finished { status, gave_up, ..self.run })
    }
}

/// Whether two files have the same bytes; a missing one equals a missing one.
pub fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    match (open(one)?, open(other)?) {
        (Some(one), Some(other)) => same_readers(one, other),
        (one, other) => Ok(one.is_none() && other.is_none()),
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn same_readers(one: File, other: File) -> io::Result<bool> {
    use std::io::{BufRead, BufReader};
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let both = left.len().min(right.len());
        if both == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..both] != right[..both] {
            return Ok(false);
        }
        one.consume(both);
        other.consume(both);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::same_bytes;

    #[test]
    fn files_are_equal_by_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let long = vec![b'a'; 100_000];
        let mut other = long.clone();
        other[99_999] = b'b';
        fs::write(path("long"), &long).unwrap();
        fs::write(path("same"), &long).unwrap();
        fs::write(path("other"), &other).unwrap();
        fs::write(path("short"), &long[..99_999]).unwrap();
        let equal = |one, two| same_bytes(&path(one), &path(two)).unwrap();
        assert!(equal("long", "same"));
        assert!(!equal("long", "other"));
        assert!(!equal("long", "short"));
        assert!(!equal("long", "missing"));
        assert!(equal("missing", "missing too"));
    }
}
