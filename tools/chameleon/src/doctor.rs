//! `chameleon doctor`: whether this machine has what `run` needs, and how the environment is, in plain words.
//!
//! Reads what the kernel says of itself, then tries: a program of the system is run in simplex
//! and in tmr by this very binary, which needs everything that any program needs.
//!
//! Invariant: changes nothing; exit status 0 exactly when every needed thing is there. Called by
//! `main`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use serde_json::{Value, json};

use crate::cli::DoctorArgs;

/// The first kernel with `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (seccomp_unotify(2)); the other
/// flags `run` uses are older.
const FIRST_KERNEL: (u32, u32) = (6, 6);

/// One thing looked at.
pub struct Finding {
    /// In some words.
    pub what: &'static str,
    /// Whether it is as it must be.
    pub good: bool,
    /// Whether it is something to know, neither good nor bad.
    pub note: bool,
    /// How it is.
    pub found: String,
    /// What to do if it is not good.
    pub advice: &'static str,
}

/// Looks at everything and prints it.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = vec![machine(), kernel(), notifications(), ptrace()];
    for mode in ["simplex", "tmr"] {
        findings.push(trial(mode));
    }
    findings.extend(crate::environment::findings(&args.place));
    let good = findings.iter().all(|one| one.good);
    crate::print(&if args.json {
        as_json(&findings, good).to_string()
    } else {
        as_text(&findings)
    })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(findings: &[Finding], good: bool) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|one| {
            let advice = if one.good { "" } else { one.advice };
            json!({
                "what": one.what, "good": one.good, "note": one.note, "found": one.found,
                "advice": advice,
            })
        })
        .collect();
    json!({ "good": good, "findings": list })
}

fn as_text(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["", "what", "found"]);
    for one in findings {
        let mark = match (one.good, one.note) {
            (_, true) => "note",
            (true, _) => "ok",
            (false, _) => "NO",
        };
        table.add_row([mark, one.what, one.found.trim()]);
    }
    let mut text = table.to_string();
    for one in findings.iter().filter(|one| !one.good) {
        text.push_str(&format!("\n{}: {}", one.what, one.advice));
    }
    text
}

/// A file of /proc in one line; empty when it is not there.
fn proc_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn machine() -> Finding {
    Finding {
        what: "processor",
        good: std::env::consts::ARCH == "x86_64",
        note: false,
        found: std::env::consts::ARCH.to_string(),
        advice: "chameleon runs on x86-64 only",
    }
}

fn kernel() -> Finding {
    let release = proc_line("/proc/sys/kernel/osrelease");
    Finding {
        what: "kernel",
        good: version(&release).is_some_and(|found| found >= FIRST_KERNEL),
        note: false,
        found: release,
        advice: "Linux 6.6 or newer is needed, for synchronous wake-ups of seccomp notifications",
    }
}

/// Major and minor of a release such as `6.18.3-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn notifications() -> Finding {
    let actions = proc_line("/proc/sys/kernel/seccomp/actions_avail");
    let good = actions.split_whitespace().any(|action| action == "user_notif");
    Finding {
        what: "seccomp user notification",
        good,
        note: false,
        found: if good { "available" } else { "not available" }.to_string(),
        advice: "the kernel must be built with CONFIG_SECCOMP_FILTER, and a sandbox around this \
                 process must let it use seccomp(2)",
    }
}

fn ptrace() -> Finding {
    // ptrace(2), "Ptrace access mode checking": yama allows a process its own descendants up
    // to scope 1, which is all that is traced.
    let scope = proc_line("/proc/sys/kernel/yama/ptrace_scope");
    Finding {
        what: "ptrace of one's own children",
        good: matches!(scope.as_str(), "" | "0" | "1"),
        note: false,
        found: match scope.as_str() {
            "" => "not restricted by yama".to_string(),
            scope => format!("yama ptrace_scope {scope}"),
        },
        advice: "set kernel.yama.ptrace_scope to 1 or 0 (sysctl)",
    }
}

/// Runs true(1) under this binary.
fn trial(mode: &'static str) -> Finding {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("chameleon").args(["run", "--mode", mode, "--", "true"]);
    command.stdin(Stdio::null());
    let (good, found) = match command.output() {
        Err(error) => (false, error.to_string()),
        Ok(output) if output.status.success() && output.stderr.is_empty() => {
            (true, "works".to_string())
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (false, format!("{} {said}", output.status))
        }
    };
    Finding {
        what: if mode == "simplex" { "true(1) in simplex" } else { "true(1) in tmr" },
        good,
        note: false,
        found,
        advice: "docs/errors.md has what the message means",
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn kernel_releases() {
        assert_eq!(version("6.18.3-amd64"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert!(version("6.6.0").unwrap() >= super::FIRST_KERNEL);
        assert!(version("5.19.1").unwrap() < super::FIRST_KERNEL);
        assert_eq!(version(""), None);
    }
}
