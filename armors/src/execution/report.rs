//! What a run's report says of how it ended.
//!
//! Invariant: what the report does not say is not guessed; a run that is gone without its last line was
//! ended from outside. Read when the run's process has ended (docs/report.md).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use chameleon_proto::event::{Event, Record};
use chameleon_proto::message::app::Fault;

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Whether the program was started, or went on from an image.
    pub began: bool,
    /// Its exit status.
    pub status: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// How it failed, if it did, and in words.
    pub fault: Option<(Fault, String)>,
}

/// Reads a report; one that is not there says nothing.
pub(super) fn read(path: &Path) -> Told {
    let mut told = Told::default();
    let Ok(file) = File::open(path) else { return told };
    let mut livelock = false;
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let Ok(record) = Record::from_line(&line) else { continue };
        match record.event {
            Event::Start(_) | Event::Restored(_) => told.began = true,
            Event::RolledBack(back) => livelock = back.cause == "livelock",
            Event::LostMajority(lost) => {
                let text = format!(
                    "the majority was lost at call {} ({}) of {}",
                    lost.seq, lost.call, lost.program
                );
                told.fault = Some((Fault::Erroneous, text));
            }
            Event::Verdict(verdict) => {
                let fault = if livelock { Fault::Livelock } else { Fault::Terminated };
                let text = format!(
                    "{} failed {} times: {}",
                    verdict.program, verdict.attempts, verdict.verdict
                );
                told.fault = Some((fault, text));
            }
            Event::Undelivered(lost) => {
                let text =
                    format!("output of {} could not be written: {}", lost.program, lost.answer);
                told.fault = Some((Fault::Terminated, text));
            }
            // A new try: what was before it is over.
            Event::Restarted(_) => told = Told { began: true, ..Told::default() },
            Event::Exit(exit) => (told.status, told.signal) = (exit.status, exit.signal),
            _ => {}
        }
    }
    told
}

impl Told {
    /// The status as a shell counts it and, if it is a failure, which and why. `status` is what the run's
    /// process left, if it was waited for.
    pub fn judge(&self, status: Option<i32>) -> (i32, Option<(Fault, String)>) {
        if let Some(signal) = self.signal {
            let signal = i32::from(signal);
            let text = || (Fault::Terminated, format!("signal {signal} ended the program"));
            return (128 + signal, Some(self.fault.clone().unwrap_or_else(text)));
        }
        if let Some(exit) = self.status {
            return (i32::from(exit), self.fault.clone());
        }
        let status = status.unwrap_or(137);
        let gone = || match self.began {
            true => (Fault::Terminated, "the run is gone; it was ended from outside".to_owned()),
            false => {
                (Fault::Unstartable, "the program could not be started; see its stderr".to_owned())
            }
        };
        (status, Some(self.fault.clone().unwrap_or_else(gone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        read(&path)
    }

    const START: &str = r#"{"event":"start","mode":"tmr","n":3,"k":2,"program":"x","args":[],"pid":1,"cpus":1,"time":1.0}"#;
    const EXIT: &str = r#"{"event":"exit","status":3,"signal":null,"calls":1,"votes":1,"repairs":0,"takeovers":0,"wall_ms":1.0,"cpu_ms":1.0,"time":2.0}"#;

    #[test]
    fn an_exit_is_the_programs_own_whatever_its_status() {
        assert_eq!(told(&[START, EXIT]).judge(None), (3, None));
    }

    #[test]
    fn a_signal_or_a_lost_majority_is_a_failure() {
        let signal = EXIT.replace("\"status\":3,\"signal\":null", "\"status\":null,\"signal\":11");
        let (status, fault) = told(&[START, &signal]).judge(None);
        assert_eq!((status, fault.unwrap().0), (139, Fault::Terminated));
        let lost = r#"{"event":"lost_majority","process":1,"program":"x","seq":4,"call":"write","n":2,"k":2,"groups":[],"time":1.5}"#;
        let exit = EXIT.replace("\"status\":3", "\"status\":125");
        let (status, fault) = told(&[START, lost, &exit]).judge(None);
        assert_eq!(status, 125);
        assert!(fault.is_none_or(|(fault, _)| fault == Fault::Erroneous));
    }

    #[test]
    fn a_run_without_a_last_line_is_gone_and_one_without_a_first_never_began() {
        assert_eq!(told(&[START]).judge(Some(137)).1.unwrap().0, Fault::Terminated);
        let (status, fault) = told(&[]).judge(Some(127));
        assert_eq!((status, fault.unwrap().0), (127, Fault::Unstartable));
    }
}
