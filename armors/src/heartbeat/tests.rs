//! The HEARTBEAT ARMOR's blocks, with all that they send.

use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::env::{Health, Heartbeaten, NewManager, Places};
use chameleon_proto::message::{Change, Message};

use super::{HEALTH, PING};
use crate::context::now_ns;
use crate::stage::{Letters, NODE, Stage};

const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
const HEARTBEAT: ArmorId = ArmorId::first(armors::HEARTBEAT, 1);
const TWO: NodeId = NodeId(2);

fn heartbeat(health: bool) -> Stage {
    let parameters = format!("interval_ns = 200000000\nmisses = 3\nhealth = {health}\n");
    let mut stage = Stage::new(HEARTBEAT, FTM, &parameters);
    let nodes = vec![(NODE, "here".into()), (TWO, "there".into())];
    stage.take(FTM, Message::Places(Places { all: true, nodes, ..Places::default() }));
    stage
}

/// The beats that are due, answered by all but one.
fn beat(stage: &mut Stage, now: u64, silent: Option<NodeId>, health: Option<Health>) -> Letters {
    let mut said = Vec::new();
    for (to, message) in stage.tick(now) {
        match message {
            Message::Heartbeat(beat) if silent != Some(NodeId(to.number)) => {
                let health = health.filter(|_| beat.health);
                let (sequence, node) = (beat.sequence, NodeId(to.number));
                let answer = Message::Heartbeaten(Heartbeaten { sequence, node, health });
                said.extend(stage.take(to, answer));
            }
            Message::Heartbeat(_) => {}
            other => said.push((to, other)),
        }
    }
    said
}

#[test]
fn a_node_is_down_after_so_many_misses_if_this_nodes_daemon_is_quick() {
    let mut stage = heartbeat(false);
    let mut now = now_ns();
    for turn in 0..3 {
        now += 210_000_000;
        let said = beat(&mut stage, now, None, None);
        assert!(turn == 0 || said.is_empty(), "{said:?}");
    }
    // This node's daemon answers at once what it is asked about itself, too.
    let down = loop {
        now += 210_000_000;
        let said = beat(&mut stage, now, Some(TWO), None);
        if let Some((FTM, Message::NodeDown(down))) = said.first() {
            break *down;
        }
        assert!(said.is_empty() && now < now_ns() + 5_000_000_000, "{said:?}");
    };
    assert_eq!((down.node, down.missed), (TWO, 3));
    // Another FTM hears it, too, and that it is there again.
    let backup = ArmorId::first(armors::BACKUP_FTM, 1);
    stage.context.connection(true, Some(backup));
    let news = NewManager { ftm: backup, backup: None, node: NODE };
    let said = stage.take(backup, Message::NewManager(news));
    assert_eq!(said, [(backup, Message::NodeDown(down))]);
    let said = beat(&mut stage, now + 210_000_000, None, None);
    assert!(
        matches!(said[..], [(to, Message::Heartbeaten(beat))] if to == backup && beat.node == TWO)
    );
}

#[test]
fn blocks_are_exchanged_while_it_runs_and_nothing_is_forgotten() {
    let mut stage = heartbeat(true);
    let mut now = now_ns();
    let well = Health {
        cpus: 1,
        memory: 1 << 30,
        memory_available: 1 << 29,
        io_errors: Some(1),
        ..Health::default()
    };
    let mut heard = Vec::new();
    for _ in 0..8 {
        now += 210_000_000;
        heard.extend(beat(&mut stage, now, None, Some(well)));
    }
    assert!(heard.iter().any(|(to, what)| *to == FTM
        && matches!(what, Message::Heartbeaten(beat) if beat.health == Some(well))));
    let ill = Health { io_errors: Some(3), ..well };
    heard.clear();
    for _ in 0..8 {
        now += 210_000_000;
        heard.extend(beat(&mut stage, now, None, Some(ill)));
    }
    let complaint = |(to, what): &(ArmorId, Message)| {
        *to == FTM
            && matches!(what, Message::Note(note) if note.text.contains("2 errors of block devices"))
    };
    assert_eq!(heard.iter().filter(|letter| complaint(letter)).count(), 2, "of each node once");
    let change = Change::Replace { old: HEALTH, new: PING };
    let composed = stage.take(FTM, Message::Compose(change));
    assert!(
        matches!(&composed[..], [(FTM, Message::Composed { refusal: None, .. })]),
        "{composed:?}"
    );
    for _ in 0..8 {
        now += 210_000_000;
        assert_eq!(beat(&mut stage, now, None, Some(ill)), [], "it is known that they are there");
    }
}
