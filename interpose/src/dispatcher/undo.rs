//! What the program is about to do to files goes into the undo log first, so that a restart from an image
//! can put them back.
//!
//! Invariant: called with every call that is decided and not begun; doing so twice adds nothing. When
//! the log cannot be written the program goes on, and no image before that can be restored any more.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::FileId;
use chameleon_ckpt::retain::Plan;
use chameleon_ckpt::write::Writer;
use chameleon_sys::{fd, raw};

use super::Dispatcher;
use crate::arena::Entry;

/// Files that are held open for reading.
const HELD: usize = 64;

/// A part of a file that may change.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many bytes from the position on, or from the end if it is open for appending.
    Next(u64),
    /// From an offset so many bytes; at the end if it is open for appending.
    At(u64, u64),
    /// Everything from an offset on.
    From(u64),
}

impl Dispatcher {
    /// The call at the head of `t` is about to be performed.
    pub(super) fn before_change(&mut self, t: usize) {
        self.note_timer(t);
        if self.durable.as_ref().is_none_or(|durable| durable.log.is_none()) {
            return;
        }
        let e = *self.arena.entry(t, self.arena.task(t).head);
        let kept = self.keep_for(t, &e);
        if let Err(why) = kept {
            self.undo_is_broken(&why);
        }
    }

