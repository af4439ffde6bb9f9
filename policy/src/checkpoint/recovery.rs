//! Which checkpoint a failed process goes back to, and when it is given up.
//!
//! Invariant: see the module above. No allocation; [`History`] is valid for any numbers in it.

/// Failures that are remembered of one process: the first and one for each retry.
pub const FAILURES: usize = 16;

/// The most retries that can be asked for.
pub const MOST_RETRIES: u8 = FAILURES as u8 - 1;

/// What kind of failure it was: the numbers of [`Failure::kind`].
pub mod failure {
    /// A signal of the program's own making was about to end it.
    pub const CRASH: u32 = 1;
    /// Somebody killed it.
    pub const KILLED: u32 = 2;
    /// It made no progress.
    pub const LIVELOCK: u32 = 3;
    /// No answer has enough votes any more.
    pub const MISMATCH: u32 = 4;
    /// While it was fed from the journal it made another call than the journal has.
    pub const REPLAY: u32 = 5;

    /// The word for it in a report.
    pub const fn word(kind: u32) -> &'static str {
        match kind {
            CRASH => "crash",
            KILLED => "killed",
            LIVELOCK => "livelock",
            MISMATCH => "mismatch",
            REPLAY => "replay",
            _ => "unknown",
        }
    }
}

/// One failure of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The call at its head: the one that it had not been answered yet.
    pub seq: u64,
    /// Where it stood; 0 if that is not known.
    pub pc: u64,
    /// 1 plus the call of the checkpoint that this attempt had started from; 0 for the first failure.
    pub from: u64,
    /// See [`failure`].
    pub kind: u32,
    /// The signal, or 0.
    pub signal: u32,
}

impl Failure {
    /// Whether another one is the same again: a fault of the machine does not come back at the same
    /// place. Where a livelock was found within its loop says nothing.
    fn is_again(&self, other: &Self) -> bool {
        let place = self.kind == failure::LIVELOCK || self.pc == other.pc;
        place && (self.seq, self.kind, self.signal) == (other.seq, other.kind, other.signal)
    }
}

/// The failures of one process that it has not recovered from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many there are.
    pub count: u32,
    /// Unused.
    pub spare: u32,
    /// They, the oldest first.
    pub failures: [Failure; FAILURES],
}

/// What is done about the last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go back to this one of the checkpoints, by its place in the list.
    RollBack {
        /// From 0, the newest.
        checkpoint: usize,
    },
    /// It is not recovered from.
    GiveUp(Verdict),
}

/// Why it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fails in the same way each time: a bug of the program and no fault of the machine.
    SoftwareBug {
        /// At this call.
        seq: u64,
        /// At this instruction.
        pc: u64,
        /// By this signal; 0 for a livelock.
        signal: u32,
    },
    /// It fails again and again, in different ways or in one that is no bug of the program.
    Persistent,
    /// There is nothing to go back to.
    NoCheckpoint,
}

impl Verdict {
    /// The word for it in a report.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::SoftwareBug { .. } => "software-bug",
            Self::Persistent => "persistent",
            Self::NoCheckpoint => "no-checkpoint",
        }
    }
}

impl History {
    /// The failures.
    pub fn all(&self) -> &[Failure] {
        &self.failures[..(self.count as usize).min(FAILURES)]
    }

    /// Notes one more. When all places are taken the last one is written over, and the count stays:
    /// there are no more retries by then.
    pub fn note(&mut self, failure: Failure) {
        let at = (self.count as usize).min(FAILURES - 1);
        self.failures[at] = failure;
        self.count = at as u32 + 1;
    }

    /// The process has `decided` as its last decided call. Once it has come past the calls of all
    /// failures by one more it has recovered, and they are forgotten. Whether that is so now.
    pub fn passed(&mut self, decided: u64) -> bool {
        let recovered = self.count > 0 && self.all().iter().all(|failure| decided > failure.seq);
        if recovered {
            self.count = 0;
        }
        recovered
    }

