//! Events as a person reads them on stderr: one plain line each.
//!
//! Invariant: a line begins with `chameleon: `, holds no newline or other control character
//! (names come from programs), and one mishap gives one line, not two. Called by the dispatcher's
//! reporter.

use super::{
    Divergence, Event, Exit, Latent, LostMajority, Outvoted, Race, Reason, Refused, What, recovery,
};

/// The line for an event, without a newline; `None` where a person need not be told: the start and
/// the end of a run, its checkpoints, and the removal of a replica whose divergence was said already.
pub fn human(event: &Event) -> Option<String> {
    let sentence = match event {
        Event::Start(_) | Event::Exit(_) | Event::ModeChanged(_) => return None,
        Event::Injected(injected) => format!(
            "put fault {} into replica {} of process {} at its call {}",
            injected.fault, injected.replica, injected.process, injected.call
        ),
        Event::Divergence(divergence) => differed(divergence),
        Event::Race(race) => raced(race),
        // Said by the divergence already.
        Event::Outvoted(Outvoted { reason: Reason::Divergence, .. }) => return None,
        Event::Outvoted(outvoted) => taken_out(outvoted),
        Event::Repaired(repaired) => format!(
            "replica {} of process {} repaired from replica {} in {:.1} ms",
            repaired.replica, repaired.process, repaired.donor, repaired.ms
        ),
        Event::Takeover(takeover) => format!(
            "the replica set's ARMOR was lost; its successor (life {}) took over in {:.1} ms",
            takeover.incarnation, takeover.ms
        ),
        Event::Refused(refused) => refusal(refused),
        Event::Latent(latent) => hidden(latent),
        Event::Preempted(p) => format!(
            "{} (pid {}) computed too long to wait for its next call with {}: continued in the \
             state of replica {}, {:.0} ms unvoted",
            p.program,
            p.process,
            signal_name(p.signal),
            p.donor,
            p.ms
        ),
        Event::Stalled(s) => format!(
            "thread {} of {} (pid {}) computes without a call since {:.1} s while {} wait, and its \
             replicas are at different states: it is waited for; --threads live goes on unvoted",
            s.thread,
            s.program,
            s.process,
            s.ms / 1e3,
            s.waiting
        ),
        Event::Unvoted(u) => format!(
            "thread {} of {} (pid {}) computed without a call while others waited: continued in the \
             state of replica {}, {:.0} ms unvoted",
            u.thread, u.program, u.process, u.donor, u.ms
        ),
        Event::Undelivered(u) => format!(
            "{} (pid {}): a write to a file that was carried out after the program had gone on \
             failed with {}; stopped, status 125",
            u.program, u.process, u.answer
        ),
        Event::LostMajority(lost) => no_majority(lost),
        Event::Checkpoint(_)
        | Event::RolledBack(_)
        | Event::Verdict(_)
        | Event::Restarted(_)
        | Event::Recovery(_)
        | Event::Image(_)
        | Event::Restored(_) => recovery::told(event)?,
    };
    Some(line(&sentence))
}

/// The line for an event that [`human`] keeps quiet about, for `-v`.
fn verbose(event: &Event) -> Option<String> {
    let sentence = match event {
        Event::Start(start) => format!(
            "{} starts as pid {} in mode {} ({} equal of {}) on {} CPUs",
            start.program, start.pid, start.mode, start.k, start.n, start.cpus
        ),
        Event::ModeChanged(changed) => format!(
            "the mode is {} now ({} equal of {}), {} before; {:.1} ms from the request until every process \
             had it",
            changed.to, changed.k, changed.n, changed.from, changed.ms
        ),
        Event::Exit(exit) => ended(exit),
        Event::Outvoted(outvoted) => taken_out(outvoted),
        _ => recovery::told_at_length(event)?,
    };
    Some(line(&sentence))
}

impl Event {
    /// The line for stderr, as [`human`]; with `with_all` (`-v`) also what is otherwise left out.
    pub fn line(&self, with_all: bool) -> Option<String> {
        human(self).or_else(|| verbose(self).filter(|_| with_all))
    }
}

/// Puts the prefix on and takes control characters out.
fn line(sentence: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    "chameleon: ".chars().chain(sentence.chars().map(plain)).collect()
}

