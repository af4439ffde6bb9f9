//! The block of the tables: how an FTM begins, who has which row changed, where ARMORs are.
//!
//! Invariant: the first thing that anyone hears of a new FTM is who it is, in its epoch, and daemons hear it
//! first; so what a former one still says is refused from then on. Paper 4.1.1, 5.3.1, figure 6.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_policy::epoch::{Claim, Heard, heard};
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::{NewManager, Places, Step, Update, Updated, Welcome};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::core::{Core, Ftm};
use crate::context::{Context, now_ns};

/// How long a daemon may take to say who the FTM is before its word counts against this one.
const CLAIM_NS: u64 = 1_000_000_000;

struct TablesBlock {
    context: Context,
    ftm: Rc<RefCell<Ftm>>,
    begun: bool,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(TablesBlock { context: context.clone(), ftm: context.shared(), begun: false })
}

impl Block for TablesBlock {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            return self.attached(outbox);
        }
        let mut ftm = self.ftm.borrow_mut();
        let Some(core) = ftm.standing() else {
            // A later FTM is there: nothing that is asked of this one counts any more.
            return self.context.end();
        };
        match message {
            Message::Welcome(_) if !self.begun => {
                self.begun = true;
                begin(core, outbox);
            }
            Message::Welcome(welcome) => again(core, *welcome, outbox),
            Message::NewManager(new) if outbox.source() != outbox.own() => {
                claimed(core, outbox.source(), *new, outbox);
            }
            Message::Update(update) => take(core, update, outbox),
            Message::Updated(updated) => mirrored(core, updated, outbox),
            Message::WhereIs(armor) => {
                let places = where_is(core, *armor);
                outbox.reply(Message::Places(places));
            }
            Message::AskPlaces { .. } => outbox.reply(Message::Places(core.tables().places())),
            _ => {}
        }
    }
}

impl TablesBlock {
    fn attached(&mut self, outbox: &mut Outbox) {
        for kind in [
            Kind::Welcome,
            Kind::NewManager,
            Kind::Update,
            Kind::Updated,
            Kind::WhereIs,
            Kind::AskPlaces,
            Kind::Tick,
            Kind::Ping,
        ] {
            outbox.subscribe(kind);
        }
        let mut ftm = self.ftm.borrow_mut();
        let handed = ftm.handed.take();
        self.begun = handed.is_some();
        let core = match handed {
            Some(handed) => Core::promoted(&self.context, handed),
            None => match Core::load(&self.context) {
                Ok(core) => core,
                Err(why) => return self.context.fail(why),
            },
        };
        let core = ftm.core.insert(core);
        if self.begun {
            begin(core, outbox);
        }
    }
}

/// It is the FTM from here on. The other blocks hear it as a `NewManager` of its own.
fn begin(core: &mut Core, outbox: &mut Outbox) {
    core.context.raise(core.epoch);
    let news = core.news();
    for daemon in core.daemons() {
        outbox.send(daemon, Message::NewManager(news));
    }
    outbox.post(Message::NewManager(news));
}

/// The daemon is there again, or has heard of another FTM.
fn again(core: &mut Core, welcome: Welcome, outbox: &mut Outbox) {
    let own = core.own();
    let other = welcome.ftm.filter(|ftm| *ftm != own);
    let settled = now_ns().saturating_sub(core.since_ns) > CLAIM_NS;
    match other {
        // Of two in one epoch all follow the one whose name is first.
        Some(other) if settled => {
            let theirs = Claim { epoch: core.context.epoch(), ftm: other };
            claim(core, &theirs, outbox);
        }
        Some(_) => {}
        None => core.announce(outbox),
    }
}

/// Another says that it is the FTM, or others say it of it.
fn claimed(core: &mut Core, from: ArmorId, new: NewManager, outbox: &mut Outbox) {
    let own = core.own();
    if new.ftm == own {
        return;
    }
    // A daemon says what it knew; it has been told, or will be.
    if from.kind == armors::DAEMON {
        return outbox.reply(Message::NewManager(core.news()));
    }
    let theirs = Claim { epoch: core.context.epoch(), ftm: new.ftm };
    claim(core, &theirs, outbox);
}

fn claim(core: &Core, theirs: &Claim, outbox: &mut Outbox) {
    let mine = Claim { epoch: core.epoch, ftm: core.own() };
    match heard(&mine, theirs) {
        Heard::Mine => {}
        Heard::StepDown => core.context.end(),
        Heard::Reassert => core.announce(outbox),
    }
}

/// A manager changes a row of its own.
fn take(core: &mut Core, update: &Update, outbox: &mut Outbox) {
    let from = outbox.source();
    let answer = core.update(from, update, outbox);
    outbox.reply(Message::Updated(answer));
}

/// The backup has made a copy, or cannot.
fn mirrored(core: &mut Core, updated: &Updated, outbox: &mut Outbox) {
    if Some(outbox.source()) != core.backup {
        return;
    }
    if let Some(why) = &updated.refusal {
        let text =
            format!("the backup's tables are not the FTM's: {why}; it gets all of them again");
        core.note(outbox, 0, Step::Info, None, text);
        let backup = outbox.source();
        core.mirror(backup, outbox);
    }
}

fn where_is(core: &Core, armor: ArmorId) -> Places {
    let version = core.tables().places().version;
    let known = core.tables().known(armor).map(|placed| (placed.armor, placed.node));
    let expected = core.expected.get(&(armor.kind, armor.number)).copied();
    let (at, gone) = match expected.or(known) {
        Some(place) => (vec![place], Vec::new()),
        None => (Vec::new(), vec![armor]),
    };
    Places { version, all: false, at, gone, nodes: Vec::new() }
}
