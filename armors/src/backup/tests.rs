//! The Backup FTM's blocks, with all that they send.

use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::{ArmorId, Epoch, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{
    Accusation, ArmorDown, Heartbeaten, How, NewManager, Phase, Row, Step, Update, Updated,
};

use crate::context::now_ns;
use crate::stage::{DAEMON, NODE, Stage, installs};

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const BACKUP: ArmorId = ArmorId::first(armors::BACKUP_FTM, 1);
const SURROGATE: ArmorId = ArmorId::first(armors::SURROGATE, 1);
const EXECUTION: ArmorId = ArmorId::first(armors::EXECUTION, 1 << 12);

/// A backup that has these rows from the FTM, of epoch 4.
fn backup(directory: &std::path::Path) -> Stage {
    let parameters = format!("state = '{}'\n", directory.display());
    let mut stage = Stage::new(BACKUP, FTM, &parameters);
    stage.context.raise(Epoch(4));
    stage.welcome();
    let rows = [(BACKUP, FTM), (SURROGATE, FTM), (EXECUTION, SURROGATE), (DAEMON, FTM)];
    for (sequence, (armor, manager)) in (1..).zip(rows) {
        let row = Row::Armor { armor, manager, node: NODE };
        let sent = stage.take(FTM, Message::Update(Update { sequence, phase: Phase::Commit, row }));
        let done = Updated { sequence, phase: Phase::Commit, refusal: None };
        assert_eq!(sent, [(FTM, Message::Updated(done))]);
    }
    stage
}

/// It is the FTM: says so first, ends the former one, has a backup of its own, and answers.
fn is_ftm(stage: &mut Stage, letters: &crate::stage::Letters) {
    let next = ArmorId::first(armors::BACKUP_FTM, 2);
    let news = NewManager { ftm: BACKUP, backup: None, node: NODE };
    assert_eq!(letters[0], (DAEMON, Message::NewManager(news)), "{letters:?}");
    assert_eq!(stage.context.epoch(), Epoch(5));
    assert!(letters.contains(&(SURROGATE, Message::NewManager(news))));
    assert!(letters.contains(&(DAEMON, Message::Uninstall(FTM))));
    assert!(installs(letters).contains(&(next, NODE)), "{letters:?}");
    let Told::Status(status) = stage.ask(&Ask::Status).0 else { panic!() };
    assert_eq!((status.ftm.kind.as_str(), status.epoch), ("backup-ftm", 5));
    let of_surrogate = status.armors.iter().find(|row| row.kind == "surrogate").unwrap();
    assert_eq!(of_surrogate.manager, "backup-ftm 1");
    let ask = Ask::Events { after: 0, most: 0, app: None, incident: Some(1) };
    let Told::Events { events, .. } = stage.ask(&ask).0 else { panic!() };
    assert_eq!(events.len(), 3);
}

#[test]
fn an_ftm_that_has_ended_is_replaced_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    let down = ArmorDown { armor: FTM, node: NODE, how: How::Signal(9), at_ns: 5 };
    let letters = stage.take(DAEMON, Message::ArmorDown(down));
    is_ftm(&mut stage, &letters);
}

#[test]
fn an_ftm_that_hangs_is_replaced_after_so_many_misses_and_one_that_answers_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    // Its clock is ahead, so that the daemon's answers are never late.
    let mut now = now_ns();
    for turn in 0..12u64 {
        now += 210_000_000;
        let letters = stage.tick(now);
        for (to, message) in letters {
            match message {
                Message::Ping { nonce } if to == FTM && turn < 6 => {
                    stage.take(FTM, Message::Pong { nonce, calls: 0 });
                }
                Message::Heartbeat(beat) => {
                    assert!(turn >= 8, "not before so many are missed");
                    assert_eq!(to, DAEMON);
                    let letters = stage.take(DAEMON, beaten(beat.sequence));
                    return is_ftm(&mut stage, &letters);
                }
                _ => {}
            }
        }
    }
    panic!("it is not noticed");
}

fn beaten(sequence: u64) -> Message {
    Message::Heartbeaten(Heartbeaten { sequence, node: NODE, health: None })
}

#[test]
fn while_the_daemon_hangs_nobody_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    let mut now = now_ns();
    let mut asked = Vec::new();
    for _ in 0..20 {
        now += 210_000_000;
        for (to, message) in stage.tick(now) {
            match message {
                Message::Ping { .. } => assert_eq!(to, FTM),
                Message::Heartbeat(beat) => asked.push(beat.sequence),
                other => panic!("{other:?}"),
            }
        }
    }
    // It answers at last, long after.
    let [sequence] = asked[..] else { panic!("{asked:?}") };
    let told = stage.take(DAEMON, beaten(sequence - 60_000_000_000));
    let steps: Vec<Step> = told
        .iter()
        .map(|letter| match letter {
            (FTM, Message::Note(note)) => note.step,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(steps, [Step::Detected, Step::Decided, Step::Recovered], "only people are told");
    stage.welcome();
    assert_eq!(stage.take(DAEMON, beaten(sequence)), [], "that was asked by another connection");
}

#[test]
fn while_there_is_no_daemon_nobody_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    stage.context.connection(false, None);
    let mut now = now_ns();
    for _ in 0..20 {
        now += 210_000_000;
        assert_eq!(stage.tick(now), []);
    }
    stage.context.connection(true, None);
    assert!(matches!(stage.tick(now + 1)[..], [(FTM, Message::Ping { .. })]));
}

#[test]
fn an_ftm_with_wrong_tables_is_replaced_and_one_that_is_accused_wrongly_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    let accuse = |sequence| {
        Message::Accusation(Accusation { ftm: FTM, sequence, why: "there is none".into() })
    };
    assert_eq!(stage.take(SURROGATE, accuse(7)), [], "it was not asked for that");
    for phase in [Phase::Prepare, Phase::Abort] {
        let update = Update { sequence: 8, phase, row: Row::NoArmor(EXECUTION) };
        stage.take(SURROGATE, Message::Update(update));
    }
    for refusal in [None, Some("there is no such ARMOR".to_owned())] {
        let sent = stage.take(SURROGATE, accuse(8));
        let [(FTM, Message::Update(asked))] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((asked.phase, &asked.row), (Phase::Prepare, &Row::NoArmor(EXECUTION)));
        let right = refusal.is_none();
        let answer = Updated { sequence: asked.sequence, phase: Phase::Prepare, refusal };
        let letters = stage.take(FTM, Message::Updated(answer));
        if right {
            assert!(matches!(&letters[..], [(FTM, Message::Update(u))] if u.phase == Phase::Abort));
        } else {
            is_ftm(&mut stage, &letters);
        }
    }
}

#[test]
fn a_row_that_comes_twice_is_no_disagreement() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = backup(directory.path());
    let row = Row::NoArmor(EXECUTION);
    let mut say = |from, sequence, phase| {
        let update = Update { sequence, phase, row: row.clone() };
        let sent = stage.take(from, Message::Update(update));
        let [(_, Message::Updated(answer))] = sent.as_slice() else { panic!("{sent:?}") };
        answer.refusal.clone()
    };
    assert_eq!(say(SURROGATE, 8, Phase::Prepare), None);
    assert_eq!(say(FTM, 20, Phase::Commit), None);
    assert_eq!(say(SURROGATE, 8, Phase::Commit), None);
    assert!(say(SURROGATE, 9, Phase::Prepare).is_some(), "it is gone");
}
