//! The block that mirrors the FTM's tables.
//!
//! Invariant: a row that a manager prepares is checked by these tables alone, so an FTM that lost it is found
//! out; what the FTM itself has made is made here, too. A copy of the FTM's and the manager's own commit are
//! the same change, whichever comes first.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_policy::tables::participant::Participant;
use chameleon_proto::ask::Numbered;
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::{Phase, Row, Update};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::{Backup, abort};
use crate::context::Context;
use crate::ftm::core::Birth;
use crate::store::{Sqlite, StateStore, StoreError};

struct Mirror {
    context: Context,
    backup: Rc<RefCell<Backup>>,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Mirror { context: context.clone(), backup: context.shared() })
}

impl Block for Mirror {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        let mut backup = self.backup.borrow_mut();
        match message {
            Message::Attached => {
                outbox.subscribe(Kind::Update);
                outbox.subscribe(Kind::Note);
                match store(&self.context) {
                    Ok(store) => backup.store = Some(store),
                    Err(why) => self.context.fail(why),
                }
            }
            Message::Update(update) => take(&mut backup, update, outbox),
            Message::Note(note) => {
                let number = backup.notes.last().map_or(1, |last| last.number + 1);
                let note = Numbered { number, note: note.clone() };
                keep(&mut backup, |store| store.note(&note));
                backup.notes.push(note);
            }
            _ => {}
        }
    }
}

/// Its own store, empty: what a former one knew is not what the FTM knows now.
fn store(context: &Context) -> Result<Box<dyn StateStore>, String> {
    let birth: Birth = toml::from_str(context.parameters())
        .map_err(|error| format!("the parameters of the Backup FTM: {error}"))?;
    let name = format!("backup-{}", context.own().number);
    let open = || {
        let mut store = Sqlite::open(&birth.state, &name)?;
        store.clear()?;
        Ok(Box::new(store) as Box<dyn StateStore>)
    };
    open().map_err(|error: StoreError| error.to_string())
}

fn take(backup: &mut Backup, update: &Update, outbox: &mut Outbox) {
    let from = outbox.source();
    let of_ftm = [armors::FTM, armors::BACKUP_FTM].contains(&from.kind);
    if of_ftm {
        over(&mut backup.participant, &update.row);
    }
    let mut answer = backup.participant.receive(from, update).0;
    if update.phase == Phase::Commit {
        if answer.refusal.is_some() && is_gone(&backup.participant, &update.row) {
            // Its other copy came first.
            answer.refusal = None;
        }
        if answer.refusal.is_none() {
            keep(backup, |store| store.put(&update.row));
        }
    }
    outbox.reply(Message::Updated(answer));
}

/// A manager has a successor or is gone: what it left unfinished is over.
fn over(participant: &mut Participant, row: &Row) {
    let (Row::Armor { armor, .. } | Row::NoArmor(armor)) = row else { return };
    let before: Option<ArmorId> = participant.tables().known(*armor).map(|placed| placed.armor);
    if let Some(before) = before
        && (before != *armor || matches!(row, Row::NoArmor(_)))
    {
        abort(participant, before);
    }
}

/// Whether what is to go is gone already.
fn is_gone(participant: &Participant, row: &Row) -> bool {
    let tables = participant.tables();
    match row {
        Row::NoArmor(armor) => tables.known(*armor).is_none(),
        Row::NoNode(node) => tables.node(*node).is_none(),
        Row::NoApp(app) => tables.app(*app).is_none(),
        _ => false,
    }
}

/// Writes to the store; one that fails is the next FTM's trouble and is said.
fn keep(backup: &mut Backup, write: impl FnOnce(&mut dyn StateStore) -> Result<(), StoreError>) {
    if let Some(store) = backup.store.as_deref_mut()
        && let Err(error) = write(store)
    {
        eprintln!("chameleon: the backup's state is not kept: {error}");
    }
}
