//! Every guest of threads again and again under TMR: an order of the threads that only rarely comes
//! about must not make replicas differ.
//!
//! Invariant: a run differs from one native run in nothing, and is undisturbed; the first that does
//! is told with its number. Run by `cargo test`; `CHAMELEON_REPEAT=100` asks for a hundred runs of
//! each, `CHAMELEON_REPEAT_MODE` for another mode. A single guest with
//! `cargo test -p chameleon-tests --test threads -- thread_cond`.

use chameleon_tests::{Scenario, guest, program, thread_guests};

/// How often each guest runs unless `CHAMELEON_REPEAT` says otherwise.
const REPEAT: u32 = 5;

/// A test a guest.
macro_rules! again_and_again {
    ($($name:ident = $guest:literal $(, $arg:literal)*;)*) => {$(
        #[test]
        fn $name() {
            repeated(&program(guest($guest)).args::<&str>([$($arg),*]));
        }
    )*};
}

thread_guests!(again_and_again);

/// One native run, and as many under Chameleon as are asked for.
#[track_caller]
fn repeated(scenario: &Scenario) {
    let times = match std::env::var("CHAMELEON_REPEAT") {
        Ok(text) => text.parse().expect("CHAMELEON_REPEAT is a number"),
        Err(_) => REPEAT,
    };
    let mode = std::env::var("CHAMELEON_REPEAT_MODE").unwrap_or_else(|_| "tmr".into());
    let native = scenario.native();
    for number in 1..=times {
        let which = format!("{mode}, run {number} of {times}");
        let under = scenario.under(&mode);
        scenario.same(&native, &under, &which);
        let disturbances = under.report.disturbances();
        assert!(disturbances.is_empty(), "{which}: an undisturbed run reports {disturbances:#?}");
    }
}
