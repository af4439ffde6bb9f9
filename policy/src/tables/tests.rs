use std::collections::VecDeque;

use chameleon_proto::ids::armors;
use chameleon_proto::message::env::{AppState, Health, Phase, Update, Updated};
use proptest::prelude::*;

use super::coordinator::{Coordinator, Effect};
use super::participant::{BUSY, Participant};
use super::places::{Applied, PlacesCopy};
use super::*;

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const BACKUP: ArmorId = ArmorId::first(armors::BACKUP_FTM, 1);

fn manager(number: u32) -> ArmorId {
    ArmorId::first(armors::SURROGATE, number)
}

fn execution(number: u32) -> ArmorId {
    ArmorId::first(armors::EXECUTION, number)
}

fn there(armor: ArmorId, node: u32) -> Row {
    Row::Armor { armor, manager: manager(1), node: NodeId(node) }
}

fn info(node: u32, address: &str) -> NodeInfo {
    NodeInfo {
        node: NodeId(node),
        name: format!("n{node}"),
        address: address.into(),
        os: String::new(),
        kernel: String::new(),
        cpu: String::new(),
        features: Vec::new(),
        health: Health::default(),
    }
}

fn update(sequence: u64, phase: Phase, row: &Row) -> Update {
    Update { sequence, phase, row: row.clone() }
}

#[test]
fn rows_change_and_places_follow() {
    let mut tables = Tables::default();
    let first = execution(1);
    let second = first.successor();
    let delta = tables.apply(there(first, 1)).unwrap().unwrap();
    assert_eq!(
        (delta.version, &delta.at[..], &delta.gone[..]),
        (1, &[(first, NodeId(1))][..], &[][..])
    );
    assert_eq!(tables.apply(there(first, 1)).unwrap(), None);
    let delta = tables.apply(there(second, 2)).unwrap().unwrap();
    assert_eq!((delta.version, &delta.gone[..]), (2, &[first][..]));
    assert_eq!(tables.check(&there(first, 1)), Err(Disagreement::LaterLife(first, second)));
    assert_eq!(tables.check(&Row::NoArmor(first)), Err(Disagreement::LaterLife(first, second)));
    assert_eq!(tables.apply(Row::NoArmor(second)).unwrap().unwrap().gone, [second]);
    assert_eq!(tables.apply(Row::NoArmor(second)), Err(Disagreement::NoArmor(second)));
    assert_eq!(tables.check(&Row::NoNode(NodeId(9))), Err(Disagreement::NoNode(9)));
    assert_eq!(tables.check(&Row::NoApp(AppId(9))), Err(Disagreement::NoApp(9)));
}

#[test]
fn a_daemon_that_misses_a_change_asks_for_all() {
    let mut tables = Tables::default();
    let mut copy = PlacesCopy::default();
    let one = tables.apply(there(execution(1), 1)).unwrap().unwrap();
    let two = tables.apply(Row::Node(info(1, "a:1"))).unwrap().unwrap();
    assert_eq!(copy.apply(&two), Applied::Missed);
    assert_eq!((copy.apply(&one), copy.apply(&one)), (Applied::Yes, Applied::Known));
    assert_eq!(copy.apply(&two), Applied::Yes);
    assert_eq!(copy.find(execution(1)), Ok(NodeId(1)));
    assert_eq!(copy.address(NodeId(1)), Some("a:1"));
    use chameleon_proto::message::env::NoWay;
    assert_eq!(copy.find(execution(2)), Err(NoWay::Unknown));
    assert_eq!(copy.find(execution(1).successor()), Err(NoWay::OtherLife));
    tables.apply(Row::NoNode(NodeId(1))).unwrap();
    let mut late = PlacesCopy::default();
    late.apply(&tables.places());
    assert_eq!((late.version(), late.address(NodeId(1))), (3, None));
}

