//! The EXECUTION ARMOR of an environment (paper 4.2.2): has a program run, follows it, says how it ended.
//!
//! ```text
//!   Ready ─► Execute ─► start ───────────► Executing ─► its process ends ─► report ─► Executed
//!              │  another life's run        ▲   │ Stop: SIGTERM, SIGKILL           (a result can be fetched)
//!              └─► lives: adopt it ─────────┘   │ Execute, a later attempt: end it, start again from its
//!                  is over: Executed             └    last image, or from the beginning
//! ```
//!
//! Invariant: of one attempt at most one run is ever started, whatever becomes of this ARMOR: the run is a
//! process of its own (`chameleon run`, which has ARMORs of its own inside) and lives on; the next life
//! finds it by what this one wrote down. A run that may be started on another node goes on only as long as the
//! FTM lets it (`lease`). It never waits.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use chameleon_proto::ids::{ArmorId, BlockId, armors};
use chameleon_proto::message::app::{
    Began, Content, Control, Executing, Fault, Order, Ordered, Piece,
};
use chameleon_proto::message::env::{Execute, Executed};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};
use nix::unistd::User;
use rustix::process::Signal;

use crate::common::{images, user};
use crate::context::{Context, now_ns};

mod lease;
mod moving;
mod place;
mod report;
mod result;
mod run;
mod set;
mod state;

use moving::Moving;
pub use parameters::{Parameters, ParametersError};
use result::Outcome;
use run::Running;
use state::State;

mod parameters;

/// The number of its block.
pub(crate) const FOLLOW: BlockId = BlockId(10);

/// How long a program has to end after SIGTERM.
const GRACE_NS: u64 = 5_000_000_000;
/// How long a run whose process was not noted is looked for: it makes its entry among the runs within
/// some milliseconds.
const SEARCH_NS: u64 = 500_000_000;
/// When what did not get to the manager is said again.
const AGAIN_NS: u64 = 200_000_000;
/// How often it is looked whether a run has an ID.
const LOOK_NS: u64 = 20_000_000;

struct Follow {
    context: Context,
    manager: ArmorId,
    home: Result<PathBuf, String>,
    user: Option<User>,
    state: State,
    order: Option<Execute>,
    running: Option<Running>,
    /// A later attempt, which begins when the one at hand has ended.
    next: Option<Execute>,
    executed: Option<Executed>,
    kill_at: Option<u64>,
    search_until: Option<u64>,
    setting: Option<set::Setting>,
    lease: lease::Lease,
    /// When its end is said again, which could not be delivered.
    again_at: Option<u64>,
    /// What it is to go on from is being fetched.
    moving: Option<Moving>,
    /// The images of the run, as they are served.
    images: images::Run,
}

pub(crate) fn build(context: &Context) -> Box<dyn Block> {
    let begin = || {
        let parameters =
            Parameters::from_toml(context.parameters()).map_err(|error| error.to_string())?;
        let home = context.directory().join("apps").join(parameters.home);
        // From here on this process is the application's user.
        let user = user::home(&home, parameters.user.as_deref())?;
        Ok((home, user))
    };
    let (made, user) = begin().map_or_else(|why| (Err(why), None), |(home, user)| (Ok(home), user));
    let state = made.as_ref().map(|home| State::load(home)).unwrap_or_default();
    Box::new(Follow {
        context: context.clone(),
        manager: context.manager(),
        home: made,
        user,
        state,
        order: None,
        running: None,
        next: None,
        executed: None,
        kill_at: None,
        search_until: None,
        setting: None,
        lease: lease::Lease::default(),
        again_at: None,
        moving: None,
        images: images::Run::default(),
    })
}

impl Block for Follow {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match message {
            Message::Attached => {
                for kind in [
                    Kind::Welcome,
                    Kind::Execute,
                    Kind::Control,
                    Kind::Fetch,
                    Kind::Leased,
                    Kind::Undeliverable,
                    Kind::Piece,
                    Kind::Shutdown,
                    Kind::Tick,
                ] {
                    outbox.subscribe(kind);
                }
            }
            Message::Welcome(_) => outbox.send(self.manager, Message::Ready),
            Message::Execute(order) => {
                self.execute(order, outbox);
                self.keep(outbox);
            }
            Message::Control(control) => self.control(control, outbox),
            Message::Leased(leased) => self.leased(leased, outbox),
            Message::Undeliverable(back) if back.kind == Kind::Executed.number() => {
                // Nobody else can say that it is over.
                let at = now_ns() + AGAIN_NS;
                self.again_at = Some(at);
                self.context.wake_at(at);
            }
            Message::Fetch(fetch) => {
                let content = match &self.executed {
                    _ if fetch.what.is_of_images() => self.shown().serve(fetch.what),
                    Some(executed) if executed.attempt == fetch.attempt => {
                        self.outcome(executed).fetch(fetch.what)
                    }
                    _ => Content::Refused("there is no result of this attempt".to_owned()),
                };
                outbox.reply(Message::Piece(Piece { fetch: *fetch, content }));
            }
            Message::Piece(piece) => {
                if let Some(moving) = &mut self.moving {
                    moving.piece(piece, outbox);
                    self.moved(outbox);
                    self.keep(outbox);
                }
            }
            // The ARMOR is taken away, and its program with it; one that has ended already has ended by itself.
            Message::Shutdown => {
                self.moving = None;
                self.turn(outbox);
                self.kill();
            }
            Message::Tick { .. } => {
                self.turn(outbox);
                self.keep(outbox);
            }
            _ => {}
        }
    }
}

