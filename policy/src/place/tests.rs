use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

/// A node of two processors with 4 GiB, idle.
fn node(id: u32) -> Candidate {
    let health = Health {
        load: 0,
        cpus: 2,
        memory_available: 4 * GIB,
        memory: 8 * GIB,
        ..Health::default()
    };
    Candidate {
        id: NodeId(id),
        closed: None,
        health,
        features: vec!["avx2".into()],
        platform: "linux".into(),
        promised_cpu: 0,
        promised_memory: 0,
        failures: 0,
    }
}

fn ask() -> Ask {
    Ask { memory: GIB, cpu: 100, ..Ask::default() }
}

fn chosen(nodes: &[Candidate]) -> u32 {
    place(&ask(), nodes).unwrap().node.0
}

#[test]
fn the_least_loaded_is_chosen_and_failures_count() {
    let mut nodes = [node(1), node(2), node(3)];
    assert_eq!(chosen(&nodes), 1);
    nodes[0].health.armors = 1;
    assert_eq!(chosen(&nodes), 2);
    nodes[1].health.load = 100;
    assert_eq!(chosen(&nodes), 3);
    nodes[2].failures = FAILURE;
    assert_eq!(chosen(&nodes), 1);
    nodes[0].promised_memory = 2 * GIB + 1;
    assert_eq!(chosen(&nodes), 2);
    nodes[1].closed = Some("it is down");
    let choice = place(&ask(), &nodes).unwrap();
    assert_eq!(
        choice.why,
        "node 1: load 0.50 a processor with it, 1.9G of memory free, no failures lately; next best was node 3: \
         load 0.50 a processor with it, 4.0G of memory free, failures that still count as 1.0"
    );
}

#[test]
fn a_failed_platform_is_the_last_choice() {
    let mut nodes = [node(1), node(2)];
    nodes[1].platform = "other".into();
    nodes[1].failures = 9 * FAILURE;
    let rather = Ask { rather_not: vec!["linux".into()], ..ask() };
    assert_eq!(place(&rather, &nodes).unwrap().node, NodeId(2));
    nodes[1].closed = Some("it is down");
    let choice = place(&rather, &nodes).unwrap();
    assert!(choice.node == NodeId(1) && choice.why.contains("failed before"), "{}", choice.why);
}

#[test]
fn who_cannot_be_it_is_told_why() {
    let mut nodes = [node(1), node(2), node(3), node(4), node(5)];
    nodes[0].closed = Some("it is draining");
    nodes[1].promised_memory = 7 * GIB / 2;
    nodes[2].features.clear();
    let ask = Ask {
        features: vec!["avx2".into()],
        apart: vec![NodeId(4)],
        not: vec![NodeId(5)],
        ..ask()
    };
    assert_eq!(
        place(&ask, &nodes).unwrap_err().to_string(),
        "1 node is needed, none will do: node 1: it is draining, node 2: 512.0M of memory free, 1.0G needed, \
         node 3: its processor has no avx2, node 4: it holds another replica, node 5: it is excluded, for it failed there"
    );
    assert_eq!(place(&ask, &[]).unwrap_err().to_string(), "1 node is needed, none will do");
}

#[test]
fn replicas_are_spread_evenly_and_apart() {
    let mut nodes = [node(1), node(2), node(3)];
    let on = |choices: Vec<Choice>| choices.iter().map(|choice| choice.node.0).collect::<Vec<_>>();
    assert_eq!(on(spread(&ask(), 3, 3, &nodes).unwrap()), [1, 2, 3]);
    assert_eq!(on(spread(&ask(), 3, 1, &nodes).unwrap()), [1]);
    // Two nodes for three: the first holds two of them and needs room for both.
    nodes[0].promised_memory = 5 * GIB / 2;
    assert_eq!(on(spread(&ask(), 3, 2, &nodes).unwrap()), [2, 3]);
    nodes[1].closed = Some("it is down");
    assert_eq!(on(spread(&ask(), 3, 2, &nodes).unwrap()), [3, 1]);
    assert_eq!(
        spread(&ask(), 3, 3, &nodes).unwrap_err().to_string(),
        "3 nodes are needed, only 2 will do: node 2: it is down"
    );
}

