//! Who a node is: its key, its certificate, the authority's certificate and the list of those that are
//! no longer good.
//!
//! ```text
//!  key.pem    its key, made here, never sent anywhere; mode 600
//!  cert.pem   its certificate: URI chameleon://node/N, some days long
//!  ca.pem     the authority's, pinned by the token at enrolment
//!  crl.der    the list, signed by the authority; only ever replaced by a later one
//!  joined.json  where the authority is called for a renewal, and the nodes it named
//! ```
//!
//! Invariant: a list that the authority did not sign, or that is older, changes nothing. Used by `peer`,
//! `enroll`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chameleon_proto::ids::NodeId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{
    CertificateRevocationList, FromDer, GeneralName, ParsedExtension, X509Certificate,
};

use crate::error::NetError;
use crate::files::{self, Lasting};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is.
    pub node: NodeId,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// From when it is good, in seconds since 1970 (UTC).
    pub not_before: i64,
    /// Until when it is.
    pub not_after: i64,
}

/// What the name of a node begins with in its certificate.
pub const URI: &str = "chameleon://node/";

/// The name by which the daemon of a node is called in TLS.
pub fn dns(node: NodeId) -> String {
    format!("node-{}.chameleon.internal", node.0)
}

/// What the certificate of a node says. It is not checked whether it is good.
pub fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, NetError> {
    let wrong = |why: &str| NetError::Certificate(why.to_owned());
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| wrong(&error.to_string()))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| wrong(&error.to_string()))?
        .ok_or_else(|| wrong("it names no node"))?;
    let mut nodes = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(uri.strip_prefix(URI)?.parse().ok()),
        _ => None,
    });
    let node = match (nodes.next(), nodes.next()) {
        (Some(Some(node)), None) => NodeId(node),
        _ => return Err(wrong("it does not name one node")),
    };
    Ok(Facts {
        node,
        serial: parsed.raw_serial().to_vec(),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

/// A list of certificates that are no longer good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// As the authority signed it (RFC 5280, 5; DER).
    pub der: Vec<u8>,
    /// Which one it is; later ones have greater numbers.
    pub number: u64,
    pub(crate) serials: Vec<Vec<u8>>,
}

impl Revoked {
    /// The list in these bytes.
    ///
    /// # Errors
    /// [`NetError::Certificate`] if the authority of this certificate has not signed it.
    pub fn read(der: &[u8], authority: &CertificateDer<'_>) -> Result<Self, NetError> {
        let wrong = |why: String| NetError::Certificate(format!("the list of revoked ones: {why}"));
        let (rest, list) =
            CertificateRevocationList::from_der(der).map_err(|error| wrong(error.to_string()))?;
        let (_, signer) =
            X509Certificate::from_der(authority).map_err(|error| wrong(error.to_string()))?;
        list.verify_signature(signer.public_key()).map_err(|error| wrong(error.to_string()))?;
        let number =
            list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLNumber(number) => u64::try_from(number).ok(),
                _ => None,
            });
        if !rest.is_empty() {
            return Err(wrong("there are bytes behind it".to_owned()));
        }
        Ok(Self {
            der: der.to_vec(),
            number: number.ok_or_else(|| wrong("it has no number".to_owned()))?,
            serials: list
                .iter_revoked_certificates()
                .map(|revoked| revoked.raw_serial().to_vec())
                .collect(),
        })
    }

    /// Whether the certificate of this serial number is no longer good.
    pub fn has(&self, serial: &[u8]) -> bool {
        self.serials.iter().any(|revoked| revoked == serial)
    }
}

/// Where a node was enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Where the authority is called: `host:port`.
    pub authority: String,
    /// Nodes that it named, and where their daemons listen.
    pub nodes: Vec<(NodeId, String)>,
}

/// A node's key and certificates.
#[derive(Debug)]
pub struct Identity {
    directory: PathBuf,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) authority: Arc<CertificateDer<'static>>,
    pub(crate) revoked: Option<Revoked>,
    facts: Facts,
    joined: Joined,
}

/// The files of an identity.
pub(crate) const KEY: &str = "key.pem";
pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const AUTHORITY: &str = "ca.pem";
pub(crate) const REVOKED: &str = "crl.der";
pub(crate) const JOINED: &str = "joined.json";

/// The first certificate in a file.
pub(crate) fn certificate(path: &Path) -> Result<CertificateDer<'static>, NetError> {
    CertificateDer::from_pem_file(path)
        .map_err(|error| NetError::Content { path: path.to_owned(), why: error.to_string() })
}

/// The key in a file that nobody else may read.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    PrivateKeyDer::from_pem_slice(files::secret(path)?.as_bytes())
        .map_err(|error| NetError::Content { path: path.to_owned(), why: error.to_string() })
}

impl Identity {
    /// The identity in a directory.
    ///
    /// # Errors
    /// [`NetError`]; `Permissions` if others can read the key.
    pub fn load(directory: &Path) -> Result<Self, NetError> {
        let at = |name| directory.join(name);
        let certificate = certificate(&at(CERTIFICATE))?;
        let authority = self::certificate(&at(AUTHORITY))?;
        let revoked = files::read(&at(REVOKED))?.map(|der| Revoked::read(&der, &authority));
        Ok(Self {
            key: key(&at(KEY))?,
            facts: facts(&certificate)?,
            certificate,
            revoked: revoked.transpose()?,
            authority: Arc::new(authority),
            joined: files::read_json(&at(JOINED))?.unwrap_or_default(),
            directory: directory.to_owned(),
        })
    }

    /// Whose it is.
    pub fn node(&self) -> NodeId {
        self.facts.node
    }

    /// What its certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Where it was enrolled.
    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// Where it is kept.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The number of the list that it has.
    pub fn revoked_number(&self) -> Option<u64> {
        self.revoked.as_ref().map(|list| list.number)
    }

    /// Takes a list of certificates that are no longer good, and keeps it; whether it is a later one.
    ///
    /// # Errors
    /// [`NetError::Certificate`] if the authority has not signed it.
    pub fn revoke(&mut self, der: &[u8]) -> Result<bool, NetError> {
        let list = Revoked::read(der, &self.authority)?;
        if self.revoked.as_ref().is_some_and(|known| known.number >= list.number) {
            return Ok(false);
        }
        files::replace(&self.directory.join(REVOKED), der, Lasting::Yes)?;
        self.revoked = Some(list);
        Ok(true)
    }

    /// When its certificate is to be renewed, in seconds since 1970: one part in so many of its life
    /// before its end.
    pub fn renew_at(&self, part: u32) -> i64 {
        let life = self.facts.not_after - self.facts.not_before;
        self.facts.not_after - life / i64::from(part.max(1))
    }
}
