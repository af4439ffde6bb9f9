//! What an image says of memory: which ranges are mapped, and what is behind them.
//!
//! Invariant: plain data; ranges are sorted and do not overlap, as in proc_pid_maps(5).

use serde::{Deserialize, Serialize};

use super::FileId;

/// The addresses of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Mapped ranges, by address.
    pub ranges: Vec<Range>,
    /// Where the heap begins and ends (brk(2); prctl(2), PR_SET_MM_START_BRK and _BRK).
    pub brk: (u64, u64),
    /// Where the kernel keeps arguments and environment: start and end of each (prctl(2),
    /// PR_SET_MM_ARG_START and following).
    pub arguments: (u64, u64),
    /// See `arguments`.
    pub environment: (u64, u64),
    /// The auxiliary vector as the kernel gave it (getauxval(3); prctl(2), PR_SET_MM_AUXV).
    pub auxv: Vec<u8>,
}

/// One range (mmap(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// PROT_READ, PROT_WRITE, PROT_EXEC (mprotect(2)).
    pub prot: u32,
    /// MAP_GROWSDOWN, MAP_NORESERVE, MAP_LOCKED and the like (mmap(2)); not the kind of backing.
    pub flags: u32,
    /// What the program advised (madvise(2)).
    pub advice: Advice,
    /// What is behind it.
    pub backing: Backing,
    /// The name given to anonymous memory (prctl(2), PR_SET_VMA_ANON_NAME).
    pub name: Option<String>,
}

/// Standing advice on a range (madvise(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// MADV_DONTFORK.
    pub dont_fork: bool,
    /// MADV_WIPEONFORK.
    pub wipe_on_fork: bool,
    /// MADV_DONTDUMP.
    pub dont_dump: bool,
    /// MADV_HUGEPAGE (true) or MADV_NOHUGEPAGE (false).
    pub huge: Option<bool>,
    /// MADV_MERGEABLE.
    pub mergeable: bool,
    /// MADV_SEQUENTIAL (true) or MADV_RANDOM (false).
    pub sequential: Option<bool>,
}

/// What is behind a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// MAP_ANONYMOUS and private.
    Anonymous,
    /// A file: private, or shared and only read.
    File {
        /// The file as it was at the cut.
        file: MappedFile,
        /// Where in the file the range begins, in bytes.
        offset: u64,
        /// MAP_PRIVATE: pages that were written are in the image.
        private: bool,
    },
    /// Memory that others see, too.
    Shared {
        /// Its place in [`super::Image::shared`].
        object: u32,
        /// Where in the object the range begins, in bytes.
        offset: u64,
    },
    /// The kernel's own, by its name in proc_pid_maps(5): `[vdso]`, `[vvar]`.
    Special(String),
}

/// A file that is mapped, and how to tell that it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedFile {
    /// Where it is, as bytes.
    pub path: Vec<u8>,
    /// Device and inode.
    pub id: FileId,
    /// Its length in bytes at the cut (stat(2)).
    pub size: u64,
    /// When it was last changed, in nanoseconds since the epoch (stat(2), `st_mtim`).
    pub mtime_ns: i64,
}

/// Shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedObject {
    /// What made it.
    pub kind: SharedKind,
    /// Its length in bytes.
    pub size: u64,
}

/// What made shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedKind {
    /// MAP_SHARED and MAP_ANONYMOUS (mmap(2)).
    Anonymous,
    /// memfd_create(2).
    Memfd {
        /// Its name, as bytes.
        name: Vec<u8>,
        /// Its seals (fcntl(2), F_GET_SEALS).
        seals: u32,
        /// Its permissions (chmod(2)).
        mode: u32,
    },
    /// A segment of System V (shmget(2)).
    Segment {
        /// Its key; 0 is IPC_PRIVATE.
        key: i32,
        /// Its number.
        id: i32,
        /// Its permissions.
        mode: u32,
    },
    /// A file mapped shared and for writing; its bytes are the file's.
    File(MappedFile),
    /// Such a file whose last name was gone at the cut (unlink(2)): its bytes are in the image.
    Removed {
        /// Where it was, as bytes.
        path: Vec<u8>,
    },
}
