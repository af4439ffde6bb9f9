//! How a process was scheduled and what it had of rights: made so again, as far as this machine lets us.
//!
//! Invariant: nobody gets more than the restoring shell has; what cannot be had is said before anything is started.
//! Called by the restart alone.

use chameleon_ckpt::image::{Image, Process};
use chameleon_ckpt::preflight::{Finding, Host, Severity};
use chameleon_interpose::arena::Arena;
use chameleon_interpose::durable::threads;
use chameleon_sys::rights::{self, Capabilities, Had};
use chameleon_sys::{cpu, describe, raw, schedule};

/// proc_pid_oom_score_adj(5).
const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// CAP_SYS_NICE and CAP_SYS_RESOURCE (capabilities(7)).
const NICE: u64 = 1 << 23;
const RESOURCE: u64 = 1 << 24;

/// The process's threads are scheduled as they were, and the calling one has what is of all of them but rights.
pub(super) fn settle(arena: Arena, t: usize, process: &Process) {
    for (one, thread) in threads::tasks_of(arena, t).into_iter().zip(&process.threads) {
        let task = arena.task(one);
        let said = &thread.schedule;
        schedule::set(task.tid, &said.attributes);
        schedule::set_io_priority(task.tid, said.io);
        (task.noted.slack, task.noted.death) = (said.slack_ns, said.death_signal);
        if let Ok(cpus) = <[u64; 16]>::try_from(said.cpus.as_slice())
            && can_run_on(&cpus)
        {
            task.cpus = cpus;
        }
    }
    if process.subreaper {
        raw::prctl(libc::PR_SET_CHILD_SUBREAPER as u64, 1, 0, 0, 0);
        arena.task(t).noted.subreaper = 1;
    }
    let _ = std::fs::write(OOM_SCORE, process.oom_score.to_string());
}

fn can_run_on(cpus: &[u64; 16]) -> bool {
    cpus.iter().zip(cpu::allowed(0)).any(|(one, here)| one & here != 0)
}

/// What it had of rights.
pub(super) fn rights_of(process: &Process) -> Had {
    let who = &process.credentials;
    let sets = &who.capabilities;
    Had {
        groups: who.groups.clone(),
        sets: Capabilities {
            effective: sets.effective,
            permitted: sets.permitted,
            inheritable: sets.inheritable,
        },
        bounding: sets.bounding,
        ambient: sets.ambient,
        no_new_privs: who.no_new_privs,
        no_huge_pages: process.no_huge_pages,
        personality: process.personality,
    }
}

/// What of it this machine does not let us have.
pub(super) fn findings(image: &Image, host: &Host) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut note = |what: String, advice: &str| {
        let one = Finding { severity: Severity::Note, what, advice: advice.to_owned() };
        if !found.contains(&one) {
            found.push(one);
        }
    };
    let own = rights::of(0).unwrap_or_default();
    let may = |right: u64| own.effective & right != 0;
    let nice = schedule::nice_of(&schedule::attributes(0)).unwrap_or(0);
    let score = std::fs::read_to_string(OOM_SCORE).ok();
    let score: i32 = score.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    for process in image.processes.iter().filter(|one| one.ended.is_none()) {
        let pid = process.pid;
        for thread in &process.threads {
            let said = &thread.schedule;
            let wanted = schedule::nice_of(&said.attributes).unwrap_or(nice);
            if wanted < nice && !may(NICE) {
                let what = format!("process {pid} had nice {wanted}, here it has {nice}");
                note(what, "restore it with CAP_SYS_NICE, or as nice as it was");
            }
            let policy = said.attributes.get(4..8).map_or(0, |word| word[0]);
            if matches!(policy, 1 | 2 | 6) && !may(NICE) {
                note(
                    format!("process {pid} was scheduled in real time"),
                    "restore it with CAP_SYS_NICE",
                );
            }
            let cpus = <[u64; 16]>::try_from(said.cpus.as_slice());
            if cpus.is_ok_and(|cpus| !can_run_on(&cpus)) {
                note(
                    format!("process {pid} ran on CPUs that are not to be had here"),
                    "nothing; it runs on those that are",
                );
            }
        }
        if process.oom_score < score && !may(RESOURCE) {
            let what = format!(
                "process {pid} had the OOM score {}, here it has {score}",
                process.oom_score
            );
            note(what, "restore it with CAP_SYS_RESOURCE");
        }
        let who = &process.credentials;
        let missing = who.capabilities.permitted & !own.permitted;
        if missing != 0 {
            note(
                format!("process {pid} had capabilities {missing:#x} that you do not have"),
                "give them to yourself, or nothing",
            );
        }
        let sorted = |all: &[u32]| {
            let mut all = all.to_vec();
            all.sort_unstable();
            all
        };
        if !host.may_be_anyone && sorted(&who.groups) != sorted(&host.groups) {
            note(
                format!("process {pid} was in other groups than you are"),
                "start it with these (setpriv --groups)",
            );
        }
        for limit in &process.limits {
            let most = describe::limit(0, limit.resource).map_or(u64::MAX, |(_, hard)| hard);
            if limit.hard > most && !may(RESOURCE) {
                let what = format!(
                    "process {pid} had a higher limit of resource {} (getrlimit(2))",
                    limit.resource
                );
                note(what, "raise yours");
            }
        }
    }
    found
}
