//! The FTM's blocks, with all that they send.

use std::collections::VecDeque;

use chameleon_policy::tables::Tables;
use chameleon_policy::tables::coordinator::{Coordinator, Effect};
use chameleon_policy::tables::participant::Participant;
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::{ArmorId, Epoch, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::app::Lease;
use chameleon_proto::message::env::{
    AppState, ArmorDown, Health, How, Installed, NewManager, NoWay, NodeDown, NodeInfo, Phase, Row,
    Step, Undeliverable, Update,
};

use crate::context::now_ns;
use crate::stage::{CLIENT, DAEMON, Letters, NODE, Stage, installs};

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const BACKUP: ArmorId = ArmorId::first(armors::BACKUP_FTM, 1);
const HEARTBEAT: ArmorId = ArmorId::first(armors::HEARTBEAT, 1);
const SURROGATE: ArmorId = ArmorId::first(armors::SURROGATE, 1);

const PROGRAM: &str = "[app]\nname = \"hello\"\ncommand = [\"/bin/true\"]\n";

fn ftm(directory: &std::path::Path) -> (Stage, Letters) {
    let parameters = format!("state = '{}'\n", directory.display());
    let mut stage = Stage::new(FTM, CLIENT, &parameters);
    let letters = stage.welcome();
    (stage, letters)
}

fn there(stage: &mut Stage, armor: ArmorId) -> Letters {
    let installed = Installed { armor, node: NODE, pid: 9, took_ns: 1 };
    stage.take(DAEMON, Message::Installed(installed))
}

fn info(node: u32) -> NodeInfo {
    NodeInfo {
        node: NodeId(node),
        name: format!("host{node}"),
        address: format!("host{node}:1"),
        os: "an os".into(),
        kernel: "6".into(),
        cpu: "a cpu".into(),
        features: vec!["sse2".into()],
        health: Health { cpus: 2, memory: 8 << 30, memory_available: 4 << 30, ..Health::default() },
    }
}

/// One that knows what its node is, and has its backup.
fn settled(directory: &std::path::Path) -> Stage {
    let (mut stage, _) = ftm(directory);
    let examiner = ArmorId::first(armors::INITIALIZATION, NODE.0);
    stage.take(examiner, Message::NodeInfo(info(1)));
    there(&mut stage, examiner);
    let exit = down(examiner, How::Exit(0));
    assert_eq!(installs(&stage.take(DAEMON, exit)), []);
    there(&mut stage, BACKUP);
    there(&mut stage, HEARTBEAT);
    stage
}

fn down(armor: ArmorId, how: How) -> Message {
    Message::ArmorDown(ArmorDown { armor, node: NODE, how, at_ns: 5 })
}

fn submit(stage: &mut Stage, specification: &str) -> (Told, Letters) {
    stage.ask(&Ask::Submit { specification: specification.into(), directory: "/tmp".into() })
}

fn steps(stage: &mut Stage, of: u64) -> Vec<Step> {
    let ask = Ask::Events { after: 0, most: 0, app: None, incident: Some(of) };
    let Told::Events { events, .. } = stage.ask(&ask).0 else { panic!() };
    events.into_iter().map(|event| event.note.step).collect()
}

#[test]
fn it_says_who_it_is_before_anything_else_and_has_its_own_installed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut stage, letters) = ftm(directory.path());
    let news = NewManager { ftm: FTM, backup: None, node: NODE };
    assert_eq!(letters[0], (DAEMON, Message::NewManager(news)));
    let examiner = ArmorId::first(armors::INITIALIZATION, NODE.0);
    assert_eq!(installs(&letters), [(examiner, NODE), (BACKUP, NODE), (HEARTBEAT, NODE)]);
    assert_eq!(stage.context.epoch(), Epoch(1));
    let told = there(&mut stage, BACKUP);
    let rows = told.iter().filter(|(to, what)| *to == BACKUP && matches!(what, Message::Update(_)));
    assert!(rows.count() >= 4, "its node, its daemon, its ARMORs");
    let news = NewManager { backup: Some(BACKUP), ..news };
    assert_eq!(told.iter().find(|(to, _)| *to == DAEMON).unwrap().1, Message::NewManager(news));
    let Told::Status(status) = stage.ask(&Ask::Status).0 else { panic!() };
    assert_eq!((status.epoch, status.nodes, status.apps), (1, (1, 1), (0, 0)));
    assert_eq!(status.backup.unwrap().kind, "backup-ftm");
    assert!(status.warnings[0].contains("one host"));
    assert_eq!(status.parameters["heartbeat.interval"], "200ms");
}

