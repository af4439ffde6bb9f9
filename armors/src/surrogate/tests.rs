//! A Surrogate Manager's blocks when a node is lost, with all that they send.

use chameleon_policy::plan::Form;
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Began, Executing, Fault};
use chameleon_proto::message::env::{Execute, Executed, Health, NodeDown, NodeInfo, Welcome};

use super::Parameters;
use crate::stage::{Letters, NODE, Stage, installs};

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const SURROGATE: ArmorId = ArmorId::first(armors::SURROGATE, 1);
const EXECUTION: ArmorId = ArmorId::first(armors::EXECUTION, 1 << 12);
const TWO: NodeId = NodeId(2);

fn info(node: u32) -> NodeInfo {
    let health =
        Health { cpus: 2, memory: 8 << 30, memory_available: 4 << 30, ..Health::default() };
    NodeInfo {
        node: NodeId(node),
        name: format!("host{node}"),
        address: format!("host{node}:1"),
        os: "an os".into(),
        kernel: "6".into(),
        cpu: "a cpu".into(),
        features: Vec::new(),
        health,
    }
}

/// The manager of a program that was put on a node and is asked to begin there: what it is told.
fn begun(needs: &str, node: NodeId) -> (Stage, Execute) {
    let parameters = Parameters {
        app: 1,
        name: "program".into(),
        specification: format!(
            "[app]\nname = 'program'\ncommand = ['/bin/true']\n[dependability]\n{needs}\n"
        ),
        directory: "/tmp".into(),
        strategy: "simplex".into(),
        mode: "simplex".into(),
        form: Form::Together,
        memory: 1,
        cpu: 1,
        nodes: vec![node.0],
        timeout_ns: 5_000_000_000,
        submitted_ns: 1,
        backup: None,
        options: [].into(),
        known: Vec::new(),
        candidates: (1..=3).map(info).collect(),
    };
    let mut stage = Stage::new(SURROGATE, FTM, &parameters.to_toml().unwrap());
    stage.context.connection(true, Some(FTM));
    let letters = stage.tell(Message::Welcome(Welcome { node: NODE, ftm: Some(FTM) }));
    assert_eq!(installs(&letters), [(EXECUTION, node)]);
    let order = ordered(&stage.take(EXECUTION, Message::Ready)).expect("it is told what to run");
    (stage, order)
}

fn runs(stage: &mut Stage, attempt: u32) {
    let app = chameleon_proto::ids::AppId(1);
    let (run, home, from) = (String::new(), String::new(), Began::Beginning);
    let executing = Executing {
        app,
        attempt,
        pid: 9,
        run,
        from,
        home,
        at: EXECUTION,
        began_ns: 1,
        image: None,
    };
    stage.take(EXECUTION, Message::Executing(executing));
}

/// What the EXECUTION ARMOR is told to run.
fn ordered(letters: &Letters) -> Option<Execute> {
    letters.iter().find_map(|(to, what)| match what {
        Message::Execute(order) if *to == EXECUTION => Some(order.clone()),
        _ => None,
    })
}

fn node_down(stage: &mut Stage) -> Letters {
    stage.take(FTM, Message::NodeDown(NodeDown { node: TWO, missed: 3, at_ns: 5 }))
}

#[test]
fn only_a_program_that_may_begin_on_another_node_needs_a_lease() {
    for (needs, node, leased) in [
        ("node-loss = 'restarted'", TWO, true),
        ("node-loss = 'restarted'", NODE, false),
        ("", TWO, false),
    ] {
        assert_eq!(begun(needs, node).1.leased, leased, "{needs} {node:?}");
    }
}

#[test]
fn what_may_begin_elsewhere_does_when_its_node_is_lost() {
    let (mut stage, _) = begun("node-loss = 'restarted'", TWO);
    runs(&mut stage, 1);
    let [(successor, node)] = installs(&node_down(&mut stage))[..] else { panic!() };
    assert_eq!(successor, EXECUTION.successor());
    assert!(node != TWO);
}

#[test]
fn what_stays_waits_for_its_node_and_is_asked_how_it_is() {
    let (mut stage, first) = begun("", TWO);
    runs(&mut stage, 1);
    assert_eq!(installs(&node_down(&mut stage)), []);
    assert_eq!(installs(&node_down(&mut stage)), [], "another FTM says it once more");
    let letters = stage.take(FTM, Message::NodeInfo(info(2)));
    assert_eq!((installs(&letters), ordered(&letters)), (vec![], Some(first)));
}

#[test]
fn one_that_was_cut_off_begins_again_where_it_is_also_if_a_crash_ends_it() {
    let (mut stage, first) = begun("node-loss = 'restarted'\navailability = 'ended'", TWO);
    runs(&mut stage, 1);
    let asked = ordered(&stage.take(FTM, Message::NodeInfo(info(2))));
    assert_eq!(asked.as_ref(), Some(&first), "it may be over, and its word of that lost");
    let executed = Executed {
        app: first.app,
        status: 137,
        given_up: Some("cut off".into()),
        took_ns: 1,
        attempt: 1,
        fault: Some(Fault::CutOff),
    };
    let letters = stage.take(EXECUTION, Message::Executed(executed.clone()));
    assert_eq!(ordered(&letters).map(|order| order.attempt), Some(2));
    let again = stage.take(EXECUTION, Message::Executed(executed));
    assert_eq!(ordered(&again), None, "it was said twice");
}
