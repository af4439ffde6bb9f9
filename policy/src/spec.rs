//! What a person writes about an application: what is to be run, and how dependable it shall be.
//!
//! Invariant: a [`Specification`] is complete and free of contradictions in itself; whether it can be
//! met is what [`crate::plan`] says. A key that is not known is refused. Read by the FTM (paper 3.2:
//! "a semantic language that the FTM understands"; Table 1, `get_appinfo`) and by the commands.
//!
//! ```toml
//! [app]
//! name = "matrix"
//! command = ["./multiply", "a", "b"]      # or several [[part]], each with a command of its own
//! directory = "/srv/matrix"               # where it works; without it, where it was handed in
//! user = "nobody"                         # who it is run as, where the daemon is root; without it the daemon's user
//! environment = { LC_ALL = "C" }          # nothing else is in its environment (with user: HOME, USER, LOGNAME, SHELL)
//! stdin = "/dev/null"
//! stdout = "out.txt"
//! stderr = "err.txt"
//! results = ["c.txt"]                     # files to be voted on: the program has no other effects
//! memory = "64M"                          # what one copy of it needs
//! features = ["avx2"]                     # of the processor, as in /proc/cpuinfo
//!
//! [dependability]
//! integrity = "masked"        # a wrong computation: unnoticed, reported, stopped, recovered, masked
//! availability = "recovered"  # a crash or hang: ended, restarted, recovered, masked
//! node-loss = "restarted"     # the loss of a node: the same
//! max-pause = "2s"            # longest time that it may stand still when something fails
//! nodes = 3                   # on how many nodes its copies are
//! strategy = "tmr"            # this one, instead of the cheapest that does
//! voter = "tolerance"         # results are compared: exact, tolerance
//! tolerance = 1e-9            # relative; tolerance-absolute is in the numbers' own unit
//! numbers = "text"            # what is compared within it: text, doubles
//! timeout = "5s"              # how long a replica may lag behind a majority
//! limit = "1h"                # how long a result may take at all
//! livelock = "30s"            # no progress for so long is a failure
//! checkpoint = "1.5s"         # how often, if the strategy has checkpoints
//! retries = 3                 # roll-backs of one failure
//! restarts = 3                # starts from the beginning, or on another node, in a minute
//! ```

use std::time::Duration;

use crate::checkpoint::{Cadence, MOST_RETRIES};
use crate::document::{self, DocumentError, Section};
use crate::restart;
use crate::strategy::{LOSS, Loss, NAME, WRONG, Wrong, is_name};
use crate::vote::results::MOST_PARTS;
use crate::vote::scheme::{Scheme, Tolerance};

/// A program, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Files below the directory that are its results.
    pub results: Vec<String>,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// One for a program of one part.
    pub parts: Vec<Part>,
    /// Where it works, an absolute path.
    pub directory: Option<String>,
    /// The user that it is run as, if not the daemon's.
    pub user: Option<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Where standard input, output and error lead.
    pub streams: [Option<String>; 3],
    /// Bytes that one copy of it needs; 0 if nothing is said.
    pub memory: u64,
    /// Features of the processor that it needs.
    pub features: Vec<String>,
}

/// How dependable it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// What may become of a wrong computation, at worst.
    pub integrity: Wrong,
    /// What a crash or hang may do, at worst.
    pub availability: Loss,
    /// What the loss of a node may do, at worst.
    pub node_loss: Loss,
    /// How long it may stand still.
    pub max_pause: Option<Duration>,
    /// On how many nodes its copies are; nothing if that is left to the strategy.
    pub nodes: Option<usize>,
    /// This strategy.
    pub strategy: Option<String>,
    /// How results are compared.
    pub voter: Scheme,
    /// How long a replica may lag, if that is said.
    pub timeout: Option<Duration>,
    /// How long a result may take at all.
    pub limit: Option<Duration>,
    /// No progress for so long is a failure.
    pub livelock: Option<Duration>,
    /// How often a checkpoint is taken.
    pub checkpoint: Option<Cadence>,
    /// Roll-backs of one failure, if that is said.
    pub retries: Option<u8>,
    /// Starts in a minute.
    pub restarts: u8,
}

