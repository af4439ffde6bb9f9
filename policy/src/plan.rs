//! From a specification to an execution strategy, with reasons (paper 3.2; `chameleon plan`).
//!
//! Invariant: the plan is the cheapest strategy of the registry that gives all that is wanted on the
//! nodes there are; each cheaper one is named with what it lacks. A specification that no strategy
//! meets has no plan. Called by the FTM and by the command.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::duration;
use crate::place::{Ask, Candidate, Choice};
use crate::spec::{Specification, TIMEOUT};
use crate::strategy::{Loss, Registry, Strategy, Wrong};
use crate::vote::scheme::Scheme;

mod check;

/// How the replicas of an application stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In one Execution ARMOR on one node; every call is voted.
    Together,
    /// On several nodes, with the program's effects on the first; every call is voted.
    Linked,
    /// Each a run of its own, with effects of its own; the files that are its results are voted.
    Apart,
}

/// How an application will be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The application's name.
    pub app: String,
    /// The strategy.
    pub strategy: Strategy,
    /// How its replicas stand to each other.
    pub form: Form,
    /// Parts that the application has.
    pub parts: usize,
    /// The nodes; [`Plan::node_of`] says who is where.
    pub nodes: Vec<Choice>,
    /// Options of `chameleon run` for each Execution ARMOR: name without dashes, value.
    pub options: BTreeMap<String, String>,
    /// How results are compared.
    pub voter: Scheme,
    /// The voting timeout to begin with.
    pub timeout: Duration,
    /// What it gives, in sentences.
    pub because: Vec<String>,
    /// Cheaper strategies, and why each is not enough.
    pub passed: Vec<(String, String)>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// The strategy that is asked for by name is not there: in words.
    Unknown(String),
    /// No strategy does, each for this reason.
    Unmet {
        /// The application's name.
        app: String,
        /// The strategies, the cheapest first, and what each lacks.
        lacking: Vec<(String, String)>,
    },
}

/// What decides beside the specification.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The nodes.
    pub nodes: &'a [Candidate],
    /// How long it takes from the loss of a node to when its programs may begin elsewhere
    /// ([`crate::lease::release`]).
    pub release: Duration,
}

impl Plan {
    /// What one Execution ARMOR of the application needs of a node: all replicas where they are together,
    /// else one part of one.
    pub fn ask(&self, spec: &Specification) -> Ask {
        let copies = match self.form {
            Form::Together => u64::from(self.strategy.mode.n) * self.parts as u64,
            Form::Linked | Form::Apart => 1,
        };
        let mut ask = check::ask(spec, &self.strategy, 1);
        (ask.memory, ask.cpu) = (ask.memory.saturating_mul(copies), ask.cpu.saturating_mul(copies));
        ask
    }

    /// Which of the nodes, by its place in [`Plan::nodes`], runs a part (from 0) of a replica. No node
    /// runs parts of two replicas unless there are fewer nodes than replicas.
    pub fn node_of(&self, replica: usize, part: usize) -> usize {
        node_of((usize::from(self.strategy.mode.n), self.nodes.len()), replica, part)
    }
}

/// [`Plan::node_of`], for who has only the numbers of replicas and of nodes.
pub fn node_of((replicas, nodes): (usize, usize), replica: usize, part: usize) -> usize {
    let (replicas, nodes) = (replicas.max(1), nodes.max(1));
    if nodes <= replicas {
        replica % nodes
    } else {
        (part % (nodes / replicas)) * replicas + replica % replicas
    }
}

/// Chooses.
///
/// # Errors
/// [`NoPlan`], with the reason for each strategy.
pub fn plan(
    spec: &Specification,
    registry: &Registry,
    situation: Situation<'_>,
) -> Result<Plan, NoPlan> {
    let mut strategies: Vec<&Strategy> = match &spec.needs.strategy {
        Some(name) => vec![registry.named(name).map_err(NoPlan::Unknown)?],
        None => registry.all().iter().collect(),
    };
    strategies.sort_by(|one, other| {
        one.cpus.total_cmp(&other.cpus).then(one.memory.total_cmp(&other.memory))
    });
    let mut lacking = Vec::new();
    for strategy in strategies {
        match check::check(spec, strategy, situation) {
            Ok(found) => {
                return Ok(Plan {
                    app: spec.app.name.clone(),
                    strategy: strategy.clone(),
                    form: found.form,
                    parts: spec.app.parts.len(),
                    nodes: found.nodes,
                    options: options(spec, strategy, &found.knobs, found.form),
                    voter: spec.needs.voter,
                    timeout: found.knobs.timeout,
                    because: found.because,
                    passed: lacking,
                });
            }
            Err(why) => lacking.push((strategy.name.clone(), why)),
        }
    }
    Err(NoPlan::Unmet { app: spec.app.name.clone(), lacking })
}

/// What `chameleon run` is told.
fn options(
    spec: &Specification,
    strategy: &Strategy,
    knobs: &check::Knobs,
    form: Form,
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    // A run of its own is one replica; the votes are the Voter ARMOR's.
    let mode = if form == Form::Apart { "simplex".to_owned() } else { strategy.mode.to_string() };
    set("mode", mode);
    if form != Form::Apart && knobs.timeout != TIMEOUT {
        set("timeout", duration::text(knobs.timeout));
    }
    if let Some(cadence) = &knobs.cadence {
        set("checkpoint", cadence.to_string());
        if let Some(retries) = spec.needs.retries {
            set("retries", retries.to_string());
        }
        if let Some(livelock) = spec.needs.livelock {
            set("livelock", duration::text(livelock));
        }
    }
    options
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strategy { name, about, cpus, memory, .. } = &self.strategy;
        writeln!(f, "{}: strategy {name}: {about}", self.app)?;
        writeln!(f, "  {cpus} times the CPU time and {memory} times the memory; {}", self.form)?;
        for line in &self.because {
            writeln!(f, "  {line}")?;
        }
        let options = self.options.iter().map(|(name, value)| format!("--{name} {value}"));
        writeln!(f, "options: {}", options.collect::<Vec<_>>().join(" "))?;
        writeln!(f, "nodes:")?;
        for choice in &self.nodes {
            writeln!(f, "  {}", choice.why)?;
        }
        if !self.passed.is_empty() {
            writeln!(f, "cheaper, but not enough:")?;
            for (name, why) in &self.passed {
                writeln!(f, "  {name}: {why}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(why) => f.write_str(why),
            Self::Unmet { app, lacking } => {
                write!(f, "no strategy gives what '{app}' needs")?;
                lacking.iter().try_for_each(|(name, why)| write!(f, "\n  {name}: {why}"))
            }
        }
    }
}

impl std::error::Error for NoPlan {}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Together => "all replicas on one node, every call is voted",
            Self::Linked => {
                "replicas on several nodes, every call is voted, effects are on the first"
            }
            Self::Apart => "each replica is a run of its own, result files are voted",
        })
    }
}

/// Levels as sentences.
fn wrong_is(wrong: Wrong) -> String {
    format!("a wrong computation is {wrong}")
}

fn loss_is(what: &str, loss: Loss) -> String {
    match loss {
        Loss::Ended => format!("{what} ends it"),
        Loss::Restarted => format!("after {what} it begins anew"),
        Loss::Recovered => format!("after {what} it goes on from its last checkpoint"),
        Loss::Masked => format!("{what} is masked"),
    }
}

#[cfg(test)]
mod tests;
