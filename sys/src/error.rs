//! The one error type of this crate: which operation failed, on what, with which errno.
//!
//! Invariant: "no such process" stays recognisable ([`Error::is_gone`]), because a dead replica is
//! an outcome and not a failure of ours.

/// An errno value as the kernel names it (errno(3)).
pub use nix::errno::Errno;

/// A kernel operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {errno}")]
pub struct Error {
    /// What was tried, for example `"ptrace(SEIZE)"`.
    pub operation: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

impl Error {
    /// The last errno of the calling thread, for `operation`.
    pub fn last(operation: &'static str) -> Self {
        Self { operation, errno: Errno::last() }
    }

    /// Whether the process or the notification that was addressed no longer exists.
    pub fn is_gone(&self) -> bool {
        matches!(self.errno, Errno::ESRCH | Errno::ENOENT | Errno::ECHILD)
    }
}

/// The result of a kernel operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Turns a raw return value (negative errno) into a result.
pub fn check(operation: &'static str, ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) {
        Err(Error { operation, errno: Errno::from_raw(-ret as i32) })
    } else {
        Ok(ret as usize)
    }
}
