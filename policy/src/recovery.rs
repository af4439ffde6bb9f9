//! What is done about a failure: the rows of the paper's Table 2 as plans.
//!
//! Invariant: a plan is data; it names each step in order, and who carries it out is who manages what
//! has failed. What fails too often is not started again for ever: first in place, then on
//! another node, then the user is told of an apparent software bug. The two ways (Recovery blocks) differ
//! in where they begin. Decided by managers; carried out by their Recovery blocks.

use chameleon_proto::ids::{AppId, ArmorId, ArmorType, NodeId, armors};
use chameleon_proto::message::env::How;

use crate::place::{Ask, Candidate, place};
use crate::restart::RestartIntensity;
use crate::strategy::Wrong;
use crate::tables::Tables;

/// Where a Recovery block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Where it was, as long as the restart intensity allows that.
    InPlace,
    /// On another node at once, if there is one.
    Move,
}

/// What has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A node does not answer: it crashed, or its link or daemon is down, which nobody can tell apart
    /// (paper 5.1).
    Node(NodeId),
    /// A link or switch is down, and another way leads to the nodes.
    SpareLink(NodeId),
    /// No node answers: the network is down here.
    Network,
    /// An ARMOR crashed or was killed for hanging.
    Armor(ArmorId, How),
    /// The program of an application ended by itself in a way that is a failure.
    Terminated(AppId, ArmorId),
    /// The program makes no progress.
    Livelock(AppId, ArmorId),
    /// The program was ended because its node was cut off, and the node is there again before it was started
    /// elsewhere.
    CutOff(AppId, ArmorId),
    /// A replica computed something wrong; what the strategy makes of that.
    Erroneous(AppId, ArmorId, Wrong),
    /// The FTM, or the daemon of its node: its backup's ([`crate::promotion`]).
    Ftm,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the node out of the tables' list, and note its failure.
    RemoveNode(NodeId),
    /// Have a daemon kill it, if it is still there.
    Kill(ArmorId, NodeId),
    /// Install this life of the ARMOR on the node.
    Install(ArmorId, NodeId),
    /// Have the Execution ARMOR start its program again, from its last checkpoint if it has one.
    RestartProgram(AppId, ArmorId),
    /// Tell a manager that the node is down; it does the same for its ARMORs and tells its managers.
    TellManager(ArmorId, NodeId),
    /// Tell the user.
    TellUser(String),
    /// The backup makes itself the FTM.
    Promote,
    /// Give up what has failed.
    GiveUp(ArmorId, String),
}

/// What is done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// In this order.
    pub steps: Vec<Step>,
    /// In words.
    pub why: Vec<String>,
}

/// What a manager remembers of one ARMOR that it had to start again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// On the node where it is.
    here: RestartIntensity,
    /// Anywhere.
    anywhere: RestartIntensity,
    fresh: RestartIntensity,
    /// Where it has failed too often.
    failed_on: Vec<NodeId>,
    /// What those nodes are.
    platforms: Vec<String>,
}

/// What a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Who decides.
    pub manager: ArmorId,
    /// Where everything is.
    pub tables: &'a Tables,
    /// The nodes.
    pub nodes: &'a [Candidate],
    /// Where the way begins.
    pub way: Way,
    /// Now, by a clock that does not go back.
    pub now_ns: u64,
}

impl Attempts {
    /// Nothing has failed yet; at most so many restarts in place within any period, and
    /// twice as many altogether.
    pub fn new(most: u8, period_ns: u64) -> Self {
        let here = RestartIntensity::new(most, period_ns);
        let anywhere = RestartIntensity::new(most.saturating_mul(2), period_ns);
        Self { here, anywhere, fresh: here, failed_on: Vec::new(), platforms: Vec::new() }
    }
}

