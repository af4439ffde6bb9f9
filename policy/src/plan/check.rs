//! Whether one strategy gives what a specification wants on the nodes there are.

use std::time::Duration;

use super::{Form, Situation, loss_is, wrong_is};
use crate::checkpoint::Cadence;
use crate::duration::text;
use crate::place::{Ask, Choice, place, spread};
use crate::spec::{Specification, TIMEOUT};
use crate::strategy::{Loss, Strategy, Wrong};
use crate::vote::scheme::Scheme;

/// How often checkpoints are taken if nothing else is said (paper Table 3: every 1.5 s).
const CADENCE: Duration = Duration::from_millis(1500);

/// Checkpoints closer together than this would be all that a program does.
const CLOSEST: Duration = Duration::from_millis(10);

/// What is tuned to the specification.
pub struct Knobs {
    pub timeout: Duration,
    pub cadence: Option<Cadence>,
}

/// A strategy that does.
pub struct Found {
    pub form: Form,
    pub nodes: Vec<Choice>,
    pub knobs: Knobs,
    pub because: Vec<String>,
}

/// What a strategy gives in a form.
struct Gives {
    wrong: Wrong,
    crash: Loss,
    node: Loss,
}

pub fn check(
    spec: &Specification,
    strategy: &Strategy,
    situation: Situation<'_>,
) -> Result<Found, String> {
    meant(spec, strategy)?;
    let count = count(spec, strategy)?;
    let form = form(spec, strategy, count);
    let gives = gives(spec, strategy, form, count);
    levels(spec, strategy, &gives, count)?;
    let knobs = knobs(spec, strategy, &gives, situation.release)?;
    let pauses = pauses(spec, strategy, &gives, &knobs, situation.release)?;
    let nodes = nodes(spec, strategy, count, situation)?;
    if spec.needs.node_loss > Loss::Ended && gives.node < Loss::Masked {
        elsewhere(spec, strategy, &nodes, situation)?;
    }
    let mut because =
        vec![wrong_is(gives.wrong), loss_is("a crash or hang of a replica", gives.crash)];
    because.push(loss_is("the loss of a node", gives.node));
    if gives.node == Loss::Recovered && spec.needs.node_loss == Loss::Recovered {
        let what = "its last image is kept on another node, too, with its output and what it has open for writing; if anything else in its directory is changed after that, it begins anew";
        because.push(what.to_owned());
    }
    because.extend(pauses);
    Ok(Found { form, nodes, knobs, because })
}

/// Settings that would mean nothing here.
fn meant(spec: &Specification, strategy: &Strategy) -> Result<(), String> {
    let needs = &spec.needs;
    if !strategy.checkpoints {
        let said = [
            (needs.checkpoint.is_some(), "checkpoint"),
            (needs.retries.is_some(), "retries"),
            (needs.livelock.is_some(), "livelock"),
        ];
        if let Some((_, key)) = said.iter().find(|(said, _)| *said) {
            return Err(format!("it has no checkpoints, without which '{key}' means nothing"));
        }
    }
    if needs.voter != Scheme::Exact && strategy.mode.n == 1 {
        return Err("one copy has nothing to be compared with by the voter".to_owned());
    }
    Ok(())
}

/// On how many nodes it would be.
fn count(spec: &Specification, strategy: &Strategy) -> Result<usize, String> {
    let replicas = usize::from(strategy.mode.n);
    let most = replicas * spec.app.parts.len();
    let wanted = match (spec.needs.nodes, strategy.nodes) {
        (Some(nodes), _) => nodes,
        (None, Some(nodes)) if spec.needs.node_loss == Loss::Masked => nodes,
        (None, _) => 1,
    };
    if wanted > most {
        let parts = spec.app.parts.len();
        return Err(match parts {
            1 => format!("its {replicas} copies cannot be on {wanted} nodes"),
            _ => format!("its {replicas} copies of {parts} parts cannot be on {wanted} nodes"),
        });
    }
    if wanted > replicas && !wanted.is_multiple_of(replicas) {
        return Err(format!(
            "on {wanted} nodes a node would have parts of two of its {replicas} copies; {replicas} or a multiple of it has not"
        ));
    }
    Ok(wanted)
}

