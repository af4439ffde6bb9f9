//! The token that lets one newcomer in.
//!
//! ```text
//!  base64url( 1 | SHA-256 of the authority's certificate 32 | name 8 | secret 32 )
//! ```
//!
//! Invariant: the authority keeps a hash of the secret alone; the newcomer believes no authority but the one whose
//! fingerprint is in the token. Used by `authority` and `enroll`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::NetError;

/// The version of the form, first byte of a token.
const VERSION: u8 = 1;
const LENGTH: usize = 1 + 32 + 8 + 32;

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The authority's fingerprint.
    pub pin: [u8; 32],
    /// Which token.
    pub name: [u8; 8],
    /// What proves that one has it.
    pub secret: [u8; 32],
}

impl Token {
    /// The line that a person carries from the authority to the newcomer.
    pub fn text(&self) -> String {
        let parts = [&[VERSION][..], &self.pin, &self.name, &self.secret].concat();
        URL_SAFE_NO_PAD.encode(parts)
    }

    /// The token of such a line.
    ///
    /// # Errors
    /// [`NetError::Token`].
    pub fn read(text: &str) -> Result<Self, NetError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| NetError::Token)?;
        if bytes.len() != LENGTH || bytes[0] != VERSION {
            return Err(NetError::Token);
        }
        let mut token = Self { pin: [0; 32], name: [0; 8], secret: [0; 32] };
        token.pin.copy_from_slice(&bytes[1..33]);
        token.name.copy_from_slice(&bytes[33..41]);
        token.secret.copy_from_slice(&bytes[41..]);
        Ok(token)
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:02x?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_comes_back(pin: [u8; 32], name: [u8; 8], secret: [u8; 32]) {
            let token = Token { pin, name, secret };
            prop_assert_eq!(Token::read(&format!(" {}\n", token.text())).unwrap(), token);
        }

        #[test]
        fn nothing_else_is_one(text in ".{0,120}") {
            if let Ok(token) = Token::read(&text) {
                prop_assert_eq!(token.text(), text.trim());
            }
        }
    }
}
