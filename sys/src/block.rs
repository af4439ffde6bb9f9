//! Building blocks from shared libraries: the C interface of `supervisor/include/chameleon_block.h`.
//!
//! Invariant: what a library is given lives as long as the call; what it answers is checked for the
//! version and for null before it is used. A library stays loaded as long as the process: its code may be on the way
//! of pointers that it gave out. Whoever loads one runs its code, so the file and its directory must be out of others'
//! reach ([`Library::open`] looks). Used by `supervisor::armor`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::slice;

/// The version of the interface (`CHAMELEON_BLOCK_ABI`).
pub const ABI: u32 = 1;

/// The name of an ARMOR, as the interface has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Registered type.
    pub kind: u32,
    /// Which of its type.
    pub number: u32,
    /// How often it was started before.
    pub incarnation: u32,
}

/// What a block may call while it handles a message. Each returns whether it could be done.
pub trait Calls {
    /// To another ARMOR: a message as JSON.
    fn send(&mut self, to: Name, json: &[u8]) -> bool;
    /// To the blocks of this ARMOR.
    fn post(&mut self, json: &[u8]) -> bool;
    /// To the sender of the message at hand.
    fn reply(&mut self, json: &[u8]) -> bool;
    /// Messages of this kind come from now on.
    fn subscribe(&mut self, kind: u16) -> bool;
    /// Who sent the message at hand.
    fn source(&self) -> Name;
    /// Whose block it is.
    fn own(&self) -> Name;
}

/// Why a library is no block.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum LibraryError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} belongs to user {owner} and {mode:o} lets others write: its code would run with this ARMOR's rights"
    )]
    Exposed { path: PathBuf, owner: u32, mode: u32 },
    #[error("{path}: {source}")]
    Load { path: PathBuf, source: libloading::Error },
    #[error("{path}: chameleon_block_entry() gave nothing, or a block with a missing function")]
    Empty { path: PathBuf },
    #[error("{path} is for version {found} of the interface of blocks; this is version {ABI}")]
    Version { path: PathBuf, found: u32 },
}

/// The outbox of the header: what `outbox` points to during a call.
struct Outbox<'a> {
    calls: &'a mut dyn Calls,
}

type Text = (*const c_char, usize);