fn form(spec: &Specification, strategy: &Strategy, count: usize) -> Form {
    let several =
        spec.app.parts.len() > 1 || spec.needs.voter != Scheme::Exact || spec.needs.limit.is_some();
    match count {
        1 if !several => Form::Together,
        _ if spec.app.results_are_files() && (several || strategy.mode.n > 1) => Form::Apart,
        _ => Form::Linked,
    }
}

/// Runs apart are compared at their ends: none can be copied from another, and none is rolled back
/// because of another.
fn gives(spec: &Specification, strategy: &Strategy, form: Form, count: usize) -> Gives {
    let mode = strategy.mode;
    let alone = if strategy.checkpoints { Loss::Recovered } else { Loss::Restarted };
    let (wrong, crash) = match form {
        Form::Apart if mode.n > 1 && mode.k == mode.n => {
            (strategy.wrong.min(Wrong::Stopped), strategy.crash.min(alone))
        }
        _ => (strategy.wrong, strategy.crash),
    };
    let node = match (form, strategy.node_loss(count, spec.app.results_are_files())) {
        // Of one run images are kept on another node; runs that are apart are there for each other.
        (Form::Apart, Loss::Recovered) => Loss::Restarted,
        (_, loss) => loss,
    };
    Gives { wrong, crash, node }
}

fn levels(
    spec: &Specification,
    strategy: &Strategy,
    gives: &Gives,
    count: usize,
) -> Result<(), String> {
    let needs = &spec.needs;
    if gives.wrong < needs.integrity {
        return Err(format!("{}; '{}' is wanted", wrong_is(gives.wrong), needs.integrity));
    }
    if gives.crash < needs.availability {
        let is = loss_is("a crash or hang", gives.crash);
        return Err(format!("{is}; '{}' is wanted", needs.availability));
    }
    if gives.node < needs.node_loss {
        let is = loss_is("the loss of a node", gives.node);
        let mut why = format!("{is}; '{}' is wanted", needs.node_loss);
        if needs.node_loss == Loss::Masked {
            why += &match strategy.nodes {
                None => ", for which it has too few copies".to_owned(),
                Some(_) if !spec.app.results_are_files() => {
                    ", which needs results (files): other effects are on one node".to_owned()
                }
                Some(nodes) => format!(", for which it must be on {nodes} nodes and not {count}"),
            };
        }
        return Err(why);
    }
    Ok(())
}

/// The timeout and the cadence: as they are said, or else so that the longest pause is kept.
fn knobs(
    spec: &Specification,
    strategy: &Strategy,
    gives: &Gives,
    release: Duration,
) -> Result<Knobs, String> {
    let needs = &spec.needs;
    let most = needs.max_pause;
    // What goes by before it is known that there is something to recover from.
    let hang = needs.livelock.filter(|_| gives.crash == Loss::Recovered);
    let down = needs.node_loss > Loss::Ended && gives.node == Loss::Recovered;
    let noticed = hang.unwrap_or_default().max(if down { release } else { Duration::ZERO });
    let timeout =
        spec.needs.timeout.unwrap_or_else(|| most.map_or(TIMEOUT, |most| most.min(TIMEOUT)));
    let cadence = match (strategy.checkpoints, spec.needs.checkpoint, most) {
        (false, ..) => None,
        (true, Some(cadence), _) => Some(cadence),
        (true, None, Some(most)) => {
            let before = noticed + strategy.pause;
            let every = most.saturating_sub(before).min(CADENCE);
            if every < CLOSEST {
                return Err(format!(
                    "to notice a failure and go back to a checkpoint takes {}, which leaves too little of {}",
                    text(before),
                    text(most)
                ));
            }
            // In whole milliseconds, as people would write it.
            let every = Duration::from_millis(every.as_millis() as u64);
            Some(Cadence { every: Some(every), calls: None })
        }
        (true, None, None) => Some(Cadence { every: Some(CADENCE), calls: None }),
    };
    Ok(Knobs { timeout, cadence })
}

