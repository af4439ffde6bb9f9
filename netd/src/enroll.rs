//! How a newcomer becomes a node, and a node gets its next certificate.
//!
//! ```text
//!  newcomer                                     authority's daemon
//!  token ─► TLS: the authority's fingerprint is in the token, its name in the certificate
//!  key made here ─► {"enroll", name, secret, request, address} ─►  token used up, number given out
//!                ◄─ {"signed", node, certificate, list, nodes}    or {"refused", why}
//!  node, later ─► TLS with its certificate ─► {"renew", request} ─► as above
//! ```
//!
//! Invariant: one line each way and the end; a newcomer sends its token to none but the authority that the
//! token names; the key never leaves. Whoever shows wrong tokens is not listened to for a while. Files are
//! there whole or not at all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chameleon_proto::ids::NodeId;
use rcgen::KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    StreamOwned,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::armors::hash;
use crate::authority::{Authority, DNS, Refusal, Signed, new_request};
use crate::daemon::Daemon;
use crate::error::{NetError, file};
use crate::files::{self, Lasting};
use crate::identity::{
    self, AUTHORITY, CERTIFICATE, Facts, Identity, JOINED, Joined, KEY, REVOKED, facts,
};
use crate::limit::Limit;
use crate::{peer, tls};

/// The longest line either way.
const LINE: u64 = 64 << 10;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wrong tokens from one address at once, and how long until there may be one more.
const WRONG: (u32, Duration) = (5, Duration::from_secs(10));
/// Addresses that are remembered.
const CALLERS: usize = 1024;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ask {
    Enroll { name: Vec<u8>, secret: Vec<u8>, request: String, address: String },
    Renew { request: String },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Signed {
        node: NodeId,
        certificate: String,
        /// The list of revoked ones.
        list: Vec<u8>,
        nodes: Vec<(NodeId, String)>,
    },
    Refused {
        why: String,
    },
}

// ---- the authority's side ----

/// Those who showed wrong tokens.
#[derive(Debug, Default)]
struct Callers {
    wrong: RefCell<HashMap<IpAddr, Limit>>,
}

impl Callers {
    /// Whether this one is listened to.
    fn may(&self, from: IpAddr, now: Instant) -> bool {
        let wrong = self.wrong.borrow();
        // Looked at, not taken: only a wrong token counts.
        wrong.get(&from).is_none_or(|limit| { *limit }.take(now).is_some())
    }

    /// It showed a wrong token.
    fn wrong(&self, from: IpAddr, now: Instant) {
        let mut wrong = self.wrong.borrow_mut();
        if wrong.len() >= CALLERS {
            wrong.clear();
        }
        wrong.entry(from).or_insert_with(|| Limit::new(WRONG.0, WRONG.1, now)).take(now);
    }
}

