//! Other nodes: TCP with mutual TLS, called when there is something to send.
//!
//! ```text
//!  something to send ─► call ─► TLS ─► Hello, Welcome ─► write what is put, until it breaks
//!                        └──────┴── it fails: all goes back, none is tried for a while (doubling)
//! ```
//! Each node calls for what it sends, and reads what comes on connections either way.
//!
//! Invariant: nothing is read from, or written to, a node whose certificate was not found good in the
//! handshake; the node of a connection is that of its certificate. A connection ends when its certificate
//! is revoked or expires.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chameleon_proto::frame::Header;
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{Hello, NewManager, NoWay};
use chameleon_proto::stream::Stream;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::Network;
use crate::daemon::Daemon;
use crate::error::NetError;
use crate::identity::{Facts, Identity, dns, facts};
use crate::pump::{self, End, Taken};
use crate::queue::Queue;
use crate::route::Origin;
use crate::tls;

/// The longest first message.
const HELLO: usize = 4096;
/// How long bytes may be on their way unconfirmed before the connection counts as broken
/// (`tcp(7)`, TCP_USER_TIMEOUT).
const UNCONFIRMED: Duration = Duration::from_secs(2);

/// What the daemon knows of other nodes.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) identity: RefCell<Option<Identity>>,
    tls: RefCell<Option<(Arc<ServerConfig>, Arc<ClientConfig>)>>,
    peers: RefCell<HashMap<NodeId, Rc<Peer>>>,
    sessions: RefCell<Vec<Weak<Session>>>,
}

/// What waits for a node.
#[derive(Debug)]
struct Peer {
    queue: Queue,
    /// Whether there is a task that calls or writes.
    busy: Cell<bool>,
    failed: Cell<Option<(Instant, Duration)>>,
}

/// A connection to or from a node.
#[derive(Debug)]
struct Session {
    facts: Facts,
    cut: Notify,
}

/// The time, in seconds since 1970 (UTC).
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

impl Peers {
    pub fn new(network: Option<&Network>) -> Result<Self, NetError> {
        let identity = match network {
            Some(network) => Some(Identity::load(network.identity.directory())?),
            None => None,
        };
        let peers = Self {
            identity: RefCell::new(identity),
            tls: RefCell::default(),
            peers: RefCell::default(),
            sessions: RefCell::default(),
        };
        peers.renewed()?;
        Ok(peers)
    }

    /// The identity that is in the directory now.
    pub fn reload(&self) -> Result<(), NetError> {
        let directory =
            self.identity.borrow().as_ref().map(|identity| identity.directory().to_owned());
        if let Some(directory) = directory {
            *self.identity.borrow_mut() = Some(Identity::load(&directory)?);
        }
        Ok(())
    }

    /// The identity or the list of revoked ones is another one: connections from here on go by it, and those
    /// that it forbids end.
    pub fn renewed(&self) -> Result<(), NetError> {
        let identity = self.identity.borrow();
        let Some(identity) = identity.as_ref() else { return Ok(()) };
        let server = tls::server(identity, tls::callers(identity, false)?)?;
        *self.tls.borrow_mut() = Some((server, tls::client(identity)?));
        Ok(())
    }

    /// Ends connections whose certificate is no longer good; how many.
    pub fn sweep(&self) -> u64 {
        let mut cut = 0;
        let identity = self.identity.borrow();
        let revoked = identity.as_ref().and_then(|identity| identity.revoked.as_ref());
        self.sessions.borrow_mut().retain(|session| {
            let Some(session) = session.upgrade() else { return false };
            let good = session.facts.not_after > now()
                && revoked.is_none_or(|list| !list.has(&session.facts.serial));
            if !good {
                session.cut.notify_one();
                cut += 1;
            }
            good
        });
        cut
    }

