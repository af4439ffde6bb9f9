//! How many images are kept, and when a full one is due.
//!
//! An image stays as long as it is among the last K or one of those builds on it. The undo logs
//! reach back to the oldest of the last K: what is older than that can be read, but the files it
//! wrote cannot be rolled back to it.
//!
//! Invariant: at every moment, also between two steps of a removal, every image that is there has all
//! that it builds on. Called by whoever takes checkpoints, after each, and by `chameleon images prune`.

use std::collections::{BTreeMap, BTreeSet};

use crate::dir::Dir;
use crate::error::{Error, Result, io as failed};
use crate::image::Whole;
use crate::moved;
use crate::read::{Chain, Opened};
use crate::storage::Storage;
use crate::undo::{self, Rollback};
use crate::write::Writer;

/// Increments behind a full image before the next full one: a restart reads all of them.
pub const LONGEST_CHAIN: usize = 16;

/// What to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Images, newest first, so that none goes before what builds on it.
    pub images: Vec<u64>,
    /// Undo logs.
    pub logs: Vec<u64>,
}

/// What to remove so that the last `keep` images can be restored. `images` are all that there are,
/// ascending, each with its parent; one that cannot be read has none.
pub fn plan(images: &[(u64, Option<u64>)], logs: &[u64], keep: usize) -> Plan {
    let kept = &images[images.len().saturating_sub(keep.max(1))..];
    let mut needed: BTreeSet<u64> = BTreeSet::new();
    for (sequence, _) in kept {
        let mut next = Some(*sequence);
        while let Some(sequence) = next
            && needed.insert(sequence)
        {
            let found = images.iter().find(|(number, _)| *number == sequence);
            next = found.and_then(|(_, parent)| *parent);
        }
    }
    let all = images.iter().rev().map(|(sequence, _)| *sequence);
    let oldest = kept.first().map_or(0, |(sequence, _)| *sequence);
    Plan {
        images: all.filter(|sequence| !needed.contains(sequence)).collect(),
        logs: logs.iter().copied().filter(|log| *log < oldest).collect(),
    }
}

/// What [`plan`] says of a directory. An image that cannot be read, or whose ancestors cannot, counts
/// as none of the last `keep`, and is not removed either: it is for the user to look at.
///
/// # Errors
/// [`Error::NoImages`], [`Error::Io`].
pub fn plan_of(dir: &Dir, keep: usize) -> Result<Plan> {
    let mut readable: Vec<(u64, Option<u64>)> = Vec::new();
    let mut sums = BTreeMap::new();
    // A parent is older than its child.
    for sequence in dir.sequences()? {
        let Ok(opened) = Opened::open(dir, sequence) else { continue };
        let parent = opened.image().parent;
        let whole = parent.and_then(|parent| sums.get(&parent).copied());
        if whole == opened.manifest.parent_sum {
            sums.insert(sequence, opened.sum);
            readable.push((sequence, parent));
        }
    }
    Ok(plan(&readable, &dir.logs()?, keep))
}

/// Why the next image has to be a whole one, if it has to: there is none to build on, it cannot be
/// read, the chain has become long, or as many bytes as the whole one at its end.
pub fn whole(dir: &Dir, last: Option<u64>) -> Option<Whole> {
    let Some(last) = last else { return Some(Whole::First) };
    let Ok(chain) = Chain::open(dir, last) else { return Some(Whole::Parent) };
    let (end, increments) = chain.images().split_last()?;
    let long: u64 = increments.iter().map(|one| one.manifest.pages_len).sum();
    if increments.len() >= LONGEST_CHAIN {
        Some(Whole::Chain)
    } else if long > end.manifest.pages_len {
        Some(Whole::Size)
    } else {
        None
    }
}

impl<S: Storage> Writer<S> {
    /// Carries out a plan.
    ///
    /// # Errors
    /// [`Error::Io`]; what was not removed yet is whole.
    pub fn prune(&self, plan: &Plan) -> Result<()> {
        let (dir, storage) = (self.dir(), self.storage());
        for sequence in &plan.images {
            let (from, to) = (dir.image(*sequence), dir.gone(*sequence));
            storage.rename(&from, &to).map_err(failed("cannot be renamed", &from))?;
            let images = dir.images();
            storage.sync_dir(&images).map_err(failed("fsync", &images))?;
            self.sweep(&to)?;
        }
        for sequence in &plan.logs {
            let log = dir.log(*sequence);
            match storage.remove_file(&log) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(failed("cannot be removed", &log))?,
            }
            undo::forget_kept(dir, *sequence);
            moved::forget(dir, *sequence);
        }
        Ok(())
    }

    /// Gives up everything after checkpoint `sequence` and puts the files back to what they were then
    /// ([`Rollback::of`] it, which should have been checked); how many bytes. The program goes on from
    /// there, and its log of that checkpoint goes on, too ([`crate::undo::UndoLog::reopen`]).
    ///
    /// Later images go first: with files of an earlier time they would be wrong. Logs go last and the
    /// newest first: with what is left of them this can be done again after a kill at any point.
    ///
    /// # Errors
    /// [`Error::Replaced`], [`Error::Damaged`], [`Error::Io`], [`Error::NoSpace`].
    pub fn go_back(&self, sequence: u64, rollback: &Rollback) -> Result<u64> {
        rollback.check()?;
        let later = |all: Vec<u64>| all.into_iter().rev().filter(|n| *n > sequence).collect();
        let images = later(self.dir().sequences()?);
        self.prune(&Plan { images, logs: Vec::new() })?;
        let bytes = rollback.apply()?;
        self.prune(&Plan { images: Vec::new(), logs: later(self.dir().logs()?) })?;
        Ok(bytes)
    }

    /// Keeps the last `keep` images restorable and removes what none of them needs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn retain(&self, keep: usize) -> Result<Plan> {
        let plan = match plan_of(self.dir(), keep) {
            Err(Error::NoImages { .. }) => Plan::default(),
            plan => plan?,
        };
        self.prune(&plan)?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_build_on_stays() {
        // 1 full, 2 and 3 on it; 4 full, 5 on it.
        let images = [(1, None), (2, Some(1)), (3, Some(2)), (4, None), (5, Some(4))];
        let logs = [1, 2, 3, 4, 5];
        let of = |keep| plan(&images, &logs, keep);
        assert_eq!(of(5), Plan::default());
        assert_eq!(of(3), Plan { images: vec![], logs: vec![1, 2] });
        assert_eq!(of(2), Plan { images: vec![3, 2, 1], logs: vec![1, 2, 3] });
        assert_eq!(of(1), Plan { images: vec![3, 2, 1], logs: vec![1, 2, 3, 4] });
        assert_eq!(of(0), of(1));
    }

    #[test]
    fn a_removal_never_leaves_a_child_without_its_parent() {
        let images = [(1, None), (2, Some(1)), (3, Some(1)), (7, Some(3)), (9, None)];
        let plan = plan(&images, &[], 1);
        for stop in 0..=plan.images.len() {
            let left = |number: &u64| !plan.images[..stop].contains(number);
            for (_, parent) in images.iter().filter(|(number, _)| left(number)) {
                assert!(parent.as_ref().is_none_or(left), "after {stop} steps");
            }
        }
    }
}
