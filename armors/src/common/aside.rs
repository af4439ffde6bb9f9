//! What would keep an ARMOR waiting is done by a thread, which rings when it is done.
//!
//! Invariant: the ARMOR itself does not wait; its context watches the bell. A thread that nobody waits for any
//! more ends with its work. Used by blocks.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};

use crate::context::Context;

/// Work that is under way.
pub(crate) struct Aside<T> {
    context: Context,
    bell: Rc<OwnedFd>,
    outcome: Receiver<T>,
}

impl<T: Send + 'static> Aside<T> {
    /// Begins it, in a thread of this name.
    ///
    /// # Errors
    /// No thread, or no descriptor.
    pub(crate) fn begin(
        context: &Context,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, String> {
        let (bell, rope) = UnixStream::pair().map_err(|error| error.to_string())?;
        let (tell, outcome) = channel();
        let works = move || {
            // Nobody hears it if the ARMOR is about to end.
            let _ = tell.send(work());
            drop(rope);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(works);
        thread.map_err(|error| error.to_string())?;
        let bell: Rc<OwnedFd> = Rc::new(bell.into());
        context.watch(Rc::clone(&bell));
        Ok(Self { context: context.clone(), bell, outcome })
    }

    /// What came of it, once it is done.
    pub(crate) fn done(&self) -> Option<T> {
        self.outcome.try_recv().ok()
    }
}

impl<T> Drop for Aside<T> {
    fn drop(&mut self) {
        self.context.unwatch(&self.bell);
    }
}
