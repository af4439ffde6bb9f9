//! Whatever is wrong is refused with a reason and counted, and the daemon stays up.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use chameleon_link::{Event, Link, LinkError};
use chameleon_proto::birth::Birth;
use chameleon_proto::frame::{self, FrameError};
use chameleon_proto::ids::{ArmorId, Epoch, NodeId, armors};
use chameleon_proto::message::env::{Heartbeat, Hello, NewManager, NoWay, Request};
use chameleon_proto::message::{Envelope, Message};
use chameleon_proto::stream::Stream;
use common::cluster::Cluster;
use common::{Node, ask, daemon, tell, until, voter, wait};
use proptest::prelude::*;

fn sealed(message: Message) -> Vec<u8> {
    let source = ArmorId::client(NodeId(0), 0, Default::default());
    let envelope = Envelope { source, destination: daemon(), epoch: Epoch(0), message };
    frame::seal(&envelope).unwrap()
}

fn hello() -> Vec<u8> {
    sealed(Message::Hello(Hello { cookie: vec![], pid: std::process::id(), manager: None }))
}

/// The reasons in what the daemon answers to these bytes until it ends the connection.
fn reasons(node: &Node, bytes: &[u8]) -> Vec<String> {
    let mut stream = UnixStream::connect(node.socket()).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    // It may have ended it already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let mut input = Stream::default();
    let mut reasons = Vec::new();
    for piece in answer.chunks(4096) {
        input.space()[..piece.len()].copy_from_slice(piece);
        input.filled(piece.len());
    }
    while let Some(Ok(envelope)) = input.open() {
        if let Message::Refused(refused) = envelope.message {
            reasons.push(refused.why);
        }
    }
    reasons
}

#[test]
fn a_frame_that_is_none_ends_its_connection_and_no_other() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    let good = sealed(Message::Ready);
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        [hello(), bad].concat()
    };
    for (at, bytes, why) in [
        (0, &b"X"[..], "magic"),
        (4, &[9, 0][..], "version 9"),
        (8, &[0xff; 4], "longer than"),
        (12, &[1, 2, 3, 4], "checksum"),
    ] {
        let reasons = reasons(&node, &with(at, bytes));
        assert!(reasons.last().is_some_and(|reason| reason.contains(why)), "{why}: {reasons:?}");
    }
    for first in [&b"hello"[..], &good, &[0; 100_000]] {
        reasons(&node, first);
    }
    assert_eq!(ask(&mut client, voter(1), 1, "echo still"), "still");
}

#[test]
fn a_forged_source_and_a_kind_that_does_not_travel_are_refused() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    let (own, other) = (client.id(), node.client().id());
    for (source, message, why) in [
        (voter(1), Message::Ready, "is not at the connection"),
        (other, Message::Ready, "is not at the connection"),
        (own, Message::Shutdown, "may not send"),
        (own, Message::Attached, "may not send"),
    ] {
        let envelope = Envelope { source, destination: voter(1), epoch: Epoch(0), message };
        client.queue_envelope(&envelope).unwrap();
        client.flush();
        let reason = wait(&mut client, |envelope| match &envelope.message {
            Message::Refused(refused) => Some(refused.why.clone()),
            _ => None,
        });
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(ask(&mut client, voter(1), 1, "echo still"), "still");
}

#[test]
fn nobody_takes_an_armor_s_place_without_its_secret() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    let mut birth = Birth {
        armor: voter(1),
        manager: client.id(),
        node: NodeId(0),
        socket: node.socket().to_string_lossy().into_owned(),
        cookie: vec![0; 32],
        parameters: String::new(),
        descriptors: None,
    };
    for (armor, why) in [(voter(1), "secret"), (voter(2), "not installed")] {
        birth.armor = armor;
        match Link::armor(&birth) {
            Err(LinkError::Refused(reason)) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ask(&mut client, voter(1), 1, "echo still"), "still");
}

