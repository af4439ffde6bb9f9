//! The control link between the supervisor and an ARMOR: a pair of connected sockets that carry a
//! frame a packet (unix(7), SOCK_SEQPACKET).
//!
//! Invariant: neither side ever waits for the other: a packet that does not fit the socket's buffer
//! is an error, and an end that is closed is heard of as [`Received::Closed`]. Made by the keeper
//! for each life of an ARMOR.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use chameleon_proto::frame;
use chameleon_proto::message::Envelope;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::armor::{Link, LinkError};

/// The longest packet, in bytes; control messages are far shorter.
pub(crate) const PACKET: usize = 16 << 10;

/// One end.
#[derive(Debug)]
pub(crate) struct Control {
    socket: OwnedFd,
}

/// What [`Control::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet of so many bytes.
    Packet(usize),
    /// Nothing now.
    Nothing,
    /// The other end is closed: whoever held it is gone.
    Closed,
}

impl Control {
    /// Two connected ends, close-on-exec.
    ///
    /// # Errors
    /// socketpair(2)'s.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self { socket: a }, Self { socket: b }))
    }

    /// The descriptor, to be watched.
    pub(crate) fn number(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Takes the next packet into `buffer`; what does not fit of it is lost.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Received {
        loop {
            return match recv(self.number(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => Received::Closed,
                Ok(n) => Received::Packet(n),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Received::Nothing,
                Err(_) => Received::Closed,
            };
        }
    }
}

impl Link for Control {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        let frame = frame::seal(envelope)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.number(), &frame, flags) {
            Ok(_) => Ok(()),
            Err(e) => Err(LinkError::Io(io::Error::from(e))),
        }
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::{ArmorId, ArmorType, Epoch};
    use chameleon_proto::message::Message;

    use super::*;

    #[test]
    fn a_frame_arrives_whole_and_the_end_is_heard_of() {
        let (mut a, b) = Control::pair().unwrap();
        let mut buffer = [0; PACKET];
        assert_eq!(b.receive(&mut buffer), Received::Nothing);
        let envelope = Envelope {
            source: ArmorId::first(ArmorType(1), 0),
            destination: ArmorId::first(ArmorType(2), 0),
            epoch: Epoch(3),
            message: Message::Ping { nonce: 9 },
        };
        a.carry(&envelope).unwrap();
        a.carry(&envelope).unwrap();
        drop(a);
        for _ in 0..2 {
            let Received::Packet(n) = b.receive(&mut buffer) else { panic!("no packet") };
            assert_eq!(frame::open(&buffer[..n]).unwrap(), (envelope.clone(), n));
        }
        assert_eq!(b.receive(&mut buffer), Received::Closed);
    }

    #[test]
    fn a_full_socket_is_an_error_and_not_a_wait() {
        let (mut a, _b) = Control::pair().unwrap();
        let envelope = Envelope {
            source: ArmorId::first(ArmorType(1), 0),
            destination: ArmorId::first(ArmorType(2), 0),
            epoch: Epoch(0),
            message: Message::Shutdown,
        };
        let failed = (0..100_000).any(|_| a.carry(&envelope).is_err());
        assert!(failed, "an unread socket took everything");
    }
}
