//! How long a call on futexes waits, and the steps of such a wait.
//!
//! Invariant: decisions on numbers only. Used where waits begin, and where they begin again after a restart.

use super::futex2;
use crate::arena::Entry;
use crate::table::LOCK_PI2;

/// Step of a wait that only another thread or a signal ends.
pub(crate) const QUEUED: u32 = 60;
/// Step of a wait whose timeout the executor waits for.
pub(crate) const TIMED: u32 = 61;

const PRIVATE: u64 = libc::FUTEX_PRIVATE_FLAG as u64;
const REALTIME: u64 = libc::FUTEX_CLOCK_REALTIME as u64;

/// Whether the timeout of an operation of futex(2) is from now on.
pub(crate) fn is_relative(operation: u64) -> bool {
    (operation & !(PRIVATE | REALTIME)) as i32 == libc::FUTEX_WAIT
}

/// Which argument of a call that waits is its timeout, and the operation of futex(2) that waits as long.
pub(crate) fn timeout_of(e: &Entry) -> (u32, i32) {
    match i64::from(e.nr) {
        libc::SYS_futex => (3, as_wait(e.args[1])),
        _ => futex2::timeout_of(e),
    }
}

/// The operation that waits as long as another one does.
fn as_wait(operation: u64) -> i32 {
    let wanted = (operation & !PRIVATE) as i32;
    match wanted & !(REALTIME as i32) {
        libc::FUTEX_LOCK_PI => libc::FUTEX_WAIT_BITSET | REALTIME as i32,
        LOCK_PI2 | libc::FUTEX_WAIT_REQUEUE_PI => {
            libc::FUTEX_WAIT_BITSET | wanted & REALTIME as i32
        }
        _ => wanted,
    }
}
