//! What the journal keeps between two checkpoints, and what has one taken because it keeps no more.
//!
//! Invariant: no checkpoint is taken but at the beginning, which is not told, and where the journal asks for one. Run
//! by `cargo test`.

use chameleon_tests::{Outcome, Scenario, guest, program};

use crate::{run, same};

/// A checkpoint that is due after more calls than any program here makes.
const NEVER: &str = "--checkpoint=1000000calls";

/// Runs it, and then with a death at a late call: what is rolled back is as the native run.
fn twice(scenario: &Scenario) -> Outcome {
    let native = scenario.native();
    let plain = run(scenario, "simplex", &[NEVER.into()]);
    same(scenario, &native, &plain, "without a fault");
    let exit = plain.report.named("exit").next().expect("there is an end");
    let calls = exit["calls"].as_u64().expect("calls are counted");
    let fault = format!("--inject=replica=0,call={},kill", calls - 3);
    let under = run(scenario, "simplex", &[NEVER.into(), fault]);
    same(scenario, &native, &under, "with a fault");
    assert_eq!(under.report.count("rolled_back"), 1, "{:#?}", under.report.disturbances());
    plain
}

fn reasons(outcome: &Outcome) -> Vec<String> {
    let all = outcome.report.named("checkpoint");
    all.map(|event| event["why"].as_str().expect("there is a reason").to_owned()).collect()
}

#[test]
fn room_that_is_not_used_is_not_kept() {
    for size in ["0x10000", "0x100000", "0x400000"] {
        let outcome = twice(&program(guest("roomy")).args([size, "300"]));
        assert_eq!(reasons(&outcome), [""; 0], "buffers of {size} bytes");
    }
}

#[test]
fn more_random_numbers_than_are_kept_have_a_checkpoint_taken() {
    let outcome = twice(&program(guest("draws")).args(["80000"]));
    let reasons = reasons(&outcome);
    assert!(reasons.iter().any(|why| why == "journal"), "{reasons:?}");
}