fn raced(event: &Race) -> String {
    let Race { process, program, seq, call, others, .. } = event;
    let why = match others.as_slice() {
        [] => "its memory was changed in no common order before".to_owned(),
        others => {
            let pids: Vec<String> = others.iter().map(u32::to_string).collect();
            format!("it shares memory with process {} in no common order", pids.join(", "))
        }
    };
    format!(
        "what differed at call {seq}, {call}, of {program} (pid {process}) may be a race of its own: \
         no fault was put in, and {why}"
    )
}

fn differed(event: &Divergence) -> String {
    let Divergence { process, program, replica, seq, call, argument, .. } = event;
    let place = match (event.what, argument, event.offset) {
        (What::Call, _, _) => "it made another call".to_owned(),
        (What::Argument, Some(argument), _) => format!(
            "argument {argument} was {} instead of {}",
            little_endian(event.got.as_slice()),
            little_endian(event.expected.as_slice())
        ),
        (What::Bytes, Some(argument), Some(offset)) => {
            format!("argument {argument} byte {offset}")
        }
        (What::Bytes, None, Some(offset)) => format!("byte {offset} of memory it shares"),
        (What::Length, Some(argument), _) => format!("length of argument {argument}"),
        (What::Unreadable, Some(argument), _) => {
            format!("argument {argument} points nowhere")
        }
        _ => "its ballot".to_owned(),
    };
    let verdict = match (event.outvoted, event.votes) {
        (true, votes) => format!("outvoted {votes}:{}", event.against),
        (false, 0) => "nobody has a majority".to_owned(),
        (false, _) => "the first ballot stands".to_owned(),
    };
    format!(
        "replica {replica} of {program} (pid {process}) differed at call {seq}, {call}: {place}; {verdict}"
    )
}

/// Bytes, the lowest first, as a hexadecimal number.
fn little_endian(bytes: &[u8]) -> String {
    let value = bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
    format!("{value:#x}")
}

fn taken_out(event: &Outvoted) -> String {
    let why = match (event.reason, event.signal) {
        (Reason::Divergence, _) => "was outvoted".to_owned(),
        (Reason::Late, _) => "did not arrive in time".to_owned(),
        (Reason::Crash, Some(signal)) => format!("crashed with {}", signal_name(signal)),
        (Reason::Crash, None) => "crashed".to_owned(),
        (Reason::Killed, Some(signal)) => format!("was killed with {}", signal_name(signal)),
        (Reason::Killed, None) => "was killed".to_owned(),
    };
    format!(
        "replica {} of {} (pid {}) {why} at call {}; taken out",
        event.replica, event.program, event.process, event.seq
    )
}

fn refusal(event: &Refused) -> String {
    let mut sentence = format!(
        "{} (pid {}): {} refused with {}: {}",
        event.program, event.process, event.call, event.answer, event.reason
    );
    if !event.advice.is_empty() {
        sentence.push_str("; ");
        sentence.push_str(&event.advice);
    }
    sentence
}

fn hidden(event: &Latent) -> String {
    format!(
        "replica {} of process {} differs from replica {} in memory at {} ({} instead of {}); it was not copied",
        event.donor, event.process, event.other, event.address, event.got, event.expected
    )
}

fn no_majority(event: &LostMajority) -> String {
    let LostMajority { process, program, seq, call, n, k, best } = event;
    format!(
        "{program} (pid {process}) lost its majority at call {seq}, {call}: {best} equal of {n}, {k} needed; stopped, nothing more is output"
    )
}

fn ended(event: &Exit) -> String {
    let how = match (event.status, event.signal) {
        (Some(status), _) => format!("exited with status {status}"),
        (None, Some(signal)) => format!("was ended by {}", signal_name(signal)),
        (None, None) => "ended".to_owned(),
    };
    format!(
        "the program {how}: {} calls, {} voted, {} repairs, {} takeovers, {:.0} ms, {:.0} ms of CPU",
        event.calls, event.votes, event.repairs, event.takeovers, event.wall_ms, event.cpu_ms
    )
}

/// The name of a signal of x86-64, signal(7): `SIGSEGV`, `SIGRTMIN+2` (counted from the kernel's
/// 32), or `signal 99` for what is none.
pub fn signal_name(signal: u8) -> String {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    match signal {
        1..=31 => NAMES[usize::from(signal) - 1].to_owned(),
        32..=64 => format!("SIGRTMIN+{}", signal - 32),
        _ => format!("signal {signal}"),
    }
}