/// The plan for an ARMOR or program that has failed; `attempts` are its own, `ask` what it needs of a
/// node (with the nodes of other replicas of its set in `apart`).
pub fn recover(
    scene: &Scene<'_>,
    failure: Failure,
    ask: &Ask,
    attempts: &mut Attempts,
) -> Recovery {
    let mut plan = Recovery::default();
    match failure {
        Failure::Node(node) => plan.node(scene, node),
        Failure::SpareLink(node) => {
            plan.why.push(format!("{} is reached by another link", scene.tables.at(node)));
        }
        Failure::Network => {
            let text =
                "no node answers; without another network nothing can be done until it is back";
            plan.steps.push(Step::TellUser(text.to_owned()));
            plan.why.push("a switch is down, or this node is cut off".to_owned());
        }
        Failure::Ftm => {
            plan.steps.push(Step::Promote);
            plan.why.push("the FTM has no manager but its backup".to_owned());
        }
        Failure::Armor(armor, how) => {
            if matches!(how, How::Gone | How::Hang)
                && let Some(placed) = scene.tables.known(armor)
            {
                // Its daemon kills one that hangs; one that it did not start it may not have seen end.
                plan.steps.push(Step::Kill(armor, placed.node));
            }
            plan.why.push(format!("{} {}", scene.tables.called(armor), ended(how)));
            // What an EXECUTION ARMOR runs outlives it, and is there alone.
            let runs = armor.kind == armors::EXECUTION;
            plan.again(scene, armor, ask, attempts, runs);
        }
        Failure::Terminated(app, armor) => {
            plan.why.push("the program ended abnormally".to_owned());
            plan.program(scene, app, armor, ask, attempts);
        }
        Failure::Livelock(app, armor) => {
            plan.why.push("the program made no progress".to_owned());
            plan.program(scene, app, armor, ask, attempts);
        }
        Failure::CutOff(app, armor) => {
            // No fault of the program's, so no start of those that it has.
            plan.why.push("its node was cut off and is there again".to_owned());
            plan.steps.push(Step::RestartProgram(app, armor));
        }
        Failure::Erroneous(app, armor, wrong) => {
            plan.why.push(format!("a replica computed something wrong, which is {wrong}"));
            match wrong {
                Wrong::Masked | Wrong::Recovered | Wrong::Unnoticed => {}
                Wrong::Reported | Wrong::Stopped => {
                    let text = format!("application {}: the results of its replicas differ", app.0);
                    plan.steps.push(Step::TellUser(text));
                }
            }
            if wrong == Wrong::Stopped {
                plan.program(scene, app, armor, ask, attempts);
            }
        }
    }
    plan
}

/// A node is down, for one who manages `lost` ARMORs on it: each of them goes to another node. The
/// asks come with the ARMORs, in the order in which they are placed.
pub fn evacuate(scene: &Scene<'_>, node: NodeId, lost: &[(ArmorId, Ask)]) -> Recovery {
    let mut plan = Recovery::default();
    let mut nodes = scene.nodes.to_vec();
    for (armor, ask) in lost {
        let mut ask = ask.clone();
        ask.not.push(node);
        // Those that went before it are counted, and a replica that was there is there no more.
        ask.apart.retain(|apart| *apart != node);
        match place(&ask, &nodes) {
            Ok(choice) => {
                if let Some(taken) = nodes.iter_mut().find(|other| other.id == choice.node) {
                    taken.promised_memory = taken.promised_memory.saturating_add(ask.memory);
                    taken.promised_cpu = taken.promised_cpu.saturating_add(ask.cpu);
                }
                plan.steps.push(Step::Install(armor.successor(), choice.node));
                plan.why.push(choice.why);
            }
            Err(none) => {
                let (what, at) = (scene.tables.called(*armor), scene.tables.at(node));
                plan.give_up(*armor, format!("{what} was on {at}: {none}"));
            }
        }
    }
    plan
}

impl Recovery {
    /// What everyone does about a node beside starting its own ARMORs again ([`evacuate`]): the FTM
    /// takes it out, and each tells the managers below, wherever they are.
    fn node(&mut self, scene: &Scene<'_>, node: NodeId) {
        if matches!(scene.manager.kind, armors::FTM | armors::BACKUP_FTM) {
            self.steps.push(Step::RemoveNode(node));
        }
        let below = scene.tables.subordinates(scene.manager);
        let managers = below.filter(|placed| manages(placed.armor.kind) && placed.node != node);
        self.steps.extend(managers.map(|placed| Step::TellManager(placed.armor, node)));
        self.why.push(format!("{} does not answer", scene.tables.at(node)));
    }

    /// A program again in the ARMOR that it was in; on another node when that has failed too often.
    fn program(
        &mut self,
        scene: &Scene<'_>,
        app: AppId,
        armor: ArmorId,
        ask: &Ask,
        attempts: &mut Attempts,
    ) {
        let at = self.steps.len();
        self.again(scene, armor, ask, attempts, false);
        if let Some(Step::Install(successor, node)) = self.steps.get(at).cloned() {
            let here = scene.tables.known(armor).map(|placed| placed.node);
            if here == Some(node) {
                self.steps[at] = Step::RestartProgram(app, armor);
            } else {
                // Where it was, it must not go on.
                self.steps.splice(at..at, here.map(|here| Step::Kill(armor, here)));
                self.steps.push(Step::RestartProgram(app, successor));
            }
        }
    }

