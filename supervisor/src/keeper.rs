//! The supervisor: traces the replicas, starts the EXECUTION ARMOR, and starts a successor when it
//! dies or hangs (paper 4.3).
//!
//! ```text
//!   BOOT ──► WATCH ──(ARMOR died, restarts allowed)──► WATCH
//!               ├──(ARMOR gets nowhere)──► ping ──(no answer)──► kill it ──► WATCH
//!               ├──(ARMOR finished)──► end
//!               └──(ARMOR died, too often)──► 125, and with it every replica and executor
//! ```
//!
//! Invariant: never waits for a child; what it holds (tracees, listeners, the lifeline) is what
//! must outlive an ARMOR. It has no state that a successor of the ARMOR needs but the arena.

use std::sync::atomic::Ordering;

use chameleon_interpose::arena::Arena;
use chameleon_interpose::dispatcher::Reporter;
use chameleon_interpose::table;
use chameleon_interpose::tracer::{BootError, Tracer};
use chameleon_policy::restart::RestartIntensity;
use chameleon_proto::frame;
use chameleon_proto::ids::Epoch;
use chameleon_proto::message::{Envelope, Message};
use chameleon_sys::filter::Natives;
use chameleon_sys::process::{self, Fork};
use chameleon_sys::tracee::Stop;
use chameleon_sys::{fd, raw, shadow};

use crate::armor::Link;
use crate::failing::tell_panics;
use crate::launch::Run;
use crate::link::{Control, PACKET, Received};
use crate::liveness::{LOOK_NS, Liveness, Verdict};
use crate::runs::Entry;
use crate::{blocks, execution, giveup};

const CHILDREN: u64 = 0;
const JOBS: u64 = 1;
const ROOT: u64 = 2;
const CONTROL: u64 = 3;
const WAITING: u64 = 4;

/// Restarts of the ARMOR that are allowed within [`RESTART_PERIOD_NS`]: a takeover takes about a
/// millisecond, so one that always dies of the same thing is found out in less than a second.
const RESTARTS: u8 = 32;
/// Where ARMORs are killed on purpose, they may die as often as they are told to.
const RESTART_PERIOD_NS: u64 = if cfg!(feature = "crash-points") { 1 } else { 1_000_000_000 };

/// Where the text of a failed start is kept: the call data of the root, unused until then.
fn text_at(arena: Arena) -> usize {
    arena.data(0, 0)
}

