//! What a run is told of its images, and what its images keep of a run's options.
//!
//! Invariant: options are read as they were written, by the words of the command line; a word that is not
//! known is passed over, so that an older image can be restored. Used by the launch and by restarts.

use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chameleon_ckpt::write::Writer;
use chameleon_interpose::durable::writer::Images;
use chameleon_policy::checkpoint::Checkpoints;
use chameleon_sys::{cpu, raw};

use crate::launch::RunConfig;

/// Images that are kept restorable.
const KEEP: usize = 3;

/// The images of a new run in a directory that is taken.
pub fn images(dir: &Path, writer: Writer, config: &RunConfig) -> Images {
    let mut run = [0; 16];
    raw::random(&mut run);
    let words = std::iter::once(&config.program).chain(&config.args);
    Images {
        // The program may change its directory, and the ARMOR has another one.
        dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
        lock: writer.hand_over().map_or(-1, IntoRawFd::into_raw_fd),
        keep: KEEP,
        run,
        cpus: cpu::allowed(0),
        options: config.checkpoints.map(|c| write(&c)).unwrap_or_default(),
        command: words.map(|word: &OsString| word.as_bytes().to_vec()).collect(),
    }
}

fn write(c: &Checkpoints) -> Vec<u8> {
    let Checkpoints { cadence, retries, livelock, journal, memory, .. } = c;
    let livelock = livelock.map_or(String::new(), |d| format!("livelock={}ms\n", d.as_millis()));
    format!(
        "checkpoint={cadence}\nretries={retries}\njournal={journal}\nmemory={memory}\n{livelock}"
    )
    .into_bytes()
}

/// What an image says of checkpoints.
pub fn read(options: &[u8]) -> Option<Checkpoints> {
    let text = std::str::from_utf8(options).ok()?;
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let number = |key: &str| value(key)?.parse::<u64>().ok();
    Some(Checkpoints {
        cadence: value("checkpoint")?.parse().ok()?,
        retries: number("retries").map_or(Checkpoints::RETRIES, |n| n as u8),
        livelock: value("livelock").and_then(|text| chameleon_policy::duration::parse(text).ok()),
        journal: number("journal").unwrap_or(Checkpoints::JOURNAL),
        memory: number("memory").unwrap_or(1 << 30),
        kept: Checkpoints::KEPT,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn options_read_back() {
        for livelock in [None, Some(Duration::from_millis(1500))] {
            let one = Checkpoints {
                cadence: "1.5s,1000calls".parse().unwrap(),
                retries: 5,
                livelock,
                journal: 1 << 26,
                memory: 77,
                kept: Checkpoints::KEPT,
            };
            assert_eq!(read(&write(&one)), Some(one));
        }
        assert_eq!(read(b"unknown=1\n"), None);
    }
}
