//! What a VOTER fetches of a result.
//!
//! Invariant: nothing longer than a piece is held or sent; the receiver asks for the next. Used by the
//! EXECUTION ARMOR when its program has ended.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chameleon_proto::message::app::{self, Content, What};
use ring::digest::{Context, SHA256};

/// Bytes of a piece: a quarter of the longest message.
const PIECE: usize = 256 << 10;

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
                let files = self.files.iter().map(|name| digest(&self.directory.join(name)));
                files.collect::<io::Result<_>>().map(|files| Content::Digest(self.status, files))
            }
            What::File(number, at) => match self.files.get(number as usize) {
                None => return Content::Refused("there is no result of this number".to_owned()),
                Some(name) => piece(&self.directory.join(name), at).map(Content::Bytes),
            },
        };
        content
            .unwrap_or_else(|error| Content::Refused(format!("a result cannot be read: {error}")))
    }
}

fn piece(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; PIECE];
    let mut have = 0;
    while have < PIECE {
        match file.read_at(&mut bytes[have..], at + have as u64)? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

fn digest(path: &Path) -> io::Result<app::File> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(app::File { length: None, digest: Vec::new(), mode: 0 });
        }
        other => other?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    let (mut sum, mut length) = (Context::new(&SHA256), 0);
    let mut bytes = vec![0; PIECE];
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            more => {
                sum.update(&bytes[..more]);
                length += more as u64;
            }
        }
    }
    let (digest, mode) = (sum.finish().as_ref().to_vec(), meta.permissions().mode() & 0o7777);
    Ok(app::File { length: Some(length), digest, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

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
