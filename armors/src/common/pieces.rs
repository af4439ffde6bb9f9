//! Files that go from one ARMOR to another, in pieces that the receiver asks for.
//!
//! Invariant: nothing longer than a piece is held or sent. Used by the EXECUTION ARMOR for results and images, by
//! the CHECKPOINT ARMOR for images.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use chameleon_proto::message::app;
use ring::digest::{Context, SHA256};

/// Bytes of a piece: a quarter of the longest message.
pub(crate) const PIECE: usize = 256 << 10;

/// The piece of a file that begins there, up to byte `end`; empty behind it.
pub(crate) fn piece(path: &Path, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let long = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
    let mut bytes = vec![0; long];
    let mut have = 0;
    while have < long {
        match file.read_at(&mut bytes[have..], at + have as u64)? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// A file, up to byte `end`.
pub(crate) fn digest(path: &Path, end: u64) -> io::Result<app::File> {
    let file = match File::open(path) {
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
    let mut file = file.take(end);
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
