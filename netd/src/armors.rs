//! The ARMORs of this node: which there are, and how each is (paper 4.3, 5.3).
//!
//! ```text
//!  Install ─► Starting ──Hello──► Up ──Uninstall──► Leaving ─► ended: Uninstalled
//!                │ too late         │ no answer: killed, Hang
//!                └──────────┬───────┘ its process ends: Exit, Signal, Gone
//!                           ▼
//!                  its manager is told (ArmorDown)
//!  a daemon that is started again: Starting, for those whose process is still there
//! ```
//!
//! Invariant: an ARMOR's process is known by its pidfd, so no other process is ever watched or killed in
//! its place (`pidfd_open(2)`); what it sent before it ended is delivered before its end is told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chameleon_policy::detector::{Action, Detector, Settings};
use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{How, Installed, NoWay, Refused};
use ring::digest::{SHA256, digest};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use subtle::ConstantTimeEq;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant as TokioInstant, sleep_until, timeout};

use crate::daemon::Daemon;
use crate::local::Session;
use crate::queue::Queue;
use crate::route::{Name, name};
use crate::state::{self, Kept};

/// How long an ARMOR's connection may outlive its process: others may have inherited it.
const LINGER: Duration = Duration::from_millis(100);

/// How an ARMOR is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It must call until then. Who asked for it and when, if a daemon of this life was.
    Starting { until: Instant, asked: Option<(ArmorId, Instant)> },
    /// It is there.
    Up,
    /// It was told to end; what is done next and when. Who asked for it.
    Leaving { by: ArmorId, next: Option<Signal>, at: Instant },
}

/// An ARMOR.
#[derive(Debug)]
pub(crate) struct Entry {
    pub armor: ArmorId,
    pub manager: ArmorId,
    pub queue: Rc<Queue>,
    cookie: Vec<u8>,
    process: Cell<Option<(u32, u64)>>,
    phase: Cell<Phase>,
    /// Why the daemon killed it, if it did.
    killed: Cell<Option<How>>,
    /// Whether it answers, since it is there; its times are counted from `since`.
    hangs: RefCell<Detector<()>>,
    since: Instant,
    session: RefCell<Option<Rc<Session>>>,
    changed: Notify,
}

/// The ARMORs of a node.
#[derive(Debug, Default)]
pub(crate) struct Armors {
    entries: RefCell<HashMap<Name, Rc<Entry>>>,
}

/// The SHA-256 of a secret: what is kept of it.
pub(crate) fn hash(secret: &[u8]) -> Vec<u8> {
    digest(&SHA256, secret).as_ref().to_vec()
}

/// The pidfd of a process.
pub(crate) fn pidfd(pid: u32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::NONBLOCK).ok()
}

impl Armors {
    /// For the state file.
    pub fn kept(&self) -> Vec<Kept> {
        let entries = self.entries.borrow();
        let kept = |entry: &Rc<Entry>| Kept {
            armor: entry.armor,
            manager: entry.manager,
            cookie: entry.cookie.clone(),
            process: entry.process.get(),
        };
        entries.values().map(kept).collect()
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.entries.borrow().len() as u32
    }

    /// The ARMOR of this name, in whatever life.
    pub fn get(&self, name: Name) -> Option<Rc<Entry>> {
        self.entries.borrow().get(&name).cloned()
    }

    /// All.
    pub fn all(&self) -> Vec<Rc<Entry>> {
        self.entries.borrow().values().cloned().collect()
    }

    /// Whether the caller is this ARMOR: its queue, or a label and words why not.
    pub fn admit(
        &self,
        armor: ArmorId,
        cookie: &[u8],
        pid: u32,
    ) -> Result<Rc<Queue>, (&'static str, String)> {
        let unknown = || ("unknown", format!("{armor} is not installed on this node"));
        let entry = self.get(name(armor)).ok_or_else(unknown)?;
        if !bool::from(hash(cookie).ct_eq(&entry.cookie)) {
            return Err(("cookie", format!("the secret is not that of {armor}")));
        }
        if entry.armor != armor {
            return Err(("life", format!("{} has taken the place of {armor}", entry.armor)));
        }
        match entry.process.get() {
            Some((known, _)) if known != pid => {
                Err(("pid", format!("process {pid} is not that of {armor}")))
            }
            Some(_) => Ok(Rc::clone(&entry.queue)),
            // The daemon that started it was killed before it could keep the number.
            None => {
                entry.process.set(state::started(pid).map(|at| (pid, at)));
                Ok(Rc::clone(&entry.queue))
            }
        }
    }

