//! Several nodes: messages between them, and who is not let in.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use chameleon_link::Link;
use chameleon_netd::Settings;
use chameleon_netd::identity::dns;
use chameleon_proto::frame;
use chameleon_proto::ids::{ArmorId, Epoch, NodeId, armors};
use chameleon_proto::message::env::{Heartbeat, Hello, NewManager, NoWay, Places};
use chameleon_proto::message::{Envelope, Message};
use common::cluster::Cluster;
use common::{ask, tell, until, voter, wait};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn ftm() -> ArmorId {
    ArmorId::first(armors::FTM, 1)
}

/// Two nodes; the FTM of the test on the first, ARMORs 1 and 2 on one each, and both daemons know.
fn two() -> (Cluster, Link, Link) {
    let mut cluster = Cluster::new();
    cluster.join();
    let mut clients = [0, 1].map(|n| cluster.members[n].client());
    cluster.members[0].install(&mut clients[0], ftm());
    for (member, client) in cluster.members.iter().zip(&mut clients) {
        member.install(client, voter(member.node.0));
    }
    let [mut one, mut two] = clients;
    let nodes = cluster.members.iter().map(|member| (member.node, member.address())).collect();
    let places = Places {
        version: 1,
        all: true,
        at: cluster.members.iter().map(|member| (voter(member.node.0), member.node)).collect(),
        gone: vec![],
        nodes,
    };
    let new = NewManager { ftm: ftm(), backup: None, node: NodeId(1) };
    one.send(ArmorId::daemon(NodeId(1)), Message::NewManager(new)).unwrap();
    two.send(ArmorId::daemon(NodeId(2)), Message::NewManager(new)).unwrap();
    // What comes by the same connection later is answered later.
    assert_eq!(ask(&mut two, voter(2), 1, "echo it knows"), "it knows");
    // What an FTM does when it is asked: the one of the test says what it is given.
    let text = serde_json::to_string(&places).unwrap();
    ask(&mut one, ftm(), 1, &format!("places {text}"));
    for member in 0..2 {
        let to = ArmorId::daemon(cluster.members[member].node);
        ask(&mut one, ftm(), 2, &format!("tell-places {}", to.number));
    }
    (cluster, one, two)
}

#[test]
fn armors_on_two_nodes_exchange_messages() {
    let (_cluster, mut one, mut two) = two();
    until(|| {
        tell(&mut two, voter(2), 1, "echo");
        ask(&mut one, voter(1), 2, "play 8 2");
        let text = ask(&mut one, voter(1), 3, "count");
        text.split(' ').next().unwrap().parse::<u64>().unwrap() > 100
    });
    // A command's answer finds its way back, too.
    assert_eq!(ask(&mut one, voter(2), 4, "echo there"), "there");
    assert_eq!(ask(&mut two, voter(1), 4, "echo here"), "here");
}

#[test]
fn each_node_tells_the_ftm_that_it_is_there() {
    let (_cluster, mut one, _two) = two();
    until(|| ask(&mut one, ftm(), 8, "nodes") == "1,2");
}

#[test]
fn a_heartbeat_of_another_node_is_answered_with_its_health() {
    let (cluster, mut one, _two) = two();
    let mut two = cluster.members[1].client();
    let beat = Heartbeat { sequence: 7, health: true };
    two.send(ArmorId::daemon(NodeId(2)), Message::Heartbeat(beat)).unwrap();
    let health = wait(&mut two, |envelope| match envelope.message {
        Message::Heartbeaten(answer) => Some((answer.sequence, answer.node, answer.health)),
        _ => None,
    });
    assert_eq!((health.0, health.1), (7, NodeId(2)));
    let health = health.2.unwrap();
    assert!(health.memory > 0 && health.armors == 1);
    assert_eq!(ask(&mut one, ftm(), 9, "beat 2"), "");
    until(|| ask(&mut one, ftm(), 10, "beaten") == "2");
}

#[test]
fn what_is_for_a_node_that_is_gone_comes_back() {
    let (mut cluster, mut one, _two) = two();
    assert_eq!(ask(&mut one, voter(2), 1, "echo there"), "there");
    cluster.members[1].stop();
    let why = loop {
        tell(&mut one, voter(2), 2, "echo");
        let back = one.receive(Some(Duration::from_millis(50))).unwrap();
        if let Some(chameleon_link::Event::Message(Envelope {
            message: Message::Undeliverable(back),
            ..
        })) = back
        {
            break back.why;
        }
    };
    assert_eq!(why, NoWay::Unreachable);
    assert_eq!(ask(&mut one, voter(1), 3, "echo here"), "here", "nobody else is held up");
    // It comes back at another port: the table says where, and the next message finds it.
    let known = vec![(NodeId(1), cluster.members[0].address())];
    let directory = cluster.members[1].directory.clone();
    let again = cluster.start(directory, None, known);
    let text = serde_json::to_string(&Places {
        version: 2,
        nodes: vec![(NodeId(2), again.address())],
        ..Places::default()
    });
    ask(&mut one, ftm(), 4, &format!("places {}", text.unwrap()));
    ask(&mut one, ftm(), 5, "tell-places 1");
    until(|| {
        tell(&mut one, voter(2), 6, "echo back");
        matches!(
            one.receive(Some(Duration::from_millis(50))).unwrap(),
            Some(chameleon_link::Event::Message(Envelope { message: Message::Answer(_), .. }))
        )
    });
}