#[test]
fn an_older_epoch_is_refused_and_armors_learn_the_newer_one_at_once() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    let ftm = ArmorId::first(armors::FTM, 1);
    client.raise(Epoch(5));
    let new = NewManager { ftm, backup: None, node: NodeId(0) };
    client.send(daemon(), Message::NewManager(new)).unwrap();
    until(|| ask(&mut client, voter(1), 1, "ftm").ends_with(" 5"));
    assert!(ask(&mut client, voter(1), 2, "ftm").contains("ArmorType(4)"));
    let mut old = |message| {
        let envelope =
            Envelope { source: client.id(), destination: voter(1), epoch: Epoch(4), message };
        client.queue_envelope(&envelope).unwrap();
    };
    old(Message::Request(Request { number: 3, text: "echo".into() }));
    let why = wait(&mut client, |envelope| match &envelope.message {
        Message::Refused(refused) => Some((refused.why.clone(), envelope.epoch)),
        Message::Answer(answer) => panic!("{answer:?}"),
        _ => None,
    });
    assert!(why.0.contains("older epoch"));
    assert_eq!(why.1, Epoch(5));
    // A huge one in any other message shuts nobody out.
    let huge = Envelope {
        source: client.id(),
        destination: voter(1),
        epoch: Epoch(u64::MAX),
        message: Message::Request(Request { number: 4, text: "echo huge".into() }),
    };
    client.queue_envelope(&huge).unwrap();
    wait(&mut client, |envelope| match &envelope.message {
        Message::Answer(answer) if answer.number == 4 => Some(()),
        _ => None,
    });
    assert_eq!((node.client().epoch(), client.epoch()), (Epoch(5), Epoch(5)));
    assert!(ask(&mut client, voter(1), 5, "ftm").ends_with(" 5"));
    // It is known after a restart, too.
    node.kill();
    node.restart();
    assert_eq!(node.client().epoch(), Epoch(5));
    assert_eq!(node.client().ftm(), Some(ftm));
}

#[test]
fn of_claims_of_one_epoch_the_first_name_and_the_earlier_life_holds() {
    let node = Node::new();
    let mut client = node.client();
    client.raise(Epoch(6)); // what it asks is not of an older epoch than any claim
    let mut asked = 0;
    let mut claims = |epoch, ftm: ArmorId, holds: ArmorId| {
        let message = Message::NewManager(NewManager { ftm, backup: None, node: NodeId(0) });
        let claim =
            Envelope { source: client.id(), destination: daemon(), epoch: Epoch(epoch), message };
        client.queue_envelope(&claim).unwrap();
        asked += 1;
        let beat = Heartbeat { sequence: asked, health: false };
        client.send(daemon(), Message::Heartbeat(beat)).unwrap();
        wait(&mut client, |envelope| match &envelope.message {
            Message::Heartbeaten(answer) if answer.sequence == asked => Some(()),
            _ => None,
        });
        assert_eq!(node.client().ftm(), Some(holds));
    };
    let ftm = |number| ArmorId::first(armors::FTM, number);
    claims(5, ftm(2).successor(), ftm(2).successor());
    claims(5, ftm(3), ftm(2).successor());
    claims(4, ftm(1), ftm(2).successor());
    claims(5, ftm(2).successor().successor(), ftm(2).successor());
    claims(5, ftm(2), ftm(2));
    claims(5, ftm(1), ftm(1));
    claims(6, ftm(2).successor(), ftm(2).successor());
}