    /// The ARMOR has called; the connection that it had before, if it has one still.
    pub fn connected(
        &self,
        daemon: &Rc<Daemon>,
        armor: ArmorId,
        session: &Rc<Session>,
    ) -> Option<Rc<Session>> {
        let entry = self.get(name(armor))?;
        let before = entry.session.replace(Some(Rc::clone(session)));
        if let Phase::Starting { asked, .. } = entry.phase.get() {
            entry.phase.set(Phase::Up);
            // One that was about to be killed is watched anew.
            entry.hangs.borrow_mut().forget(());
            entry.hangs.borrow_mut().watch((), entry.now_ns());
            match asked {
                Some((asker, at)) => {
                    let (node, took_ns) = (daemon.node(), at.elapsed().as_nanos() as u64);
                    let pid = entry.process.get().map_or(0, |(pid, _)| pid);
                    let installed = Installed { armor, node, pid, took_ns };
                    daemon.send(asker, Message::Installed(installed));
                }
                None => {
                    daemon.metrics.adopted.inc();
                }
            }
        }
        daemon.reports.retry(daemon);
        entry.changed.notify_one();
        before
    }

    /// An ARMOR that is being started, or one that the last daemon left.
    pub fn add(
        &self,
        daemon: &Rc<Daemon>,
        kept: &Kept,
        asked: Option<(ArmorId, Instant)>,
    ) -> Rc<Entry> {
        let now = Instant::now();
        let settings = &daemon.config.settings;
        let entry = Rc::new(Entry {
            armor: kept.armor,
            manager: kept.manager,
            queue: Rc::new(Queue::new(settings.queue)),
            cookie: kept.cookie.clone(),
            process: Cell::new(kept.process),
            phase: Cell::new(Phase::Starting { until: now + settings.hello, asked }),
            killed: Cell::new(None),
            // No former life of this daemon has sent pings of these numbers.
            hangs: RefCell::new(Detector::new(
                daemon.pings.get(),
                u64::from(daemon.id.incarnation.0) << 32,
            )),
            since: now,
            session: RefCell::default(),
            changed: Notify::new(),
        });
        self.entries.borrow_mut().insert(name(kept.armor), Rc::clone(&entry));
        daemon.queues.borrow_mut().insert(name(kept.armor), Rc::clone(&entry.queue));
        daemon.router.borrow_mut().here(kept.armor);
        daemon.metrics.armors.set(i64::from(self.count()));
        entry
    }

    /// It is no longer there: what waits for it goes back.
    pub fn remove(&self, daemon: &Rc<Daemon>, entry: &Entry) {
        self.entries.borrow_mut().remove(&name(entry.armor));
        daemon.queues.borrow_mut().remove(&name(entry.armor));
        daemon.router.borrow_mut().gone(entry.armor);
        daemon.metrics.armors.set(i64::from(self.count()));
        entry.queue.close();
        for header in entry.queue.drain() {
            let origin = daemon.origin_of(&header);
            daemon.back(origin, &header, NoWay::NotHere);
        }
    }

    /// Takes back what the last daemon left: those whose process is there may call again, the
    /// managers of the others are told.
    pub fn adopt(&self, daemon: &Rc<Daemon>, kept: &[Kept]) {
        for kept in kept {
            let Some((pid, started)) = kept.process else {
                // Killed between a start and the note of it: it may be there, and then it calls.
                let entry = self.add(daemon, kept, None);
                spawn_local(watch_unknown(Rc::clone(daemon), entry));
                continue;
            };
            // The descriptor first: from then on the number cannot become another's.
            let pidfd = pidfd(pid).filter(|_| state::started(pid) == Some(started));
            match pidfd {
                Some(pidfd) => {
                    let entry = self.add(daemon, kept, None);
                    spawn_local(watch(Rc::clone(daemon), entry, pidfd, false));
                }
                None => daemon.reports.down(daemon, kept.armor, kept.manager, How::Gone),
            }
        }
    }
}

impl Entry {
    /// Its process has this number now.
    pub fn started(&self, pid: u32) {
        self.process.set(state::started(pid).map(|at| (pid, at)));
    }

    /// It is to end, as this one wants; told by a message first, then by signals.
    pub fn leave(&self, daemon: &Rc<Daemon>, by: ArmorId) {
        let at = Instant::now() + daemon.config.settings.leave;
        self.phase.set(Phase::Leaving { by, next: Some(Signal::TERM), at });
        self.queue.put_first(&daemon.seal(self.armor, Message::Shutdown));
        self.changed.notify_one();
    }

    /// Whether its process has this number.
    pub fn is(&self, pid: u32) -> bool {
        self.process.get().is_some_and(|(known, _)| known == pid)
    }

    /// Other settings of the detector of hangs.
    pub fn ping_as(&self, settings: Settings) {
        self.hangs.borrow_mut().set(settings, self.now_ns());
        self.changed.notify_one();
    }

