//! Waits for the end of a child, for an interruption, or for a moment.
//!
//! Signals become bytes in a socket pair, so that one blocking read waits for all of them and
//! none is lost between a check and the wait.
//!
//! Invariant: no thread, and handlers only, which programs started later do not inherit.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

/// The signals a campaign waits for.
pub struct Events {
    signals: UnixStream,
    interrupted: Arc<AtomicBool>,
}

impl Events {
    /// Takes over SIGCHLD, SIGINT, SIGTERM and SIGHUP of this process.
    pub fn listen() -> io::Result<Self> {
        let (signals, sender) = UnixStream::pair()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Handlers run in the order of registration: the flag is up when the byte comes.
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGCHLD, sender)?;
        Ok(Self { signals, interrupted })
    }

    /// Whether someone asked this process to end.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Returns after a signal, or at `deadline`, or now and then for no reason.
    pub fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let timeout = deadline.map(|at| {
            // A timeout of zero means none to the socket.
            at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
        });
        self.signals.set_read_timeout(timeout)?;
        let mut bytes = [0; 64];
        let read = (&self.signals).read(&mut bytes);
        match read.map(drop) {
            // How many came does not matter: whoever waits looks at everything again.
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            },
        }
    }
}