    /// It has been performed.
    pub(super) fn after_change(&mut self, t: usize, ret: i64) {
        let task = self.arena.task(t);
        if task.makes != task.head + 1 {
            return;
        }
        task.makes = 0;
        if ret < 0 {
            return;
        }
        let Some(copy) = self.copy_of(t, ret as i32) else { return };
        let file = File::from(fd::owned(copy));
        let Ok(facts) = file.metadata() else { return };
        self.note_new_file(t, [facts.dev(), facts.ino()]);
        let Ok(path) = fs::read_link(format!("/proc/self/fd/{copy}")) else { return };
        let made = match &mut self.durable {
            Some(durable) if facts.is_file() => match &mut durable.log {
                Some(log) => log.made(&path, &file).map_err(|e| e.to_string()),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(why) = made {
            self.undo_is_broken(&why);
        }
    }

    fn keep_for(&mut self, t: usize, e: &Entry) -> Result<(), String> {
        let a = &e.args;
        let vector = || {
            let pieces = self.arena.pieces(e.ins_at, e.ins);
            pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>()
        };
        match i64::from(e.nr) {
            libc::SYS_write => self.keep_part(t, a[0], Part::Next(a[2])),
            libc::SYS_writev => {
                let len = vector();
                self.keep_part(t, a[0], Part::Next(len))
            }
            libc::SYS_pwrite64 => self.keep_part(t, a[0], Part::At(a[3], a[2])),
            libc::SYS_pwritev | libc::SYS_pwritev2 => {
                let len = vector();
                let part = match a[3] as i64 {
                    -1 => Part::Next(len),
                    _ => Part::At(a[3], len),
                };
                self.keep_part(t, a[0], part)
            }
            libc::SYS_ftruncate => self.keep_part(t, a[0], Part::From(a[1])),
            libc::SYS_fallocate => {
                // Collapsing and inserting moves everything behind.
                let moves = libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE;
                let part = match a[1] as i32 {
                    0 => Part::At(a[2], 0),
                    mode if mode & moves != 0 => Part::From(a[2]),
                    _ => Part::At(a[2], a[3]),
                };
                self.keep_part(t, a[0], part)
            }
            libc::SYS_sendfile => self.keep_part(t, a[0], Part::From(0)),
            libc::SYS_copy_file_range | libc::SYS_splice => self.keep_part(t, a[2], Part::From(0)),
            libc::SYS_mmap => {
                let writes = a[2] as i32 & libc::PROT_WRITE != 0;
                let shared = a[3] as i32 & libc::MAP_SHARED != 0;
                let file = a[3] as i32 & libc::MAP_ANONYMOUS == 0;
                match writes && shared && file {
                    true => self.keep_part(t, a[4], Part::From(0)),
                    false => Ok(()),
                }
            }
            libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_sync
            | libc::SYS_syncfs
            | libc::SYS_msync
            | libc::SYS_sync_file_range => {
                // What is on the disk for good must have what undoes it there, too.
                self.log(|log| log.sync())
            }
            libc::SYS_open => self.keep_opened(t, None, 0, a[1] as i32),
            libc::SYS_creat => {
                self.keep_opened(t, None, 0, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC)
            }
            libc::SYS_openat => self.keep_opened(t, Some(a[0]), 1, a[2] as i32),
            libc::SYS_openat2 => {
                let pieces = self.arena.pieces(e.ins_at, e.ins);
                let how = pieces.iter().find(|piece| piece.arg == 2 && piece.len >= 8);
                let flags = how.map_or(0, |piece| *self.arena.region.record::<u64>(piece.offset()));
                self.keep_opened(t, Some(a[0]), 1, flags as i32)
            }
            libc::SYS_truncate => match self.path_named(t, None, 0) {
                Some(path) => self.keep_path(&path, a[1]),
                None => Ok(()),
            },
            libc::SYS_unlink => self.removes(t, None, 0),
            libc::SYS_unlinkat => self.removes(t, Some(a[0]), 1),
            libc::SYS_rename => self.renames(t, (None, 0), (None, 1)),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                self.renames(t, (Some(a[0]), 1), (Some(a[2]), 3))
            }
            libc::SYS_rmdir => self.removes(t, None, 0),
            libc::SYS_mkdir => self.makes(t, None, 0),
            libc::SYS_mkdirat => self.makes(t, Some(a[0]), 1),
            libc::SYS_mknod => self.names(t, (None, 0), None),
            libc::SYS_mknodat => self.names(t, (Some(a[0]), 1), None),
            libc::SYS_symlink => self.names(t, (None, 1), None),
            libc::SYS_symlinkat => self.names(t, (Some(a[1]), 2), None),
            libc::SYS_link => self.names(t, (None, 1), Some((None, 0))),
            libc::SYS_linkat => self.names(t, (Some(a[2]), 3), Some((Some(a[0]), 1))),
            libc::SYS_chmod
            | libc::SYS_chown
            | libc::SYS_lchown
            | libc::SYS_setxattr
            | libc::SYS_lsetxattr
            | libc::SYS_removexattr => self.notes(t, None, 0, "got other attributes"),
            libc::SYS_fchmodat | libc::SYS_fchownat => {
                self.notes(t, Some(a[0]), 1, "got other attributes")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn log(
        &mut self,
        act: impl FnOnce(&mut chameleon_ckpt::undo::UndoLog) -> chameleon_ckpt::Result<()>,
    ) -> Result<(), String> {
        match self.durable.as_mut().and_then(|durable| durable.log.as_mut()) {
            Some(log) => act(log).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    /// A part of the file behind the program's descriptor `number` is about to change.
    fn keep_part(&mut self, t: usize, number: u64, part: Part) -> Result<(), String> {
        // A duplicate of what takes the quick way is there; of a file that does not (O_DIRECT) one is
        // taken.
        let Some(quick) = self.quick_copy(t, number as i32) else { return Ok(()) };
        let (own, taken) = match quick.fd {
            own if own >= 0 => (own, None),
            _ => match self.copy_of(t, number as i32) {
                Some(copy) => (copy, Some(File::from(fd::owned(copy)))),
                None => return Ok(()),
            },
        };
        let Ok(kind) = fd::kind(own) else { return Ok(()) };
        if kind.format != libc::S_IFREG || kind.flags & libc::O_ACCMODE == libc::O_RDONLY {
            return Ok(());
        }
        let end = || fd::size(own).unwrap_or(0);
        let appends = kind.flags & libc::O_APPEND != 0;
        let (from, len) = match part {
            Part::Next(len) | Part::At(_, len) if appends => (end(), len),
            Part::Next(len) => {
                (raw::lseek(own as u64, 0, libc::SEEK_CUR as u64).max(0) as u64, len)
            }
            Part::At(from, len) => (from, len),
            Part::From(from) => (from, u64::MAX),
        };
        let id = FileId { dev: kind.file[0], ino: kind.file[1] };
        if let Some(log) = self.durable.as_ref().and_then(|durable| durable.log.as_ref())
            && log.knows(id, from, len)
        {
            return Ok(());
        }
        let path = fs::read_link(format!("/proc/self/fd/{own}")).unwrap_or_default();
        let done = self.keep_range(id, &path, own, (from, len));
        drop(taken);
        done
    }

    pub(super) fn keep_range(
        &mut self,
        id: FileId,
        path: &Path,
        own: i32,
        (from, len): (u64, u64),
    ) -> Result<(), String> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        if !durable.files.contains_key(&id) {
            if durable.files.len() >= HELD {
                durable.files.clear();
            }
            let named = fs::metadata(path).is_ok_and(|f| (f.dev(), f.ino()) == (id.dev, id.ino));
            if !named {
                // Nobody finds it at a restart: its bytes are in the image, if it was open at the cut.
                return Ok(());
            }
            let Some(file) = fd::reopen_read_only(own) else {
                let what = format!("{} was changed, which may not be read", path.display());
                return self.log(|log| log.note(&what));
            };
            durable.files.insert(id, (path.to_owned(), File::from(fd::owned(file))));
        }
        let (Some((path, file)), Some(log)) = (durable.files.get(&id), &mut durable.log) else {
            return Ok(());
        };
        log.before_write(path, file, from, len).map_err(|e| e.to_string())
    }

    /// The file at `path` is about to be cut to `size` bytes.
    fn keep_path(&mut self, path: &Path, size: u64) -> Result<(), String> {
        match File::open(path) {
            Ok(file) if file.metadata().is_ok_and(|facts| facts.is_file()) => {
                self.log(|log| log.before_truncate(path, &file, size))
            }
            _ => Ok(()),
        }
    }

    /// A file is about to be opened: perhaps it is emptied or made.
    fn keep_opened(
        &mut self,
        t: usize,
        base: Option<u64>,
        arg: u32,
        flags: i32,
    ) -> Result<(), String> {
        if flags & (libc::O_CREAT | libc::O_TRUNC) == 0
            || flags & libc::O_TMPFILE == libc::O_TMPFILE
        {
            return Ok(());
        }
        let Some(path) = self.path_named(t, base, arg) else { return Ok(()) };
        match fs::metadata(&path) {
            Ok(facts) if facts.file_type().is_fifo() || !facts.is_file() => Ok(()),
            Ok(_) if flags & libc::O_TRUNC != 0 => self.keep_path(&path, 0),
            Ok(_) => Ok(()),
            Err(_) if flags & libc::O_CREAT != 0 => {
                let task = self.arena.task(t);
                task.makes = task.head + 1;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn removes(&mut self, t: usize, base: Option<u64>, arg: u32) -> Result<(), String> {
        match self.path_named(t, base, arg) {
            Some(path) => self.log(|log| log.before_remove(&path)),
            None => Ok(()),
        }
    }

    fn makes(&mut self, t: usize, base: Option<u64>, arg: u32) -> Result<(), String> {
        match self.path_named(t, base, arg) {
            Some(path) => self.log(|log| log.before_mkdir(&path)),
            None => Ok(()),
        }
    }

    /// A name is made, perhaps one more `of` a file.
    fn names(
        &mut self,
        t: usize,
        (base, arg): (Option<u64>, u32),
        of: Option<(Option<u64>, u32)>,
    ) -> Result<(), String> {
        let of = of.map(|(base, arg)| self.path_named(t, base, arg));
        match (self.path_named(t, base, arg), of) {
            (Some(path), None) => self.log(|log| log.before_name(&path, None)),
            (Some(path), Some(Some(of))) => self.log(|log| log.before_name(&path, Some(&of))),
            // A file without a name gets one (linkat(2), AT_EMPTY_PATH, /proc/self/fd).
            (Some(path), Some(None)) => {
                self.log(|log| log.note(&format!("{} was made", path.display())))
            }
            (None, _) => Ok(()),
        }
    }

    fn renames(
        &mut self,
        t: usize,
        from: (Option<u64>, u32),
        to: (Option<u64>, u32),
    ) -> Result<(), String> {
        match (self.path_named(t, from.0, from.1), self.path_named(t, to.0, to.1)) {
            (Some(from), Some(to)) => self.log(|log| log.before_rename(&from, &to)),
            _ => Ok(()),
        }
    }

    fn notes(&mut self, t: usize, base: Option<u64>, arg: u32, what: &str) -> Result<(), String> {
        match self.path_named(t, base, arg) {
            Some(path) => self.log(|log| log.note(&format!("{} {what}", path.display()))),
            None => Ok(()),
        }
    }

    /// The path that is argument `arg` of the call at the head, as it leads from here. None for those
    /// of /proc and the like.
    fn path_named(&self, t: usize, base: Option<u64>, arg: u32) -> Option<PathBuf> {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let piece = pieces.iter().find(|piece| piece.arg == arg)?;
        let bytes = &*self.arena.region.bytes(piece.offset(), piece.len as usize);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let path = Path::new(OsStr::from_bytes(&bytes[..end]));
        if path.as_os_str().is_empty() {
            return None;
        }
        if path.is_absolute() {
            let made_up = ["/proc", "/dev", "/sys"].iter().any(|root| path.starts_with(root));
            return (!made_up || path.starts_with("/dev/shm"))
                .then(|| as_the_kernel_names_it(path));
        }
        let tgid = task.tgid;
        let base = match base.map(|number| number as i32) {
            None | Some(libc::AT_FDCWD) => format!("/proc/{tgid}/cwd"),
            Some(number) => format!("/proc/{tgid}/fd/{number}"),
        };
        Some(as_the_kernel_names_it(&fs::read_link(base).ok()?.join(path)))
    }

    /// What undoes the program's changes cannot be kept: images from before are of no use from now on.
    pub(super) fn undo_is_broken(&mut self, why: &str) {
        let Some(durable) = &mut self.durable else { return };
        durable.log = None;
        durable.files.clear();
        self.arena.header().image = 0;
        let dir = Dir::new(&durable.images.dir);
        let logs = dir.logs().unwrap_or_default();
        let plan = Plan { images: Vec::new(), logs };
        let _ = Writer::inherit(&durable.images.dir).prune(&plan);
        let text = format!("{why}; images taken so far cannot be restored any more");
        self.say_no_image(0, 0, raw::now_ns(), text);
    }
}

/// A path without links and dots before its last name, as descriptors show it (proc_pid_fd(5)): an image knows its
/// open files by that. What it names may be a link itself, or not be there.
fn as_the_kernel_names_it(path: &Path) -> PathBuf {
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}
