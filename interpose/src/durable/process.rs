//! Who a process of the program is: identity, limits, directory, handlers, signals on their way.
//!
//! Invariant: reads only. Called at the cut.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{
    AltStack, Capabilities, Credentials, Disposition, Limit, Process, RobustList, Thread,
};
use chameleon_sys::describe;

use super::{Described, field};
use crate::arena::{Arena, Stopped};

/// RLIM_NLIMITS (getrlimit(2)).
const LIMITS: u32 = 16;

/// The process of executor `pid` as /proc shows it; memory, threads, files and timers are not in it.
///
/// # Errors
/// It is gone, or something waits that cannot be kept.
pub fn describe(pid: u32) -> Described<Process> {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{pid}/{name}"))
            .map_err(|e| format!("/proc/{pid}/{name} cannot be read ({e})"))
    };
    let link = |name: &str| {
        let path = fs::read_link(format!("/proc/{pid}/{name}"));
        path.map(|path| path.as_os_str().as_bytes().to_vec())
            .map_err(|e| format!("/proc/{pid}/{name} cannot be read ({e})"))
    };
    let status = read("status")?;
    let text = |key| field(&status, key).unwrap_or("");
    let hex = |key| u64::from_str_radix(text(key), 16).unwrap_or(0);
    if (hex("SigPnd") | hex("ShdPnd")) & !IGNORABLE != 0 {
        return Err("a signal that it blocks is pending".to_owned());
    }
    let ids = |key| {
        let mut all = text(key).split_whitespace().map(|id| id.parse().unwrap_or(u32::MAX));
        [(); 4].map(|()| all.next().unwrap_or(u32::MAX))
    };
    let stat = read("stat")?;
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    // proc_pid_stat(5) counts from 1, and the text behind the name begins with field 3.
    let number = |n: usize| words.get(n - 3).and_then(|word| word.parse::<i64>().ok()).unwrap_or(0);
    let limits = (0..LIMITS).filter_map(|resource| {
        let (soft, hard) = describe::limit(pid, resource)?;
        Some(Limit { resource, soft, hard })
    });
    Ok(Process {
        pid,
        parent: number(4) as u32,
        pgid: number(5) as u32,
        sid: number(6) as u32,
        exit_signal: number(38) as u32,
        cwd: link("cwd")?,
        root: link("root")?,
        umask: u32::from_str_radix(text("Umask"), 8).unwrap_or(0o22),
        credentials: Credentials {
            uids: ids("Uid"),
            gids: ids("Gid"),
            groups: text("Groups").split_whitespace().filter_map(|g| g.parse().ok()).collect(),
            capabilities: Capabilities {
                inheritable: hex("CapInh"),
                permitted: hex("CapPrm"),
                effective: hex("CapEff"),
                bounding: hex("CapBnd"),
                ambient: hex("CapAmb"),
            },
            no_new_privs: text("NoNewPrivs") == "1",
            dumpable: true,
        },
        limits: limits.collect(),
        personality: 0,
        nice: number(19) as i32,
        ..Process::default()
    })
}

/// Signals that do nothing by default and are only of use to one who waits for them: SIGCHLD, SIGURG,
/// SIGWINCH, SIGCONT (signal(7)).
const IGNORABLE: u64 = 1 << (libc::SIGCHLD - 1)
    | 1 << (libc::SIGURG - 1)
    | 1 << (libc::SIGWINCH - 1)
    | 1 << (libc::SIGCONT - 1);

/// Whether a signal to one thread alone, which it blocks, is pending.
pub fn has_pending(tgid: u32, tid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{tgid}/task/{tid}/status")).unwrap_or_default();
    let pending = field(&status, "SigPnd").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    pending.is_none_or(|mask| mask & !IGNORABLE != 0)
}

/// What the program said of each signal; `found` is what the tracer learnt of handlers.
pub fn dispositions(arena: Arena, leader: usize, found: &Stopped) -> Vec<Disposition> {
    let all = (1..=64u32).filter_map(|signal| {
        let action = arena.action(leader, signal as usize);
        let [_, flags, restorer, mask] = found.actions[signal as usize - 1];
        match action.handler {
            0 => None,
            handler @ 1 => Some(Disposition { signal, handler, flags: 0, restorer: 0, mask: 0 }),
            handler => Some(Disposition { signal, handler, flags, restorer, mask }),
        }
    });
    all.collect()
}

/// The thread of task `t` as the tracer found it.
pub fn thread(arena: Arena, t: usize, place: usize, found: &Stopped) -> Thread {
    let task = arena.task(t);
    let state = &*arena.stopped_state(t, place);
    let [base, flags, size] = found.alt_stack;
    Thread {
        tid: arena.number(t),
        name: until_nul(&task.name),
        registers: bytemuck::bytes_of(&found.registers).to_vec(),
        extended: state[..(found.extended as usize).min(state.len())].to_vec(),
        blocked: found.mask,
        pending: Vec::new(),
        alt_stack: AltStack { base, flags: flags as u32, size },
        clear_child_tid: task.clears,
        robust_list: RobustList { head: found.robust[0], len: found.robust[1] },
        interrupted: found.interrupted != 0,
        opaque: Vec::new(),
    }
}

/// The bytes before the first NUL.
pub fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}
