//! Taking the newest image that another ARMOR has.
//!
//! Invariant: one piece is asked for at a time, again when none comes; what waits for the disk or reads a whole image
//! is done aside. What is here already is not asked for. Used by the CHECKPOINT ARMOR and by an EXECUTION ARMOR
//! that goes on from what is kept.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::Message;
use chameleon_proto::message::app::{Beside, Content, Fetch, Listed, Part, Piece, What};
use chameleon_supervisor::armor::Outbox;

use super::store::{Store, name};
use crate::common::aside::Aside;
use crate::context::{Context, now_ns};

/// How long a piece is waited for before it is asked for again.
const AGAIN_NS: u64 = 500_000_000;

const PARTS: [Part; 3] = [Part::Pages, Part::Index, Part::Manifest];

/// Where images go.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// Into this directory.
    Here(PathBuf),
    /// Into one below this, by their run.
    ByRun(PathBuf),
}

/// What was taken, or was there already.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub store: Store,
    pub beside: Beside,
    /// It was not there before.
    pub fresh: bool,
}

/// Images of which all bytes were found good in this life, by the checksums of their manifests.
#[derive(Debug, Default)]
struct Good(HashSet<u64>);

/// What comes of something that is done aside.
type Settled = Result<Vec<u64>, String>;

enum Step {
    List,
    Image { listed: Listed, part: usize, file: File, have: u64 },
    SettleImage(Aside<Settled>),
    Beside,
    File { beside: Beside, number: usize, file: File, have: u64 },
    Keep(Beside, Aside<Settled>),
    Over(Result<Taken, String>),
}

/// See the head of this file.
pub(crate) struct Taking {
    context: Context,
    from: ArmorId,
    attempt: u32,
    root: Root,
    store: Store,
    list: Vec<Listed>,
    step: Step,
    asked_ns: u64,
    since_ns: u64,
    /// Files beside the image are taken whole: those that were there were others.
    afresh: bool,
    /// Nothing that is here already can be gone on from either.
    shared: bool,
}

impl Taking {
    /// Asks for the list.
    pub fn begin(
        context: &Context,
        (from, attempt): (ArmorId, u32),
        root: Root,
        afresh: bool,
        outbox: &mut Outbox,
    ) -> Self {
        let (Root::Here(path) | Root::ByRun(path)) = &root;
        let store = Store::at(path);
        let context = context.clone();
        let (list, step) = (Vec::new(), Step::List);
        let since_ns = now_ns();
        let (asked_ns, shared) = (0, false);
        let mut taking = Self {
            context,
            from,
            attempt,
            root,
            store,
            list,
            step,
            asked_ns,
            since_ns,
            afresh,
            shared,
        };
        taking.ask(outbox);
        taking
    }

