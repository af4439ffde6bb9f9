//! The VOTER of an application whose replicas stand apart (paper 4.2.4, 4.6, 6.1): gathers their result
//! files, has them compared, and puts what has won where the specification says.
//!
//! ```text
//!   Available ─► Fetch(Digest) ─► Piece ─┬─ exact: digests are the ballots ──┐
//!                                        └─ else Fetch(File), Piece, … ──────┴─► Ballot ─► Voter block
//!   Voted ─► bytes of one that agrees: Fetch(File), Piece, … ─► written ─► Voted, to the manager
//! ```
//!
//! Invariant: a result that has not won is never where the specification says; one that has is there as a
//! whole (written beside, renamed) before the manager hears of it. Nothing is kept that a next life could not
//! fetch again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chameleon_policy::spec::Specification;
use chameleon_policy::vote::scheme::Scheme;
use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::app::{Available, Content, Fetch, File, Piece, What};
use chameleon_proto::message::env::{Ballot, Note, Step, Voted};
use chameleon_proto::message::{Change, Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};
use ring::digest::{SHA256, digest};

use crate::common::user;
use crate::context::{Context, now_ns};
use crate::execution::unix_ns;
use layout::{Cell, Layout};

mod layout;
mod parameters;
mod vote;

pub(crate) use layout::output;
pub use parameters::{Parameters, ParametersError};
pub(crate) use vote::{EXACT, TOLERANCE, exact, tolerance};

/// Whether the results of an application can be voted on.
///
/// # Errors
/// In words: they cannot.
pub(crate) fn votable(specification: &Specification) -> Result<(), String> {
    Layout::new(specification).map(drop)
}

/// The number of the block that gathers.
pub(crate) const GATHER: BlockId = BlockId(310);

/// How long a piece is waited for before it is asked for again.
const AGAIN_NS: u64 = 500_000_000;

/// One part of one replica.
#[derive(Debug)]
struct Source {
    available: Available,
    status: i32,
    files: Vec<File>,
    /// Bytes of its files, as far as they are here.
    bytes: Vec<Vec<u8>>,
    /// What is being fetched.
    fetching: Option<What>,
}

struct Gather {
    context: Context,
    manager: ArmorId,
    ready: Result<(Parameters, Layout, Scheme), String>,
    sources: BTreeMap<(u8, u32), Source>,
    /// The decision, and the replicas that agree with it, of which the first delivers.
    won: Option<(Voted, Vec<u8>)>,
    told: Option<Voted>,
}

pub(crate) fn build(context: &Context) -> Box<dyn Block> {
    let read = || {
        let parameters =
            Parameters::from_toml(context.parameters()).map_err(|error| error.to_string())?;
        let specification =
            Specification::parse(&parameters.specification).map_err(|error| error.to_string())?;
        let layout = Layout::new(&specification)?;
        // What it writes is its application's.
        specification.app.user.as_deref().map(user::turn_into).transpose()?;
        Ok((parameters, layout, specification.needs.voter))
    };
    Box::new(Gather {
        context: context.clone(),
        manager: context.manager(),
        ready: read(),
        sources: BTreeMap::new(),
        won: None,
        told: None,
    })
}

impl Block for Gather {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match message {
            Message::Attached => {
                for kind in [Kind::Welcome, Kind::Available, Kind::Piece, Kind::Voted, Kind::Tick] {
                    outbox.subscribe(kind);
                }
                if let Ok((_, _, Scheme::Text(_) | Scheme::Doubles(_))) = self.ready {
                    outbox.compose(Change::Replace { old: EXACT, new: TOLERANCE });
                }
            }
            Message::Welcome(_) => {
                outbox.send(self.manager, Message::Ready);
                if let Err(why) = &self.ready {
                    self.complain(why.clone(), outbox);
                }
            }
            Message::Available(available) => self.available(available, outbox),
            Message::Piece(piece) => self.piece(piece, outbox),
            Message::Voted(voted) if outbox.source() == outbox.own() => self.decided(voted, outbox),
            Message::Tick { .. } => self.again(outbox),
            _ => {}
        }
    }
}

