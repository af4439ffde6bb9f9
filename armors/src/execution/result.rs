//! What a VOTER fetches of a result.
//!
//! Invariant: nothing longer than a piece is held or sent; the receiver asks for the next. Used by the
//! EXECUTION ARMOR when its program has ended.

use std::io;
use std::path::PathBuf;

use chameleon_proto::message::app::{Content, What};

use crate::common::pieces::{digest, piece};

/// The result of an attempt that is over.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub directory: PathBuf,
    pub files: Vec<String>,
    pub status: i32,
}

impl Outcome {
    /// What is asked for.
    pub fn fetch(&self, what: What) -> Content {
        let content = match what {
            What::Digest => {
                let files = self.files.iter().map(|name| {
                    // All of it, as long as it is.
                    digest(&self.directory.join(name), u64::MAX)
                });
                files.collect::<io::Result<_>>().map(|files| Content::Digest(self.status, files))
            }
            What::File(number, at) => match self.files.get(number as usize) {
                None => return Content::Refused("there is no result of this number".to_owned()),
                Some(name) => piece(&self.directory.join(name), at, u64::MAX).map(Content::Bytes),
            },
            _ => return Content::Refused("this is no result".to_owned()),
        };
        content
            .unwrap_or_else(|error| Content::Refused(format!("a result cannot be read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use ring::digest::SHA256;

    use super::*;
    use crate::common::pieces::PIECE;

    #[test]
    fn files_come_in_pieces_and_absent_ones_are_said() {
        let scratch = tempfile::tempdir().unwrap();
        let long: Vec<u8> = (0..PIECE + 7).map(|n| n as u8).collect();
        std::fs::write(scratch.path().join("a"), &long).unwrap();
        let outcome = Outcome {
            directory: scratch.path().to_owned(),
            files: vec!["a".into(), "b".into()],
            status: 3,
        };
        let Content::Digest(3, files) = outcome.fetch(What::Digest) else { panic!("no digest") };
        assert_eq!(files[0].length, Some(long.len() as u64));
        assert_eq!(files[0].digest, ring::digest::digest(&SHA256, &long).as_ref());
        assert_eq!(files[1].length, None);
        let mut got = Vec::new();
        while let Content::Bytes(bytes) = outcome.fetch(What::File(0, got.len() as u64)) {
            if bytes.is_empty() {
                break;
            }
            got.extend(bytes);
        }
        assert_eq!(got, long);
        assert!(matches!(outcome.fetch(What::File(2, 0)), Content::Refused(_)));
    }
}
