//! A scenario: a command with its files, input and environment, to be run both ways.
//!
//! Invariant: `native` and `under` start from the same state at the same path. Called by the tests;
//! `check` is what most of them do.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::compare::differences;
use crate::mark;
use crate::outcome::{Ending, Outcome};
use crate::report::Report;
use crate::run::{Plan, Running, limit};
use crate::{chameleon, tree};

/// See the head of this file.
#[derive(Debug)]
pub struct Scenario {
    base: TempDir,
    mark: String,
    limit: Duration,
    prefix: Vec<OsString>,
    command: Vec<OsString>,
    stdin: Vec<u8>,
    env: Vec<(OsString, OsString)>,
    files: Vec<(PathBuf, Vec<u8>, u32)>,
    flags: Vec<OsString>,
    ignored: Vec<String>,
    binary: PathBuf,
    report: PathBuf,
}

/// A scenario of this program; the rest is added to it.
pub fn program(path: impl AsRef<OsStr>) -> Scenario {
    Scenario::new(path)
}

impl Scenario {
    /// A scenario of this program without arguments, input and files.
    ///
    /// # Panics
    /// If there is no room for temporary files.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let base = tempfile::Builder::new()
            .prefix("scenario-")
            .tempdir()
            .expect("a temporary directory can be made");
        let report = base.path().join("report/events.jsonl");
        Self {
            base,
            report,
            mark: mark::fresh(),
            limit: limit(),
            prefix: Vec::new(),
            command: vec![path.as_ref().to_owned()],
            stdin: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            flags: Vec::new(),
            ignored: Vec::new(),
            binary: PathBuf::new(),
        }
    }

    /// Adds arguments.
    pub fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.command.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets the input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds a file to the working directory.
    pub fn file(self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    /// Adds a file with these permission bits.
    pub fn file_with_mode(
        mut self,
        path: impl AsRef<Path>,
        content: impl Into<Vec<u8>>,
        mode: u32,
    ) -> Self {
        self.files.push((path.as_ref().to_owned(), content.into(), mode));
        self
    }

    /// Puts words before the whole command, native or `chameleon run …`: `setpriv`, a script that
    /// redirects and executes its arguments.
    pub fn prefix<T: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.prefix.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Adds an option of `chameleon run`.
    pub fn flag(mut self, flag: impl AsRef<OsStr>) -> Self {
        self.flags.push(flag.as_ref().to_owned());
        self
    }

    /// The content of files whose path ends so may differ.
    pub fn ignoring(mut self, end: &str) -> Self {
        self.ignored.push(end.to_owned());
        self
    }

    /// The ends of paths of files whose content may differ.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Uses a copy of the program under test.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = path.into();
        self
    }

    /// Lets Chameleon write its report elsewhere; its events are not looked at then.
    pub fn report_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.report = path.into();
        self
    }

    /// Takes the runs for hanging after this time.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The working directory of the runs.
    pub fn work(&self) -> PathBuf {
        self.base.path().join("root/work")
    }

    /// Runs the command as it is.
    #[track_caller]
    pub fn native(&self) -> Outcome {
        self.finish(self.start_native())
    }

    /// Runs the command in a mode of `chameleon run`.
    #[track_caller]
    pub fn under(&self, mode: &str) -> Outcome {
        self.finish(self.start(mode))
    }

    /// Starts the command as it is.
    pub fn start_native(&self) -> Running {
        self.lay_out();
        self.spawn("natively", self.command.clone())
    }

    /// Starts the command in a mode of `chameleon run`.
    pub fn start(&self, mode: &str) -> Running {
        self.start_with(mode, &[])
    }

    /// The same with further options, for this run alone.
    pub fn start_with(&self, mode: &str, flags: &[String]) -> Running {
        self.lay_out();
        let binary = if self.binary.as_os_str().is_empty() { chameleon() } else { &self.binary };
        let mut words: Vec<OsString> = vec![binary.into(), "run".into(), "--mode".into()];
        words.push(mode.into());
        words.push("--report".into());
        words.push(self.report.clone().into());
        words.extend(self.flags.iter().cloned());
        words.extend(flags.iter().map(OsString::from));
        words.push("--".into());
        words.extend(self.command.iter().cloned());
        self.spawn(mode, words)
    }

    /// Waits for the end of a run and takes its picture.
    ///
    /// # Panics
    /// If it runs away or leaves something behind.
    #[track_caller]
    pub fn finish(&self, running: Running) -> Outcome {
        let finished = running.finish();
        let (stdout, stderr) = (finished.output.stdout, finished.output.stderr);
        let ending = Ending::from(finished.output.status);
        // A picture of what an unfinished run left could fail by itself.
        assert!(
            finished.trouble.is_empty(),
            "{}{ending}\nstdout: {}\nstderr: {}\nreport: {}",
            finished.trouble,
            tail(&String::from_utf8_lossy(&stdout)),
            tail(&String::from_utf8_lossy(&stderr)),
            tail(&finished.report),
        );
        let tree = tree::snapshot(&self.base.path().join("root"));
        Outcome { stdout, stderr, ending, tree, report: Report::parse(&finished.report) }
    }

    /// Runs both ways and fails on the first differences; the run must be undisturbed.
    #[track_caller]
    pub fn check(&self, mode: &str) -> Outcome {
        let under = self.check_disturbed(mode);
        let disturbances = under.report.disturbances();
        assert!(disturbances.is_empty(), "{mode}: an undisturbed run reports {disturbances:#?}");
        under
    }

    /// Runs both ways and fails on the first differences; the run may report anything.
    #[track_caller]
    pub fn check_disturbed(&self, mode: &str) -> Outcome {
        let native = self.native();
        let under = self.under(mode);
        self.same(&native, &under, mode);
        under
    }

    /// Fails unless both runs gave the same.
    #[track_caller]
    pub fn same(&self, native: &Outcome, under: &Outcome, mode: &str) {
        let text = differences(native, under, &self.ignored);
        assert!(
            text.is_empty(),
            "{mode}: {:?} differs from its native run\n{text}report: {}stderr: {}",
            self.command,
            under.report.text(),
            tail(&under.err()),
        );
    }

    fn spawn(&self, mode: &str, words: Vec<OsString>) -> Running {
        let mut all = self.prefix.iter().chain(&words);
        let mut command = Command::new(all.next().expect("a command has a name"));
        let root = self.base.path().join("root");
        command
            .args(all)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", root.join("home"))
            .env("TMPDIR", root.join("tmp"))
            .env("LC_ALL", "C")
            .env("TERM", "xterm")
            .env("TZ", "UTC")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let plan = Plan {
            what: format!("{mode}: {:?}", self.command),
            mark: self.mark.clone(),
            // Elsewhere it may be a device that is read for ever.
            report: self.report.starts_with(self.base.path()).then(|| self.report.clone()),
            limit: self.limit,
        };
        Running::start(command, self.stdin.clone(), plan)
    }

    /// Wipes the directories and fills them anew.
    fn lay_out(&self) {
        let root = self.base.path().join("root");
        let _ = fs::remove_dir_all(&root);
        open_to_all(self.base.path());
        fs::create_dir(&root).expect("the directory can be made");
        open_to_all(&root);
        for name in ["root/work", "root/tmp", "root/home", "report"] {
            let path = self.base.path().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).expect("the directory can be made");
            open_to_all(&path);
        }
        for (path, content, mode) in &self.files {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().expect("a file has a directory"))
                .expect("the directory can be made");
            fs::write(&path, content).expect("the file can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
                .expect("the mode can be set");
        }
    }
}

/// Any user may run in it: some scenarios give up their privileges first.
fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("the mode can be set");
}

/// The end of a text: a run that was hit by faults for minutes has thousands of lines.
pub(crate) fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(2000);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(0)..]
}