/// A connection to a node with the certificate of another, as one who has stolen it would make.
fn call(
    cluster: &Cluster,
    from: usize,
    to: usize,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let at = cluster.members[from].directory.join("identity");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(at.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(at.join("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(at.join("key.pem")).unwrap(),
        )
        .unwrap();
    let to = &cluster.members[to];
    let name = ServerName::try_from(dns(to.node)).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, std::net::TcpStream::connect(to.address()).unwrap())
}

fn sealed(source: ArmorId, destination: ArmorId, message: Message) -> Vec<u8> {
    frame::seal(&Envelope { source, destination, epoch: Epoch(0), message }).unwrap()
}

fn hello() -> Message {
    Message::Hello(Hello { cookie: vec![], pid: 1, manager: None })
}

#[test]
fn a_node_cannot_speak_for_another_s_armors() {
    let (cluster, _one, mut two) = two();
    let forged = "chameleon_frames_refused_total{reason=\"forged\"} ";
    let before = cluster.members[1].metric(forged);
    // Node 1 says that it is node 2's ARMOR, and node 2's daemon.
    let mut stream = call(&cluster, 0, 1);
    stream
        .write_all(&sealed(ArmorId::daemon(NodeId(1)), ArmorId::daemon(NodeId(2)), hello()))
        .unwrap();
    for source in
        [voter(2), ArmorId::daemon(NodeId(2)), ArmorId::client(NodeId(2), 0, Default::default())]
    {
        stream.write_all(&sealed(source, voter(2), Message::Ready)).unwrap();
    }
    until(|| cluster.members[1].metric(forged) >= before + 3);
    // Or that it is another daemon altogether: the connection ends.
    let mut stream = call(&cluster, 0, 1);
    stream
        .write_all(&sealed(ArmorId::daemon(NodeId(9)), ArmorId::daemon(NodeId(2)), hello()))
        .unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(ask(&mut two, voter(2), 1, "echo still"), "still");
}

#[test]
fn nothing_gets_past_the_handshake_without_a_certificate() {
    let (ours, theirs) = (two().0, Cluster::new());
    let to_armors = ours.members[1].metric("chameleon_frames_total{way=\"Armor\"} ");
    // Another environment's certificate; the caller does not even believe the called.
    let mut stream = call(&theirs, 0, 0);
    stream.sock = std::net::TcpStream::connect(ours.members[1].address()).unwrap();
    let mut bytes = Vec::new();
    let done = stream.write_all(&sealed(voter(1), voter(2), Message::Ready));
    assert!(done.is_err() || stream.read_to_end(&mut bytes).is_err());
    // No certificate at all, and no TLS at all.
    for bytes in [sealed(voter(1), voter(2), Message::Ready), vec![0x16; 2000]] {
        let mut stream = std::net::TcpStream::connect(ours.members[1].address()).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.windows(4).any(|magic| magic == frame::MAGIC));
    }
    let row = "chameleon_connections_refused_total{reason=\"node\"} ";
    until(|| ours.members[1].metric(row) >= 2);
    assert_eq!(ours.members[1].metric("chameleon_frames_total{way=\"Armor\"} "), to_armors);
}

#[test]
fn a_revoked_node_is_cut_off_and_not_let_in_again() {
    let (cluster, mut one, mut two) = two();
    assert_eq!(ask(&mut one, voter(2), 1, "echo there"), "there");
    cluster.authority().revoke(NodeId(2), common::cluster::now()).unwrap();
    let cut = "chameleon_connections_cut_total ";
    until(|| cluster.members[0].metric(cut) > 0);
    let refused = "chameleon_connections_refused_total{reason=\"node\"} ";
    until(|| {
        tell(&mut two, voter(1), 2, "echo");
        two.receive(Some(Duration::from_millis(20))).unwrap();
        cluster.members[0].metric(refused) > 0
    });
    assert_eq!(ask(&mut one, voter(1), 3, "echo here"), "here");
}

#[test]
fn an_expired_certificate_ends_connections_and_is_refused() {
    // Good for 3 s, and never renewed as nobody looks.
    let settings = Settings { renew_look: Duration::from_secs(3600), ..Settings::default() };
    let mut cluster = Cluster::with(settings, None);
    cluster.join();
    let identity = cluster.members[1].directory.join("identity");
    let short =
        chameleon_netd::authority::Authority::load(&cluster.directory.path().join("authority"))
            .unwrap()
            .with_life(Duration::from_secs(3));
    short.own_identity(&identity, "", common::cluster::now()).unwrap();
    let known = vec![(NodeId(1), cluster.members[0].address())];
    let directory = cluster.members[1].directory.clone();
    cluster.members[1].stop();
    cluster.members[1] = cluster.start(directory, None, known);
    let mut stream = call(&cluster, 1, 0);
    let hello = sealed(ArmorId::daemon(NodeId(2)), ArmorId::daemon(NodeId(1)), hello());
    stream.write_all(&hello).unwrap();
    // The welcome, and then the end as the certificate's time is over.
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.starts_with(&frame::MAGIC), "it was let in at first");
    assert!(cluster.members[0].metric("chameleon_connections_cut_total ") > 0);
    let mut stream = call(&cluster, 1, 0);
    let _ = stream.write_all(&hello);
    let mut bytes = Vec::new();
    assert!(stream.read_to_end(&mut bytes).is_err(), "{bytes:?}");
}
