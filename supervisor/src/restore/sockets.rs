//! Sockets of an image, made again: pairs with what lay in them, those that are bound with the datagrams that waited
//! there, each sent again by a socket with its sender's address.
//!
//! Invariant: what lay in a socket lies there in the same order before anything of the program runs. Called by the
//! restart alone, with the other open files ([`super::files`]).

use std::os::unix::ffi::OsStrExt;

use chameleon_ckpt::image::{Listen, Message, OpenKind, SocketOption};
use chameleon_sys::{describe, fd, raw, unix};

use super::files::{All, Outcome};

impl All<'_> {
    /// A new socket as it was set.
    pub(super) fn socket(
        &self,
        [family, kind, protocol]: [i32; 3],
        options: &[SocketOption],
    ) -> Outcome<i32> {
        let made = self.above(describe::socket(family, kind, protocol), true)?;
        set(made, options);
        Ok(made)
    }

    /// A socket that listens or is bound, or a datagram socket that has a peer, which it gets when all are there
    /// ([`Self::settle_datagrams`]).
    pub(super) fn listening(&self, listen: &Listen, flags: i32) -> Outcome<i32> {
        let Listen { family, kind, protocol, address, backlog, peer, options, .. } = listen;
        let made = self.socket([*family, *kind, *protocol], options)?;
        let bound = address.len() > 2;
        if *family == libc::AF_UNIX
            && let Some(path) =
                address.get(2..).filter(|path| path.first().is_some_and(|b| *b != 0))
        {
            // The name of a socket whose owner has ended is in the way (unix(7)); that nobody has it was
            // found before.
            let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
            let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
            let _ = std::fs::remove_file(path);
        }
        if bound && let Err(e) = describe::bind(made, address, *backlog) {
            fd::close(made);
            if peer.is_none() || *family == libc::AF_UNIX {
                return Err(format!("a listening socket: {e}"));
            }
            // As of a connection that is gone; the preflight has said it.
            return self.above(describe::reset_connection(*family), true);
        }
        raw::fcntl(made as u64, libc::F_SETFL as u64, flags as u64);
        Ok(made)
    }

    /// Puts datagrams where they lay; then sockets have their peers.
    pub(super) fn settle_datagrams(&self) -> Outcome<()> {
        let sockets =
            self.image.files.iter().zip(&self.files).filter_map(|(file, own)| match &file.kind {
                OpenKind::Listening(listen) => Some((listen, *own)),
                _ => None,
            });
        let sockets: Vec<(&Listen, i32)> = sockets.collect();
        for (listen, _) in &sockets {
            for message in &listen.unread {
                let sender = sockets
                    .iter()
                    .find(|(own, _)| message.from.len() > 2 && own.address == message.from);
                let sent = match sender {
                    Some((_, own)) => self.send_again(*own, message, &listen.address),
                    None => {
                        let made = describe::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
                        let made = made.map_err(|e| e.to_string())?;
                        let sent = self.send_again(made, message, &listen.address);
                        fd::close(made);
                        sent
                    }
                };
                sent?;
            }
        }
        for (listen, own) in &sockets {
            let Some(peer) = &listen.peer else { continue };
            if unix::connect(*own, peer).is_ok() {
                continue;
            }
            // Its peer is gone: that of a pair whose other end is closed is, too.
            let failed = |e: chameleon_sys::Error| format!("a datagram socket: {e}");
            let made = match listen.family {
                libc::AF_UNIX => {
                    let (made, other) = unix::pair(libc::SOCK_DGRAM).map_err(failed)?;
                    fd::close(other);
                    made
                }
                family => describe::reset_connection(family).map_err(failed)?,
            };
            let flags = fd::kind(*own).map_or(0, |kind| kind.flags);
            let placed = fd::place(made, *own).map_err(failed);
            fd::close(made);
            placed?;
            if listen.family == libc::AF_UNIX {
                set(*own, &listen.options);
                if listen.address.len() > 2 {
                    describe::bind(*own, &listen.address, None).map_err(failed)?;
                }
            }
            raw::fcntl(*own as u64, libc::F_SETFL as u64, flags as u64);
        }
        Ok(())
    }

    fn send_again(&self, own: i32, message: &Message, to: &[u8]) -> Outcome<()> {
        let files = message.files.iter();
        let files: Vec<i32> =
            files.filter_map(|place| self.files.get(*place as usize).copied()).collect();
        let sent = unix::send_to(own, &message.bytes, &files, to);
        sent.map_err(|e| format!("what lay in a socket cannot be sent again: {e}"))
    }

    /// The first or the second end of a pair, whichever is asked for first.
    pub(super) fn end_of_pair(&mut self, pair: u64, kind: i32) -> Outcome<i32> {
        if !self.pairs.contains_key(&pair) {
            let (one, other) = unix::pair(kind).map_err(|e| e.to_string())?;
            let both = [self.above(Ok(one), true)?, self.above(Ok(other), true)?];
            self.pairs.insert(pair, (both, 0));
        }
        let Some((both, given)) = self.pairs.get_mut(&pair) else { return Err(String::new()) };
        let made = both.get(*given).copied();
        *given += 1;
        made.ok_or_else(|| "a pair of sockets has three ends".to_owned())
    }

    /// What lay in the sockets of pairs is sent again by their other ends; then what was given up is.
    pub(super) fn fill_pairs(&self) -> Outcome<()> {
        for (file, own) in self.image.files.iter().zip(&self.files) {
            let OpenKind::SocketPair { pair, unread, .. } = &file.kind else { continue };
            let Some((both, _)) = self.pairs.get(pair) else { continue };
            let other = both[usize::from(both[0] == *own)];
            unread.iter().try_for_each(|message| self.send_again(other, message, &[]))?;
        }
        for (file, own) in self.image.files.iter().zip(&self.files) {
            let OpenKind::SocketPair { pair, shut, .. } = &file.kind else { continue };
            let whole = self.pairs.get(pair).is_some_and(|(_, given)| *given == 2);
            if whole {
                unix::shut(*own, u8::from(shut.0) | u8::from(shut.1) << 1);
            }
        }
        Ok(())
    }
}

/// Sets what is not as in a new socket.
pub(super) fn set(made: i32, options: &[SocketOption]) {
    for option in options {
        describe::set_socket_option(made, option.level, option.name, &option.value);
    }
}
