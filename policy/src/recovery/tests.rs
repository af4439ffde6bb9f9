use chameleon_proto::message::env::{Health, Row};
use proptest::prelude::*;

use super::*;
use crate::place::DRAINING;

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const SURROGATE: ArmorId = ArmorId::first(armors::SURROGATE, 1);
const APP: AppId = AppId(7);
const EXECUTION: ArmorId = ArmorId::execution(APP, 0);
const SECOND: u64 = 1_000_000_000;

fn nodes(platforms: &[&str]) -> Vec<Candidate> {
    let memory = 1 << 30;
    let health = Health { cpus: 1, memory_available: memory, memory, ..Health::default() };
    let node = |(index, platform): (usize, &&str)| Candidate {
        id: NodeId(index as u32 + 1),
        closed: None,
        health,
        features: Vec::new(),
        platform: (*platform).to_owned(),
        promised_cpu: 0,
        promised_memory: 0,
        failures: 0,
    };
    platforms.iter().enumerate().map(node).collect()
}

/// The FTM is on node 1; a surrogate on node 2 and one on node 1; the first's Execution ARMOR on node 1.
fn tables() -> Tables {
    let there = |armor, manager, node| Row::Armor { armor, manager, node: NodeId(node) };
    Tables::from_rows([
        there(SURROGATE, FTM, 2),
        there(ArmorId::first(armors::SURROGATE, 2), FTM, 1),
        there(ArmorId::first(armors::HEARTBEAT, 1), FTM, 1),
        there(EXECUTION, SURROGATE, 1),
    ])
    .unwrap()
}

fn scene<'a>(tables: &'a Tables, nodes: &'a [Candidate], way: Way, seconds: u64) -> Scene<'a> {
    Scene { manager: SURROGATE, tables, nodes, way, now_ns: seconds * SECOND }
}

fn said(plan: &Recovery) -> Vec<String> {
    let words = |step: &Step| match step {
        Step::Install(armor, _) => {
            format!("{}, life {}", step.words(&tables()), armor.incarnation.0)
        }
        _ => step.words(&tables()),
    };
    plan.steps.iter().map(words).collect()
}

fn attempts() -> Attempts {
    Attempts::new(2, 60 * SECOND)
}

#[test]
fn the_rows_of_table_2() {
    let tables = tables();
    let nodes = nodes(&["linux", "linux", "other"]);
    let by = |manager: ArmorId, failure: Failure| {
        let scene = Scene { manager, ..scene(&tables, &nodes, Way::InPlace, 0) };
        said(&recover(&scene, failure, &Ask::default(), &mut attempts()))
    };
    let none: [&str; 0] = [];
    // Node: crash; link down; daemon crashed or unresponsive.
    assert_eq!(
        by(FTM, Failure::Node(NodeId(1))),
        ["remove node 1", "tell SURROGATE of application 1 that node 1 is down"]
    );
    assert_eq!(by(SURROGATE, Failure::Node(NodeId(1))), none);
    // Link or switch down with a redundant one.
    assert_eq!(by(FTM, Failure::SpareLink(NodeId(2))), none);
    // Network down without.
    assert!(by(FTM, Failure::Network)[0].starts_with("tell the user: no node answers"));
    // Application: abnormal termination, livelock.
    let again = ["restart the program of EXECUTION of application 7"];
    assert_eq!(by(SURROGATE, Failure::Terminated(APP, EXECUTION)), again);
    assert_eq!(by(SURROGATE, Failure::Livelock(APP, EXECUTION)), again);
    // One that was cut off with its node: no start that its specification allows is used.
    assert_eq!(by(SURROGATE, Failure::CutOff(APP, EXECUTION)), again);
    // Application: erroneous computation, in TMR, with checkpoints, in dual and dual-first.
    assert_eq!(by(SURROGATE, Failure::Erroneous(APP, EXECUTION, Wrong::Masked)), none);
    assert_eq!(by(SURROGATE, Failure::Erroneous(APP, EXECUTION, Wrong::Recovered)), none);
    let differ = "tell the user: application 7: the results of its replicas differ";
    assert_eq!(
        by(SURROGATE, Failure::Erroneous(APP, EXECUTION, Wrong::Stopped)),
        [differ, again[0]]
    );
    assert_eq!(by(SURROGATE, Failure::Erroneous(APP, EXECUTION, Wrong::Reported)), [differ]);
    // Common ARMOR: crash; alive, but unresponsive.
    let install = "install EXECUTION of application 7 on node 1, life 1";
    assert_eq!(by(SURROGATE, Failure::Armor(EXECUTION, How::Signal(9))), [install]);
    let hang = by(SURROGATE, Failure::Armor(EXECUTION, How::Hang));
    assert_eq!(hang, ["kill EXECUTION of application 7 on node 1", install]);
    // FTM; FTM's daemon.
    assert_eq!(by(FTM, Failure::Ftm), ["promote the backup"]);
}

