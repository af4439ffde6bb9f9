//! The block that watches the FTM and takes its place.
//!
//! Invariant: while there is no connection to the daemon, or it is silent itself, nobody's silence counts: all that
//! the FTM says comes through it, and it would be of no use to another FTM on its node. An accusation has
//! consequences only if the FTM refuses this backup, too, what the mirror could do.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_policy::detector::doubt::Doubts;
use chameleon_policy::detector::{Action, Detector, Settings};
use chameleon_policy::parameters::Parameters;
use chameleon_policy::promotion::{Judgement, Reason, State, View, accused, promote, verified};
use chameleon_proto::ids::{ArmorId, NodeId};
use chameleon_proto::message::env::{
    Accusation, Heartbeat, NoWay, Note, Phase, Row, Step, Update, Updated,
};
use chameleon_proto::message::{Change, Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::{Backup, MIRROR, WATCH};
use crate::context::{Context, now_ns, wall_ns};
use crate::ftm;
use crate::ftm::core::{Birth, Ftm, Handed};

struct Watch {
    context: Context,
    backup: Rc<RefCell<Backup>>,
    detector: Detector<ArmorId>,
    ftm: ArmorId,
    doubts: Doubts<ArmorId>,
    /// Of its own updates, by which it asks the FTM.
    sequence: u64,
    asked: Option<(u64, Row)>,
    promoted: bool,
    /// When it was noticed that the daemon is silent, as long as it is.
    silent_ns: Option<u64>,
    incidents: u64,
}

pub(super) fn build(context: &Context) -> Box<dyn Block> {
    let base = u64::from(context.own().incarnation.0) << 32;
    Box::new(Watch {
        context: context.clone(),
        backup: context.shared(),
        detector: Detector::new(Settings::default(), base),
        ftm: context.manager(),
        doubts: Doubts::default(),
        sequence: 0,
        asked: None,
        promoted: false,
        silent_ns: None,
        incidents: 0,
    })
}

impl Block for Watch {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        if self.promoted {
            return;
        }
        match message {
            Message::Attached => {
                for kind in [
                    Kind::Welcome,
                    Kind::Tick,
                    Kind::Pong,
                    Kind::Heartbeaten,
                    Kind::ArmorDown,
                    Kind::Undeliverable,
                    Kind::Accusation,
                    Kind::Updated,
                ] {
                    outbox.subscribe(kind);
                }
                self.detector.watch(self.ftm, now_ns());
                self.wake();
            }
            Message::Welcome(_) => {
                self.doubts.begin_again(&mut self.detector, now_ns());
                self.daemon_answers(outbox);
            }
            Message::Tick { now_ns } => self.tick(*now_ns, outbox),
            Message::Pong { nonce, .. } => {
                // An answer that says nothing is one to an earlier life's question.
                let _ = self.detector.answered(outbox.source(), *nonce);
            }
            Message::Heartbeaten(beat) if beat.node == self.context.node() => {
                let now = now_ns();
                let late = now.saturating_sub(beat.sequence)
                    >= self.detector.settings().interval.as_nanos() as u64;
                let down = self.doubts.settle(&mut self.detector, beat.sequence, now);
                if let Some((_, missed)) = down.first() {
                    self.promote(&Reason::Missed(*missed), wall_ns(), outbox);
                } else if late {
                    self.daemon_answers(outbox);
                }
                self.silent_ns = None;
            }
            Message::ArmorDown(down) if down.armor == self.ftm => {
                self.promote(&Reason::Ended, down.at_ns, outbox);
            }
            Message::Undeliverable(back) if back.destination == self.ftm => {
                if matches!(back.why, NoWay::NotHere | NoWay::OtherLife) {
                    self.promote(&Reason::Ended, wall_ns(), outbox);
                }
            }
            Message::Accusation(accusation) => self.judge(accusation, outbox),
            Message::Updated(answer) if outbox.source() == self.ftm => {
                self.answered(answer, outbox)
            }
            _ => {}
        }
    }
}

impl Watch {
    fn wake(&self) {
        if let Some(at_ns) = self.detector.next_ns() {
            self.context.wake_at(at_ns);
        }
    }