impl Gather {
    /// A result can be fetched; from a manager of a later life the same comes again.
    fn available(&mut self, available: &Available, outbox: &mut Outbox) {
        self.manager = outbox.source();
        if let Some(told) = &self.told {
            return outbox.send(self.manager, Message::Voted(told.clone()));
        }
        let Ok((parameters, ..)) = &self.ready else { return };
        if available.round != parameters.round {
            return;
        }
        let at = (available.replica, available.part);
        let known =
            self.sources.get(&at).map(|source| (source.available.at, source.available.attempt));
        if known == Some((available.at, available.attempt)) {
            return;
        }
        let (available, files) = (*available, Vec::new());
        let source = Source { available, status: 0, files, bytes: Vec::new(), fetching: None };
        self.sources.insert(at, source);
        self.fetch(at, What::Digest, outbox);
    }

    fn fetch(&mut self, at: (u8, u32), what: What, outbox: &mut Outbox) {
        let Some(source) = self.sources.get_mut(&at) else { return };
        source.fetching = Some(what);
        let fetch = Fetch { attempt: source.available.attempt, what };
        outbox.send(source.available.at, Message::Fetch(fetch));
        self.context.wake_at(now_ns() + AGAIN_NS);
    }

    /// What was asked for and did not come is asked for again: its ARMOR may have another life.
    fn again(&mut self, outbox: &mut Outbox) {
        let open: Vec<_> = self
            .sources
            .iter()
            .filter_map(|(at, source)| source.fetching.map(|what| (*at, what)))
            .collect();
        for (at, what) in open {
            self.fetch(at, what, outbox);
        }
    }

    fn piece(&mut self, piece: &Piece, outbox: &mut Outbox) {
        let from = outbox.source();
        let wanted = |source: &Source| {
            source.available.at.same_armor(from)
                && source.available.attempt == piece.fetch.attempt
                && source.fetching == Some(piece.fetch.what)
        };
        let Some((&at, source)) = self.sources.iter_mut().find(|(_, source)| wanted(source)) else {
            return;
        };
        source.fetching = None;
        let exact = matches!(self.ready, Ok((_, _, Scheme::Exact)));
        match (&piece.content, piece.fetch.what) {
            (Content::Digest(status, files), What::Digest) => {
                source.status = *status;
                source.files.clone_from(files);
                source.bytes = vec![Vec::new(); files.len()];
                if exact { self.cast(at, outbox) } else { self.more(at, outbox) }
            }
            (Content::Bytes(bytes), What::File(file, _)) => {
                if let Some(have) = source.bytes.get_mut(file as usize) {
                    have.extend(bytes);
                }
                self.more(at, outbox);
            }
            (Content::Refused(why), _) => {
                let why = format!("replica {} part {}: {why}", at.0, at.1);
                self.complain(why, outbox);
                self.deliver_by_another(at.0, outbox);
            }
            _ => {}
        }
    }

    /// Fetches what is missing of a source's files; when nothing is, it votes, or is delivered.
    fn more(&mut self, at: (u8, u32), outbox: &mut Outbox) {
        let Some(source) = self.sources.get(&at) else { return };
        let short = |(file, known): (usize, &File)| {
            let have = source.bytes[file].len() as u64;
            (known.length.unwrap_or(0) > have).then_some(What::File(file as u32, have))
        };
        if let Some(what) = source.files.iter().enumerate().find_map(short) {
            return self.fetch(at, what, outbox);
        }
        if self.won.is_some() { self.deliver(outbox) } else { self.cast(at, outbox) }
    }

    /// A source's ballots.
    fn cast(&mut self, at: (u8, u32), outbox: &mut Outbox) {
        let Ok((parameters, layout, scheme)) = &self.ready else { return };
        let Some(source) = self.sources.get(&at) else { return };
        let ballot = |cell, bytes| {
            Message::Ballot(Ballot {
                round: parameters.round,
                replica: at.0,
                part: layout.index(cell),
                bytes,
                took_ns: source.available.took_ns,
            })
        };
        outbox.post(ballot(Cell::Head(at.1), layout::head(source.status, &source.files)));
        for (file, known) in source.files.iter().enumerate() {
            let bytes = match scheme {
                Scheme::Exact => known.digest.clone(),
                _ => source.bytes[file].clone(),
            };
            outbox.post(ballot(Cell::File(at.1, file as u32), bytes));
        }
    }

