//! Golden fixtures: the bytes of every kind of message, as they are on the wire.
//!
//! A fixture that fails means that two versions would misunderstand each other: raise the version
//! of the frame, then change the fixture.

use super::*;
use crate::event::{Address, Bytes, Divergence, Event, Exit, Record, Repaired, What};
use crate::ids::BlockId;
use crate::message::{Change, Kind, Message, ModeNumbers, Refusal};

fn fixtures() -> Vec<(Message, &'static str)> {
    vec![
        (Message::Ping { nonce: 7 }, "0007"),
        (Message::Pong { nonce: 7, calls: 300 }, "0107fb2c01"),
        (Message::SetMode(ModeNumbers { n: 3, k: 2, first: false, slack: true }), "0203020001"),
        (Message::SetTimeout { ns: 5_000_000_000 }, "03fd00f2052a01000000"),
        (Message::SetSlack { calls: 64, bytes: 1 << 20 }, "0440fc00001000"),
        (Message::Inject("replica=1,call=5,kill".parse().unwrap()), "05010500046b696c6c"),
        (
            Message::Report(Event::Repaired(Repaired {
                process: 2,
                replica: 1,
                donor: 0,
                ms: 1.5,
            })),
            "0604020100000000000000f83f",
        ),
        (Message::Shutdown, "07"),
        (Message::Compose(Change::Replace { old: BlockId(1), new: BlockId(2) }), "08020102"),
        (
            Message::Composed {
                change: Change::Add { block: BlockId(3) },
                refusal: Some(Refusal::Unknown(BlockId(3))),
            },
            "090003010003",
        ),
        (Message::Attached, "0a"),
        (Message::Detached, "0b"),
        (Message::Subscribe { block: BlockId(4), kind: Kind::Ping }, "0c0400"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_kind_has_its_bytes_and_reads_back() {
    let mut kinds: Vec<u16> = Vec::new();
    for (message, wanted) in fixtures() {
        let bytes = encode(&message).unwrap();
        assert_eq!(hex(&bytes), wanted, "{message:?}");
        assert_eq!(decode::<Message>(&bytes), Ok(message.clone()));
        kinds.push(message.kind().number());
    }
    assert_eq!(kinds, (1..=13).collect::<Vec<u16>>());
}

#[test]
fn an_event_with_all_its_parts_reads_back() {
    let event = Event::Divergence(Divergence {
        process: 1,
        program: "sort".into(),
        replica: 2,
        seq: 3,
        call: "write".into(),
        what: What::Bytes,
        argument: Some(1),
        offset: None,
        expected: Bytes::of(b"ab"),
        got: Bytes::of(b""),
        votes: 2,
        against: 1,
        outvoted: true,
        pc: Address(1 << 47),
        cpu: 0,
    });
    let bytes = encode(&Message::Report(event.clone())).unwrap();
    assert_eq!(decode(&bytes), Ok(Message::Report(event)));
}

#[test]
fn cut_and_lengthened_bytes_are_refused() {
    for (message, _) in fixtures() {
        let mut bytes = encode(&message).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<Message>(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(decode::<Message>(&bytes), Err(CodecError::Trailing(1)), "{message:?}");
    }
}

#[test]
fn lengths_are_limited() {
    assert_eq!(encode(&"x".repeat(LIMIT)), Err(CodecError::TooLong));
    assert_eq!(decode::<String>(&vec![0; LIMIT + 1]), Err(CodecError::TooLong));
    // A string that claims 2^63 bytes must not be believed.
    let claim = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0x80];
    assert!(matches!(decode::<String>(&claim), Err(CodecError::Decode(_))));
}

#[test]
fn a_record_is_json_only_and_an_exit_travels() {
    let exit = Exit {
        status: None,
        signal: Some(9),
        calls: 1,
        votes: 1,
        repairs: 0,
        takeovers: 2,
        wall_ms: 0.1,
        cpu_ms: 0.2,
    };
    let message = Message::Report(Event::Exit(exit));
    assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
    assert!(encode(&Record::new(0, Event::Exit(exit))).is_err());
}