fn nodes() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0u32..800, 1u32..9, 0u64..8, any::<bool>(), any::<bool>(), 0u64..9000, 0u64..8);
    prop::collection::vec(one, 0..8).prop_map(|nodes| {
        let candidate = |(index, (load, cpus, free, closed, avx2, failures, promised))| {
            let mut node = node(index as u32 + 1);
            node.health = Health { load, cpus, memory_available: free * GIB, ..node.health };
            node.closed = (closed && index % 2 == 0).then_some("it is down");
            node.features.truncate(usize::from(avx2));
            node.failures = failures;
            node.promised_memory = promised * GIB / 4;
            node
        };
        nodes.into_iter().enumerate().map(candidate).collect()
    })
}

proptest! {
    #[test]
    fn a_place_is_fit_and_the_order_of_the_nodes_does_not_matter(
        nodes in nodes(), memory in 0u64..5, avx2: bool, apart: Option<u8>,
    ) {
        let ask = Ask {
            memory: memory * GIB,
            cpu: 100,
            features: vec!["avx2".to_owned(); usize::from(avx2)],
            apart: apart.map(|id| NodeId(u32::from(id % 8))).into_iter().collect(),
            ..Ask::default()
        };
        let backwards: Vec<Candidate> = nodes.iter().rev().cloned().collect();
        let answer = place(&ask, &nodes);
        match &answer {
            Ok(choice) => {
                let node = nodes.iter().find(|node| node.id == choice.node).unwrap();
                prop_assert_eq!(node.fits(&ask), Ok(()));
                prop_assert_eq!(answer, place(&ask, &backwards));
            }
            Err(none) => {
                prop_assert_eq!(none.unfit.len(), nodes.len());
                prop_assert!(place(&ask, &backwards).is_err());
            }
        }
    }

    #[test]
    fn replicas_are_apart_each_has_its_memory_and_it_fails_only_if_it_must(
        nodes in nodes(), replicas in 1usize..6, on in 1usize..6,
    ) {
        let on_most = on.min(replicas);
        let room = |count: usize| {
            let ask = Ask { memory: GIB * count as u64, ..ask() };
            nodes.iter().filter(|node| node.fits(&ask).is_ok()).count()
        };
        match spread(&ask(), replicas, on, &nodes) {
            Ok(choices) => {
                prop_assert_eq!(choices.len(), on_most);
                for (index, choice) in choices.iter().enumerate() {
                    prop_assert!(choices[..index].iter().all(|other| other.node != choice.node));
                    let count = (0..replicas).filter(|replica| replica % on_most == index).count();
                    let node = nodes.iter().find(|node| node.id == choice.node).unwrap();
                    let ask = Ask { memory: GIB * count as u64, ..ask() };
                    prop_assert_eq!(node.fits(&ask), Ok(()));
                }
            }
            Err(_) => {
                let (most, least) = (replicas.div_ceil(on_most), replicas / on_most);
                let full = replicas % on_most;
                prop_assert!(room(least) < on_most || room(most) < full);
            }
        }
    }

    #[test]
    fn more_load_or_more_failures_never_make_a_node_the_choice(
        nodes in nodes(), worse in 0usize..8, load in 0u32..500, failures in 0u64..5000,
    ) {
        prop_assume!(worse < nodes.len());
        let before = place(&ask(), &nodes).ok().map(|choice| choice.node);
        let mut after = nodes.clone();
        after[worse].health.load += load;
        after[worse].failures += failures;
        let now = place(&ask(), &after).ok().map(|choice| choice.node);
        if before != Some(nodes[worse].id) {
            prop_assert_eq!(before, now);
        }
    }
}