    /// What is done about the failure noted last, with these checkpoints (their calls, the newest
    /// first) and so many retries (cut to [`MOST_RETRIES`]).
    ///
    /// The newest checkpoint is tried first, each further time an older one, the oldest in the last. When there
    /// is no older one the oldest is tried again, unless it is suspect: an attempt from it failed in the
    /// replay, or before it came to where an earlier one had failed. What was wrong is in it, then.
    pub fn decide(&self, checkpoints: &[u64], retries: u8) -> Decision {
        let retries = u32::from(retries.min(MOST_RETRIES));
        if self.count > retries {
            return Decision::GiveUp(self.verdict());
        }
        if checkpoints.is_empty() {
            return Decision::GiveUp(Verdict::NoCheckpoint);
        }
        let oldest_tried = self.all().iter().filter_map(|f| f.from.checked_sub(1)).min();
        let older = match oldest_tried {
            None => Some(0),
            Some(tried) => checkpoints.iter().position(|seq| *seq < tried).map(|next| {
                // With few tries left some are passed over.
                let (older, tries) = (checkpoints.len() - next, retries - self.count + 1);
                next + older.div_ceil(tries as usize) - 1
            }),
        };
        let again = || checkpoints.iter().rposition(|seq| !self.suspects(*seq));
        match older.or_else(again) {
            Some(checkpoint) => Decision::RollBack { checkpoint },
            None => Decision::GiveUp(Verdict::Persistent),
        }
    }

    /// Whether what was decided is in doubt where a replay goes another way: the execution that it is of
    /// failed by itself. Of one that was killed nothing says that it was wrong.
    pub fn doubts_journal(&self) -> bool {
        let own = |f: &Failure| matches!(f.kind, failure::CRASH | failure::LIVELOCK);
        self.all().first().is_some_and(own)
    }

    /// Whether an attempt from the checkpoint at call `seq` failed earlier than one before it, or in
    /// the replay.
    pub fn suspects(&self, seq: u64) -> bool {
        let mut furthest = 0;
        self.all().iter().any(|failure| {
            let early = failure.kind == failure::REPLAY || failure.seq < furthest;
            furthest = furthest.max(failure.seq);
            failure.from.checked_sub(1) == Some(seq) && early
        })
    }

