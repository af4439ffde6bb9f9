//! The block of the nodes: who takes part, how each is, and the environment's parameters.
//!
//! Invariant: a node is what `policy::membership` says of it; whatever is decided about one is told to the
//! managers of applications, too (paper 5.1, `MSG_NODE_DOWN`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chameleon_policy::health::FAILURE;
use chameleon_policy::membership::{Duty, Happening, Impossible, Standing};
use chameleon_policy::parameters;
use chameleon_proto::ask::Ask;
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::env::{Heartbeaten, NodeDown, NodeInfo, Request, Row, Step};
use chameleon_proto::message::{Change, Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::core::{Core, Ftm, done, refuse, standing_name, tell};
use crate::context::{Context, now_ns, wall_ns};
use crate::heartbeat;

struct Nodes {
    ftm: Rc<RefCell<Ftm>>,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Nodes { ftm: context.shared() })
}

impl Block for Nodes {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if *message == Message::Attached {
            for kind in [
                Kind::NewManager,
                Kind::NodeInfo,
                Kind::NodeDown,
                Kind::Heartbeaten,
                Kind::Request,
                Kind::Lease,
                Kind::Tick,
            ] {
                outbox.subscribe(kind);
            }
            return;
        }
        let mut ftm = self.ftm.borrow_mut();
        let Some(core) = ftm.standing() else { return };
        let source = outbox.source();
        match message {
            Message::NewManager(new) if source == outbox.own() && new.ftm == source => {
                begin(core, outbox);
            }
            Message::NodeInfo(info) if source.kind == armors::DAEMON => {
                announced(core, info, outbox)
            }
            Message::NodeInfo(info) if source.kind == armors::INITIALIZATION => {
                examined(core, info, outbox);
            }
            Message::NodeDown(down) if source.kind == armors::HEARTBEAT => {
                is_down(core, *down, outbox);
            }
            Message::Heartbeaten(beat) if source.kind == armors::HEARTBEAT => {
                answers(core, beat, outbox);
            }
            Message::Request(request) => asked(core, request, outbox),
            Message::Lease(lease) => core.lease(lease, outbox),
            Message::Tick { now_ns } => core.lost_turn(*now_ns, outbox),
            _ => {}
        }
    }
}

/// This node takes part, whether its daemon has a network or not.
fn begin(core: &mut Core, outbox: &mut Outbox) {
    let node = core.context.node();
    if core.tables().node(node).is_none() {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let info = NodeInfo {
            node,
            name: name.trim().to_owned(),
            address: String::new(),
            os: String::new(),
            kernel: String::new(),
            cpu: String::new(),
            features: Vec::new(),
            health: chameleon_proto::message::env::Health::default(),
        };
        announced(core, &info, outbox);
    }
    core.tell_heartbeat(outbox);
}

/// A daemon says that it is there and where; what it has come to is decided.
fn announced(core: &mut Core, info: &NodeInfo, outbox: &mut Outbox) {
    let node = info.node;
    if core.members.standing(node).is_none() {
        core.members.restore(node, Standing::Enrolled, 0);
    }
    let before = core.members.standing(node);
    let Ok(duties) = core.members.happen(node, Happening::Joins) else {
        return core.note(
            outbox,
            0,
            Step::Info,
            None,
            format!("{} was revoked and called", core.tables().at(node)),
        );
    };
    let known = core.tables().node(node).cloned();
    let row = match &known {
        // What its INITIALIZATION ARMOR found out stays; it says more.
        Some(known) => NodeInfo { address: info.address.clone(), ..known.clone() },
        None => info.clone(),
    };
    if known.as_ref() != Some(&row) {
        core.change(Row::Node(row), outbox);
    }
    let daemon = ArmorId::daemon(node);
    let manager = core.own();
    if core.tables().known(daemon).is_none_or(|placed| placed.manager != manager) {
        core.change(Row::Armor { armor: daemon, manager, node }, outbox);
    }
    if before != core.members.standing(node) {
        outbox.send(daemon, Message::NewManager(core.news()));
        let text = format!("{} has joined", core.tables().at(node));
        core.note(outbox, 0, Step::Info, None, text);
        for (name, value) in core.parameters().all() {
            let (name, value) = (name.clone(), value.clone());
            outbox.send(daemon, Message::Parameter { name, value });
        }
    }
    // A kernel or processor may be another one after a node was away.
    let same = |known: &NodeInfo| info.kernel.is_empty() || info.kernel == known.kernel;
    let examined = known.is_some_and(|known| !known.cpu.is_empty() && same(&known));
    if !examined || before == Some(Standing::Down) {
        examine(core, node, outbox);
    }
    fulfil(core, node, &duties, outbox);
    if before == Some(Standing::Down)
        && let Some(info) = core.tables().node(node).cloned()
    {
        for surrogate in core.surrogates() {
            outbox.send(surrogate, Message::NodeInfo(info.clone()));
        }
    }
}

