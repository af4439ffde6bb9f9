use chameleon_proto::message::env::Places;
use proptest::prelude::*;

use super::*;

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

fn armor(number: u32, life: u32) -> ArmorId {
    ArmorId { incarnation: Incarnation(life), ..ArmorId::first(armors::VOTER, number) }
}

fn header(source: ArmorId, destination: ArmorId, kind: Kind) -> Header {
    Header { kind: kind.number(), length: 0, checksum: 0, source, destination, epoch: Epoch(5) }
}

/// ARMOR 10 in life 1 is here, ARMOR 20 in life 1 is on node 2, ARMOR 30 on node 3, which nobody
/// knows the address of.
fn router() -> Router {
    let mut router = Router::new(HERE, Epoch(5));
    router.here(armor(10, 1));
    router.table.take(
        Epoch(5),
        &Places {
            all: true,
            version: 1,
            at: vec![(armor(20, 1), THERE), (armor(30, 0), NodeId(3)), (armor(40, 0), HERE)],
            nodes: vec![(THERE, "127.0.0.1:9".into())],
            gone: vec![],
        },
    );
    router
}

fn to(origin: Origin, source: ArmorId, destination: ArmorId) -> Verdict {
    router().decide(origin, &header(source, destination, Kind::Note))
}

#[test]
fn what_is_sent_here_goes_where_the_tables_say() {
    let from = Origin::Local(armor(10, 1));
    let to = |destination| to(from, armor(10, 1), destination);
    assert_eq!(to(armor(10, 1)), Verdict::Local((armors::VOTER, 10)));
    assert_eq!(to(armor(20, 1)), Verdict::Peer(THERE));
    assert_eq!(to(armor(20, 0)), Verdict::Back(NoWay::OtherLife));
    assert_eq!(to(armor(20, 2)), Verdict::Ask(armor(20, 2)));
    assert_eq!(to(armor(30, 0)), Verdict::Back(NoWay::Unreachable));
    assert_eq!(to(armor(40, 0)), Verdict::Back(NoWay::NotHere));
    assert_eq!(to(armor(50, 0)), Verdict::Ask(armor(50, 0)));
    assert_eq!(to(ArmorId::daemon(HERE)), Verdict::Own);
    assert_eq!(to(ArmorId::daemon(HERE).successor()), Verdict::Own, "its life is not asked");
    assert_eq!(to(ArmorId::daemon(THERE)), Verdict::Peer(THERE));
    assert_eq!(to(ArmorId::daemon(NodeId(9))), Verdict::Back(NoWay::Unknown));
    assert_eq!(to(ArmorId::client(THERE, 3, Incarnation(0))), Verdict::Peer(THERE));
    assert_eq!(
        to(ArmorId::client(HERE, 3, Incarnation(0))),
        Verdict::Back(NoWay::NotHere),
        "a client that has gone"
    );
}

#[test]
fn what_comes_from_a_node_stays_here_or_goes_back() {
    let to = |destination| to(Origin::Node(THERE), armor(20, 1), destination);
    assert_eq!(to(armor(10, 1)), Verdict::Local((armors::VOTER, 10)));
    assert_eq!(to(armor(10, 0)), Verdict::Back(NoWay::OtherLife));
    assert_eq!(to(armor(10, 2)), Verdict::Back(NoWay::OtherLife));
    assert_eq!(to(armor(30, 0)), Verdict::Back(NoWay::NotHere), "nothing is passed on");
    assert_eq!(to(ArmorId::daemon(HERE)), Verdict::Own);
}

