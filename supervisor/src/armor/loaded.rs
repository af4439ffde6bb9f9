//! Blocks of shared libraries, beside those that are registered (paper 7.4; `supervisor/include/chameleon_block.h`).
//!
//! Invariant: a loaded block is a block: heard and obeyed by the same ways, and no more is open to it. What it says
//! that is no message, or is of a kind that only passes inside an ARMOR, is not said. Used by the block factory.

use std::fmt;
use std::path::PathBuf;

use chameleon_proto::ids::{ArmorId, ArmorType, BlockId, Incarnation};
use chameleon_proto::message::{Kind, Message};
use chameleon_sys::block::{self as library, Calls, Library, LibraryError, Name};

use super::{Block, Outbox};

/// The first number of a block that is loaded.
const FIRST: u16 = 10_000;

/// Whether a block of this number comes from a shared library.
pub const fn is_loaded(id: BlockId) -> bool {
    id.0 >= FIRST
}

/// Where the libraries are, and what their blocks are made from.
#[derive(Clone, Debug)]
pub struct Loader {
    directory: PathBuf,
    parameters: String,
}

/// Why a block is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The library will not do.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// It made none.
    #[error("'{0}' makes no block of this ARMOR's parameters")]
    Unwilling(String),
}

impl Loader {
    /// Of the libraries `NUMBER.so` in a directory, for an ARMOR with these parameters.
    pub const fn new(directory: PathBuf, parameters: String) -> Self {
        Self { directory, parameters }
    }

    /// Makes a block of this number.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) fn load(&self, id: BlockId) -> Result<Box<dyn Block>, LoadError> {
        let library = Library::open(&self.directory.join(format!("{}.so", id.0)))?;
        let block = library.make(&self.parameters);
        let name = || LoadError::Unwilling(library.name().to_string_lossy().into_owned());
        block.map(|block| Box::new(Loaded(block)) as Box<dyn Block>).ok_or_else(name)
    }
}

struct Loaded(library::Block);

impl Block for Loaded {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        // A message with something in it that JSON has no words for would be one that nobody can give it.
        if let Ok(json) = serde_json::to_vec(message) {
            self.0.process_message(message.kind().number(), &json, &mut Said(outbox));
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An outbox as a library has it.
struct Said<'a>(&'a mut Outbox);

impl Said<'_> {
    fn letter(&mut self, to: ArmorId, json: &[u8]) -> bool {
        match serde_json::from_slice::<Message>(json) {
            Ok(message) if message.kind().may_travel() => {
                self.0.send(to, message);
                true
            }
            _ => false,
        }
    }
}

impl Calls for Said<'_> {
    fn send(&mut self, to: Name, json: &[u8]) -> bool {
        armor(to).is_some_and(|to| self.letter(to, json))
    }

    fn post(&mut self, json: &[u8]) -> bool {
        self.letter(self.0.own(), json)
    }

    fn reply(&mut self, json: &[u8]) -> bool {
        self.letter(self.0.source(), json)
    }

    fn subscribe(&mut self, kind: u16) -> bool {
        Kind::from_number(kind).is_some_and(|kind| {
            self.0.subscribe(kind);
            true
        })
    }

    fn source(&self) -> Name {
        name(self.0.source())
    }

    fn own(&self) -> Name {
        name(self.0.own())
    }
}

fn name(armor: ArmorId) -> Name {
    let ArmorId { kind, number, incarnation } = armor;
    Name { kind: u32::from(kind.0), number, incarnation: incarnation.0 }
}

fn armor(name: Name) -> Option<ArmorId> {
    let kind = ArmorType(u16::try_from(name.kind).ok()?);
    Some(ArmorId { kind, number: name.number, incarnation: Incarnation(name.incarnation) })
}
