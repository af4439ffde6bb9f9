//! Who is told by a signal that something can be read from or written to an open file (fcntl(2), "Managing
//! signals").
//!
//! Invariant: asking changes nothing. Called at the cut of an image, and by a restart.

use crate::raw;

/// fcntl(2), asm-generic/fcntl.h; the libc crate lacks them.
const F_SETSIG: u64 = 10;
const F_GETSIG: u64 = 11;
const F_SETOWN_EX: u64 = 15;
const F_GETOWN_EX: u64 = 16;

/// What struct f_owner_ex and F_GETSIG say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP.
    pub kind: i32,
    /// Its number; 0 if there is nobody.
    pub number: i32,
    /// The signal; 0 for SIGIO.
    pub signal: i32,
}

/// Who is told of a descriptor of ours.
pub fn of(fd: i32) -> Owner {
    let mut found = [0i32; 2];
    let args = [fd as u64, F_GETOWN_EX, found.as_mut_ptr() as u64, 0, 0, 0];
    // SAFETY: room for a whole struct f_owner_ex.
    unsafe { raw::syscall(libc::SYS_fcntl, args) };
    let signal = raw::fcntl(fd as u64, F_GETSIG, 0).max(0) as i32;
    Owner { kind: found[0], number: found[1], signal }
}

/// Says who is told of a descriptor of ours, and whether somebody is at all (O_ASYNC). False if the kernel does not
/// take it.
pub fn set(fd: i32, owner: Owner, tells: bool) -> bool {
    let words = [owner.kind, owner.number];
    let args = [fd as u64, F_SETOWN_EX, words.as_ptr() as u64, 0, 0, 0];
    let done = [
        raw::fcntl(fd as u64, F_SETSIG, owner.signal as u64),
        // SAFETY: a whole struct f_owner_ex to read.
        unsafe { raw::syscall(libc::SYS_fcntl, args) },
        match tells {
            true => {
                let flags = raw::fcntl(fd as u64, libc::F_GETFL as u64, 0) as i32;
                raw::fcntl(fd as u64, libc::F_SETFL as u64, (flags | libc::O_ASYNC) as u64)
            }
            false => 0,
        },
    ];
    done.iter().all(|ret| *ret >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_as_it_was_said() {
        let (read, write) = crate::fd::pipe().unwrap();
        assert_eq!(of(read), Owner::default());
        let own = std::process::id() as i32;
        let owner = Owner { kind: 1, number: own, signal: libc::SIGURG };
        assert!(set(read, owner, true));
        assert_eq!(of(read), owner);
        assert_ne!(crate::fd::kind(read).unwrap().flags & libc::O_ASYNC, 0);
        [read, write].into_iter().for_each(crate::fd::close);
    }
}