#[test]
fn in_place_then_another_platform_then_a_bug() {
    let mut tables = tables();
    let nodes = nodes(&["linux", "linux", "other"]);
    let mut attempts = attempts();
    let mut armor = EXECUTION;
    let mut all = Vec::new();
    for seconds in 0..5 {
        let scene = scene(&tables, &nodes, Way::InPlace, seconds);
        let failure = Failure::Armor(armor, How::Signal(11));
        let plan = recover(&scene, failure, &Ask::default(), &mut attempts);
        for step in &plan.steps {
            if let Step::Install(successor, node) = step {
                armor = *successor;
                let row = Row::Armor { armor, manager: SURROGATE, node: *node };
                tables.apply(row).unwrap();
            }
        }
        all.extend(said(&plan));
    }
    assert_eq!(
        all,
        [
            "install EXECUTION of application 7 on node 1, life 1",
            "install EXECUTION of application 7 on node 1, life 2",
            "install EXECUTION of application 7 on node 3, life 3",
            "install EXECUTION of application 7 on node 3, life 4",
            "give up EXECUTION of application 7",
            "tell the user: EXECUTION of application 7 failed again and again, on each node: an apparent software bug",
        ]
    );
}

#[test]
fn a_livelock_that_comes_back_goes_to_another_node_with_its_program() {
    let tables = tables();
    let nodes = nodes(&["linux", "linux"]);
    let mut attempts = attempts();
    let mut last = Vec::new();
    for seconds in 0..3 {
        let scene = scene(&tables, &nodes, Way::InPlace, seconds);
        let failure = Failure::Livelock(APP, EXECUTION);
        last = said(&recover(&scene, failure, &Ask::default(), &mut attempts));
    }
    assert_eq!(
        last,
        [
            "kill EXECUTION of application 7 on node 1",
            "install EXECUTION of application 7 on node 2, life 1",
            "restart the program of EXECUTION of application 7"
        ]
    );
}

#[test]
fn the_two_ways_begin_in_different_places() {
    let tables = tables();
    let two = nodes(&["linux", "linux"]);
    let failure = Failure::Armor(EXECUTION, How::Exit(1));
    let first = |nodes: &[Candidate], way| {
        said(&recover(&scene(&tables, nodes, way, 0), failure, &Ask::default(), &mut attempts()))
    };
    assert_eq!(first(&two, Way::InPlace), ["install EXECUTION of application 7 on node 1, life 1"]);
    assert_eq!(first(&two, Way::Move), ["install EXECUTION of application 7 on node 2, life 1"]);
    assert_eq!(
        first(&two[..1], Way::Move),
        ["install EXECUTION of application 7 on node 1, life 1"]
    );
    let mut closed = two;
    closed[0].closed = Some("it is down");
    assert_eq!(
        first(&closed, Way::InPlace),
        ["install EXECUTION of application 7 on node 2, life 1"]
    );
}