#[test]
fn an_update_in_two_phases_is_made_once() {
    let mut ftm = Participant::default();
    let row = there(execution(1), 1);
    let mut say = |sender: u32, sequence: u64, phase: Phase| -> (Option<String>, bool) {
        let (answer, places) = ftm.receive(manager(sender), &update(sequence, phase, &row));
        assert_eq!((answer.sequence, answer.phase), (sequence, phase));
        (answer.refusal, places.is_some())
    };
    assert_eq!(say(1, 1, Phase::Prepare), (None, false));
    assert_eq!(say(1, 1, Phase::Prepare), (None, false));
    assert_eq!(say(2, 1, Phase::Prepare), (Some(BUSY.into()), false));
    assert_eq!(say(1, 1, Phase::Commit), (None, true));
    assert_eq!(say(1, 1, Phase::Commit), (None, false));
    assert_eq!(say(1, 1, Phase::Prepare), (None, false));
    assert_eq!(say(1, 1, Phase::Abort), (Some("it was committed".into()), false));
    assert_eq!(say(2, 2, Phase::Abort), (None, false));
    // The abort has overtaken its prepare.
    assert_eq!(say(2, 2, Phase::Prepare), (Some("it was aborted".into()), false));
    assert_eq!(ftm.tables().armors().count(), 1);
}

#[test]
fn what_a_dead_manager_left_is_settled_alike_by_both() {
    let (mut ftm, mut backup) = (Participant::default(), Participant::default());
    let row = there(execution(1), 1);
    for participant in [&mut ftm, &mut backup] {
        participant.receive(manager(1), &update(1, Phase::Prepare, &row));
    }
    // It committed at the FTM and died; the FTM's copy makes it whole (figure 6, step 4).
    ftm.receive(manager(1), &update(1, Phase::Commit, &row));
    assert_eq!(backup.unfinished(manager(1)), [1]);
    assert_eq!(backup.copy(manager(1), 1, &row), Ok(()));
    assert_eq!(backup.copy(manager(1), 1, &row), Ok(()));
    assert_eq!(ftm, backup);
    assert!(backup.unfinished(manager(1)).is_empty());
}

#[test]
fn an_ftm_that_loses_rows_is_accused_at_its_backup() {
    // Paper 5.3.1 and figure 6b.
    let rows = [there(execution(1), 1), there(execution(2), 1)];
    let mut backup = Participant::new(Tables::from_rows(rows.clone()).unwrap());
    let mut ftm = Participant::new(Tables::from_rows(rows[1..].to_vec()).unwrap());
    let mut manager_of = Coordinator::default();
    let row = Row::NoArmor(execution(1));
    let mut effects: VecDeque<Effect> = manager_of.begin(row.clone(), &[FTM, BACKUP]).1.into();
    let mut accused = None;
    while let Some(effect) = effects.pop_front() {
        match effect {
            Effect::Send(to, update) => {
                let receiver = if to == FTM { &mut ftm } else { &mut backup };
                effects.extend(manager_of.answered(to, &receiver.receive(manager(1), &update).0));
            }
            other => accused = Some(other),
        }
    }
    let Some(Effect::Accuse { to, accusation, row: again }) = accused else {
        panic!("{accused:?}")
    };
    assert_eq!((to, accusation.ftm, again), (vec![BACKUP], FTM, row));
    assert!(accusation.why.contains("no such ARMOR"), "{}", accusation.why);
    // Neither has made it.
    assert!(backup.tables().known(execution(1)).is_some());
    assert_eq!(
        backup.tables().differences(ftm.tables()),
        ["ARMOR (ArmorType(1), 1) is not in the mirror"]
    );
}

#[test]
fn two_changes_of_a_row_are_made_one_after_the_other() {
    let mut coordinator = Coordinator::default();
    let yes = |sequence, phase| Updated { sequence, phase, refusal: None };
    assert_eq!(coordinator.begin(there(execution(1), 1), &[FTM]).1.len(), 1);
    assert_eq!(coordinator.begin(Row::NoArmor(execution(1)), &[FTM]), (2, vec![]));
    assert_eq!(coordinator.begin(Row::NoArmor(execution(2)), &[FTM]).1.len(), 1);
    assert_eq!(coordinator.answered(FTM, &yes(1, Phase::Prepare)).len(), 1);
    let effects = coordinator.answered(FTM, &yes(1, Phase::Commit));
    assert_eq!(effects[0], Effect::Done(1));
    assert!(matches!(&effects[1], Effect::Send(FTM, update) if update.sequence == 2));
}

