//! Events of checkpoints, roll-backs and restarts, and how a person reads them.
//!
//! Invariant: the words in `why`, `cause` and `verdict` are those of `docs/report.md`; what is told
//! without `-v` is what went wrong, never that a checkpoint was taken. See the module above.

use serde::{Deserialize, Serialize};

use super::{Address, Event, Word, signal_name};

/// See [`Event::Checkpoint`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The call before which it stands, from 1.
    pub seq: u64,
    /// Milliseconds for which the process was stopped.
    pub ms: f64,
    /// `start`, `time`, `calls`, `asked`, `journal` or `call:NAME`.
    pub why: Word,
    /// Checkpoints of the process that are kept now, this one included.
    pub kept: u32,
    /// The call before which the oldest of them stands, from 1.
    pub oldest: u64,
}

/// See [`Event::RolledBack`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// `crash`, `killed`, `livelock`, `mismatch` or `replay`.
    pub cause: Word,
    /// The signal, if one ended it.
    pub signal: Option<u8>,
    /// Where it stood, if that is known.
    pub pc: Option<Address>,
    /// Name of the call that it had not been answered yet or would have made next, if known.
    pub call: Word,
    /// That call's sequence number, from 1.
    pub seq: u64,
    /// The call before which the checkpoint stands, from 1.
    pub to: u64,
    /// Calls that are answered from the journal.
    pub replayed: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub retries: u32,
    /// Milliseconds from the failure until it goes on.
    pub ms: f64,
    /// Decided calls without an effect outside that were taken back: executed again, the program went
    /// another way before them.
    pub taken_back: u64,
}

/// See [`Event::Verdict`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The application process, by the pid that the program sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// `software-bug`, `persistent`, `no-checkpoint` or `journal`.
    pub verdict: Word,
    /// Name of the call at which it failed last, if known.
    pub call: Word,
    /// That call's sequence number, from 1.
    pub seq: u64,
    /// Where it stood, if that is known.
    pub pc: Option<Address>,
    /// The signal, if one ended it.
    pub signal: Option<u8>,
    /// How often it failed.
    pub attempts: u32,
    /// Name of a call that had been performed and that the program did not make when it was executed
    /// again; may be empty.
    pub performed: Word,
}

/// See [`Event::Restarted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// Which restart this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub restarts: u32,
}

/// See [`Event::Recovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Checkpoints taken, of all processes.
    pub checkpoints: u64,
    /// Roll-backs, of all processes.
    pub rollbacks: u64,
}

/// See [`Event::Image`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The first process of the program, by the pid that it sees.
    pub process: u32,
    /// Its program's name.
    pub program: String,
    /// The number of the image; none if it did not get one.
    pub image: Option<u64>,
    /// `full` or `increment`.
    pub kind: Word,
    /// Bytes of its files; 0 if there is none.
    pub bytes: u64,
    /// Milliseconds from the cut until it was on the disk; the program ran on meanwhile.
    pub ms: f64,
    /// Why there is none; the one before stays the last good one.
    pub error: Option<String>,
    /// The image that it is an increment of.
    pub parent: Option<u64>,
    /// Why it is a full one, in one word: `first`, `chain`, `size`, `parent`, `unknown`, `rewritten`.
    pub whole: Option<Word>,
    /// Pages that were written, and those that were left to the parent.
    pub changed: u64,
    /// See `changed`.
    pub unchanged: u64,
    /// Milliseconds of CPU time for which its processes stood still so that it could be looked what they had
    /// changed; this is part of what the checkpoint took.
    pub looked_ms: f64,
    /// Milliseconds of CPU time that writing it took, beside the program.
    pub work_ms: f64,
}

/// See [`Event::Restored`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// The pid of its first process, as others see it.
    pub process: u32,
    /// Its name.
    pub program: String,
    /// The number of the image.
    pub image: u64,
    /// The pid that it had, which the program goes on to see.
    pub was: u32,
    /// How many processes go on.
    pub processes: u32,
    /// How many of them have the pid that they had to others, too.
    pub same: u32,
    /// Bytes that were put back into files.
    pub put_back: u64,
    /// Milliseconds from the start of the restart until the program went on.
    pub ms: f64,
}

