//! What a test needs beyond the base system.
//!
//! Invariant: a missing program is said, never silently passed over; with `CI=true` it fails. Called
//! at the head of a test.

use std::path::{Path, PathBuf};

/// Where a program is: on the path, or where servers are, which may not be on it.
pub fn program_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Says that something is not there.
///
/// # Panics
/// With `CI=true` in the environment, where everything has to be.
pub fn need(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
    println!("skipped: {what}");
}

/// Whether all these programs are there; if not, prints `skipped: NAME is not installed`.
///
/// # Panics
/// With `CI=true` in the environment, where everything has to be installed.
pub fn have(names: &[&str]) -> bool {
    for name in names {
        if program_path(name).is_none() {
            need(&format!("{name} is not installed"));
            return false;
        }
    }
    true
}

/// The system's python3, not a wrapper script of some version manager.
pub fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// The path of a script in `tests/programs`.
///
/// # Panics
/// If there is none of this name.
pub fn script(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name);
    assert!(path.is_file(), "no script is named {name}");
    path
}
