//! What an image keeps of its run's options about checkpoints.
//!
//! Invariant: options are read as they were written, by the words of the command line; a word that is not
//! known is passed over, so that an older image can be restored. Written by the dispatcher into each image, as they are
//! then; read by restarts.

use super::Checkpoints;
use crate::duration;

impl Checkpoints {
    /// For an image.
    pub fn written(&self) -> Vec<u8> {
        let Self { cadence, retries, livelock, journal, memory, .. } = self;
        let livelock =
            livelock.map_or(String::new(), |d| format!("livelock={}ms\n", d.as_millis()));
        format!(
            "checkpoint={cadence}\nretries={retries}\njournal={journal}\nmemory={memory}\n{livelock}"
        )
        .into_bytes()
    }

    /// What an image says, if it says anything of checkpoints.
    pub fn read(options: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(options).ok()?;
        let value = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let number = |key: &str| value(key)?.parse::<u64>().ok();
        Some(Self {
            cadence: value("checkpoint")?.parse().ok()?,
            retries: number("retries").map_or(Self::RETRIES, |n| n as u8),
            livelock: value("livelock").and_then(|text| duration::parse(text).ok()),
            journal: number("journal").unwrap_or(Self::JOURNAL),
            memory: number("memory").unwrap_or(1 << 30),
            kept: Self::KEPT,
        })
    }
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
            assert_eq!(Checkpoints::read(&one.written()), Some(one));
        }
        assert_eq!(Checkpoints::read(b"unknown=1\n"), None);
    }
}