#[test]
fn an_application_is_planned_and_gets_its_manager() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    let (told, letters) = submit(&mut stage, PROGRAM);
    let Told::Submitted { app: 1, name, strategy, .. } = told else { panic!("{told:?}") };
    assert_eq!((name.as_str(), strategy.as_str()), ("hello", "simplex"));
    assert_eq!(installs(&letters), [(SURROGATE, NODE)]);
    let place = |wanted: fn(&Message) -> bool| letters.iter().position(|(_, what)| wanted(what));
    let copied =
        place(|what| matches!(what, Message::Update(update) if matches!(update.row, Row::App(_))));
    assert!(copied < place(|what| matches!(what, Message::Install(_))), "the backup has it first");
    let (told, letters) = submit(&mut stage, PROGRAM);
    assert!(matches!(&told, Told::Refused { why } if why.contains("another name")), "{told:?}");
    assert_eq!(installs(&letters), []);
    let (told, _) = submit(&mut stage, "[app]\nnam = \"x\"\n");
    assert!(matches!(&told, Told::Refused { .. }));
    let Told::Apps { apps } = stage.ask(&Ask::Apps { all: false }).0 else { panic!() };
    assert_eq!((apps[0].mode.as_str(), &apps[0].app.state), ("simplex", &AppState::Starting));
}

#[test]
fn what_is_asked_of_an_application_goes_to_its_manager_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    submit(&mut stage, PROGRAM);
    let text = serde_json::to_string(&Ask::Stop { app: "hello".into() }).unwrap();
    let request = chameleon_proto::message::env::Request { number: 3, text: text.clone() };
    let sent = stage.take(CLIENT, Message::Request(request));
    let [(SURROGATE, Message::Request(relayed))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(relayed.text, text);
    let answer = chameleon_proto::message::env::Answer {
        number: relayed.number,
        text: "x".into(),
        last: true,
    };
    let sent = stage.take(SURROGATE, Message::Answer(answer.clone()));
    let back = chameleon_proto::message::env::Answer { number: 3, ..answer };
    assert_eq!(sent, [(CLIENT, Message::Answer(back))]);
}

#[test]
fn one_that_fails_is_started_again_and_the_incident_has_all_its_steps() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    submit(&mut stage, PROGRAM);
    there(&mut stage, SURROGATE);
    for armor in [HEARTBEAT, BACKUP, SURROGATE] {
        let letters = stage.take(DAEMON, down(armor, How::Signal(9)));
        assert_eq!(installs(&letters), [(armor.successor(), NODE)], "{armor}");
        assert_eq!(stage.take(DAEMON, down(armor, How::Signal(9))), [], "once");
        there(&mut stage, armor.successor());
    }
    for incident in 1..=3 {
        assert_eq!(steps(&mut stage, incident), [Step::Detected, Step::Decided, Step::Recovered]);
    }
    let Told::Status(status) = stage.ask(&Ask::Status).0 else { panic!() };
    assert_eq!(status.incidents, (3, 0));
}

#[test]
fn one_that_is_not_there_when_an_ftm_begins_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    submit(&mut stage, PROGRAM);
    drop(stage);
    let parameters = format!("state = '{}'\n", directory.path().display());
    let mut stage = Stage::new(FTM.successor(), CLIENT, &parameters);
    let letters = stage.welcome();
    assert_eq!(stage.context.epoch(), Epoch(2));
    assert!(letters.contains(&(SURROGATE, Message::Ping { nonce: 0 })));
    assert_eq!(installs(&letters), [(BACKUP.successor(), NODE)]);
    let back = Undeliverable { destination: SURROGATE, kind: 1, why: NoWay::NotHere };
    let letters = stage.take(DAEMON, Message::Undeliverable(back));
    assert_eq!(installs(&letters), [(SURROGATE.successor(), NODE)]);
}

