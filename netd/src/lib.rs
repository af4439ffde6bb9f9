//! The host daemon of an environment (paper 4.3, 4.5): the gateway of all messages, the parent and
//! watcher of a node's ARMORs, and the node's certificate.
//!
//! Invariant: one thread, many tasks, none of which waits for another's receiver; whatever others send
//! it is refused or routed, and the daemon stays up. It never traces and never forks but to
//! start an ARMOR. Used by `tools/chameleon` (`chameleon daemon`).
//!
//! | what | where |
//! |---|---|
//! | decisions | `route`, `places`, `waiting`, `limit`, `gossip`, and `policy`'s `detector` and `epoch`: no I/O, time comes in |
//! | bytes | `pump`, `queue` |
//! | who calls | `local` (ARMORs and commands), `peer` (nodes), `scrape` (Prometheus) |
//! | ARMORs | `install`, `armors`, `reports`, `state` |
//! | certificates | `identity`, `tls`, `authority`, `enroll` |

mod armors;
pub mod authority;
pub mod config;
mod daemon;
mod descriptors;
pub mod enroll;
pub mod error;
mod files;
mod gossip;
pub mod health;
pub mod identity;
mod install;
pub mod limit;
mod local;
mod log;
mod metrics;
mod own;
mod peer;
pub mod places;
mod pump;
mod queue;
mod renew;
mod reports;
pub mod route;
mod scrape;
mod state;
mod tls;
pub mod token;
mod waiting;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chameleon_proto::message::Message;
use chameleon_proto::message::env::How;
use tokio::task::{LocalSet, spawn_local};

pub use config::{Config, Network, Own, Settings};
pub use error::NetError;

use daemon::Daemon;

/// Between two looks at what is late.
const TURN: Duration = Duration::from_millis(200);

/// Where a daemon listens, with the ports that the system chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// For other nodes.
    pub network: Option<SocketAddr>,
    /// For newcomers.
    pub authority: Option<SocketAddr>,
    /// For Prometheus.
    pub metrics: Option<SocketAddr>,
}

/// Runs a daemon on this thread until `stop` is done; `ready` is called when it listens. Its ARMORs
/// stay: the next daemon of the same directory takes them back.
///
/// # Errors
/// [`NetError`] if it cannot start.
pub fn run(
    config: Config,
    ready: impl FnOnce(Listening),
    stop: impl Future<Output = ()>,
) -> Result<(), NetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NetError::Listen { at: "epoll(7)".into(), source })?;
    LocalSet::new().block_on(&runtime, serve(config, ready, stop))
}

/// As [`run`], within a [`LocalSet`] of the caller's.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    config: Config,
    ready: impl FnOnce(Listening),
    stop: impl Future<Output = ()>,
) -> Result<(), NetError> {
    files::directory(&config.state)?;
    let socket = local::listen(&config)?;
    let mut listening = Listening::default();
    let network = match config.network.as_ref().and_then(|network| network.listen) {
        Some(at) => Some(peer::listen(at).await?),
        None => None,
    };
    let authority = match &config.authority {
        Some(own) => {
            let authority = authority::Authority::load(&own.directory)?;
            let (listener, at) = peer::listen(own.listen).await?;
            listening.authority = Some(at);
            Some((Rc::new(authority), listener))
        }
        None => None,
    };
    let metrics = match config.metrics {
        Some(at) => Some(scrape::listen(at).await?),
        None => None,
    };
    let (state, gone) = state::load(&config.state)?;
    let daemon = Daemon::new(config, &state)?;
    daemon.armors.adopt(&daemon, &state.armors);
    for kept in gone {
        daemon.reports.down(&daemon, kept.armor, kept.manager, How::Gone);
    }
    daemon.save();
    let mut tasks = vec![
        spawn_local(local::serve(Rc::clone(&daemon), socket)),
        spawn_local(look_after(Rc::clone(&daemon))),
    ];
    if let Some((listener, at)) = network {
        listening.network = Some(at);
        tasks.push(spawn_local(peer::serve(Rc::clone(&daemon), listener)));
    }
    if let Some((listener, at)) = metrics {
        listening.metrics = Some(at);
        tasks.push(spawn_local(scrape::serve(Rc::clone(&daemon.metrics), listener)));
    }
    if let Some((authority, listener)) = authority {
        tasks.push(spawn_local(enroll::serve(Rc::clone(&daemon), Rc::clone(&authority), listener)));
        tasks.push(spawn_local(renew::lists(Rc::clone(&daemon), Rc::clone(&authority))));
        tasks.push(spawn_local(renew::keep(Rc::clone(&daemon), Some(authority))));
    } else {
        tasks.push(spawn_local(renew::keep(Rc::clone(&daemon), None)));
    }
    ready(listening);
    stop.await;
    daemon.save();
    for task in tasks {
        task.abort();
    }
    // Nobody listens any more; a call is refused at once and not left without an answer.
    let _ = std::fs::remove_file(&daemon.config.socket);
    Ok(())
}

/// Does what is late: frames that nobody could place, reports that nobody could be given, certificates
/// that expired.
async fn look_after(daemon: Rc<Daemon>) {
    let mut asked = Instant::now();
    // The FTM may have taken it for gone while it was not there.
    daemon.announce();
    loop {
        tokio::time::sleep(TURN).await;
        let now = Instant::now();
        let late = daemon.waiting.borrow().late(now);
        for name in late {
            daemon.found(name);
        }
        daemon.reports.retry(&daemon);
        daemon.metrics.cut.inc_by(daemon.peers.sweep());
        if daemon.ftm.get().is_none() && now.duration_since(asked) > daemon.config.settings.whereis
        {
            asked = now;
            daemon.announce();
        }
        let whole = daemon.router.borrow().table.is_whole();
        if let (false, Some((ftm, _))) = (whole, daemon.ftm.get())
            && now.duration_since(asked) > daemon.config.settings.whereis
        {
            asked = now;
            let have = daemon.router.borrow().table.version();
            daemon.send(ftm, Message::AskPlaces { have });
        }
    }
}
