//! Epoll instances of an image, made again (epoll(7)).
//!
//! An item that is added tells what is there already, also of an edge that had been told (EPOLLET). If nothing was left to be
//! told at the cut, what the items of the program's own pipes, pairs and counters tell now had been: it is taken
//! away. Whatever can have changed meanwhile is added afterwards, and may be told once more.
//!
//! Invariant: no edge is lost. Called by the restart alone, when all other files are as they were.

use chameleon_ckpt::image::{EpollItem, OpenKind, TimerFd};
use chameleon_sys::{describe, fd, raw};

use super::files::{All, Outcome};

/// Events of which one is waited for; of an item that was told once (EPOLLONESHOT) there is none.
const EVENTS: u32 = (libc::EPOLLIN
    | libc::EPOLLOUT
    | libc::EPOLLPRI
    | libc::EPOLLRDHUP
    | libc::EPOLLRDNORM
    | libc::EPOLLWRNORM) as u32;

impl All<'_> {
    pub(super) fn settle_epolls(&self) -> Outcome<()> {
        for (file, own) in self.image.files.iter().zip(&self.files) {
            let OpenKind::Epoll { items, quiet } = &file.kind else { continue };
            let (still, moving): (Vec<_>, Vec<_>) =
                items.iter().partition(|item| *quiet && self.stands_still(item));
            self.wait_for(*own, &still)?;
            if !still.is_empty() {
                describe::take_events(*own, still.len());
            }
            self.wait_for(*own, &moving)?;
        }
        Ok(())
    }

    /// Whether what an item waits for is as it was at the cut, until the program runs; or the item waits for nothing.
    fn stands_still(&self, item: &EpollItem) -> bool {
        let oneshot = libc::EPOLLONESHOT as u32;
        let told = item.events & oneshot != 0 && item.events & EVENTS == 0;
        let file = self.image.files.get(item.file as usize);
        told || file.is_some_and(|file| match &file.kind {
            OpenKind::Pipe(end) => !end.outward && end.path.is_none(),
            OpenKind::SocketPair { .. } | OpenKind::EventFd { .. } => true,
            OpenKind::TimerFd(TimerFd { left_ns, expired, .. }) => *left_ns == 0 && *expired > 0,
            _ => false,
        })
    }

    fn wait_for(&self, epoll: i32, items: &[&EpollItem]) -> Outcome<()> {
        for item in items {
            let Some(file) = self.files.get(item.file as usize) else { continue };
            // The kernel knows an item by number and open file: under its own number it is added later.
            let own = item.fd;
            let taken = raw::fcntl(own as u64, libc::F_GETFD as u64, 0) >= 0;
            let saved = match taken {
                true => {
                    Some(describe::duplicate_above(own, self.least).map_err(|e| e.to_string())?)
                }
                false => None,
            };
            let placed = fd::place(*file, own);
            let added =
                placed.and_then(|()| describe::epoll_add(epoll, own, item.events, item.data));
            match saved {
                Some(saved) => {
                    let _ = fd::place(saved, own);
                    fd::close(saved);
                }
                None => fd::close(own),
            }
            added.map_err(|e| format!("an epoll instance: {e}"))?;
        }
        Ok(())
    }
}
