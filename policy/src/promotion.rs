//! When the Backup FTM makes itself the FTM, and what it does then (paper 4.1.3, 5.3.1, Table 2).
//!
//! Invariant: no promotion because of one accuser's word alone: it must be about an update that this
//! backup was asked to make, too, and could, by the manager whose row it is, and the FTM must refuse
//! it once more when the backup itself asks. A promotion has the next epoch, so that of two FTMs all
//! follow the same one ([`crate::epoch`]).

use chameleon_proto::ids::{ArmorId, ArmorType, Epoch, NodeId, armors};
use chameleon_proto::message::env::{Accusation, NewManager, Row};

use crate::tables::participant::{BUSY, Participant};
use crate::tables::{Placed, Tables};

/// Why the FTM is thought to have failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It left so many of the backup's heartbeats without an answer.
    Missed(u32),
    /// Its daemon is down; that counts as the FTM's crash (Table 2).
    DaemonDown,
    /// It was seen to end.
    Ended,
    /// It does not have a row that it should have.
    WrongTables(String),
}

/// Where the FTM's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On one host: FTM and backup are there.
    OneHost,
    /// In a cluster: the backup had better be on another node.
    Cluster,
}

/// What the backup knows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The backup.
    pub me: ArmorId,
    /// Its node.
    pub node: NodeId,
    /// The FTM.
    pub ftm: ArmorId,
    /// The epoch so far.
    pub epoch: Epoch,
    /// The mirror.
    pub mirror: &'a Participant,
    /// The nodes that take something new.
    pub up: &'a [NodeId],
    /// Where the FTM's state is.
    pub state: State,
}

/// Who is the backup from now on: an ARMOR that is to be installed.
///
/// The paper has a Surrogate Manager become the backup besides what it does (Table 2). Here it is an ARMOR
/// of its own: a process that was both would take an application's manager with it when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBackup {
    /// Its name.
    pub armor: ArmorId,
    /// Where.
    pub node: NodeId,
}

/// What the backup does to be the FTM.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// The epoch from now on.
    pub epoch: Epoch,
    /// The former FTM, to be ended by its daemon if that can be reached.
    pub end: ArmorId,
    /// The new backup; nothing if no node can have one.
    pub backup: Option<NewBackup>,
    /// What everybody is told.
    pub news: NewManager,
    /// Who is told first: daemons, which then refuse what is older; then those whom the FTM manages,
    /// who tell theirs.
    pub tell: Vec<ArmorId>,
    /// Why, in words.
    pub why: String,
}

/// What follows from an accusation.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It has no weight, for this reason.
    Dismissed(&'static str),
    /// Ask the FTM to prepare this, and judge its answer by [`verified`].
    Verify(Row),
}

/// Judges a manager's accusation by the backup's own tables.
pub fn accused(view: &View<'_>, accuser: ArmorId, accusation: &Accusation) -> Judgement {
    if accusation.ftm != view.ftm {
        return Judgement::Dismissed("it is not about the FTM that there is");
    }
    let Some(row) = view.mirror.asked(accuser, accusation.sequence) else {
        return Judgement::Dismissed("the backup was not asked for that update");
    };
    let tables = view.mirror.tables();
    if let Row::Armor { armor, .. } | Row::NoArmor(armor) = row
        && tables.known(*armor).is_some_and(|placed| !placed.manager.same_armor(accuser))
    {
        return Judgement::Dismissed("the ARMOR it is about has another manager");
    }
    match tables.check(row) {
        Ok(()) => Judgement::Verify(row.clone()),
        Err(_) => Judgement::Dismissed("the mirror cannot make that update either"),
    }
}

/// The FTM's answer to an update that the backup could make: the reason for a promotion, if it is one.
/// What was prepared for it is to be aborted.
pub fn verified(refusal: Option<&str>) -> Option<Reason> {
    let why = refusal.filter(|why| *why != BUSY)?;
    Some(Reason::WrongTables(why.to_owned()))
}