/// A specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Specification {
    /// What is to be run.
    pub app: App,
    /// How dependable it shall be.
    pub needs: Needs,
}

/// The voting timeout if none is said, as of `chameleon run`.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Restarts in a minute, if nothing is said.
pub const RESTARTS: u8 = 3;

impl Specification {
    /// Reads one.
    ///
    /// # Errors
    /// [`DocumentError`]: line, key, what is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        document::read(text, |top| {
            top.only(&["app", "part", "dependability"])?;
            let Some(section) = top.table("app")? else {
                return Err(top.error("app", "is missing; it says what is to be run"));
            };
            let app = app(top, &section)?;
            let needs = match top.table("dependability")? {
                Some(section) => needs(&section, &app)?,
                None => Needs::default(),
            };
            Ok(Self { app, needs })
        })
    }
}

impl App {
    /// Whether its results are files, so that nodes need not share its effects (paper 4.6).
    pub fn results_are_files(&self) -> bool {
        self.parts.iter().all(|part| !part.results.is_empty())
    }
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            integrity: Wrong::Unnoticed,
            availability: Loss::Restarted,
            node_loss: Loss::Ended,
            max_pause: None,
            nodes: None,
            strategy: None,
            voter: Scheme::Exact,
            timeout: None,
            limit: None,
            livelock: None,
            checkpoint: None,
            retries: None,
            restarts: RESTARTS,
        }
    }
}

const APP: [&str; 11] = [
    "name",
    "command",
    "directory",
    "user",
    "environment",
    "stdin",
    "stdout",
    "stderr",
    "results",
    "memory",
    "features",
];

fn app(top: &Section<'_>, section: &Section<'_>) -> Result<App, DocumentError> {
    section.only(&APP)?;
    let Some(name) = section.text("name")? else {
        return Err(section.error("name", "is missing; every application has one"));
    };
    if !is_name(name) {
        return Err(section.error("name", format!("'{name}' is no name; {NAME}")));
    }
    let directory = section.text("directory")?.map(str::to_owned);
    if directory.as_ref().is_some_and(|directory| !directory.starts_with('/')) {
        return Err(
            section.error("directory", "write an absolute path, for it is another process's")
        );
    }
    let user = section.text("user")?.map(str::to_owned);
    if user.as_ref().is_some_and(|user| user.is_empty() || user.contains([':', '/'])) {
        return Err(section.error("user", "write the name of a user, for example \"nobody\""));
    }
    let environment = section.pairs("environment")?;
    if let Some((name, _)) =
        environment.iter().find(|(name, _)| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(
            section.error("environment", format!("'{name}' cannot be the name of a variable"))
        );
    }
    let stream = |key: &str| match section.text(key)? {
        Some("") => Err(section.error(key, "an empty path names no file")),
        path => Ok(path.map(str::to_owned)),
    };
    Ok(App {
        name: name.to_owned(),
        parts: parts(top, section)?,
        directory,
        user,
        environment: environment.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        streams: [stream("stdin")?, stream("stdout")?, stream("stderr")?],
        memory: section.size("memory")?.unwrap_or(0),
        features: owned(section.texts("features")?),
    })
}