    /// Once more: of one whose program `runs` where it was, there even if that node is to be emptied.
    fn again(
        &mut self,
        scene: &Scene<'_>,
        armor: ArmorId,
        ask: &Ask,
        attempts: &mut Attempts,
        runs: bool,
    ) {
        let Some(placed) = scene.tables.known(armor).copied() else {
            self.why.push("it is not in the tables; nobody misses it".to_owned());
            return;
        };
        if placed.armor != armor {
            let life = placed.armor.incarnation.0;
            self.why.push(format!("its life {life} has taken its place already"));
            return;
        }
        if !attempts.anywhere.allow(scene.now_ns) {
            let text = format!(
                "{} failed again and again, on each node: an apparent software bug",
                scene.tables.called(armor)
            );
            return self.give_up(armor, text);
        }
        let here = scene.nodes.iter().find(|node| node.id == placed.node);
        let there = here.is_some_and(Candidate::is_there);
        let drained = there && here.is_some_and(|node| node.closed.is_some());
        let in_place = there && (!drained || runs);
        if scene.way == Way::InPlace && in_place && attempts.here.allow(scene.now_ns) {
            self.why.push(format!("it is started again on {}", scene.tables.at(placed.node)));
            self.steps.push(Step::Install(armor.successor(), placed.node));
            return;
        }
        self.move_away(scene, armor, placed.node, ask, attempts);
        // Where there is no other node, there may still be this one.
        let moved = matches!(self.steps.last(), Some(Step::Install(..)));
        let first = scene.way == Way::Move || drained;
        if !moved && first && there && attempts.here.allow(scene.now_ns) {
            self.steps.retain(|step| !matches!(step, Step::GiveUp(..) | Step::TellUser(_)));
            self.why.push(format!("so it is started again on {}", scene.tables.at(placed.node)));
            self.steps.push(Step::Install(armor.successor(), placed.node));
        }
    }

    /// To a node on which it has not failed yet, rather one of another platform (Table 2, livelock).
    fn move_away(
        &mut self,
        scene: &Scene<'_>,
        armor: ArmorId,
        from: NodeId,
        ask: &Ask,
        attempts: &mut Attempts,
    ) {
        if !attempts.failed_on.contains(&from) {
            attempts.failed_on.push(from);
        }
        let here = scene.nodes.iter().find(|node| node.id == from);
        if let Some(platform) = here.map(|node| node.platform.clone())
            && !attempts.platforms.contains(&platform)
        {
            attempts.platforms.push(platform);
        }
        let mut ask = ask.clone();
        ask.not.extend(&attempts.failed_on);
        ask.rather_not.extend(attempts.platforms.iter().cloned());
        match place(&ask, scene.nodes) {
            Ok(choice) => {
                attempts.here = attempts.fresh;
                self.why.push(choice.why);
                self.steps.push(Step::Install(armor.successor(), choice.node));
            }
            Err(none) => {
                let text = format!(
                    "{} failed on {}, and {none}: an apparent software bug if it failed everywhere",
                    scene.tables.called(armor),
                    scene.tables.at(from)
                );
                self.give_up(armor, text);
            }
        }
    }

    fn give_up(&mut self, armor: ArmorId, text: String) {
        self.why.push(text.clone());
        self.steps.push(Step::GiveUp(armor, text.clone()));
        self.steps.push(Step::TellUser(text));
    }
}

/// Whether ARMORs of a type manage others.
fn manages(kind: ArmorType) -> bool {
    matches!(kind, armors::FTM | armors::BACKUP_FTM | armors::SURROGATE)
}

fn ended(how: How) -> String {
    match how {
        How::Exit(status) => format!("ended with status {status}"),
        How::Signal(number) => format!("was ended by signal {number}"),
        How::Gone => "is gone".to_owned(),
        How::Hang => "did not answer".to_owned(),
    }
}

impl Step {
    /// For people, by the names that the tables have.
    pub fn words(&self, tables: &Tables) -> String {
        let (called, at) = (|armor| tables.called(armor), |node| tables.at(node));
        match self {
            Self::RemoveNode(node) => format!("remove {}", at(*node)),
            Self::Kill(armor, node) => format!("kill {} on {}", called(*armor), at(*node)),
            Self::Install(armor, node) => format!("install {} on {}", called(*armor), at(*node)),
            Self::RestartProgram(_, armor) => {
                format!("restart the program of {}", called(*armor))
            }
            Self::TellManager(armor, node) => {
                format!("tell {} that {} is down", called(*armor), at(*node))
            }
            Self::TellUser(text) => format!("tell the user: {text}"),
            Self::Promote => "promote the backup".to_owned(),
            Self::GiveUp(armor, _) => format!("give up {}", called(*armor)),
        }
    }
}

#[cfg(test)]
mod tests;