/// Why the start failed, as the supervisor wrote it.
pub(crate) fn failure_text(arena: Arena) -> String {
    let bytes = &*arena.region.bytes(text_at(arena), 512);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Keeps why the start failed.
pub(crate) fn note_failure(arena: Arena, text: &str) {
    let room = arena.region.bytes(text_at(arena), 511);
    let n = text.len().min(room.len());
    room[..n].copy_from_slice(&text.as_bytes()[..n]);
}

fn fail(arena: Arena, status: u32, text: &str) -> ! {
    note_failure(arena, text);
    arena.ready().store(2 + status, Ordering::Release);
    raw::futex_wake(arena.ready(), 1);
    process::exit_now(0)
}

/// The supervisor's life.
pub(crate) fn supervise(run: Run) -> ! {
    let arena = run.arena;
    raw::setsid();
    let alone = arena.header().lockstep == 0;
    let mut natives: Vec<u32> = table::native_numbers().collect();
    if alone {
        natives.extend(table::thread_numbers());
    }
    natives.retain(|n| !matches!(i64::from(*n), libc::SYS_madvise | libc::SYS_futex));
    if arena.header().images != 0 {
        natives.retain(|n| !table::NOTED_FOR_IMAGES.contains(&i64::from(*n)));
    }
    let mut guarded: Vec<u32> = table::guarded_numbers().collect();
    // Of a replica that is watched or was forked several mappings may have to be taken for one.
    guarded.retain(|n| alone || i64::from(*n) != libc::SYS_mremap);
    let filter = Natives {
        numbers: &natives,
        trapped_advice: &table::TRAPPED_ADVICE,
        futexes: if alone { &table::PLAIN_FUTEXES } else { &[] },
        shared_anonymous: alone,
        guarded: &guarded,
        guard: if alone { 0..0 } else { shadow::ADDRESSES },
    };
    let mut tracer = Tracer::new(arena);
    // The first replicas inherit dispositions and mask from here, so ours change only afterwards.
    process::restore_early_state();
    let n = run.config.mode.n.into();
    let booted = match &run.restored {
        None => tracer.boot(&run.program, filter, n),
        Some(restored) => match restored.chain() {
            Ok(mut chain) => tracer.boot_from(&run.program, filter, n, &mut chain),
            Err(e) => Err(BootError::Image(e.to_string())),
        },
    };
    let booted = match booted {
        Ok(b) => b,
        Err(e) => {
            let status = match &e {
                BootError::Exec(chameleon_sys::Errno::ENOENT) => 127,
                BootError::Exec(_) => 126,
                _ => 125,
            };
            fail(arena, status, &e.to_string())
        }
    };
    process::default_signals();
    process::raise_descriptor_limit();
    fd::close_all_but(&kept(&run, &booted.listeners));
    execution::title("SUPERVISOR", &run.name);
    tell_panics("SUPERVISOR", run.root);
    let (Ok(children), Ok(epoll)) = (process::signal_fd(1 << (libc::SIGCHLD - 1)), fd::epoll())
    else {
        fail(arena, 125, "signalfd or epoll_create1 failed: too few descriptors are allowed")
    };
    let entry = enter(&run);
    let mut keeper = Keeper {
        entry,
        tracer,
        listeners: booted.listeners,
        armor: 0,
        control: None,
        liveness: Liveness::default(),
        next_look: Some(0),
        intensity: RestartIntensity::new(RESTARTS, RESTART_PERIOD_NS),
        run,
        children,
        epoll,
    };
    if keeper.run.restored.is_none() {
        keeper.start_armor(0);
    }
    arena.ready().store(1, Ordering::Release);
    raw::futex_wake(arena.ready(), i32::MAX as u32);
    if let Some(restored) = &keeper.run.restored {
        if !restored.wait_for_outsides(arena) {
            let why = failure_text(arena);
            let line = format!("chameleon: {why}; nothing was started, the image stays as it is");
            Reporter::new(None, keeper.run.root, false).tell(&line);
            keeper.end();
        }
        keeper.start_armor(0);
    }
    keeper.tracer.start(arena, keeper.run.config.mode.n.into());
    keeper.watch()
}

struct Keeper {
    tracer: Tracer,
    run: Run,
    listeners: Vec<i32>,
    armor: u32,
    control: Option<Control>,
    /// Where others find the run.
    entry: Option<Entry>,
    liveness: Liveness,
    /// When the ARMOR is looked at next; `None` while it sleeps and nothing waits.
    next_look: Option<u64>,
    intensity: RestartIntensity,
    children: i32,
    epoll: i32,
}

impl Keeper {
    fn start_armor(&mut self, died_at: u64) {
        if let Some(old) = self.control.take() {
            fd::unwatch(self.epoll, old.number());
        }
        let Ok((ours, theirs)) = Control::pair() else { self.end() };
        let supervisor = raw::getpid() as u32;
        match process::fork() {
            Ok(Fork::Child) => {
                // The supervisor's death is the ARMOR's, stopped or not (prctl(2)).
                raw::prctl(libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0);
                if raw::getppid() as u32 != supervisor {
                    process::exit_now(1);
                }
                process::set_mask(0);
                let mut keep = kept(&self.run, &self.listeners);
                let socket = self.entry.as_ref().map(Entry::listener);
                keep.push(theirs.number());
                keep.extend(socket);
                fd::close_all_but(&keep);
                execution::live(&self.run, &self.listeners, theirs, socket, died_at)
            }
            Ok(Fork::Parent(pid)) => self.armor = pid,
            Err(_) => self.end(),
        }
        let _ = fd::watch(self.epoll, ours.number(), CONTROL);
        self.control = Some(ours);
        self.liveness = Liveness::default();
        self.wake_up();
    }

    fn watch(&mut self) -> ! {
        let root = fd::pidfd(self.run.root).unwrap_or(-1);
        for (f, token) in [(self.children, CHILDREN), (self.run.job_bell, JOBS), (root, ROOT)] {
            let _ = fd::watch(self.epoll, f, token);
        }
        loop {
            let mut ready = [fd::Ready::default(); 8];
            let n = fd::wait(self.epoll, &mut ready, self.timeout_ms());
            for r in &ready[..n] {
                match r.token {
                    CHILDREN => process::drain_signal_fd(self.children),
                    JOBS => fd::silence(self.run.job_bell),
                    CONTROL => self.hear(),
                    WAITING => self.wake_up(),
                    _ => fd::unwatch(self.epoll, root),
                }
            }
            self.take_stops();
            self.tracer.run_jobs();
            self.take_stops();
            if self.next_look.is_some_and(|at| raw::now_ns() >= at) {
                self.look();
            }
        }
    }

    fn timeout_ms(&self) -> i32 {
        match self.next_look {
            None => -1,
            Some(at) => (at.saturating_sub(raw::now_ns()) / 1_000_000) as i32 + 1,
        }
    }

    fn take_stops(&mut self) {
        while let Some((pid, stop, cpu)) = self.tracer.next_event() {
            let ended = matches!(stop, Stop::Exited(_) | Stop::Killed(_));
            if pid == self.armor {
                if ended {
                    self.armor_ended();
                }
            } else if !self.tracer.on_stop(pid, stop, cpu) && !ended {
                // A replica's child whose making was cut short: it must not run.
                process::kill(pid, libc::SIGKILL);
            }
        }
    }

    fn armor_ended(&mut self) {
        let now = raw::now_ns();
        let h = self.run.arena.header();
        if h.finished != 0 {
            self.end();
        }
        if !self.intensity.allow(now) {
            self.give_up();
        }
        h.incarnation += 1;
        h.takeovers += 1;
        self.start_armor(now);
    }

    /// What the ARMOR waits for.
    fn inputs(&self) -> impl Iterator<Item = i32> + '_ {
        self.listeners.iter().copied().chain([chameleon_sys::executor::bell_fd()])
    }

    fn look(&mut self) {
        let now = raw::now_ns();
        let beat = self.run.arena.heartbeat().load(Ordering::Relaxed);
        let waiting = self.inputs().any(fd::has_input);
        self.next_look = Some(now + LOOK_NS);
        match self.liveness.look(now, beat, waiting) {
            Verdict::Awake => {}
            Verdict::Asleep => {
                self.next_look = None;
                for f in self.inputs() {
                    let _ = fd::watch(self.epoll, f, WAITING);
                }
            }
            Verdict::Ask(nonce) => self.ping(nonce),
            Verdict::Hangs => process::kill(self.armor, libc::SIGKILL),
        }
    }

    /// Something waits for the ARMOR, or a new one starts: it is looked at from now on.
    fn wake_up(&mut self) {
        if self.next_look.is_none() {
            for f in self.inputs() {
                fd::unwatch(self.epoll, f);
            }
        }
        self.next_look = Some(raw::now_ns() + LOOK_NS);
    }

    fn ping(&mut self, nonce: u64) {
        let incarnation = self.run.arena.header().incarnation;
        let envelope = Envelope {
            source: blocks::SUPERVISOR,
            destination: blocks::name(incarnation),
            epoch: Epoch(u64::from(incarnation)),
            message: Message::Ping { nonce },
        };
        if let Some(link) = &mut self.control {
            // A socket full of pings that nobody takes says the same as no answer.
            let _ = link.carry(&envelope);
        }
    }

    fn hear(&mut self) {
        let mut buffer = [0; PACKET];
        let Some(link) = &self.control else { return };
        match link.receive(&mut buffer) {
            Received::Packet(n) => {
                if let Ok((Envelope { message: Message::Pong { nonce, .. }, .. }, _)) =
                    frame::open(&buffer[..n])
                {
                    self.liveness.answered(nonce);
                }
            }
            Received::Nothing => {}
            // It ends, or has: wait(2) says so.
            Received::Closed => fd::unwatch(self.epoll, link.number()),
        }
    }

    /// ARMORs die faster than they may be started: the run is ended, and people are told.
    fn give_up(&mut self) -> ! {
        self.tracer.kill_all();
        let mut people = Reporter::new(None, self.run.root, false);
        people.tell(&format!(
            "chameleon: the EXECUTION ARMOR ended {} times within {} s; the program is ended, status 125",
            u32::from(RESTARTS) + 1,
            RESTART_PERIOD_NS / 1_000_000_000,
        ));
        giveup::end_run(self.run.arena, self.run.root);
        self.run.arena.header().giving_up = 1;
        self.leave()
    }

    /// Ends what is left; replicas die with their tracer, executors with the lifeline.
    fn end(&mut self) -> ! {
        self.tracer.kill_all();
        self.leave()
    }

    fn leave(&self) -> ! {
        if let Some(entry) = &self.entry {
            entry.remove();
        }
        if let Some(again) = self.run.again
            && self.run.arena.header().giving_up == 1
        {
            again.give_up();
        }
        process::exit_now(0)
    }
}

