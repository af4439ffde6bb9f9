//! A run that goes on on another node: its newest image is fetched from the CHECKPOINT ARMOR, and what goes along
//! is put where it belongs here.
//!
//! Invariant: nothing of the program's is changed before all that it needs is here and found to be as it was at the
//! cut; whatever is not is the reason why it begins anew. Used by the EXECUTION ARMOR before it starts an attempt.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chameleon_ckpt::moved;
use chameleon_ckpt::read::Chain;
use chameleon_ckpt::undo::UndoLog;
use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::Message;
use chameleon_proto::message::app::Piece;
use chameleon_proto::message::env::{Execute, Note, Step};
use chameleon_supervisor::armor::Outbox;

use crate::common::around;
use crate::common::aside::Aside;
use crate::common::images::{self, Root, Store, Taken, Taking};
use crate::context::{Context, now_ns};

use super::{Follow, run, unix_ns};

/// How long nothing may come.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Where things are here.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where the images go.
    pub images: PathBuf,
    /// The directory of the ARMOR's files.
    pub home: PathBuf,
    /// Where the program works.
    pub directory: PathBuf,
}

/// What is under way.
pub(super) struct Moving {
    context: Context,
    place: Place,
    attempt: u32,
    taking: Taking,
    placing: Option<Aside<Result<(), String>>>,
}

impl Moving {
    /// Asks the CHECKPOINT ARMOR.
    pub fn begin(
        context: &Context,
        (from, attempt): (ArmorId, u32),
        place: Place,
        outbox: &mut Outbox,
    ) -> Self {
        let root = Root::Here(place.images.clone());
        let taking = Taking::begin(context, (from, attempt), root, true, outbox);
        Self { context: context.clone(), place, attempt, taking, placing: None }
    }

    /// For which attempt, and from whom.
    pub fn of(&self) -> (ArmorId, u32) {
        (self.taking.of().0, self.attempt)
    }

    /// Whether it can be given up for another.
    pub fn is_waiting(&self) -> bool {
        self.placing.is_none() && !self.taking.is_settling()
    }

    /// A piece came.
    pub fn piece(&mut self, piece: &Piece, outbox: &mut Outbox) {
        self.taking.piece(piece, outbox);
    }

    /// Whether it is over: the run can go on from what is here, or not.
    pub fn turn(&mut self, outbox: &mut Outbox) -> Option<Result<(), String>> {
        if let Some(placing) = &self.placing {
            return placing.done();
        }
        self.taking.tick(outbox);
        match self.taking.outcome() {
            None if now_ns().saturating_sub(self.taking.since_ns()) > PATIENCE_NS => {
                Some(Err("the CHECKPOINT ARMOR does not answer".to_owned()))
            }
            None => None,
            Some(Err(why)) => Some(Err(why.clone())),
            Some(Ok(taken)) => {
                let (taken, place) = (taken.clone(), self.place.clone());
                match Aside::begin(&self.context, "place", move || put(&taken, &place)) {
                    Ok(aside) => {
                        self.placing = Some(aside);
                        None
                    }
                    Err(why) => Some(Err(why)),
                }
            }
        }
    }
}

impl Follow {
    /// An attempt begins with what another node has; an order that comes again while that is fetched changes
    /// at most from whom.
    pub(super) fn move_here(&mut self, order: Execute, home: PathBuf, outbox: &mut Outbox) {
        if let Some(keeper) = order.keeper {
            let of = (keeper, order.attempt);
            match &self.moving {
                Some(moving) if moving.of() == of || !moving.is_waiting() => {}
                _ => {
                    let images = run::images_of(&home, order.attempt);
                    let directory = run::directory(&home, &order);
                    let place = Place { images, home, directory };
                    // A lease that comes meanwhile starts nothing.
                    self.lease.anew();
                    self.moving = Some(Moving::begin(&self.context, of, place, outbox));
                }
            }
        }
        self.order = Some(order);
    }

    /// What is kept of it elsewhere is here, or cannot be had.
    pub(super) fn moved(&mut self, outbox: &mut Outbox) {
        let Some(outcome) = self.moving.as_mut().and_then(|moving| moving.turn(outbox)) else {
            return;
        };
        self.moving = None;
        let (Some(order), Ok(home)) = (self.order.take(), self.home.clone()) else { return };
        let attempt = order.attempt;
        if let Err(why) = &outcome {
            forget(&run::images_of(&home, attempt));
            self.anew(why, outbox);
        }
        self.attempt(order, outcome.is_ok(), attempt, outbox);
    }

    /// People are told why a program begins anew.
    pub(super) fn anew(&self, why: &str, outbox: &mut Outbox) {
        let node = self.context.node();
        let text =
            format!("no image can be gone on from on node {} ({why}): it begins anew", node.0);
        let (at_ns, app) = (unix_ns(), None);
        let note = Note { incident: 0, at_ns, node, app, step: Step::Info, text };
        outbox.send(self.manager, Message::Note(note));
    }

    /// The images of the run, where they are now.
    pub(super) fn shown(&mut self) -> &mut images::Run {
        if let (Ok(home), Some(order)) = (&self.home, &self.order) {
            let images = run::images(home, &self.state);
            if self.images.images != images {
                let directory = run::directory(home, order);
                let streams = run::named_streams(&directory, order);
                self.images = images::Run::new(images, home.clone(), directory, streams);
            }
        }
        &mut self.images
    }
}

/// Puts what goes along where it belongs.
fn put(taken: &Taken, place: &Place) -> Result<(), String> {
    let Taken { store, beside, .. } = taken;
    let dir = &store.dir;
    let chain = Chain::open(dir, beside.sequence).map_err(|error| error.to_string())?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let pairs: Vec<(PathBuf, PathBuf)> = beside
        .files
        .iter()
        // An absolute path stays what it is.
        .map(|along| (path(&along.path), place.home.join(path(&along.at))))
        .collect();
    let mut except: Vec<PathBuf> = pairs.iter().map(|(_, here)| here.clone()).collect();
    except.push(place.home.clone());
    let here = around::look(&place.directory, &except, None)?;
    if let Some(name) = around::differs(&beside.around, &here) {
        let name = place.directory.join(path(&name));
        return Err(format!("{} is not here as it was there", name.display()));
    }
    if let Some(why) = moved::missing(chain.image()) {
        return Err(why);
    }
    for (number, (along, (_, target))) in beside.files.iter().zip(&pairs).enumerate() {
        let length = along.file.length.unwrap_or(0);
        copy(&store.file(beside.sequence, number), target, length, along.file.mode)
            .map_err(|error| format!("{}: {error}", target.display()))?;
    }
    moved::note(dir, beside.sequence, &pairs).map_err(|error| error.to_string())?;
    // Nothing was changed since: the log of it is empty. Of an earlier try there may be one.
    let _ = fs::remove_file(dir.log(beside.sequence));
    UndoLog::create(dir, beside.sequence).map(drop).map_err(|error| error.to_string())
}

fn copy(from: &Path, to: &Path, length: u64, mode: u32) -> io::Result<()> {
    let mut bytes = File::open(from)?.take(length);
    // In the file that is there, if one is: others may have it open.
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(to)?;
    io::copy(&mut bytes, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// What was put here for an attempt that begins anew after all.
pub(super) fn forget(images: &Path) {
    Store::at(images).remove();
}