const EXECUTION: ArmorId = ArmorId::first(armors::EXECUTION, 1 << 12);

/// Nodes 2 and 3 have joined; a program is on node 2.
fn with_a_program(directory: &std::path::Path, needs: &str) -> Stage {
    let mut stage = settled(directory);
    for node in [2, 3] {
        let joined = stage.take(ArmorId::daemon(NodeId(node)), Message::NodeInfo(info(node)));
        let examiner = ArmorId::first(armors::INITIALIZATION, node);
        assert_eq!(installs(&joined), [(examiner, NodeId(node))], "nobody has examined it");
    }
    submit(&mut stage, &format!("{PROGRAM}[dependability]\n{needs}\n"));
    there(&mut stage, SURROGATE);
    let row = Row::Armor { armor: EXECUTION, manager: SURROGATE, node: NodeId(2) };
    for phase in [Phase::Prepare, Phase::Commit] {
        let update = Update { sequence: 1, phase, row: row.clone() };
        let letters = stage.take(SURROGATE, Message::Update(update));
        // Its first words may come before all have agreed on its row.
        let asked = stage.take(DAEMON, Message::WhereIs(EXECUTION));
        let [(DAEMON, Message::Places(places))] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(places.at, [(EXECUTION, NodeId(2))]);
        assert!(
            matches!(letters.last(), Some((SURROGATE, Message::Updated(u))) if u.refusal.is_none())
        );
    }
    stage
}

fn node_down(node: u32) -> NodeDown {
    NodeDown { node: NodeId(node), missed: 3, at_ns: 5 }
}

fn falls_silent(stage: &mut Stage, node: u32) -> Letters {
    stage.take(HEARTBEAT, Message::NodeDown(node_down(node)))
}

fn comes_back(stage: &mut Stage, node: u32) -> Letters {
    stage.take(ArmorId::daemon(NodeId(node)), Message::NodeInfo(info(node)))
}

/// Whether the program may go on.
fn may_run(stage: &mut Stage) -> bool {
    let letters = stage.take(EXECUTION, Message::Lease(Lease { asked_ns: 7 }));
    match letters.as_slice() {
        [] => false,
        [(EXECUTION, Message::Leased(leased))] => {
            assert_eq!((leased.asked_ns, leased.term_ns), (7, 1_400_000_000));
            true
        }
        other => panic!("{other:?}"),
    }
}

/// Whether managers are told that a node is lost.
fn told(letters: &Letters, node: u32) -> bool {
    letters.contains(&(SURROGATE, Message::NodeDown(node_down(node))))
}

fn ended(letters: &Letters) -> bool {
    letters.contains(&(ArmorId::daemon(NodeId(2)), Message::Uninstall(EXECUTION)))
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_node_that_is_down_is_told_to_managers_when_no_lease_is_left_and_what_was_there_ends_if_it_comes_back()
 {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = with_a_program(directory.path(), "node-loss = 'restarted'");
    assert!(may_run(&mut stage));
    let now = now_ns();
    assert!(!told(&falls_silent(&mut stage, 2), 2));
    assert!(!may_run(&mut stage));
    assert!(!told(&stage.tick(now + SECOND), 2), "it may run yet");
    assert!(told(&stage.tick(now + 3 * SECOND), 2));
    let Told::Nodes { nodes } = stage.ask(&Ask::Nodes).0 else { panic!() };
    assert_eq!((nodes[1].standing.as_str(), nodes[1].failures), ("down", 1));
    assert!(ended(&comes_back(&mut stage, 2)));
    let later = now_ns() + 2 * SECOND;
    assert!(ended(&stage.tick(later)), "its daemon may not have heard it");
    stage.take(ArmorId::daemon(NodeId(2)), Message::Uninstalled(EXECUTION));
    assert!(!ended(&stage.tick(later + 2 * SECOND)), "it has");
    assert!(!may_run(&mut stage), "it was replaced, though nobody has said by what yet");
}

#[test]
fn a_node_that_is_there_again_in_time_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = with_a_program(directory.path(), "node-loss = 'restarted'");
    falls_silent(&mut stage, 2);
    let letters = comes_back(&mut stage, 2);
    assert!(!ended(&letters));
    let asked = |(to, what): &(ArmorId, Message)| {
        *to == SURROGATE && matches!(what, Message::NodeInfo(info) if info.node == NodeId(2))
    };
    assert!(letters.iter().any(asked), "its manager asks what it has not heard of meanwhile");
    assert!(may_run(&mut stage));
    assert!(!told(&stage.tick(now_ns() + 9 * SECOND), 2));
    assert_eq!(steps(&mut stage, 1), [Step::Detected, Step::Decided, Step::Recovered]);
}

