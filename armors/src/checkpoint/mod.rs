//! The CHECKPOINT ARMOR of an application (paper 4.2.3): keeps the newest image of its run on another node than
//! the run's, for the case that that node is lost.
//!
//! ```text
//!   Available (the run goes on there) ─► again and again: Fetch(Images) ─► Piece ─┬─ nothing new
//!                                                                                └─ Fetch …, kept ─► Kept, to the manager
//!   Fetch, of an EXECUTION ARMOR that goes on elsewhere ─► Piece
//! ```
//!
//! Invariant: what it says it keeps is on its disk and was verified, and stays until something newer is. It asks for
//! images and is sent none, so a next life begins again with what is missing. It never waits.

use std::path::PathBuf;

use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::app::{Available, Content, Kept, Piece};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use crate::common::images::{Root, Store, Taken, Taking};
use crate::common::user;
use crate::context::{Context, now_ns};

mod parameters;

pub use parameters::{Parameters, ParametersError};

/// The number of its block.
pub(crate) const KEEP: BlockId = BlockId(420);

/// After how many failures in a row it is told that nothing can be kept.
const FAILURES: u32 = 3;

struct Keep {
    context: Context,
    manager: ArmorId,
    /// Where its stores are, one for each run, and how often it looks.
    ready: Result<(PathBuf, u64), String>,
    /// Who has the run.
    source: Option<Available>,
    taking: Option<Taking>,
    /// When the next list is asked for.
    look_ns: u64,
    /// How often in a row nothing could be kept.
    failures: u32,
    store: Option<Store>,
    told: Kept,
}

pub(crate) fn build(context: &Context) -> Box<dyn Block> {
    let begin = || {
        let parameters =
            Parameters::from_toml(context.parameters()).map_err(|error| error.to_string())?;
        let root = context.directory().join("apps").join(parameters.home);
        // What is in memory of a program is nobody else's.
        user::home(&root, None)?;
        Ok((root, parameters.every_ns))
    };
    let ready: Result<(PathBuf, u64), String> = begin();
    let store = ready.as_ref().ok().and_then(|(root, _)| newest(root));
    Box::new(Keep {
        context: context.clone(),
        manager: context.manager(),
        told: Kept { image: store.as_ref().and_then(image), why: None },
        ready,
        source: None,
        taking: None,
        look_ns: 0,
        failures: 0,
        store,
    })
}

/// The store with the newest image.
fn newest(root: &PathBuf) -> Option<Store> {
    let entries = std::fs::read_dir(root).ok()?.flatten();
    let stores = entries.map(|entry| Store::at(&entry.path()));
    let kept = stores.filter_map(|store| Some((store.kept()?.created_ns, store)));
    kept.max_by_key(|(created_ns, _)| *created_ns).map(|(_, store)| store)
}

/// What a store keeps, as it is told.
fn image(store: &Store) -> Option<(u64, u64)> {
    store.kept().map(|kept| (kept.sequence, kept.created_ns))
}

impl Block for Keep {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match message {
            Message::Attached => {
                for kind in [
                    Kind::Welcome,
                    Kind::Available,
                    Kind::Fetch,
                    Kind::Piece,
                    Kind::Shutdown,
                    Kind::Tick,
                ] {
                    outbox.subscribe(kind);
                }
            }
            Message::Welcome(_) => outbox.send(self.manager, Message::Ready),
            Message::Available(available) => self.available(available, outbox),
            Message::Piece(piece) => self.piece(piece, outbox),
            Message::Tick { .. } => self.turn(outbox),
            Message::Fetch(fetch) => {
                let content = match &self.store {
                    Some(store) => store.serve(fetch.what),
                    None => Content::Refused(match &self.told.why {
                        Some(why) => format!("no image is kept: {why}"),
                        None => "no image is kept".to_owned(),
                    }),
                };
                outbox.reply(Message::Piece(Piece { fetch: *fetch, content }));
            }
            // What it keeps is of no use to anybody then.
            Message::Shutdown => self.forget(),
            _ => {}
        }
    }
}

impl Keep {
    /// The run goes on there; a manager of a later life says the same again, and is told what is kept.
    fn available(&mut self, available: &Available, outbox: &mut Outbox) {
        self.manager = outbox.source();
        self.source = Some(*available);
        match &self.ready {
            Err(why) => self.told.why = Some(why.clone()),
            Ok(_) => self.look_ns = now_ns(),
        }
        outbox.send(self.manager, Message::Kept(self.told.clone()));
        self.turn(outbox);
    }

    fn piece(&mut self, piece: &Piece, outbox: &mut Outbox) {
        if let Some(taking) = &mut self.taking {
            taking.piece(piece, outbox);
        }
        self.over(outbox);
    }

    fn turn(&mut self, outbox: &mut Outbox) {
        if let Some(taking) = &mut self.taking {
            taking.tick(outbox);
        }
        self.over(outbox);
        let (Ok((root, _)), Some(source)) = (&self.ready, &self.source) else { return };
        // One that is with an ARMOR of before is given up, but never in the midst of what is done aside.
        let stale = |taking: &Taking| taking.of() != (source.at, source.attempt);
        if self.taking.as_ref().is_some_and(|taking| stale(taking) && !taking.is_settling()) {
            self.taking = None;
        }
        if self.taking.is_some() {
            return;
        }
        if now_ns() < self.look_ns {
            return self.context.wake_at(self.look_ns);
        }
        let (root, of) = (Root::ByRun(root.clone()), (source.at, source.attempt));
        self.taking = Some(Taking::begin(&self.context, of, root, self.failures > 0, outbox));
    }

    /// If what is being taken is over, the next look is later.
    fn over(&mut self, outbox: &mut Outbox) {
        let Some(taking) = self.taking.take_if(|taking| taking.outcome().is_some()) else { return };
        if let Ok((_, every_ns)) = &self.ready {
            self.look_ns = now_ns() + every_ns;
            self.context.wake_at(self.look_ns);
        }
        let mut tells = self.told.clone();
        match taking.outcome() {
            Some(Ok(taken)) => {
                self.failures = 0;
                let image = Some((taken.beside.sequence, taken.beside.created_ns));
                tells = Kept { image, why: None };
                self.kept(taken);
            }
            Some(Err(why)) if taking.is_shared() => {
                tells = Kept { image: None, why: Some(why.clone()) };
                self.forget();
            }
            Some(Err(why)) if taking.is_listed() => {
                // It may have gone while it was fetched, or its files are just being changed.
                self.failures += 1;
                if self.failures >= FAILURES {
                    tells.why = Some(why.clone());
                }
            }
            // There is none yet.
            _ => {}
        }
        if tells != self.told {
            self.told = tells;
            outbox.send(self.manager, Message::Kept(self.told.clone()));
        }
    }

    /// Nothing is kept any more.
    fn forget(&mut self) {
        self.store = None;
        if let Ok((root, _)) = &self.ready {
            let _ = std::fs::remove_dir_all(root);
        }
    }

    /// From now on this is what is served; of another run nothing stays.
    fn kept(&mut self, taken: &Taken) {
        if let (true, Ok((root, _))) = (taken.fresh, &self.ready) {
            for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
                let own = [taken.store.dir.path(), taken.store.beside()];
                if own.iter().all(|own| **own != entry.path()) {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        }
        self.store = Some(taken.store.clone());
    }
}
