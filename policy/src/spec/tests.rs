use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"[app]
name = "matrix"
command = ["./multiply", "a", "b"]
directory = "/srv/matrix"
environment = { LC_ALL = "C", EMPTY = "" }
stdin = "/dev/null"
stdout = "out.txt"
stderr = "err.txt"
results = ["c.txt"]
memory = "64M"
features = ["avx2"]

[dependability]
integrity = "masked"
availability = "recovered"
node-loss = "restarted"
max-pause = "2s"
nodes = 3
strategy = "tmr"
voter = "tolerance"
tolerance = 1e-9
numbers = "text"
timeout = "4s"
limit = "1h"
livelock = "30s"
checkpoint = "1.5s"
retries = 2
restarts = 5
"#;

const PARTS: &str = r#"
[app]
name = "matrix"
[[part]]
command = ["./mm", "upper"]
results = ["upper"]
[[part]]
command = ["./mm", "lower"]
results = ["lower"]
"#;

#[test]
fn everything_that_can_be_said() {
    let spec = Specification::parse(WHOLE).unwrap();
    assert_eq!(spec.app.parts[0].command, ["./multiply", "a", "b"]);
    assert_eq!(spec.app.directory.as_deref(), Some("/srv/matrix"));
    let environment: Vec<_> =
        spec.app.environment.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(environment, ["EMPTY=", "LC_ALL=C"]);
    assert_eq!(spec.app.streams[1].as_deref(), Some("out.txt"));
    assert!(spec.app.results_are_files());
    assert_eq!((spec.app.memory, spec.app.features.len()), (64 << 20, 1));
    let needs = spec.needs;
    assert_eq!((needs.integrity, needs.availability), (Wrong::Masked, Loss::Recovered));
    assert_eq!((needs.node_loss, needs.nodes), (Loss::Restarted, Some(3)));
    assert_eq!(needs.max_pause, Some(Duration::from_secs(2)));
    assert_eq!(needs.voter, Scheme::Text(Tolerance { relative: 1e-9, absolute: 0.0 }));
    assert_eq!(
        (needs.timeout, needs.retries, needs.restarts),
        (Some(Duration::from_secs(4)), Some(2), 5)
    );
    assert_eq!(needs.livelock, Some(Duration::from_secs(30)));
    assert_eq!(needs.checkpoint.unwrap().every, Some(Duration::from_millis(1500)));
}

#[test]
fn the_least_that_must_be_said() {
    let spec = Specification::parse("[app]\nname = 'x'\ncommand = ['true']\n").unwrap();
    assert_eq!(spec.needs, Needs::default());
    assert!(!spec.app.results_are_files());
}

