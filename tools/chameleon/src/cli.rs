//! The command line: options, help texts, and usage errors in one line.
//!
//! Invariant: everything here is checked before anything is started. Called by `main`.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chameleon_policy::mode::Mode;
use chameleon_policy::placement::PlacementChoice;
use chameleon_policy::schedule::Threads;
use chameleon_proto::inject::Injection;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

mod asking;
mod environment;
mod recovery;

pub use asking::{
    CreateTokenArgs, DrainArgs, EnrollArgs, EventsArgs, ExplainArgs, LogsArgs, NodeArgs,
    NodeCommand, OneNodeArgs, PlanArgs, SetArgs, ShutdownArgs, StatusArgs, StopArgs, SubmitArgs,
    TokenCommand, TopArgs,
};
pub use environment::{DaemonArgs, Directory, FtmArgs, InitArgs, Where};
pub use recovery::{CheckpointArgs, PsArgs, RecoveryArgs, RestoreArgs};

const EXAMPLES: &str = "\
Examples:
  chameleon run -- sort big.txt
        three replicas in lockstep; sort neither knows nor needs to be changed
  chameleon run --mode tmr --inject replica=1,call=20,kill -v -- sort big.txt
        kills a replica half way and says what became of it
  chameleon campaign --runs 100 --mode tmr -- sort big.txt
        a hundred random faults, one a run, and a table of what they did
  chameleon run --checkpoint 30s --checkpoint-dir ckpt -- ./solver input.dat
  chameleon restore ckpt
        keeps checkpoints on disk, and goes on from the last one after a crash of the machine
  chameleon ps
        the runs there are
  chameleon doctor
        whether this machine has what `run` needs";

const RUN_EXAMPLES: &str = "\
Examples:
  chameleon run -- make -j1
  chameleon run --mode nmr:3/5 --report events.jsonl -- ./legacy_binary --its-own-option
  chameleon run --inject replica=1,call=20,reg=rax,bit=7 -v -- sha256sum big.iso
  chameleon run --inject replica=2,call=20,mem=heap --verify-donor -- python3 script.py
  chameleon run --checkpoint 1.5s --livelock 30s -- ./solver input.dat

Exit status: the program's own, or its death by the same signal; 125 when Chameleon itself
failed or the majority was lost, 126 when PROGRAM cannot be executed, 127 when it is not there.";

const CAMPAIGN_EXAMPLES: &str = "\
Examples:
  chameleon campaign --runs 200 --mode tmr -- sha256sum big.iso
  chameleon campaign --runs 50 --mode dual --seed 7 --json -- ./solver input.dat
  chameleon campaign --runs 50 --mode tmr --compare out.txt -- sort -o out.txt big.txt

PROGRAM must give the same output every time it runs natively. It gets an empty stdin, or that of
--stdin. Exit status: 0 when no output was wrong and nothing was lost, else 1; 125 when the
campaign itself failed; 130 when it was interrupted.";

/// Runs an unmodified program in replicas, votes what leaves it, repairs what fails.
#[derive(Debug, Parser)]
#[command(name = "chameleon", version, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = false)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program so that a fault in one replica of it does not show
    Run(Box<RunArgs>),
    /// Start a program again from an image of a checkpoint
    Restore(RestoreArgs),
    /// List the runs of this user
    Ps(PsArgs),
    /// Have a run that was started with --checkpoint take one now
    Checkpoint(CheckpointArgs),
    /// Run a program many times, each with one random fault, and count what the faults did
    Campaign(CampaignArgs),
    /// Check that this machine has what `run` needs, and how its environment is
    Doctor(DoctorArgs),
    /// List, look into, check and remove checkpoint images
    Images(crate::images::ImagesArgs),
    /// Begin an environment: its first node, with its authority
    Init(InitArgs),
    /// Be the daemon of this node of an environment
    Daemon(DaemonArgs),
    /// Look after the FTM of an environment: start it, and again if nobody else can
    Ftm(FtmArgs),
    /// Hand an application in to an environment
    Submit(SubmitArgs),
    /// Say which strategy a specification gets, and why
    Plan(PlanArgs),
    /// Say how the environment is
    Status(StatusArgs),
    /// Change a run or a running application, or a parameter of the environment
    Set(SetArgs),
    /// Show nodes, applications and what happens, again and again
    Top(TopArgs),
    /// Show what an application writes
    Logs(LogsArgs),
    /// Show what happened in the environment
    Events(EventsArgs),
    /// Show one incident: detected, decided, recovered, with milliseconds
    Explain(ExplainArgs),
    /// End an application, or forget one that has ended
    Stop(StopArgs),
    /// End an environment: its applications and its managers
    Shutdown(ShutdownArgs),
    /// Let nodes in, list them, drain and revoke them
    Node(NodeArgs),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// Become an ARMOR of an environment; daemons start these
    #[command(hide = true)]
    Armor {
        /// Its type
        kind: String,
    },
}