/// Makes the run's entry among the runs. Without one it goes on; that is said only where somebody
/// needs it.
fn enter(run: &Run) -> Option<Entry> {
    process::ignore(libc::SIGXFSZ); // files may be limited to no size at all
    match Entry::create(run) {
        Ok(entry) => Some(entry),
        Err(e) => {
            if run.config.checkpoints.is_some() {
                Reporter::new(None, run.root, false).tell(&format!(
                    "chameleon: the run has no ID and cannot be asked for checkpoints: no directory \
                     can be made for it in XDG_RUNTIME_DIR or /tmp ({e})"
                ));
            }
            None
        }
    }
}

/// The descriptors that every process of ours but the outside keeps.
fn kept(run: &Run, listeners: &[i32]) -> Vec<i32> {
    let mut keep = vec![chameleon_sys::executor::bell_fd(), run.lifeline, run.job_bell];
    keep.extend(run.report);
    keep.extend(run.again.map(|again| again.pipe));
    keep.extend(run.images.as_ref().map(|images| images.lock));
    keep.extend(shadow::file());
    let memory = run.restored.iter().flat_map(|restored| &restored.memory);
    let held = memory.enumerate().filter(|(o, fd)| run.arena.object(*o).held == (**fd + 1) as u32);
    keep.extend(held.map(|(_, fd)| fd).filter(|fd| **fd >= 0));
    keep.extend(listeners);
    keep
}
