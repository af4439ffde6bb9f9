//! Checks an image and all that it builds on, byte by byte, and names everything that is wrong.
//!
//! Invariant: reads only; no finding means that every page of the image can be restored. Called by
//! `chameleon images verify`, and before a restart.

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::read::{Chain, Opened, Unpacker};

/// How many bytes there are to check in image `sequence`, without those it builds on.
///
/// # Errors
/// As [`Opened::open`].
pub fn bytes(dir: &Dir, sequence: u64) -> Result<u64> {
    Ok(Opened::open(dir, sequence)?.manifest.pages_len)
}

/// Everything wrong with image `sequence` itself; `progress` is told of every checked byte of its
/// pages.
pub fn image(dir: &Dir, sequence: u64, progress: &mut dyn FnMut(u64)) -> Vec<Error> {
    let opened = match Opened::open(dir, sequence) {
        Ok(opened) => opened,
        Err(error) => return vec![error],
    };
    let (mut wrong, mut unpacker, mut out) = (Vec::new(), Unpacker::default(), Vec::new());
    for map in &opened.maps {
        for (k, chunk) in map.chunks.iter().enumerate() {
            wrong.extend(opened.chunk(map, k as u64, &mut unpacker, &mut out).err());
            progress(u64::from(chunk.stored));
        }
    }
    wrong
}

/// What is wrong with how image `sequence` builds on others: a parent that is not there or another
/// one, memory left to a parent that does not know it. The pages are not read.
///
/// # Errors
/// As [`Chain::open`], and [`Error::Damaged`].
pub fn chain(dir: &Dir, sequence: u64) -> Result<()> {
    Chain::open(dir, sequence)?.check()
}

/// Whether image `sequence` can be restored, to the last page.
///
/// # Errors
/// The first thing that is wrong.
pub fn whole(dir: &Dir, sequence: u64) -> Result<()> {
    let chain = Chain::open(dir, sequence)?;
    chain.check()?;
    for opened in chain.images() {
        let number = opened.image().sequence;
        if let Some(error) = image(dir, number, &mut |_| ()).into_iter().next() {
            return Err(error);
        }
    }
    Ok(())
}