/// Options of `chameleon run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// How many replicas, and how many must agree: simplex (1), dual-first (2, the first is
    /// believed), dual (2 of 2), tmr (2 of 3), quad (3 of 4), nmr:K/N (K of N)
    #[arg(long, value_name = "MODE", default_value = "tmr")]
    pub mode: Mode,

    /// In simplex: execute the program as several replicas are (clocks, random numbers, one thread at a
    /// time), so that `chameleon set ID --mode` can give it more while it runs
    #[arg(long)]
    pub changeable: bool,

    /// Write what happens to FILE, one JSON object a line (docs/report.md)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Put a fault into replica R at its K-th trapped call: replica=R,call=K and one of
    /// reg=NAME,bit=B | mem=heap|stack|data|shared | kill | hang (may be repeated)
    #[arg(long, value_name = "SPEC")]
    pub inject: Vec<Injection>,

    /// How long a replica may lag behind a majority that waits for it, at first; it is tuned by
    /// what is measured, never below this (1.5s, 200ms, 2m)
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = chameleon_policy::duration::parse)]
    pub timeout: Duration,

    /// Where replicas run: auto (decided by their calls, and again as they change), together (one
    /// CPU), spread, or a list of CPUs such as 0,2-3
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub placement: PlacementChoice,

    /// Before a replica is replaced by a copy of another, compare that one's writable memory with
    /// a third's
    #[arg(long)]
    pub verify_donor: bool,

    /// A thread that computes without calls while others wait, and cannot be brought to one state in
    /// all replicas: strict waits for it and says so, live goes on in the state of one replica and
    /// says what was not voted
    #[arg(long, value_name = "HOW", default_value = "strict")]
    pub threads: Threads,

    /// Checkpoints, roll-backs and restarts
    #[command(flatten)]
    pub recovery: RecoveryArgs,

    /// Say on stderr when the run starts and ends, too, not only what went wrong
    #[arg(short, long)]
    pub verbose: bool,

    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<OsString>,
}

/// Options of `chameleon campaign`.
#[derive(Debug, Args)]
#[command(after_help = CAMPAIGN_EXAMPLES)]
pub struct CampaignArgs {
    /// How many runs, each with one fault
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// The mode, as for `chameleon run`
    #[arg(long, value_name = "MODE", default_value = "tmr")]
    pub mode: Mode,

    /// The same seed gives the same faults; without it one is taken from the clock and printed
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,

    /// Print the outcome as one JSON object on stdout
    #[arg(long)]
    pub json: bool,

    /// How many runs at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,

    /// The voting timeout given to each run
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = chameleon_policy::duration::parse)]
    pub timeout: Duration,

    /// When a run is given up and counted as lost (default: a minute and ten times as long as
    /// the run without a fault)
    #[arg(long, value_name = "DURATION", value_parser = chameleon_policy::duration::parse)]
    pub limit: Option<Duration>,

    /// Compare this file, written by the program, too; it is removed before each run (may be
    /// repeated)
    #[arg(long, value_name = "FILE")]
    pub compare: Vec<PathBuf>,

    /// What each run reads as its stdin (default: nothing)
    #[arg(long, value_name = "FILE", default_value = "/dev/null")]
    pub stdin: PathBuf,

    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<OsString>,
}

/// Options of `chameleon doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which environment is looked at, too, if there is one
    #[command(flatten)]
    pub place: Where,

    /// Print the findings as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Reads the command line. An error says how this process ends: after help or the version with 0,
/// after a usage error with 125 and one line on stderr.
pub fn parse(argv: Vec<OsString>) -> Result<Cli, ExitCode> {
    let cli = Cli::command()
        .try_get_matches_from(&argv)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match cli {
        Ok(cli) => match mistaken_option(&argv, &cli.command) {
            None => Ok(cli),
            Some(line) => Err(crate::complain(&line, crate::OWN_FAILURE)),
        },
        Err(error) => Err(explain(&error, &argv)),
    }
}