/// Lets newcomers in and renews certificates, for ever.
pub(crate) async fn serve(daemon: Rc<Daemon>, authority: Rc<Authority>, listener: TcpListener) {
    let callers = Rc::new(Callers::default());
    let busy = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if busy.get() >= daemon.config.settings.strangers => {
                daemon.metrics.enrolment("too_many");
                drop(stream);
            }
            Ok((stream, from)) => {
                busy.set(busy.get() + 1);
                let (daemon, authority) = (Rc::clone(&daemon), Rc::clone(&authority));
                let (callers, busy) = (Rc::clone(&callers), Rc::clone(&busy));
                spawn_local(async move {
                    let done = attend(&daemon, &authority, &callers, stream, from);
                    match timeout(PATIENCE, done).await {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => {
                            daemon.metrics.enrolment("broken");
                            daemon.log.connection(&from, &why);
                        }
                        Err(_) => daemon.metrics.enrolment("silent"),
                    }
                    busy.set(busy.get() - 1);
                });
            }
            Err(error) => {
                daemon.log.trouble("accept", &error);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// One who calls.
async fn attend(
    daemon: &Rc<Daemon>,
    authority: &Authority,
    callers: &Callers,
    stream: tokio::net::TcpStream,
    from: SocketAddr,
) -> Result<(), String> {
    let config = {
        let identity = daemon.peers.identity.borrow();
        let identity = identity.as_ref().ok_or("this node has no certificate")?;
        tls::callers(identity, true).and_then(|callers| tls::server(identity, callers))
    };
    let acceptor = TlsAcceptor::from(config.map_err(|error| error.to_string())?);
    let mut stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
    let shown = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => Some(facts(certificate).map_err(|error| error.to_string())?),
        None => None,
    };
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while !line.contains(&b'\n') {
        let n = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if n == 0 || line.len() as u64 > LINE {
            return Err("it sent no whole line".into());
        }
        line.extend_from_slice(&piece[..n]);
    }
    let answer = match decide(daemon, authority, callers, shown.as_ref(), &line, from.ip()) {
        Ok(Signed { node, certificate, revoked }) => {
            let nodes = daemon.router.borrow();
            let nodes = nodes.table.nodes().map(|(node, at)| (node, at.to_owned())).collect();
            Answer::Signed { node, certificate, list: revoked, nodes }
        }
        Err(why) => {
            daemon.log.connection(&from, &why);
            Answer::Refused { why: why.to_string() }
        }
    };
    let mut answer = serde_json::to_vec(&answer).map_err(|error| error.to_string())?;
    answer.push(b'\n');
    stream.write_all(&answer).await.map_err(|error| error.to_string())?;
    stream.shutdown().await.map_err(|error| error.to_string())
}

fn decide(
    daemon: &Rc<Daemon>,
    authority: &Authority,
    callers: &Callers,
    shown: Option<&Facts>,
    line: &[u8],
    from: IpAddr,
) -> Result<Signed, Refusal> {
    let now = Instant::now();
    let count = |refusal: Refusal| {
        daemon.metrics.enrolment(refusal.label());
        refusal
    };
    let ask: Ask =
        serde_json::from_slice(line).map_err(|error| count(Refusal::Request(error.to_string())))?;
    match ask {
        Ask::Enroll { name, secret, request, address } => {
            if !callers.may(from, now) {
                daemon.metrics.enrolment("too_often");
                return Err(Refusal::Trouble("too many wrong tokens came from here; wait".into()));
            }
            let signed = authority.enroll(&name, &secret, &request, peer::now());
            let signed = signed.map_err(|refusal| {
                if refusal != Refusal::Used {
                    callers.wrong(from, now);
                }
                count(refusal)
            })?;
            daemon.metrics.enrolment("enrolled");
            if !address.is_empty() {
                daemon.router.borrow_mut().table.know(signed.node, address);
                daemon.save();
            }
            Ok(signed)
        }
        Ask::Renew { request } => {
            let none = || Refusal::Request("a certificate is renewed for who shows one".into());
            let facts = shown.ok_or_else(none).map_err(count)?;
            let signed = authority.renew(facts, &request, peer::now()).map_err(count)?;
            daemon.metrics.enrolment("renewed");
            Ok(signed)
        }
    }
}

// ---- the newcomer's and the node's side ----

/// Becomes a node: the identity is in `directory` afterwards, which must not be there before. `address` is where
/// this node's daemon will listen, as others see it (`chameleon node enroll`).
///
/// # Errors
/// [`NetError::Token`], `Talk`, `Refused`, `Exists`; after any of them there is no identity.
pub fn enroll(
    directory: &Path,
    server: &str,
    token: &str,
    address: &str,
) -> Result<Identity, NetError> {
    let token = crate::token::Token::read(token)?;
    if directory.exists() {
        return Err(NetError::Exists(directory.to_owned()));
    }
    let generate = |error: rcgen::Error| NetError::Generate(error.to_string());
    let key = KeyPair::generate().map_err(generate)?;
    let pinned = Arc::new(Pinned { pin: token.pin, provider: tls::provider() });
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| NetError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let ask = Ask::Enroll {
        name: token.name.to_vec(),
        secret: token.secret.to_vec(),
        request: new_request(&key)?,
        address: address.to_owned(),
    };
    let (answer, chain) = talk(server, config, &ask)?;
    let authority = chain
        .iter()
        .find(|certificate| hash(certificate) == token.pin)
        .ok_or_else(|| NetError::Certificate("the authority did not show its own".into()))?;
    let (certificate, list, nodes) = signed(server, answer)?;
    let joined = Joined { authority: server.to_owned(), nodes };
    // Made beside it, then put in its place at once.
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.with_file_name(format!(".{name}.new"));
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(file("remove", &new)(error));
        }
        _ => {}
    }
    files::directory(&new)?;
    let put = |name: &str, content: &[u8]| files::replace(&new.join(name), content, Lasting::Yes);
    put(KEY, key.serialize_pem().as_bytes())?;
    put(AUTHORITY, pem(authority).as_bytes())?;
    put(REVOKED, &list)?;
    put(CERTIFICATE, certificate.as_bytes())?;
    files::replace_json(&new.join(JOINED), &joined, Lasting::Yes)?;
    let certificate = identity::certificate(&new.join(CERTIFICATE))?;
    facts(&certificate)?;
    fs::rename(&new, directory).map_err(file("rename", &new))?;
    Identity::load(directory)
}

