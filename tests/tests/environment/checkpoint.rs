//! The CHECKPOINT ARMOR: a program whose node is lost goes on elsewhere from its last image.

use std::fs;
use std::process::Command;

use chameleon_tests::environment::Environment;
use chameleon_tests::{have, program_path};

use crate::applications::{
    EXECUTION, incidents, killed, native, over, running, shell, specification,
};

const CHECKPOINT: u64 = 10;

const NEEDS: &str =
    "availability = \"recovered\"\nnode-loss = \"recovered\"\ncheckpoint = \"100ms\"";

/// Says that it begins, there and in its output; counts in its memory; then says what it has counted.
fn counting(to: u32, each: &str) -> String {
    format!(
        "echo begin >> begins; echo counts; i=0; \
         while [ $i -lt {to} ]; do i=$((i+1)); {each} sleep 0.05; done; echo $i"
    )
}

/// The node that the application's program runs on.
fn node(environment: &Environment) -> u32 {
    environment.until("it has a node", || {
        (1..=3).find(|node| environment.armors(*node).iter().any(|armor| armor.kind == EXECUTION))
    })
}

/// Waits until this was told so often.
fn told(environment: &Environment, what: &str, times: usize) {
    environment.until(what, || {
        let events = environment.done(&["events"]);
        (events.matches(what).count() >= times).then_some(())
    });
}

/// Its program's node is lost, and the program is over: what was told.
fn lost(environment: &Environment, name: &str) -> String {
    let node = node(environment);
    assert_ne!(node, 1, "the node of the FTM is the fullest");
    environment.crash(node);
    let state = over(environment, name);
    let events = incidents(environment);
    assert_eq!(state["Ended"], 0, "{state}\n{events}\n{}", environment.logs());
    events
}

fn begins(environment: &Environment, name: &str) -> usize {
    fs::read_to_string(environment.scratch(name).join("begins")).unwrap().lines().count()
}

#[test]
fn a_program_whose_node_is_lost_goes_on_elsewhere_from_its_image() {
    let environment = Environment::of_nodes(3);
    let line = counting(80, "");
    let spec = specification(&environment, "moves", &shell(&line), NEEDS);
    // Not on the node of the FTM, whatever else the machine does; afterwards that may have it, too.
    environment.done(&["node", "drain", "1"]);
    environment.done(&["submit", &spec]);
    running(&environment, "moves");
    environment.done(&["node", "undrain", "1"]);
    told(&environment, "is kept on node", 1);
    // The keeper may be killed at any time, and keeps what it kept.
    let keeper =
        (1..=3).find(|node| environment.armors(*node).iter().any(|armor| armor.kind == CHECKPOINT));
    let keeper = keeper.expect("there is a CHECKPOINT ARMOR");
    assert_ne!(keeper, node(&environment));
    killed(&environment, keeper, CHECKPOINT);
    told(&environment, "CHECKPOINT of moves does its work on node", 1);
    let events = lost(&environment, "moves");
    assert!(events.contains("its program from image"), "{events}");
    assert_eq!(begins(&environment, "moves"), 1, "{events}");
    let said = environment.done(&["logs", "moves", "--what", "stdout"]);
    assert_eq!(said, native(&environment, "native", &line));
}

#[test]
fn a_program_that_changed_its_directory_since_its_image_begins_anew_and_says_so() {
    let environment = Environment::of_nodes(3);
    // A directory that is there already ends it: nothing may be done twice.
    let line = format!("rm -rf d*; {}", counting(60, "mkdir d$i || exit 3;"));
    let spec = specification(&environment, "makes", &shell(&line), NEEDS);
    environment.done(&["submit", &spec]);
    running(&environment, "makes");
    environment.until("it is on its way", || {
        environment.scratch("makes").join("d20").exists().then_some(())
    });
    let events = lost(&environment, "makes");
    // Between two of them its last image may have been kept just before its node was lost.
    let anew = !events.contains("its program from image");
    assert_eq!(begins(&environment, "makes"), 1 + usize::from(anew), "{events}");
    assert_eq!(events.contains("begins anew"), anew, "{events}");
    let said = environment.done(&["logs", "makes", "--what", "stdout"]);
    assert_eq!(said, native(&environment, "native", &line));
}

/// A log that grows, a table in memory, and libraries that are mapped.
const INTERPRETED: &str = "
import time
log = open('log', 'a', buffering=1)
log.write('begins\\n')
table = {}
for i in range(120):
    table[i * 7919 % 1009] = str(i) * 40
    log.write(f'{i} {len(table)}\\n')
    time.sleep(0.04)
print(sum(len(word) * key for key, word in sorted(table.items())))
";

#[test]
fn an_interpreter_and_its_log_go_on_elsewhere() {
    let Some(python) = program_path("python3").filter(|_| have(&["python3"])) else { return };
    let environment = Environment::of_nodes(3);
    let app = format!("command = [{:?}, \"-c\", {INTERPRETED:?}]", python.display().to_string());
    let spec = specification(&environment, "interpreted", &app, NEEDS);
    environment.done(&["submit", &spec]);
    running(&environment, "interpreted");
    told(&environment, "is kept on node", 1);
    environment.until("it is on its way", || {
        let log = fs::read_to_string(environment.scratch("interpreted").join("log")).ok()?;
        (log.lines().count() > 20).then_some(())
    });
    let events = lost(&environment, "interpreted");
    assert!(events.contains("its program from image"), "{events}");
    let alone = environment.scratch("alone");
    let mut command = Command::new(python);
    command.args(["-c", INTERPRETED]).current_dir(&alone);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(environment.done(&["logs", "interpreted", "--what", "stdout"]), said);
    let log = |of: &str| fs::read_to_string(environment.scratch(of).join("log")).unwrap();
    assert_eq!(log("interpreted"), log("alone"));
}
