//! Tests of the events: the JSON schema, exactly, and the sentences.

use super::*;

mod recovery;

/// One of each, with the line of a report and the line a person reads.
fn all() -> Vec<(Event, &'static str, Option<&'static str>)> {
    let mut all = vec![
        (
            Event::Start(Start {
                mode: "tmr".into(),
                n: 3,
                k: 2,
                program: "sort".into(),
                args: vec!["-n".into()],
                pid: 4242,
                cpus: 2,
            }),
            r#"{"event":"start","mode":"tmr","n":3,"k":2,"program":"sort","args":["-n"],"pid":4242,"cpus":2,"time":1795452000.125}"#,
            None,
        ),
        (
            Event::Injected(Injected {
                process: 4242,
                replica: 1,
                call: 57,
                fault: "reg=rax,bit=7".parse().unwrap(),
            }),
            r#"{"event":"injected","process":4242,"replica":1,"call":57,"fault":"reg=rax,bit=7","time":1795452000.125}"#,
            Some(
                "chameleon: put fault reg=rax,bit=7 into replica 1 of process 4242 at its call 57",
            ),
        ),
        (
            Event::Divergence(divergence()),
            r#"{"event":"divergence","process":4242,"program":"sort","replica":1,"seq":57,"call":"write","what":"bytes","argument":1,"offset":3,"expected":"6f0a","got":"ef0a","votes":2,"against":1,"outvoted":true,"pc":"0x7ffff7d0a1b2","cpu":1,"time":1795452000.125}"#,
            Some(
                "chameleon: replica 1 of sort (pid 4242) differed at call 57, write: argument 1 byte 3; outvoted 2:1",
            ),
        ),
        (
            Event::Race(Race {
                process: 4242,
                program: "worker".into(),
                seq: 57,
                call: "write".into(),
                others: vec![4250, 4251],
                orders: vec![ThreadOrder {
                    replica: 1,
                    turns: vec![ThreadTurn { thread: 4243, seq: 12 }],
                }],
            }),
            r#"{"event":"race","process":4242,"program":"worker","seq":57,"call":"write","others":[4250,4251],"orders":[{"replica":1,"turns":[{"thread":4243,"seq":12}]}],"time":1795452000.125}"#,
            Some(
                "chameleon: what differed at call 57, write, of worker (pid 4242) may be a race of its own: no fault was put in, and it shares memory with process 4250, 4251 in no common order",
            ),
        ),
        (
            Event::Outvoted(Outvoted {
                process: 4242,
                program: "sort".into(),
                replica: 1,
                seq: 57,
                reason: Reason::Crash,
                signal: Some(11),
            }),
            r#"{"event":"outvoted","process":4242,"program":"sort","replica":1,"seq":57,"reason":"crash","signal":11,"time":1795452000.125}"#,
            Some(
                "chameleon: replica 1 of sort (pid 4242) crashed with SIGSEGV at call 57; taken out",
            ),
        ),
        (
            Event::Repaired(Repaired { process: 4242, replica: 1, donor: 0, ms: 1.25 }),
            r#"{"event":"repaired","process":4242,"replica":1,"donor":0,"ms":1.25,"time":1795452000.125}"#,
            Some("chameleon: replica 1 of process 4242 repaired from replica 0 in 1.2 ms"),
        ),
        (
            Event::ModeChanged(ModeChanged {
                from: "simplex".into(),
                to: "tmr".into(),
                n: 3,
                k: 2,
                ms: 4.5,
            }),
            r#"{"event":"mode_changed","from":"simplex","to":"tmr","n":3,"k":2,"ms":4.5,"time":1795452000.125}"#,
            None,
        ),
        (
            Event::Takeover(Takeover { incarnation: 1, ms: 0.5 }),
            r#"{"event":"takeover","incarnation":1,"ms":0.5,"time":1795452000.125}"#,
            Some(
                "chameleon: the replica set's ARMOR was lost; its successor (life 1) took over in 0.5 ms",
            ),
        ),
        (
            Event::Refused(Refused {
                process: 4242,
                program: "java".into(),
                call: "clone".into(),
                reason: "threads cannot be replicated yet".into(),
                advice: "mode simplex runs it".into(),
                answer: "EAGAIN".into(),
            }),
            r#"{"event":"refused","process":4242,"program":"java","call":"clone","reason":"threads cannot be replicated yet","advice":"mode simplex runs it","answer":"EAGAIN","time":1795452000.125}"#,
            Some(
                "chameleon: java (pid 4242): clone refused with EAGAIN: threads cannot be replicated yet; mode simplex runs it",
            ),
        ),
        (
            Event::Latent(Latent {
                process: 4242,
                donor: 0,
                other: 2,
                address: Address(0x5555_5555_9010),
                expected: Bytes::of(&[1]),
                got: Bytes::of(&[3]),
            }),
            r#"{"event":"latent","process":4242,"donor":0,"other":2,"address":"0x555555559010","expected":"01","got":"03","time":1795452000.125}"#,
            Some(
                "chameleon: replica 0 of process 4242 differs from replica 2 in memory at 0x555555559010 (03 instead of 01); it was not copied",
            ),
        ),
        (
            Event::Stalled(Stalled {
                process: 4242,
                program: "worker".into(),
                thread: 4250,
                waiting: 3,
                ms: 4100.0,
            }),
            r#"{"event":"stalled","process":4242,"program":"worker","thread":4250,"waiting":3,"ms":4100.0,"time":1795452000.125}"#,
            Some(
                "chameleon: thread 4250 of worker (pid 4242) computes without a call since 4.1 s while 3 wait, and its replicas are at different states: it is waited for; --threads live goes on unvoted",
            ),
        ),
        (
            Event::Unvoted(Unvoted {
                process: 4242,
                program: "worker".into(),
                thread: 4250,
                donor: 2,
                ms: 310.25,
            }),
            r#"{"event":"unvoted","process":4242,"program":"worker","thread":4250,"donor":2,"ms":310.25,"time":1795452000.125}"#,
            Some(
                "chameleon: thread 4250 of worker (pid 4242) computed without a call while others waited: continued in the state of replica 2, 310 ms unvoted",
            ),
        ),
        (
            Event::Preempted(Preempted {
                process: 4242,
                program: "python3".into(),
                donor: 0,
                signal: 2,
                ms: 812.5,
            }),
            r#"{"event":"preempted","process":4242,"program":"python3","donor":0,"signal":2,"ms":812.5,"time":1795452000.125}"#,
            Some(
                "chameleon: python3 (pid 4242) computed too long to wait for its next call with SIGINT: continued in the state of replica 0, 812 ms unvoted",
            ),
        ),
        (
            Event::Undelivered(Undelivered {
                process: 4242,
                program: "sort".into(),
                answer: "EDQUOT".into(),
            }),
            r#"{"event":"undelivered","process":4242,"program":"sort","answer":"EDQUOT","time":1795452000.125}"#,
            Some(
                "chameleon: sort (pid 4242): a write to a file that was carried out after the program had gone on failed with EDQUOT; stopped, status 125",
            ),
        ),
        (
            Event::LostMajority(LostMajority {
                process: 4242,
                program: "sort".into(),
                seq: 57,
                call: "write".into(),
                n: 3,
                k: 2,
                best: 1,
            }),
            r#"{"event":"lost_majority","process":4242,"program":"sort","seq":57,"call":"write","n":3,"k":2,"best":1,"time":1795452000.125}"#,
            Some(
                "chameleon: sort (pid 4242) lost its majority at call 57, write: 1 equal of 3, 2 needed; stopped, nothing more is output",
            ),
        ),
        (
            Event::Exit(Exit {
                status: Some(0),
                signal: None,
                calls: 120,
                votes: 118,
                repairs: 1,
                takeovers: 0,
                wall_ms: 12.5,
                cpu_ms: 30.25,
            }),
            r#"{"event":"exit","status":0,"signal":null,"calls":120,"votes":118,"repairs":1,"takeovers":0,"wall_ms":12.5,"cpu_ms":30.25,"time":1795452000.125}"#,
            None,
        ),
    ];
    all.extend(recovery::all());
    all
}

