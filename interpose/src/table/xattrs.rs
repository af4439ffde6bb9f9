//! Rows of the calls on extended attributes (xattr(7)).
//!
//! Invariant: data only. A size of 0 asks how much room is needed: then nothing is written and the
//! result is larger than the room.

use super::words::*;

/// Extended attributes.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(188, "setxattr", Sync, &[Path, Str, reads_arg(3), Int, Int]),
    call(189, "lsetxattr", Sync, &[Path, Str, reads_arg(3), Int, Int]),
    call(190, "fsetxattr", Sync, &[Fd, Str, reads_arg(3), Int, Int]),
    call(191, "getxattr", First, &[Path, Str, fills(3), Int]),
    call(192, "lgetxattr", First, &[Path, Str, fills(3), Int]),
    call(193, "fgetxattr", First, &[Fd, Str, fills(3), Int]),
    call(194, "listxattr", First, &[Path, fills(2), Int]),
    call(195, "llistxattr", First, &[Path, fills(2), Int]),
    call(196, "flistxattr", First, &[Fd, fills(2), Int]),
    call(197, "removexattr", Sync, &[Path, Str]),
    call(198, "lremovexattr", Sync, &[Path, Str]),
    call(199, "fremovexattr", Sync, &[Fd, Str]),
    call(463, "setxattrat", Nosys, &[DirFd, Path, Int, Str, Addr, Int])
        .note("Its last structure points to a further buffer; no C library has a wrapper, and callers fall back to setxattr."),
    call(464, "getxattrat", Nosys, &[DirFd, Path, Int, Str, Addr, Int])
        .note("Its last structure points to a further buffer; see setxattrat."),
    call(465, "listxattrat", First, &[DirFd, Path, Int, fills(4), Int]),
    call(466, "removexattrat", Sync, &[DirFd, Path, Int, Str]),
];
