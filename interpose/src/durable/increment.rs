//! What an increment leaves to the image before: pages that are known to be as they were there.
//!
//! Invariant: a page that is not in what is known counts as changed. Called by the process that writes an
//! image.

use chameleon_ckpt::PAGE;
use chameleon_ckpt::source::{Run, State};

/// What is known of the pages of a process.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The image at which they were the same.
    pub image: u64,
    /// Ranges of addresses, in order: the first, and the one behind the last.
    pub ranges: &'static [[u64; 2]],
}

/// Splits `runs` at the borders of what is known, which is unchanged.
pub fn mark(runs: &[Run], known: &[[u64; 2]]) -> Vec<Run> {
    let mut marked = Vec::with_capacity(runs.len() + 2 * known.len());
    let mut known = known.iter().peekable();
    for run in runs {
        let (mut at, end) = (run.start, run.start + run.pages * PAGE as u64);
        while at < end {
            while known.next_if(|[_, end]| *end <= at).is_some() {}
            let (state, until) = match known.peek() {
                Some([start, behind]) if *start <= at => (State::Unchanged, end.min(*behind)),
                Some([start, _]) => (State::Changed, end.min(*start)),
                None => (State::Changed, end),
            };
            marked.push(Run { start: at, pages: (until - at) / PAGE as u64, state });
            at = until;
        }
    }
    marked
}

/// How many pages are changed, and how many are not.
pub fn count(runs: &[Run]) -> (u64, u64) {
    let of = |state| runs.iter().filter(|run| run.state == state).map(|run| run.pages).sum();
    (of(State::Changed), of(State::Unchanged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, pages: u64, state: State) -> Run {
        Run { start: first * PAGE as u64, pages, state }
    }

    #[test]
    fn only_what_is_known_is_unchanged() {
        use State::{Changed, Unchanged};
        let page = PAGE as u64;
        let runs = [run(10, 10, Changed), run(30, 5, Changed), run(50, 1, Changed)];
        // Before, at the border, across a gap, inside, behind.
        let known = [[2, 5], [8, 12], [18, 32], [33, 34], [60, 70]].map(|r| r.map(|n| n * page));
        let marked = [
            run(10, 2, Unchanged),
            run(12, 6, Changed),
            run(18, 2, Unchanged),
            run(30, 2, Unchanged),
            run(32, 1, Changed),
            run(33, 1, Unchanged),
            run(34, 1, Changed),
            run(50, 1, Changed),
        ];
        assert_eq!(mark(&runs, &known), marked);
        assert_eq!(count(&marked), (9, 7));
        assert_eq!(mark(&runs, &[]), runs);
    }
}
