//! The authority of an environment: it lets nodes in by tokens, signs their certificates for some days
//! and says which are no longer good.
//!
//! ```text
//!  ca.key (600)  ca.pem      its key and certificate, made once
//!  authority.json            nodes given out, tokens (hashes), certificates issued, those revoked
//!  crl.der                   the list of those revoked
//!  authority.lock            held while any of it changes
//! ```
//!
//! Invariant: a token is good once and only for its time; it is used up, lastingly, before a certificate
//! leaves. Node numbers are never given out again. Commands and the daemon may use it at the
//! same time. Used by `enroll` and by the command line.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chameleon_proto::ids::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustix::fs::FlockOperation;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::armors::hash;
use crate::error::{NetError, file};
use crate::files::{self, Lasting};
use crate::identity::{
    self, AUTHORITY, CERTIFICATE, Facts, JOINED, Joined, KEY, REVOKED, URI, dns,
};
use crate::install::random;
use crate::token::Token;

/// How long a certificate of a node is good.
pub const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the authority's own is.
const OWN_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// By how much clocks may differ.
const SKEW: Duration = Duration::from_secs(300);
/// The longest life of a token.
const LONGEST_TOKEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// The name in TLS of the node that is the authority's.
pub(crate) const DNS: &str = "authority.chameleon.internal";

/// Why a newcomer, or a node that wants its certificate renewed, is refused. Each is a label of the metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Refusal {
    #[error("the token is not known; have a new one made with `chameleon node token create`")]
    Wrong,
    #[error("the token has been used; have a new one made for each node")]
    Used,
    #[error("the token has expired; have a new one made, with a longer --ttl if need be")]
    Expired,
    #[error("the request for a certificate is not in order: {0}")]
    Request(String),
    #[error("the certificate of node {0} was revoked")]
    Revoked(u32),
    #[error("the authority cannot do it at present: {0}")]
    Trouble(String),
}

impl Refusal {
    /// The label of the metric.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Wrong => "wrong_token",
            Self::Used => "used_token",
            Self::Expired => "expired_token",
            Self::Request(_) => "request",
            Self::Revoked(_) => "revoked",
            Self::Trouble(_) => "trouble",
        }
    }
}

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// For which node.
    pub node: NodeId,
    /// The certificate, PEM.
    pub certificate: String,
    /// The list of revoked ones, DER.
    pub revoked: Vec<u8>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Ledger {
    /// The last node number that was given out.
    last_node: u32,
    /// The number of the last list of revoked certificates.
    last_list: u64,
    tokens: Vec<Kept>,
    certificates: Vec<Issued>,
}

/// A token as the authority keeps it. Times are in seconds since 1970 (UTC).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    name: [u8; 8],
    hash: Vec<u8>,
    expires: i64,
    used: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Issued {
    node: u32,
    serial: Vec<u8>,
    not_after: i64,
    revoked: Option<i64>,
}

/// The authority in a directory.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    certificate: CertificateDer<'static>,
    life: Duration,
}

fn generate(error: rcgen::Error) -> NetError {
    NetError::Generate(error.to_string())
}

fn time(seconds: i64) -> Result<OffsetDateTime, NetError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|error| NetError::Generate(error.to_string()))
}

