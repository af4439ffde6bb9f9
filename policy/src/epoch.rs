//! Epochs: which messages are of a manager that has been replaced.
//!
//! Invariant: an epoch only grows, and it is learnt only from who says that it is the FTM now: a single
//! frame with a huge number in it would otherwise shut everyone out. Asked by daemons for each frame
//! and by FTMs that hear of each other.

use std::cmp::{Ordering, Reverse};

use chameleon_proto::ids::{ArmorId, Epoch};
use chameleon_proto::message::Kind;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is passed on.
    Pass,
    /// It is passed on, and its epoch is the one from now on.
    Learn,
    /// It is passed on; a newer FTM is there of which nothing was heard: ask for the places.
    Ahead,
    /// It is refused: its sender belongs to an older epoch and should hear of the newer.
    Old,
}

/// Kinds that are taken of any epoch: claims to be the FTM (which are answered), answers to heartbeats and
/// pings (who has not heard yet is there all the same), and what daemons tell each other first, by which
/// they learn of a newer epoch at all.
pub const OF_ANY: [Kind; 5] =
    [Kind::NewManager, Kind::Heartbeaten, Kind::Pong, Kind::Welcome, Kind::Revoked];

/// Judges a frame of this kind and epoch by one who knows of `own`. Older ones are refused, but for those of
/// [`OF_ANY`].
pub fn admit(own: Epoch, carried: Epoch, kind: Kind) -> Admission {
    admit_number(own, carried, kind.number())
}

/// The same by the kind's number on the wire: a daemon passes on kinds that it does not know itself.
pub fn admit_number(own: Epoch, carried: Epoch, kind: u16) -> Admission {
    match carried.cmp(&own) {
        Ordering::Equal => Admission::Pass,
        Ordering::Greater if kind == Kind::NewManager.number() => Admission::Learn,
        Ordering::Greater => Admission::Ahead,
        Ordering::Less if OF_ANY.iter().any(|any| any.number() == kind) => Admission::Pass,
        Ordering::Less => Admission::Old,
    }
}

/// One who says that it is the FTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its epoch.
    pub epoch: Epoch,
    /// Who.
    pub ftm: ArmorId,
}

impl Claim {
    /// Whether it holds against another: the later epoch does; of one epoch (a part of the network was
    /// alone) the one whose name is first, which all see alike, and of two lives of one the earlier: a
    /// later one that is to be heard has a later epoch.
    pub fn beats(&self, other: &Self) -> bool {
        (self.epoch, Reverse(self.ftm)) > (other.epoch, Reverse(other.ftm))
    }
}

/// What an FTM does that hears of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is its own.
    Mine,
    /// Stop deciding and end: the other is the FTM.
    StepDown,
    /// Say again who the FTM is; the other will step down.
    Reassert,
}

/// An FTM hears a claim.
pub fn heard(mine: &Claim, theirs: &Claim) -> Heard {
    if mine == theirs {
        Heard::Mine
    } else if theirs.beats(mine) {
        Heard::StepDown
    } else {
        Heard::Reassert
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn older_ones_are_refused_and_only_a_claim_teaches() {
        for (carried, kind, want) in [
            (5, Kind::Update, Admission::Pass),
            (4, Kind::Update, Admission::Old),
            (4, Kind::Heartbeaten, Admission::Pass),
            (4, Kind::Pong, Admission::Pass),
            (4, Kind::NewManager, Admission::Pass),
            (4, Kind::Heartbeat, Admission::Old),
            (6, Kind::NewManager, Admission::Learn),
            (6, Kind::Update, Admission::Ahead),
            (u64::MAX, Kind::Note, Admission::Ahead),
        ] {
            assert_eq!(admit(Epoch(5), Epoch(carried), kind), want, "{carried} {kind:?}");
        }
    }

    proptest! {
        #[test]
        fn of_several_claims_all_see_the_same_one_hold(
            claims in prop::collection::vec((0u64..4, 4u16..6, 0u32..3), 1..6),
        ) {
            let claims: Vec<Claim> = claims
                .into_iter()
                .map(|(epoch, kind, number)| Claim {
                    epoch: Epoch(epoch),
                    ftm: ArmorId::first(chameleon_proto::ids::ArmorType(kind), number),
                })
                .collect();
            let holds = |one: &&Claim| claims.iter().all(|other| heard(one, other) != Heard::StepDown);
            let left: Vec<&Claim> = claims.iter().filter(holds).collect();
            prop_assert!(!left.is_empty());
            prop_assert!(left.iter().all(|one| *one == left[0]));
            prop_assert!(claims.iter().all(|claim| claim.epoch <= left[0].epoch));
            for one in &claims {
                for other in &claims {
                    let both = heard(one, other) == Heard::StepDown && heard(other, one) == Heard::StepDown;
                    prop_assert!(!both);
                    prop_assert_eq!(heard(one, other) == Heard::Mine, one == other);
                }
            }
        }
    }

    #[test]
    fn the_later_epoch_holds_whoever_it_is() {
        let old = Claim { epoch: Epoch(1), ftm: ArmorId::first(armors::FTM, 1) };
        let new = Claim { epoch: Epoch(2), ftm: ArmorId::first(armors::BACKUP_FTM, 1) };
        assert_eq!((heard(&old, &new), heard(&new, &old)), (Heard::StepDown, Heard::Reassert));
    }
}