#[test]
fn one_who_does_not_read_holds_up_nobody_else() {
    let mut node = Node::with_ping(60_000);
    let mut client = node.client();
    for number in [1, 2] {
        node.install(&mut client, voter(number));
    }
    tell(&mut client, voter(2), 0, "hang");
    let text = "x".repeat(64 << 10);
    let mut full = None;
    while full.is_none() {
        let request = Request { number: 1, text: text.clone() };
        match client.send(voter(2), Message::Request(request)) {
            Ok(()) | Err(LinkError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        if let Some(Event::Message(Envelope { message: Message::Undeliverable(back), .. })) =
            client.receive(Some(Duration::ZERO)).unwrap()
        {
            full = Some(back);
        }
    }
    let full = full.unwrap();
    assert_eq!((full.destination, full.why), (voter(2), NoWay::Full));
    assert_eq!(ask(&mut client, voter(1), 2, "echo quick"), "quick");
}

#[test]
fn a_flood_of_wrong_frames_is_counted_and_little_logged() {
    let cluster = Cluster::new();
    let member = &cluster.members[0];
    let mut client = member.client();
    let before = member.metric("chameleon_frames_refused_total{reason=\"forged\"} ");
    let envelope = Envelope {
        source: voter(1),
        destination: voter(2),
        epoch: Epoch(0),
        message: Message::Ready,
    };
    for _ in 0..1000 {
        client.queue_envelope(&envelope).unwrap();
        client.receive(Some(Duration::ZERO)).unwrap();
    }
    until(|| {
        client.receive(Some(Duration::ZERO)).unwrap();
        member.metric("chameleon_frames_refused_total{reason=\"forged\"} ") == before + 1000
    });
    assert!(member.metric("chameleon_log_lines_left_out_total ") >= 900);
}

/// Frames as they might be, one behind the other.
fn frames(nonces: &[u64]) -> Vec<u8> {
    nonces.iter().flat_map(|nonce| sealed(Message::Ping { nonce: *nonce })).collect()
}

/// All that a decoder makes of bytes that come in pieces of this length.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<FrameError>) {
    let mut stream = Stream::default();
    let mut messages = Vec::new();
    for bytes in bytes.chunks(piece) {
        stream.space()[..bytes.len()].copy_from_slice(bytes);
        stream.filled(bytes.len());
        while let Some(next) = stream.open() {
            match next {
                Ok(envelope) => messages.push(envelope.message),
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..4000), piece in 1usize..500,
        front in any::<bool>(),
    ) {
        let bytes = if front { [&frame::MAGIC[..], &[1, 0], &bytes].concat() } else { bytes };
        let (messages, _) = decode(&bytes, piece);
        prop_assert_eq!(messages, vec![]);
    }

    #[test]
    fn a_flipped_bit_lets_nothing_through_that_was_not_sent(
        nonces in proptest::collection::vec(any::<u64>(), 1..20), flip in any::<usize>(),
        piece in 1usize..500,
    ) {
        let mut bytes = frames(&nonces);
        let bit = flip % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (messages, error) = decode(&bytes, piece);
        let sent: Vec<Message> =
            nonces.iter().map(|nonce| Message::Ping { nonce: *nonce }).collect();
        prop_assert!(messages.len() < sent.len());
        prop_assert_eq!(&messages[..], &sent[..messages.len()]);
        // A length that grew makes the rest wait for what never comes.
        prop_assert!(error.is_some() || bytes.len() < frame::LIMIT);
    }

    #[test]
    fn a_cut_stream_gives_the_whole_frames_before_the_cut(
        nonces in proptest::collection::vec(any::<u64>(), 1..20), cut in any::<usize>(),
        piece in 1usize..500,
    ) {
        let all = frames(&nonces);
        let cut = cut % all.len();
        let (messages, error) = decode(&all[..cut], piece);
        prop_assert_eq!(error, None);
        let whole = (0..=nonces.len()).rev().find(|n| frames(&nonces[..*n]).len() <= cut);
        prop_assert_eq!(messages.len(), whole.unwrap_or(0));
    }
}

/// The same against a daemon: whatever a command sends, it answers the next one.
#[test]
fn no_bytes_bring_the_daemon_down() {
    let mut node = Node::new();
    let mut client = node.client();
    node.install(&mut client, voter(1));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (
        any::<bool>(),
        proptest::collection::vec(any::<u64>(), 0..20),
        any::<usize>(),
        proptest::collection::vec(any::<u8>(), 0..200),
    );
    let run = runner.run(&strategy, |(greet, nonces, flip, tail)| {
        let mut bytes = if greet { hello() } else { vec![] };
        let mut rest = [frames(&nonces), tail].concat();
        if !rest.is_empty() {
            let bit = flip % (rest.len() * 8);
            rest[bit / 8] ^= 1 << (bit % 8);
        }
        bytes.extend(rest);
        reasons(&node, &bytes);
        Ok(())
    });
    run.unwrap();
    assert_eq!(ask(&mut client, voter(1), 1, "echo still"), "still");
}
