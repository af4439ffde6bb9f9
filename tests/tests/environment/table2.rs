//! The rows of the paper's Table 2, each by its name: a failure is put in, the ARMOR that the table names notices it,
//! what the table says is done, and programs do what they do natively.
//!
//! Invariant: a test waits for what it says, never for a time; what was noticed and done is read where people
//! read it (`chameleon events`, `explain`). Rows of one node are on the loopback address, those of links on
//! network namespaces.

use std::fs;

use chameleon_tests::environment::{Armor, Environment};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

mod armors;
mod managers;
mod nodes;
mod programs;

/// Registered numbers of types of ARMOR.
const EXECUTION: u64 = 1;
const FTM: u64 = 4;
const BACKUP: u64 = 5;
const SURROGATE: u64 = 6;
const HEARTBEAT: u64 = 7;
const VOTER: u64 = 8;

/// Counts until it is told to stop, and has a child that does nothing else. Both write down which process they are: of
/// two that run at a time the numbers alternate.
const COUNTS: &str = "sh -c 'while [ ! -e stop ]; do echo $$ >> children; sleep 0.05; done' & \
    i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; echo $$ >> trace; sleep 0.03; done; \
    wait; echo end; exit 7";

/// An application of a shell's line.
struct App<'a> {
    environment: &'a Environment,
    name: &'a str,
}

impl<'a> App<'a> {
    /// Hands one in; its output is `out` in a directory of its name.
    fn submit(environment: &'a Environment, name: &'a str, line: &str, needs: &str) -> Self {
        let app = format!("command = [\"/bin/sh\", \"-c\", {line:?}]\nstdout = \"out\"\n");
        Self::specified(environment, name, &app, needs)
    }

    /// Hands in what these lines say.
    fn specified(environment: &'a Environment, name: &'a str, app: &str, needs: &str) -> Self {
        let directory = environment.scratch(name);
        let text = format!(
            "[app]\nname = \"{name}\"\ndirectory = {directory:?}\n\
             environment = {{ PATH = \"/usr/local/bin:/usr/bin:/bin\" }}\n{app}\n[dependability]\n{needs}\n"
        );
        let file = environment.scratch("specs").join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        environment.done(&["submit", &file.to_string_lossy()]);
        Self { environment, name }
    }

    fn read(&self, file: &str) -> String {
        let path = self.environment.path().join(self.name).join(file);
        fs::read_to_string(path).unwrap_or_default()
    }

    fn row(&self) -> Value {
        let rows = self.environment.json(&["ps", "--all"]);
        let mut rows = rows.as_array().cloned().unwrap_or_default();
        rows.retain(|row| row["name"] == self.name);
        rows.pop().unwrap_or_default()
    }

    fn running(&self) {
        let what = format!("{} runs", self.name);
        self.environment.until(&what, || (self.row()["state"] == "Running").then_some(()));
    }

    /// Waits until it is over: how.
    fn over(&self) -> Value {
        self.environment.until("it is over", || {
            let state = self.row()["state"].clone();
            state.is_object().then_some(state)
        })
    }

    /// Waits until it has counted so much further.
    fn counts(&self, more: usize) {
        let count = || self.read("trace").lines().count();
        let before = count();
        let what = format!("{} counts", self.name);
        self.environment.until(&what, || (count() >= before + more).then_some(()));
    }

    /// The processes that have counted, in their order; none of them twice.
    fn processes(&self) -> Vec<i32> {
        self.one_by_one("children");
        self.one_by_one("trace")
    }

    fn one_by_one(&self, file: &str) -> Vec<i32> {
        let trace = self.read(file);
        let mut processes: Vec<i32> =
            trace.lines().filter_map(|line| line.trim().parse().ok()).collect();
        processes.dedup();
        let mut each = processes.clone();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), processes.len(), "two ran at a time ({file}): {processes:?}");
        processes
    }

    /// Stops [`COUNTS`]: what it has written is what it would have written alone.
    fn stops(&self) {
        let directory = self.environment.path().join(self.name);
        fs::write(directory.join("stop"), "").unwrap();
        let state = self.over();
        assert_eq!(state["Ended"], 7, "{state}\n{}", self.environment.logs());
        let out = self.read("out");
        let numbers = out.lines().count() - 1;
        let alone: String = (1..=numbers).map(|number| format!("{number}\n")).collect();
        assert_eq!(out, alone + "end\n");
        self.processes();
    }

    /// The node of its (first) EXECUTION ARMOR.
    fn node(&self, nodes: u32) -> u32 {
        let app = self.row()["id"].as_u64().expect("it has a number");
        self.environment.until("its EXECUTION ARMOR", || {
            (1..=nodes).find(|node| executes(self.environment, *node, app))
        })
    }

    fn is_on(&self, node: u32) -> bool {
        executes(self.environment, node, self.row()["id"].as_u64().unwrap_or(0))
    }
}

/// Whether an EXECUTION ARMOR of an application is on a node.
fn executes(environment: &Environment, node: u32, app: u64) -> bool {
    let of = |armor: &Armor| armor.kind == EXECUTION && armor.number >> 12 == app;
    environment.armors(node).iter().any(of)
}

fn signal(armor: Armor, signal: Signal) {
    kill(Pid::from_raw(armor.pid), signal).unwrap();
}

/// What happened so far.
fn events(environment: &Environment) -> Vec<Value> {
    let text = environment.done(&["events", "--json"]);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits for a step of which these words are said: its incident.
#[track_caller]
fn told(environment: &Environment, step: &str, words: &str) -> u64 {
    environment.until(&format!("{step}: {words}"), || {
        events(environment).iter().rev().find_map(|event| {
            let said = event["text"].as_str()?.contains(words) && event["step"] == step;
            said.then(|| event["incident"].as_u64()).flatten()
        })
    })
}

/// Waits until an incident is over: what was said of it, for a person.
#[track_caller]
fn explained(environment: &Environment, incident: u64, last: &str) -> String {
    let steps = environment.until(&format!("incident {incident} is {last}"), || {
        let told = environment.json(&["explain", &incident.to_string()]);
        let steps = told["timeline"].as_array()?.clone();
        steps.iter().any(|step| step["step"] == last).then_some(steps)
    });
    let text: Vec<String> =
        steps.iter().map(|step| format!("{} {}", step["step"], step["text"])).collect();
    println!("incident {incident}:\n{}", text.join("\n"));
    text.join("\n")
}

/// How a node is, as the FTM has it.
#[track_caller]
fn stands(environment: &Environment, node: u32, how: &str) {
    environment.until(&format!("node {node} is {how}"), || {
        let nodes = environment.json(&["node", "list"]);
        let row = nodes.as_array()?.iter().find(|row| row["node"] == node)?.clone();
        (row["standing"] == how).then_some(())
    });
}

/// Waits until FTM and backup are there.
fn managers(environment: &Environment) -> Value {
    environment.until("FTM and backup", || {
        let status = environment.status();
        (!status["backup"].is_null()).then_some(status)
    })
}

/// A node as people read of it.
fn at(environment: &Environment, node: u32) -> String {
    let nodes = environment.json(&["node", "list"]);
    let row = nodes.as_array().unwrap().iter().find(|row| row["node"] == node).unwrap();
    format!("node {node} ({})", row["name"].as_str().unwrap())
}
