use proptest::prelude::*;

use super::*;

const OWN: &str = r#"
[[strategy]]
name = "five"
about = "three of five"
mode = "nmr:3/5"
checkpoints = false
wrong = "masked"
crash = "masked"
node = "restarted"
nodes = 3
pause = "50ms"
cpus = 5
memory = 5.0
"#;

#[test]
fn the_registry_has_the_papers_strategies_with_and_without_checkpoints() {
    let registry = Registry::default();
    let names: Vec<&str> = registry.all().iter().map(|one| one.name.as_str()).collect();
    let plain = ["simplex", "dual-first", "dual", "tmr", "quad"];
    assert_eq!(names.len(), 2 * plain.len());
    for name in plain {
        let without = registry.named(name).unwrap();
        let with = registry.named(&format!("{name}-checkpoint")).unwrap();
        assert!(!without.checkpoints && with.checkpoints);
        assert_eq!(without.mode, with.mode);
        assert_eq!(without.mode.to_string(), name);
        assert!(with.wrong >= without.wrong && with.crash >= without.crash);
        assert!(with.node > without.node);
        assert!(with.cpus > without.cpus && with.memory > without.memory);
    }
}

#[test]
fn what_each_gives() {
    let registry = Registry::default();
    let gives = |name: &str| {
        let one = registry.named(name).unwrap();
        format!("{} {} {} {}", one.wrong, one.crash, one.node_loss(1, true), one.node_loss(3, true))
    };
    assert_eq!(gives("simplex"), "unnoticed restarted restarted restarted");
    assert_eq!(gives("simplex-checkpoint"), "unnoticed recovered recovered recovered");
    assert_eq!(gives("dual-first"), "reported masked restarted masked");
    assert_eq!(gives("dual"), "stopped masked restarted restarted");
    assert_eq!(gives("dual-checkpoint"), "recovered masked recovered recovered");
    assert_eq!(gives("tmr"), "masked masked restarted masked");
    assert_eq!(gives("quad"), "masked masked restarted restarted");
    let quad = registry.named("quad").unwrap();
    assert_eq!(quad.node_loss(4, true), Loss::Masked);
    assert_eq!(quad.node_loss(4, false), Loss::Restarted);
}

#[test]
fn a_file_adds_and_replaces() {
    let mut registry = Registry::default();
    registry.add(OWN).unwrap();
    assert_eq!(registry.named("five").unwrap().mode.n, 5);
    registry.add(&OWN.replace("cpus = 5", "cpus = 7.5")).unwrap();
    assert_eq!(registry.all().len(), 11);
    assert_eq!(registry.named("five").unwrap().cpus, 7.5);
    let error = registry.named("tnr").unwrap_err();
    assert!(error.contains("did you mean 'tmr'") && error.contains("quad-checkpoint"), "{error}");
}

#[test]
fn what_is_wrong_is_refused_with_its_line_and_nothing_is_added() {
    for (was, is, want) in [
        (
            "crash =",
            "crush =",
            "line 8: strategy.crush: there is no such key; did you mean 'crash'?",
        ),
        ("\"five\"", "\"fi ve\"", "line 3: strategy.name: 'fi ve' is no name"),
        ("nmr:3/5", "nmr:2/5", "line 5: strategy.mode: mode nmr:2/5: K must be more than half"),
        ("nodes = 3", "nodes = 2", "line 10: strategy.nodes: 2 nodes do not mask"),
        ("nodes = 3", "nodes = 6", "line 10: strategy.nodes: 6 nodes do not mask"),
        ("cpus = 5", "cpus = 4", "line 12: strategy.cpus: 4 is less than the 5 copies"),
        ("cpus = 5", "cpus = -1", "line 12: strategy.cpus: -1 is not allowed"),
        (
            "node = \"restarted\"",
            "node = \"recovered\"",
            "line 9: strategy.node: 'recovered' is more",
        ),
        ("checkpoints = false\n", "", "line 2: strategy.checkpoints: is missing"),
        ("nmr:3/5", "simplex", "line 7: strategy.wrong: 'masked' is more than this mode can give"),
        ("nmr:3/5", "dual-first", "at most 'reported'"),
        ("nmr:3/5", "dual", "at most 'stopped'"),
        ("[[strategy]]", "[strategy]", "line 2: strategy: expected tables"),
        ("[[strategy]]", "[[strategies]]", "did you mean 'strategy'?"),
    ] {
        let text = OWN.replace(was, is);
        assert_ne!(text, OWN);
        let mut registry = Registry::default();
        let error = registry.add(&text).unwrap_err().to_string();
        assert!(error.contains(want) && !error.contains('\n'), "{was} -> {is}: {error}");
        assert_eq!(registry, Registry::default());
    }
    let error = parse(&OWN.repeat(2)).unwrap_err().to_string();
    assert!(error.contains("line 16: strategy.name: 'five' is the name of an earlier"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_in_one_line(text in any::<String>(), at in 0usize..600) {
        for text in [text.clone(), OWN.chars().take(at).chain(text.chars()).collect()] {
            if let Err(error) = parse(&text) {
                prop_assert!(!error.to_string().contains('\n'));
                prop_assert!(error.line >= 1);
            }
        }
    }

    #[test]
    fn what_masks_the_loss_of_a_node_leaves_enough_replicas(
        n in 1u64..=15, k in 1u64..=15, nodes in 1u64..=15,
    ) {
        let text = OWN
            .replace("= 5", "= 15")
            .replace("nmr:3/5", &format!("nmr:{k}/{n}"))
            .replace("nodes = 3", &format!("nodes = {nodes}"));
        if k > n || 2 * k <= n || k == n {
            prop_assert!(parse(&text).is_err());
        } else if parse(&text).is_ok() {
            // Spread as evenly as can be, any node may be the lost one.
            for lost in 0..nodes {
                let there = (0..n).filter(|replica| replica % nodes != lost).count() as u64;
                prop_assert!(there >= k);
            }
        }
    }
}
