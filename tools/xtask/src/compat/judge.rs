//! What a run under Chameleon was, next to the native one.
//!
//! Invariant: a function of the two; the first difference in the order status, stdout, stderr, files
//! decides.

use serde_json::Value;

use super::run::{End, Seen};

/// What came of a program in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The native result.
    Same,
    /// The native result, although a replica was taken out that nobody had touched.
    Disturbed(String),
    /// Another result, after a call was refused.
    Refused(String),
    /// Another result, and no sign of failure.
    Differs(String),
    /// It failed where the native one did not.
    Failed(String),
}

impl Verdict {
    /// Whether the result is the native one.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Same | Self::Disturbed(_))
    }

    /// A word or a line, for the table.
    pub fn text(&self) -> String {
        match self {
            Self::Same => "same output".to_string(),
            Self::Disturbed(how) => format!("same output, but {how}"),
            Self::Refused(call) => format!("refused: {call}"),
            Self::Differs(what) => format!("differs: {what}"),
            Self::Failed(line) => format!("failed: {line}"),
        }
    }
}

/// What else the report says beyond start, exit and refusals, in words; none if nothing.
pub fn disturbance(report: &[Value]) -> Option<String> {
    let event = report
        .iter()
        .filter_map(|event| event["event"].as_str())
        .find(|name| !matches!(*name, "start" | "exit" | "refused"))?;
    Some(format!("reports {event}"))
}

/// The verdict on a run.
pub fn verdict(native: &Seen, under: &Seen) -> Verdict {
    let Some(difference) = difference(native, under) else {
        return under.disturbance.clone().map_or(Verdict::Same, Verdict::Disturbed);
    };
    if let Some(refusal) = under.refusals.first() {
        return Verdict::Refused(refusal.brief());
    }
    if under.end != native.end {
        return Verdict::Failed(under.complaint());
    }
    Verdict::Differs(difference)
}

/// The first difference in words.
pub fn difference(native: &Seen, under: &Seen) -> Option<String> {
    if native.end != under.end {
        return Some(format!("{}, natively {}", under.end, native.end));
    }
    if let End::Left(_) | End::Late(_) = under.end {
        return Some(under.end.to_string());
    }
    if native.stdout != under.stdout {
        return Some(place("stdout", &native.stdout, &under.stdout));
    }
    if native.stderr != under.stderr {
        return Some(place("stderr", &native.stderr, &under.stderr));
    }
    let mut files = native.files.iter().zip(&under.files);
    files.find(|(native, under)| native != under).map(|((name, native), (_, under))| {
        match (native, under) {
            (Some(native), Some(under)) => place(name, native, under),
            (_, under) => {
                format!("{name} is {}", if under.is_none() { "missing" } else { "there" })
            }
        }
    })
}

fn place(what: &str, native: &[u8], under: &[u8]) -> String {
    let at = native.iter().zip(under).take_while(|(left, right)| left == right).count();
    format!("{what} from byte {at} of {} on", native.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Verdict, disturbance, verdict};
    use crate::compat::run::{End, Seen};
    use crate::report::refusals;

    #[test]
    fn a_refusal_explains_a_difference_and_is_no_fault_without_one() {
        let report = [
            json!({"event": "start"}),
            json!({"event": "refused", "call": "shmat", "answer": "EINVAL", "reason": "r"}),
        ];
        let native = Seen { stdout: b"one\n".to_vec(), ..Seen::default() };
        let mut under = Seen { refusals: refusals(&report), ..native.clone() };
        assert_eq!(verdict(&native, &under), Verdict::Same);
        under.stdout = b"ona\n".to_vec();
        assert_eq!(verdict(&native, &under), Verdict::Refused("shmat (EINVAL)".into()));
    }

    #[test]
    fn differences_and_failures_are_told_apart() {
        let native = Seen { stdout: b"one\n".to_vec(), ..Seen::default() };
        let under = Seen { stdout: b"ona\n".to_vec(), ..Seen::default() };
        assert_eq!(verdict(&native, &under), Verdict::Differs("stdout from byte 2 of 4 on".into()));
        let under = Seen { end: End::Exited(3), stderr: b"no\nway\n".to_vec(), ..Seen::default() };
        assert_eq!(verdict(&native, &under), Verdict::Failed("exit status 3: no".into()));
    }

    #[test]
    fn an_outvoted_replica_is_a_disturbance() {
        assert_eq!(disturbance(&[json!({"event": "exit"})]), None);
        let report = [json!({"event": "outvoted"})];
        assert_eq!(disturbance(&report).as_deref(), Some("reports outvoted"));
    }
}
