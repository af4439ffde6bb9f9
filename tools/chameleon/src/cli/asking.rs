//! Options of the commands that ask the FTM: about applications, incidents, nodes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chameleon_policy::checkpoint::Cadence;
use chameleon_policy::duration;
use chameleon_policy::mode::Mode;
use clap::{Args, Subcommand};

use super::{Directory, Where};

/// Options of `chameleon submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The specification: a TOML file that says what is to be run and how dependable it shall be
    /// (docs/usage.md), or - for the standard input
    #[arg(value_name = "SPEC")]
    pub specification: PathBuf,

    /// Wait until the application has ended, say what happens meanwhile, and end as it did
    #[arg(long)]
    pub wait: bool,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print what became of it as JSON objects on stdout, one a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The specification, as for `chameleon submit`
    #[arg(value_name = "SPEC")]
    pub specification: PathBuf,

    /// Which environment; without a daemon the plan is for this machine alone
    #[command(flatten)]
    pub place: Where,

    /// Print the plan as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// A run (its ID as `chameleon ps` shows it, or its process number) or an application (its name or
    /// its number), and what it gets, such as mode=tmr; without one a parameter of the environment,
    /// such as heartbeat.interval=500ms
    #[arg(value_name = "[RUN|APP] NAME=VALUE")]
    pub words: Vec<String>,

    /// Another mode, as for `chameleon run`: each process gets replicas or loses some, without a
    /// restart
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,

    /// Another voting timeout, as for `chameleon run`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Option<Duration>,

    /// Checkpoints so often, as for `chameleon run`; of what was started with some
    #[arg(long, value_name = "EVERY")]
    pub checkpoint: Option<Cadence>,

    /// How long it is waited until all processes of a run have it; it goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub wait: Duration,

    /// Which environment; with it an application is meant, not a run
    #[command(flatten)]
    pub place: Where,

    /// Print what became of it as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// How often it is drawn again
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    pub interval: Duration,
}

/// Options of `chameleon logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The application: its name or its number
    #[arg(value_name = "APP")]
    pub app: String,

    /// Go on as it grows, until the application has ended
    #[arg(short, long)]
    pub follow: bool,

    /// Only this: stdout, stderr or report (may be repeated; without it stdout and stderr)
    #[arg(long, value_name = "WHAT")]
    pub what: Vec<String>,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print where the files are, as one JSON array on stdout, instead of what is in them
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,
}

/// Options of `chameleon events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub follow: bool,

    /// Only of this application: its name or its number
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,

    /// Only what is behind this number
    #[arg(long, value_name = "N", default_value = "0")]
    pub after: u64,

    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value = "100")]
    pub most: u32,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print them as JSON objects on stdout, one a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The incident's number, as `chameleon events` shows it
    #[arg(value_name = "INCIDENT", value_parser = clap::value_parser!(u64).range(1..))]
    pub incident: u64,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print it as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The application: its name or its number; one that has ended is forgotten
    #[arg(value_name = "APP")]
    pub app: String,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print what was done as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon shutdown`.
#[derive(Debug, Args)]
pub struct ShutdownArgs {
    /// Which environment
    #[command(flatten)]
    pub place: Directory,

    /// Print what was done as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// What to do
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What is done with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Tokens that let newcomers in
    Token(TokenArgs),
    /// Make this machine a node of an environment, by a token
    Enroll(EnrollArgs),
    /// List the nodes
    List(StatusArgs),
    /// Put nothing new on a node, and say what still runs there
    Drain(DrainArgs),
    /// Take a drained node back
    Undrain(OneNodeArgs),
    /// Make a node's certificates worthless and forget it; on the node of the authority
    Revoke(OneNodeArgs),
}

/// Options of `chameleon node token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a token that lets one newcomer in; on the node of the authority
    Create(CreateTokenArgs),
}

/// Options of `chameleon node token create`.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// How long it is good
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    pub ttl: Duration,

    /// The directory of the first node
    #[command(flatten)]
    pub place: Directory,

    /// Print it and where newcomers call as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon node enroll`.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// Where the authority lets newcomers in, as `chameleon node token create` says on stderr
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,

    /// The file with the token, or - for the standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,

    /// Where this node's daemon listens for the others
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:7410")]
    pub listen: SocketAddr,

    /// Where other nodes find this one, if that is another address than --listen
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// Where Prometheus reads the daemon's metrics: an address of this machine alone
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,

    /// Where the node keeps what it has
    #[command(flatten)]
    pub place: Directory,

    /// Write the units of this node for systemd into DIR; without it into /etc/systemd/system, as root
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true,
          default_missing_value = crate::environment::UNITS)]
    pub systemd: Option<PathBuf>,

    /// Print what was made as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon node drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node; how it is asked
    #[command(flatten)]
    pub node: OneNodeArgs,

    /// Have the programs that run there begin anew on other nodes; without it they stay until they end
    #[arg(long)]
    pub restart: bool,
}

/// Options of commands that are about one node.
#[derive(Debug, Args)]
pub struct OneNodeArgs {
    /// The node: its name or its number
    #[arg(value_name = "NODE")]
    pub node: String,

    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print what was done as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of commands that only say how something is.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which environment
    #[command(flatten)]
    pub place: Where,

    /// Print it as JSON on stdout
    #[arg(long)]
    pub json: bool,
}
