//! The block that keeps what happened, and numbers its incidents.
//!
//! Invariant: each life of a manager counts its own incidents; here each gets one number in the environment,
//! the same for all its steps. What is told is kept before it is answered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chameleon_proto::ask::{Ask, Numbered, Told};
use chameleon_proto::ids::{AppId, ArmorId, ArmorType};
use chameleon_proto::message::env::{Note, Request, Step};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::applications::find;
use super::core::{Core, Ftm, refuse, tell};
use crate::context::{Context, wall_ns};

/// Notes that a new backup gets.
const LATEST: usize = 256;
/// Notes that are answered at most, if nobody says how many.
const MOST: usize = 1000;

/// What happened so far.
#[derive(Default)]
pub(crate) struct Notes {
    all: Vec<Numbered>,
    incidents: u64,
    open: BTreeSet<u64>,
    /// The numbers of others' incidents: who tells, in which life, their own number.
    known: BTreeMap<(ArmorType, u32, u32, u64), u64>,
    recoveries: BTreeMap<AppId, u32>,
}

impl Notes {
    /// Goes on behind these.
    pub(super) fn new(all: Vec<Numbered>) -> Self {
        let mut notes = Self::default();
        for note in all {
            notes.count(&note.note);
            notes.all.push(note);
        }
        notes
    }

    /// The newest, for a new backup.
    pub(super) fn latest(&self) -> &[Numbered] {
        &self.all[self.all.len().saturating_sub(LATEST)..]
    }

    /// A number for an incident that begins.
    pub(super) const fn incident(&mut self) -> u64 {
        self.incidents += 1;
        self.incidents
    }

    /// Incidents so far, and those that are not over.
    pub(super) fn incidents(&self) -> (u64, u64) {
        (self.incidents, self.open.len() as u64)
    }

    /// How often something of an application was put right.
    pub(super) fn recoveries(&self, app: AppId) -> u32 {
        self.recoveries.get(&app).copied().unwrap_or(0)
    }

    fn newest(&self) -> u64 {
        self.all.last().map_or(0, |last| last.number)
    }

    fn count(&mut self, note: &Note) {
        self.incidents = self.incidents.max(note.incident);
        match note.step {
            _ if note.incident == 0 => {}
            Step::Detected | Step::Decided => {
                self.open.insert(note.incident);
            }
            Step::Recovered => {
                if let (true, Some(app)) = (self.open.remove(&note.incident), note.app) {
                    *self.recoveries.entry(app).or_default() += 1;
                }
            }
            Step::GivenUp => {
                self.open.remove(&note.incident);
            }
            Step::Info => {}
        }
    }

    /// Another manager's note with the environment's number of its incident.
    fn numbered(&mut self, from: ArmorId, mut note: Note) -> Note {
        if note.incident != 0 {
            let key = (from.kind, from.number, from.incarnation.0, note.incident);
            note.incident = match self.known.get(&key) {
                Some(known) => *known,
                None => {
                    let new = self.incident();
                    self.known.insert(key, new);
                    new
                }
            };
        }
        note
    }
}

impl Core {
    /// Something happened, as the FTM itself saw it now; of no incident if that is 0.
    pub(super) fn note(
        &mut self,
        outbox: &mut Outbox,
        incident: u64,
        step: Step,
        app: Option<AppId>,
        text: impl Into<String>,
    ) {
        self.note_at(outbox, wall_ns(), incident, step, app, text);
    }

    /// As [`Core::note`], at another time.
    pub(super) fn note_at(
        &mut self,
        outbox: &mut Outbox,
        at_ns: u64,
        incident: u64,
        step: Step,
        app: Option<AppId>,
        text: impl Into<String>,
    ) {
        let node = self.context.node();
        self.keep(outbox, Note { incident, at_ns, node, app, step, text: text.into() });
    }

    fn keep(&mut self, outbox: &mut Outbox, note: Note) {
        self.notes.count(&note);
        let numbered = Numbered { number: self.notes.newest() + 1, note };
        self.keep_note(&numbered);
        if let Some(backup) = self.backup {
            outbox.send(backup, Message::Note(numbered.note.clone()));
        }
        let most = crate::store::NOTES as usize;
        if self.notes.all.len() >= 2 * most {
            self.notes.all.drain(..most);
        }
        self.notes.all.push(numbered);
    }
}

struct Events {
    ftm: Rc<RefCell<Ftm>>,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Events { ftm: context.shared() })
}

impl Block for Events {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            outbox.subscribe(Kind::Note);
            outbox.subscribe(Kind::Request);
            return;
        }
        let mut ftm = self.ftm.borrow_mut();
        let Some(core) = ftm.standing() else { return };
        match message {
            Message::Note(note) => {
                let note = core.notes.numbered(outbox.source(), note.clone());
                core.keep(outbox, note);
            }
            Message::Request(request) => answer(core, request, outbox),
            _ => {}
        }
    }
}

fn answer(core: &Core, request: &Request, outbox: &mut Outbox) {
    let Ok(Ask::Events { after, most, app, incident }) = serde_json::from_str(&request.text) else {
        return;
    };
    let who = outbox.source();
    let app = match app.map(|app| find(core.tables(), &app)) {
        Some(Err(why)) => return refuse(outbox, who, request.number, why),
        Some(Ok(app)) => Some(app.id),
        None => None,
    };
    let most = if most == 0 { MOST } else { (most as usize).min(MOST) };
    let fits = |note: &&Numbered| {
        note.number > after
            && app.is_none_or(|app| note.note.app == Some(app))
            && incident.is_none_or(|incident| note.note.incident == incident)
    };
    let mut events: Vec<Numbered> =
        core.notes.all.iter().rev().filter(fits).take(most).cloned().collect();
    events.reverse();
    tell(outbox, who, request.number, &Told::Events { events, newest: core.notes.newest() });
}