fn divergence() -> Divergence {
    Divergence {
        process: 4242,
        program: "sort".into(),
        replica: 1,
        seq: 57,
        call: "write".into(),
        what: What::Bytes,
        argument: Some(1),
        offset: Some(3),
        expected: Bytes::of(b"o\n"),
        got: Bytes::of(b"\xef\n"),
        votes: 2,
        against: 1,
        outvoted: true,
        pc: Address(0x7fff_f7d0_a1b2),
        cpu: 1,
    }
}

#[test]
fn a_report_line_is_exactly_the_documented_one_and_reads_back() {
    for (event, line, _) in all() {
        let record = Record::new(1_795_452_000_125, event);
        assert_eq!(record.to_line().unwrap(), format!("{line}\n"));
        assert_eq!(Record::from_line(line).unwrap(), record);
    }
}

#[test]
fn the_documentation_shows_every_event_and_every_field() {
    let page = include_str!("../../../docs/report.md");
    for (event, line, _) in all() {
        let name = line.split('"').nth(3).unwrap();
        let section = page.split("\n## ").find(|section| section.starts_with(name));
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        let serde_json::Value::Object(fields) =
            serde_json::to_value(Record::new(0, event)).unwrap()
        else {
            panic!("{name} is no object");
        };
        for field in fields.keys().filter(|field| *field != "event" && *field != "time") {
            assert!(
                section.contains(&format!("| `{field}` |")),
                "{name}: {field} is not explained"
            );
        }
    }
}