/// Help goes to stdout as it is; of an error, what matters is put into one line.
fn explain(error: &clap::Error, argv: &[OsString]) -> ExitCode {
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        let text = error.render().to_string();
        let shown = writeln!(std::io::stdout(), "{}", text.trim_end());
        return shown.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let subcommand = subcommand_of(argv);
    let line = match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::InvalidSubcommand if subcommand.is_empty() => {
            let word = argv.get(1).map(|word| word.to_string_lossy());
            let word =
                word.map_or("no command".to_string(), |word| format!("unknown command {word}"));
            format!("{word}; valid are: {} (see chameleon --help)", known().join(", "))
        }
        _ => one_line(&error.render().to_string(), subcommand),
    };
    crate::complain(&line, crate::OWN_FAILURE)
}

/// The paragraphs before "Usage:", joined, without the leading "error:".
fn one_line(rendered: &str, subcommand: &str) -> String {
    let before = rendered.split("\nUsage:").next().unwrap_or(rendered);
    let before = before.split("\nFor more information").next().unwrap_or(before);
    let words: Vec<&str> = before.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    format!("{text} (see chameleon {subcommand} --help)")
}

/// The word after `chameleon`, where it is one of ours; for the hint in an error.
fn subcommand_of(argv: &[OsString]) -> &str {
    let word = argv.get(1).and_then(|word| word.to_str());
    word.filter(|word| known().iter().any(|known| known == word)).unwrap_or_default()
}

/// The commands that are for people.
fn known() -> Vec<String> {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| command.get_name().to_owned()).collect()
}

/// PROGRAM may be followed by options of its own, so the parser takes an unknown option for
/// PROGRAM itself. Unless `--` stands before it, that is a mistake.
fn mistaken_option(argv: &[OsString], command: &Command) -> Option<String> {
    let (words, name) = match command {
        Command::Run(args) => (&args.command, "run"),
        Command::Campaign(args) => (&args.command, "campaign"),
        _ => return None,
    };
    let first = words.first()?;
    if !first.as_encoded_bytes().starts_with(b"-") {
        return None;
    }
    let at = argv.len().checked_sub(words.len())?;
    if at > 0 && argv[at - 1] == "--" {
        return None;
    }
    Some(format!(
        "unknown option {}; valid are: {} (see chameleon {name} --help)",
        first.to_string_lossy(),
        options(name)
    ))
}

/// The long options of a subcommand, for an error that names what is valid.
fn options(name: &str) -> String {
    let command = Cli::command();
    let Some(command) = command.find_subcommand(name) else {
        return String::new();
    };
    let longs = command.get_opts().filter_map(|arg| arg.get_long());
    let longs: Vec<String> = longs.map(|long| format!("--{long}")).collect();
    longs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn run_args(line: &str) -> RunArgs {
        match parse(words(line)).expect("a good command line").command {
            Command::Run(args) => *args,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_after_the_program_are_the_programs() {
        let args = run_args("chameleon run --mode simplex ls -v --mode tmr -- x");
        assert_eq!(args.mode.n, 1);
        assert!(!args.verbose);
        assert_eq!(args.command, words("ls -v --mode tmr -- x"));
    }

    #[test]
    fn two_dashes_protect_any_program_name() {
        let args = run_args("chameleon run -v -- --odd -- name");
        assert!(args.verbose);
        assert_eq!(args.command, words("--odd -- name"));
    }

    #[test]
    fn an_unknown_option_is_not_taken_for_the_program() {
        assert!(parse(words("chameleon run --bogus ls")).is_err());
        assert!(parse(words("chameleon campaign -q ls")).is_err());
    }

    #[test]
    fn the_hint_for_an_unknown_option_names_the_valid_ones() {
        let argv = words("chameleon run --bogus ls");
        let command = Command::Run(Box::new(run_args("chameleon run -- --bogus ls")));
        let line = mistaken_option(&argv, &command).expect("refused");
        assert!(line.contains("--bogus"), "{line}");
        assert!(line.contains("--mode"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn usage_errors_are_one_line() {
        let error = Cli::command()
            .try_get_matches_from(words("chameleon run --mode nonsense ls"))
            .expect_err("unknown mode");
        let line = one_line(&error.render().to_string(), "run");
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("nonsense"), "{line}");
    }
}
