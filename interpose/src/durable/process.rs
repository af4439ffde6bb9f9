//! Who a process of the program is: identity, limits, directory, handlers, signals on their way.
//!
//! Invariant: reads only. Called at the cut.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{
    AltStack, Capabilities, Credentials, Disposition, Limit, Pending, Process, RobustList,
    Schedule, Thread,
};
use chameleon_sys::{describe, schedule};

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
    let waiting = hex("SigPnd") | hex("ShdPnd");
    if waiting & !IGNORABLE != 0 {
        return Err("a signal that it blocks is pending".to_owned());
    }
    let ids = |key| {
        let mut all = text(key).split_whitespace().map(|id| id.parse().unwrap_or(u32::MAX));
        [(); 4].map(|()| all.next().unwrap_or(u32::MAX))
    };
    let stat = read("stat")?;
    let number = |n| stat_field(&stat, n);
    let limits = (0..LIMITS).filter_map(|resource| {
        let (soft, hard) = describe::limit(pid, resource)?;
        Some(Limit { resource, soft, hard })
    });
    if text("State").starts_with('Z') {
        return Err("a process is ending".to_owned());
    }
    // With what siginfo they came nobody can say without taking them.
    let pending = (1..=64u32).filter(|signal| waiting & 1 << (signal - 1) != 0);
    let pending = pending.map(|signal| Pending { signal, info: Vec::new() }).collect();
    Ok(Process {
        pid,
        pending,
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
        personality: read("personality")
            .ok()
            .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
            .unwrap_or(0),
        no_huge_pages: text("THP_enabled") == "0",
        oom_score: read("oom_score_adj")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0),
        ..Process::default()
    })
}

/// A field of proc_pid_stat(5), which counts them from 1; the text behind the name begins with field 3.
fn stat_field(stat: &str, n: usize) -> i64 {
    let behind = stat.rsplit(')').next().unwrap_or("");
    behind.split_whitespace().nth(n - 3).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The children of process `pid` that have ended and were not waited for; others must be `known`.
///
/// # Errors
/// There is a child that is not.
pub fn ended_children(pid: u32, known: impl Fn(u32) -> bool) -> Described<Vec<Process>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path} cannot be read ({e})"))?;
    let mut ended = Vec::new();
    for child in text.split_whitespace().filter_map(|word| word.parse().ok()) {
        if known(child) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat")) else {
            return Err("a process is ending".to_owned());
        };
        if !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
            return Err("a process is ending".to_owned());
        }
        let number = |n| stat_field(&stat, n);
        let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        ended.push(Process {
            pid: child,
            parent: pid,
            pgid: number(5) as u32,
            sid: number(6) as u32,
            exit_signal: number(38) as u32,
            ended: Some(number(52) as i32),
            name: name.map_or_else(Vec::new, |(name, _)| name.as_bytes().to_vec()),
            ..Process::default()
        });
    }
    Ok(ended)
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
        schedule: Schedule {
            attributes: schedule::attributes(task.tid),
            io: schedule::io_priority(task.tid),
            cpus: task.cpus.to_vec(),
            slack_ns: task.noted.slack,
            death_signal: task.noted.death,
        },
        interrupted: found.interrupted != 0,
        opaque: Vec::new(),
    }
}

/// The bytes before the first NUL.
pub fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}
