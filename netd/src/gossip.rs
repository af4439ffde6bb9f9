//! Whom a daemon tells, or asks, what all nodes are to know: few, however many there are.
//!
//! Invariant: pure. A connection to each node would be as many as there are pairs: what everybody passes on goes to
//! those behind in number, 1, 2, 4, 8, … places further on, and so comes to each in a logarithm of steps, by
//! several ways.

use chameleon_proto::ids::NodeId;

/// Nodes that are asked at once who the FTM is.
const ASKED: usize = 4;

/// Those to whom a node passes on what it has heard.
pub(crate) fn heirs(own: NodeId, nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut ring: Vec<NodeId> = nodes.filter(|node| *node != own).collect();
    ring.sort_unstable();
    ring.dedup();
    let behind = ring.partition_point(|node| *node < own);
    ring.rotate_left(behind);
    let steps = (0..usize::BITS).map(|power| (1_usize << power) - 1);
    steps.map_while(|at| ring.get(at).copied()).collect()
}

/// Those whom a node asks in a turn: the first, at which an environment begins, and others, each time the next.
pub(crate) fn asked(own: NodeId, nodes: impl Iterator<Item = NodeId>, turn: usize) -> Vec<NodeId> {
    let mut others: Vec<NodeId> = nodes.filter(|node| *node != own).collect();
    others.sort_unstable();
    others.dedup();
    if others.len() <= ASKED {
        return others;
    }
    let first = others.remove(0);
    let next = others.iter().cycle().skip(turn * (ASKED - 1) % others.len()).take(ASKED - 1);
    [first].into_iter().chain(next.copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn nodes(most: u32) -> impl Iterator<Item = NodeId> {
        (1..=most).map(NodeId)
    }

    #[test]
    fn what_one_knows_comes_to_all_by_few_steps() {
        for most in [1, 2, 3, 7, 64, 1000] {
            let mut know = BTreeSet::from([NodeId(1)]);
            let mut steps = 0;
            while know.len() < most as usize {
                let told: Vec<_> = know.iter().flat_map(|own| heirs(*own, nodes(most))).collect();
                know.extend(told);
                steps += 1;
                assert!(steps <= 10, "{most} nodes");
            }
            let most_told = nodes(most).map(|own| heirs(own, nodes(most)).len()).max().unwrap();
            assert!(most_told <= 10, "{most_told} of {most}");
        }
    }

    #[test]
    fn one_that_is_down_keeps_nothing_from_others() {
        for down in 2..64 {
            let up = || nodes(64).filter(|node| node.0 != down);
            let mut know = BTreeSet::from([NodeId(1)]);
            for _ in 0..8 {
                // Who is down is still in everybody's table.
                let told = know.iter().flat_map(|own| heirs(*own, nodes(64)));
                let told: Vec<_> = told.filter(|node| node.0 != down).collect();
                know.extend(told);
            }
            assert_eq!(know, up().collect());
        }
    }

    #[test]
    fn all_are_asked_in_turn_and_the_first_each_time() {
        let turns = (0..333).map(|turn| asked(NodeId(5), nodes(1000), turn));
        let all: BTreeSet<_> =
            turns.inspect(|turn| assert_eq!(turn[0], NodeId(1))).flatten().collect();
        assert_eq!(all.len(), 999);
        assert_eq!(asked(NodeId(2), nodes(3), 7), [NodeId(1), NodeId(3)]);
    }
}