#[test]
fn a_node_that_is_emptied_is_left_by_what_fails_and_not_by_what_runs() {
    let tables = tables();
    let mut two = nodes(&["linux", "linux"]);
    two[0].closed = Some(DRAINING);
    let by = |nodes: &[Candidate], failure| {
        said(&recover(
            &scene(&tables, nodes, Way::InPlace, 0),
            failure,
            &Ask::default(),
            &mut attempts(),
        ))
    };
    // Its program goes on where it was: a second one beside it must not be.
    let crash = Failure::Armor(EXECUTION, How::Signal(9));
    assert_eq!(by(&two, crash), ["install EXECUTION of application 7 on node 1, life 1"]);
    let failed = Failure::Terminated(APP, EXECUTION);
    assert_eq!(
        by(&two, failed),
        [
            "kill EXECUTION of application 7 on node 1",
            "install EXECUTION of application 7 on node 2, life 1",
            "restart the program of EXECUTION of application 7"
        ]
    );
    // Where there is no other node, the one that there is does.
    assert_eq!(by(&two[..1], failed), ["restart the program of EXECUTION of application 7"]);
    let manager = Failure::Armor(ArmorId::first(armors::SURROGATE, 2), How::Signal(9));
    assert_eq!(by(&two, manager), ["install SURROGATE of application 2 on node 2, life 1"]);
    assert_eq!(by(&two[..1], manager), ["install SURROGATE of application 2 on node 1, life 1"]);
}

#[test]
fn what_was_on_a_lost_node_is_spread_over_the_others() {
    let tables = tables();
    let nodes = nodes(&["linux", "linux", "linux"]);
    let ask = Ask { memory: 600 << 20, ..Ask::default() };
    let second = ArmorId::execution(AppId(8), 0);
    let third = ArmorId::execution(AppId(9), 0);
    let lost = [(EXECUTION, ask.clone()), (second, ask.clone()), (third, ask)];
    let plan = evacuate(&scene(&tables, &nodes, Way::InPlace, 0), NodeId(1), &lost);
    let steps = said(&plan);
    assert_eq!(
        steps[..2],
        [
            "install EXECUTION of application 7 on node 2, life 1",
            "install EXECUTION of application 8 on node 3, life 1"
        ]
    );
    assert_eq!(steps[2], "give up EXECUTION of application 9");
    assert!(steps[3].contains("424.0M of memory free, 600.0M needed"), "{}", steps[3]);
}

#[test]
fn news_of_a_former_life_changes_nothing() {
    let tables = tables();
    let nodes = nodes(&["linux"]);
    let scene = scene(&tables, &nodes, Way::InPlace, 0);
    let mut untouched = attempts();
    for armor in [EXECUTION.successor(), ArmorId::first(armors::VOTER, 9)] {
        let failure = Failure::Armor(armor, How::Exit(0));
        let plan = recover(&scene, failure, &Ask::default(), &mut untouched);
        assert_eq!(said(&plan), Vec::<String>::new());
    }
    assert_eq!(untouched, attempts());
}

proptest! {
    #[test]
    fn it_ends_and_never_goes_where_it_must_not(
        most in 0u8..5, gaps in prop::collection::vec(0u64..3, 1..40), count in 1usize..5,
        closed in prop::collection::vec(any::<bool>(), 5), in_place: bool,
    ) {
        let mut tables = tables();
        let mut nodes = nodes(&["a", "b", "a", "b", "c"][..count]);
        for (node, closed) in nodes.iter_mut().zip(closed) {
            node.closed = closed.then_some("it is down");
        }
        let way = if in_place { Way::InPlace } else { Way::Move };
        let mut attempts = Attempts::new(most, 1000 * SECOND);
        let mut armor = EXECUTION;
        let mut installed = 0;
        let mut now = 0;
        for gap in gaps {
            now += gap;
            let scene = scene(&tables, &nodes, way, now);
            let failure = Failure::Armor(armor, How::Exit(1));
            let plan = recover(&scene, failure, &Ask::default(), &mut attempts);
            prop_assert!(!plan.why.is_empty());
            let installs: Vec<&Step> =
                plan.steps.iter().filter(|step| matches!(step, Step::Install(..))).collect();
            let given_up = plan.steps.iter().any(|step| matches!(step, Step::GiveUp(..)));
            prop_assert_eq!(installs.len() + usize::from(given_up), 1);
            let Some(Step::Install(successor, node)) = installs.first() else { break };
            prop_assert_eq!(*successor, armor.successor());
            let place = nodes.iter().find(|other| other.id == *node).unwrap();
            prop_assert_eq!(place.closed, None);
            installed += 1;
            prop_assert!(installed <= usize::from(most) * 2);
            armor = *successor;
            tables.apply(Row::Armor { armor, manager: SURROGATE, node: *node }).unwrap();
        }
    }
}