impl Follow {
    /// Takes an order of the application's manager, in whichever life that is.
    fn execute(&mut self, order: &Execute, outbox: &mut Outbox) {
        let source = outbox.source();
        let known = self.manager;
        if source.kind != armors::SURROGATE || source.incarnation < known.incarnation {
            return;
        }
        self.manager = source;
        let first = self.order.is_none();
        if order.attempt <= self.state.attempt {
            // The manager may not know how often it was started; the program is the same.
            let order = Execute { attempt: self.state.attempt, ..order.clone() };
            self.order = Some(order);
            if first {
                self.adopt(outbox);
            } else {
                self.tell(outbox);
            }
            return;
        }
        if first && self.state.attempt > 0 && self.running.is_none() {
            let adopted =
                self.home.as_ref().ok().and_then(|home| run::adopt(home, &mut self.state));
            if let Some(running) = adopted {
                self.order = Some(Execute { attempt: self.state.attempt, ..order.clone() });
                self.follow(running);
            }
        }
        if self.running.is_some() {
            self.next = Some(order.clone());
            self.kill();
        } else {
            self.begin(order.clone(), outbox);
        }
    }

    /// What an earlier life started.
    fn adopt(&mut self, outbox: &mut Outbox) {
        let Ok(home) = self.home.clone() else { return self.unstartable(outbox) };
        if let Some(running) = run::adopt(&home, &mut self.state) {
            let _ = self.state.save(&home);
            self.follow(running);
            self.tell(outbox);
        } else if self.state.pid.is_none() && !self.state.over {
            self.search_until.get_or_insert(now_ns() + SEARCH_NS);
            self.context.wake_at(now_ns() + LOOK_NS);
        } else {
            self.end(self.state.status, outbox);
        }
    }

    /// Starts an attempt: from the last image, if there is one here or one is kept elsewhere.
    fn begin(&mut self, order: Execute, outbox: &mut Outbox) {
        let Ok(home) = self.home.clone() else {
            self.order = Some(order);
            return self.unstartable(outbox);
        };
        if order.keeper.is_some() || self.moving.is_some() {
            return self.move_here(order, home, outbox);
        }
        // Of an earlier start than the last one, which was elsewhere, images say nothing.
        let next = self.state.attempt > 0 && order.attempt == self.state.attempt + 1;
        let restored = next && run::has_images(&home, &self.state);
        let images = if restored { self.state.images } else { order.attempt };
        self.attempt(order, restored, images, outbox);
    }

    fn attempt(&mut self, order: Execute, restored: bool, images: u32, outbox: &mut Outbox) {
        self.state = State {
            attempt: order.attempt,
            restored,
            images,
            boot: state::boot(),
            began_ns: unix_ns(),
            ..State::default()
        };
        self.order = Some(order);
        self.lease.anew();
        self.launch(outbox);
    }

    fn launch(&mut self, outbox: &mut Outbox) {
        let (Ok(home), Some(order)) = (self.home.clone(), self.order.clone()) else { return };
        if order.leased && !self.lease.may_start() {
            return;
        }
        self.executed = None;
        let prepared = match &order.apart {
            Some(results) if !self.state.restored => {
                let own = PathBuf::from(String::from_utf8_lossy(&order.directory).into_owned());
                place::make(&own, &home.join("work"), results)
            }
            _ => Ok(()),
        };
        let started = prepared
            .and_then(|()| self.state.save(&home))
            .and_then(|()| run::start(&home, self.user.as_ref(), &order, &self.state));
        match started {
            Ok(running) => {
                (self.state.pid, self.state.started) =
                    (Some(running.pid), state::started(running.pid).unwrap_or(0));
                let _ = self.state.save(&home);
                self.follow(running);
                self.tell(outbox);
            }
            Err(error) => {
                self.home = Err(error.to_string());
                self.unstartable(outbox);
                self.home = Ok(home);
            }
        }
    }

    fn follow(&mut self, running: Running) {
        if running.began == Began::Adopted {
            self.lease.found();
        }
        self.context.watch(Rc::clone(&running.pidfd));
        if running.id.is_empty() {
            self.context.wake_at(now_ns() + LOOK_NS);
        }
        self.running = Some(running);
        self.search_until = None;
    }