impl Authority {
    /// Makes an authority in a directory that has none (`chameleon init`).
    ///
    /// # Errors
    /// [`NetError::Exists`] if there is one; others.
    pub fn create(directory: &Path, now: i64) -> Result<Self, NetError> {
        files::directory(directory)?;
        let path = directory.join("ca.key");
        if path.exists() {
            return Err(NetError::Exists(path));
        }
        let key = KeyPair::generate().map_err(generate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Chameleon environment");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = time(now - SKEW.as_secs() as i64)?;
        params.not_after = time(now + OWN_LIFE.as_secs() as i64)?;
        params.serial_number = Some(new_serial()?);
        let certificate = params.self_signed(&key).map_err(generate)?;
        files::replace(&directory.join("ca.pem"), certificate.pem().as_bytes(), Lasting::Yes)?;
        files::replace(&path, key.serialize_pem().as_bytes(), Lasting::Yes)?;
        let authority = Self::load(directory)?;
        authority.change(now, |_| Ok::<_, NetError>(()))?;
        Ok(authority)
    }

    /// The authority in a directory.
    ///
    /// # Errors
    /// [`NetError`]; `Permissions` if others can read its key.
    pub fn load(directory: &Path) -> Result<Self, NetError> {
        let certificate = identity::certificate(&directory.join("ca.pem"))?;
        files::secret(&directory.join("ca.key"))?;
        Ok(Self { directory: directory.to_owned(), certificate, life: LIFE })
    }

    /// As it is, but its certificates are good for this long: for tests of what expires.
    #[must_use]
    pub fn with_life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    /// The SHA-256 of its certificate.
    pub fn pin(&self) -> [u8; 32] {
        let mut pin = [0; 32];
        pin.copy_from_slice(&hash(&self.certificate));
        pin
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, NetError> {
        let key = files::secret(&self.directory.join("ca.key"))?;
        let key = KeyPair::from_pem(&key).map_err(generate)?;
        Issuer::from_ca_cert_der(&self.certificate, key).map_err(generate)
    }

    /// Changes the ledger, alone and lastingly; not if the change is refused.
    fn change<T, E: From<NetError>>(
        &self,
        now: i64,
        change: impl FnOnce(&mut Ledger) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.directory.join("authority.lock");
        let lock = lock(&path)?;
        let path = self.directory.join("authority.json");
        let mut ledger: Ledger = files::read_json(&path)?.unwrap_or_default();
        let done = change(&mut ledger)?;
        // What has expired needs no list any more.
        ledger.tokens.retain(|token| token.expires + LONGEST_TOKEN.as_secs() as i64 > now);
        ledger.certificates.retain(|issued| issued.not_after + SKEW.as_secs() as i64 > now);
        files::replace_json(&path, &ledger, Lasting::Yes)?;
        if !self.directory.join(REVOKED).exists() {
            self.publish(&mut ledger, now)?;
            files::replace_json(&path, &ledger, Lasting::Yes)?;
        }
        drop(lock);
        Ok(done)
    }

    /// A new list of revoked certificates.
    fn publish(&self, ledger: &mut Ledger, now: i64) -> Result<Vec<u8>, NetError> {
        ledger.last_list += 1;
        let revoked = ledger.certificates.iter().filter_map(|issued| {
            let at = issued.revoked?;
            Some(time(at).map(|at| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&issued.serial),
                revocation_time: at,
                reason_code: Some(RevocationReason::CessationOfOperation),
                invalidity_date: None,
            }))
        });
        let list = CertificateRevocationListParams {
            this_update: time(now - SKEW.as_secs() as i64)?,
            next_update: time(now + OWN_LIFE.as_secs() as i64)?,
            crl_number: SerialNumber::from(ledger.last_list),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<Result<_, _>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let der = list.signed_by(&self.issuer()?).map_err(generate)?.der().to_vec();
        files::replace(&self.directory.join(REVOKED), &der, Lasting::Yes)?;
        Ok(der)
    }

    /// The list of revoked certificates, DER.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn revoked(&self) -> Result<Vec<u8>, NetError> {
        Ok(files::read(&self.directory.join(REVOKED))?.unwrap_or_default())
    }

    /// A new token, good for this long: the line that is carried to the newcomer (`chameleon node token
    /// create`).
    ///
    /// # Errors
    /// [`NetError`].
    pub fn new_token(&self, ttl: Duration, now: i64) -> Result<Token, NetError> {
        let token = Token {
            pin: self.pin(),
            name: random().map_err(NetError::Generate)?,
            secret: random().map_err(NetError::Generate)?,
        };
        let ttl = ttl.min(LONGEST_TOKEN).as_secs() as i64;
        let kept =
            Kept { name: token.name, hash: hash(&token.secret), expires: now + ttl, used: false };
        self.change(now, |ledger| {
            ledger.tokens.push(kept);
            Ok::<_, NetError>(())
        })?;
        Ok(token)
    }

