use super::*;
use crate::identity::{Identity, Revoked, facts};
use rustls::pki_types::pem::PemObject;

const NOW: i64 = 1_900_000_000;
const MINUTES: Duration = Duration::from_secs(900);

fn authority() -> (tempfile::TempDir, Authority) {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::create(&directory.path().join("authority"), NOW).unwrap();
    (directory, authority)
}

fn request() -> String {
    new_request(&KeyPair::generate().unwrap()).unwrap()
}

fn read(signed: &Signed) -> Facts {
    facts(&CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_token_is_good_once() {
    let (_directory, authority) = authority();
    let token = authority.new_token(MINUTES, NOW).unwrap();
    let enroll = |now| authority.enroll(&token.name, &token.secret, &request(), now);
    let signed = enroll(NOW + 899).unwrap();
    assert_eq!(signed.node, NodeId(1));
    assert_eq!(read(&signed).node, NodeId(1));
    assert_eq!(enroll(NOW + 899), Err(Refusal::Used));
}

#[test]
fn a_token_is_good_for_its_time() {
    let (_directory, authority) = authority();
    let token = authority.new_token(MINUTES, NOW).unwrap();
    let late = authority.enroll(&token.name, &token.secret, &request(), NOW + 900);
    assert_eq!(late, Err(Refusal::Expired));
}

#[test]
fn a_wrong_token_and_a_wrong_request_use_nothing_up() {
    let (_directory, authority) = authority();
    let token = authority.new_token(MINUTES, NOW).unwrap();
    let wrong = authority.enroll(&token.name, &[7; 32], &request(), NOW);
    assert_eq!(wrong, Err(Refusal::Wrong));
    let wrong = authority.enroll(&[7; 8], &token.secret, &request(), NOW);
    assert_eq!(wrong, Err(Refusal::Wrong));
    for bad in
        ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
    {
        let wrong = authority.enroll(&token.name, &token.secret, bad, NOW);
        assert!(matches!(wrong, Err(Refusal::Request(_))), "{wrong:?}");
    }
    authority.enroll(&token.name, &token.secret, &request(), NOW).unwrap();
}

#[test]
fn what_a_newcomer_asks_to_be_called_does_not_count() {
    let (_directory, authority) = authority();
    let token = authority.new_token(MINUTES, NOW).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(format!("{URI}77").try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().unwrap();
    let greedy = params.serialize_request(&key).unwrap().pem().unwrap();
    let signed = authority.enroll(&token.name, &token.secret, &greedy, NOW).unwrap();
    assert_eq!(read(&signed).node, NodeId(1));
}

#[test]
fn a_revoked_node_is_on_the_list_and_not_renewed() {
    let (_directory, authority) = authority();
    let token = authority.new_token(MINUTES, NOW).unwrap();
    let signed = authority.enroll(&token.name, &token.secret, &request(), NOW).unwrap();
    let first = read(&signed);
    let second = read(&authority.renew(&first, &request(), NOW + 10).unwrap());
    assert_eq!(second.node, first.node);
    assert_ne!(second.serial, first.serial);
    let before = Revoked::read(&authority.revoked().unwrap(), &authority.certificate).unwrap();
    let (list, count) = authority.revoke(first.node, NOW + 20).unwrap();
    let after = Revoked::read(&list, &authority.certificate).unwrap();
    assert_eq!(count, 2);
    assert!(after.number > before.number);
    for serial in [&first.serial, &second.serial] {
        assert!(after.has(serial) && !before.has(serial));
    }
    let again = authority.renew(&second, &request(), NOW + 30);
    assert_eq!(again, Err(Refusal::Revoked(1)));
}

#[test]
fn a_list_of_another_authority_or_a_broken_one_is_not_believed() {
    let ((_one, ours), (_two, theirs)) = (authority(), authority());
    let list = theirs.revoke(NodeId(1), NOW).unwrap().0;
    assert!(Revoked::read(&list, &ours.certificate).is_err());
    let list = ours.revoke(NodeId(1), NOW).unwrap().0;
    let good = Revoked::read(&list, &ours.certificate).unwrap();
    for bit in 0..list.len() * 8 {
        let mut bad = list.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The name of the algorithm beside the signature is not signed; all that is said is.
        if let Ok(read) = Revoked::read(&bad, &ours.certificate) {
            assert_eq!(Revoked { der: good.der.clone(), ..read }, good, "bit {bit}");
        }
    }
}

#[test]
fn the_key_must_be_the_authority_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, _authority) = authority();
    let at = directory.path().join("authority");
    assert!(matches!(Authority::create(&at, NOW), Err(NetError::Exists(_))));
    let key = at.join("ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Authority::load(&at), Err(NetError::Permissions { mode: 0o644, .. })));
}

#[test]
fn the_authority_s_own_node_keeps_its_number_and_key() {
    let (directory, authority) = authority();
    let at = directory.path().join("node");
    authority.own_identity(&at, "127.0.0.1:1", NOW).unwrap();
    let (first, key) = (Identity::load(&at).unwrap(), std::fs::read(at.join(KEY)).unwrap());
    authority.own_identity(&at, "127.0.0.1:1", NOW + 10).unwrap();
    let second = Identity::load(&at).unwrap();
    assert_eq!((first.node(), second.node()), (NodeId(1), NodeId(1)));
    assert_ne!(first.facts().serial, second.facts().serial);
    assert_eq!(std::fs::read(at.join(KEY)).unwrap(), key);
}

#[test]
fn two_at_once_get_two_numbers() {
    let (directory, authority) = authority();
    let at = directory.path().join("authority");
    let tokens: Vec<Token> = (0..8).map(|_| authority.new_token(MINUTES, NOW).unwrap()).collect();
    let threads: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let at = at.clone();
            std::thread::spawn(move || {
                let authority = Authority::load(&at).unwrap();
                authority.enroll(&token.name, &token.secret, &request(), NOW).unwrap().node.0
            })
        })
        .collect();
    let mut nodes: Vec<u32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, (1..=8).collect::<Vec<_>>());
}
