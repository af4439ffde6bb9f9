//! A run's own entry among the runs: made when it starts, taken away when it ends.
//!
//! Invariant: whoever sees the file `info` sees it whole, and locked by a run that lives: it is
//! written and locked under another name. All descriptors are close-on-exec. Made and held by the
//! supervisor.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use chameleon_proto::runs::{Info, LINE, to_line};
use chameleon_sys::raw;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

use super::place;
use crate::launch::Run;

/// Names that are tried before there is taken to be none.
const TRIES: u32 = 16;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Entry {
    run: PathBuf,
    /// Held, and never read: it is what says that the run lives.
    _lock: Flock<File>,
    listener: OwnedFd,
}

impl Entry {
    /// Makes the entry of a run in the first place where that can be done.
    ///
    /// # Errors
    /// The last place's.
    pub(crate) fn create(run: &Run) -> io::Result<Self> {
        // What is made here is for this user alone, whatever the program's mask says.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let mut info = describe(run);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for base in place::bases() {
            for _ in 0..TRIES {
                info.id = fresh_id();
                let runs = place::runs(&base);
                let path = runs.join(&info.id);
                let made = place::private(&base)
                    .and_then(|()| place::private(&runs))
                    .and_then(|()| place::make(&path));
                match made {
                    // Taken, or the one above was removed by a run that has ended.
                    Err(e) if again(&e) => last = e,
                    Err(e) => {
                        last = e;
                        break;
                    }
                    Ok(()) => match fill(path.clone(), &info) {
                        Ok(entry) => return Ok(entry),
                        Err(e) => {
                            place::remove(&path);
                            last = e;
                            break;
                        }
                    },
                }
            }
        }
        Err(last)
    }

    /// The listening socket, which does not block.
    pub(crate) fn listener(&self) -> i32 {
        self.listener.as_raw_fd()
    }

    /// Takes it away: the run ends.
    pub(crate) fn remove(&self) {
        place::remove(&self.run);
    }
}

fn again(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
}

fn fill(run: PathBuf, info: &Info) -> io::Result<Entry> {
    let name = run.join(super::INFO_NEW);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name)?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e)?;
    lock.write_all(to_line(info)?.as_bytes())?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // A path in an address has room for 107 bytes; by way of the directory it always fits.
    let directory = File::open(&run)?;
    let short = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), super::CONTROL);
    bind(listener.as_raw_fd(), &UnixAddr::new(short.as_str())?)?;
    listen(&listener, Backlog::new(128)?)?;
    std::fs::rename(&name, run.join(super::INFO))?;
    Ok(Entry { run, _lock: lock, listener })
}

/// Six letters and digits that cannot be mistaken for one another, a letter first, so that no ID is
/// a process number.
fn fresh_id() -> String {
    const LETTERS: &[u8; 22] = b"abcdefghjkmnpqrstvwxyz";
    const ALL: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = [0u8; 6];
    raw::random(&mut random);
    let [first, rest @ ..] = random;
    let rest = rest.iter().map(|byte| ALL[usize::from(byte % 32)]);
    let id = std::iter::once(LETTERS[usize::from(first) % LETTERS.len()]).chain(rest);
    id.map(char::from).collect()
}

fn describe(run: &Run) -> Info {
    let config = &run.config;
    // Escaped in JSON a byte may become six.
    let mut room = LINE / 8;
    let mut argv = Vec::new();
    for word in std::iter::once(&config.program).chain(&config.args) {
        let word = word.to_string_lossy();
        if word.len() >= room {
            argv.push("…".to_owned());
            break;
        }
        room -= word.len() + 1;
        argv.push(word.into_owned());
    }
    Info {
        id: String::new(),
        pid: run.root,
        mode: config.mode.to_string(),
        argv,
        started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        checkpoint: config.checkpoints.map(|c| c.cadence.to_string()),
        report: config.report.as_ref().map(|path| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_six_characters_and_no_number() {
        for _ in 0..1000 {
            let id = fresh_id();
            assert_eq!(id.len(), 6, "{id}");
            assert!(id.starts_with(|c: char| c.is_ascii_lowercase()), "{id}");
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{id}");
            assert!(!id.contains(['i', 'l', 'o', 'u']), "{id}");
        }
    }
}