    fn tick(&mut self, now: u64, outbox: &mut Outbox) {
        let settings =
            Parameters::of(self.backup.borrow().participant.tables().parameters()).heartbeat();
        if settings != self.detector.settings() {
            self.detector.set(settings, now);
        }
        if !self.context.is_connected() {
            self.silent_ns.get_or_insert_with(wall_ns);
            // Asked again when there may be a connection; till then the detector sleeps.
            return self.context.wake_at(now + settings.interval.as_nanos() as u64);
        }
        let mut actions = Vec::new();
        self.detector.tick(now, &mut actions);
        for action in actions {
            match action {
                Action::Send(to, nonce) => {
                    outbox.send(to, Message::Ping { nonce });
                }
                Action::Down(ftm, missed) => {
                    let daemon = ArmorId::daemon(self.context.node());
                    let sequence = self.doubts.doubt(ftm, missed, now);
                    let beat = Heartbeat { sequence, health: false };
                    outbox.send(daemon, Message::Heartbeat(beat));
                    self.silent_ns.get_or_insert_with(wall_ns);
                }
                Action::Suspect(..) | Action::Alive(..) => {}
            }
        }
        self.wake();
    }

    /// The daemon of this host, which is the FTM's, answers. If it was silent people hear it now: nothing could be
    /// told before, and nothing be done, since another FTM on this host would have been reached no better.
    fn daemon_answers(&mut self, outbox: &mut Outbox) {
        let Some(silent_ns) = self.silent_ns.take() else { return };
        self.incidents += 1;
        let (incident, node) = (self.incidents, self.context.node());
        for (step, at_ns, text) in [
            (
                Step::Detected,
                silent_ns,
                "the daemon of the FTM's node was silent; the Backup FTM missed it",
            ),
            (
                Step::Decided,
                silent_ns,
                "the FTM goes on when its daemon does: the backup is on the same node",
            ),
            (Step::Recovered, wall_ns(), "the daemon of the FTM's node answers again"),
        ] {
            let note = Note { incident, at_ns, node, app: None, step, text: text.to_owned() };
            outbox.send(self.ftm, Message::Note(note));
        }
    }

    /// A manager says that the FTM is wrong.
    fn judge(&mut self, accusation: &Accusation, outbox: &mut Outbox) {
        let backup = self.backup.borrow();
        let judgement = accused(&self.view(&backup, &[]), outbox.source(), accusation);
        drop(backup);
        match judgement {
            Judgement::Dismissed(why) => {
                eprintln!("chameleon: an accusation of the FTM by {}: {why}", outbox.source());
            }
            Judgement::Verify(row) => {
                self.sequence += 1;
                let update = Update { sequence: self.sequence, phase: Phase::Prepare, row };
                outbox.send(self.ftm, Message::Update(update.clone()));
                self.asked = Some((self.sequence, update.row));
            }
        }
    }

    /// What the FTM says to the backup's own question.
    fn answered(&mut self, answer: &Updated, outbox: &mut Outbox) {
        if answer.phase != Phase::Prepare {
            return;
        }
        let Some((sequence, row)) = self.asked.take_if(|asked| asked.0 == answer.sequence) else {
            return;
        };
        match verified(answer.refusal.as_deref()) {
            Some(reason) => self.promote(&reason, wall_ns(), outbox),
            None => {
                let abort = Update { sequence, phase: Phase::Abort, row };
                outbox.send(self.ftm, Message::Update(abort));
            }
        }
    }

    fn view<'a>(&self, backup: &'a Backup, up: &'a [NodeId]) -> View<'a> {
        View {
            me: self.context.own(),
            node: self.context.node(),
            ftm: self.ftm,
            epoch: self.context.epoch(),
            mirror: &backup.participant,
            up,
            state: State::OneHost,
        }
    }

    /// It is the FTM from here on: its blocks are exchanged.
    fn promote(&mut self, reason: &Reason, detected_ns: u64, outbox: &mut Outbox) {
        let mut backup = self.backup.borrow_mut();
        let Ok(Birth { state, .. }) = toml::from_str(self.context.parameters()) else { return };
        let Some(store) = backup.store.take() else { return };
        self.promoted = true;
        let promotion = promote(&self.view(&backup, &[]), reason);
        let handed = Handed {
            participant: std::mem::take(&mut backup.participant),
            store,
            notes: std::mem::take(&mut backup.notes),
            promotion,
            directory: state,
            detected_ns,
        };
        let ftm = self.context.shared::<Ftm>();
        ftm.borrow_mut().handed = Some(handed);
        outbox.compose(Change::Remove { block: MIRROR });
        outbox.compose(Change::Remove { block: WATCH });
        for block in ftm::BLOCKS {
            outbox.compose(Change::Add { block });
        }
    }
}
