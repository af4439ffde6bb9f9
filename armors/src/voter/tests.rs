//! The VOTER, with its link recorded.

use std::path::Path;

use chameleon_proto::birth::Birth;
use chameleon_proto::ids::{ArmorId, Epoch, NodeId, armors};
use chameleon_proto::message::app::{Available, Content, File, Piece, What};
use chameleon_proto::message::env::{Voted, Welcome};
use chameleon_proto::message::{Envelope, Message};
use chameleon_supervisor::armor::{Armor, Link, LinkError};
use ring::digest::{SHA256, digest};

use super::Parameters;
use crate::context::Context;
use crate::registry;

#[derive(Default)]
struct Recorded(Vec<(ArmorId, Message)>);

impl Link for Recorded {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        self.0.push((envelope.destination, envelope.message.clone()));
        Ok(())
    }
}

/// A VOTER between its manager and replicas, each with the results of its parts.
struct Stage {
    voter: Armor<Context>,
    link: Recorded,
    results: Vec<Vec<Vec<u8>>>,
    /// What they deliver instead when bytes are fetched.
    spoiled: Vec<usize>,
    voted: Vec<Voted>,
    fetched: Vec<(usize, What)>,
}

const MANAGER: ArmorId = ArmorId::first(armors::SURROGATE, 1);

impl Stage {
    fn new(directory: &Path, specification: &str, mode: &str, results: Vec<Vec<Vec<u8>>>) -> Self {
        let id = ArmorId::first(armors::VOTER, 1);
        let parameters = Parameters {
            round: 1,
            directory: directory.to_string_lossy().into_owned(),
            specification: specification.to_owned(),
            mode: mode.to_owned(),
            timeout_ns: 1_000_000_000,
        };
        let birth = Birth {
            armor: id,
            manager: MANAGER,
            node: NodeId(1),
            socket: "/nowhere".into(),
            cookie: Vec::new(),
            parameters: parameters.to_toml().unwrap(),
            descriptors: None,
        };
        let context = Context::new(birth, Epoch(0));
        let mut link = Recorded::default();
        let factory = registry::factory(&context).unwrap();
        let mut voter = factory.build(id, Epoch(0), context, &mut link).unwrap();
        voter.tell(Message::Welcome(Welcome { node: NodeId(1), ftm: None }), &mut link).unwrap();
        assert_eq!(link.0.pop(), Some((MANAGER, Message::Ready)));
        Self { voter, link, results, spoiled: vec![], voted: vec![], fetched: vec![] }
    }

    fn tell(&mut self, source: ArmorId, message: Message) {
        let (destination, epoch) = (self.voter.id(), Epoch(0));
        let envelope = Envelope { source, destination, epoch, message };
        self.voter.deliver(envelope, &mut self.link).unwrap();
    }

    /// All results are there; answers what is asked until nothing is.
    fn play(&mut self) {
        let parts = self.results[0].len();
        for replica in 0..self.results.len() {
            for part in 0..parts {
                let available = Available {
                    round: 1,
                    replica: replica as u8,
                    part: part as u32,
                    at: ArmorId::first(armors::EXECUTION, (replica * parts + part) as u32),
                    attempt: 1,
                    took_ns: 1,
                };
                self.tell(MANAGER, Message::Available(available));
            }
        }
        while !self.link.0.is_empty() {
            let (to, message) = self.link.0.remove(0);
            match message {
                Message::Fetch(fetch) => {
                    let k = to.number as usize;
                    let bytes = &self.results[k / parts][k % parts];
                    self.fetched.push((k, fetch.what));
                    let content = match fetch.what {
                        What::Digest => {
                            let sum = digest(&SHA256, bytes).as_ref().to_vec();
                            let length = Some(bytes.len() as u64);
                            Content::Digest(0, vec![File { length, digest: sum, mode: 0o640 }])
                        }
                        What::File(_, at) => {
                            let rest = &bytes[at as usize..];
                            let mut piece = rest[..rest.len().min(5)].to_vec();
                            if self.spoiled.contains(&k) {
                                piece[0] ^= 1;
                            }
                            Content::Bytes(piece)
                        }
                        of_images => panic!("a VOTER asks for {of_images:?}"),
                    };
                    self.tell(to, Message::Piece(Piece { fetch, content }));
                }
                Message::Voted(voted) if to == MANAGER => self.voted.push(voted),
                _ => {}
            }
        }
    }
}

const EXACT: &str = "[app]\nname = 'm'\ncommand = ['x']\nresults = ['out/c']\n";
const PARTS: &str = "[app]\nname = 'm'\n[[part]]\ncommand = ['a']\nresults = ['c']\n\
                     [[part]]\ncommand = ['b']\nresults = ['c']\n";

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn digests_are_compared_and_one_winner_delivers() {
    let place = tempfile::tempdir().unwrap();
    let results = ["wrong result", "right result", "right result"].map(|text| vec![bytes(text)]);
    let mut stage = Stage::new(place.path(), EXACT, "tmr", results.to_vec());
    stage.play();
    let [voted] = stage.voted.as_slice() else { panic!("{:?}", stage.voted) };
    assert_eq!((voted.differ.as_slice(), voted.late.as_slice()), (&[0][..], &[][..]));
    assert_eq!(voted.result, Some(vec![b"0".to_vec()]));
    assert_eq!(std::fs::read(place.path().join("out/c")).unwrap(), b"right result");
    let of_file = |(_, what): &&(usize, What)| matches!(what, What::File(..));
    let delivered: Vec<usize> = stage.fetched.iter().filter(of_file).map(|(k, _)| *k).collect();
    assert_eq!(delivered, [1, 1, 1], "one of those that agree, in pieces");
}

#[test]
fn who_delivers_something_else_than_it_voted_with_is_passed_over() {
    let place = tempfile::tempdir().unwrap();
    let results = vec![vec![bytes("right result")]; 3];
    let mut stage = Stage::new(place.path(), EXACT, "tmr", results);
    stage.spoiled = vec![0];
    stage.play();
    assert!(stage.voted[0].result.is_some());
    assert_eq!(std::fs::read(place.path().join("out/c")).unwrap(), b"right result");
}

#[test]
fn without_a_majority_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let results = ["one", "two", "six"].map(|text| vec![bytes(text)]);
    let mut stage = Stage::new(place.path(), EXACT, "tmr", results.to_vec());
    stage.play();
    assert_eq!(stage.voted[0].result, None);
    assert!(!place.path().join("out").exists());
}

#[test]
fn parts_are_combined_and_numbers_may_differ_within_a_tolerance() {
    let place = tempfile::tempdir().unwrap();
    let spec = format!("{PARTS}[dependability]\nvoter = 'tolerance'\ntolerance = 0.01\n");
    let results = [["1.000 2\n", "3 4\n"], ["1.001 2\n", "3 4\n"], ["1.000 2\n", "3 5\n"]];
    let results = results.map(|parts| parts.map(bytes).to_vec());
    let mut stage = Stage::new(place.path(), &spec, "tmr", results.to_vec());
    stage.play();
    assert_eq!(stage.voted[0].differ, [2]);
    assert_eq!(std::fs::read(place.path().join("c")).unwrap(), b"1.000 2\n3 4\n");
}
