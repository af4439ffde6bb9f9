//! The unix socket: ARMORs and commands of this node.
//!
//! Invariant: a connection is an ARMOR's only if it shows the secret that the ARMOR was started with and
//! is its process (`SO_PEERCRED`, `unix(7)`); a command's only if its user is root, the daemon's own or one
//! that the configuration names. Whoever has not said who it is within a while is sent away, and of
//! those there are not many at a time.

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use chameleon_proto::frame::Header;
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::{Hello, Refused};
use chameleon_proto::message::{Envelope, Message};
use chameleon_proto::stream::Stream;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::error::{NetError, file};
use crate::pump::{self, End, Taken};
use crate::queue::Queue;
use crate::route::{Origin, name};

/// The longest first message.
const HELLO: usize = 4096;

/// One connection of an ARMOR, so that a later one can end it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    stop: Notify,
    ended: Notify,
    over: Cell<bool>,
}

impl Session {
    /// Ends it, and waits until nothing of it is left.
    pub async fn end(&self) {
        self.stop.notify_one();
        self.ended().await;
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&self) {
        if !self.over.get() {
            self.ended.notified().await;
        }
    }
}

/// Listens; the socket of a daemon that was killed is taken over.
pub(crate) fn listen(config: &Config) -> Result<UnixListener, NetError> {
    let path = &config.socket;
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(NetError::Running(path.clone())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => fs::remove_file(path).map_err(file("remove", path))?,
    }
    let at = path.display().to_string();
    let listener = UnixListener::bind(path).map_err(|source| NetError::Listen { at, source })?;
    // Who may call is said by the kernel to `admit`; the mode only keeps the others from trying. Root's ARMORs may be
    // other users': what runs an application that has one.
    let alone = config.users.is_empty() && !rustix::process::geteuid().is_root();
    let mode = if alone { 0o600 } else { 0o666 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(file("open", path))?;
    Ok(listener)
}

/// Takes calls for ever.
pub(crate) async fn serve(daemon: Rc<Daemon>, listener: UnixListener) {
    // Counted apart, so that those who may not call keep nobody out who may.
    let (strangers, others) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let known = stream.peer_cred().is_ok_and(|caller| may_call(&daemon, &caller));
                let strangers = if known { &strangers } else { &others };
                if strangers.get() >= daemon.config.settings.strangers {
                    daemon.metrics.no_connection("too_many");
                    daemon.log.connection(&"a process", &"too many have not said who they are");
                    continue;
                }
                strangers.set(strangers.get() + 1);
                spawn_local(connection(Rc::clone(&daemon), stream, Rc::clone(strangers)));
            }
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                daemon.log.trouble("accept", &error);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

async fn connection(daemon: Rc<Daemon>, mut stream: UnixStream, strangers: Rc<Cell<usize>>) {
    let mut input = Stream::default();
    let limit = daemon.config.settings.hello;
    let hello = timeout(limit, pump::first(&mut stream, &mut input, HELLO)).await;
    strangers.set(strangers.get() - 1);
    let caller = match stream.peer_cred() {
        Ok(caller) => caller,
        Err(error) => return daemon.log.trouble("peer", &error),
    };
    let taken = match hello {
        Ok(Ok(Envelope { source, message: Message::Hello(hello), .. })) => {
            admit(&daemon, source, &hello, &caller)
        }
        Ok(Ok(_)) => Err(("no_hello", "the first message must say who is calling".to_owned())),
        Ok(Err(End::Closed)) => return,
        Ok(Err(end)) => {
            daemon.metrics.refused(end.label().unwrap_or("first"));
            Err(("frame", end.to_string()))
        }
        Err(_) => Err(("silent", "nothing was said in time".to_owned())),
    };
    let (id, queue) = match taken {
        Ok(taken) => taken,
        Err((reason, why)) => {
            daemon.metrics.no_connection(reason);
            daemon.log.connection(&format_args!("process {:?}", caller.pid()), &why);
            let to = ArmorId::first(armors::CLIENT, 0);
            let refused = Message::Refused(Refused { armor: None, why });
            let _ = timeout(limit, stream.write_all(&daemon.seal(to, refused))).await;
            return;
        }
    };
    let session = Rc::new(Session::default());
    if id.kind == armors::CLIENT {
        daemon.queues.borrow_mut().insert(name(id), Rc::clone(&queue));
        daemon.router.borrow_mut().here(id);
    } else if let Some(before) = daemon.armors.connected(&daemon, id, &session) {
        // The first writer of the queue must have ended before there is another.
        before.end().await;
    }
    queue.put_first(&daemon.welcome(id));
    let end = talk(&daemon, id, &queue, &session, stream, &mut input).await;
    if let Some(label) = end.label() {
        daemon.metrics.refused(label);
        daemon.log.connection(&id, &end);
    }
    if id.kind == armors::CLIENT {
        daemon.queues.borrow_mut().remove(&name(id));
        daemon.router.borrow_mut().gone(id);
    }
    session.over.set(true);
    session.ended.notify_waiters();
    session.ended.notify_one();
}

/// Reads and writes until one of both ends.
async fn talk(
    daemon: &Rc<Daemon>,
    id: ArmorId,
    queue: &Rc<Queue>,
    session: &Session,
    mut stream: UnixStream,
    input: &mut Stream,
) -> End {
    let (mut from, mut to) = stream.split();
    let mut taken = Taken::default();
    let take = |header: &Header, bytes: &[u8]| daemon.frame(Origin::Local(id), header, bytes);
    let end = tokio::select! {
        end = pump::read(&mut from, input, take) => end,
        end = pump::write(&mut to, queue, &mut taken) => {
            // What it sent before it stopped reading counts all the same.
            let take = |header: &Header, bytes: &[u8]| daemon.frame(Origin::Local(id), header, bytes);
            let rest = pump::read(&mut from, input, take);
            timeout(daemon.config.settings.hello, rest).await.unwrap_or(end)
        }
        () = session.stop.notified() => End::Cut("it called again"),
    };
    taken.put_back(queue);
    if let End::Frame(error) = &end {
        let why = format!("the connection ends: {error}");
        let refused = Message::Refused(Refused { armor: Some(id), why });
        let bytes = daemon.seal(id, refused);
        // Its input is out of step, what it gets is not; if there is no room, the end says enough.
        let _ = to.try_write(&bytes);
    }
    end
}

/// Whether commands of this user are taken.
fn may_command(daemon: &Daemon, user: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    user == 0 || user == own || daemon.config.users.contains(&user)
}

/// Whether a process may be an ARMOR of this node, or a command that is taken.
fn may_call(daemon: &Daemon, caller: &UCred) -> bool {
    let pid = caller.pid().unwrap_or(0) as u32;
    may_command(daemon, caller.uid()) || daemon.armors.all().iter().any(|armor| armor.is(pid))
}

/// Who calls: its name and its queue, or why it is not taken: a label and the words.
fn admit(
    daemon: &Rc<Daemon>,
    source: ArmorId,
    hello: &Hello,
    caller: &UCred,
) -> Result<(ArmorId, Rc<Queue>), (&'static str, String)> {
    let pid = caller.pid().unwrap_or(0) as u32;
    if source.kind == armors::CLIENT {
        let user = caller.uid();
        if !may_command(daemon, user) {
            let why = format!("user {user} may not give commands to this daemon");
            return Err(("user", why));
        }
        let queue = Rc::new(Queue::new(daemon.config.settings.queue));
        return Ok((daemon.new_client(), queue));
    }
    if hello.pid != pid {
        return Err(("pid", format!("process {pid} says that it is process {}", hello.pid)));
    }
    daemon.armors.admit(source, &hello.cookie, pid).map(|queue| (source, queue))
}
