//! What managers must be told whatever happens: that an ARMOR of theirs is down.
//!
//! Invariant: a report is kept until it was handed on and has not come back for a while; if the manager
//! cannot be found it goes to the FTM, and if there is none it waits for one. Used by `armors`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::env::{ArmorDown, How};
use chameleon_proto::message::{Kind, Message};

use crate::daemon::Daemon;
use crate::route::name;

/// How long a report that was handed on may still come back.
const DOUBT: Duration = Duration::from_secs(5);
/// Reports that are kept at most; the oldest go.
const MOST: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Report {
    down: ArmorDown,
    manager: ArmorId,
    /// To whom it was handed on last, and when.
    handed: Option<(ArmorId, Instant)>,
}

/// Reports that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    open: RefCell<Vec<Report>>,
}

impl Reports {
    /// An ARMOR is down.
    pub fn down(&self, daemon: &Rc<Daemon>, armor: ArmorId, manager: ArmorId, how: How) {
        daemon.metrics.armor_down(match how {
            How::Exit(_) => "exit",
            How::Signal(_) => "signal",
            How::Gone => "gone",
            How::Hang => "hang",
        });
        let at_ns =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |at| at.as_nanos() as u64);
        let down = ArmorDown { armor, node: daemon.node(), how, at_ns };
        daemon.log.down(&down);
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST {
            open.remove(0);
        }
        open.push(Report { down, manager, handed: None });
        drop(open);
        // Nobody but its backup takes the FTM's place; its manager only started it.
        if let (Some((ftm, _)), Some(backup)) = (daemon.ftm.get(), daemon.backup.get())
            && ftm == armor
        {
            daemon.send(backup, Message::ArmorDown(down));
        }
        self.retry(daemon);
    }

    /// Hands on what is not handed on, and forgets what did not come back.
    pub fn retry(&self, daemon: &Rc<Daemon>) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.open.borrow_mut().retain_mut(|report| match report.handed {
            Some((_, at)) => now.saturating_duration_since(at) < DOUBT,
            None => {
                if let Some(to) = daemon.who_hears(report.manager, report.down.armor) {
                    report.handed = Some((to, now));
                    due.push((to, report.down));
                }
                true
            }
        });
        for (to, down) in due {
            daemon.send(to, Message::ArmorDown(down));
        }
    }

    /// Something that the daemon sent came back. The FTM is told in the manager's place, unless it is the
    /// FTM that was not there: then it waits for the next `retry`.
    pub fn came_back(&self, daemon: &Rc<Daemon>, kind: u16, destination: ArmorId) {
        if kind != Kind::ArmorDown.number() {
            return;
        }
        let ftm = daemon.ftm.get().map(|(ftm, _)| ftm);
        for report in self.open.borrow_mut().iter_mut() {
            if report.handed.is_some_and(|(to, _)| to == destination) {
                report.handed = None;
                report.manager = ftm.unwrap_or(report.manager);
            }
        }
    }
}

impl Daemon {
    /// Who is to be told that an ARMOR is down: its manager if there is a way to it, or else the FTM; nobody
    /// if there is no way to either.
    fn who_hears(&self, manager: ArmorId, down: ArmorId) -> Option<ArmorId> {
        let ftm = self.ftm.get().map(|(ftm, _)| ftm);
        [Some(manager), ftm].into_iter().flatten().find(|candidate| {
            let there = match self.router.borrow().node_of(*candidate) {
                Some(node) if node == self.node() => {
                    self.queues.borrow().contains_key(&name(*candidate))
                }
                Some(_) => true,
                None => false,
            };
            there && *candidate != down
        })
    }
}
