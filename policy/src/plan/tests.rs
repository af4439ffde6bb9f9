use chameleon_proto::ids::NodeId;
use chameleon_proto::message::env::Health;
use proptest::prelude::{Strategy as Generator, *};

use super::*;

const RELEASE: Duration = Duration::from_millis(600);

fn nodes(count: u32) -> Vec<Candidate> {
    let memory = 4 << 30;
    let health = Health { cpus: 2, memory_available: memory, memory, ..Health::default() };
    let node = |id| Candidate {
        id: NodeId(id),
        closed: None,
        health,
        features: vec!["avx2".into()],
        platform: "linux".into(),
        promised_cpu: 0,
        promised_memory: 0,
        failures: 0,
    };
    (1..=count).map(node).collect()
}

fn spec(app: &str, needs: &str) -> Specification {
    let text = format!("[app]\nname = 'x'\n{app}\n[dependability]\n{needs}\n");
    Specification::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn planned(app: &str, needs: &str, count: u32) -> Result<Plan, NoPlan> {
    let nodes = nodes(count);
    let situation = Situation { nodes: &nodes, release: RELEASE };
    plan(&spec(app, needs), &Registry::default(), situation)
}

const PROGRAM: &str = "command = ['./server']";
const COMPUTES: &str = "command = ['./solver']\nresults = ['out']";

/// The name of the strategy that is chosen.
fn chosen(app: &str, needs: &str, count: u32) -> String {
    planned(app, needs, count).unwrap_or_else(|none| panic!("{needs}: {none}")).strategy.name
}

#[test]
fn the_cheapest_that_does_is_chosen() {
    for (needs, want) in [
        ("", "simplex"),
        ("availability = 'restarted'", "simplex"),
        ("availability = 'recovered'", "simplex-checkpoint"),
        ("availability = 'masked'", "dual-first"),
        ("integrity = 'reported'", "dual-first"),
        ("integrity = 'stopped'", "dual"),
        ("integrity = 'recovered'", "dual-checkpoint"),
        ("integrity = 'masked'", "tmr"),
        ("integrity = 'masked'\nnode-loss = 'recovered'", "tmr-checkpoint"),
        ("integrity = 'masked'\ncheckpoint = '1s'", "tmr-checkpoint"),
        ("livelock = '30s'", "simplex-checkpoint"),
        ("node-loss = 'restarted'", "simplex"),
        ("availability = 'restarted'\nmax-pause = '1s'", "dual-first"),
        ("integrity = 'stopped'\nmax-pause = '1s'", "dual-checkpoint"),
        ("availability = 'recovered'\nmax-pause = '1s'\nlivelock = '200ms'", "simplex-checkpoint"),
        ("nodes = 3", "tmr"),
        ("nodes = 4", "quad"),
        ("strategy = 'quad'", "quad"),
    ] {
        assert_eq!(chosen(PROGRAM, needs, 5), want, "{needs}");
    }
    for (needs, want) in [
        ("node-loss = 'masked'", "dual-first"),
        ("node-loss = 'masked'\nintegrity = 'masked'", "tmr"),
        ("voter = 'tolerance'\ntolerance = 0.1", "dual-first"),
        ("integrity = 'recovered'\nnodes = 2", "tmr"),
    ] {
        assert_eq!(chosen(COMPUTES, needs, 5), want, "{needs}");
    }
}

#[test]
fn a_plan_says_why() {
    let needs = "integrity = 'masked'\nmax-pause = '10s'\nnode-loss = 'recovered'";
    let plan = planned(PROGRAM, needs, 2).unwrap();
    assert_eq!(
        plan.to_string(),
        "\
x: strategy tmr-checkpoint: three copies and checkpoints; two equal results are accepted
  3.1 times the CPU time and 4 times the memory; all replicas on one node, every call is voted
  a wrong computation is masked
  a crash or hang of a replica is masked
  after the loss of a node it goes on from its last checkpoint
  its last image is kept on another node, too, with its output and what it has open for writing; if anything else in its directory is changed after that, it begins anew
  a hang makes it stand still for up to 5s
  the loss of a node makes it stand still for up to 2200ms
options: --checkpoint 1500ms --mode tmr
nodes:
  node 1: load 1.54 a processor with it, 4.0G of memory free, no failures lately; next best was node 2: \
load 1.54 a processor with it, 4.0G of memory free, no failures lately
cheaper, but not enough:
  simplex: a wrong computation is unnoticed; 'masked' is wanted
  simplex-checkpoint: a wrong computation is unnoticed; 'masked' is wanted
  dual-first: a wrong computation is reported; 'masked' is wanted
  dual: a wrong computation is stopped; 'masked' is wanted
  dual-first-checkpoint: a wrong computation is reported; 'masked' is wanted
  dual-checkpoint: a wrong computation is recovered; 'masked' is wanted
  tmr: after the loss of a node it begins anew; 'recovered' is wanted
"
    );
}

#[test]
fn what_cannot_be_met_is_refused_with_the_reason_of_each() {
    for (app, needs, count, reasons) in [
        (
            PROGRAM,
            "node-loss = 'masked'",
            5,
            &[
                "  simplex: after the loss of a node it begins anew; 'masked' is wanted, for which it has too few copies",
                "  tmr: after the loss of a node it begins anew; 'masked' is wanted, which needs results (files)",
            ][..],
        ),
        (
            COMPUTES,
            "node-loss = 'masked'\nnodes = 2\nintegrity = 'masked'",
            5,
            &[
                "  tmr: after the loss of a node it begins anew; 'masked' is wanted, for which it must be on 3 nodes and not 2",
            ],
        ),
        (
            COMPUTES,
            "node-loss = 'masked'\nintegrity = 'masked'",
            2,
            &[
                "  tmr: 3 nodes are needed, only 2 will do",
                "  quad: 4 nodes are needed, only 2 will do",
            ],
        ),
        (
            PROGRAM,
            "node-loss = 'restarted'",
            1,
            &[
                "  simplex: when a node is lost there must be another to go to, beside those used: 1 node is needed, none will do: node 1: it holds another replica",
            ],
        ),
        (PROGRAM, "nodes = 9", 9, &["  quad: its 4 copies cannot be on 9 nodes"]),
        (PROGRAM, "", 0, &["  simplex: 1 node is needed, none will do"]),
        (
            "command = ['x']\nfeatures = ['avx512f']",
            "",
            1,
            &["  simplex: 1 node is needed, none will do: node 1: its processor has no avx512f"],
        ),
        (
            "command = ['x']\nmemory = '2G'",
            "integrity = 'masked'",
            2,
            &["  tmr: 1 node is needed, none will do: node 1: 4.0G of memory free, 6.0G needed"],
        ),
        (
            PROGRAM,
            "availability = 'recovered'\nmax-pause = '105ms'\nstrategy = 'simplex-checkpoint'",
            1,
            &[
                "  simplex-checkpoint: to notice a failure and go back to a checkpoint takes 100ms, which leaves too little of 105ms",
            ],
        ),
        (
            PROGRAM,
            "max-pause = '1s'\nstrategy = 'simplex-checkpoint'",
            1,
            &["  simplex-checkpoint: a hang of its one copy is not noticed without 'livelock'"],
        ),
        (
            PROGRAM,
            "max-pause = '1s'\ncheckpoint = '100calls'\nstrategy = 'simplex-checkpoint'",
            1,
            &[
                "  simplex-checkpoint: checkpoints by calls alone put no bound on the pause after a crash",
            ],
        ),
        (
            PROGRAM,
            "max-pause = '1s'\ntimeout = '2s'\nstrategy = 'tmr'",
            1,
            &["  tmr: a hang makes it stand still for up to 2s; no more than 1s are wanted"],
        ),
        (
            PROGRAM,
            "checkpoint = '1s'\nstrategy = 'tmr'",
            1,
            &["  tmr: it has no checkpoints, without which 'checkpoint' means nothing"],
        ),
        (
            COMPUTES,
            "voter = 'tolerance'\ntolerance = 0.1\nstrategy = 'simplex'",
            1,
            &["  simplex: one copy has nothing to be compared with by the voter"],
        ),
        (
            COMPUTES,
            "integrity = 'recovered'\nnodes = 2\nstrategy = 'dual-checkpoint'",
            2,
            &["  dual-checkpoint: a wrong computation is stopped; 'recovered' is wanted"],
        ),
    ] {
        let none = planned(app, needs, count).unwrap_err().to_string();
        for reason in reasons {
            let there = none.lines().any(|line| line.starts_with(reason));
            assert!(there, "{needs}: {reason}\n{none}");
        }
    }
    let unknown = planned(PROGRAM, "strategy = 'tnr'", 1).unwrap_err().to_string();
    assert!(unknown.contains("did you mean 'tmr'?"), "{unknown}");
}

#[test]
fn the_papers_matrix_on_six_nodes() {
    let app = "\n[[part]]\ncommand = ['./mm', 'upper']\nresults = ['upper']\n\
               [[part]]\ncommand = ['./mm', 'lower']\nresults = ['lower']";
    let needs = "strategy = 'tmr'\nnodes = 6\nnode-loss = 'masked'";
    let plan = planned(app, needs, 7).unwrap();
    assert_eq!((plan.form, plan.parts, plan.nodes.len()), (Form::Apart, 2, 6));
    assert_eq!(plan.options["mode"], "simplex");
    let at: Vec<usize> = (0..3).flat_map(|r| [plan.node_of(r, 0), plan.node_of(r, 1)]).collect();
    assert_eq!(at, [0, 3, 1, 4, 2, 5]);
    let four = planned(app, "strategy = 'tmr'\nnodes = 4", 7).unwrap_err().to_string();
    assert!(four.contains("a node would have parts of two of its 3 copies"), "{four}");
}

#[test]
fn knobs_follow_the_longest_pause() {
    let needs = "availability = 'recovered'\nmax-pause = '500ms'\nlivelock = '150ms'";
    let plan = planned(PROGRAM, needs, 1).unwrap();
    assert_eq!(plan.options["checkpoint"], "250ms");
    assert_eq!(plan.options["livelock"], "150ms");
    let plan = planned(PROGRAM, "integrity = 'masked'\nmax-pause = '700ms'", 1).unwrap();
    assert_eq!(plan.timeout, Duration::from_millis(700));
    assert_eq!(plan.options["timeout"], "700ms");
    let plan = planned(PROGRAM, "integrity = 'masked'", 1).unwrap();
    assert_eq!(plan.options.len(), 1);
}

fn needs() -> impl Generator<Value = String> {
    let one = |key: &'static str, values: &'static [&'static str]| {
        prop::option::of(prop::sample::select(values)).prop_map(move |value| {
            value.map(|value| format!("{key} = {value}\n")).unwrap_or_default()
        })
    };
    let losses = &["'ended'", "'restarted'", "'recovered'", "'masked'"];
    let wrongs = &["'unnoticed'", "'reported'", "'stopped'", "'recovered'", "'masked'"];
    (
        one("integrity", wrongs),
        one("availability", losses),
        one("node-loss", losses),
        one("max-pause", &["'100ms'", "'1s'", "'1m'"]),
        one("nodes", &["1", "2", "3", "4"]),
        one("livelock", &["'50ms'", "'10s'"]),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].concat())
}

