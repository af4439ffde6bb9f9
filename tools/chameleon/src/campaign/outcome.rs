//! What became of one run, from its report and from what it left.
//!
//! Invariant: a report that cannot be read to its end counts as far as it goes, and what is
//! missing of it is against the run, never for it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use chameleon_policy::campaign::{self, Outcome};
use chameleon_proto::event::{Event, Record};

use super::golden::Difference;

/// Calls of the whole run, from the last event of its report.
pub fn calls(report: &Path) -> anyhow::Result<u64> {
    let events = read(report).with_context(|| format!("no report in {}", report.display()))?;
    let calls = events.iter().find_map(|event| match event {
        Event::Exit(exit) => Some(exit.calls),
        _ => None,
    });
    calls.context("the report of the run without a fault has no exit event")
}

/// Judges a run by its report and by how it differs from the native one.
pub fn judge(report: &Path, difference: &Difference) -> Outcome {
    // Without a report the run counts as lost.
    let events = read(report).unwrap_or_default();
    campaign::classify(&events, difference.outputs.is_empty(), difference.end.is_none())
}

/// Whether the user got what the native run gives.
pub fn is_good(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::WrongOutput | Outcome::Lost)
}

/// The name of an outcome in JSON.
pub fn key(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Benign => "benign",
        Outcome::MaskedRepaired => "masked_repaired",
        Outcome::CrashedRepaired => "crashed_repaired",
        Outcome::HungRepaired => "hung_repaired",
        Outcome::WrongOutput => "wrong_output",
        Outcome::Lost => "lost",
    }
}

/// The events of a report; a last line cut short is left out.
fn read(report: &Path) -> std::io::Result<Vec<Event>> {
    let text = fs::read_to_string(report)?;
    let records = text.lines().map_while(|line| Record::from_line(line).ok());
    Ok(records.map(|record| record.event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPAIR: &str = concat!(
        r#"{"event":"outvoted","time":1.0,"process":9,"program":"sort","replica":1,"seq":4,"#,
        r#""reason":"late","signal":null}"#
    );
    const EXIT: &str = concat!(
        r#"{"event":"exit","time":2.0,"status":0,"signal":null,"calls":77,"votes":70,"#,
        r#""repairs":1,"takeovers":0,"wall_ms":1.5,"cpu_ms":2.5}"#
    );

    fn judged(report: &str, difference: &Difference) -> Outcome {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), report).unwrap();
        judge(file.path(), difference)
    }

    #[test]
    fn a_report_and_what_was_left_make_an_outcome() {
        let same = Difference::default();
        let differs = Difference { outputs: vec!["stdout".to_string()], end: None };
        let whole = format!("{REPAIR}\n{EXIT}\n");
        assert_eq!(judged(&whole, &same), Outcome::HungRepaired);
        assert_eq!(judged(&whole, &differs), Outcome::WrongOutput);
        assert_eq!(judged(EXIT, &same), Outcome::Benign);
    }

    #[test]
    fn a_report_cut_short_or_missing_is_a_lost_run() {
        let same = Difference::default();
        let cut = format!("{REPAIR}\n{}", &EXIT[..40]);
        assert_eq!(judged(&cut, &same), Outcome::Lost);
        assert_eq!(judge(Path::new("/nonexistent"), &same), Outcome::Lost);
    }

    #[test]
    fn the_calls_are_those_of_the_exit_event() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), EXIT).unwrap();
        assert_eq!(calls(file.path()).unwrap(), 77);
        fs::write(file.path(), REPAIR).unwrap();
        assert!(calls(file.path()).is_err());
    }
}