    fn session(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Result<Rc<Session>, NetError> {
        let none = || NetError::Certificate("there is none".into());
        let facts = facts(certificates.and_then(<[_]>::first).ok_or_else(none)?)?;
        let session = Rc::new(Session { facts, cut: Notify::new() });
        self.sessions.borrow_mut().push(Rc::downgrade(&session));
        Ok(session)
    }
}

/// Listens for other nodes; where, too, as the port may have been the system's to choose.
pub(crate) async fn listen(at: SocketAddr) -> Result<(TcpListener, SocketAddr), NetError> {
    let wrong = |source| NetError::Listen { at: at.to_string(), source };
    let listener = TcpListener::bind(at).await.map_err(wrong)?;
    let at = listener.local_addr().map_err(wrong)?;
    Ok((listener, at))
}

/// Takes calls of other nodes for ever.
pub(crate) async fn serve(daemon: Rc<Daemon>, listener: TcpListener) {
    let strangers = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if strangers.get() >= daemon.config.settings.strangers => {
                daemon.metrics.no_connection("too_many");
                drop(stream);
            }
            Ok((stream, from)) => {
                strangers.set(strangers.get() + 1);
                spawn_local(called(Rc::clone(&daemon), stream, from, Rc::clone(&strangers)));
            }
            Err(error) => {
                daemon.log.trouble("accept", &error);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Another node calls.
async fn called(
    daemon: Rc<Daemon>,
    stream: TcpStream,
    from: SocketAddr,
    strangers: Rc<Cell<usize>>,
) {
    let greeted = timeout(daemon.config.settings.hello, greet(&daemon, stream)).await;
    strangers.set(strangers.get() - 1);
    let why = match greeted {
        Ok(Ok((stream, input, session))) => {
            // Who calls can be called, however often it could not before.
            if let Some(peer) = daemon.peers.peers.borrow().get(&session.facts.node) {
                peer.failed.set(None);
            }
            let end = listen_to(&daemon, stream, input, &session).await;
            return over(&daemon, session.facts.node, &end);
        }
        Ok(Err(why)) => why,
        Err(_) => "it did not say in time who it is".to_owned(),
    };
    daemon.metrics.no_connection("node");
    daemon.log.connection(&from, &why);
}

type Greeted<S> = (S, Stream, Rc<Session>);

/// The handshake with a node that calls.
async fn greet(
    daemon: &Rc<Daemon>,
    stream: TcpStream,
) -> Result<Greeted<tokio_rustls::server::TlsStream<TcpStream>>, String> {
    set_options(&stream);
    let config = daemon.peers.tls.borrow().as_ref().map(|(server, _)| Arc::clone(server));
    let config = config.ok_or("this node has no certificate")?;
    let mut stream =
        TlsAcceptor::from(config).accept(stream).await.map_err(|error| error.to_string())?;
    let session = daemon
        .peers
        .session(stream.get_ref().1.peer_certificates())
        .map_err(|error| error.to_string())?;
    let mut input = Stream::default();
    let hello = pump::first(&mut stream, &mut input, HELLO).await.map_err(|end| end.to_string())?;
    let node = session.facts.node;
    let daemons = ArmorId::daemon(node);
    if !hello.source.same_armor(daemons) || !matches!(hello.message, Message::Hello(_)) {
        daemon.metrics.refused("forged");
        return Err(format!("{} says that it is {}", daemons, hello.source));
    }
    let answer = first_words(daemon, daemons, daemon.welcome(daemons));
    stream.write_all(&answer).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    Ok((stream, input, session))
}

/// What one daemon says to another first of all: who the FTM is, and whose certificates are no longer
/// good.
fn first_words(daemon: &Daemon, to: ArmorId, mut words: Vec<u8>) -> Vec<u8> {
    if let Some((ftm, node)) = daemon.ftm.get() {
        let message = Message::NewManager(NewManager { ftm, backup: None, node });
        words.extend(daemon.seal(to, message));
    }
    let revoked = daemon.peers.identity.borrow().as_ref().and_then(|identity| {
        identity.revoked.as_ref().map(|list| Message::Revoked(list.der.clone()))
    });
    if let Some(message) = revoked {
        words.extend(daemon.seal(to, message));
    }
    words
}

/// Reads what a node sends until the connection ends.
async fn listen_to<S: AsyncRead + AsyncWrite + Unpin>(
    daemon: &Rc<Daemon>,
    mut stream: S,
    mut input: Stream,
    session: &Session,
) -> End {
    let origin = Origin::Node(session.facts.node);
    let take = |header: &Header, bytes: &[u8]| daemon.frame(origin, header, bytes);
    tokio::select! {
        end = pump::read(&mut stream, &mut input, take) => end,
        () = session.cut.notified() => End::Cut("its certificate is no longer good"),
    }
}

fn over(daemon: &Daemon, node: NodeId, end: &End) {
    if let Some(label) = end.label() {
        daemon.metrics.refused(label);
    }
    if !matches!(end, End::Closed | End::Broken(_)) {
        daemon.log.connection(&format_args!("node {}", node.0), end);
    }
}

/// Small messages go at once, and a cut link is noticed.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let unconfirmed = UNCONFIRMED.as_millis() as u32;
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, unconfirmed);
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(stream, UNCONFIRMED);
    let _ = rustix::net::sockopt::set_tcp_keepintvl(stream, UNCONFIRMED);
    let _ = rustix::net::sockopt::set_tcp_keepcnt(stream, 2);
}

impl Daemon {
    /// Puts a frame into the queue of a node, and calls it if need be.
    pub(crate) fn pass_on(self: &Rc<Self>, node: NodeId, bytes: &[u8]) -> Result<(), NoWay> {
        if self.peers.tls.borrow().is_none() {
            return Err(NoWay::Unreachable);
        }
        let peer = {
            let mut peers = self.peers.peers.borrow_mut();
            let new = || {
                let queue = Queue::new(self.config.settings.queue);
                Rc::new(Peer { queue, busy: Cell::new(false), failed: Cell::new(None) })
            };
            Rc::clone(peers.entry(node).or_insert_with(new))
        };
        if !peer.busy.get() {
            if peer.failed.get().is_some_and(|(until, _)| Instant::now() < until) {
                return Err(NoWay::Unreachable);
            }
            peer.busy.set(true);
            spawn_local(calls(Rc::clone(self), node, Rc::clone(&peer)));
        }
        if peer.queue.put(bytes) { Ok(()) } else { Err(NoWay::Full) }
    }
}

/// Calls a node and writes what is put for it; ends when it cannot be reached.
async fn calls(daemon: Rc<Daemon>, node: NodeId, peer: Rc<Peer>) {
    loop {
        let limit = daemon.config.settings.call;
        let called = timeout(limit, call(&daemon, node)).await;
        let why = match called {
            Ok(Ok((stream, input, session))) => {
                peer.failed.set(None);
                let end = converse(&daemon, stream, input, &session, &peer).await;
                over(&daemon, node, &end);
                if peer.queue.is_empty() {
                    peer.busy.set(false);
                    return;
                }
                // It may have been started anew: one more call says so.
                tokio::time::sleep(daemon.config.settings.back_off.0).await;
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} ms", limit.as_millis()),
        };
        daemon.log.connection(&format_args!("node {}", node.0), &why);
        // One whose address comes only now has not failed.
        if daemon.router.borrow().table.address(node).is_some() {
            let (first, most) = daemon.config.settings.back_off;
            let wait = peer.failed.get().map_or(first, |(_, wait)| (wait * 2).min(most));
            peer.failed.set(Some((Instant::now() + wait, wait)));
        }
        peer.busy.set(false);
        for header in peer.queue.drain() {
            let origin = daemon.origin_of(&header);
            daemon.back(origin, &header, NoWay::Unreachable);
        }
        return;
    }
}

/// Calls a node: TCP, TLS, Hello, Welcome.
async fn call(
    daemon: &Rc<Daemon>,
    node: NodeId,
) -> Result<Greeted<tokio_rustls::client::TlsStream<TcpStream>>, String> {
    let address = daemon.router.borrow().table.address(node).map(str::to_owned);
    let address = address.ok_or("nobody knows where it is")?;
    let config = daemon.peers.tls.borrow().as_ref().map(|(_, client)| Arc::clone(client));
    let config = config.ok_or("this node has no certificate")?;
    let text = |error: &dyn ToString| error.to_string();
    let stream = TcpStream::connect(&address).await.map_err(|error| text(&error))?;
    set_options(&stream);
    let name = ServerName::try_from(dns(node)).map_err(|error| text(&error))?;
    let mut stream =
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| text(&error))?;
    let session = daemon
        .peers
        .session(stream.get_ref().1.peer_certificates())
        .map_err(|error| text(&error))?;
    let to = ArmorId::daemon(node);
    if session.facts.node != node {
        return Err(format!("its certificate is node {}'s", session.facts.node.0));
    }
    let hello = Hello { cookie: Vec::new(), pid: std::process::id(), manager: None };
    let words = first_words(daemon, to, daemon.seal(to, Message::Hello(hello)));
    stream.write_all(&words).await.map_err(|error| text(&error))?;
    stream.flush().await.map_err(|error| text(&error))?;
    let mut input = Stream::default();
    let first = pump::first(&mut stream, &mut input, HELLO).await.map_err(|end| text(&end))?;
    if !matches!(first.message, Message::Welcome(_)) {
        return Err("it did not answer with a welcome".to_owned());
    }
    Ok((stream, input, session))
}

/// Writes to a node that was called, and reads what it says, until the connection ends.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    daemon: &Rc<Daemon>,
    stream: S,
    mut input: Stream,
    session: &Session,
    peer: &Peer,
) -> End {
    let (mut from, mut to) = split(stream);
    let origin = Origin::Node(session.facts.node);
    let take = |header: &Header, bytes: &[u8]| daemon.frame(origin, header, bytes);
    let mut taken = Taken::default();
    let end = tokio::select! {
        end = pump::read(&mut from, &mut input, take) => end,
        end = pump::write(&mut to, &peer.queue, &mut taken) => end,
        () = session.cut.notified() => End::Cut("its certificate is no longer good"),
    };
    taken.put_back(&peer.queue);
    end
}