#[test]
fn one_who_asks_for_what_nobody_has_is_told_so_and_a_lost_peer_holds_nothing_up() {
    let mut coordinator = Coordinator::default();
    let no = |phase| Updated { sequence: 1, phase, refusal: Some("there is none".into()) };
    assert_eq!(coordinator.begin(Row::NoApp(AppId(1)), &[FTM, BACKUP]).1.len(), 2);
    assert_eq!(coordinator.answered(FTM, &no(Phase::Prepare)), []);
    assert_eq!(coordinator.answered(FTM, &no(Phase::Prepare)), []);
    assert_eq!(coordinator.open().len(), 1);
    assert_eq!(
        coordinator.answered(BACKUP, &no(Phase::Prepare)),
        [Effect::Refused(1, "there is none".into())]
    );
    coordinator.begin(Row::NoApp(AppId(1)), &[FTM, BACKUP]);
    let yes = |phase| Updated { sequence: 2, phase, refusal: None };
    assert_eq!(coordinator.answered(FTM, &yes(Phase::Prepare)), []);
    assert!(matches!(coordinator.gone(BACKUP)[..], [Effect::Send(FTM, _)]));
    assert_eq!(coordinator.answered(FTM, &yes(Phase::Commit)), [Effect::Done(2)]);
    coordinator.begin(Row::NoApp(AppId(1)), &[FTM]);
    assert_eq!(coordinator.gone(FTM), [Effect::Again(3, Row::NoApp(AppId(1)))]);
}

fn row() -> impl Strategy<Value = Row> {
    let armor = (0u32..3, 0u32..3)
        .prop_map(|(number, life)| (0..life).fold(execution(number), |armor, _| armor.successor()));
    let app = |id| App {
        id: AppId(id),
        name: format!("a{id}"),
        specification: String::new(),
        strategy: "tmr".into(),
        manager: None,
        state: AppState::Running,
        submitted_ns: 0,
    };
    let down = |node| NodeDown { node: NodeId(node), missed: 3, at_ns: 0 };
    prop_oneof![
        (armor.clone(), 0u32..3).prop_map(|(armor, node)| there(armor, node)),
        armor.prop_map(Row::NoArmor),
        (0u32..2, "[ab]").prop_map(|(node, address)| Row::Node(info(node, &address))),
        (0u32..2).prop_map(|node| Row::NoNode(NodeId(node))),
        (0u32..2).prop_map(move |node| Row::Failure(down(node))),
        (0u32..2).prop_map(move |id| Row::App(app(id))),
        (0u32..2).prop_map(|id| Row::NoApp(AppId(id))),
        ("[ab]", "[01]").prop_map(|(name, value)| Row::Parameter(name, value)),
    ]
}

/// A message under way.
#[derive(Clone)]
enum Flying {
    Update(usize, ArmorId, Update),
    Answer(usize, ArmorId, Updated),
}

/// Three managers update both tables at once; messages overtake each other and come twice.
struct World {
    ftm: Participant,
    backup: Participant,
    daemon: PlacesCopy,
    managers: Vec<Coordinator>,
    flying: Vec<Flying>,
    committed: Vec<Row>,
    tries: usize,
    /// Whether each row is changed by one manager alone, as it should be.
    owned: bool,
}

/// The manager that changes a row.
fn owner(row: &Row) -> usize {
    match Key::of(row) {
        Key::Armor(_, number) => number as usize % 3,
        Key::Node(node) | Key::Failures(node) => node.0 as usize % 3,
        Key::App(app) => app.0 as usize % 3,
        Key::Parameter(_) => 0,
    }
}

impl World {
    fn new(owned: bool) -> Self {
        Self {
            ftm: Participant::default(),
            backup: Participant::default(),
            daemon: PlacesCopy::default(),
            managers: vec![Coordinator::default(); 3],
            flying: Vec::new(),
            committed: Vec::new(),
            tries: 60,
            owned,
        }
    }

    fn begin(&mut self, who: usize, row: Row) {
        let who = if self.owned { owner(&row) } else { who };
        let (_, effects) = self.managers[who].begin(row, &[FTM, BACKUP]);
        self.effects(who, effects);
    }

