use chameleon_proto::message::env::{Health, Row};
use proptest::prelude::*;

use super::*;

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const SURROGATE: ArmorId = ArmorId::first(armors::SURROGATE, 1);
const EXECUTION: ArmorId = ArmorId::first(armors::EXECUTION, 1);
const APP: AppId = AppId(7);
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
    plan.steps.iter().map(Step::to_string).collect()
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
        ["remove node 1", "tell armor 6:1 life 0 that node 1 is down"]
    );
    assert_eq!(by(SURROGATE, Failure::Node(NodeId(1))), none);
    // Link or switch down with a redundant one.
    assert_eq!(by(FTM, Failure::SpareLink(NodeId(2))), none);
    // Network down without.
    assert!(by(FTM, Failure::Network)[0].starts_with("tell the user: no node answers"));
    // Application: abnormal termination, livelock.
    let again = ["restart the program of application 7 in armor 1:1 life 0"];
    assert_eq!(by(SURROGATE, Failure::Terminated(APP, EXECUTION)), again);
    assert_eq!(by(SURROGATE, Failure::Livelock(APP, EXECUTION)), again);
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
    let install = "install armor 1:1 life 1 on node 1";
    assert_eq!(by(SURROGATE, Failure::Armor(EXECUTION, How::Signal(9))), [install]);
    let hang = by(SURROGATE, Failure::Armor(EXECUTION, How::Hang));
    assert_eq!(hang, ["kill armor 1:1 life 0 on node 1", install]);
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
            "install armor 1:1 life 1 on node 1",
            "install armor 1:1 life 2 on node 1",
            "install armor 1:1 life 3 on node 3",
            "install armor 1:1 life 4 on node 3",
            "give up armor 1:1 life 4",
            "tell the user: armor 1:1 life 4 failed again and again, on each node: an apparent software bug",
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
            "kill armor 1:1 life 0 on node 1",
            "install armor 1:1 life 1 on node 2",
            "restart the program of application 7 in armor 1:1 life 1"
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
    assert_eq!(first(&two, Way::InPlace), ["install armor 1:1 life 1 on node 1"]);
    assert_eq!(first(&two, Way::Move), ["install armor 1:1 life 1 on node 2"]);
    assert_eq!(first(&two[..1], Way::Move), ["install armor 1:1 life 1 on node 1"]);
    let mut closed = two;
    closed[0].closed = Some("it is draining");
    assert_eq!(first(&closed, Way::InPlace), ["install armor 1:1 life 1 on node 2"]);
}

#[test]
fn what_was_on_a_lost_node_is_spread_over_the_others() {
    let tables = tables();
    let nodes = nodes(&["linux", "linux", "linux"]);
    let ask = Ask { memory: 600 << 20, ..Ask::default() };
    let second = ArmorId::first(armors::EXECUTION, 2);
    let third = ArmorId::first(armors::EXECUTION, 3);
    let lost = [(EXECUTION, ask.clone()), (second, ask.clone()), (third, ask)];
    let plan = evacuate(&scene(&tables, &nodes, Way::InPlace, 0), NodeId(1), &lost);
    let steps = said(&plan);
    assert_eq!(
        steps[..2],
        ["install armor 1:1 life 1 on node 2", "install armor 1:2 life 1 on node 3"]
    );
    assert_eq!(steps[2], "give up armor 1:3 life 0");
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
