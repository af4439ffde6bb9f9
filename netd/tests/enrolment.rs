//! Newcomers, their tokens, and certificates that end.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use chameleon_netd::enroll::enroll;
use chameleon_netd::identity::Identity;
use chameleon_netd::token::Token;
use chameleon_netd::{NetError, Settings};
use chameleon_proto::ids::NodeId;
use common::cluster::{Cluster, now};
use common::until;

const TTL: Duration = Duration::from_secs(60);

#[test]
fn a_newcomer_with_a_token_becomes_a_node() {
    let cluster = Cluster::new();
    let token = cluster.authority().new_token(TTL, now()).unwrap().text();
    let at = cluster.directory.path().join("new");
    let identity = enroll(&at, &cluster.door(), &token, "127.0.0.1:7").unwrap();
    assert_eq!(identity.node(), NodeId(2));
    let mode = std::fs::metadata(at.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(cluster.members[0].metric("chameleon_enrolments_total{reason=\"enrolled\"} "), 1);
    // And once only, and not over what is there.
    let again = enroll(&at, &cluster.door(), &token, "");
    assert!(matches!(again, Err(NetError::Exists(_))));
    let other = cluster.directory.path().join("other");
    let again = enroll(&other, &cluster.door(), &token, "");
    assert!(matches!(&again, Err(NetError::Refused { why, .. }) if why.contains("has been used")));
    assert!(!other.exists());
    assert_eq!(cluster.members[0].metric("chameleon_enrolments_total{reason=\"used_token\"} "), 1);
}

#[test]
fn an_expired_token_is_refused() {
    let cluster = Cluster::new();
    let token = cluster.authority().new_token(TTL, now() - 61).unwrap().text();
    let refused = enroll(&cluster.directory.path().join("new"), &cluster.door(), &token, "");
    assert!(matches!(&refused, Err(NetError::Refused { why, .. }) if why.contains("has expired")));
}

#[test]
fn wrong_tokens_are_refused_counted_and_not_listened_to_for_ever() {
    let cluster = Cluster::new();
    let good = cluster.authority().new_token(TTL, now()).unwrap();
    let at = cluster.directory.path().join("new");
    let mut told = Vec::new();
    for n in 0..8 {
        let wrong = Token { secret: [n; 32], ..good.clone() }.text();
        match enroll(&at, &cluster.door(), &wrong, "") {
            Err(NetError::Refused { why, .. }) => told.push(why),
            other => panic!("{other:?}"),
        }
    }
    assert!(told[0].contains("is not known"));
    assert!(told[7].contains("too many wrong tokens"));
    let count = |reason| {
        cluster.members[0].metric(&format!("chameleon_enrolments_total{{reason=\"{reason}\"}} "))
    };
    assert_eq!(count("wrong_token") + count("too_often"), 8);
    assert!(count("too_often") > 0);
    assert!(!at.exists());
    // No token at all does not even call.
    assert!(matches!(enroll(&at, &cluster.door(), "hello", ""), Err(NetError::Token)));
}

#[test]
fn a_newcomer_does_not_give_its_token_to_another_authority() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let token = ours.authority().new_token(TTL, now()).unwrap();
    let at = ours.directory.path().join("new");
    let refused = enroll(&at, &theirs.door(), &token.text(), "");
    assert!(matches!(refused, Err(NetError::Talk { .. })), "{refused:?}");
    // A node of the right environment is not its authority either.
    let mut ours = ours;
    ours.join();
    let node = ours.members[1].address();
    let refused = enroll(&at, &node, &token.text(), "");
    assert!(matches!(refused, Err(NetError::Talk { .. })), "{refused:?}");
    assert!(!at.exists());
    enroll(&at, &ours.door(), &token.text(), "").unwrap();
}

#[test]
fn whatever_is_sent_to_the_door_it_stays_open() {
    use std::io::{Read, Write};
    let cluster = Cluster::new();
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0, 1, 0, 1], &[0; 5000]] {
        let mut stream = std::net::TcpStream::connect(cluster.door()).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let token = cluster.authority().new_token(TTL, now()).unwrap().text();
    enroll(&cluster.directory.path().join("new"), &cluster.door(), &token, "").unwrap();
}

#[test]
fn a_certificate_is_renewed_before_its_end() {
    let settings =
        Settings { renew_at: 1, renew_look: Duration::from_millis(50), ..Settings::default() };
    let mut cluster = Cluster::with(settings, None);
    cluster.join();
    let at = cluster.members[1].directory.join("identity");
    let first = Identity::load(&at).unwrap();
    until(|| Identity::load(&at).is_ok_and(|now| now.facts().serial != first.facts().serial));
    assert_eq!(Identity::load(&at).unwrap().node(), first.node());
    until(|| cluster.members[0].metric("chameleon_enrolments_total{reason=\"renewed\"} ") > 0);
}