    /// A newcomer shows a token and asks for a certificate (PEM of PKCS #10). Of what it asks for only the key
    /// counts; its number is the authority's to give.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn enroll(
        &self,
        name: &[u8],
        secret: &[u8],
        request: &str,
        now: i64,
    ) -> Result<Signed, Refusal> {
        let request = read_request(request)?;
        let hash = hash(secret);
        let (node, serial) = self.change(now, |ledger| {
            let mut tokens = ledger.tokens.iter_mut();
            // The hash of 32 random bytes; how long it takes to compare says nothing about them.
            let token = tokens.find(|token| token.name == name).ok_or(Refusal::Wrong)?;
            if !bool::from(token.hash.ct_eq(&hash)) {
                return Err(Refusal::Wrong);
            }
            if token.used {
                return Err(Refusal::Used);
            }
            if token.expires <= now {
                return Err(Refusal::Expired);
            }
            token.used = true;
            ledger.last_node += 1;
            let serial = self.note(ledger, ledger.last_node, now)?;
            Ok((NodeId(ledger.last_node), serial))
        })?;
        Ok(self.sign(request, node, serial, now, false)?)
    }

    /// A node asks for a new certificate and has shown the one with these facts, which was found good.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn renew(&self, facts: &Facts, request: &str, now: i64) -> Result<Signed, Refusal> {
        let request = read_request(request)?;
        let serial = self.change(now, |ledger| {
            // It was found good by a list that may be older than the ledger.
            let revoked = ledger
                .certificates
                .iter()
                .any(|issued| issued.serial == facts.serial && issued.revoked.is_some());
            if revoked {
                return Err(Refusal::Revoked(facts.node.0));
            }
            Ok(self.note(ledger, facts.node.0, now)?)
        })?;
        Ok(self.sign(request, facts.node, serial, now, false)?)
    }

    /// A serial number, and the note that it was given out.
    fn note(&self, ledger: &mut Ledger, node: u32, now: i64) -> Result<SerialNumber, NetError> {
        let serial = new_serial()?;
        let not_after = now + self.life.as_secs() as i64;
        ledger.certificates.push(Issued {
            node,
            serial: serial.to_bytes(),
            not_after,
            revoked: None,
        });
        Ok(serial)
    }

    fn sign(
        &self,
        mut request: CertificateSigningRequestParams,
        node: NodeId,
        serial: SerialNumber,
        now: i64,
        own: bool,
    ) -> Result<Signed, NetError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Chameleon node {}", node.0));
        let name = |text: String| text.try_into().map_err(generate);
        params.subject_alt_names = vec![
            SanType::URI(name(format!("{URI}{}", node.0))?),
            SanType::DnsName(name(dns(node))?),
        ];
        if own {
            params.subject_alt_names.push(SanType::DnsName(name(DNS.to_owned())?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial);
        params.not_before = time(now - SKEW.as_secs() as i64)?;
        params.not_after = time(now + self.life.as_secs() as i64)?;
        request.params = params;
        let certificate = request.signed_by(&self.issuer()?).map_err(generate)?.pem();
        Ok(Signed { node, certificate, revoked: self.revoked()? })
    }

    /// All certificates of a node are no longer good (`chameleon node revoke`): the new list, DER; how many
    /// there were.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn revoke(&self, node: NodeId, now: i64) -> Result<(Vec<u8>, usize), NetError> {
        self.change(now, |ledger| {
            let mut count = 0;
            for issued in &mut ledger.certificates {
                if issued.node == node.0 && issued.revoked.is_none() {
                    issued.revoked = Some(now);
                    count += 1;
                }
            }
            Ok((self.publish(ledger, now)?, count))
        })
    }

    /// Makes, or renews, the identity of the node that the authority itself is on.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn own_identity(&self, directory: &Path, address: &str, now: i64) -> Result<(), NetError> {
        files::directory(directory)?;
        let path = directory.join(KEY);
        let key = if path.exists() {
            KeyPair::from_pem(&files::secret(&path)?).map_err(generate)?
        } else {
            KeyPair::generate().map_err(generate)?
        };
        let request = new_request(&key)?;
        let request =
            read_request(&request).map_err(|error| NetError::Generate(error.to_string()))?;
        let known = directory.join(CERTIFICATE);
        let known = if known.exists() {
            Some(identity::facts(&identity::certificate(&known)?)?.node)
        } else {
            None
        };
        let (node, serial) = self.change(now, |ledger| {
            let node = known.unwrap_or_else(|| {
                ledger.last_node += 1;
                NodeId(ledger.last_node)
            });
            Ok::<_, NetError>((node, self.note(ledger, node.0, now)?))
        })?;
        let signed = self.sign(request, node, serial, now, true)?;
        let ca = files::read(&self.directory.join("ca.pem"))?.unwrap_or_default();
        let joined = Joined { authority: address.to_owned(), nodes: Vec::new() };
        files::replace(&path, key.serialize_pem().as_bytes(), Lasting::Yes)?;
        files::replace(&directory.join(AUTHORITY), &ca, Lasting::Yes)?;
        files::replace(&directory.join(REVOKED), &signed.revoked, Lasting::Yes)?;
        files::replace_json(&directory.join(JOINED), &joined, Lasting::Yes)?;
        files::replace(&directory.join(CERTIFICATE), signed.certificate.as_bytes(), Lasting::Yes)
    }
}

/// A request for a certificate of this key, PEM of PKCS #10.
pub(crate) fn new_request(key: &KeyPair) -> Result<String, NetError> {
    let request = CertificateParams::default().serialize_request(key).map_err(generate)?;
    request.pem().map_err(generate)
}

/// Reads a request; its signature proves that who asks has the key.
fn read_request(request: &str) -> Result<CertificateSigningRequestParams, Refusal> {
    CertificateSigningRequestParams::from_pem(request)
        .map_err(|error| Refusal::Request(error.to_string()))
}

/// A serial number: positive and of full length, so that it is the same bytes wherever it is written.
fn new_serial() -> Result<SerialNumber, NetError> {
    let mut bytes: [u8; 16] = random().map_err(NetError::Generate)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn lock(path: &Path) -> Result<File, NetError> {
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let lock = lock.map_err(file("open", path))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|errno| file("lock", path)(errno.into()))?;
    Ok(lock)
}

impl From<NetError> for Refusal {
    fn from(error: NetError) -> Self {
        Self::Trouble(error.to_string())
    }
}

#[cfg(test)]
mod tests;