    /// It has answered a ping.
    pub fn answered(&self, nonce: u64) {
        // One that is late or was never sent says nothing.
        let _ = self.hangs.borrow_mut().answered((), nonce);
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When something is due.
    fn due(&self) -> Instant {
        match self.phase.get() {
            Phase::Starting { until, .. } => until,
            Phase::Up => {
                let due = self.hangs.borrow().next_ns();
                self.since + Duration::from_nanos(due.unwrap_or_default())
            }
            Phase::Leaving { at, .. } => at,
        }
    }

    /// Does what is due.
    fn turn(&self, daemon: &Rc<Daemon>, pidfd: &OwnedFd) {
        let now = Instant::now();
        if now < self.due() {
            return;
        }
        let kill = |signal| {
            if let Err(error) = rustix::process::pidfd_send_signal(pidfd, signal) {
                daemon.log.trouble("kill", &error);
            }
        };
        match self.phase.get() {
            Phase::Starting { asked, .. } => {
                self.killed.set(Some(How::Hang));
                self.phase
                    .set(Phase::Starting { until: now + daemon.config.settings.hello, asked });
                kill(Signal::KILL);
            }
            Phase::Up => {
                let mut actions = Vec::new();
                self.hangs.borrow_mut().tick(self.now_ns(), &mut actions);
                for action in actions {
                    match action {
                        Action::Send((), nonce) => {
                            let ping = daemon.seal(self.armor, Message::Ping { nonce });
                            self.queue.put_first(&ping);
                        }
                        Action::Down(..) => {
                            self.killed.set(Some(How::Hang));
                            let until = now + daemon.config.settings.hello;
                            self.phase.set(Phase::Starting { until, asked: None });
                            kill(Signal::KILL);
                        }
                        Action::Suspect(..) | Action::Alive(..) => {}
                    }
                }
            }
            Phase::Leaving { by, next, .. } => {
                let at = now + daemon.config.settings.leave;
                kill(next.unwrap_or(Signal::KILL));
                self.phase.set(Phase::Leaving { by, next: Some(Signal::KILL), at });
            }
        }
    }
}

/// Watches an ARMOR's process until it ends.
pub(crate) async fn watch(daemon: Rc<Daemon>, entry: Rc<Entry>, pidfd: OwnedFd, child: bool) {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that lend another's descriptor; this one owns it"
    )]
    let fd = match AsyncFd::with_interest(pidfd, Interest::READABLE) {
        Ok(fd) => fd,
        Err(error) => return daemon.log.trouble("pidfd", &error),
    };
    loop {
        let due = TokioInstant::from_std(entry.due());
        tokio::select! {
            _ = fd.readable() => break,
            () = sleep_until(due) => entry.turn(&daemon, fd.get_ref()),
            () = entry.changed.notified() => {}
        }
    }
    let how = if child { reap(fd.get_ref()) } else { How::Gone };
    ended(&daemon, &entry, entry.killed.get().unwrap_or(how)).await;
}

/// Waits for an ARMOR whose process is not known: it calls, or it is gone.
async fn watch_unknown(daemon: Rc<Daemon>, entry: Rc<Entry>) {
    loop {
        tokio::select! {
            () = sleep_until(TokioInstant::from_std(entry.due())) => break,
            () = entry.changed.notified() => {}
        }
        let Some((pid, started)) = entry.process.get() else { continue };
        let pidfd = pidfd(pid).filter(|_| state::started(pid) == Some(started));
        daemon.save();
        match pidfd {
            Some(pidfd) => return watch(daemon, entry, pidfd, false).await,
            None => break,
        }
    }
    ended(&daemon, &entry, How::Gone).await;
}

/// How a child ended.
fn reap(pidfd: &OwnedFd) -> How {
    use std::os::fd::AsFd;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => How::Exit(code),
            (_, Some(signal)) => How::Signal(signal),
            _ => How::Gone,
        },
        _ => How::Gone,
    }
}

/// Its process has ended.
async fn ended(daemon: &Rc<Daemon>, entry: &Rc<Entry>, how: How) {
    let session = entry.session.borrow().clone();
    if let Some(session) = session
        && timeout(LINGER, session.ended()).await.is_err()
    {
        session.end().await;
    }
    let armor = entry.armor;
    daemon.armors.remove(daemon, entry);
    daemon.save();
    match entry.phase.get() {
        Phase::Leaving { by, .. } => daemon.send(by, Message::Uninstalled(armor)),
        Phase::Starting { asked: Some((asker, _)), .. } => {
            let why = format!("{armor} ended before it was there: {how:?}");
            daemon.send(asker, Message::Refused(Refused { armor: Some(armor), why }));
        }
        _ => daemon.reports.down(daemon, armor, entry.manager, how),
    }
}
