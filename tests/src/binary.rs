//! Where the `chameleon` program under test is.
//!
//! Invariant: it is the release build of this workspace, unless `CHAMELEON_BIN` names another, or
//! `CHAMELEON_CRASHING` one whose ARMORs end by themselves; each is built at most once a test process. Called by
//! the scenarios.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program under test.
///
/// # Panics
/// If `CHAMELEON_BIN` is set and names no file, or if the build fails.
pub fn chameleon() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named("CHAMELEON_BIN").unwrap_or_else(|| build(&[], &target())))
}

/// The file that a variable of the environment names.
fn named(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    assert!(path.is_file(), "{variable} names no file: {}", path.display());
    Some(path)
}

/// The directory cargo builds this workspace into: two above that of the running test.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the test program has a path");
    let profile = test.parent().and_then(Path::parent);
    let target = profile.and_then(Path::parent).expect("tests are at target/PROFILE/deps/NAME");
    target.to_owned()
}

/// The program built so that its ARMORs kill themselves as `CHAMELEON_CRASH` says (see
/// `interpose/src/arena/crash.rs`).
///
/// # Panics
/// If `CHAMELEON_CRASHING` is set and names no file, or if the build fails.
pub fn crashing() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let built = || build(&["--features", "crash-points"], &target().join("crash-points"));
    BINARY.get_or_init(|| named("CHAMELEON_CRASHING").unwrap_or_else(built))
}

fn build(options: &[&str], into: &Path) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "chameleon"])
        .args(options)
        .arg("--target-dir")
        .arg(into)
        .current_dir(root)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the build of the chameleon program failed");
    into.join("release/chameleon")
}