/// Has the INITIALIZATION ARMOR find out what a node is (paper 4.2.5).
fn examine(core: &mut Core, node: NodeId, outbox: &mut Outbox) {
    let first = ArmorId::first(armors::INITIALIZATION, node.0);
    let known = core.tables().known(first).map(|placed| placed.armor);
    if known.is_some_and(|known| core.below.installing.contains_key(&known)) {
        return;
    }
    let armor = known.map_or(first, ArmorId::successor);
    core.install(armor, node, 0, outbox);
}

/// What a node is.
fn examined(core: &mut Core, info: &NodeInfo, outbox: &mut Outbox) {
    let address = core.tables().node(info.node).map_or("", |known| known.address.as_str());
    let info = NodeInfo { address: address.to_owned(), ..info.clone() };
    core.health.insert(info.node, info.health);
    let node = info.node;
    core.change(Row::Node(info), outbox);
    core.tell_standing(node, false, outbox);
}

/// A node's heartbeat was answered: how it does, and that it is there again.
fn answers(core: &mut Core, beat: &Heartbeaten, outbox: &mut Outbox) {
    if let Some(health) = beat.health {
        core.health.insert(beat.node, health);
    }
    let node = beat.node;
    if core.members.standing(node) != Some(Standing::Down) {
        return;
    }
    if let Some(info) = core.tables().node(node).cloned() {
        let text = format!("{} answers again", core.tables().at(node));
        core.note(outbox, 0, Step::Info, None, text);
        announced(core, &info, outbox);
        core.tell_standing(node, false, outbox);
    }
}

/// The HEARTBEAT ARMOR says that a node is down.
fn is_down(core: &mut Core, down: NodeDown, outbox: &mut Outbox) {
    let node = down.node;
    // Its own word for it came through the daemon that is said to be down.
    if node == core.context.node() {
        return;
    }
    let duties = core.members.happen(node, Happening::Fails).unwrap_or_default();
    if duties.is_empty() {
        return;
    }
    core.change(Row::Failure(down), outbox);
    core.histories.entry(node).or_default().add(FAILURE, wall_ns());
    let incident = core.notes.incident();
    let text = format!(
        "{} does not answer the HEARTBEAT ARMOR: {} heartbeats in a row, each after {} ms",
        core.tables().at(node),
        down.missed,
        core.parameters().heartbeat().interval.as_millis()
    );
    core.note_at(outbox, down.at_ns, incident, Step::Detected, None, text);
    core.lose(down, incident, outbox);
}

fn fulfil(core: &mut Core, node: NodeId, duties: &[Duty], outbox: &mut Outbox) {
    for duty in duties {
        match duty {
            Duty::Watch | Duty::Forget => core.tell_heartbeat(outbox),
            Duty::Fence => {
                core.tell_heartbeat(outbox);
                core.is_back(node, outbox);
            }
            Duty::Recover => {
                let down = NodeDown { node, missed: 0, at_ns: wall_ns() };
                let incident = core.notes.incident();
                let text = format!("{} takes no part any more", core.tables().at(node));
                core.note(outbox, incident, Step::Detected, None, text);
                core.lose(down, incident, outbox);
            }
            Duty::Empty => core.empty(node, outbox),
            Duty::Disconnect => {
                core.change(Row::NoArmor(ArmorId::daemon(node)), outbox);
            }
        }
    }
}

/// What is asked about nodes and parameters.
fn asked(core: &mut Core, request: &Request, outbox: &mut Outbox) {
    let (who, number) = (outbox.source(), request.number);
    match serde_json::from_str(&request.text) {
        Ok(Ask::Set { app: None, values }) => match set(core, &values, outbox) {
            Ok(text) => done(outbox, who, number, text),
            Err(why) => refuse(outbox, who, number, why),
        },
        Ok(Ask::Drain { node, undo: true, .. }) => {
            change(core, (who, number), &node, Happening::Undrain, outbox);
        }
        Ok(Ask::Drain { node, restart, .. }) => drain(core, (who, number), &node, restart, outbox),
        Ok(Ask::Revoke { node }) => change(core, (who, number), &node, Happening::Revoke, outbox),
        _ => {}
    }
}

