//! One node: ARMORs are installed, exchange messages, end; whatever is wrong is refused.

mod common;

use chameleon_proto::message::Message;
use chameleon_proto::message::env::{How, NoWay};
use common::{Node, ask, daemon, life, tell, until, voter, wait};
use rustix::process::Signal;

#[test]
fn two_armors_exchange_messages_through_the_daemon() {
    let mut node = Node::new();
    let mut client = node.client();
    for number in [1, 2] {
        let installed = node.install(&mut client, voter(number));
        assert!(installed.took_ns > 0);
        assert!(installed.pid > 0);
    }
    assert_eq!(ask(&mut client, voter(1), 1, "echo hello"), "hello");
    ask(&mut client, voter(1), 2, "play 8 2");
    until(|| {
        let text = ask(&mut client, voter(1), 3, "count");
        text.split(' ').next().unwrap().parse::<u64>().unwrap() > 100
    });
}

#[test]
fn what_cannot_be_delivered_comes_back() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    for (to, why) in [(voter(2), NoWay::Unknown), (life(voter(1), 1), NoWay::Unknown)] {
        tell(&mut client, to, 1, "echo");
        let back = wait(&mut client, |envelope| match envelope.message {
            Message::Undeliverable(back) => Some(back),
            _ => None,
        });
        assert_eq!((back.destination, back.why), (to, why));
    }
}

#[test]
fn the_end_of_an_armor_is_told_after_its_last_words() {
    let mut node = Node::new();
    let mut client = node.client();
    for number in [1, 2] {
        node.install(&mut client, voter(number));
    }
    tell(&mut client, voter(1), 1, "last-words 8 2");
    let how = wait(&mut client, |envelope| match envelope.message {
        Message::ArmorDown(down) if down.armor == voter(1) => Some(down.how),
        _ => None,
    });
    assert_eq!(how, How::Exit(3));
    assert_eq!(ask(&mut client, voter(2), 2, "told 1"), "1", "the daemon had it before the end");
    tell(&mut client, voter(2), 3, "abort");
    let how = wait(&mut client, |envelope| match envelope.message {
        Message::ArmorDown(down) if down.armor == voter(2) => Some(down.how),
        _ => None,
    });
    assert_eq!(how, How::Signal(Signal::ABORT.as_raw()));
    // Its name is free for the next life, not for the same one's place in the tables of others.
    node.install(&mut client, life(voter(2), 1));
}

#[test]
fn an_armor_that_hangs_is_killed_and_told_about() {
    for stop in [false, true] {
        let mut node = Node::with_ping(50);
        let mut client = node.client();
        let installed = node.install(&mut client, voter(1));
        if stop {
            common::signal(installed.pid, Signal::STOP);
        } else {
            tell(&mut client, voter(1), 1, "hang");
        }
        let how = wait(&mut client, |envelope| match envelope.message {
            Message::ArmorDown(down) => Some(down.how),
            _ => None,
        });
        assert_eq!(how, How::Hang);
    }
}

#[test]
fn an_armor_is_uninstalled_even_if_it_does_not_listen() {
    let mut node = Node::new();
    let mut client = node.client();
    for number in [1, 2] {
        node.install(&mut client, voter(number));
    }
    tell(&mut client, voter(2), 1, "hang");
    for number in [1, 2] {
        client.send(daemon(), Message::Uninstall(voter(number))).unwrap();
        wait(&mut client, |envelope| match envelope.message {
            Message::Uninstalled(armor) if armor == voter(number) => Some(()),
            Message::ArmorDown(down) => panic!("{down:?}"),
            _ => None,
        });
    }
}

#[test]
fn what_cannot_be_started_is_refused_with_a_reason() {
    use chameleon_proto::message::env::Install;
    let node = Node::new();
    let mut client = node.client();
    let mut refusal = |program: &[&str]| {
        let program = Some(program.iter().map(|word| (*word).to_owned()).collect());
        let install = Install { armor: voter(1), parameters: String::new(), program };
        client.send(daemon(), Message::Install(install)).unwrap();
        wait(&mut client, |envelope| match &envelope.message {
            Message::Refused(refused) => Some(refused.why.clone()),
            _ => None,
        })
    };
    assert!(refusal(&["/no/such/program"]).contains("cannot be started"));
    assert!(refusal(&["/bin/false"]).contains("ended before it was there: Exit(1)"));
    assert!(refusal(&[]).contains("no program is named"));
}
