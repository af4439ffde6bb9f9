//! Shared memory of an image, made again: memory with a descriptor, and files that were mapped for writing.
//!
//! Invariant: what is made is above every number that the program has; the supervisor holds it for as long as
//! it is mapped. Called by the restart alone.

use std::ffi::CString;

use chameleon_ckpt::image::{Image, SharedKind};
use chameleon_ckpt::read::Chain;
use chameleon_interpose::durable::shared;
use chameleon_sys::{describe, fd};

use super::files::nameless_places;

type Outcome<T> = Result<T, String>;

/// A descriptor for each shared object of an image, from number `least` on; -1 where there is nothing outside.
///
/// # Errors
/// What cannot be made, in words.
pub(super) fn make(image: &Image, chain: &mut Chain, least: i32) -> Outcome<Vec<i32>> {
    let above = |made: i32| {
        let copy = describe::duplicate_above(made, least).map_err(|e| e.to_string());
        fd::close(made);
        copy
    };
    let mut all = Vec::new();
    for (number, object) in image.shared.iter().enumerate() {
        all.push(match &object.kind {
            SharedKind::Anonymous => -1,
            SharedKind::Segment { .. } => {
                return Err("a segment of shared memory cannot be made again".to_owned());
            }
            SharedKind::File(file) => {
                let shown = String::from_utf8_lossy(&file.path).into_owned();
                let name = CString::new(file.path.clone()).map_err(|e| format!("{shown}: {e}"))?;
                let made = describe::open(&name, libc::O_RDWR);
                above(made.map_err(|e| format!("{shown}: {e}"))?)?
            }
            SharedKind::Memfd { name, seals, mode } => {
                let name = CString::new(name.clone()).unwrap_or_default();
                let made = describe::memfd(&name, object.size).map_err(|e| e.to_string())?;
                let made = filled(above(made)?, chain, number, object.size)?;
                describe::set_mode(made, *mode);
                describe::seal(made, *seals).map_err(|e| e.to_string())?;
                made
            }
            SharedKind::Removed { path } => {
                let made = above(nameless(path)?)?;
                describe::set_size(made, object.size).map_err(|e| e.to_string())?;
                filled(made, chain, number, object.size)?
            }
        });
    }
    Ok(all)
}

/// Writes what an image holds of object `number`, of `size` bytes, into a descriptor, which it gives back.
fn filled(made: i32, chain: &mut Chain, number: usize, size: u64) -> Outcome<i32> {
    shared::read(chain, number, size.next_multiple_of(4096), |at, bytes| {
        let part = &bytes[..bytes.len().min(size.saturating_sub(at) as usize)];
        match fd::write_at(made, part, Some(at)) {
            n if n == part.len() as isize => Ok(()),
            _ => Err("there is no room for shared memory".to_owned()),
        }
    })?;
    Ok(made)
}

/// A file without a name, near to where one was that had this one.
fn nameless(path: &[u8]) -> Outcome<i32> {
    let mut last = String::new();
    for place in nameless_places(path) {
        let made = CString::new(place).map_err(|e| e.to_string()).and_then(|place| {
            describe::open(&place, libc::O_TMPFILE | libc::O_RDWR).map_err(|e| e.to_string())
        });
        match made {
            Ok(made) => return Ok(made),
            Err(e) => last = e,
        }
    }
    Err(format!("a removed file that is mapped cannot be made again: {last}"))
}
