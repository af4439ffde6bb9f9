//! One of each event of checkpoints and roll-backs, and what else is said of them.

use super::super::recovery::{
    Checkpoint, Image, Recovery, Restarted, Restored, RolledBack, Verdict,
};
use super::*;

fn image(error: Option<&str>) -> Image {
    Image {
        process: 4242,
        program: "gzip".into(),
        image: error.is_none().then_some(7),
        kind: "full".into(),
        bytes: if error.is_none() { 627_939 } else { 0 },
        ms: 20.5,
        error: error.map(str::to_owned),
        parent: None,
        whole: error.is_none().then(|| "first".into()),
        changed: 77,
        unchanged: 0,
        looked_ms: 0.5,
        work_ms: 12.5,
    }
}

fn rolled_back() -> RolledBack {
    RolledBack {
        process: 4242,
        program: "gzip".into(),
        cause: "crash".into(),
        signal: Some(11),
        pc: Some(Address(0x7fff_f7d0_a1b2)),
        call: "write".into(),
        seq: 512,
        to: 480,
        replayed: 32,
        attempt: 1,
        retries: 3,
        ms: 4.125,
        taken_back: 0,
    }
}

fn verdict(verdict: &'static str) -> Verdict {
    Verdict {
        process: 4242,
        program: "gzip".into(),
        verdict: verdict.into(),
        call: "write".into(),
        seq: 512,
        pc: Some(Address(0x7fff_f7d0_a1b2)),
        signal: Some(11),
        attempts: 4,
        performed: "".into(),
    }
}

/// As [`super::all`].
pub(super) fn all() -> Vec<(Event, &'static str, Option<&'static str>)> {
    vec![
        (
            Event::Checkpoint(Checkpoint {
                process: 4242,
                program: "gzip".into(),
                seq: 480,
                ms: 1.25,
                why: "time".into(),
                kept: 3,
                oldest: 1,
            }),
            r#"{"event":"checkpoint","process":4242,"program":"gzip","seq":480,"ms":1.25,"why":"time","kept":3,"oldest":1,"time":1795452000.125}"#,
            None,
        ),
        (
            Event::RolledBack(rolled_back()),
            r#"{"event":"rolled_back","process":4242,"program":"gzip","cause":"crash","signal":11,"pc":"0x7ffff7d0a1b2","call":"write","seq":512,"to":480,"replayed":32,"attempt":1,"retries":3,"ms":4.125,"taken_back":0,"time":1795452000.125}"#,
            Some(
                "chameleon: gzip (pid 4242) crashed with SIGSEGV at 0x7ffff7d0a1b2 before call 512, write: rolled back to call 480, 32 calls replayed, going on after 4.1 ms (try 1 of 3)",
            ),
        ),
        (
            Event::Verdict(verdict("software-bug")),
            r#"{"event":"verdict","process":4242,"program":"gzip","verdict":"software-bug","call":"write","seq":512,"pc":"0x7ffff7d0a1b2","signal":11,"attempts":4,"performed":"","time":1795452000.125}"#,
            Some(
                "chameleon: gzip (pid 4242) crashed 4 times before the same call, 512, write and instruction 0x7ffff7d0a1b2 with SIGSEGV: that is a bug of the program, not a fault of the machine",
            ),
        ),
        (
            Event::Restarted(Restarted { attempt: 1, restarts: 3 }),
            r#"{"event":"restarted","attempt":1,"restarts":3,"time":1795452000.125}"#,
            Some(
                "chameleon: the run was given up and starts again from the beginning (restart 1 of 3)",
            ),
        ),
        (
            Event::Recovery(Recovery { checkpoints: 12, rollbacks: 1 }),
            r#"{"event":"recovery","checkpoints":12,"rollbacks":1,"time":1795452000.125}"#,
            None,
        ),
        (
            Event::Image(image(None)),
            r#"{"event":"image","process":4242,"program":"gzip","image":7,"kind":"full","bytes":627939,"ms":20.5,"error":null,"parent":null,"whole":"first","changed":77,"unchanged":0,"looked_ms":0.5,"work_ms":12.5,"time":1795452000.125}"#,
            None,
        ),
        (
            Event::Image(image(Some("it has several threads"))),
            r#"{"event":"image","process":4242,"program":"gzip","image":null,"kind":"full","bytes":0,"ms":20.5,"error":"it has several threads","parent":null,"whole":null,"changed":77,"unchanged":0,"looked_ms":0.5,"work_ms":12.5,"time":1795452000.125}"#,
            Some(
                "chameleon: no image of gzip (pid 4242): it has several threads; the program goes on",
            ),
        ),
        (
            Event::Restored(Restored {
                process: 5000,
                program: "gzip".into(),
                image: 7,
                was: 4242,
                processes: 3,
                same: 2,
                put_back: 720,
                ms: 68.5,
            }),
            r#"{"event":"restored","process":5000,"program":"gzip","image":7,"was":4242,"processes":3,"same":2,"put_back":720,"ms":68.5,"time":1795452000.125}"#,
            None,
        ),
    ]
}

#[test]
fn each_cause_of_a_roll_back_is_said() {
    for (cause, signal, words) in [
        ("crash", Some(8), "crashed with SIGFPE at 0x"),
        ("killed", Some(9), "was killed with SIGKILL before call 512, write:"),
        ("livelock", None, "made no progress at 0x"),
        ("mismatch", None, "lost its majority before call 512"),
        ("replay", None, "made another call in the replay before"),
        ("of a later version", None, "failed at 0x"),
    ] {
        let event = Event::RolledBack(RolledBack { cause: cause.into(), signal, ..rolled_back() });
        let line = human(&event).unwrap();
        assert!(line.contains(words), "{cause}: {line}");
    }
}

#[test]
fn what_was_taken_back_is_said() {
    for (n, words) in [(1, "32 calls replayed and 1 without an effect taken back,"), (3, "and 3 ")]
    {
        let line =
            human(&Event::RolledBack(RolledBack { taken_back: n, ..rolled_back() })).unwrap();
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn each_verdict_is_said() {
    for (word, words) in [
        ("persistent", "failed 4 times, the last time before call 512, write: given up"),
        ("no-checkpoint", "there is no checkpoint to go back to: given up"),
        ("journal", "its journal does not lead there from any checkpoint: given up"),
        ("of a later version", "given up"),
    ] {
        let line = human(&Event::Verdict(verdict(word))).unwrap();
        assert!(line.contains(words), "{word}: {line}");
    }
    let performed = Verdict { performed: "write".into(), ..verdict("persistent") };
    let line = human(&Event::Verdict(performed)).unwrap();
    assert!(line.contains("does not make write, which had been performed: given up"), "{line}");
    let livelock = Verdict { signal: None, pc: None, ..verdict("software-bug") };
    let line = human(&Event::Verdict(livelock)).unwrap();
    assert!(line.contains("made no progress 4 times before the same call, 512, write:"), "{line}");
}

/// They are at the end: the numbers of those before them on the wire are as they were.
#[test]
fn their_numbers_on_the_wire() {
    let (mut number, mut last) = (14, None);
    for (event, ..) in all() {
        // One of a kind may stand behind another.
        let kind = Some(std::mem::discriminant(&event));
        number += u8::from(std::mem::replace(&mut last, kind) != kind);
        let bytes = crate::codec::encode(&event).unwrap();
        assert_eq!(bytes[0], number, "{event:?}");
        assert_eq!(crate::codec::decode(&bytes), Ok(event));
    }
}
