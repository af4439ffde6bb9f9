//! Operations of keyctl(2).
//!
//! Invariant: data only, ascending. Keyrings are those of the outside. What is read is a buffer of
//! both directions: when it is too small the result is the size that is needed, and the kernel
//! leaves the buffer as it was.

use super::words::*;

/// Operations of keyctl.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(0, "keyctl KEYCTL_GET_KEYRING_ID", Sync, &[Int, Int, Int]),
    call(1, "keyctl KEYCTL_JOIN_SESSION_KEYRING", Sync, &[Int, Str]),
    call(2, "keyctl KEYCTL_UPDATE", Sync, &[Int, Int, reads_arg(3), Int]),
    call(3, "keyctl KEYCTL_REVOKE", Sync, &[Int, Int]),
    call(4, "keyctl KEYCTL_CHOWN", Sync, &[Int, Int, Int, Int]),
    call(5, "keyctl KEYCTL_SETPERM", Sync, &[Int, Int, Int]),
    call(6, "keyctl KEYCTL_DESCRIBE", First, &[Int, Int, InOut(Len::Arg(3)), Int]),
    call(7, "keyctl KEYCTL_CLEAR", Sync, &[Int, Int]),
    call(8, "keyctl KEYCTL_LINK", Sync, &[Int, Int, Int]),
    call(9, "keyctl KEYCTL_UNLINK", Sync, &[Int, Int, Int]),
    call(10, "keyctl KEYCTL_SEARCH", Sync, &[Int, Int, Str, Str, Int]),
    call(11, "keyctl KEYCTL_READ", Sync, &[Int, Int, InOut(Len::Arg(3)), Int]),
    call(12, "keyctl KEYCTL_INSTANTIATE", Sync, &[Int, Int, reads_arg(3), Int, Int]),
    call(13, "keyctl KEYCTL_NEGATE", Sync, &[Int, Int, Int, Int]),
    call(14, "keyctl KEYCTL_SET_REQKEY_KEYRING", Sync, &[Int, Int]),
    call(15, "keyctl KEYCTL_SET_TIMEOUT", Sync, &[Int, Int, Int]),
    call(16, "keyctl KEYCTL_ASSUME_AUTHORITY", Sync, &[Int, Int]),
    call(17, "keyctl KEYCTL_GET_SECURITY", First, &[Int, Int, InOut(Len::Arg(3)), Int]),
    call(19, "keyctl KEYCTL_REJECT", Sync, &[Int, Int, Int, Int, Int]),
    call(20, "keyctl KEYCTL_INSTANTIATE_IOV", Sync, &[Int, Int, IovIn(3), Int, Int]),
    call(21, "keyctl KEYCTL_INVALIDATE", Sync, &[Int, Int]),
    call(22, "keyctl KEYCTL_GET_PERSISTENT", Sync, &[Int, Int, Int]),
    call(29, "keyctl KEYCTL_RESTRICT_KEYRING", Sync, &[Int, Int, Str, Str]),
    call(30, "keyctl KEYCTL_MOVE", Sync, &[Int, Int, Int, Int, Int]),
    call(31, "keyctl KEYCTL_CAPABILITIES", First, &[Int, InOut(Len::Arg(2)), Int]),
];

const _: () = super::choice::ascending(ROWS);
