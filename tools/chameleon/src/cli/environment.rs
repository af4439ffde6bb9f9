//! Options of the commands that are about an environment: its nodes, its managers, its applications.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Which environment is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Where {
    /// The directory of this node of the environment (default: $CHAMELEON_DIR, or
    /// /var/lib/chameleon for root and ~/.local/state/chameleon for others)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// The socket of this node's daemon, if it is not the directory's
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// The directory of a node.
#[derive(Clone, Debug, Default, Args)]
pub struct Directory {
    /// The directory of this node of the environment (default: $CHAMELEON_DIR, or
    /// /var/lib/chameleon for root and ~/.local/state/chameleon for others)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Options of `chameleon init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where the node keeps what it has
    #[command(flatten)]
    pub place: Directory,

    /// What the environment is called
    #[arg(long, value_name = "NAME", default_value = "chameleon")]
    pub name: String,

    /// Where the daemon listens for the daemons of other nodes; without it the environment has this
    /// node alone. Newcomers call at the port behind it
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,

    /// Where other nodes find this one, if that is another address than --listen
    #[arg(long, value_name = "HOST:PORT", requires = "listen")]
    pub address: Option<String>,

    /// Where Prometheus reads the daemon's metrics: an address of this machine alone
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,

    /// Write the units of this node for systemd into DIR; without it into /etc/systemd/system, as root
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true,
          default_missing_value = crate::environment::UNITS)]
    pub systemd: Option<PathBuf>,

    /// Print what was made as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Options of `chameleon daemon`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Where the node keeps what it has
    #[command(flatten)]
    pub place: Directory,

    /// Do not look after the environment's FTM; `chameleon ftm` does
    #[arg(long)]
    pub no_ftm: bool,
}

/// Options of `chameleon ftm`.
#[derive(Debug, Args)]
pub struct FtmArgs {
    /// Where the node keeps what it has
    #[command(flatten)]
    pub place: Directory,
}
