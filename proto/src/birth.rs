//! What a daemon gives to an ARMOR that it starts: the ARMOR reads it from its standard input.
//!
//! Invariant: the secret in it is in no place where others can read it, as they can the arguments and,
//! if they are children, the environment. A standard input that is no birth is refused. Written
//! by `netd`, read by `link` for the ARMOR.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::ids::{ArmorId, NodeId};

/// First bytes, so that what is no birth is told apart.
pub const MAGIC: [u8; 8] = *b"CHMBIRTH";

/// The longest encoding, in bytes: parameters are part of a message.
pub const LIMIT: usize = 2 * codec::LIMIT;

/// All that an ARMOR starts with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Its name.
    pub armor: ArmorId,
    /// Who had it installed.
    pub manager: ArmorId,
    /// The node that it is on.
    pub node: NodeId,
    /// The daemon's socket.
    pub socket: String,
    /// The secret by which the daemon knows it.
    pub cookie: Vec<u8>,
    /// What it starts with: TOML that its type understands.
    pub parameters: String,
    /// The soft limit of descriptors (getrlimit(2), RLIMIT_NOFILE) that the daemon was started with and has raised
    /// for itself: the ARMOR takes it back, as programs that it starts inherit it.
    pub descriptors: Option<u64>,
}

/// Why bytes are no birth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BirthError {
    /// The first bytes are others.
    #[error("the standard input is not what a daemon gives to an ARMOR that it starts")]
    Magic,
    /// The rest cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Birth {
    /// Its bytes.
    ///
    /// # Errors
    /// [`CodecError::Encode`] if it is longer than [`LIMIT`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let body = codec::encode_up_to::<LIMIT, _>(self)?;
        Ok([&MAGIC[..], &body].concat())
    }

    /// The birth of exactly these bytes.
    ///
    /// # Errors
    /// [`BirthError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BirthError> {
        let body = bytes.strip_prefix(&MAGIC).ok_or(BirthError::Magic)?;
        Ok(codec::decode_up_to::<LIMIT, _>(body)?)
    }
}

/// Without the secret.
impl fmt::Debug for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Birth({} of {} by {})", self.armor, self.node.0, self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::armors;

    #[test]
    fn it_comes_back_and_shows_no_secret() {
        let birth = Birth {
            armor: ArmorId::first(armors::VOTER, 3),
            manager: ArmorId::first(armors::SURROGATE, 1),
            node: NodeId(2),
            socket: "/run/chameleon/daemon.sock".into(),
            cookie: b"SECRET".to_vec(),
            parameters: "block = 301".into(),
            descriptors: Some(1024),
        };
        let bytes = birth.encode().unwrap();
        assert_eq!(Birth::decode(&bytes), Ok(birth.clone()));
        assert_eq!(Birth::decode(b"hello"), Err(BirthError::Magic));
        assert!(Birth::decode(&bytes[..20]).is_err());
        assert!(!format!("{birth:?}").contains("SECRET"));
    }
}
