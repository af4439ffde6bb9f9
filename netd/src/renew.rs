//! Keeping a node's certificate good, and the list of revoked ones known to all.
//!
//! Invariant: a certificate is renewed well before its end; if that fails it is tried again until it is
//! there. Runs beside all else in the daemon.

use std::rc::Rc;
use std::time::Duration;

use crate::authority::Authority;
use crate::daemon::Daemon;
use crate::error::NetError;
use crate::{enroll, peer};

/// After a failure, until it is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Renews this node's certificate when it is time, for ever.
pub(crate) async fn keep(daemon: Rc<Daemon>, authority: Option<Rc<Authority>>) {
    let settings = daemon.config.settings;
    loop {
        tokio::time::sleep(settings.renew_look).await;
        let due = daemon.peers.identity.borrow().as_ref().and_then(|identity| {
            let due = identity.renew_at(settings.renew_at) <= peer::now();
            let joined = identity.joined().authority.clone();
            due.then(|| (identity.directory().to_owned(), joined))
        });
        let Some((directory, address)) = due else { continue };
        let done = match &authority {
            Some(authority) => authority.own_identity(&directory, &address, peer::now()),
            None => {
                // It waits for another machine, which this thread must not.
                let renewed = tokio::task::spawn_blocking(move || enroll::renew(&directory)).await;
                renewed.unwrap_or_else(|error| Err(NetError::Tls(error.to_string())))
            }
        };
        match done.and_then(|()| daemon.peers.reload()) {
            Ok(()) => {
                daemon.metrics.enrolment("own_renewed");
                daemon.renewed();
            }
            Err(error) => {
                daemon.metrics.enrolment("own_failed");
                daemon.log.trouble("renewal", &error);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Tells the other nodes of each new list that the authority makes: a command of this node revokes, and this
/// finds what it did.
pub(crate) async fn lists(daemon: Rc<Daemon>, authority: Rc<Authority>) {
    let mut known = Vec::new();
    loop {
        match authority.revoked() {
            Ok(list) if list != known && !list.is_empty() => {
                if let Err(why) = daemon.take_revoked(&list) {
                    daemon.log.trouble("revoked", &why);
                }
                known = list;
            }
            Ok(_) => {}
            Err(error) => daemon.log.trouble("revoked", &error),
        }
        tokio::time::sleep(daemon.config.settings.renew_look.min(Duration::from_secs(1))).await;
    }
}