    /// Says how things are.
    fn tell(&self, outbox: &mut Outbox) {
        let Some(order) = &self.order else { return };
        if let Some(running) = &self.running {
            let home = self.home.as_ref().map(|home| home.to_string_lossy().into_owned());
            let executing = Executing {
                app: order.app,
                attempt: self.state.attempt,
                pid: running.pid,
                run: running.id.clone(),
                from: running.began,
                home: home.unwrap_or_default(),
                at: self.context.own(),
                began_ns: self.state.began_ns,
                image: running.image,
            };
            outbox.send(self.manager, Message::Executing(executing));
        } else if let Some(executed) = &self.executed {
            outbox.send(self.manager, Message::Executed(executed.clone()));
        }
    }

    /// Looks what has become of the run.
    fn turn(&mut self, outbox: &mut Outbox) {
        let now = now_ns();
        self.moved(outbox);
        if let Some(until) = self.search_until {
            if now > until {
                self.search_until = None;
                self.end(None, outbox);
            } else {
                self.adopt(outbox);
            }
            return;
        }
        if let Some(ended) = self.running.as_mut().and_then(Running::ended) {
            self.end(ended, outbox);
        } else if let Some(running) = &mut self.running {
            if running.id.is_empty() {
                if running.look() {
                    self.tell(outbox);
                } else {
                    self.context.wake_at(now + LOOK_NS);
                }
            }
            if let Some(at) = self.kill_at {
                if at <= now {
                    self.kill();
                } else {
                    self.context.wake_at(at);
                }
            }
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            if self.executed.is_some() {
                self.tell(outbox);
            }
        } else if let Some(at) = self.again_at {
            self.context.wake_at(at);
        }
        if let Some((number, refusal)) = self.setting.as_ref().and_then(set::Setting::answer) {
            self.setting = None;
            outbox.send(self.manager, Message::Ordered(Ordered { number, refusal }));
        }
    }

    /// The run is over.
    fn end(&mut self, status: Option<i32>, outbox: &mut Outbox) {
        if let Some(running) = self.running.take() {
            self.context.unwatch(&running.pidfd);
        }
        self.kill_at = None;
        let (Ok(home), Some(order)) = (self.home.clone(), self.order.clone()) else { return };
        let told = report::read(&run::report(&home, &self.state));
        if self.state.restored && !told.began && self.next.is_none() && !self.lease.is_cut() {
            // Something stands in the way of the image, which stderr says.
            self.anew(&run::complaint(&home, &order), outbox);
            // One that came from elsewhere has the place of the images to come.
            moving::forget(&run::images_of(&home, self.state.attempt));
            (self.state.restored, self.state.images) = (false, self.state.attempt);
            (self.state.pid, self.state.over) = (None, false);
            return self.launch(outbox);
        }
        let (status, fault) = told.judge(status);
        let fault = self.lease.judge(fault);
        (self.state.over, self.state.status) = (true, Some(status));
        let _ = self.state.save(&home);
        self.executed = Some(Executed {
            app: order.app,
            status,
            given_up: fault.as_ref().map(|(_, why)| why.clone()),
            took_ns: unix_ns().saturating_sub(self.state.began_ns),
            attempt: self.state.attempt,
            fault: fault.map(|(fault, _)| fault),
        });
        match self.next.take() {
            Some(next) => self.begin(next, outbox),
            None => self.tell(outbox),
        }
    }

    fn unstartable(&mut self, outbox: &mut Outbox) {
        let Some(order) = &self.order else { return };
        let why = self.home.as_ref().err().cloned().unwrap_or_default();
        self.state.attempt = order.attempt;
        self.executed = Some(Executed {
            app: order.app,
            status: 125,
            given_up: Some(why),
            took_ns: 0,
            attempt: order.attempt,
            fault: Some(Fault::Unstartable),
        });
        self.tell(outbox);
    }

    fn outcome(&self, executed: &Executed) -> Outcome {
        let order = self.order.as_ref();
        let home = self.home.clone().unwrap_or_default();
        Outcome {
            directory: order.map(|order| run::directory(&home, order)).unwrap_or_default(),
            files: order.and_then(|order| order.apart.clone()).unwrap_or_default(),
            status: executed.status,
        }
    }

    fn control(&mut self, control: &Control, outbox: &mut Outbox) {
        let refusal = match (&control.order, &mut self.running) {
            (_, None) => Some("its program does not run".to_owned()),
            (Order::Stop, Some(running)) => {
                running.signal(Signal::TERM);
                let at = now_ns() + GRACE_NS;
                self.kill_at = Some(at);
                self.context.wake_at(at);
                None
            }
            (Order::Set(_), Some(_)) if self.setting.is_some() => {
                Some("another change is under way".to_owned())
            }
            (Order::Set(values), Some(running)) => {
                match set::Setting::begin(&self.context, control.number, running.pid, values) {
                    Ok(setting) => {
                        self.setting = Some(setting);
                        return;
                    }
                    Err(why) => Some(why),
                }
            }
        };
        outbox.reply(Message::Ordered(Ordered { number: control.number, refusal }));
    }

    fn kill(&self) {
        if let Some(running) = &self.running {
            running.kill();
        }
    }
}

/// Nanoseconds since 1970 (UTC).
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
}