#[test]
fn what_stays_on_its_node_is_not_ended_when_that_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = with_a_program(directory.path(), "");
    falls_silent(&mut stage, 2);
    assert!(told(&stage.tick(now_ns() + SECOND), 2), "nobody waits for a lease");
    assert!(!ended(&comes_back(&mut stage, 2)));
}

#[test]
fn if_no_other_node_answers_nothing_is_done_until_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = with_a_program(directory.path(), "node-loss = 'restarted'");
    falls_silent(&mut stage, 2);
    falls_silent(&mut stage, 3);
    let now = now_ns();
    assert!(!told(&stage.tick(now + 99 * SECOND), 2));
    comes_back(&mut stage, 3);
    assert!(!told(&stage.tick(now + 2 * SECOND), 2), "its daemon has some time to call, too");
    assert!(told(&stage.tick(now + 9 * SECOND), 2));
    assert_eq!(steps(&mut stage, 3), [Step::Detected, Step::Decided, Step::Recovered]);
}

#[test]
fn a_manager_that_is_started_again_hears_which_nodes_are_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = with_a_program(directory.path(), "node-loss = 'restarted'");
    falls_silent(&mut stage, 2);
    stage.tick(now_ns() + 9 * SECOND);
    stage.take(DAEMON, down(SURROGATE, How::Signal(9)));
    let next = SURROGATE.successor();
    let letters = there(&mut stage, next);
    let of_2 = |(to, what): &(ArmorId, Message)| {
        *to == next && matches!(what, Message::NodeDown(down) if down.node == NodeId(2))
    };
    assert!(letters.iter().any(of_2), "{letters:?}");
}

#[test]
fn a_node_that_is_drained_or_revoked_stays_so_after_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    stage.take(ArmorId::daemon(NodeId(2)), Message::NodeInfo(info(2)));
    stage.take(ArmorId::daemon(NodeId(3)), Message::NodeInfo(info(3)));
    let drained = stage.ask(&Ask::Drain { node: "host2".into(), undo: false, restart: false }).0;
    assert!(matches!(drained, Told::Drained { .. }), "{drained:?}");
    let revoked = stage.ask(&Ask::Revoke { node: "3".into() }).0;
    assert!(matches!(revoked, Told::Done { .. }), "{revoked:?}");
    let own = stage.ask(&Ask::Revoke { node: "1".into() }).0;
    assert!(matches!(own, Told::Refused { .. }));
    drop(stage);
    let (mut stage, _) = ftm(directory.path());
    let Told::Nodes { nodes } = stage.ask(&Ask::Nodes).0 else { panic!() };
    let standings: Vec<&str> = nodes.iter().map(|node| node.standing.as_str()).collect();
    assert_eq!(standings, ["up", "drained", "revoked"]);
}

#[test]
fn parameters_are_changed_all_or_none_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    let set = |values: &[(&str, &str)]| Ask::Set {
        app: None,
        values: values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    };
    let (told, letters) = stage.ask(&set(&[("armor.ping", "1s"), ("heartbeat.misses", "no")]));
    assert!(matches!(told, Told::Refused { .. }) && letters.is_empty());
    let (told, letters) = stage.ask(&set(&[("armor.ping", "1s"), ("heartbeat.block", "ping")]));
    assert!(matches!(told, Told::Done { .. }));
    let ping = Message::Parameter { name: "armor.ping".into(), value: "1s".into() };
    assert!(letters.contains(&(DAEMON, ping)));
    let exchanged =
        |(to, what): &(ArmorId, Message)| *to == HEARTBEAT && matches!(what, Message::Compose(_));
    assert!(letters.iter().any(exchanged));
}

