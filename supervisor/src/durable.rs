//! What a run is told of its images. Used by the launch.

use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chameleon_ckpt::write::Writer;
use chameleon_interpose::durable::writer::Images;
use chameleon_sys::{cpu, raw};

use crate::launch::RunConfig;

/// Images that are kept restorable.
const KEEP: usize = 3;

/// The images of a new run in a directory that is taken.
pub fn images(dir: &Path, writer: Writer, config: &RunConfig) -> Images {
    let mut run = [0; 16];
    raw::random(&mut run);
    let words = std::iter::once(&config.program).chain(&config.args);
    Images {
        // The program may change its directory, and the ARMOR has another one.
        dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
        lock: writer.hand_over().map_or(-1, IntoRawFd::into_raw_fd),
        keep: KEEP,
        run,
        cpus: cpu::allowed(0),
        command: words.map(|word: &OsString| word.as_bytes().to_vec()).collect(),
    }
}
