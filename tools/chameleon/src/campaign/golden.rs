//! The native run, with which all others are compared: stdout, exit status, named files.
//!
//! Invariant: stderr is not compared, because Chameleon's own lines go there.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::Context;

use super::trial::{Finished, Scratch, same_bytes};

/// What the program does natively.
pub struct Golden {
    status: ExitStatus,
    stdout: PathBuf,
    /// The files to compare, and what the native run wrote into each.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Golden {
    /// Keeps what the native run has left, and removes its files for the next.
    pub fn keep(native: &Finished, files: &[PathBuf], scratch: &Scratch) -> anyhow::Result<Self> {
        let mut kept = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            let copy = scratch.path(&format!("file-{number}"));
            fs::copy(file, &copy).with_context(|| {
                format!("--compare {}: not left by the program", file.display())
            })?;
            kept.push((file.clone(), copy));
        }
        let golden = Self { status: native.status, stdout: native.stdout.clone(), files: kept };
        golden.clear()?;
        Ok(golden)
    }

    /// Removes the named files, so that one that a run does not write is missed.
    pub fn clear(&self) -> anyhow::Result<()> {
        for (file, _) in &self.files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("--compare {}", file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the native run's files back, so that none of a faulty run stays behind.
    pub fn restore(&self) -> anyhow::Result<()> {
        for (file, copy) in &self.files {
            fs::copy(copy, file).with_context(|| format!("--compare {}", file.display()))?;
        }
        Ok(())
    }

    /// What of a run differs.
    pub fn compare(&self, run: &Finished) -> anyhow::Result<Difference> {
        let mut difference = Difference::default();
        if run.status != self.status {
            difference.end = Some(format!("the end ({}, not {})", run.status, self.status));
        }
        if !same_bytes(&self.stdout, &run.stdout)? {
            difference.outputs.push("stdout".to_string());
        }
        for (file, copy) in &self.files {
            if !same_bytes(file, copy)? {
                difference.outputs.push(file.display().to_string());
            }
        }
        Ok(difference)
    }
}

/// What of a run differs from the native one, in words.
#[derive(Debug, Default)]
pub struct Difference {
    /// Stdout and files.
    pub outputs: Vec<String>,
    /// Exit status or signal.
    pub end: Option<String>,
}

impl Difference {
    /// The first of all, if any.
    pub fn first(&self) -> Option<&str> {
        self.end.as_deref().or(self.outputs.first().map(String::as_str))
    }
}
