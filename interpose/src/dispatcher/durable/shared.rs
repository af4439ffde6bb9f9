//! Shared memory at a cut: which objects there are, and where their bytes are to be had.
//!
//! Invariant: reads only, but for what is written to a mapped file, which the undo log has before.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use chameleon_ckpt::image::{FileId, MappedFile, SharedKind, SharedObject, mtime_ns};
use chameleon_sys::{describe, fd};

use super::{Dispatcher, Part};
use crate::arena::{kind, ostate};
use crate::durable::files::{Files, Memory};
use crate::durable::shared::Source;

impl Dispatcher {
    /// The objects that the process of task `t` shares, but for those that are known from others.
    pub(super) fn describe_objects(&mut self, t: usize, files: &mut Files) -> Result<(), String> {
        let shares = self.arena.task(t).shares;
        for o in 0..self.arena.header().objects as usize {
            let object = *self.arena.object(o);
            let known =
                |one: &Memory| matches!(one.source, Source::Extent { object, .. } if object == o);
            let own = object.state == ostate::USED && shares != 0 && object.group == shares;
            if !own || files.memory.iter().any(known) {
                continue;
            }
            let id = FileId { dev: object.file[0], ino: object.file[1] };
            let (kind, size) = match object.kind {
                kind::ANONYMOUS => (SharedKind::Anonymous, 0),
                kind::SEGMENT => {
                    return Err("it has a segment of shared memory (shmget(2))".to_owned());
                }
                _ => {
                    let number = object.held.checked_sub(1).ok_or("a mapped file is not there")?;
                    let link = format!("/proc/{}/fd/{number}", self.settings.supervisor);
                    mapped_file(&link, id)?
                }
            };
            files.memory.push(Memory {
                id,
                object: SharedObject { kind, size },
                source: Source::Extent { object: o, place: 0 }, // until it is written
            });
        }
        Ok(())
    }

    /// Where the checkpoints of a cut have shared memory: each group has its own place.
    pub(super) fn find_shared(&mut self, parts: &[Part]) {
        let place_of = |o: usize| {
            let group = self.arena.object(o).group;
            parts.iter().find(|part| self.arena.task(part.threads[0].0).shares == group)
        };
        for source in self.durable.iter_mut().flat_map(|d| &mut d.shared) {
            if let Source::Extent { object, place } = source
                && let Some(part) = place_of(*object)
            {
                *place = part.place;
            }
        }
    }

    /// A part of the file of a mapped object is about to be written.
    pub(in crate::dispatcher) fn before_shared_change(&mut self, own: i32, from: u64, len: u64) {
        if self.durable.as_ref().is_none_or(|durable| durable.log.is_none()) {
            return;
        }
        let Ok(found) = fd::kind(own) else { return };
        let id = FileId { dev: found.file[0], ino: found.file[1] };
        let path = std::fs::read_link(format!("/proc/self/fd/{own}")).unwrap_or_default();
        if path.as_os_str().as_bytes().starts_with(b"/memfd:") {
            return;
        }
        if let Err(why) = self.keep_range(id, &path, own, (from, len)) {
            self.undo_is_broken(&why);
        }
    }
}

/// What is mapped behind a descriptor.
fn mapped_file(link: &str, id: FileId) -> Result<(SharedKind, u64), String> {
    let failed = |e: std::io::Error| format!("a mapped file cannot be described ({e})");
    let path = std::fs::read_link(link).map_err(failed)?;
    let facts = std::fs::metadata(link).map_err(failed)?;
    let name = path.as_os_str().as_bytes();
    if name.starts_with(b"/memfd:") {
        let file = std::fs::File::open(link).map_err(failed)?;
        return Ok((memory_kind(name, file.as_raw_fd()), facts.size()));
    }
    let here = std::fs::metadata(&path).ok().map(|f| FileId::of(&f));
    if here != Some(id) && facts.nlink() == 0 {
        let path = name.strip_suffix(b" (deleted)").unwrap_or(name).to_vec();
        return Ok((SharedKind::Removed { path }, facts.size()));
    }
    if here != Some(id) {
        return Err(format!("{} is mapped, and has lost its name", path.display()));
    }
    let file =
        MappedFile { path: name.to_vec(), id, size: facts.size(), mtime_ns: mtime_ns(&facts) };
    Ok((SharedKind::File(file), facts.size()))
}

/// The kind of memory with a descriptor, `own`, by what /proc calls it.
pub(crate) fn memory_kind(path: &[u8], own: i32) -> SharedKind {
    let name = path.strip_prefix(b"/memfd:").unwrap_or(path);
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name).to_vec();
    let mode = fd::kind(own).map_or(0o777, |kind| kind.mode);
    SharedKind::Memfd { name, seals: describe::seals(own), mode }
}