#[repr(C)]
struct CallTable {
    abi: u32,
    send: unsafe extern "C" fn(*mut Outbox<'_>, *const Name, *const c_char, usize) -> c_int,
    post: unsafe extern "C" fn(*mut Outbox<'_>, *const c_char, usize) -> c_int,
    reply: unsafe extern "C" fn(*mut Outbox<'_>, *const c_char, usize) -> c_int,
    subscribe: unsafe extern "C" fn(*mut Outbox<'_>, u16) -> c_int,
    source: unsafe extern "C" fn(*const Outbox<'_>) -> Name,
    own: unsafe extern "C" fn(*const Outbox<'_>) -> Name,
}

type Make = unsafe extern "C" fn(*const c_char, usize) -> *mut c_void;
type Process =
    unsafe extern "C" fn(*mut c_void, u16, *const c_char, usize, *const CallTable, *mut Outbox<'_>);
type Drop_ = unsafe extern "C" fn(*mut c_void);

#[repr(C)]
struct BlockTable {
    abi: u32,
    name: *const c_char,
    make: Option<Make>,
    process_message: Option<Process>,
    drop: Option<Drop_>,
}

static CALLS: CallTable = CallTable { abi: ABI, send, post, reply, subscribe, source, own };

/// A loaded library.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    name: &'static CStr,
    make: Make,
    process: Process,
    drop: Drop_,
}

/// A block that a library made.
#[derive(Debug)]
pub struct Block {
    library: Library,
    state: NonNull<c_void>,
}

impl Library {
    /// Loads the library of this file for as long as the process lives.
    ///
    /// # Errors
    /// [`LibraryError`]: also if the file belongs to neither root nor this user, or others may write it.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        let path = path.to_owned();
        let file = match std::fs::metadata(&path) {
            Ok(file) => file,
            Err(source) => return Err(LibraryError::File { path, source }),
        };
        let own = nix::unistd::geteuid().as_raw();
        if (file.uid() != 0 && file.uid() != own) || file.mode() & 0o022 != 0 {
            return Err(LibraryError::Exposed {
                path,
                owner: file.uid(),
                mode: file.mode() & 0o7777,
            });
        }
        // SAFETY: its initialisers run with this process's rights; the file is root's or this user's own
        // and nobody else can write it, so they may as well run a program of it.
        let library = match unsafe { libloading::Library::new(&path) } {
            Ok(library) => library,
            Err(source) => return Err(LibraryError::Load { path, source }),
        };
        // SAFETY: the header gives this name this type.
        let entry = unsafe {
            library.get::<unsafe extern "C" fn() -> *const BlockTable>(b"chameleon_block_entry\0")
        };
        let entry = match entry {
            Ok(entry) => *entry,
            Err(source) => return Err(LibraryError::Load { path, source }),
        };
        std::mem::forget(library);
        // SAFETY: the function of the library's author, called as the header says; the library stays loaded.
        let table = unsafe { entry() };
        // SAFETY: null, or what lives as long as the process (the header asks for it).
        let Some(table) = (unsafe { table.as_ref() }) else {
            return Err(LibraryError::Empty { path });
        };
        if table.abi != ABI {
            return Err(LibraryError::Version { path, found: table.abi });
        }
        if table.name.is_null() {
            return Err(LibraryError::Empty { path });
        }
        // SAFETY: terminated, and there as long as the process, as the header asks.
        let name = unsafe { CStr::from_ptr(table.name) };
        match (table.make, table.process_message, table.drop) {
            (Some(make), Some(process), Some(drop)) => Ok(Self { name, make, process, drop }),
            _ => Err(LibraryError::Empty { path }),
        }
    }

    /// Its name, for people.
    pub const fn name(self) -> &'static CStr {
        self.name
    }

    /// A block for an ARMOR with these parameters; nothing if the library will not make one of them.
    pub fn make(self, parameters: &str) -> Option<Block> {
        // SAFETY: readable for that length during the call.
        let state = unsafe { (self.make)(parameters.as_ptr().cast(), parameters.len()) };
        NonNull::new(state).map(|state| Block { library: self, state })
    }
}

impl Block {
    /// Gives it a message.
    pub fn process_message(&mut self, kind: u16, json: &[u8], calls: &mut dyn Calls) {
        let mut outbox = Outbox { calls };
        let (text, length) = (json.as_ptr().cast(), json.len());
        // SAFETY: the state is what `make` gave and `drop` has not had; all pointers are good during
        // the call, and `&mut self` lets none happen within another.
        unsafe {
            (self.library.process)(
                self.state.as_ptr(),
                kind,
                text,
                length,
                &raw const CALLS,
                &raw mut outbox,
            );
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the last use of what `make` gave.
        unsafe { (self.library.drop)(self.state.as_ptr()) }
    }
}

/// The bytes of a text that a block gave; nothing if it gave no pointer.
///
/// # Safety
/// Null, or readable for that length during the call.
unsafe fn bytes<'a>((text, length): Text) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; a length beyond isize::MAX is none.
    (!text.is_null() && isize::try_from(length).is_ok())
        .then(|| unsafe { slice::from_raw_parts(text.cast(), length) })
}

const fn answer(done: bool) -> c_int {
    if done { 0 } else { -1 }
}

unsafe extern "C" fn send(
    outbox: *mut Outbox<'_>,
    to: *const Name,
    text: *const c_char,
    length: usize,
) -> c_int {
    // SAFETY: the header lets a block call this with the outbox of the call that is being made, and with
    // pointers that are readable during it.
    let (outbox, to, text) = unsafe { (outbox.as_mut(), to.as_ref(), bytes((text, length))) };
    match (outbox, to, text) {
        (Some(outbox), Some(to), Some(text)) => answer(outbox.calls.send(*to, text)),
        _ => -1,
    }
}

unsafe extern "C" fn post(outbox: *mut Outbox<'_>, text: *const c_char, length: usize) -> c_int {
    // SAFETY: as in `send`.
    match unsafe { (outbox.as_mut(), bytes((text, length))) } {
        (Some(outbox), Some(text)) => answer(outbox.calls.post(text)),
        _ => -1,
    }
}

unsafe extern "C" fn reply(outbox: *mut Outbox<'_>, text: *const c_char, length: usize) -> c_int {
    // SAFETY: as in `send`.
    match unsafe { (outbox.as_mut(), bytes((text, length))) } {
        (Some(outbox), Some(text)) => answer(outbox.calls.reply(text)),
        _ => -1,
    }
}

unsafe extern "C" fn subscribe(outbox: *mut Outbox<'_>, kind: u16) -> c_int {
    // SAFETY: as in `send`.
    match unsafe { outbox.as_mut() } {
        Some(outbox) => answer(outbox.calls.subscribe(kind)),
        None => -1,
    }
}

const NOBODY: Name = Name { kind: 0, number: 0, incarnation: 0 };

unsafe extern "C" fn source(outbox: *const Outbox<'_>) -> Name {
    // SAFETY: as in `send`.
    unsafe { outbox.as_ref() }.map_or(NOBODY, |outbox| outbox.calls.source())
}

unsafe extern "C" fn own(outbox: *const Outbox<'_>) -> Name {
    // SAFETY: as in `send`.
    unsafe { outbox.as_ref() }.map_or(NOBODY, |outbox| outbox.calls.own())
}
