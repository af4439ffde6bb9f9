//! Seccomp user notifications (seccomp_unotify(2)): receive, answer, let continue, lend a
//! descriptor.
//!
//! Invariant: a notification is known by its id alone; an id that is gone is an outcome
//! ([`Error::is_gone`]), never a failure.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// A received call, laid out as `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Call {
    /// The notification's id; 0 in an empty inbox.
    pub id: u64,
    /// Thread id of the caller.
    pub pid: u32,
    /// Always 0.
    pub flags: u32,
    /// System call number.
    pub nr: i32,
    /// `AUDIT_ARCH_…` of the calling convention.
    pub arch: u32,
    /// Instruction pointer after the `syscall` instruction.
    pub ip: u64,
    /// The six arguments.
    pub args: [u64; 6],
}

/// `AUDIT_ARCH_X86_64`.
pub const ARCH_X86_64: u32 = 0xC000_003E;

const RECV: u64 = 0xC050_2100;
const SEND: u64 = 0xC018_2101;
const ID_VALID: u64 = 0x4008_2102;
const ADDFD: u64 = 0x4018_2103;
const SET_FLAGS: u64 = 0x4008_2104;

#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

fn ioctl<T>(operation: &'static str, listener: i32, request: u64, arg: *mut T) -> Result<i32> {
    // SAFETY: each request above is paired by its only caller with the structure it expects.
    let r = unsafe { libc::ioctl(listener, request, arg) };
    if r < 0 { Err(Error::last(operation)) } else { Ok(r) }
}

/// Asks for the synchronous wake-up (SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6), or for the
/// plain one: with it the one who is woken runs on the waker's CPU, which is quickest where all are
/// to be together, and drags them together where they are to be spread. A kernel without it is
/// only slower.
pub fn set_sync_wake_up(listener: i32, on: bool) -> bool {
    // SAFETY: this request takes its flags by value.
    unsafe { libc::ioctl(listener, SET_FLAGS, u64::from(on)) == 0 }
}

/// Receives the next call into `call`, which lies where a successor can find it and must be zero.
pub fn receive(listener: i32, call: &mut Call) -> Result<()> {
    *call = Call::zeroed();
    ioctl("SECCOMP_IOCTL_NOTIF_RECV", listener, RECV, call).map(drop)
}

/// Answers with a value (0 and up) or a negative errno; kernel-internal restart codes
/// (`-ERESTARTSYS` …) pass through too.
pub fn answer(listener: i32, id: u64, ret: i64) -> Result<()> {
    let failed = (-4095..0).contains(&ret);
    let mut r = Response {
        id,
        val: if failed { 0 } else { ret },
        error: if failed { ret as i32 } else { 0 },
        flags: 0,
    };
    ioctl("SECCOMP_IOCTL_NOTIF_SEND", listener, SEND, &raw mut r).map(drop)
}

/// Lets the caller execute its call itself.
pub fn let_continue(listener: i32, id: u64) -> Result<()> {
    let mut r = Response { id, val: 0, error: 0, flags: 1 };
    ioctl("SECCOMP_IOCTL_NOTIF_SEND", listener, SEND, &raw mut r).map(drop)
}

/// Whether the caller still waits for the answer to `id`.
pub fn is_waiting(listener: i32, id: u64) -> bool {
    let mut id = id;
    ioctl("SECCOMP_IOCTL_NOTIF_ID_VALID", listener, ID_VALID, &raw mut id).is_ok()
}

/// Puts a copy of our descriptor `fd` into the caller as number `number`.
pub fn lend_fd(listener: i32, id: u64, fd: i32, number: u32, cloexec: bool) -> Result<()> {
    let mut a = AddFd {
        id,
        flags: 1, // SECCOMP_ADDFD_FLAG_SETFD
        srcfd: fd as u32,
        newfd: number,
        newfd_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    ioctl("SECCOMP_IOCTL_NOTIF_ADDFD", listener, ADDFD, &raw mut a).map(drop)
}
