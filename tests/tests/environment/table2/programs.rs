//! Programs that fail: noticed by the EXECUTION ARMOR and the VOTER.

use chameleon_tests::environment::Environment;

use super::*;

#[test]
fn abnormal_termination() {
    let environment = Environment::start();
    managers(&environment);
    let line = "[ -e once ] || { touch once; echo wrong; kill -SEGV $$; }; echo right";
    let app = App::submit(&environment, "crashes", line, "availability = \"restarted\"");
    let incident = told(&environment, "Detected", "signal 11 ended the program");
    let said = explained(&environment, incident, "Recovered");
    assert!(said.contains("the program ended abnormally"), "{said}");
    assert_eq!(app.over()["Ended"], 0);
    assert_eq!(app.read("out"), "right\n");
}

#[test]
fn livelock() {
    let environment = Environment::of_nodes(2);
    managers(&environment);
    let needs = "availability = \"recovered\"\nlivelock = \"200ms\"\nretries = 1\nrestarts = 1";
    let line = "echo begins >> begins; while :; do :; done";
    let app = App::submit(&environment, "turns", line, needs);
    told(&environment, "Detected", "failed");
    told(&environment, "Decided", "the program made no progress");
    let state = app.over();
    assert!(state["Failed"].as_str().is_some_and(|why| why.contains("software bug")), "{state}");
    let said = environment.done(&["events"]);
    for node in [1, 2] {
        assert!(said.contains(&format!("does its work on node {node}")), "{said}");
    }
    told(&environment, "GivenUp", "an apparent software bug");
}

/// Replicas that stand apart, of which one copy, the very first that asks, computes wrong.
const SUM: &str = "\
import os, sys
total = sum(i * i for i in range(1000))
try:
    os.mkdir(sys.argv[1])
    total += 1
except FileExistsError:
    pass
open('sum', 'w').write(f'{total}\\n')
";

fn erroneous<'a>(environment: &'a Environment, name: &'a str, needs: &str) -> App<'a> {
    managers(environment);
    fs::write(environment.scratch(name).join("sum.py"), SUM).unwrap();
    let once = environment.path().join(format!("{name}-once"));
    let app = format!("command = [\"python3\", \"sum.py\", {once:?}]\nresults = [\"sum\"]\n",);
    App::specified(environment, name, &app, needs)
}

#[test]
fn erroneous_computation_in_dual_mode() {
    let environment = Environment::of_nodes(3);
    let needs = "strategy = \"dual\"\nnode-loss = \"restarted\"\nnodes = 2";
    let app = erroneous(&environment, "twice", needs);
    let incident = told(&environment, "Detected", "no 2 of 2 results agree");
    let state = app.over();
    assert_eq!(state["Ended"], 0, "{state} {}", environment.logs());
    assert_eq!(app.read("sum"), "332833500\n");
    let said = explained(&environment, incident, "Recovered");
    assert!(said.contains("the results of its replicas differ"), "the user is told: {said}");
    assert!(said.contains("restart the program"), "{said}");
}

#[test]
fn erroneous_computation_in_tmr_mode() {
    let environment = Environment::of_nodes(3);
    let needs = "integrity = \"masked\"\nnode-loss = \"masked\"\nnodes = 3";
    let app = erroneous(&environment, "thrice", needs);
    let state = app.over();
    assert_eq!(state["Ended"], 0, "{state} {}", environment.logs());
    assert_eq!(app.read("sum"), "332833500\n");
    let incident = told(&environment, "Detected", "computed another result than the others");
    let said = explained(&environment, incident, "Recovered");
    assert!(said.contains("masked") && !said.contains("restart"), "{said}");
}
