//! The options of checkpoints, and of the subcommands that look after runs.
//!
//! Invariant: an option that would have no effect is refused. Used by the command line.

use std::path::PathBuf;
use std::time::Duration;

use chameleon_policy::checkpoint::{Cadence, Checkpoints, MOST_RETRIES};
use chameleon_policy::mode::Mode;
use chameleon_policy::{duration, size};
use clap::Args;

/// Options of `chameleon run` about what goes beyond the repair of a replica.
#[derive(Clone, Debug, Args)]
pub struct RecoveryArgs {
    /// Take a checkpoint of each process so often: a time (1.5s, 200ms), a number of calls
    /// (1000calls), or both with a comma between; what fails is rolled back to it
    #[arg(long, value_name = "CADENCE")]
    pub checkpoint: Option<Cadence>,

    /// How often one failure is rolled back, to older and older checkpoints, before it is given up
    /// (0 to 15; default: 3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=i64::from(MOST_RETRIES)))]
    pub retries: Option<u8>,

    /// A process that makes no progress for so long has failed, and is rolled back (1.5s, 2m)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub livelock: Option<Duration>,

    /// How much the journal of a process may hold between two checkpoints; one is taken before it is
    /// full (default: 64M)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub journal: Option<u64>,

    /// How much memory all checkpoints together may take (default: half of what is available at the
    /// start)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub checkpoint_memory: Option<u64>,

    /// Write checkpoints to images in DIR, from which `chameleon restore DIR` starts the program again after
    /// all of it is gone (docs/usage.md)
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,

    /// Start a run that was given up (125) again from the beginning, at most N times (--restart
    /// alone: 3). PROGRAM is a child of chameleon then, and what was read from stdin does not come
    /// again
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "3",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub restart: Option<u32>,
}

/// Options of `chameleon ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Applications of the environment that have ended, too
    #[arg(short, long)]
    pub all: bool,

    /// Which environment, if there is one
    #[command(flatten)]
    pub place: super::Where,

    /// Print the runs, then the applications, as one JSON array on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon checkpoint`.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// The run: its ID as `chameleon ps` shows it, the beginning of it if no other has the same, or
    /// its process number
    #[arg(value_name = "ID")]
    pub run: String,

    /// How long the run is waited for: it takes the checkpoint at its next call
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// Print what became of it as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon set`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct SetArgs {
    /// The run: its ID as `chameleon ps` shows it, the beginning of it if no other has the same, or
    /// its process number
    #[arg(value_name = "ID")]
    pub run: String,

    /// Another mode, as for `chameleon run`: each process of the run gets replicas or loses some, without a
    /// restart
    #[arg(long, value_name = "MODE", group = "what")]
    pub mode: Option<Mode>,

    /// Another voting timeout, as for `chameleon run`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, group = "what")]
    pub timeout: Option<Duration>,

    /// How long it is waited until all processes of the run have it; it goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub wait: Duration,

    /// Print what became of it as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The directory that was given to --checkpoint-dir
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// The image to start from; without it the newest that can be read
    #[arg(long, value_name = "N")]
    pub at: Option<u64>,

    /// Another mode than the run had
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,

    /// Take checkpoints so often, as for `chameleon run`; without it as often as the run did
    #[arg(long, value_name = "EVERY")]
    pub checkpoint: Option<Cadence>,

    /// Write what happens to FILE, one JSON object a line (docs/report.md)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// The voting timeout, as for `chameleon run`
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// Only look: say what stands in the way, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print what was found as one JSON object on stderr instead of lines
    #[arg(long)]
    pub json: bool,

    /// Say on stderr when the program goes on, too
    #[arg(short, long)]
    pub verbose: bool,
}

impl RecoveryArgs {
    /// What the run is told; an error is a line for the user.
    pub fn checkpoints(&self) -> Result<Option<Checkpoints>, String> {
        let Some(cadence) = self.checkpoint else {
            let stray = [
                ("--retries", self.retries.is_some()),
                ("--livelock", self.livelock.is_some()),
                ("--journal", self.journal.is_some()),
                ("--checkpoint-memory", self.checkpoint_memory.is_some()),
                ("--checkpoint-dir", self.checkpoint_dir.is_some()),
            ];
            return match stray.iter().find(|(_, given)| *given) {
                None => Ok(None),
                Some((name, _)) => Err(format!(
                    "{name} needs --checkpoint: without checkpoints nothing is rolled back (for \
                     example --checkpoint 1s)"
                )),
            };
        };
        Ok(Some(Checkpoints {
            cadence,
            retries: self.retries.unwrap_or(Checkpoints::RETRIES),
            livelock: self.livelock,
            journal: self.journal.unwrap_or(Checkpoints::JOURNAL),
            memory: self.checkpoint_memory.unwrap_or_else(half_of_memory),
            kept: Checkpoints::KEPT,
        }))
    }
}

/// Half of the memory that is available (proc(5), MemAvailable); 1 GiB where nobody says how much.
fn half_of_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(1 << 30, |kib| kib * 512)
}