/// What a person is told without `-v`, if it is an event of this module.
pub(super) fn told(event: &Event) -> Option<String> {
    match event {
        Event::RolledBack(back) => Some(rolled_back(back)),
        Event::Verdict(verdict) => Some(judged(verdict)),
        Event::Image(Image { program, process, error: Some(why), .. }) => {
            Some(format!("no image of {program} (pid {process}): {why}; the program goes on"))
        }
        Event::Restarted(Restarted { attempt, restarts }) => Some(format!(
            "the run was given up and starts again from the beginning (restart {attempt} of {restarts})"
        )),
        _ => None,
    }
}

/// What a person is told with `-v` in addition.
pub(super) fn told_at_length(event: &Event) -> Option<String> {
    match event {
        Event::Checkpoint(c) => Some(format!(
            "checkpoint of {} (pid {}) before call {} ({}) in {:.1} ms, {} kept, the oldest before call {}",
            c.program, c.process, c.seq, c.why, c.ms, c.kept, c.oldest
        )),
        Event::Image(Image { program, process, image: Some(image), bytes, ms, parent, .. }) => {
            let on = parent.map_or(String::new(), |parent| format!(" on image {parent}"));
            Some(format!(
                "image {image} of {program} (pid {process}): {bytes} bytes{on}, on the disk after {ms:.0} ms"
            ))
        }
        Event::Restored(Restored {
            program,
            process,
            image,
            was,
            processes,
            same,
            put_back,
            ms,
        }) => Some(format!(
            "{program} goes on from image {image} after {ms:.0} ms, as pid {process} to others and \
             {was} to itself{}; {put_back} bytes of files were put back",
            match processes {
                0 | 1 => String::new(),
                n => format!(" ({same} of its {n} processes have their old pids to others, too)"),
            }
        )),
        Event::Recovery(Recovery { checkpoints, rollbacks }) => {
            Some(format!("{checkpoints} checkpoints were taken, {rollbacks} rolled back to"))
        }
        _ => None,
    }
}

fn rolled_back(event: &RolledBack) -> String {
    let RolledBack { program, process, seq, to, replayed, attempt, retries, ms, .. } = event;
    let taken_back = match event.taken_back {
        0 => String::new(),
        1 => " and 1 without an effect taken back".to_owned(),
        n => format!(" and {n} without an effect taken back"),
    };
    format!(
        "{program} (pid {process}) {} before call {seq}{}: rolled back to call {to}, {replayed} \
         calls replayed{taken_back}, going on after {ms:.1} ms (try {attempt} of {retries})",
        failed(&event.cause, event.signal, event.pc),
        named(&event.call)
    )
}

fn failed(cause: &str, signal: Option<u8>, pc: Option<Address>) -> String {
    let with = signal.map_or(String::new(), |signal| format!(" with {}", signal_name(signal)));
    let at = pc.map_or(String::new(), |pc| format!(" at {pc}"));
    match cause {
        "crash" => format!("crashed{with}{at}"),
        "killed" => format!("was killed{with}"),
        "livelock" => format!("made no progress{at}"),
        "mismatch" => "lost its majority".to_owned(),
        "replay" => "made another call in the replay".to_owned(),
        _ => format!("failed{with}{at}"),
    }
}

fn named(call: &str) -> String {
    if call.is_empty() { String::new() } else { format!(", {call}") }
}

fn judged(event: &Verdict) -> String {
    let Verdict { program, process, seq, attempts, signal, pc, .. } = event;
    let (who, call) = (format!("{program} (pid {process})"), named(&event.call));
    match (&*event.verdict, signal) {
        ("software-bug", Some(signal)) => {
            let instruction = pc.map_or(String::new(), |pc| format!(" and instruction {pc}"));
            format!(
                "{who} crashed {attempts} times before the same call, {seq}{call}{instruction} with \
                 {}: that is a bug of the program, not a fault of the machine",
                signal_name(*signal)
            )
        }
        ("software-bug", None) => format!(
            "{who} made no progress {attempts} times before the same call, {seq}{call}: that is a \
             bug of the program, not a fault of the machine"
        ),
        ("no-checkpoint", _) => format!(
            "{who} failed before call {seq}{call}, and there is no checkpoint to go back to: given up"
        ),
        ("journal", _) => format!(
            "{who} failed before call {seq}{call}, and its journal does not lead there from any \
             checkpoint: given up"
        ),
        _ if !event.performed.is_empty() => format!(
            "{who} failed {attempts} times, the last time because executed again it does not make {}, \
             which had been performed: given up",
            event.performed
        ),
        _ if *attempts < 2 => format!("{who} failed before call {seq}{call}: given up"),
        _ => format!(
            "{who} failed {attempts} times, the last time before call {seq}{call}: given up"
        ),
    }
}
