//! `chameleon plan`: which strategy a specification gets, and why.
//!
//! Invariant: it is decided by the same code whoever is asked; without a daemon the one node that
//! is known is this machine. Called by `main`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chameleon_netd::health;
use chameleon_policy::detector::Settings;
use chameleon_policy::lease;
use chameleon_policy::place::Candidate;
use chameleon_policy::plan::{Situation, plan};
use chameleon_policy::spec::Specification;
use chameleon_policy::strategy::Registry;
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::NodeId;
use serde_json::json;

use super::asking::Environment;
use super::place;
use super::submit::{directory, read};
use crate::cli::PlanArgs;

/// Makes and prints it.
pub fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let specification = read(&args.specification)?;
    if !place::socket(&args.place)?.exists() {
        return alone(&specification, args.json);
    }
    let mut environment = Environment::of(&args.place)?;
    let told = environment.ask(&Ask::Plan { specification, directory: directory()? })?;
    let Told::Plan { text, .. } = &told else { bail!(super::NOT_UNDERSTOOD) };
    crate::print(&if args.json { serde_json::to_string(&told)? } else { text.trim_end().into() })?;
    Ok(ExitCode::SUCCESS)
}

/// On this machine, without an environment.
fn alone(text: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let specification = Specification::parse(text).context("the specification is refused")?;
    let nodes = [this_machine()];
    let release = lease::release(Settings::default());
    let situation = Situation { nodes: &nodes, release };
    let plan = plan(&specification, &Registry::default(), situation)?;
    if as_json {
        let told = Told::Plan {
            strategy: plan.strategy.name.clone(),
            text: plan.to_string(),
            options: plan.options.clone(),
            nodes: vec!["this machine".to_owned()],
            because: plan.because.clone(),
            passed: plan.passed.clone(),
        };
        let mut value = serde_json::to_value(told)?;
        value["alone"] = json!(true);
        crate::print(&value.to_string())?;
    } else {
        crate::print(&format!("{}no daemon was asked: this is for this machine alone", plan))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn this_machine() -> Candidate {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags"));
    let flags = flags.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags);
    Candidate {
        id: NodeId(1),
        closed: None,
        health: health::now(0),
        features: flags.split_whitespace().map(str::to_owned).collect(),
        platform: String::new(),
        promised_cpu: 0,
        promised_memory: 0,
        failures: 0,
    }
}