/// How long it stands still when what must be survived happens; as sentences if that is short enough.
fn pauses(
    spec: &Specification,
    strategy: &Strategy,
    gives: &Gives,
    knobs: &Knobs,
    release: Duration,
) -> Result<Vec<String>, String> {
    let needs = &spec.needs;
    let Some(most) = needs.max_pause else { return Ok(Vec::new()) };
    let none = Duration::ZERO;
    let mut said = Vec::new();
    let mut bound = |what: &str, loss: Loss, detection: Duration| {
        let pause = match loss {
            Loss::Masked => Some(detection),
            Loss::Recovered => {
                let again = knobs.cadence.and_then(|cadence| cadence.every);
                let again = again.ok_or_else(|| {
                    format!("checkpoints by calls alone put no bound on the pause after {what}")
                })?;
                Some(detection + strategy.pause + again)
            }
            Loss::Restarted | Loss::Ended => None,
        };
        match pause {
            Some(pause) if pause <= most => {
                if pause > none {
                    said.push(format!("{what} makes it stand still for up to {}", text(pause)));
                }
                Ok(())
            }
            Some(pause) => Err(format!(
                "{what} makes it stand still for up to {}; no more than {} are wanted",
                text(pause),
                text(most)
            )),
            None => Err(format!(
                "after {what} it begins anew, which puts no bound on the pause; {} are wanted",
                text(most)
            )),
        }
    };
    if needs.availability > Loss::Ended {
        bound("a crash", gives.crash, none)?;
        // A replica that hangs is waited for at the calls where all must come together.
        let late = if strategy.mode.n > 1 { Some(knobs.timeout) } else { needs.livelock };
        match late {
            Some(late) => bound("a hang", gives.crash, late)?,
            None => {
                return Err("a hang of its one copy is not noticed without 'livelock'".to_owned());
            }
        }
    }
    match gives.wrong {
        Wrong::Stopped => bound("a wrong computation", Loss::Restarted, none)?,
        Wrong::Recovered => bound("a wrong computation", Loss::Recovered, none)?,
        Wrong::Unnoticed | Wrong::Reported | Wrong::Masked => {}
    }
    if needs.node_loss > Loss::Ended {
        // The votes of the others decide; nobody waits until the node is known to be down.
        let until = if gives.node == Loss::Masked { none } else { release };
        bound("the loss of a node", gives.node, until)?;
    }
    Ok(said)
}

/// What one replica, with all its parts on one node or not, asks of a node.
pub fn ask(spec: &Specification, strategy: &Strategy, parts: u64) -> Ask {
    // A strategy's memory is that of all its copies; checkpoints are on the node of what they are of.
    let each = strategy.memory / f64::from(strategy.mode.n);
    Ask {
        memory: ((spec.app.memory as f64 * each) as u64).saturating_mul(parts),
        cpu: ((100.0 * strategy.cpus / f64::from(strategy.mode.n)) as u64).saturating_mul(parts),
        features: spec.app.features.clone(),
        ..Ask::default()
    }
}

fn nodes(
    spec: &Specification,
    strategy: &Strategy,
    count: usize,
    situation: Situation<'_>,
) -> Result<Vec<Choice>, String> {
    let replicas = usize::from(strategy.mode.n);
    let parts = spec.app.parts.len();
    let placed = if count <= replicas {
        spread(&ask(spec, strategy, parts as u64), replicas, count, situation.nodes)
    } else {
        spread(&ask(spec, strategy, 1), replicas * parts, count, situation.nodes)
    };
    placed.map_err(|none| none.to_string())
}

/// Whether what is lost with a node has another to go to.
fn elsewhere(
    spec: &Specification,
    strategy: &Strategy,
    taken: &[Choice],
    situation: Situation<'_>,
) -> Result<(), String> {
    let replicas = usize::from(strategy.mode.n);
    let here = replicas.div_ceil(taken.len().max(1)) as u64;
    let mut ask = ask(spec, strategy, spec.app.parts.len() as u64);
    (ask.memory, ask.cpu) = (ask.memory.saturating_mul(here), ask.cpu.saturating_mul(here));
    ask.apart = taken.iter().map(|choice| choice.node).collect();
    match place(&ask, situation.nodes) {
        Ok(_) => Ok(()),
        Err(none) => Err(format!(
            "when a node is lost there must be another to go to, beside those used: {none}"
        )),
    }
}