    fn verdict(&self) -> Verdict {
        let [first, rest @ ..] = self.all() else { return Verdict::Persistent };
        let of_the_program = matches!(first.kind, failure::CRASH | failure::LIVELOCK);
        // One failure alone could be anything.
        if of_the_program && !rest.is_empty() && rest.iter().all(|failure| first.is_again(failure))
        {
            let Failure { seq, pc, signal, .. } = *first;
            return Verdict::SoftwareBug { seq, pc, signal };
        }
        Verdict::Persistent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crash(seq: u64, from: Option<u64>) -> Failure {
        let from = from.map_or(0, |seq| seq + 1);
        Failure { seq, pc: 0x4000, from, kind: failure::CRASH, signal: 11 }
    }

    /// Fails until it is given up; the places of the checkpoints tried, and the verdict.
    fn fails(
        checkpoints: &[u64],
        retries: u8,
        mut next: impl FnMut(Option<u64>) -> Failure,
    ) -> (Vec<usize>, Verdict) {
        let (mut history, mut tried) = (History::default(), Vec::new());
        let mut from = None;
        loop {
            history.note(next(from));
            match history.decide(checkpoints, retries) {
                Decision::RollBack { checkpoint } => {
                    tried.push(checkpoint);
                    from = Some(checkpoints[checkpoint]);
                }
                Decision::GiveUp(verdict) => return (tried, verdict),
            }
        }
    }

    #[test]
    fn the_same_crash_each_time_is_a_bug() {
        let bug = Verdict::SoftwareBug { seq: 512, pc: 0x4000, signal: 11 };
        let checkpoints = [480, 320, 160];
        assert_eq!(fails(&checkpoints, 3, |from| crash(512, from)), (vec![0, 1, 2], bug));
        assert_eq!(fails(&checkpoints[..1], 3, |from| crash(512, from)), (vec![0, 0, 0], bug));
        assert_eq!(fails(&checkpoints, 1, |from| crash(512, from)), (vec![0], bug));
        assert_eq!(fails(&checkpoints, 2, |from| crash(512, from)), (vec![0, 2], bug));
        let many = [480, 470, 440, 300, 0];
        assert_eq!(fails(&many, 3, |from| crash(512, from)), (vec![0, 2, 4], bug));
        assert_eq!(fails(&many, 5, |from| crash(512, from)), (vec![0, 1, 2, 3, 4], bug));
    }

    #[test]
    fn one_failure_alone_is_not_called_a_bug() {
        assert_eq!(fails(&[5], 0, |from| crash(9, from)), (vec![], Verdict::Persistent));
    }

    #[test]
    fn without_a_checkpoint_nothing_is_tried() {
        assert_eq!(fails(&[], 3, |from| crash(9, from)), (vec![], Verdict::NoCheckpoint));
    }

    #[test]
    fn a_livelock_is_the_same_wherever_its_loop_was_met() {
        let mut pc = 0;
        let (_, verdict) = fails(&[5], 2, |from| {
            pc += 1;
            Failure { pc, kind: failure::LIVELOCK, signal: 0, ..crash(9, from) }
        });
        assert_eq!(verdict, Verdict::SoftwareBug { seq: 9, pc: 1, signal: 0 });
    }

    #[test]
    fn what_others_did_to_it_is_no_bug() {
        for kind in [failure::KILLED, failure::MISMATCH] {
            let (tried, verdict) = fails(&[5], 2, |from| Failure { kind, ..crash(9, from) });
            assert_eq!((tried.len(), verdict), (2, Verdict::Persistent), "{kind}");
        }
    }

    #[test]
    fn a_checkpoint_that_replays_otherwise_is_not_tried_again() {
        let replay = |from: Option<u64>| {
            let kind = if from.is_some() { failure::REPLAY } else { failure::CRASH };
            Failure { kind, ..crash(9, from) }
        };
        assert_eq!(fails(&[8, 4], 9, replay), (vec![0, 1], Verdict::Persistent));
        // It comes less far from the newest one only: from then on the older one is tried.
        let early = |from| if from == Some(8) { crash(8, from) } else { crash(9, from) };
        assert_eq!(fails(&[8, 4], 3, early), (vec![0, 1, 1], Verdict::Persistent));
    }

    #[test]
    fn what_failed_by_itself_may_have_been_wrong_before() {
        let mut history = History::default();
        assert!(!history.doubts_journal());
        history.note(Failure { kind: failure::KILLED, ..crash(9, None) });
        history.note(crash(9, Some(4)));
        assert!(!history.doubts_journal());
        for (kind, doubts) in
            [(failure::CRASH, true), (failure::LIVELOCK, true), (failure::MISMATCH, false)]
        {
            let mut history = History::default();
            history.note(Failure { kind, ..crash(9, None) });
            history.note(Failure { kind: failure::REPLAY, ..crash(9, Some(4)) });
            assert_eq!(history.doubts_journal(), doubts, "{kind}");
        }
    }

    #[test]
    fn it_has_recovered_one_call_past_the_failure() {
        let mut history = History::default();
        assert!(!history.passed(3));
        history.note(crash(9, None));
        assert!(!history.passed(8));
        assert!(!history.passed(9));
        assert!(history.passed(10));
        assert_eq!(history.count, 0);
        assert!(!history.passed(11));
    }

    fn any_failure() -> impl Strategy<Value = Failure> {
        (0u64..20, 0u64..3, 1u32..=5, 0u32..3).prop_map(|(seq, pc, kind, signal)| Failure {
            seq,
            pc,
            from: 0,
            kind,
            signal,
        })
    }

    proptest! {
        #[test]
        fn what_is_tried_gets_older_and_ends(
            all in prop::collection::vec(any_failure(), 20),
            mut checkpoints in prop::collection::vec(0u64..30, 0..6),
            retries in 0u8..=20,
        ) {
            checkpoints.sort_unstable_by(|a, b| b.cmp(a));
            checkpoints.dedup();
            let mut history = History::default();
            let (mut from, mut at, mut tries) = (0, 0, 0);
            for failure in all {
                history.note(Failure { from, ..failure });
                match history.decide(&checkpoints, retries) {
                    Decision::RollBack { checkpoint } => {
                        tries += 1;
                        prop_assert!(tries <= u32::from(retries.min(MOST_RETRIES)));
                        prop_assert!(checkpoint >= at || history.suspects(checkpoints[at]));
                        prop_assert!(!history.suspects(checkpoints[checkpoint]));
                        at = checkpoint;
                        from = checkpoints[checkpoint] + 1;
                    }
                    Decision::GiveUp(Verdict::SoftwareBug { seq, signal, .. }) => {
                        let same = |f: &Failure| f.seq == seq && f.signal == signal;
                        prop_assert!(history.all().iter().all(same) && history.count > 1);
                        return Ok(());
                    }
                    Decision::GiveUp(verdict) => {
                        prop_assert_eq!(
                            verdict == Verdict::NoCheckpoint,
                            checkpoints.is_empty() && history.count <= u32::from(retries)
                        );
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "it went on for ever");
        }

        #[test]
        fn any_numbers_are_a_history(count: u32, seq: u64, from: u64, kind: u32, retries: u8) {
            let failure = Failure { seq, pc: 0, from, kind, signal: 0 };
            let mut history = History { count, spare: 0, failures: [failure; FAILURES] };
            let _ = history.decide(&[u64::MAX - 1, 3], retries);
            history.note(failure);
            prop_assert!(history.all().len() <= FAILURES);
            let _ = history.passed(seq);
        }
    }
}
