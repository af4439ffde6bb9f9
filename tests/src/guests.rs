//! The C guests: built once, by `guests/build.sh`, into the target directory.
//!
//! Invariant: one builder at a time (a lock file), so that test processes may run beside each other.
//! Called by the tests for the path of a guest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of a guest by its name, for example `hello`.
///
/// # Panics
/// If the guests cannot be built or there is none of this name.
pub fn guest(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let path = DIRECTORY.get_or_init(build).join(name);
    assert!(path.is_file(), "no guest is named {name}");
    path
}

fn build() -> PathBuf {
    let out = crate::binary::target().join("guests");
    std::fs::create_dir_all(&out).expect("the target directory can be written");
    let lock = File::create(out.join(".lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/build.sh");
    let built = Command::new(&script).arg(&out).output().expect("the build script starts");
    assert!(
        built.status.success(),
        "the guests do not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    out
}
