//! Looking at an executable before it is executed: what cannot run as a replica.
//!
//! Invariant: says nothing about files that do not exist or cannot be read; the exec itself
//! gives those their error.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::rights;

/// Why replicas of effective identity `owner` (user, group) cannot become this program; `None` if
/// they can, or if exec itself will say.
pub fn why_not(path: &Path, owner: (u32, u32), who: &str) -> Option<&'static str> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return None;
    }
    let gains = (meta.mode() & 0o4000 != 0 && meta.uid() != owner.0)
        || (meta.mode() & 0o2010 == 0o2010 && meta.gid() != owner.1);
    if gains {
        return Some("a set-user-ID program gets no rights when it is traced");
    }
    if rights::would_gain(path, who) {
        return Some("it would gain capabilities, and a traced program gets none");
    }
    let mut file = options.open(path).ok()?;
    let mut head = [0u8; 20];
    file.read_exact(&mut head).ok()?;
    if head[..4] != *b"\x7fELF" {
        return None;
    }
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if head[4] != 2 || machine != 62 {
        return Some("it is not a 64-bit x86-64 program");
    }
    None
}

/// The effective user and group of this process.
pub fn own_identity() -> (u32, u32) {
    // SAFETY: both always succeed and touch no memory.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Whether this process may execute the file (faccessat(2), X_OK with the effective identity).
pub fn may_execute(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(c) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: a NUL-terminated path.
    unsafe { libc::faccessat(libc::AT_FDCWD, c.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}
