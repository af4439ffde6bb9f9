//! The block that answers what people ask about the environment, and ends it.
//!
//! Invariant: each request is answered exactly once, by one block; what none understands is refused here.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::{ArmorId, armors};
use chameleon_proto::message::env::{Request, Step};
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::applications::planned;
use super::core::{Core, Ftm, done, refuse, tell};
use super::relays::Asker;
use crate::context::{Context, now_ns};

/// Between two looks at whether all have ended.
const LOOK_NS: u64 = 20_000_000;
/// How long applications may take to end, and then their managers.
const PATIENCE_NS: u64 = 10_000_000_000;

struct Desk {
    context: Context,
    ftm: Rc<RefCell<Ftm>>,
    ending: Option<Ending>,
}

/// The environment is being ended.
#[derive(Clone, Copy)]
struct Ending {
    asker: Asker,
    until_ns: u64,
    /// Whether the applications are over, and the managers are told.
    told: bool,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Desk { context: context.clone(), ftm: context.shared(), ending: None })
}

impl Block for Desk {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            outbox.subscribe(Kind::Request);
            outbox.subscribe(Kind::Tick);
            return;
        }
        let shared = Rc::clone(&self.ftm);
        let mut ftm = shared.borrow_mut();
        let Some(core) = ftm.standing() else { return };
        match message {
            Message::Request(request) => self.asked(core, request, outbox),
            Message::Tick { now_ns } => self.end(core, *now_ns, outbox),
            _ => {}
        }
    }
}

impl Desk {
    fn asked(&mut self, core: &mut Core, request: &Request, outbox: &mut Outbox) {
        let (who, number) = (outbox.source(), request.number);
        let told = match serde_json::from_str(&request.text) {
            Err(error) => {
                let why = format!("the FTM does not understand this: {error}");
                return refuse(outbox, who, number, why);
            }
            Ok(Ask::Status) => Told::Status(core.status()),
            Ok(Ask::Apps { all }) => Told::Apps { apps: core.app_rows(all) },
            Ok(Ask::Nodes) => Told::Nodes { nodes: core.node_rows() },
            Ok(Ask::Plan { specification, .. }) => plan(core, &specification),
            Ok(Ask::Shutdown) => {
                let asker = Asker { who, number };
                return self.begin_end(core, asker, outbox);
            }
            // Other blocks'.
            Ok(_) => return,
        };
        tell(outbox, who, number, &told);
    }

    /// First the applications, then those who would start something again, then the FTM itself.
    fn begin_end(&mut self, core: &mut Core, asker: Asker, outbox: &mut Outbox) {
        core.ending = true;
        core.note(outbox, 0, Step::Info, None, "the environment is being ended");
        // The backup stays for now: what applications report at their end is voted on by it, too.
        for armor in core.managed().filter(|armor| armor.kind == armors::SURROGATE) {
            let ask = Ask::Stop { app: armor.number.to_string() };
            let text = serde_json::to_string(&ask).unwrap_or_default();
            outbox.send(armor, Message::Request(Request { number: 0, text }));
        }
        let until_ns = now_ns() + PATIENCE_NS;
        self.ending = Some(Ending { asker, until_ns, told: false });
        self.context.wake_at(now_ns() + LOOK_NS);
    }

    fn end(&mut self, core: &Core, now: u64, outbox: &mut Outbox) {
        let Some(ending) = &mut self.ending else { return };
        let late = now >= ending.until_ns;
        if !ending.told {
            let over = core.tables().apps().all(|app| app.state.is_over());
            if over || late {
                ending.told = true;
                ending.until_ns = now + PATIENCE_NS;
                // First the backup, which would take an end for a failure.
                let (backups, others): (Vec<_>, Vec<_>) =
                    core.managed().partition(|armor| armor.kind == armors::BACKUP_FTM);
                backups.into_iter().chain(others).for_each(|armor| uninstall(core, armor, outbox));
            }
        } else if late || core.managed().next().is_none() {
            let Asker { who, number } = ending.asker;
            done(outbox, who, number, "the environment has ended; its daemons go on");
            self.ending = None;
            return self.context.end();
        }
        self.context.wake_at(now + LOOK_NS);
    }
}

fn uninstall(core: &Core, armor: ArmorId, outbox: &mut Outbox) {
    if let Some(placed) = core.tables().known(armor) {
        outbox.send(ArmorId::daemon(placed.node), Message::Uninstall(armor));
    }
}

fn plan(core: &Core, specification: &str) -> Told {
    match planned(core, specification) {
        Err(why) => Told::Refused { why },
        Ok((_, plan)) => {
            let name = |node| {
                let info = core.tables().node(node);
                info.map_or_else(|| core.tables().at(node), |info| info.name.clone())
            };
            Told::Plan {
                strategy: plan.strategy.name.clone(),
                text: plan.to_string(),
                nodes: plan.nodes.iter().map(|choice| name(choice.node)).collect(),
                options: plan.options,
                because: plan.because,
                passed: plan.passed,
            }
        }
    }
}
