//! Socket addresses as the kernel lays them out, and what it takes to have one again.
//!
//! Invariant: no bytes are believed: what is too short for its family is no address. Called by the
//! preflight.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;

use nix::libc::{AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM};

use crate::image::Listen;

/// A socket address (ip(7), ipv6(7), unix(7)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// Of the Internet.
    Inet(SocketAddr),
    /// A name in the file system.
    Path(PathBuf),
    /// A name in the abstract name space, without the leading NUL.
    Abstract(Vec<u8>),
}

impl Address {
    /// Reads a struct sockaddr; none if it is of another family, or has no name.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let family = i32::from(u16::from_le_bytes(*bytes.first_chunk()?));
        let port = || Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
        match family {
            AF_INET => {
                let host: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some(Self::Inet(SocketAddrV4::new(Ipv4Addr::from(host), port()?).into()))
            }
            AF_INET6 => {
                let flow = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
                let host: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
                let host = Ipv6Addr::from(host);
                Some(Self::Inet(SocketAddrV6::new(host, port()?, flow, scope).into()))
            }
            AF_UNIX => match bytes.get(2..)? {
                [] => None,
                [0, name @ ..] => Some(Self::Abstract(name.to_vec())),
                name => {
                    use std::os::unix::ffi::OsStrExt;
                    let name = name.split(|byte| *byte == 0).next()?;
                    Some(Self::Path(PathBuf::from(std::ffi::OsStr::from_bytes(name))))
                }
            },
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(at) => write!(f, "{at}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// An address with the kind of socket that is to have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Whether it is a stream.
    pub stream: bool,
    /// Where.
    pub address: Address,
}

impl Port {
    /// What a socket needs; none if its address is one that anybody can have.
    pub fn of(listen: &Listen) -> Option<Self> {
        let address = Address::read(&listen.address)?;
        Some(Self { stream: listen.kind == SOCK_STREAM, address })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.address, self.stream) {
            (Address::Inet(_), true) => "TCP port",
            (Address::Inet(_), false) => "UDP port",
            _ => "socket",
        };
        write!(f, "{kind} {}", self.address)
    }
}
