//! An ARMOR on a stage: its blocks, and all that they send.

use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::birth::Birth;
use chameleon_proto::ids::{ArmorId, Epoch, NodeId, armors};
use chameleon_proto::message::env::{Request, Welcome};
use chameleon_proto::message::{Envelope, Message};
use chameleon_supervisor::armor::{Armor, Link, LinkError};

use crate::context::Context;
use crate::registry;

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const DAEMON: ArmorId = ArmorId::daemon(NODE);
pub(crate) const CLIENT: ArmorId = ArmorId::first(armors::CLIENT, 65536);

/// A link that keeps what it carries.
#[derive(Default)]
struct Recorded(Vec<Envelope>);

impl Link for Recorded {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        self.0.push(envelope.clone());
        Ok(())
    }
}

pub(crate) struct Stage {
    pub(crate) context: Context,
    armor: Armor<Context>,
    link: Recorded,
}

pub(crate) type Letters = Vec<(ArmorId, Message)>;

impl Stage {
    pub(crate) fn new(armor: ArmorId, manager: ArmorId, parameters: &str) -> Self {
        let birth = Birth {
            armor,
            manager,
            node: NODE,
            socket: String::new(),
            cookie: Vec::new(),
            parameters: parameters.to_owned(),
            descriptors: None,
        };
        let context = Context::new(birth, Epoch(0));
        let mut link = Recorded::default();
        let factory = registry::factory(&context).unwrap();
        let armor = factory.build(armor, Epoch(0), context.clone(), &mut link).unwrap();
        Self { context, armor, link }
    }

    /// What was sent since the last time.
    pub(crate) fn sent(&mut self) -> Letters {
        self.link.0.drain(..).map(|letter| (letter.destination, letter.message)).collect()
    }

    /// A message comes, in the ARMOR's own epoch; what is sent because of it.
    pub(crate) fn take(&mut self, source: ArmorId, message: Message) -> Letters {
        let (destination, epoch) = (self.armor.id(), self.context.epoch());
        self.armor.raise(epoch);
        let envelope = Envelope { source, destination, epoch, message };
        self.armor.deliver(envelope, &mut self.link).unwrap();
        self.sent()
    }

    pub(crate) fn tell(&mut self, message: Message) -> Letters {
        self.armor.tell(message, &mut self.link).unwrap();
        self.sent()
    }

    pub(crate) fn welcome(&mut self) -> Letters {
        self.tell(Message::Welcome(Welcome { node: NODE, ftm: None }))
    }

    pub(crate) fn tick(&mut self, now_ns: u64) -> Letters {
        self.context.woken();
        self.tell(Message::Tick { now_ns })
    }

    /// What is answered to a person.
    pub(crate) fn ask(&mut self, ask: &Ask) -> (Told, Letters) {
        let text = serde_json::to_string(ask).unwrap();
        let mut letters = self.take(CLIENT, Message::Request(Request { number: 7, text }));
        let at = letters.iter().position(|(to, message)| {
            *to == CLIENT && matches!(message, Message::Answer(answer) if answer.last)
        });
        let (_, answer) = letters.remove(at.expect("it is answered"));
        let Message::Answer(answer) = answer else { unreachable!() };
        assert_eq!(answer.number, 7);
        (serde_json::from_str(&answer.text).unwrap(), letters)
    }
}

/// What was installed, and where.
pub(crate) fn installs(letters: &Letters) -> Vec<(ArmorId, NodeId)> {
    let of = |(to, message): &(ArmorId, Message)| match message {
        Message::Install(install) => Some((install.armor, NodeId(to.number))),
        _ => None,
    };
    letters.iter().filter_map(of).collect()
}
