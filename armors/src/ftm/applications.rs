//! The block of the applications: takes them, has their managers installed, passes on what is asked of them.
//!
//! Invariant: an application is planned once; its manager in each of its lives is started with that plan. A
//! number is never given to a second application. Paper 4.1.1, 4.1.2.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chameleon_policy::lease;
use chameleon_policy::plan::{self, Form, Plan, Situation};
use chameleon_policy::spec::Specification;
use chameleon_policy::strategy::Registry;
use chameleon_policy::tables::Tables;
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::{AppId, ArmorId, armors};
use chameleon_proto::message::app::Executing;
use chameleon_proto::message::env::{Answer, App, AppState, Request, Row, Step, Undeliverable};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::core::{Core, Ftm, done, refuse, tell};
use super::relays::{Asker, Relays};
use super::subordinates::planned_name;
use crate::context::{Context, now_ns, wall_ns};
use crate::surrogate::{NOT_LINKED, Parameters};
use crate::voter;

/// Where the last number that was given out is kept, in the table of parameters.
const LAST: &str = "app.last";

struct Applications {
    context: Context,
    ftm: Rc<RefCell<Ftm>>,
    relays: Relays,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Applications {
        context: context.clone(),
        ftm: context.shared(),
        relays: Relays::default(),
    })
}

impl Block for Applications {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            for kind in
                [Kind::Request, Kind::Answer, Kind::Undeliverable, Kind::Executing, Kind::Tick]
            {
                outbox.subscribe(kind);
            }
            return;
        }
        let shared = Rc::clone(&self.ftm);
        let mut ftm = shared.borrow_mut();
        let Some(core) = ftm.standing() else { return };
        match message {
            Message::Request(request) => self.asked(core, request, outbox),
            Message::Executing(run) => runs(core, outbox.source(), run),
            Message::Answer(answer) => {
                let source = outbox.source();
                if let Some(relay) = self.relays.answered(source, answer.number, answer.last) {
                    let asker = relay.asker;
                    if let (Some((app, values)), Ok(Told::Done { .. })) =
                        (relay.set, serde_json::from_str(&answer.text))
                    {
                        was_set(core, app, &values, outbox);
                    }
                    let answer = Answer { number: asker.number, ..answer.clone() };
                    outbox.send(asker.who, Message::Answer(answer));
                }
            }
            Message::Undeliverable(Undeliverable { destination, kind, .. })
                if *kind == Kind::Request.number() =>
            {
                let why = "the application's manager is being started again; ask once more";
                for asker in self.relays.gone(*destination) {
                    refuse(outbox, asker.who, asker.number, why);
                }
            }
            Message::Tick { now_ns } => {
                let why =
                    "the application's manager does not answer; `chameleon events` tells more";
                for asker in self.relays.late(*now_ns) {
                    refuse(outbox, asker.who, asker.number, why);
                }
                self.wake();
            }
            _ => {}
        }
    }
}

impl Applications {
    fn asked(&mut self, core: &mut Core, request: &Request, outbox: &mut Outbox) {
        let asker = Asker { who: outbox.source(), number: request.number };
        match serde_json::from_str(&request.text) {
            Ok(Ask::Submit { specification, directory }) => {
                submit(core, asker, &specification, &directory, outbox);
            }
            Ok(Ask::Stop { app }) => match find(core.tables(), &app) {
                Ok(app) if app.state.is_over() => {
                    let app = app.clone();
                    forget(core, &app, outbox);
                    done(outbox, asker.who, asker.number, format!("'{}' is forgotten", app.name));
                }
                found => {
                    let found = found.cloned();
                    self.relay(core, found, asker, request, outbox);
                }
            },
            Ok(Ask::Set { app: Some(app), .. } | Ask::Logs { app }) => {
                let found = find(core.tables(), &app).cloned();
                self.relay(core, found, asker, request, outbox);
            }
            _ => {}
        }
    }

    /// Passes a request on to an application's manager.
    fn relay(
        &mut self,
        core: &Core,
        app: Result<App, String>,
        asker: Asker,
        request: &Request,
        outbox: &mut Outbox,
    ) {
        let manager = app.and_then(|app| {
            let over = || format!("application '{}' is over and its manager has ended", app.name);
            let manager = ArmorId::first(armors::SURROGATE, app.id.0);
            core.tables().known(manager).map(|placed| (placed.armor, app.id)).ok_or_else(over)
        });
        match manager {
            Err(why) => refuse(outbox, asker.who, asker.number, why),
            Ok((manager, app)) => {
                let set = match serde_json::from_str(&request.text) {
                    Ok(Ask::Set { values, .. }) => Some((app, values)),
                    _ => None,
                };
                let number = self.relays.begin(asker, manager, set, now_ns());
                let request = Request { number, text: request.text.clone() };
                outbox.send(manager, Message::Request(request));
                self.wake();
            }
        }
    }

