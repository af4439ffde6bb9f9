//! The EXECUTION ARMOR's process.
//!
//! Invariant: everything it knows is in the arena or given to it here, so that the next one can go
//! on where it stops.

use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;

use chameleon_interpose::dispatcher::{Dispatcher, Reporter, Settings, Turn};
use chameleon_proto::event::{Event, Restarted, Start, Takeover};
use chameleon_proto::message::{Envelope, Message};
use chameleon_sys::process;
use chameleon_sys::title::{self, MmMap};
use chameleon_sys::{cpu, fd, raw};

use crate::again::Again;
use crate::armor::Armor;
use crate::blocks;
use crate::failing::tell_panics;
use crate::launch::Run;
use crate::link::{Control, PACKET, Received};
use crate::runs::Server;

/// Shows what a process of ours is in `ps`.
pub(crate) fn title(kind: &str, program: &str) {
    title::set_name(format!("chameleon: {kind}").as_bytes());
    let line = format!("chameleon: {kind} {program}\0").into_bytes();
    if let Some(map) = MmMap::current() {
        title::set_command_line(&map, &line);
    }
}

/// The ARMOR's life. `socket` is what the run is asked over, if it has that; `died_at` is when its
/// predecessor ended, 0 for the first.
pub(crate) fn live(
    run: &Run,
    listeners: &[i32],
    mut link: Control,
    socket: Option<i32>,
    died_at: u64,
) -> ! {
    title("EXECUTION", &run.name);
    tell_panics("EXECUTION ARMOR", run.root);
    let report = run.report.map(|f| {
        let name = run.config.report.as_ref().map(|p| p.display().to_string());
        (File::from(fd::owned(f)), name.unwrap_or_default())
    });
    let mut reporter = Reporter::new(report, run.root, run.config.verbose);
    let h = run.arena.header();
    if h.announced == 0 {
        h.announced = 1;
        if let Some(Again { attempt: attempt @ 1.., restarts, .. }) = run.again {
            reporter.say(Event::Restarted(Restarted { attempt, restarts }));
        }
        reporter.say(Event::Start(start(run)));
        if let Some(restored) = &run.restored {
            reporter.say(Event::Restored(restored.event(run)));
        }
    }
    let settings = Settings {
        mode: run.config.mode,
        timeout: run.config.timeout,
        injections: run.config.injections.clone(),
        verify_donor: run.config.verify_donor,
        threads: run.config.threads,
        placement: run.config.placement,
        checkpoints: run.config.checkpoints,
        images: run.images.clone(),
        listeners: listeners.to_vec(),
        tracer_bell: run.job_bell,
        supervisor: raw::getppid() as u32,
    };
    let Ok(dispatcher) = Dispatcher::new(run.arena, settings, reporter) else {
        process::exit_now(1)
    };
    let shared = Rc::new(RefCell::new(dispatcher));
    let id = blocks::name(h.incarnation);
    let Ok(mut armor) = blocks::build(id, shared.clone(), &mut link) else { process::exit_now(1) };
    {
        let mut dispatcher = shared.borrow_mut();
        if dispatcher.watch_control(link.number()).is_err() {
            process::exit_now(1);
        }
        dispatcher.take_over();
        if died_at != 0 {
            let ms = (raw::now_ns() - died_at) as f64 / 1e6;
            let incarnation = h.incarnation;
            dispatcher.say(Event::Takeover(Takeover { incarnation, ms }));
        }
        dispatcher.go_on();
    }
    let mut server = socket.and_then(|socket| Server::new(socket, &mut shared.borrow_mut()));
    loop {
        // The borrow lasts while calls are handled and ends before a block is given a message.
        let turn = shared.borrow_mut().run();
        match turn {
            Turn::Control => {
                heed(&mut armor, &mut link);
                if let Some(server) = &mut server {
                    let said = server.serve(&mut shared.borrow_mut());
                    if !said.is_empty() {
                        obey(&mut armor, &mut link, said);
                        server.serve(&mut shared.borrow_mut());
                    }
                }
            }
            Turn::Finished => process::exit_now(0),
            Turn::Continue => {}
        }
    }
}

/// Gives the blocks what somebody asks for over the run's socket, as if the supervisor said it.
fn obey(armor: &mut Armor<blocks::Shared>, link: &mut Control, said: Vec<Message>) {
    for message in said {
        let (destination, epoch) = (armor.id(), armor.epoch());
        let envelope = Envelope { source: blocks::SUPERVISOR, destination, epoch, message };
        drop(armor.deliver(envelope, link)); // it goes nowhere but to a block here
    }
}

/// Gives the blocks what has come over the control link.
fn heed(armor: &mut Armor<blocks::Shared>, link: &mut Control) {
    let mut buffer = [0; PACKET];
    loop {
        match link.receive(&mut buffer) {
            // What cannot be handled is the sender's fault; it hears no answer.
            Received::Packet(n) => drop(armor.deliver_frame(&buffer[..n], link)),
            Received::Nothing => return,
            Received::Closed => process::exit_now(1), // the supervisor is gone
        }
    }
}

fn start(run: &Run) -> Start {
    let cpus = cpu::allowed(0).iter().map(|w| w.count_ones()).sum();
    let text = |a: &std::ffi::OsString| a.to_string_lossy().into_owned();
    Start {
        mode: run.config.mode.to_string().into(),
        n: run.config.mode.n,
        k: run.config.mode.k,
        program: text(&run.config.program),
        args: run.config.args.iter().map(text).collect(),
        pid: run.root,
        cpus,
    }
}
