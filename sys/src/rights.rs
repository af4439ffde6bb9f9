//! The rights of a process: its user and group ids and its capabilities, as an exec leaves them.
//!
//! Invariant: nothing here gives a process a right that it did not have. [`settle_after_exec`]
//! allocates nothing: an executor calls it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::raw;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)); missing from the libc crate.
const VERSION: u32 = 0x2008_0522;

/// The header of capget(2) and capset(2).
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// The data of capget(2) and capset(2): the lower 32 capabilities, then the upper ones.
#[repr(C)]
#[derive(Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets of capabilities(7), a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Those that count.
    pub effective: u64,
    /// Those that may be made effective.
    pub permitted: u64,
    /// Those that an exec may keep.
    pub inheritable: u64,
}

/// The capabilities of a process, 0 for the calling one; `None` if there is no such process.
pub fn of(pid: u32) -> Option<Capabilities> {
    let head = Header { version: VERSION, pid: pid as i32 };
    let mut data = [Half::default(), Half::default()];
    let at = [&raw const head as u64, &raw mut data as u64, 0, 0, 0, 0];
    // SAFETY: a whole header, and room for the data of its version.
    let r = unsafe { raw::syscall(libc::SYS_capget, at) };
    let [low, high] = data;
    let whole = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    (r == 0).then(|| Capabilities {
        effective: whole(low.effective, high.effective),
        permitted: whole(low.permitted, high.permitted),
        inheritable: whole(low.inheritable, high.inheritable),
    })
}

/// Does to the calling process what an exec does to its rights (capabilities(7), credentials(7)):
/// its saved ids become the effective ones, it has no more than the capabilities given, it keeps
/// none over a change of user, and it may be looked into again.
pub fn settle_after_exec(left: Capabilities) {
    let had = of(0).unwrap_or_default();
    let permitted = left.permitted & had.permitted;
    let lower = |v: u64| v as u32;
    let upper = |v: u64| (v >> 32) as u32;
    let part = |cut: fn(u64) -> u32| Half {
        effective: cut(left.effective & permitted),
        permitted: cut(permitted),
        inheritable: cut(left.inheritable),
    };
    let head = Header { version: VERSION, pid: 0 };
    let data = [part(lower), part(upper)];
    let (mut user, mut group) = ([0u32; 3], [0u32; 3]);
    // SAFETY: whole records for capset and room for three ids each; everything else is numbers.
    unsafe {
        libc::getresuid(&mut user[0], &mut user[1], &mut user[2]);
        libc::getresgid(&mut group[0], &mut group[1], &mut group[2]);
        let call = |nr: i64, [a, b, c]: [u64; 3]| raw::syscall(nr, [a, b, c, 0, 0, 0]);
        let same = u64::from(u32::MAX);
        // The change of the saved id alone must not take what `left` has.
        call(libc::SYS_prctl, [libc::PR_SET_KEEPCAPS as u64, 1, 0]);
        call(libc::SYS_setresgid, [same, same, u64::from(group[1])]);
        call(libc::SYS_setresuid, [same, same, u64::from(user[1])]);
        call(libc::SYS_capset, [&raw const head as u64, &raw const data as u64, 0]);
        call(libc::SYS_prctl, [libc::PR_SET_KEEPCAPS as u64, 0, 0]);
        let plain = user[0] == user[1] && group[0] == group[1];
        call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, u64::from(plain), 0]);
    }
}

/// Whether an exec of this program would give a process capabilities that it does not have: those
/// of the file, or root's when it has given up some (capabilities(7), "Transformation of
/// capabilities during execve()"). `who` is its pid, or `self`.
pub fn would_gain(path: &Path, who: &str) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{who}/status")) else { return false };
    let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("").trim();
    let set = |name| u64::from_str_radix(line(name), 16).unwrap_or(0);
    let (bound, inheritable) = (set("CapBnd:"), set("CapInh:"));
    // The real, the effective and the saved user.
    let root = line("Uid:").split_whitespace().take(2).any(|id| id == "0");
    let given = match root {
        true => bound | inheritable,
        false => {
            let file = of_file(path);
            file.permitted & bound | file.inheritable & inheritable
        }
    };
    given & !set("CapPrm:") != 0
}

/// What a file gives to who executes it (capabilities(7), "File capabilities").
fn of_file(path: &Path) -> Capabilities {
    let mut data = [0u32; 6];
    let Ok(c) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return Capabilities::default();
    };
    let name = c"security.capability";
    // SAFETY: two NUL-terminated strings, and a buffer of the length given.
    let n = unsafe {
        libc::getxattr(c.as_ptr(), name.as_ptr(), data.as_mut_ptr().cast(), size_of_val(&data))
    };
    if n < 12 {
        return Capabilities::default();
    }
    let [_, permitted, inheritable, upper_permitted, upper_inheritable, _] = data;
    Capabilities {
        effective: 0,
        permitted: u64::from(upper_permitted) << 32 | u64::from(permitted),
        inheritable: u64::from(upper_inheritable) << 32 | u64::from(inheritable),
    }
}

/// What a process has of rights and habits, as an image says (capabilities(7), prctl(2), personality(2)).
#[derive(Clone, Debug, Default)]
pub struct Had {
    /// getgroups(2).
    pub groups: Vec<u32>,
    /// Its sets.
    pub sets: Capabilities,
    /// What an exec can give it at most.
    pub bounding: u64,
    /// What an exec of a plain file keeps.
    pub ambient: u64,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// PR_SET_THP_DISABLE.
    pub no_huge_pages: bool,
    /// personality(2).
    pub personality: u64,
}

/// Bytes of [`records`].
pub const RECORDS: usize = size_of::<Header>() + 2 * size_of::<Half>();

/// What capset(2) is given for these sets: header and data, one behind the other.
pub fn records(sets: Capabilities) -> [u8; RECORDS] {
    let (low, high) = (|v: u64| v as u32, |v: u64| (v >> 32) as u32);
    let words = [
        VERSION,
        0,
        low(sets.effective),
        low(sets.permitted),
        low(sets.inheritable),
        high(sets.effective),
        high(sets.permitted),
        high(sets.inheritable),
    ];
    let mut bytes = [0; RECORDS];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// Gives the calling thread no more than was had: what it does not have itself it does not get. Allocates nothing.
pub fn settle_again(had: &Had) {
    let own = of(0).unwrap_or_default();
    let call = |nr: i64, [a, b, c]: [u64; 3]| {
        // SAFETY: numbers, or pointers to whole records that the kernel reads.
        unsafe { raw::syscall(nr, [a, b, c, 0, 0, 0]) }
    };
    let prctl = |option: i32, a: u64, b: u64| call(libc::SYS_prctl, [option as u64, a, b]);
    call(libc::SYS_setgroups, [had.groups.len() as u64, had.groups.as_ptr() as u64, 0]);
    for one in (0..64).filter(|one| had.bounding >> one & 1 == 0) {
        prctl(libc::PR_CAPBSET_DROP, one, 0);
    }
    let permitted = had.sets.permitted & own.permitted;
    let sets = records(Capabilities {
        effective: had.sets.effective & permitted,
        permitted,
        inheritable: had.sets.inheritable & (own.inheritable | own.permitted),
    });
    let at = sets.as_ptr() as u64;
    call(libc::SYS_capset, [at, at + size_of::<Header>() as u64, 0]);
    for one in (0..64).filter(|one| had.ambient >> one & 1 != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, one);
    }
    if had.no_huge_pages {
        prctl(libc::PR_SET_THP_DISABLE, 1, 0);
    }
    if had.no_new_privs {
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0);
    }
    raw::personality(had.personality);
}
