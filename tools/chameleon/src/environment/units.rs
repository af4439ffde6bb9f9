//! The systemd units of a node: the daemon's and, where the FTM is started, the starter's.
//!
//! Invariant: only a unit that this program wrote is overwritten; what is written is said. Used by `init` and
//! `node enroll`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::place::Place;

const DAEMON: (&str, &str) =
    ("chameleon-daemon.service", include_str!("../../units/chameleon-daemon.service"));
const FTM: (&str, &str) =
    ("chameleon-ftm.service", include_str!("../../units/chameleon-ftm.service"));
/// Where an administrator's units are (systemd.unit(5)).
pub const DIRECTORY: &str = "/etc/systemd/system";
/// What those that may be overwritten begin with.
const OURS: &str = "# Written by `chameleon ";
/// What `StateDirectory=` names (systemd.exec(5)).
const STATE: &str = "/var/lib/chameleon";

/// The units of a node, before anything is written.
#[derive(Debug)]
pub struct Units {
    files: Vec<(PathBuf, String)>,
}

impl Units {
    /// Those of a node in this place, written by this command into this directory.
    ///
    /// # Errors
    /// They cannot be: only root's may be in the system's directory, another's unit is there, or a path
    /// cannot be written in a unit.
    pub fn of(place: &Place, directory: &Path, by: &str, manager: bool) -> anyhow::Result<Self> {
        ensure!(
            directory != Path::new(DIRECTORY) || nix::unistd::geteuid().is_root(),
            "only root may write units into {DIRECTORY}; as root say --systemd, or name another \
             directory with --systemd=DIR"
        );
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut templates = vec![DAEMON];
        if manager {
            templates.push(FTM);
        }
        let mut files = Vec::new();
        for (name, template) in templates {
            let path = directory.join(name);
            match fs::read_to_string(&path) {
                Ok(old) if !old.starts_with(OURS) => {
                    bail!("{} is there and another's; it is not overwritten", path.display());
                }
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
                _ => {}
            }
            files.push((path, fill(template, &program, place.directory(), by)?));
        }
        Ok(Self { files })
    }

    /// Writes them; which.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self) -> anyhow::Result<Vec<PathBuf>> {
        for (path, text) in &self.files {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(self.files.iter().map(|(path, _)| path.clone()).collect())
    }

    /// What is to be done then.
    pub fn advice(&self) -> String {
        let names = self.files.iter().filter_map(|(path, _)| path.file_name()?.to_str());
        let names: Vec<&str> = names.collect();
        format!("systemctl daemon-reload && systemctl enable --now {}", names.join(" "))
    }
}

fn fill(template: &str, program: &Path, directory: &Path, by: &str) -> anyhow::Result<String> {
    let state = if directory == Path::new(STATE) {
        "StateDirectory=chameleon\nStateDirectoryMode=0711\n"
    } else {
        ""
    };
    Ok(template
        .replace("@STATE@\n", state)
        .replace("@PROGRAM@", &word(program)?)
        .replace("@DIR@", &word(directory)?)
        .replace("@BY@", by))
}

/// A path as a word of a unit (systemd.service(5), "Command lines"; systemd.syntax(7)).
fn word(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.with_context(|| format!("{} cannot be written in a unit", path.display()))?;
    let text = text.replace('%', "%%").replace('$', "$$");
    let quoted = text.contains([' ', '"', '\'', '\\', ';']);
    Ok(if quoted { format!("{text:?}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_whole() {
        for (name, template) in [DAEMON, FTM] {
            for directory in [STATE, "/srv/a node"] {
                let text =
                    fill(template, Path::new("/usr/bin/chameleon"), Path::new(directory), "init")
                        .unwrap();
                assert!(text.starts_with(OURS), "{name}");
                assert!(!text.contains('@') || text.contains("=@system-service"), "{name}: {text}");
                assert_eq!(text.matches('@').count(), usize::from(name == FTM.0), "{name}: {text}");
                assert!(text.contains("ExecStart=/usr/bin/chameleon "), "{name}");
            }
        }
        let text = fill(DAEMON.1, Path::new("/a"), Path::new(STATE), "init").unwrap();
        assert!(text.contains("\nStateDirectory=chameleon\n"));
        assert_eq!(word(Path::new("/srv/a node/50%")).unwrap(), "\"/srv/a node/50%%\"");
    }
}