    fn effects(&mut self, who: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, update) => self.flying.push(Flying::Update(who, to, update)),
                Effect::Again(_, row) if self.tries > 0 => {
                    self.tries -= 1;
                    self.begin(who, row);
                }
                Effect::Accuse { .. } if self.owned => panic!("among the honest: {effect:?}"),
                Effect::Accuse { .. }
                | Effect::Again(..)
                | Effect::Done(_)
                | Effect::Refused(..) => {}
            }
        }
    }

    fn deliver(&mut self, index: usize, twice: bool) {
        let message = self.flying.swap_remove(index % self.flying.len());
        if twice {
            self.flying.push(message.clone());
        }
        match message {
            Flying::Update(who, to, update) => {
                let sender = manager(who as u32);
                let fresh = to == FTM
                    && update.phase == Phase::Commit
                    && self.ftm.unfinished(sender).contains(&update.sequence);
                let receiver = if to == FTM { &mut self.ftm } else { &mut self.backup };
                let (answer, places) = receiver.receive(sender, &update);
                if fresh {
                    self.committed.push(update.row);
                }
                if let (FTM, Some(places)) = (to, places) {
                    assert_eq!(self.daemon.apply(&places), Applied::Yes);
                }
                self.flying.push(Flying::Answer(who, to, answer));
            }
            Flying::Answer(who, from, answer) => {
                let effects = self.managers[who].answered(from, &answer);
                self.effects(who, effects);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_mirror_is_the_master_after_any_interleaving(
        rows in prop::collection::vec((0usize..3, row()), 1..25),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0u8..6), 0..400),
        owned: bool,
    ) {
        let mut world = World::new(owned);
        let mut rows = rows.into_iter();
        let mut order = order.into_iter();
        loop {
            let (index, dice) = order.next().map_or((0, 1), |(index, dice)| (index.index(1 << 16), dice));
            if dice == 0 || world.flying.is_empty() {
                match rows.next() {
                    Some((who, row)) => world.begin(who, row),
                    None if world.flying.is_empty() => break,
                    None => world.deliver(index, false),
                }
            } else {
                world.deliver(index, dice == 5);
            }
        }
        prop_assert_eq!(world.ftm.tables().differences(world.backup.tables()), Vec::<String>::new());
        for who in 0..3 {
            prop_assert!(world.ftm.unfinished(manager(who)).is_empty());
            prop_assert!(world.backup.unfinished(manager(who)).is_empty());
        }
        // What is there is what was committed, in that order, and nothing of what was aborted.
        let model = Tables::from_rows(world.committed).unwrap();
        prop_assert_eq!(world.ftm.tables(), &model);
        // A copy of the places that took every change knows what one knows that took all.
        let mut fresh = PlacesCopy::default();
        fresh.apply(&model.places());
        prop_assert_eq!(world.daemon, fresh);
        // And a new backup is made of the rows.
        let copy = Tables::from_rows(model.rows()).unwrap();
        prop_assert_eq!(model.differences(&copy), Vec::<String>::new());
    }

    #[test]
    fn an_aborted_update_leaves_nothing(before in prop::collection::vec(row(), 0..20), row in row()) {
        let mut tables = Tables::default();
        for row in before {
            let _ = tables.apply(row);
        }
        let mut participant = Participant::new(tables.clone());
        participant.receive(manager(1), &update(1, Phase::Prepare, &row));
        prop_assert_eq!(participant.tables(), &tables);
        participant.receive(manager(1), &update(1, Phase::Abort, &row));
        prop_assert_eq!(participant.tables(), &tables);
        // The row is free again.
        let other = update(1, Phase::Prepare, &row);
        let refusal = participant.receive(manager(2), &other).0.refusal;
        prop_assert_eq!(refusal.is_none(), tables.check(&row).is_ok());
    }

    #[test]
    fn a_row_that_cannot_be_changes_nothing(rows in prop::collection::vec(row(), 0..40)) {
        let mut tables = Tables::default();
        for row in rows {
            let before = tables.clone();
            let possible = tables.check(&row).is_ok();
            prop_assert_eq!(tables.apply(row).is_ok(), possible);
            if !possible {
                prop_assert_eq!(&tables, &before);
            }
        }
    }
}