#[test]
fn a_source_is_at_its_connection() {
    let forged = Verdict::Refused(Reason::Forged);
    let here = armor(10, 1);
    assert_eq!(to(Origin::Local(armor(11, 0)), here, here), forged);
    assert_eq!(to(Origin::Local(armor(10, 0)), here, here), forged, "another life's");
    assert_eq!(to(Origin::Node(NodeId(3)), armor(20, 1), here), forged);
    assert_eq!(to(Origin::Node(THERE), armor(10, 0), here), forged, "it is this node's own");
    assert_eq!(to(Origin::Node(THERE), ArmorId::daemon(NodeId(3)), here), forged);
    assert_eq!(to(Origin::Node(THERE), ArmorId::daemon(HERE), here), forged);
    let client = ArmorId::client(HERE, 1, Incarnation(0));
    assert_eq!(to(Origin::Node(THERE), client, here), forged);
    assert_eq!(to(Origin::Node(THERE), armor(20, 0), here), Verdict::Refused(Reason::Life));
    assert_eq!(to(Origin::Node(THERE), armor(20, 2), here), Verdict::Ask(armor(20, 2)));
    assert_eq!(to(Origin::Node(THERE), armor(60, 0), here), Verdict::Ask(armor(60, 0)));
}

#[test]
fn what_is_of_an_older_epoch_is_refused_but_for_two_kinds() {
    let mut router = router();
    assert!(router.raise(Epoch(6)));
    assert!(!router.raise(Epoch(2)));
    let me = armor(10, 1);
    let verdict = |kind| router.decide(Origin::Local(me), &header(me, me, kind));
    assert_eq!(verdict(Kind::Note), Verdict::Refused(Reason::Epoch));
    assert_eq!(verdict(Kind::Heartbeaten), Verdict::Local((armors::VOTER, 10)));
    assert_eq!(verdict(Kind::NewManager), Verdict::Local((armors::VOTER, 10)));
}

#[test]
fn a_client_may_ask_but_not_manage_other_nodes() {
    let client = ArmorId::client(HERE, 1, Incarnation(0));
    let verdict = |to, kind| router().decide(Origin::Local(client), &header(client, to, kind));
    let refused = Verdict::Refused(Reason::Kind);
    assert_eq!(verdict(armor(20, 1), Kind::Request), Verdict::Peer(THERE));
    assert_eq!(verdict(ArmorId::daemon(HERE), Kind::Install), Verdict::Own);
    assert_eq!(verdict(ArmorId::daemon(THERE), Kind::Install), refused);
    assert_eq!(verdict(armor(10, 1), Kind::Shutdown), refused);
}

#[test]
fn what_blocks_are_told_about_themselves_does_not_travel() {
    let me = armor(10, 1);
    for kind in [Kind::Attached, Kind::Detached, Kind::Subscribe] {
        let verdict = router().decide(Origin::Local(me), &header(me, me, kind));
        assert_eq!(verdict, Verdict::Refused(Reason::Kind));
    }
}

#[test]
fn an_armor_that_went_is_no_longer_here_but_its_successor_is() {
    let mut router = router();
    router.here(armor(10, 2));
    router.gone(armor(10, 1));
    assert_eq!(router.node_of(armor(10, 2)), Some(HERE));
    router.gone(armor(10, 2));
    assert_eq!(router.node_of(armor(10, 2)), None);
}

proptest! {
    /// Whatever a node sends, it is delivered only with a source that is placed there, and never sent
    /// on to another node.
    #[test]
    fn nothing_gets_through_a_node_that_is_not_its(
        kind in 0u16..50, source in (1u16..14, 0u32..80, 0u32..4),
        destination in (1u16..14, 0u32..80, 0u32..4), epoch in 0u64..9,
    ) {
        let id = |(kind, number, life)| ArmorId {
            kind: ArmorType(kind), number, incarnation: Incarnation(life),
        };
        let header = Header {
            kind, length: 0, checksum: 0, source: id(source), destination: id(destination),
            epoch: Epoch(epoch),
        };
        let router = router();
        match router.decide(Origin::Node(THERE), &header) {
            Verdict::Peer(_) => prop_assert!(false, "passed on"),
            Verdict::Own | Verdict::Local(_) => {
                prop_assert_eq!(router.node_of(header.source), Some(THERE));
            }
            _ => {}
        }
    }
}
