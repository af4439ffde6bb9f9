//! `chameleon explain`: the timeline of one incident, from its detection on.
//!
//! Called by `main`.

use std::process::ExitCode;

use anyhow::bail;
use chameleon_proto::ask::{Ask, Numbered};
use chameleon_proto::message::env::Step;
use serde_json::json;

use super::asking::Environment;
use super::events::{self, step};
use super::table::plain;
use super::when::{since, stamp};
use crate::cli::ExplainArgs;

/// Asks and prints it.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut environment = Environment::of(&args.place)?;
    let incident = args.incident;
    let ask = Ask::Events { after: 0, most: u32::MAX, app: None, incident: Some(incident) };
    let (mut events, _) = events::ask(&mut environment, &ask)?;
    // What several nodes saw may have come in another order than it happened.
    events.sort_by_key(|event| (event.note.at_ns, event.number));
    let Some(first) = events.first() else {
        bail!("there is no incident {incident}; `chameleon events` shows their numbers behind #");
    };
    let start = detected(&events).unwrap_or(first.note.at_ns);
    let end = ended(&events);
    let text = if args.json {
        let timeline: Vec<_> = events
            .iter()
            .map(|event| {
                let ms = (event.note.at_ns as f64 - start as f64) / 1e6;
                json!({
                    "number": event.number, "at_ns": event.note.at_ns, "ms": ms,
                    "node": event.note.node, "app": event.note.app, "step": event.note.step,
                    "text": event.note.text,
                })
            })
            .collect();
        let recovered = end.filter(|event| event.note.step == Step::Recovered);
        let took = |event: &Numbered| (event.note.at_ns as f64 - start as f64) / 1e6;
        json!({
            "incident": incident,
            "over": end.is_some(),
            "recovered_ms": recovered.map(took),
            "timeline": timeline,
        })
        .to_string()
    } else {
        timeline(incident, &events, start, end)
    };
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// When it was detected first.
fn detected(events: &[Numbered]) -> Option<u64> {
    events.iter().find(|event| event.note.step == Step::Detected).map(|event| event.note.at_ns)
}

/// The step that ended it, if it is over.
fn ended(events: &[Numbered]) -> Option<&Numbered> {
    events.iter().rev().find(|event| matches!(event.note.step, Step::Recovered | Step::GivenUp))
}

fn timeline(incident: u64, events: &[Numbered], start: u64, end: Option<&Numbered>) -> String {
    let mut text = format!("incident {incident}, {} UTC\n", stamp(start));
    for event in events {
        let note = &event.note;
        text += &format!(
            "{:>14}  {:<9}  node {}  {}\n",
            since(start, note.at_ns),
            step(note.step),
            note.node.0,
            plain(&note.text)
        );
    }
    text += &match end.map(|event| (event.note.step, since(start, event.note.at_ns))) {
        Some((Step::Recovered, took)) => {
            format!("recovered {} after it was detected", took.trim_start_matches('+'))
        }
        Some((_, took)) => {
            format!("given up {} after it was detected", took.trim_start_matches('+'))
        }
        None => "not over yet".to_owned(),
    };
    text
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::NodeId;
    use chameleon_proto::message::env::Note;

    use super::*;

    fn event(number: u64, ms: u64, step: Step, text: &str) -> Numbered {
        let at_ns = 1_785_499_201_500_000_000 + ms * 1_000_000;
        let note = Note { incident: 7, at_ns, node: NodeId(2), app: None, step, text: text.into() };
        Numbered { number, note }
    }

    #[test]
    fn a_timeline_is_in_milliseconds_from_its_detection() {
        let events = [
            event(4, 0, Step::Detected, "execution 5 ended by signal 9"),
            event(5, 1, Step::Decided, "start it again here"),
            event(6, 14, Step::Recovered, "execution 5 is there again"),
        ];
        let start = detected(&events).unwrap();
        assert_eq!(
            timeline(7, &events, start, ended(&events)),
            "incident 7, 2026-07-31 12:00:01.500 UTC\n     \
             +0.000 ms  detected   node 2  execution 5 ended by signal 9\n     \
             +1.000 ms  decided    node 2  start it again here\n    \
             +14.000 ms  recovered  node 2  execution 5 is there again\n\
             recovered 14.000 ms after it was detected"
        );
        assert!(timeline(7, &events[..2], start, None).ends_with("not over yet"));
    }
}