/// What is to be done to become the FTM.
pub fn promote(view: &View<'_>, reason: &Reason) -> Promotion {
    let tables = view.mirror.tables();
    let backup = new_backup(view, tables);
    let named = backup.map(|backup| backup.armor);
    Promotion {
        epoch: Epoch(view.epoch.0.saturating_add(1)),
        end: view.ftm,
        backup,
        news: NewManager { ftm: view.me, backup: named, node: view.node },
        tell: tell(view, tables),
        why: match reason {
            Reason::Missed(count) => format!("the FTM left {count} heartbeats without an answer"),
            Reason::DaemonDown => "the daemon of the FTM's node is down".to_owned(),
            Reason::Ended => "the FTM has ended".to_owned(),
            Reason::WrongTables(why) => format!("the FTM's tables are wrong: {why}"),
        },
    }
}

/// With its state on one host, the backup is on the FTM's; else rather on another.
fn new_backup(view: &View<'_>, tables: &Tables) -> Option<NewBackup> {
    let elsewhere = |node: NodeId| (view.state == State::Cluster && node == view.node) as u8;
    let node = match view.state {
        State::OneHost => Some(view.node),
        State::Cluster => view.up.iter().copied().min_by_key(|node| (elsewhere(*node), *node)),
    };
    let known = tables.armors().map(|placed| placed.armor).chain([view.me]);
    let backups = known.filter(|armor| armor.kind == armors::BACKUP_FTM);
    let number = backups.map(|armor| armor.number).max().unwrap_or(0) + 1;
    let armor = ArmorId::first(armors::BACKUP_FTM, number);
    node.map(|node| NewBackup { armor, node })
}

fn tell(view: &View<'_>, tables: &Tables) -> Vec<ArmorId> {
    let first = |kind: ArmorType| match kind {
        armors::DAEMON => 0,
        armors::HEARTBEAT => 1,
        _ => 2,
    };
    let theirs = |placed: &&Placed| {
        let managed = placed.manager.same_armor(view.ftm) || placed.manager.same_armor(view.me);
        managed || placed.armor.kind == armors::DAEMON
    };
    let mut tell: Vec<ArmorId> =
        tables.armors().filter(theirs).map(|placed| placed.armor).collect();
    tell.retain(|armor| !armor.same_armor(view.me) && !armor.same_armor(view.ftm));
    tell.sort_by_key(|armor| (first(armor.kind), *armor));
    tell
}

#[cfg(test)]
mod tests {
    use chameleon_proto::message::env::{Phase, Update};
    use proptest::prelude::*;

    use super::*;

    const FTM: ArmorId = ArmorId::first(armors::FTM, 1);
    const BACKUP: ArmorId = ArmorId::first(armors::BACKUP_FTM, 1);
    const EXECUTION: ArmorId = ArmorId::first(armors::EXECUTION, 1);

    fn surrogate(number: u32) -> ArmorId {
        ArmorId::first(armors::SURROGATE, number)
    }

    fn there(armor: ArmorId, manager: ArmorId, node: u32) -> Row {
        Row::Armor { armor, manager, node: NodeId(node) }
    }

    /// Two nodes; surrogate 1 on node 2 runs something, surrogate 2 on node 2 nothing.
    fn mirror() -> Participant {
        let rows = [
            there(ArmorId::first(armors::DAEMON, 2), FTM, 2),
            there(ArmorId::first(armors::DAEMON, 1), FTM, 1),
            there(FTM, FTM, 1),
            there(BACKUP, FTM, 1),
            there(ArmorId::first(armors::HEARTBEAT, 1), FTM, 1),
            there(surrogate(1), FTM, 2),
            there(surrogate(2), FTM, 2),
            there(EXECUTION, surrogate(1), 2),
        ];
        Participant::new(Tables::from_rows(rows).unwrap())
    }

    fn view<'a>(mirror: &'a Participant, up: &'a [NodeId], state: State) -> View<'a> {
        View { me: BACKUP, node: NodeId(1), ftm: FTM, epoch: Epoch(4), mirror, up, state }
    }

