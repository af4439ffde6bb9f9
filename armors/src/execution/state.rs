//! What an EXECUTION ARMOR leaves for its next life.
//!
//! Invariant: it is written before a run is started and as soon as its process is known, so that a
//! successor never starts a second one beside it. Of a process its number, the time of its start and the
//! boot are noted: a number alone may be another's by then.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file.
const NAME: &str = "run.toml";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Which start of the program; 0 for none.
    pub attempt: u32,
    /// Whether it goes on from an image.
    pub restored: bool,
    /// In which attempt the images there are were begun.
    pub images: u32,
    /// Which machine's which boot.
    pub boot: String,
    /// The run's process, if it is known.
    pub pid: Option<u32>,
    /// When that was started: proc(5), stat, field 22.
    pub started: u64,
    /// When the attempt began: nanoseconds since 1970 (UTC).
    pub began_ns: u64,
    /// What it left, if it is over and was waited for.
    pub status: Option<i32>,
    /// Whether it is over.
    pub over: bool,
}

impl State {
    /// What an earlier life left.
    pub fn load(home: &Path) -> Self {
        let text = fs::read_to_string(home.join(NAME)).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// Puts it in the place of what was there.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, home: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let new = home.join("run.toml.new");
        fs::write(&new, text)?;
        fs::rename(new, home.join(NAME))
    }

    /// The process, if it is still the one that was meant.
    pub fn alive(&self) -> Option<u32> {
        let pid = self.pid?;
        (!self.over && self.boot == boot() && started(pid) == Some(self.started)).then_some(pid)
    }
}

/// The machine's boot.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process was started, in ticks of the boot's clock; nothing if it has ended.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have blanks and parentheses itself (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_knows_its_process() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(State::load(home.path()), State::default());
        let pid = std::process::id();
        let state = State {
            attempt: 2,
            boot: boot(),
            pid: Some(pid),
            started: started(pid).unwrap(),
            ..State::default()
        };
        state.save(home.path()).unwrap();
        let loaded = State::load(home.path());
        assert_eq!(loaded, state);
        assert_eq!(loaded.alive(), Some(pid));
        assert_eq!(State { started: state.started + 1, ..loaded.clone() }.alive(), None);
        assert_eq!(State { boot: "other".into(), ..loaded }.alive(), None);
    }
}
