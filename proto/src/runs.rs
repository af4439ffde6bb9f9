//! What a run says of itself to other processes of its user: the file beside its socket, and the
//! requests and replies on that socket, each a line of JSON.
//!
//! Invariant: a field that an older version does not know is passed over; one that it needs is never
//! taken away. Written by the supervisor and the EXECUTION ARMOR, read by `chameleon ps`,
//! `chameleon checkpoint` and `chameleon set`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest line, in bytes; arguments are cut so that a run's own fits.
pub const LINE: usize = 64 << 10;

/// A run, as it is known from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Its ID.
    pub id: String,
    /// The program's first process.
    pub pid: u32,
    /// The mode as the user writes it.
    pub mode: String,
    /// The program and its arguments, invalid UTF-8 replaced.
    pub argv: Vec<String>,
    /// When it began: seconds since 1970 (UTC).
    pub started: f64,
    /// The cadence of `--checkpoint`, if checkpoints are taken; [`Status`] has what was set since.
    pub checkpoint: Option<String>,
    /// The file of `--report`, as it was given.
    pub report: Option<String>,
}

/// What is asked of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How far it is.
    Status,
    /// Take a checkpoint now; answered when it has been taken.
    Checkpoint,
    /// How far the image of a checkpoint that was taken is.
    Image {
        /// As [`Reply::Taken`] gave it.
        ticket: u64,
    },
    /// Change it while it runs; answered when every process of it is so.
    Set {
        /// Another mode, as a user writes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// Another voting timeout, before any tuning: nanoseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ns: Option<u64>,
        /// Another cadence of checkpoints, as a user writes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<String>,
    },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Status),
    /// The checkpoint has been taken.
    Taken {
        /// Its number.
        #[serde(default)]
        ticket: u64,
        /// Whether the run writes images.
        #[serde(default)]
        images: bool,
    },
    /// To [`Request::Image`].
    Image(ImageState),
    /// To [`Request::Set`]: it is so now.
    Set {
        /// The mode that it has.
        mode: String,
    },
    /// It cannot be done.
    Refused {
        /// Why, in plain words.
        why: String,
    },
}

/// What has become of the image of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ImageState {
    /// It is being written.
    Writing {
        /// Its number.
        image: u64,
        /// Bytes of memory that have been read for it.
        read: u64,
        /// Of how many; 0 as long as that is not known.
        of: u64,
    },
    /// It is on the disk.
    Written {
        /// Its number.
        image: u64,
        /// Bytes of its files.
        bytes: u64,
        /// The image that it is an increment of.
        parent: Option<u64>,
    },
    /// There is none.
    Failed {
        /// Why, in plain words.
        why: String,
    },
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Calls decided, of all its processes.
    pub calls: u64,
    /// Checkpoints taken, of all its processes.
    pub checkpoints: u64,
    /// Roll-backs.
    pub rollbacks: u64,
    /// Replicas replaced.
    pub repairs: u64,
    /// Successors of its ARMOR.
    pub takeovers: u64,
    /// The mode that it has now.
    #[serde(default)]
    pub mode: String,
    /// The mode that it is to have, as long as not all of its processes have it.
    #[serde(default)]
    pub changes_to: Option<String>,
    /// The cadence of its checkpoints now, if it takes any.
    #[serde(default)]
    pub checkpoint: Option<String>,
}

/// The line of a value, with its newline.
///
/// # Errors
/// [`serde_json::Error`]; none is known to be possible.
pub fn to_line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|text| text + "\n")
}

/// Reads a line.
///
/// # Errors
/// [`serde_json::Error`] if it is not that value's.
pub fn from_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_exactly_these_and_read_back() {
        assert_eq!(to_line(&Request::Status).unwrap(), "{\"request\":\"status\"}\n");
        assert_eq!(to_line(&Request::Checkpoint).unwrap(), "{\"request\":\"checkpoint\"}\n");
        let set = Request::Set { mode: Some("tmr".into()), timeout_ns: None, checkpoint: None };
        assert_eq!(to_line(&set).unwrap(), "{\"request\":\"set\",\"mode\":\"tmr\"}\n");
        let done = Reply::Set { mode: "tmr".into() };
        assert_eq!(to_line(&done).unwrap(), "{\"reply\":\"set\",\"mode\":\"tmr\"}\n");
        let refused = Reply::Refused { why: "no".into() };
        assert_eq!(to_line(&refused).unwrap(), "{\"reply\":\"refused\",\"why\":\"no\"}\n");
        let taken = Reply::Taken { ticket: 0, images: false };
        assert_eq!(from_line::<Reply>(b"{\"reply\":\"taken\"}\n").unwrap(), taken);
        let writing = Reply::Image(ImageState::Writing { image: 7, read: 1, of: 2 });
        let line = "{\"reply\":\"image\",\"state\":\"writing\",\"image\":7,\"read\":1,\"of\":2}\n";
        assert_eq!(to_line(&writing).unwrap(), line);
        assert_eq!(from_line::<Reply>(line.as_bytes()).unwrap(), writing);
        let status = Reply::Status(Status { calls: 7, ..Status::default() });
        assert_eq!(from_line::<Reply>(to_line(&status).unwrap().as_bytes()).unwrap(), status);
    }

    #[test]
    fn a_later_versions_fields_are_passed_over() {
        let line = br#"{"request":"status","later":[1]}"#;
        assert_eq!(from_line::<Request>(line).unwrap(), Request::Status);
        assert!(from_line::<Request>(br#"{"request":"unknown"}"#).is_err());
    }
}