    fn wake(&self) {
        if let Some(at_ns) = self.relays.next_ns() {
            self.context.wake_at(at_ns);
        }
    }
}

/// A manager says what its application's ARMOR runs, or that it runs nothing any more.
fn runs(core: &mut Core, manager: ArmorId, run: &Executing) {
    if manager.kind != armors::SURROGATE || run.at.app() != manager.app() {
        return;
    }
    if run.pid == 0 {
        core.runs.remove(&run.at.number);
    } else {
        core.runs.insert(run.at.number, run.clone());
    }
}

/// The application of this name or number.
pub(super) fn find<'a>(tables: &'a Tables, app: &str) -> Result<&'a App, String> {
    let number = app.parse().ok().map(AppId);
    // Of those of one name, which can only be over, the latest.
    let named = tables.apps().filter(|known| known.name == app).max_by_key(|known| known.id);
    number.and_then(|number| tables.app(number)).or(named).ok_or_else(|| {
        format!("there is no application '{app}'; `chameleon ps --all` shows those there are")
    })
}

/// What an application would get.
pub(super) fn planned(core: &Core, text: &str) -> Result<(Specification, Plan), String> {
    let specification = Specification::parse(text).map_err(|error| error.to_string())?;
    let nodes = core.candidates();
    let release = lease::release(core.parameters().heartbeat());
    let situation = Situation { nodes: &nodes, release };
    let plan = plan::plan(&specification, &Registry::default(), situation)
        .map_err(|none| none.to_string())?;
    if plan.form == Form::Linked {
        return Err(NOT_LINKED.to_owned());
    }
    if plan.form == Form::Apart {
        voter::votable(&specification)?;
    }
    Ok((specification, plan))
}

fn submit(core: &mut Core, asker: Asker, text: &str, directory: &str, outbox: &mut Outbox) {
    let Asker { who, number } = asker;
    let (specification, plan) = match planned(core, text) {
        Ok(planned) => planned,
        Err(why) => return refuse(outbox, who, number, why),
    };
    let name = specification.app.name.clone();
    let same = core.tables().apps().find(|app| app.name == name).cloned();
    match same {
        Some(app) if !app.state.is_over() => {
            let why = format!(
                "an application '{name}' is there already ({}); give this one another name, or `chameleon stop {name}`",
                app.id.0
            );
            return refuse(outbox, who, number, why);
        }
        Some(app) => forget(core, &app, outbox),
        None => {}
    }
    let last = core.tables().parameter(LAST).and_then(|last| last.parse().ok()).unwrap_or(0u32);
    let id = AppId(last + 1);
    let submitted_ns = wall_ns();
    let candidates = core.open_nodes();
    let parameters = Parameters::new(
        (id, &plan),
        (&specification, text),
        directory,
        submitted_ns,
        core.backup,
        &candidates,
    );
    let parameters = match parameters.to_toml() {
        Ok(parameters) => parameters,
        Err(why) => return refuse(outbox, who, number, why.to_string()),
    };
    let manager = ArmorId::first(armors::SURROGATE, id.0);
    core.change(Row::Parameter(LAST.to_owned(), id.0.to_string()), outbox);
    core.change(Row::Parameter(planned_name(id), parameters), outbox);
    let app = App {
        id,
        name: name.clone(),
        specification: text.to_owned(),
        strategy: plan.strategy.name.clone(),
        manager: Some(manager),
        state: AppState::Starting,
        submitted_ns,
    };
    core.change(Row::App(app), outbox);
    // Beside the FTM: who loses that host loses both, and no other host takes the manager with it.
    let node = core.context.node();
    core.install(manager, node, 0, outbox);
    let text =
        format!("application '{name}' was handed in; its strategy is {}", plan.strategy.name);
    core.note(outbox, 0, Step::Info, Some(id), text);
    let (strategy, because) = (plan.strategy.name, plan.because);
    tell(outbox, who, number, &Told::Submitted { app: id.0, name, strategy, because });
}

/// A running application is another one: its manager's next life is to know.
fn was_set(core: &mut Core, app: AppId, values: &BTreeMap<String, String>, outbox: &mut Outbox) {
    let Some(mut planned) = core.planned(app) else { return };
    if let Some(mode) = values.get("mode") {
        planned.mode.clone_from(mode);
    }
    planned.options.extend(values.clone());
    if let Ok(text) = planned.to_toml() {
        core.change(Row::Parameter(planned_name(app), text), outbox);
    }
}

/// An application that is over is no longer known.
fn forget(core: &mut Core, app: &App, outbox: &mut Outbox) {
    let manager = ArmorId::first(armors::SURROGATE, app.id.0);
    if let Some(placed) = core.tables().known(manager).copied() {
        outbox.send(ArmorId::daemon(placed.node), Message::Uninstall(placed.armor));
    }
    core.change(Row::Parameter(planned_name(app.id), String::new()), outbox);
    core.change(Row::NoApp(app.id), outbox);
}