proptest! {
    #[test]
    fn a_plan_gives_what_is_wanted_and_nothing_cheaper_would(
        needs in needs(), files: bool, count in 0u32..6,
    ) {
        let app = if files { COMPUTES } else { PROGRAM };
        let wanted = spec(app, &needs).needs;
        match planned(app, &needs, count) {
            Ok(plan) => {
                let one = &plan.strategy;
                prop_assert!(one.wrong >= wanted.integrity && one.crash >= wanted.availability);
                prop_assert!(one.node_loss(plan.nodes.len(), files) >= wanted.node_loss);
                prop_assert!(wanted.nodes.is_none_or(|nodes| nodes == plan.nodes.len()));
                prop_assert!(plan.nodes.len() <= usize::from(one.mode.n));
                for passed in &plan.passed {
                    let named = format!("{needs}strategy = '{}'", passed.0);
                    prop_assert!(planned(app, &named, count).is_err(), "{}", passed.0);
                }
                let named = format!("{needs}strategy = '{}'", one.name);
                let again = planned(app, &named, count).unwrap();
                prop_assert_eq!((again.nodes, again.options), (plan.nodes, plan.options));
            }
            Err(NoPlan::Unmet { lacking, .. }) => {
                prop_assert_eq!(lacking.len(), Registry::default().all().len());
            }
            Err(unknown) => prop_assert!(false, "{}", unknown),
        }
    }

    #[test]
    fn more_nodes_never_undo_a_plan(needs in needs(), files: bool, count in 0u32..6) {
        let app = if files { COMPUTES } else { PROGRAM };
        if let Ok(plan) = planned(app, &needs, count) {
            prop_assert_eq!(planned(app, &needs, count + 1).unwrap().strategy, plan.strategy);
        }
    }
}