    /// The Voter block has decided.
    fn decided(&mut self, voted: &Voted, outbox: &mut Outbox) {
        let Ok((parameters, ..)) = &self.ready else { return };
        let parts: Vec<u32> = self.sources.keys().map(|(_, part)| *part).collect();
        let parts = parts.iter().max().map_or(0, |most| most + 1);
        let complete = |replica: &u8| {
            (0..parts).all(|part| self.sources.contains_key(&(*replica, part)))
                && !voted.differ.contains(replica)
                && !voted.late.contains(replica)
        };
        if voted.round != parameters.round || self.told.is_some() {
            return;
        }
        if voted.result.is_none() {
            return self.tell(voted.clone(), outbox);
        }
        let mut agree: Vec<u8> = self.sources.keys().map(|(replica, _)| *replica).collect();
        agree.dedup();
        agree.retain(complete);
        self.won = Some((voted.clone(), agree));
        self.deliver(outbox);
    }

    /// Puts the result where it belongs, once all of it is here.
    fn deliver(&mut self, outbox: &mut Outbox) {
        let Some((voted, agree)) = &self.won else { return };
        let Some(&replica) = agree.first() else {
            let voted = Voted { result: None, ..voted.clone() };
            self.complain("nobody who agrees can deliver the result".to_owned(), outbox);
            return self.tell(voted, outbox);
        };
        let parts: Vec<(u8, u32)> =
            self.sources.keys().filter(|(of, _)| *of == replica).copied().collect();
        for at in &parts {
            let source = &self.sources[at];
            let short = source.files.iter().zip(&source.bytes);
            if short.into_iter().any(|(file, bytes)| file.length.unwrap_or(0) > bytes.len() as u64)
            {
                if source.fetching.is_none() {
                    self.more(*at, outbox);
                }
                return;
            }
        }
        let whole = parts.iter().all(|at| {
            let source = &self.sources[at];
            source.files.iter().zip(&source.bytes).all(|(file, bytes)| {
                file.length.is_none() || digest(&SHA256, bytes).as_ref() == file.digest
            })
        });
        if !whole {
            self.complain(
                format!("what replica {replica} delivers is not what it voted with"),
                outbox,
            );
            return self.deliver_by_another(replica, outbox);
        }
        let voted = voted.clone();
        match self.write(replica) {
            Ok(status) => {
                let result = Some(vec![status.to_string().into_bytes()]);
                self.tell(Voted { result, ..voted }, outbox);
            }
            Err(error) => {
                self.complain(format!("the result cannot be written: {error}"), outbox);
                self.tell(
                    Voted { result: None, differ: Vec::new(), late: Vec::new(), ..voted },
                    outbox,
                );
            }
        }
    }

    fn deliver_by_another(&mut self, replica: u8, outbox: &mut Outbox) {
        if let Some((_, agree)) = &mut self.won {
            agree.retain(|other| *other != replica);
            self.deliver(outbox);
        }
    }

    /// Writes the files of a replica; the status of the application.
    fn write(&self, replica: u8) -> io::Result<i32> {
        let Ok((parameters, layout, _)) = &self.ready else { return Ok(125) };
        let directory = Path::new(&parameters.directory);
        for (name, cells) in layout.targets() {
            let path = directory.join(name);
            let mut there = Vec::new();
            for cell in cells {
                let Cell::File(part, file) = cell else { continue };
                let Some(source) = self.sources.get(&(replica, part)) else { continue };
                let (known, bytes) = (&source.files[file as usize], &source.bytes[file as usize]);
                there.extend(known.length.map(|_| (known.mode, bytes.as_slice())));
            }
            put(&path, &there)?;
        }
        let own = self.sources.iter().filter(|((of, _), _)| *of == replica);
        // The first part that failed, as a shell's `&&` would have it.
        Ok(own.map(|(_, source)| source.status).find(|status| *status != 0).unwrap_or(0))
    }

    fn tell(&mut self, voted: Voted, outbox: &mut Outbox) {
        self.sources.clear();
        outbox.send(self.manager, Message::Voted(voted.clone()));
        self.told = Some(voted);
    }

    fn complain(&self, text: String, outbox: &mut Outbox) {
        let node = self.context.node();
        let note = Note { incident: 0, at_ns: unix_ns(), node, app: None, step: Step::Info, text };
        outbox.send(self.manager, Message::Note(note));
    }
}

/// Puts a file there as a whole, or takes away what natively would not be there.
fn put(path: &Path, pieces: &[(u32, &[u8])]) -> io::Result<()> {
    let Some((mode, _)) = pieces.first() else {
        return match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".chameleon-new");
    let new = PathBuf::from(new);
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    for (_, bytes) in pieces {
        file.write_all(bytes)?;
    }
    file.set_permissions(fs::Permissions::from_mode(*mode))?;
    file.sync_data()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests;
