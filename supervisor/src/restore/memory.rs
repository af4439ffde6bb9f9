//! Shared memory of an image, made again: memory with a descriptor, and files that were mapped for writing.
//!
//! Invariant: what is made is above every number that the program has; the supervisor holds it for as long as
//! it is mapped. Called by the restart alone.

use std::ffi::CString;

use chameleon_ckpt::image::{Image, SharedKind};
use chameleon_ckpt::read::Chain;
use chameleon_interpose::durable::shared;
use chameleon_sys::{describe, fd};

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
            SharedKind::Memfd { name, seals } => {
                let name = CString::new(name.clone()).unwrap_or_default();
                let made = describe::memfd(&name, object.size).map_err(|e| e.to_string())?;
                let made = above(made)?;
                let size = object.size;
                shared::read(chain, number, size.next_multiple_of(4096), |at, bytes| {
                    let part = &bytes[..bytes.len().min(size.saturating_sub(at) as usize)];
                    match fd::write_at(made, part, Some(at)) {
                        n if n == part.len() as isize => Ok(()),
                        _ => Err("there is no memory for a memfd".to_owned()),
                    }
                })?;
                describe::seal(made, *seals).map_err(|e| e.to_string())?;
                made
            }
        });
    }
    Ok(all)
}