#[test]
fn a_person_reads_one_plain_line() {
    for (event, _, line) in all() {
        assert_eq!(human(&event).as_deref(), line);
        assert_eq!(event.line(false).as_deref(), line);
        assert!(event.line(true).is_some());
    }
}

#[test]
fn an_outvoted_divergence_is_said_once() {
    let event = Event::Outvoted(Outvoted {
        process: 1,
        program: "sort".into(),
        replica: 1,
        seq: 57,
        reason: Reason::Divergence,
        signal: None,
    });
    assert_eq!(human(&event), None);
}

#[test]
fn what_differed_is_said_in_each_case() {
    let sentence = |change: &dyn Fn(&mut Divergence)| {
        let mut event = divergence();
        change(&mut event);
        human(&Event::Divergence(event)).unwrap()
    };
    assert!(sentence(&|d| d.what = What::Call).contains("write: it made another call; outvoted"));
    let argument = sentence(&|d| {
        d.what = What::Argument;
        d.argument = Some(2);
        d.expected = Bytes::of(&4096u64.to_le_bytes());
        d.got = Bytes::of(&4097u64.to_le_bytes());
    });
    assert!(argument.contains("argument 2 was 0x1001 instead of 0x1000;"), "{argument}");
    assert!(sentence(&|d| d.what = What::Length).contains("length of argument 1;"));
    assert!(sentence(&|d| d.what = What::Unreadable).contains("argument 1 points nowhere;"));
    assert!(sentence(&|d| d.outvoted = false).ends_with("the first ballot stands"));
    let lost = sentence(&|d| (d.outvoted, d.votes) = (false, 0));
    assert!(lost.ends_with("nobody has a majority"), "{lost}");
}

#[test]
fn a_program_cannot_forge_lines() {
    let mut event = divergence();
    event.program = "a\nchameleon: all is well\x1b[2J".into();
    let line = human(&Event::Divergence(event)).unwrap();
    assert!(!line.contains('\n') && !line.contains('\x1b'), "{line:?}");
}

#[test]
fn signals_have_their_names() {
    assert_eq!(signal_name(9), "SIGKILL");
    assert_eq!(signal_name(31), "SIGSYS");
    assert_eq!(signal_name(34), "SIGRTMIN+2");
    assert_eq!(signal_name(0), "signal 0");
}