fn parts(top: &Section<'_>, section: &Section<'_>) -> Result<Vec<Part>, DocumentError> {
    let several = top.tables("part")?;
    let Some(first) = several.first() else { return Ok(vec![part(section)?]) };
    for key in ["command", "results"] {
        if section.has(key) {
            let what = "each [[part]] has its own; say it there alone";
            return Err(section.error(key, what));
        }
    }
    if several.len() > MOST_PARTS as usize {
        return Err(first.error("command", format!("at most {MOST_PARTS} parts are possible")));
    }
    let mut parts = Vec::new();
    for section in &several {
        section.only(&["command", "results"])?;
        let part = part(section)?;
        if part.results.is_empty() {
            let what = "is missing; parts are combined by their results (files)";
            return Err(section.error("results", what));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn part(section: &Section<'_>) -> Result<Part, DocumentError> {
    let command = owned(section.texts("command")?);
    if command.first().is_none_or(String::is_empty) {
        let what = "write the program and its arguments, for example [\"./solver\", \"-n\", \"4\"]";
        return Err(section.error("command", what));
    }
    let results = owned(section.texts("results")?);
    for (index, path) in results.iter().enumerate() {
        let below = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
        if !below {
            let what = format!("'{path}' is no path below the directory, for example out/c.txt");
            return Err(section.error("results", what));
        }
        if results[..index].contains(path) {
            return Err(section.error("results", format!("'{path}' stands there twice")));
        }
    }
    Ok(Part { command, results })
}

fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    texts.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

const NEEDS: [&str; 16] = [
    "integrity",
    "availability",
    "node-loss",
    "max-pause",
    "nodes",
    "strategy",
    "voter",
    "tolerance",
    "tolerance-absolute",
    "numbers",
    "timeout",
    "limit",
    "livelock",
    "checkpoint",
    "retries",
    "restarts",
];

fn needs(section: &Section<'_>, app: &App) -> Result<Needs, DocumentError> {
    section.only(&NEEDS)?;
    let usual = Needs::default();
    let checkpoint = match section.text("checkpoint")? {
        Some(text) => Some(
            text.parse::<Cadence>()
                .map_err(|error| section.error("checkpoint", error.to_string()))?,
        ),
        None => None,
    };
    let restarts = section.whole("restarts", 0..=restart::MOST as u64)?;
    let retries = section.whole("retries", 0..=u64::from(MOST_RETRIES))?;
    let voter = voter(section, app)?;
    if section.has("limit") && !app.results_are_files() {
        let what = "is about results (files), of which this has none; a program that does not end is found by livelock";
        return Err(section.error("limit", what));
    }
    Ok(Needs {
        integrity: section.choice("integrity", &WRONG)?.unwrap_or(usual.integrity),
        availability: section.choice("availability", &LOSS)?.unwrap_or(usual.availability),
        node_loss: section.choice("node-loss", &LOSS)?.unwrap_or(usual.node_loss),
        max_pause: section.duration("max-pause")?,
        nodes: section.whole("nodes", 1..=15)?.map(|nodes| nodes as usize),
        strategy: section.text("strategy")?.map(str::to_owned),
        voter,
        timeout: section.duration("timeout")?,
        limit: section.duration("limit")?,
        livelock: section.duration("livelock")?,
        checkpoint,
        retries: retries.map(|number| number as u8),
        restarts: restarts.map_or(usual.restarts, |number| number as u8),
    })
}

/// The voter's scheme: what belongs to results is refused without them, to a tolerance without one.
fn voter(section: &Section<'_>, app: &App) -> Result<Scheme, DocumentError> {
    let tolerant = section.choice("voter", &[("exact", false), ("tolerance", true)])? == Some(true);
    let relative = section.number("tolerance")?;
    let absolute = section.number("tolerance-absolute")?;
    let doubles = section.choice("numbers", &[("text", false), ("doubles", true)])?;
    if !tolerant {
        for key in ["tolerance", "tolerance-absolute", "numbers"] {
            if section.has(key) {
                let what = "means nothing unless voter = \"tolerance\" is said, too";
                return Err(section.error(key, what));
            }
        }
        return Ok(Scheme::Exact);
    }
    if relative.is_none() && absolute.is_none() {
        let what = "say how far numbers may be apart: tolerance, tolerance-absolute, or both";
        return Err(section.error("voter", what));
    }
    if relative.is_some_and(|relative| relative >= 1.0) {
        return Err(section.error("tolerance", "is a part of the number; 1 or more lets all pass"));
    }
    if !app.results_are_files() {
        let what = "calls are compared exactly; a tolerance needs results (files)";
        return Err(section.error("voter", what));
    }
    let tolerance =
        Tolerance { relative: relative.unwrap_or(0.0), absolute: absolute.unwrap_or(0.0) };
    Ok(if doubles == Some(true) { Scheme::Doubles(tolerance) } else { Scheme::Text(tolerance) })
}

#[cfg(test)]
mod tests;