/// A person changes how a node is.
fn change(
    core: &mut Core,
    (who, number): (ArmorId, u64),
    node: &str,
    what: Happening,
    outbox: &mut Outbox,
) {
    let node = match find(core, node) {
        Ok(node) => node,
        Err(why) => return refuse(outbox, who, number, why),
    };
    if what == Happening::Revoke && node == core.context.node() {
        let why = "the FTM is on this node; it cannot be revoked";
        return refuse(outbox, who, number, why);
    }
    let duties = match core.members.happen(node, what) {
        Ok(duties) => duties,
        Err(why) => return refuse(outbox, who, number, why.to_string()),
    };
    let (kept, text) = match what {
        Happening::Undrain => ("", "takes part again"),
        _ => ("revoked", "takes no part any more"),
    };
    core.change(Row::Parameter(standing_name(node), kept.to_owned()), outbox);
    let text = format!("{} {text}", core.tables().at(node));
    core.note(outbox, 0, Step::Info, None, text.clone());
    done(outbox, who, number, text);
    fulfil(core, node, &duties, outbox);
    core.tell_standing(node, false, outbox);
    core.tell_heartbeat(outbox);
}

/// A person has a node emptied; one that is drained already is asked once more what is there, or to leave.
fn drain(
    core: &mut Core,
    (who, number): (ArmorId, u64),
    node: &str,
    restart: bool,
    outbox: &mut Outbox,
) {
    let node = match find(core, node) {
        Ok(node) => node,
        Err(why) => return refuse(outbox, who, number, why),
    };
    let (duties, again) = match core.members.happen(node, Happening::Drain) {
        Ok(duties) => (duties, false),
        Err(Impossible::Draining(_)) => (Vec::new(), true),
        Err(why) => return refuse(outbox, who, number, why.to_string()),
    };
    core.change(Row::Parameter(standing_name(node), "draining".to_owned()), outbox);
    let mut text = core.tables().at(node);
    text += match (again, restart) {
        (false, false) => " gets nothing new",
        (false, true) => " gets nothing new, and what runs there begins anew elsewhere",
        (true, false) => " gets nothing new already",
        (true, true) => " gets nothing new, and what still runs there begins anew elsewhere",
    };
    if !again || restart {
        core.note(outbox, 0, Step::Info, None, text.clone());
    }
    let told = core.drained(node, restart, text);
    tell(outbox, who, number, &told);
    fulfil(core, node, &duties, outbox);
    core.tell_standing(node, restart, outbox);
    core.tell_heartbeat(outbox);
    core.lost_turn(now_ns(), outbox);
}

/// The node of this name or number.
fn find(core: &Core, node: &str) -> Result<NodeId, String> {
    let of_number =
        node.parse().ok().map(NodeId).filter(|node| core.tables().node(*node).is_some());
    let named: Vec<NodeId> =
        core.tables().nodes().filter(|info| info.name == node).map(|info| info.node).collect();
    match (of_number, named.as_slice()) {
        (Some(node), _) => Ok(node),
        (None, [node]) => Ok(*node),
        (None, []) => {
            Err(format!("there is no node '{node}'; `chameleon node list` shows those there are"))
        }
        (None, _) => Err(format!("several nodes are called '{node}'; say which by its number")),
    }
}

/// Parameters are other ones from here on, all or none.
fn set(
    core: &mut Core,
    values: &BTreeMap<String, String>,
    outbox: &mut Outbox,
) -> Result<String, String> {
    values.iter().try_for_each(|(name, value)| parameters::check(name, value))?;
    if values.is_empty() {
        return Err("nothing is said to be set".to_owned());
    }
    let before = core.parameters();
    let mut said = Vec::new();
    for (name, value) in values {
        core.change(Row::Parameter(name.clone(), value.clone()), outbox);
        said.push(format!("{name} is {value}"));
        let message = Message::Parameter { name: name.clone(), value: value.clone() };
        for daemon in core.daemons() {
            outbox.send(daemon, message.clone());
        }
        for heartbeat in core.managed().filter(|armor| armor.kind == armors::HEARTBEAT) {
            outbox.send(heartbeat, message.clone());
        }
    }
    let now = core.parameters();
    if before.health() != now.health() {
        let (old, new) = heartbeat::blocks(now.health());
        for armor in core.managed().filter(|armor| armor.kind == armors::HEARTBEAT) {
            outbox.send(armor, Message::Compose(Change::Replace { old, new }));
        }
    }
    let text = said.join(", ");
    core.note(outbox, 0, Step::Info, None, text.clone());
    Ok(text)
}