    #[test]
    fn a_promotion_says_who_is_told_and_who_comes_next() {
        let mirror = mirror();
        let up = [NodeId(1), NodeId(2)];
        let promotion = promote(&view(&mirror, &up, State::OneHost), &Reason::Missed(3));
        let next = ArmorId::first(armors::BACKUP_FTM, 2);
        assert_eq!((promotion.epoch, promotion.end), (Epoch(5), FTM));
        assert_eq!(promotion.backup, Some(NewBackup { armor: next, node: NodeId(1) }));
        assert_eq!(promotion.news, NewManager { ftm: BACKUP, backup: Some(next), node: NodeId(1) });
        let kinds: Vec<(u16, u32)> =
            promotion.tell.iter().map(|armor| (armor.kind.0, armor.number)).collect();
        assert_eq!(kinds, [(3, 1), (3, 2), (7, 1), (6, 1), (6, 2)]);
        assert_eq!(promotion.why, "the FTM left 3 heartbeats without an answer");
        let cluster = promote(&view(&mirror, &up, State::Cluster), &Reason::DaemonDown);
        assert_eq!(cluster.backup, Some(NewBackup { armor: next, node: NodeId(2) }));
        let alone = promote(&view(&mirror, &[], State::Cluster), &Reason::Ended);
        assert_eq!((alone.backup, alone.news.backup), (None, None));
    }

    #[test]
    fn an_accusation_is_checked_by_the_mirror_and_by_asking() {
        let mut mirror = mirror();
        let update = |sequence, phase, row| Update { sequence, phase, row };
        let mut asked = |who: ArmorId, sequence: u64, row: Row| {
            mirror.receive(who, &update(sequence, Phase::Prepare, row.clone()));
            mirror.receive(who, &update(sequence, Phase::Abort, row));
        };
        asked(surrogate(1), 7, Row::NoArmor(EXECUTION));
        asked(surrogate(2), 3, Row::NoArmor(EXECUTION));
        asked(surrogate(1), 8, Row::NoArmor(ArmorId::first(armors::EXECUTION, 9)));
        let view = view(&mirror, &[], State::OneHost);
        let says = |who, ftm, sequence| {
            accused(&view, who, &Accusation { ftm, sequence, why: "there is none".into() })
        };
        assert_eq!(says(surrogate(1), FTM, 7), Judgement::Verify(Row::NoArmor(EXECUTION)));
        for (who, ftm, sequence) in [
            (surrogate(1), FTM.successor(), 7),
            (surrogate(1), FTM, 6),
            (surrogate(2), FTM, 7),
            (surrogate(2), FTM, 3),
            (surrogate(1), FTM, 8),
        ] {
            let judgement = says(who, ftm, sequence);
            assert!(
                matches!(judgement, Judgement::Dismissed(_)),
                "{who} {sequence}: {judgement:?}"
            );
        }
        assert_eq!(verified(None), None);
        assert_eq!(verified(Some(BUSY)), None);
        assert_eq!(verified(Some("no")), Some(Reason::WrongTables("no".into())));
    }

    proptest! {
        #[test]
        fn everyone_whom_the_ftm_manages_is_told_once_and_the_backup_is_on_a_node_that_will_do(
            armors in prop::collection::vec((3u16..10, 1u32..4, 0u32..4, 1u32..4), 0..20),
            up in prop::collection::vec(1u32..4, 0..4), cluster: bool,
        ) {
            let rows = armors.iter().map(|(kind, number, manager, node)| {
                let manager = if *manager == 0 { FTM } else { surrogate(*manager) };
                there(ArmorId::first(ArmorType(*kind), *number), manager, *node)
            });
            let mirror = Participant::new(Tables::from_rows(rows).unwrap());
            let up: Vec<NodeId> = up.into_iter().map(NodeId).collect();
            let state = if cluster { State::Cluster } else { State::OneHost };
            let promotion = promote(&view(&mirror, &up, state), &Reason::Ended);
            for placed in mirror.tables().subordinates(FTM) {
                let told = promotion.tell.iter().filter(|armor| **armor == placed.armor).count();
                let self_or_old = placed.armor == BACKUP || placed.armor == FTM;
                prop_assert_eq!(told, usize::from(!self_or_old));
            }
            match promotion.backup {
                Some(NewBackup { armor, node }) => {
                    let will_do = up.contains(&node) && cluster || node == NodeId(1) && !cluster;
                    prop_assert!(will_do);
                    prop_assert!(armor != BACKUP && armor != FTM);
                }
                None => prop_assert!(cluster && up.is_empty()),
            }
        }
    }
}
