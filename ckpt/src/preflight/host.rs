//! The facts of this machine that a preflight needs.
//!
//! Invariant: changes nothing; a port or a lock that is tried is given back at once. Called by the preflight's
//! callers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use nix::unistd::{SysconfVar, getegid, geteuid, getgroups, sysconf};

use super::{Address, Port, Sizes};
use crate::image::{FileId, Image, Machine, mtime_ns};
use crate::locks::{Conflict, Held};
use crate::undo::Rollback;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFacts {
    /// Nothing.
    Missing,
    /// It cannot be told, by the kernel's word.
    Unknown(String),
    /// This.
    Found {
        /// Which file.
        id: FileId,
        /// Its length in bytes.
        size: u64,
        /// When it was changed, in nanoseconds since the epoch.
        mtime_ns: i64,
    },
}

/// Whether an address can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Yes.
    Free,
    /// Somebody has it.
    Taken,
    /// No, by the kernel's word.
    Refused(String),
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The machine.
    pub machine: Machine,
    /// The user (geteuid(2)).
    pub uid: u32,
    /// The group (getegid(2)).
    pub gid: u32,
    /// Further groups (getgroups(2)).
    pub groups: Vec<u32>,
    /// Whether it may take any user and group: CAP_SETUID and CAP_SETGID (capabilities(7)).
    pub may_be_anyone: bool,
    /// What is at the paths that the image names.
    pub files: BTreeMap<Vec<u8>, FileFacts>,
    /// Whether the addresses that the image names can be had.
    pub ports: BTreeMap<Port, PortState>,
    /// The lengths that undo logs give files back.
    pub undo: Sizes,
    /// Locks of the image that others are in the way of.
    pub locks: Vec<Conflict>,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn here() -> io::Result<Self> {
        let name = nix::sys::utsname::uname()?;
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let value = |key: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(':'));
            let mut found = lines.filter(|(name, _)| name.trim() == key);
            found.next().map_or("", |(_, value)| value.trim()).to_string()
        };
        let mut cpu_features: Vec<String> =
            value("flags").split_whitespace().map(str::to_string).collect();
        cpu_features.sort_unstable();
        let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(crate::PAGE as i64);
        Ok(Self {
            kernel: name.release().to_string_lossy().into_owned(),
            arch: name.machine().to_string_lossy().into_owned(),
            cpu_vendor: value("vendor_id"),
            cpu_model: value("model name"),
            cpu_features,
            page_size: page as u32,
        })
    }
}

impl Host {
    /// Looks at everything that `image` needs. With `rollback`, also at what can be put back.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn look(image: &Image, rollback: Option<&Rollback>) -> io::Result<Self> {
        let sizes = rollback.into_iter().flat_map(Rollback::files);
        let sizes = sizes.filter_map(|rolled| Some((rolled.id, rolled.size?)));
        let paths = super::paths(image).into_iter();
        let mut files: BTreeMap<Vec<u8>, FileFacts> =
            paths.map(|path| (path.to_vec(), facts(path))).collect();
        // The names that are given back lead to what they will lead to.
        let names = rollback.map(Rollback::names).transpose().map_err(io::Error::other)?;
        let names = names.unwrap_or_default();
        for (path, known) in &mut files {
            let name = Path::new(OsStr::from_bytes(path));
            match names.now(name) {
                Some(now) if now != name => {
                    let found = facts(now.as_os_str().as_bytes());
                    if matches!(found, FileFacts::Found { .. }) {
                        *known = found;
                    }
                }
                _ => {}
            }
            if names.is_made_again(name) {
                *known = FileFacts::Found { id: FileId { dev: 0, ino: 0 }, size: 0, mtime_ns: 0 };
            }
        }
        Ok(Self {
            machine: Machine::here()?,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: getgroups()?.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            may_be_anyone: may_be_anyone(),
            files,
            ports: super::ports(image).into_iter().map(|p| (p.clone(), try_port(&p))).collect(),
            undo: sizes.collect(),
            locks: Held::take(image, rollback).err().unwrap_or_default(),
        })
    }

    pub(super) fn file(&self, path: &[u8]) -> &FileFacts {
        self.files.get(path).unwrap_or(&FileFacts::Missing)
    }

    pub(super) fn port(&self, port: &Port) -> &PortState {
        self.ports.get(port).unwrap_or(&PortState::Free)
    }

    pub(super) fn can_be_rolled_back(&self, id: FileId, size: u64) -> bool {
        self.undo.get(&id) == Some(&size)
    }
}

/// Whether CAP_SETGID (6) and CAP_SETUID (7) are effective (proc_pid_status(5), `CapEff`).
fn may_be_anyone() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask >> 6 & 3 == 3
}

fn facts(path: &[u8]) -> FileFacts {
    match fs::metadata(Path::new(OsStr::from_bytes(path))) {
        Ok(facts) => FileFacts::Found {
            id: FileId::of(&facts),
            size: facts.size(),
            mtime_ns: mtime_ns(&facts),
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileFacts::Missing,
            _ => FileFacts::Unknown(error.to_string()),
        },
    }
}

/// Takes the address for a moment. Sockets of the file system are asked instead: the name of one
/// whose owner has died is in nobody's way.
fn try_port(port: &Port) -> PortState {
    let tried = match &port.address {
        Address::Inet(at) if port.stream => TcpListener::bind(at).map(drop),
        Address::Inet(at) => UdpSocket::bind(at).map(drop),
        Address::Path(path) => return state_of(UnixStream::connect(path).map(drop)),
        Address::Abstract(name) => {
            let address = SocketAddr::from_abstract_name(name);
            return state_of(address.and_then(|at| UnixStream::connect_addr(&at)).map(drop));
        }
    };
    match tried {
        Ok(()) => PortState::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => PortState::Taken,
        Err(error) => PortState::Refused(error.to_string()),
    }
}

fn state_of(connected: io::Result<()>) -> PortState {
    match connected {
        Ok(()) => PortState::Taken,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => PortState::Free,
            // Somebody is there who speaks otherwise (EPROTOTYPE: datagrams).
            _ if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => PortState::Taken,
            _ => PortState::Refused(error.to_string()),
        },
    }
}
