//! The processes of Chameleon that belong to this run, and what they use, from /proc.
//!
//! A process is this run's when its executable is the copy in the work directory. Replicas are
//! not found that way: their executable is the program.
//!
//! Invariant: reads only; a process that ends meanwhile counts as nothing.

use std::fs;
use std::path::Path;

/// Numbers of the processes whose executable is `exe`.
pub fn of(exe: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|at| at == exe))
        .collect()
}

/// The command line as shown by ps, its words joined.
pub fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim().to_string()
}

/// Proportional set size in MB: pages shared by n processes count for 1/n in each (proc(5)).
pub fn pss_mb(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Milliseconds on a CPU since its start, of all its threads (the first field of `schedstat`).
pub fn cpu_ms(pid: i32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let times = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e6
}
