//! What a daemon that is started again must know: its ARMORs and who the FTM is.
//!
//! Invariant: an ARMOR is in the file before its process is started, with its process's number as soon as that
//! has one; so none is forgotten whenever the daemon is killed. The file holds no secret, only hashes
//! of them. It is of no use after the machine was started anew, and known by the boot's id. Used by
//! `daemon`.

use std::fs;
use std::path::{Path, PathBuf};

use chameleon_proto::ids::{ArmorId, Epoch, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::files::{Lasting, read_json, replace_json};

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which start of the machine it is about.
    pub boot: String,
    /// How often the daemon was started before.
    pub life: u32,
    /// The newest epoch it knew.
    pub epoch: Epoch,
    /// The FTM and its node.
    pub ftm: Option<(ArmorId, NodeId)>,
    /// Nodes, and where their daemons listen.
    pub nodes: Vec<(NodeId, String)>,
    /// ARMORs.
    pub armors: Vec<Kept>,
}

/// An ARMOR as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub armor: ArmorId,
    /// Who had it installed.
    pub manager: ArmorId,
    /// The SHA-256 of the secret that it was started with.
    pub cookie: Vec<u8>,
    /// Its process, and when that was started, in clock ticks since the machine was (`proc_pid_stat(5)`, field 22);
    /// nothing while it is being started.
    pub process: Option<(u32, u64)>,
}

/// The file of a state directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join("daemon.json")
}

/// The id of this start of the machine.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What the last daemon of this directory left, for the next life: ARMORs only if the machine was not
/// started anew since. Those that are gone with the machine are the second.
pub fn load(directory: &Path) -> Result<(State, Vec<Kept>), NetError> {
    let Some(mut state) = read_json::<State>(&path(directory))? else {
        return Ok((State { boot: boot(), ..State::default() }, Vec::new()));
    };
    state.life = state.life.saturating_add(1);
    let now = boot();
    let gone = if state.boot == now { Vec::new() } else { std::mem::take(&mut state.armors) };
    state.boot = now;
    Ok((state, gone))
}

/// Keeps it.
pub fn save(directory: &Path, state: &State) -> Result<(), NetError> {
    replace_json(&path(directory), state, Lasting::No)
}

/// When a process was started, in clock ticks since the machine was; nothing if it is not there.
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses and may hold any.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_in_the_next_life() {
        let directory = tempfile::tempdir().unwrap();
        let (state, _) = load(directory.path()).unwrap();
        assert_eq!((state.life, state.armors.len()), (0, 0));
        let me = std::process::id();
        let kept = Kept {
            armor: ArmorId::first(armors::VOTER, 1),
            manager: ArmorId::first(armors::FTM, 1),
            cookie: vec![7; 32],
            process: started(me).map(|at| (me, at)),
        };
        assert!(kept.process.is_some());
        save(directory.path(), &State { armors: vec![kept.clone()], ..state.clone() }).unwrap();
        let (next, gone) = load(directory.path()).unwrap();
        assert_eq!((next.life, next.armors, gone), (1, vec![kept.clone()], vec![]));
        let other = State { boot: "another".into(), armors: vec![kept.clone()], ..state };
        save(directory.path(), &other).unwrap();
        let (next, gone) = load(directory.path()).unwrap();
        assert_eq!((next.armors, gone), (vec![], vec![kept]));
    }
}
