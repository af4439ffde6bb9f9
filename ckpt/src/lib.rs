//! Checkpoints on disk: what an image says of a program, how it is written, read, kept and checked.
//!
//! How a process is frozen, and how a program is started again from an image, is not here: a writer
//! gets a description and something to read pages from, a reader gives both back.
//!
//! A checkpoint directory holds
//!
//! ```text
//! DIR/lock                     flock(2) of the one writer
//! DIR/images/000007/manifest   the description (`image`), and what the other two files must be
//! DIR/images/000007/index      which pages the image holds, and where (`map`)
//! DIR/images/000007/pages.bin  their bytes, in compressed chunks
//! DIR/images/000008.tmp/       being written; renamed when all of it is on the disk
//! DIR/images/000003.gone/      being removed
//! DIR/undo/000007.log          what undoes what files have suffered since checkpoint 7 (`undo`)
//! DIR/undo/000007.kept-2       a file that was removed since then
//! DIR/undo/000007.moved        where files of image 7 are here, if it was written on another machine (`moved`)
//! ```
//!
//! Invariant: no `unsafe`; no name in DIR is touched but these; whatever is wrong with a file is an
//! [`Error`] that names it, never a panic and never a wrong page. Called by the supervisor (writing,
//! restoring) and by `chameleon images`.

pub mod dir;
pub mod error;
mod frame;
pub mod image;
pub mod locks;
pub mod map;
pub mod moved;
pub mod preflight;
pub mod read;
pub mod retain;
pub mod source;
pub mod storage;
pub mod undo;
pub mod verify;
pub mod write;

pub use error::{Error, Result};

/// The version of the files' form; raised with every change of what is encoded in them.
pub const FORMAT: u32 = 6;

/// Bytes of a page.
pub const PAGE: usize = 4096;