#[test]
fn an_ftm_that_hears_of_a_later_epoch_decides_nothing_more_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = settled(directory.path());
    stage.context.raise(Epoch(9));
    assert_eq!(stage.take(DAEMON, down(HEARTBEAT, How::Signal(9))), []);
    assert_eq!(stage.take(DAEMON, Message::WhereIs(HEARTBEAT)), []);
    assert!(stage.context.ends());
}

/// An FTM, its backup, and an application's manager that is its coordinator alone.
struct Cast {
    ftm: Stage,
    backup: Stage,
    surrogate: Coordinator,
    /// What went to daemons.
    out: Letters,
}

impl Cast {
    fn new(directory: &std::path::Path) -> Self {
        let (ftm, letters) = ftm(directory);
        let parameters = format!("state = '{}'\n", directory.display());
        let mut backup = Stage::new(BACKUP, FTM, &parameters);
        backup.context.raise(ftm.context.epoch());
        backup.welcome();
        let mut cast = Self { ftm, backup, surrogate: Coordinator::default(), out: Vec::new() };
        cast.pass(FTM, letters);
        let letters = there(&mut cast.ftm, BACKUP);
        cast.pass(FTM, letters);
        cast
    }

    /// Letters go their ways until none is left.
    fn pass(&mut self, from: ArmorId, letters: Letters) {
        let mut open: VecDeque<_> =
            letters.into_iter().map(|(to, message)| (from, to, message)).collect();
        while let Some((from, to, message)) = open.pop_front() {
            let more = match (to, message) {
                (FTM, message) => self.ftm.take(from, message),
                (BACKUP, message) => self.backup.take(from, message),
                (SURROGATE, Message::Updated(updated)) => {
                    letters_of(self.surrogate.answered(from, &updated))
                }
                (to, message) => {
                    self.out.push((to, message));
                    continue;
                }
            };
            open.extend(more.into_iter().map(|(next, message)| (to, next, message)));
        }
    }

    fn update(&mut self, row: Row) {
        let letters = letters_of(self.surrogate.begin(row, &[FTM, BACKUP]).1);
        self.pass(SURROGATE, letters);
    }
}

fn letters_of(effects: Vec<Effect>) -> Letters {
    let mut letters = Vec::new();
    for effect in effects {
        match effect {
            Effect::Send(to, update) => letters.push((to, Message::Update(update))),
            Effect::Accuse { to, accusation, .. } => {
                letters.extend(to.iter().map(|to| (*to, Message::Accusation(accusation.clone()))));
            }
            Effect::Done(_) | Effect::Again(..) | Effect::Refused(..) => {}
        }
    }
    letters
}

#[test]
fn an_ftm_that_loses_a_row_is_found_out_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut cast = Cast::new(directory.path());
    let execution = ArmorId::first(armors::EXECUTION, 1 << 12);
    for armor in [execution, ArmorId::first(armors::EXECUTION, 1 << 12 | 1)] {
        cast.update(Row::Armor { armor, manager: SURROGATE, node: NODE });
    }
    let promoted = |cast: &Cast| {
        let news = NewManager { ftm: BACKUP, backup: None, node: NODE };
        cast.out.contains(&(DAEMON, Message::NewManager(news)))
    };
    cast.update(Row::NoArmor(ArmorId::first(armors::EXECUTION, 1 << 12 | 1)));
    assert!(!promoted(&cast), "what is right is not accused");
    // Its memory is wrong from here on (paper 5.3.1).
    let shared = cast.ftm.context.shared::<super::core::Ftm>();
    {
        let mut ftm = shared.borrow_mut();
        let core = ftm.core.as_mut().unwrap();
        let mut rows = core.tables().rows();
        rows.retain(|row| !matches!(row, Row::Armor { armor, .. } if *armor == execution));
        core.participant = Participant::new(Tables::from_rows(rows).unwrap());
    }
    cast.update(Row::NoArmor(execution));
    assert!(promoted(&cast), "{:?}", cast.out);
    assert_eq!(cast.backup.context.epoch(), Epoch(2));
    assert!(cast.out.contains(&(DAEMON, Message::Uninstall(FTM))));
}
