//! A daemon that is killed and started again finds its ARMORs.

mod common;

use chameleon_link::Event;
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::NewManager;
use common::{Node, ask, daemon, tell, until, voter, wait};
use rustix::process::Signal;

fn answered(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn two_armors_go_on_with_each_other_after_their_daemon_was_killed() {
    let mut node = Node::new();
    let mut client = node.client();
    let pids: Vec<u32> = [1, 2].map(|number| node.install(&mut client, voter(number)).pid).to_vec();
    ask(&mut client, voter(1), 1, "play 8 2");
    let mut before = 0;
    for round in 0..3 {
        until(|| answered(&ask(&mut client, voter(1), 2, "count")) > before + 50);
        node.kill();
        node.restart();
        client = node.client();
        // They call when they find out; until then the daemon keeps what is for them.
        let text = ask(&mut client, voter(1), 3, "count");
        let downs: u64 = text.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(downs, round + 1, "it was told that the connection was lost");
        before = answered(&text);
    }
    until(|| answered(&ask(&mut client, voter(1), 4, "count")) > before + 50);
    for pid in pids {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(command.starts_with(common::PROBE), "the same processes");
    }
    // They are watched as before.
    tell(&mut client, voter(2), 5, "exit 4");
    let mut other = node.client();
    other.send(daemon(), Message::WhereIs(voter(1))).unwrap();
    let at = wait(&mut other, |envelope| match &envelope.message {
        Message::Places(places) => Some(places.at.clone()),
        _ => None,
    });
    assert_eq!(at, [(voter(1), NodeId(0))]);
}

/// The FTM of the test: an ARMOR's reports go to it when their manager has gone.
fn ftm() -> ArmorId {
    ArmorId::first(armors::FTM, 1)
}

#[test]
fn armors_that_died_meanwhile_are_reported_and_so_are_later_deaths() {
    let mut node = Node::new();
    let mut client = node.client();
    let pids: Vec<u32> = [1, 2].map(|number| node.install(&mut client, voter(number)).pid).to_vec();
    node.install(&mut client, ftm());
    let new = NewManager { ftm: ftm(), backup: None, node: NodeId(0) };
    client.send(daemon(), Message::NewManager(new)).unwrap();
    ask(&mut client, ftm(), 1, "echo");
    node.kill();
    common::signal(pids[0], Signal::KILL);
    node.restart();
    client = node.client();
    until(|| ask(&mut client, ftm(), 2, "downs") == "8:1 Gone");
    common::signal(pids[1], Signal::KILL);
    until(|| ask(&mut client, ftm(), 3, "downs") == "8:1 Gone,8:2 Gone");
}

#[test]
fn a_command_is_told_what_was_lost_and_calls_again() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    ask(&mut client, voter(1), 1, "echo");
    node.kill();
    let lost = loop {
        match client.receive(Some(common::PATIENCE)).unwrap() {
            Some(Event::Lost(lost)) => break lost,
            Some(_) => {}
            None => panic!("nothing was said"),
        }
    };
    assert_eq!(lost.unsent, []);
    assert!(client.send(voter(1), Message::Ready).is_err(), "there is no daemon");
    node.restart();
    loop {
        match client.receive(Some(common::PATIENCE)).unwrap() {
            Some(Event::Back) => break,
            Some(_) => {}
            None => panic!("it did not call again"),
        }
    }
    assert_eq!(ask(&mut client, voter(1), 2, "echo again"), "again");
}
