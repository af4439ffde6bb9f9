//! Programs that an environment runs: as natively, whatever fails around them.

use std::fs;
use std::process::{Command, Stdio};

use chameleon_tests::environment::{Armor, Environment};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const EXECUTION: u64 = 1;
const SURROGATE: u64 = 6;
const VOTER: u64 = 8;

/// Counts to so many, twenty a second.
fn counting(to: u32) -> String {
    format!("i=0; while [ $i -lt {to} ]; do echo $i; i=$((i+1)); sleep 0.05; done")
}

/// A specification in a file; its program works in a directory of its name.
pub(crate) fn specification(
    environment: &Environment,
    name: &str,
    app: &str,
    needs: &str,
) -> String {
    let directory = environment.scratch(name);
    let file = environment.scratch("specs").join(format!("{name}.toml"));
    let text = format!(
        "[app]\nname = \"{name}\"\ndirectory = {directory:?}\n\
         environment = {{ PATH = \"/usr/local/bin:/usr/bin:/bin\" }}\n{app}\n[dependability]\n{needs}\n"
    );
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

pub(crate) fn shell(line: &str) -> String {
    format!("command = [\"/bin/sh\", \"-c\", {line:?}]")
}

/// What a line says natively.
pub(crate) fn native(environment: &Environment, name: &str, line: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir(environment.scratch(name)).stdin(Stdio::null());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// An application's row.
fn row(environment: &Environment, name: &str) -> Value {
    let rows = environment.json(&["ps", "--all"]);
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
}

/// Waits until it runs.
pub(crate) fn running(environment: &Environment, name: &str) {
    environment.until("it runs", || (row(environment, name)["state"] == "Running").then_some(()));
}

/// Waits until it is over: how.
pub(crate) fn over(environment: &Environment, name: &str) -> Value {
    environment.until("it is over", || {
        let state = row(environment, name)["state"].clone();
        state.is_object().then_some(state)
    })
}

/// Ends an ARMOR at once; returns its next life.
pub(crate) fn killed(environment: &Environment, node: u32, kind: u64) -> Armor {
    let before = environment.armor(node, kind);
    kill(Pid::from_raw(before.pid), Signal::SIGKILL).unwrap();
    environment.until("there is a next life", || {
        environment.armors(node).into_iter().find(|armor| {
            (armor.kind, armor.number) == (kind, before.number) && armor.life > before.life
        })
    })
}

/// The process of a run that an EXECUTION ARMOR follows.
fn run(environment: &Environment, node: u32, home: &str) -> i32 {
    let file = environment.node(node).join("apps").join(home).join("run.toml");
    environment.until("its process is noted", || {
        let text = fs::read_to_string(&file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("pid = ")?.parse().ok())
    })
}

/// What was told of incidents, for people who read the test's output.
pub(crate) fn incidents(environment: &Environment) -> String {
    let events = environment.done(&["events"]);
    println!("{events}");
    events
}

#[test]
fn programs_do_what_they_do_natively() {
    let environment = Environment::start();
    let directory = environment.scratch("sorted");
    let numbers: String =
        (0..20_000u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    fs::write(directory.join("numbers"), numbers).unwrap();
    let sort = specification(
        &environment,
        "sorted",
        "command = [\"sort\", \"numbers\"]\nstdout = \"sorted\"",
        "integrity = \"masked\"",
    );
    environment.done(&["submit", "--wait", &sort]);
    let sorted = fs::read_to_string(directory.join("sorted")).unwrap();
    assert_eq!(sorted, native(&environment, "sorted", "LC_ALL=C sort numbers"));
    let line = "print(sum(i * i for i in range(1000)))";
    let python = specification(
        &environment,
        "python",
        &format!("command = [\"python3\", \"-c\", {line:?}]"),
        "availability = \"masked\"",
    );
    environment.done(&["submit", "--wait", &python]);
    assert_eq!(environment.done(&["logs", "python", "--what", "stdout"]), "332833500\n");
    let missing = specification(&environment, "missing", "command = [\"/no/such\"]", "");
    let output = environment.output(&["submit", "--wait", &missing]);
    assert!(!output.status.success());
    let linked =
        specification(&environment, "linked", &shell("true"), "nodes = 3\nstrategy = \"tmr\"");
    assert!(!environment.output(&["submit", &linked]).status.success());
}

#[test]
fn a_program_outlives_the_armors_around_it() {
    let environment = Environment::start();
    let line = counting(80);
    let spec = specification(&environment, "counts", &shell(&line), "integrity = \"masked\"");
    environment.done(&["submit", &spec]);
    running(&environment, "counts");
    let program = run(&environment, 1, "counts-1/0");
    killed(&environment, 1, EXECUTION);
    running(&environment, "counts");
    killed(&environment, 1, SURROGATE);
    running(&environment, "counts");
    killed(&environment, 1, EXECUTION);
    assert_eq!(run(&environment, 1, "counts-1/0"), program, "it is the same run all the time");
    let state = over(&environment, "counts");
    let events = incidents(&environment);
    assert_eq!(state["Ended"], 0, "{state}\n{events}\n{}", environment.logs());
    let said = environment.done(&["logs", "counts", "--what", "stdout"]);
    assert_eq!(said, native(&environment, "counts", &line));
}

#[test]
fn a_run_that_is_killed_begins_again_or_goes_on_from_its_image() {
    let environment = Environment::start();
    let line = format!("echo begin >> begins; {}", counting(60));
    for (name, needs, begins) in [
        ("anew", "availability = \"restarted\"", 2),
        ("image", "availability = \"recovered\"\ncheckpoint = \"100ms\"", 1),
    ] {
        let spec = specification(&environment, name, &shell(&line), needs);
        environment.done(&["submit", &spec]);
        running(&environment, name);
        let number = row(&environment, name)["id"].as_u64().unwrap();
        let home = format!("{name}-{number}/0");
        let program = run(&environment, 1, &home);
        let output = environment.node(1).join("apps").join(&home).join("stdout");
        environment.until("it is half way", || {
            let said = fs::read_to_string(&output).ok()?;
            (said.lines().count() > 20).then_some(())
        });
        kill(Pid::from_raw(program), Signal::SIGKILL).unwrap();
        let state = over(&environment, name);
        let events = incidents(&environment);
        assert_eq!(state["Ended"], 0, "{name}: {state}\n{events}\n{}", environment.logs());
        let begun = fs::read_to_string(environment.scratch(name).join("begins")).unwrap();
        assert_eq!(begun.lines().count(), begins, "{name}: {events}");
        let said = environment.done(&["logs", name, "--what", "stdout"]);
        assert_eq!(said, native(&environment, "native", &counting(60)), "{name}");
    }
}

#[test]
fn what_fails_again_and_again_is_given_up() {
    let environment = Environment::start();
    let line = "echo begin >> begins; kill -SEGV $$";
    let needs = "availability = \"restarted\"\nrestarts = 2";
    let spec = specification(&environment, "crashes", &shell(line), needs);
    environment.done(&["submit", &spec]);
    let state = over(&environment, "crashes");
    assert!(state["Failed"].as_str().is_some_and(|why| why.contains("software bug")), "{state}");
    let begins = fs::read_to_string(environment.scratch("crashes").join("begins")).unwrap();
    assert_eq!(begins.lines().count(), 3);
}

#[test]
fn a_program_gets_replicas_while_it_runs_and_is_stopped() {
    let environment = Environment::start();
    let spec = specification(&environment, "serves", &shell("while :; do sleep 0.02; done"), "");
    environment.done(&["submit", &spec]);
    running(&environment, "serves");
    let refused = environment.output(&["set", "serves", "mode=seven"]);
    assert!(!refused.status.success());
    environment.until("its mode is changed", || {
        environment.output(&["set", "serves", "mode=tmr"]).status.success().then_some(())
    });
    environment.done(&["set", "serves", "mode=simplex"]);
    environment.done(&["stop", "serves"]);
    let state = over(&environment, "serves");
    assert_eq!(state["Ended"], 143, "{state}");
    environment.until("nothing of it is left", || {
        let left = environment.armors(1);
        left.iter().all(|armor| armor.kind != EXECUTION).then_some(())
    });
}

/// Rows of a product of matrices: those of this part, into its half of one file.
const MULTIPLY: &str = "\
import os, sys, time
part = int(sys.argv[1])
read = lambda name: [[int(x) for x in line.split()] for line in open(name)]
a, b = read('a'), read('b')
half = len(a) // 2
rows = a[part * half:(part + 1) * half]
c = [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in rows]
if os.path.exists('faulty') and open('faulty').read() in os.getcwd():
    c[0][0] += 1
time.sleep(1)
open('c', 'w').write(''.join(' '.join(map(str, row)) + '\\n' for row in c))
";

#[test]
fn two_halves_of_a_product_in_tmr_on_six_nodes() {
    let environment = Environment::of_nodes(6);
    let directory = environment.scratch("matrix");
    let matrix = |seed: u64| -> Vec<Vec<u64>> {
        (0..8)
            .map(|row| (0..8).map(|column| (row * 31 + column * 17 + seed) % 97).collect())
            .collect()
    };
    let text = |rows: &[Vec<u64>]| -> String {
        let line = |row: &Vec<u64>| row.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        rows.iter().map(|row| line(row) + "\n").collect()
    };
    let (a, b) = (matrix(5), matrix(11));
    let product: Vec<Vec<u64>> = a
        .iter()
        .map(|row| (0..8).map(|j| (0..8).map(|k| row[k] * b[k][j]).sum()).collect())
        .collect();
    for (name, content) in [
        ("a", text(&a)),
        ("b", text(&b)),
        ("multiply.py", MULTIPLY.to_owned()),
        ("faulty", "/node3/".to_owned()),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    let part = |number: u32| {
        format!(
            "[[part]]\ncommand = [\"python3\", \"multiply.py\", \"{number}\"]\nresults = [\"c\"]\n"
        )
    };
    let parts = format!("{}{}", part(0), part(1));
    let needs = "integrity = \"masked\"\nnode-loss = \"masked\"\nnodes = 6";
    let spec = specification(&environment, "matrix", &parts, needs);
    environment.done(&["submit", &spec]);
    running(&environment, "matrix");
    let node =
        (1..=6).find(|node| environment.armors(*node).iter().any(|armor| armor.kind == VOTER));
    killed(&environment, node.expect("there is a VOTER"), VOTER);
    let state = over(&environment, "matrix");
    let events = incidents(&environment);
    assert_eq!(state["Ended"], 0, "{state}\n{events}\n{}", environment.logs());
    assert_eq!(fs::read_to_string(directory.join("c")).unwrap(), text(&product));
    assert!(events.contains("computed another result"), "{events}");
}

/// Many numbers, a little other ones on each node, and one that is wrong on the third.
const NUMBERS: &str = "\
import os
at = os.getcwd()
node = [k for k in (1, 2, 3) if '/node%d/' % k in at][0]
wrong = 1 if node == 3 else 0
with open('numbers', 'w') as out:
    for i in range(100000):
        out.write('%.15g\\n' % ((i + 1) * (1 + node * 1e-13) + (wrong if i == 99999 else 0)))
";

#[test]
fn long_results_of_several_nodes_agree_within_a_tolerance() {
    let environment = Environment::of_nodes(3);
    let directory = environment.scratch("near");
    fs::write(directory.join("numbers.py"), NUMBERS).unwrap();
    let spec = specification(
        &environment,
        "near",
        "command = [\"python3\", \"numbers.py\"]\nresults = [\"numbers\"]",
        "integrity = \"masked\"\nnode-loss = \"masked\"\nnodes = 3\nvoter = \"tolerance\"\ntolerance = 1e-9",
    );
    environment.done(&["submit", &spec]);
    let state = over(&environment, "near");
    let events = incidents(&environment);
    assert_eq!(state["Ended"], 0, "{state}\n{events}\n{}", environment.logs());
    let text = fs::read_to_string(directory.join("numbers")).unwrap();
    assert!(text.len() > 1 << 20, "more than some pieces: {}", text.len());
    let numbers: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let near = |(i, x): (usize, &f64)| (x / (i + 1) as f64 - 1.0).abs() < 1e-9;
    assert!(numbers.len() == 100_000 && numbers.iter().enumerate().all(near));
    assert!(events.contains("computed another result"), "{events}");
}
