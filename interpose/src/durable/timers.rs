//! The timers of timer_create(2) that a process has, as /proc lists them.
//!
//! Invariant: reads only. Called at the cut.

use std::fs;

use super::Described;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in the process.
    pub id: i32,
    /// CLOCK_REALTIME and so on.
    pub clock: i32,
    /// struct sigevent (sigevent(3type)), the thread's number as the kernel knows it.
    pub event: [u32; 16],
}

/// The timers of a process (proc_pid_timers(5)); none where the kernel does not list them.
///
/// # Errors
/// What is listed is not understood.
pub fn listed(pid: u32) -> Described<Vec<Listed>> {
    let text = fs::read_to_string(format!("/proc/{pid}/timers")).unwrap_or_default();
    parse(&text).ok_or_else(|| "it has a timer that is not understood (timer_create(2))".to_owned())
}

fn parse(text: &str) -> Option<Vec<Listed>> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let id = line.strip_prefix("ID: ")?.trim().parse().ok()?;
        let (signal, value) = lines.next()?.strip_prefix("signal: ")?.split_once('/')?;
        let (how, to) = lines.next()?.strip_prefix("notify: ")?.split_once('/')?;
        let clock = lines.next()?.strip_prefix("ClockID: ")?.trim().parse().ok()?;
        let (kind, whom) = to.split_once('.')?;
        let mut event = [0u32; 16];
        let value = u64::from_str_radix(value.trim(), 16).ok()?;
        (event[0], event[1]) = (value as u32, (value >> 32) as u32);
        event[2] = signal.trim().parse().ok()?;
        event[3] = match (how, kind) {
            ("none", _) => libc::SIGEV_NONE as u32,
            (_, "tid") => libc::SIGEV_THREAD_ID as u32,
            _ => libc::SIGEV_SIGNAL as u32,
        };
        if kind == "tid" {
            event[4] = whom.trim().parse().ok()?;
        }
        all.push(Listed { id, clock, event });
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lists_is_a_sigevent() {
        let text = "ID: 3\nsignal: 10/00007f0000000005\nnotify: signal/pid.77\nClockID: 1\n\
                    ID: 4\nsignal: 32/0000000000000000\nnotify: signal/tid.78\nClockID: 0\n\
                    ID: 5\nsignal: 0/0000000000000000\nnotify: none/pid.77\nClockID: 0\n";
        let all = parse(text).unwrap();
        assert_eq!((all[0].id, all[0].clock), (3, 1));
        assert_eq!(all[0].event[..5], [5, 0x7f00, 10, libc::SIGEV_SIGNAL as u32, 0]);
        assert_eq!(all[1].event[2..5], [32, libc::SIGEV_THREAD_ID as u32, 78]);
        assert_eq!(all[2].event[3], libc::SIGEV_NONE as u32);
        assert_eq!(parse(""), Some(Vec::new()));
        assert_eq!(parse("ID: 1\n"), None);
    }
}