#[test]
fn several_parts() {
    let spec = Specification::parse(PARTS).unwrap();
    assert_eq!(spec.app.parts.len(), 2);
    assert_eq!(spec.app.parts[1].results, ["lower"]);
    for (was, is, want) in [
        ("name =", "command = ['x']\nname =", "line 3: app.command: each [[part]] has its own"),
        ("results = [\"lower\"]", "", "line 7: part.results: is missing"),
        (
            "results = [\"lower\"]",
            "result = []",
            "line 9: part.result: there is no such key; did you mean 'results'?",
        ),
        ("[\"./mm\", \"lower\"]", "[]", "line 8: part.command: write the program"),
    ] {
        let error = Specification::parse(&PARTS.replace(was, is)).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_line_key_and_what_is_allowed() {
    for (was, is, want) in [
        (
            "integrity =",
            "integrety =",
            "line 14: dependability.integrety: there is no such key; did you mean 'integrity'? allowed: ",
        ),
        (
            "\"masked\"",
            "\"mask\"",
            "line 14: dependability.integrity: 'mask' is not known; did you mean 'masked'? allowed: unnoticed, ",
        ),
        (
            "[dependability]",
            "[dependabilty]",
            "line 13: dependabilty: there is no such key; did you mean 'dependability'?",
        ),
        ("name = \"matrix\"", "name = \"-x\"", "line 2: app.name: '-x' is no name"),
        ("name = \"matrix\"\n", "", "line 1: app.name: is missing"),
        (
            "[\"./multiply\", \"a\", \"b\"]",
            "\"./multiply a b\"",
            "line 3: app.command: expected a list of texts",
        ),
        ("\"a\"", "7", "line 3: app.command: expected a list of texts"),
        ("\"/srv/matrix\"", "\"srv\"", "line 4: app.directory: write an absolute path"),
        ("EMPTY", "\"A=B\"", "line 5: app.environment: 'A=B' cannot be the name"),
        ("\"c.txt\"", "\"../c.txt\"", "line 9: app.results: '../c.txt' is no path below"),
        ("\"c.txt\"", "\"c\", \"c\"", "line 9: app.results: 'c' stands there twice"),
        ("\"64M\"", "64", "line 10: app.memory: expected a size in quotes"),
        ("\"64M\"", "\"64X\"", "line 10: app.memory: '64X' is not a size"),
        (
            "nodes = 3",
            "nodes = 0",
            "line 18: dependability.nodes: 0 is not allowed; write a whole number from 1 to 15",
        ),
        ("\"2s\"", "\"2 s\"", "line 17: dependability.max-pause: '2 s' is not a duration"),
        ("voter = \"tolerance\"\n", "", "line 20: dependability.tolerance: means nothing unless"),
        ("tolerance = 1e-9\n", "", "line 20: dependability.voter: say how far"),
        ("1e-9", "1.5", "line 21: dependability.tolerance: is a part of the number"),
        ("1e-9", "nan", "line 21: dependability.tolerance: nan is not allowed"),
        ("results = [\"c.txt\"]\n", "", "line 19: dependability.voter: calls are compared exactly"),
        ("\"1.5s\"", "\"often\"", "line 26: dependability.checkpoint: "),
        ("retries = 2", "retries = 16", "line 27: dependability.retries: 16 is not allowed"),
        ("restarts = 5", "restarts = 5\nrestarts = 6", "line 29: no TOML: duplicate key"),
    ] {
        let text = WHOLE.replacen(was, is, 1);
        assert_ne!(text, WHOLE);
        let error = Specification::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(want) && !error.contains('\n'), "{was} -> {is}: {error}");
    }
}

#[test]
fn deep_and_long_texts_are_refused_and_not_run_into() {
    for text in [
        "a=[".repeat(100_000),
        "[a]\n".repeat(100_000),
        "x".repeat(document::LONGEST + 1),
        format!("a={}", "{b=".repeat(50_000)),
        "a.".repeat(document::LONGEST / 2 - 2) + "b=1",
        format!("[{}b]", "a.".repeat(document::LONGEST / 2 - 2)),
        format!("a={{{}b=1}}", "a.".repeat(document::LONGEST / 2 - 4)),
    ] {
        Specification::parse(&text).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Specification::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_specification_is_read_or_refused_in_one_line(
        at in 0usize..700, cut in 0usize..40, with in "[ -~\n\"\\[\\]{}=.#\\\\]{0,12}",
    ) {
        for whole in [WHOLE, PARTS] {
            let before: String = whole.chars().take(at).collect();
            let after: String = whole.chars().skip(at + cut).collect();
            if let Err(error) = Specification::parse(&format!("{before}{with}{after}")) {
                prop_assert!(!error.to_string().contains('\n'), "{error}");
                prop_assert!((1..=60).contains(&error.line));
            }
        }
    }

    #[test]
    fn a_key_that_is_not_known_is_never_passed_over(key in "[a-z][a-z-]{0,12}", number: u8) {
        let table = ["app", "dependability"][usize::from(number % 2)];
        prop_assume!(!APP.contains(&key.as_str()) && !NEEDS.contains(&key.as_str()));
        let text = WHOLE.replace(&format!("[{table}]"), &format!("[{table}]\n{key} = {number}"));
        let error = Specification::parse(&text).unwrap_err();
        prop_assert_eq!(error.key, format!("{table}.{key}"));
    }
}
