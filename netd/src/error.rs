//! What can go wrong in a daemon, for those who start one.

use std::io;
use std::path::PathBuf;

/// Why a daemon, an authority or an enrolment cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum NetError {
    #[error("cannot {what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} cannot be understood: {why}")]
    Content { path: PathBuf, why: String },
    #[error(
        "{path} can be read by others (mode {mode:03o}); it holds a secret: chmod 600 it, and if others may have read it, make a new one"
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error("another daemon listens at {0}")]
    Running(PathBuf),
    #[error("cannot listen at {at}: {source}")]
    Listen { at: String, source: io::Error },
    #[error("metrics are for this machine alone; {0} is not a loopback address")]
    Metrics(std::net::SocketAddr),
    #[error("a certificate is not what it should be: {0}")]
    Certificate(String),
    #[error("cannot make a key or a certificate: {0}")]
    Generate(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("the token is not one of Chameleon's; copy the whole line that `token create` printed")]
    Token,
    #[error("{0} already exists; it is not overwritten")]
    Exists(PathBuf),
    #[error("cannot talk to {at}: {why}")]
    Talk { at: String, why: String },
    #[error("{at} refused: {why}")]
    Refused { at: String, why: String },
}

/// Names the operation and the file of an input or output error.
pub(crate) fn file(
    what: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> NetError {
    let path = path.into();
    move |source| NetError::File { what, path, source }
}
