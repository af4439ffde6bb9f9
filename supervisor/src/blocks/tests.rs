//! The ARMOR as the supervisor sees it: messages over a link, effects on the dispatcher's settings.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chameleon_interpose::arena::{Arena, FIRST_SLOT};
use chameleon_interpose::dispatcher::{Dispatcher, Reporter, Settings};
use chameleon_policy::placement::PlacementChoice;
use chameleon_policy::schedule::Threads;
use chameleon_proto::frame;
use chameleon_proto::message::{Envelope, Message, ModeNumbers};
use chameleon_sys::{executor, fd};

use super::*;
use crate::link::{Control, PACKET, Received};

fn shared(arena: Arena) -> Shared {
    let settings = Settings {
        mode: "tmr".parse().unwrap(),
        timeout: Duration::from_secs(1),
        injections: Vec::new(),
        verify_donor: false,
        threads: Threads::default(),
        placement: PlacementChoice::default(),
        checkpoints: None,
        images: None,
        listeners: Vec::new(),
        tracer_bell: -1,
        supervisor: 0,
    };
    let reporter = Reporter::new(None, 0, false);
    Rc::new(RefCell::new(Dispatcher::new(arena, settings, reporter).unwrap()))
}

#[test]
fn the_armor_answers_and_obeys_and_a_successor_keeps_what_it_was_told() {
    let arena = Arena::create(None).unwrap();
    let bell = fd::bell().unwrap();
    executor::configure(arena.region, FIRST_SLOT, arena.stride(), bell, -1);
    let dispatcher = shared(arena);
    let (mut ours, theirs) = Control::pair().unwrap();
    let mut link = theirs;
    let id = name(0);
    let mut armor = build(id, dispatcher.clone(), &mut link).unwrap();
    assert_eq!(armor.type_name(), "EXECUTION");
    assert_eq!(armor.blocks().count(), 3);

    let mut buffer = vec![0; PACKET];
    let mut tell = |message| {
        let envelope = Envelope { source: SUPERVISOR, destination: id, epoch: Epoch(0), message };
        ours.carry(&envelope).unwrap();
        let Received::Packet(n) = link.receive(&mut buffer) else { panic!("nothing came") };
        armor.deliver_frame(&buffer[..n], &mut link).unwrap();
        match ours.receive(&mut buffer) {
            Received::Packet(n) => Some(frame::open(&buffer[..n]).unwrap().0.message),
            _ => None,
        }
    };
    assert_eq!(tell(Message::Ping { nonce: 5 }), Some(Message::Pong { nonce: 5, calls: 0 }));
    let mode = ModeNumbers { n: 3, k: 3, first: false, slack: false };
    assert_eq!(tell(Message::SetMode(mode)), None);
    assert_eq!(tell(Message::SetTimeout { ns: 7_000_000_000 }), None);
    assert_eq!(tell(Message::SetSlack { calls: 9, bytes: 1 << 16 }), None);
    let other = ModeNumbers { n: 4, k: 2, first: false, slack: true };
    assert_eq!(tell(Message::SetMode(other)), None);
    for d in [dispatcher, shared(arena)] {
        let d = d.borrow();
        assert_eq!((d.mode().n, d.mode().k, d.mode().slack), (3, 3, false));
        assert_eq!(d.timeout(), Duration::from_secs(7));
        assert_eq!(d.slack(), (9, 1 << 16));
    }
    fd::close(bell);
}