/// Gets the next certificate of an identity, by its present one, for the same key.
///
/// # Errors
/// [`NetError::Talk`], `Refused`; the present one stays.
pub fn renew(directory: &Path) -> Result<(), NetError> {
    let identity = Identity::load(directory)?;
    let server = identity.joined().authority.clone();
    let generate = |error: rcgen::Error| NetError::Generate(error.to_string());
    let key = KeyPair::from_pem(&files::secret(&directory.join(KEY))?).map_err(generate)?;
    let config = tls::client(&identity)?;
    let ask = Ask::Renew { request: new_request(&key)? };
    let (answer, _) = talk(&server, (*config).clone(), &ask)?;
    let (certificate, list, _) = signed(&server, answer)?;
    let parsed = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| NetError::Certificate(error.to_string()))?;
    if facts(&parsed)?.node != identity.node() {
        return Err(NetError::Certificate("the new one is another node's".into()));
    }
    let mut identity = identity;
    identity.revoke(&list)?;
    files::replace(&directory.join(CERTIFICATE), certificate.as_bytes(), Lasting::Yes)
}

type Parts = (String, Vec<u8>, Vec<(NodeId, String)>);

fn signed(server: &str, answer: Answer) -> Result<Parts, NetError> {
    match answer {
        Answer::Signed { certificate, list, nodes, .. } => Ok((certificate, list, nodes)),
        Answer::Refused { why } => Err(NetError::Refused { at: server.to_owned(), why }),
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// One line there, one back; what the other showed, too.
fn talk(
    server: &str,
    config: ClientConfig,
    ask: &Ask,
) -> Result<(Answer, Vec<CertificateDer<'static>>), NetError> {
    let wrong = |why: &dyn ToString| NetError::Talk { at: server.to_owned(), why: why.to_string() };
    let addresses = server.to_socket_addrs().map_err(|error| wrong(&error))?;
    let mut last = None;
    let mut connected = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    let stream = match (connected, last) {
        (Some(stream), _) => stream,
        (None, Some(error)) => return Err(wrong(&error)),
        (None, None) => return Err(wrong(&"the name has no address")),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| wrong(&error))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|error| wrong(&error))?;
    let name = ServerName::try_from(DNS).map_err(|error| wrong(&error))?;
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| wrong(&error))?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut line = serde_json::to_vec(ask).map_err(|error| wrong(&error))?;
    line.push(b'\n');
    stream.write_all(&line).and_then(|()| stream.flush()).map_err(|error| wrong(&error))?;
    let chain = stream.conn.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let mut answer = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut answer).map_err(|error| wrong(&error))?;
    let answer = serde_json::from_str(&answer).map_err(|error| wrong(&error))?;
    Ok((answer, chain))
}

/// Believes the authority whose certificate has this fingerprint, and no other.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = intermediates.iter().find(|shown| hash(shown) == self.pin);
        let authority = authority.ok_or_else(unknown)?.clone().into_owned();
        let roots = tls::roots(&authority).map_err(|_| unknown())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
                .build()
                .map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
