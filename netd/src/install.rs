//! Starting the process of an ARMOR (paper 4.3, `install_ARMOR`).
//!
//! Invariant: what the process may know of the daemon is on its standard input, a file in memory that
//! no other process has: not among its arguments or in its environment, where its children would
//! find it. The process is known to the state file before it exists. Called by `own`.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use chameleon_proto::birth::Birth;
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::Install;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::MemfdFlags;
use tokio::task::spawn_local;

use crate::armors::{hash, pidfd, watch};
use crate::daemon::Daemon;
use crate::route::name;
use crate::state::Kept;

/// Bytes of the secret that an ARMOR is started with.
const COOKIE: usize = 32;

/// So many random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| "the machine gives no random numbers".to_owned())?;
    Ok(bytes)
}

impl Daemon {
    /// Starts an ARMOR for the one who asks; its first message counts as installed.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub(crate) fn install(
        self: &Rc<Self>,
        asker: ArmorId,
        install: &Install,
    ) -> Result<(), String> {
        let asked = Instant::now();
        let armor = install.armor;
        if armor.home().is_some() {
            return Err("a daemon or a command is not installed".into());
        }
        if let Some(entry) = self.armors.get(name(armor)) {
            return Err(format!("{} is here already; uninstall it first", entry.armor));
        }
        let known = self.router.borrow().table.get(armor);
        if known.is_some_and(|(life, _)| life > armor.incarnation) {
            return Err("a later life of it is known".into());
        }
        let mut command = self.command(install)?;
        let cookie = random::<COOKIE>()?;
        let birth = Birth {
            armor,
            manager: asker,
            node: self.node(),
            socket: self.config.socket.to_string_lossy().into_owned(),
            cookie: cookie.to_vec(),
            parameters: install.parameters.clone(),
            descriptors: self.descriptors,
        };
        command.stdin(letter(&birth)?);
        let kept = Kept { armor, manager: asker, cookie: hash(&cookie), process: None };
        let entry = self.armors.add(self, &kept, Some((asker, asked)));
        self.save();
        let started = command.spawn().map_err(|error| {
            format!("{} cannot be started: {error}", command.get_program().to_string_lossy())
        });
        // The child is waited for by its pidfd, not by this handle.
        let pid = started.as_ref().map(|child| child.id()).map_err(String::clone);
        match pid.map(|pid| pidfd(pid).map(|pidfd| (pid, pidfd))) {
            Ok(Some((pid, pidfd))) => {
                entry.started(pid);
                self.save();
                spawn_local(watch(Rc::clone(self), entry, pidfd, true));
                Ok(())
            }
            Ok(None) => {
                if let Ok(mut child) = started {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                self.armors.remove(self, &entry);
                Err("its process cannot be watched".into())
            }
            Err(why) => {
                self.armors.remove(self, &entry);
                self.save();
                Err(why)
            }
        }
    }

    fn command(&self, install: &Install) -> Result<Command, String> {
        let kind = install.armor.kind;
        let named = || {
            let kind = armors::name(kind).map_or_else(|| kind.0.to_string(), str::to_owned);
            let mut program = self.config.program.clone();
            program.push(kind);
            program
        };
        let program = install.program.clone().unwrap_or_else(named);
        let (first, rest) = program.split_first().ok_or("no program is named")?;
        let mut command = Command::new(first);
        // A key that is pressed where the daemon was started is not for its ARMORs.
        command.args(rest).process_group(0);
        // Where the environment's files are on this node: its own are in one of its directories.
        if let Some(directory) = self.config.state.parent() {
            command.env("CHAMELEON_DIR", directory);
        }
        // sd_notify(3): what systemd gave the daemon is for the daemon alone.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        Ok(command)
    }
}

/// A file in memory with what an ARMOR starts with.
fn letter(birth: &Birth) -> Result<Stdio, String> {
    let bytes = birth.encode().map_err(|error| error.to_string())?;
    let write = || {
        let mut file = File::from(rustix::fs::memfd_create("birth", MemfdFlags::CLOEXEC)?);
        file.write_all(&bytes)?;
        file.rewind()?;
        std::io::Result::Ok(file)
    };
    write().map(Stdio::from).map_err(|error| format!("its standard input cannot be made: {error}"))
}
