//! A row: one program and what it is asked to do.
//!
//! Invariant: data alone. Its files, input and environment make it deterministic, which two native
//! runs check each time.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name of the row, which begins with that of the program.
    pub name: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    /// What it is asked to do, for people.
    pub does: &'static str,
    /// The command's words; `{port}` stands for the port of the server, `{guests}` for the directory of the
    /// tests' guests.
    pub command: &'static [&'static str],
    /// A shell line that prints a text in which the first number with dots is the version.
    pub version: String,
    /// A shell line that fills the working directory; `$INPUTS` has files for it.
    pub setup: &'static str,
    /// The program that it is about.
    pub needs: &'static str,
    /// Programs beyond that one that must be there.
    pub also: &'static [&'static str],
    /// Steps of `tests/programs/drive.py` when it runs on a terminal; else empty.
    pub steps: &'static [&'static str],
    /// Whether stdout is compared.
    pub stdout: bool,
    /// Whether stderr is compared.
    pub stderr: bool,
    /// Files whose content is compared.
    pub files: &'static [&'static str],
    /// Whether the directory `site` is served over HTTP, natively, while it runs.
    pub served: bool,
    /// A shell line that is run natively beside it, and whose output is compared; else empty.
    pub client: &'static str,
    /// When a run is given up.
    pub limit: Duration,
}

/// A row that compares stdout, stderr and status.
pub fn row(
    name: &'static str,
    package: &'static str,
    does: &'static str,
    command: &'static [&'static str],
) -> Row {
    let program = name.split(' ').next().unwrap_or(name);
    Row {
        name,
        package,
        does,
        command,
        version: format!("{program} --version"),
        needs: program,
        setup: "",
        also: &[],
        steps: &[],
        stdout: true,
        stderr: true,
        files: &[],
        served: false,
        client: "",
        limit: Duration::from_secs(90),
    }
}

impl Row {
    /// Another command for the version.
    pub fn version(self, line: &str) -> Self {
        Self { version: line.to_string(), ..self }
    }

    /// Fills the directory.
    pub fn setup(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    /// What must be installed, too.
    pub fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// Runs on a terminal and is driven so.
    pub fn on_terminal(self, steps: &'static [&'static str]) -> Self {
        Self { steps, also: &["python3"], ..self }
    }

    /// Compares these files as well.
    pub fn files(self, files: &'static [&'static str]) -> Self {
        Self { files, ..self }
    }

    /// Compares the status (and files) only: the output tells of times.
    pub fn status_only(self) -> Self {
        Self { stdout: false, stderr: false, ..self }
    }

    /// With a server for the directory `site`.
    pub fn served(self) -> Self {
        Self { served: true, also: &["python3"], ..self }
    }

    /// With a client beside it, which may use `{port}`, too.
    pub fn client(self, client: &'static str) -> Self {
        Self { client, ..self }
    }

    /// A run takes long.
    pub fn limit(self, seconds: u64) -> Self {
        Self { limit: Duration::from_secs(seconds), ..self }
    }

    /// The first program that is not there.
    pub fn missing(&self) -> Option<&'static str> {
        [self.needs].into_iter().chain(self.also.iter().copied()).find(|name| !is_installed(name))
    }
}

fn is_installed(name: &str) -> bool {
    let path = search_path();
    env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// `PATH` for everything that is run: the system's programs first, rather than the wrapper script
/// of some version manager, whose own work is another matter.
pub fn search_path() -> std::ffi::OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = system.into_iter().chain(env::split_paths(&own));
    env::join_paths(all).unwrap_or(own)
}
