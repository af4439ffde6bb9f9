//! The directory that a program works in whose result is to be voted on.
//!
//! Invariant: nothing of a result is where the specification says before it was voted on. The
//! directory has a link to all that the program's own directory has, but for the results; a result
//! that is there already is copied, since the program may read it. Used by the EXECUTION ARMOR.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes `private` for a program that natively works in `directory`; what was in it before is gone.
///
/// # Errors
/// Of the file system.
pub(super) fn make(directory: &Path, private: &Path, results: &[String]) -> io::Result<()> {
    match fs::remove_dir_all(private) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let results: Vec<&Path> = results.iter().map(Path::new).collect();
    fill(directory, private, Path::new(""), &results)
}

/// One directory: those on the way to a result are made, others linked.
fn fill(directory: &Path, private: &Path, below: &Path, results: &[&Path]) -> io::Result<()> {
    fs::create_dir_all(private.join(below))?;
    let entries = match fs::read_dir(directory.join(below)) {
        Ok(entries) => entries,
        // The program makes it itself, or does not; natively it would not be there.
        Err(e) if e.kind() == io::ErrorKind::NotFound && below != Path::new("") => {
            return fs::remove_dir(private.join(below));
        }
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let name = below.join(entry.file_name());
        let (from, to) = (directory.join(&name), private.join(&name));
        if results.contains(&name.as_path()) {
            if fs::metadata(&from)?.is_file() {
                fs::copy(&from, &to)?;
            }
        } else if results.iter().any(|result| result.starts_with(&name)) {
            fill(directory, private, &name, results)?;
        } else {
            symlink(&from, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_seen_and_results_stay_inside() {
        let scratch = tempfile::tempdir().unwrap();
        let (own, private) = (scratch.path().join("own"), scratch.path().join("private"));
        fs::create_dir_all(own.join("out/deep")).unwrap();
        fs::create_dir_all(own.join("data")).unwrap();
        for (name, text) in
            [("in.txt", "in"), ("data/a", "a"), ("out/c.txt", "old"), ("out/other", "other")]
        {
            fs::write(own.join(name), text).unwrap();
        }
        let results = ["out/c.txt".to_owned(), "new/d.txt".to_owned()];
        for _ in 0..2 {
            make(&own, &private, &results).unwrap();
            for name in ["in.txt", "data/a", "out/c.txt", "out/other"] {
                let same = fs::read(own.join(name)).unwrap();
                assert_eq!(fs::read(private.join(name)).unwrap(), same, "{name}");
            }
            assert!(!private.join("new").exists());
            fs::write(private.join("out/c.txt"), "result").unwrap();
            assert_eq!(fs::read(own.join("out/c.txt")).unwrap(), b"old");
        }
        assert!(make(&scratch.path().join("none"), &private, &results).is_err());
    }
}
