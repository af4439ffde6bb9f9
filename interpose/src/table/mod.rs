//! The syscall table: one row a system call of x86-64 Linux, from which come the trap filter, the
//! ballot, the marshalling, and the page `docs/syscalls.md`.
//!
//! Invariant: every call number of the kernel named in [`KERNEL`] has exactly one row, under the
//! kernel's name; anything else does not compile.
//!
//! [`row()`] answers by number, [`resolve`] looks at the arguments too where a request decides what
//! the buffers are. [`row::Len::bytes`] says how long a buffer is.

mod admin;
mod choice;
mod ctl;
mod doc;
mod events;
mod fcntl;
mod files;
mod identity;
mod ioctl;
mod ioctl_block;
mod ioctl_net;
mod ioctl_tty;
mod ipc;
mod keyctl;
mod len;
mod memory;
mod names;
mod paths;
mod prctl;
mod process;
pub mod row;
mod signals;
mod sockets;
mod sockopt;
#[cfg(test)]
mod tests;
mod time;
mod words;
mod xattrs;

pub use choice::{LOCK_PI2, NOTED_FOR_IMAGES, PLAIN_FUTEXES, TRAPPED_ADVICE, Unknown, resolve};
pub use doc::page;

use row::{Class, Row};
use words::Entry;

/// The kernel whose call numbers are all classified here.
pub const KERNEL: &str = "6.18";

/// A family of rows: its title on the page, and the rows.
type Family = (&'static str, &'static [Entry]);

/// Every family.
const FAMILIES: &[Family] = &[
    ("Descriptors", files::ROWS),
    ("Names of files", paths::ROWS),
    ("Extended attributes", xattrs::ROWS),
    ("Sockets", sockets::ROWS),
    ("Waiting for events", events::ROWS),
    ("Processes", process::ROWS),
    ("Identity and limits", identity::ROWS),
    ("Memory", memory::ROWS),
    ("Signals", signals::ROWS),
    ("Time and scheduling", time::ROWS),
    ("Interprocess communication and keys", ipc::ROWS),
    ("The machine", admin::ROWS),
];

/// One more than the largest number.
const SPAN: usize = names::NAMES[names::NAMES.len() - 1].0 as usize + 1;

/// What a number means that the kernel does not know.
static UNUSED: Row =
    words::call(0, "unused", Class::Nosys, &[]).note("The kernel has no call of this number.").row;

/// The rows by number.
static ROWS: [&Row; SPAN] = by_number();

const fn by_number() -> [&'static Row; SPAN] {
    let mut rows: [&'static Row; SPAN] = [&UNUSED; SPAN];
    let mut taken = [false; SPAN];
    let mut count = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        let entries = FAMILIES[family].1;
        let mut i = 0;
        while i < entries.len() {
            let nr = entries[i].nr as usize;
            assert!(!taken[nr], "a number has two rows");
            taken[nr] = true;
            rows[nr] = &entries[i].row;
            count += 1;
            i += 1;
        }
        family += 1;
    }
    let mut i = 0;
    while i < names::NAMES.len() {
        let (nr, name) = names::NAMES[i];
        assert!(taken[nr as usize], "a number of the kernel has no row");
        assert!(same(rows[nr as usize].name, name), "a row has another name than the kernel's");
        i += 1;
    }
    assert!(count == names::NAMES.len(), "a row has a number that the kernel does not know");
    rows
}

/// Equality of strings in constants.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The row of call number `nr`; one of class Nosys for a number that the kernel does not know. For
/// a multiplexed call (ioctl, fcntl, prctl …) this is the row of the call as a whole: [`resolve`]
/// finds that of the request.
#[must_use]
pub fn row(nr: u32) -> &'static Row {
    ROWS.get(nr as usize).copied().unwrap_or(&UNUSED)
}

/// The numbers of the futex family, in ascending order: not trapped as long as a replica runs its
/// threads itself.
pub fn thread_numbers() -> impl Iterator<Item = u32> {
    numbers_of(Class::Special(row::Special::Thread))
}

/// The numbers of calls on a stretch of addresses that are trapped only where memory is shared.
pub fn guarded_numbers() -> impl Iterator<Item = u32> {
    numbers_of(Class::Special(row::Special::SharedRange))
}

/// The numbers that are never trapped, in ascending order.
pub fn native_numbers() -> impl Iterator<Item = u32> {
    numbers_of(Class::Native)
}

fn numbers_of(class: Class) -> impl Iterator<Item = u32> {
    names::NAMES.iter().map(|&(nr, _)| nr).filter(move |&nr| row(nr).class == class)
}
