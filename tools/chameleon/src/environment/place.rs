//! Where a node keeps what it has, and where its daemon is found.
//!
//! ```text
//!  DIR/node.toml     what the daemon is told           DIR/daemon.sock  ARMORs and commands call here
//!  DIR/authority/    on the environment's first node   DIR/identity/    key and certificate
//!  DIR/state/        the daemon's                      DIR/manager/     the FTM's
//!  DIR/backup/       the Backup FTM's                  DIR/apps/        output of applications
//! ```
//!
//! Invariant: `--dir`, `--socket`, `$CHAMELEON_DIR`, then the usual directories, in this order. Used by all
//! commands of an environment.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::node_file::NodeFile;
use crate::cli::{Directory, Where};

/// The directory of a node that is the machine's.
const SYSTEM: &str = "/var/lib/chameleon";
/// The socket of the machine's daemon, where its unit puts it.
pub const SYSTEM_SOCKET: &str = "/run/chameleon/daemon.sock";
/// The variable that names a node's directory.
const VARIABLE: &str = "CHAMELEON_DIR";

/// The directory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
}

impl Place {
    /// The directory that is meant; an absolute path.
    pub fn of(args: &Directory) -> anyhow::Result<Self> {
        let named = args.dir.clone().or_else(variable);
        let directory = match named {
            Some(named) => named,
            None => usual()?,
        };
        let directory = std::path::absolute(&directory)
            .with_context(|| format!("{} is no directory", directory.display()))?;
        Ok(Self { directory })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the directory. Where the daemon is root others may go through it, and look into nothing that is
    /// there: what runs as another user has its files below.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> anyhow::Result<()> {
        let made = || {
            if let Some(above) = self.directory.parent() {
                std::fs::create_dir_all(above)?;
            }
            let mode = if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 };
            match DirBuilder::new().mode(mode).create(&self.directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        };
        made().with_context(|| format!("cannot make {}", self.directory.display()))
    }

    /// What the daemon is told.
    pub fn node_file(&self) -> PathBuf {
        self.at("node.toml")
    }

    /// The same for a node that is to be made.
    ///
    /// # Errors
    /// It is there: nothing is overwritten.
    pub fn new_node_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.node_file();
        if path.exists() {
            bail!(
                "{} is there already: {} is a node of an environment; name another with --dir",
                path.display(),
                self.directory.display()
            );
        }
        Ok(path)
    }

    /// The environment's authority.
    pub fn authority(&self) -> PathBuf {
        self.at("authority")
    }

    /// Key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.at("identity")
    }

    /// The daemon's state.
    pub fn state(&self) -> PathBuf {
        self.at("state")
    }

    /// The FTM's.
    pub fn manager(&self) -> PathBuf {
        self.at("manager")
    }

    /// There if people have ended the environment: no FTM is to be started.
    pub fn ended(&self) -> PathBuf {
        self.manager().join("ended")
    }

    /// The socket, if the node's file names no other.
    pub fn socket(&self) -> PathBuf {
        self.at("daemon.sock")
    }
}

fn variable() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The directory of whoever says nothing.
fn usual() -> anyhow::Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM));
    }
    // XDG Base Directory Specification: a relative path is to be ignored.
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    let state = state.context("there is no HOME; say where with --dir DIR")?;
    Ok(state.join("chameleon"))
}

/// The socket of the daemon that is meant.
pub fn socket(args: &Where) -> anyhow::Result<PathBuf> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let said = args.dir.is_some() || variable().is_some();
    let place = Place::of(&Directory { dir: args.dir.clone() })?;
    let own = place.node_file().exists();
    // Commands of any user may be meant for the machine's daemon, whose directory is closed to them.
    if !said && !own && Path::new(SYSTEM_SOCKET).exists() {
        return Ok(PathBuf::from(SYSTEM_SOCKET));
    }
    if own { Ok(NodeFile::load(&place)?.socket(&place)) } else { Ok(place.socket()) }
}