    /// The outcome, once it is over.
    pub fn outcome(&self) -> Option<&Result<Taken, String>> {
        match &self.step {
            Step::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// From whom it is, and for which attempt.
    pub fn of(&self) -> (ArmorId, u32) {
        (self.from, self.attempt)
    }

    /// Whether something is done aside.
    pub fn is_settling(&self) -> bool {
        matches!(self.step, Step::SettleImage(_) | Step::Keep(..))
    }

    /// Whether nothing can be gone on from, also nothing of before.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether the list has come.
    pub fn is_listed(&self) -> bool {
        !self.list.is_empty()
    }

    /// When something came last.
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn wants(&self) -> Option<What> {
        let newest = self.list.last().map_or(0, |listed| listed.sequence);
        Some(match &self.step {
            Step::List => What::Images,
            Step::Image { listed, part, have, .. } => {
                What::Image(listed.sequence, PARTS[*part], *have)
            }
            Step::Beside => What::Beside(newest),
            Step::File { number, have, .. } => What::BesideFile(newest, *number as u32, *have),
            Step::SettleImage(_) | Step::Keep(..) | Step::Over(_) => return None,
        })
    }

    fn ask(&mut self, outbox: &mut Outbox) {
        let Some(what) = self.wants() else { return };
        self.asked_ns = now_ns();
        outbox.send(self.from, Message::Fetch(Fetch { attempt: self.attempt, what }));
        self.context.wake_at(self.asked_ns + AGAIN_NS);
    }

    /// A piece came; it may be another's.
    pub fn piece(&mut self, piece: &Piece, outbox: &mut Outbox) {
        if outbox.source() != self.from
            || self.attempt != piece.fetch.attempt
            || self.wants() != Some(piece.fetch.what)
        {
            return;
        }
        self.since_ns = now_ns();
        let step = std::mem::replace(&mut self.step, Step::List);
        self.step = self.taken(step, &piece.content).unwrap_or_else(|why| Step::Over(Err(why)));
        self.ask(outbox);
    }

    /// Time has passed, or something that was done aside is done.
    pub fn tick(&mut self, outbox: &mut Outbox) {
        let settled = match &self.step {
            Step::SettleImage(aside) | Step::Keep(_, aside) => aside.done(),
            _ => {
                match now_ns().saturating_sub(self.asked_ns) >= AGAIN_NS {
                    true => self.ask(outbox),
                    false => self.context.wake_at(self.asked_ns + AGAIN_NS),
                }
                return;
            }
        };
        let Some(settled) = settled else { return };
        self.since_ns = now_ns();
        let step = std::mem::replace(&mut self.step, Step::List);
        self.step = match (settled, step) {
            (Err(why), _) => Step::Over(Err(why)),
            (Ok(good), step) => {
                self.context.shared::<Good>().borrow_mut().0.extend(good);
                match step {
                    Step::Keep(beside, _) => self.over(beside, true),
                    _ => self.next_image().unwrap_or_else(|why| Step::Over(Err(why))),
                }
            }
        };
        self.ask(outbox);
    }

    fn taken(&mut self, step: Step, content: &Content) -> Result<Step, String> {
        let disk = |e: io::Error| format!("it cannot be kept: {e}");
        match (step, content) {
            (_, Content::Refused(why)) => Err(why.clone()),
            (_, Content::Shared(why)) => {
                self.shared = true;
                Err(why.clone())
            }
            (Step::List, Content::Images(list)) => {
                let newest = list.last().ok_or("there is no image yet")?;
                if let Root::ByRun(root) = &self.root {
                    let run: String = newest.run.iter().map(|byte| format!("{byte:02x}")).collect();
                    self.store = Store::at(&root.join(run));
                }
                self.store.make().map_err(disk)?;
                self.list.clone_from(list);
                if let Some(kept) = self.store.kept()
                    && (kept.sequence, kept.sum) == (newest.sequence, newest.sum)
                {
                    return Ok(self.over(kept, false));
                }
                self.next_image()
            }
            (Step::Image { listed, part, mut file, have }, Content::Bytes(bytes)) => {
                let have = have + bytes.len() as u64;
                if bytes.is_empty() || have > listed.lengths[part] {
                    return Err(format!("image {} is not as long as it was", listed.sequence));
                }
                file.write_all(bytes).map_err(disk)?;
                if have < listed.lengths[part] {
                    return Ok(Step::Image { listed, part, file, have });
                }
                self.part(listed, part + 1)
            }
            (Step::Beside, Content::Beside(beside)) => self.file(beside.clone(), 0),
            (Step::File { beside, number, mut file, have }, Content::Bytes(bytes)) => {
                if bytes.is_empty() {
                    return Err("a file that goes along has become shorter".to_owned());
                }
                file.write_all(bytes).map_err(disk)?;
                let have = have + bytes.len() as u64;
                if beside.files[number].file.length.is_some_and(|length| have < length) {
                    return Ok(Step::File { beside, number, file, have });
                }
                self.file(beside, number + 1)
            }
            _ => Err("what was fetched is not what was asked for".to_owned()),
        }
    }

    /// The next image that is not here, or what is beside the newest.
    fn next_image(&mut self) -> Result<Step, String> {
        let missing = self.list.iter().find(|listed| !self.store.has(listed)).cloned();
        match missing {
            None => Ok(Step::Beside),
            Some(listed) => {
                let new = self.store.dir.temporary(listed.sequence);
                let _ = fs::remove_dir_all(&new);
                fs::create_dir_all(&new).map_err(|e| format!("{}: {e}", new.display()))?;
                self.part(listed, 0)
            }
        }
    }

    fn part(&self, listed: Listed, part: usize) -> Result<Step, String> {
        let lost = |e: io::Error| format!("image {} cannot be kept: {e}", listed.sequence);
        if let Some(one) = PARTS.get(part) {
            let path = self.store.dir.temporary(listed.sequence).join(name(*one));
            let file = File::create(path).map_err(lost)?;
            if listed.lengths[part] == 0 {
                return self.part(listed, part + 1);
            }
            return Ok(Step::Image { listed, part, file, have: 0 });
        }
        let store = self.store.clone();
        let work = move || {
            store.complete(&listed).map_err(|e| format!("image {}: {e}", listed.sequence))?;
            store.verify(listed.sequence)?;
            Ok(vec![listed.sum])
        };
        Aside::begin(&self.context, "settle", work).map(Step::SettleImage)
    }

    /// The next of the files that go along, or the end of it.
    fn file(&self, beside: Beside, number: usize) -> Result<Step, String> {
        let newest = self.list.last().ok_or("there is no image")?;
        if (beside.sequence, beside.sum) != (newest.sequence, newest.sum) {
            return Err("there is another image by now".to_owned());
        }
        if let Some(along) = beside.files.get(number) {
            let lost = |e: io::Error| format!("a file beside the image cannot be kept: {e}");
            let have = self.store.begin(&beside, number, self.afresh).map_err(lost)?;
            if along.file.length.is_none_or(|length| length <= have) {
                return self.file(beside, number + 1);
            }
            let path = self.store.file(beside.sequence, number);
            let file = File::options().append(true).open(path).map_err(lost)?;
            return Ok(Step::File { beside, number, file, have });
        }
        let (store, record) = (self.store.clone(), beside.clone());
        let good = self.context.shared::<Good>();
        let open: Vec<Listed> =
            self.list.iter().filter(|one| !good.borrow().0.contains(&one.sum)).cloned().collect();
        let work = move || {
            // Of an earlier life it is not known how far it came.
            open.iter().try_for_each(|listed| store.verify(listed.sequence))?;
            store.keep(&record)?;
            Ok(open.iter().map(|listed| listed.sum).collect())
        };
        Aside::begin(&self.context, "settle", work).map(|aside| Step::Keep(beside, aside))
    }

    /// It is kept: what is no longer needed goes.
    fn over(&self, beside: Beside, fresh: bool) -> Step {
        let chain: Vec<u64> = self.list.iter().map(|listed| listed.sequence).collect();
        if fresh {
            self.store.only(beside.sequence, &chain);
        }
        Step::Over(Ok(Taken { store: self.store.clone(), beside, fresh }))
    }
}
