//! Rows of the calls on names of files: opening, creating, removing, looking at.
//!
//! Invariant: data only; every path is resolved by the outside, which has the program's root and
//! working directory. Looking at a name has no effect outside, so the first ballot may do it.

use super::words::*;

/// Names of files.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(2, "open", Sync, &[Path, Int, Int]).waits(),
    call(257, "openat", Sync, &[DirFd, Path, Int, Int]).waits(),
    call(437, "openat2", Sync, &[DirFd, Path, reads_arg(3), Int]).waits(),
    call(85, "creat", Sync, &[Path, Int]).waits(),
    call(303, "name_to_handle_at", Sync, &[DirFd, Path, InOutAlways(Len::Inside(Inside::FileHandle(2))), touches(4), Int])
        .note("Both buffers are written when the handle does not fit (EOVERFLOW), which is how its size is asked for. With AT_HANDLE_MNT_ID_UNIQUE see resolve."),
    call(304, "open_by_handle_at", Sync, &[Fd, In(Len::Inside(Inside::FileHandle(1))), Int]).waits(),
    call(4, "stat", First, &[Path, writes(144)]),
    call(6, "lstat", First, &[Path, writes(144)]),
    call(262, "newfstatat", First, &[DirFd, Path, writes(144), Int]),
    call(332, "statx", First, &[DirFd, Path, Int, Int, writes(256)]),
    call(137, "statfs", First, &[Path, writes(120)]),
    call(21, "access", First, &[Path, Int]),
    call(269, "faccessat", First, &[DirFd, Path, Int]),
    call(439, "faccessat2", First, &[DirFd, Path, Int, Int]),
    call(89, "readlink", First, &[Path, fills32(2), Int]),
    call(267, "readlinkat", First, &[DirFd, Path, fills32(3), Int]),
    call(468, "file_getattr", First, &[DirFd, Path, Out { cap: Len::Arg(3), used: Len::Arg(3) }, Int, Int]),
    call(469, "file_setattr", Sync, &[DirFd, Path, reads_arg(3), Int, Int]),
    call(79, "getcwd", First, &[fills(1), Int]),
    call(80, "chdir", Mirror, &[Path]),
    call(81, "fchdir", own(Special::Fchdir), &[Fd]),
    call(161, "chroot", Mirror, &[Path]),
    call(82, "rename", Sync, &[Path, Path]),
    call(264, "renameat", Sync, &[DirFd, Path, DirFd, Path]),
    call(316, "renameat2", Sync, &[DirFd, Path, DirFd, Path, Int]),
    call(83, "mkdir", Sync, &[Path, Int]),
    call(258, "mkdirat", Sync, &[DirFd, Path, Int]),
    call(84, "rmdir", Sync, &[Path]),
    call(86, "link", Sync, &[Path, Path]),
    call(265, "linkat", Sync, &[DirFd, Path, DirFd, Path, Int]),
    call(87, "unlink", Sync, &[Path]),
    call(263, "unlinkat", Sync, &[DirFd, Path, Int]),
    call(88, "symlink", Sync, &[Path, Path]),
    call(266, "symlinkat", Sync, &[Path, DirFd, Path]),
    call(133, "mknod", Sync, &[Path, Int, Int]),
    call(259, "mknodat", Sync, &[DirFd, Path, Int, Int]),
    call(90, "chmod", Sync, &[Path, Int]),
    call(268, "fchmodat", Sync, &[DirFd, Path, Int]),
    call(452, "fchmodat2", Sync, &[DirFd, Path, Int, Int]),
    call(92, "chown", Sync, &[Path, Int, Int]),
    call(94, "lchown", Sync, &[Path, Int, Int]),
    call(260, "fchownat", Sync, &[DirFd, Path, Int, Int, Int]),
    call(95, "umask", Sync, &[Int]).note("Files are created by the outside, so the mask is its own."),
    call(76, "truncate", Sync, &[Path, Int]),
    call(132, "utime", Sync, &[Path, reads(16)]),
    call(235, "utimes", Sync, &[Path, reads(32)]),
    call(261, "futimesat", Sync, &[DirFd, Path, reads(32)]),
    call(280, "utimensat", Sync, &[DirFd, Path, reads(32), Int]),
    call(162, "sync", Sync, &[]),
];
