//! Saying what happened: lines of the report for machines, a few plain lines for people.
//!
//! Invariant: a report that cannot be written is said once and never stops the program; each
//! refusal is told to people once for each program and call.

use std::fs::File;
use std::io::Write;

use chameleon_proto::event::{Event, Record, Refused, Word};
use chameleon_sys::{fd, raw};

/// Where events go.
#[derive(Debug)]
pub struct Reporter {
    report: Option<(File, String)>,
    /// The root's process: its standard error is where people read.
    root: u32,
    verbose: bool,
    broken: bool,
    told: Vec<(String, Word)>,
}

impl Reporter {
    /// Takes the report and its name, if one was asked for, and the root's process, whose standard error is
    /// taken for each message and not held: a held one would keep a pipe open that the program has
    /// closed.
    pub fn new(report: Option<(File, String)>, root: u32, verbose: bool) -> Self {
        Self { report, root, verbose, broken: false, told: Vec::new() }
    }

    /// Says an event.
    pub fn say(&mut self, event: Event) {
        self.record(&event);
        if let Some(line) = event.line(self.verbose) {
            self.tell(&line);
        }
    }

    /// Puts an event into the report alone.
    pub fn say_quietly(&mut self, event: &Event) {
        self.record(event);
    }

    fn record(&mut self, event: &Event) {
        let Some((file, name)) = &mut self.report else { return };
        if self.broken {
            return;
        }
        let ms = raw::clock_ns(libc::CLOCK_REALTIME) / 1_000_000;
        let written = Record::new(ms, event.clone())
            .to_line()
            .map_err(std::io::Error::other)
            .and_then(|line| file.write_all(line.as_bytes()));
        if let Err(e) = written {
            self.broken = true;
            let line =
                format!("chameleon: {name}: the report cannot be written ({e}); the run goes on");
            self.tell(&line);
        }
    }

    /// Tells people a line, on the standard error of the root process.
    pub fn tell(&mut self, line: &str) {
        let Ok(pidfd) = fd::pidfd(self.root) else { return };
        if let Ok(e) = fd::take(pidfd, 2) {
            fd::write_at(e, format!("{line}\n").as_bytes(), None);
            fd::close(e);
        }
        fd::close(pidfd);
    }

    /// Says that a call was refused and answered with `errno`.
    pub(super) fn refused(
        &mut self,
        process: u32,
        program: String,
        call: Word,
        reason: Word,
        errno: i32,
        advice: &'static str,
    ) {
        let answer = format!("{:?}", chameleon_sys::Errno::from_raw(errno));
        let event = Event::Refused(Refused {
            process,
            program: program.clone(),
            call: call.clone(),
            reason,
            advice: advice.into(),
            answer: answer.into(),
        });
        let known = self.told.iter().any(|(p, c)| *p == program && *c == call);
        if known {
            self.record(&event);
            return;
        }
        self.told.push((program, call));
        self.say(event);
    }
}
