//! The Voter blocks: results that come as messages are compared (paper 4.2.4).
//!
//! Invariant: a block decides nothing itself: [`chameleon_policy::vote::results`] does. The two blocks differ in
//! what they take for alike, byte for byte or numbers within a tolerance, and stand for each other
//! (`Compose`); one that is put in the other's place begins with a vote of its own.

use std::time::Duration;

use chameleon_policy::mode::Mode;
use chameleon_policy::spec::Specification;
use chameleon_policy::timeout::VotingTimeout;
use chameleon_policy::vote::results::{Progress, Vote};
use chameleon_policy::vote::scheme::Scheme;
use chameleon_proto::ids::BlockId;
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use super::Parameters;
use super::layout::Layout;
use crate::context::{Context, now_ns};

/// Success on exact match.
pub(crate) const EXACT: BlockId = BlockId(300);
/// Success on match within a tolerance.
pub(crate) const TOLERANCE: BlockId = BlockId(301);

struct Voter {
    context: Context,
    vote: Option<Vote>,
    timeout: VotingTimeout,
}

pub(crate) fn exact(context: &Context) -> Box<dyn Block> {
    build(context, |_| Scheme::Exact)
}

pub(crate) fn tolerance(context: &Context) -> Box<dyn Block> {
    build(context, |specification| specification.needs.voter)
}

fn build(context: &Context, scheme: fn(&Specification) -> Scheme) -> Box<dyn Block> {
    let open = || {
        let parameters = Parameters::from_toml(context.parameters()).ok()?;
        let specification = Specification::parse(&parameters.specification).ok()?;
        let mode: Mode = parameters.mode.parse().ok()?;
        let parts = Layout::new(&specification).ok()?.cells.len() as u32;
        let (scheme, limit) = (scheme(&specification), specification.needs.limit);
        let vote = Vote::open(parameters.round, mode, scheme, parts, now_ns(), limit);
        Some((vote, Duration::from_nanos(parameters.timeout_ns)))
    };
    let (vote, timeout) = open().unzip();
    let timeout = VotingTimeout::new(timeout.unwrap_or_default());
    Box::new(Voter { context: context.clone(), vote, timeout })
}

impl Block for Voter {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        let progress = match (message, &mut self.vote) {
            (Message::Attached, _) => {
                outbox.subscribe(Kind::Ballot);
                outbox.subscribe(Kind::Tick);
                self.wait();
                return;
            }
            (Message::Ballot(ballot), Some(vote)) if outbox.source() == outbox.own() => {
                vote.cast(ballot.clone(), now_ns())
            }
            (Message::Tick { now_ns }, Some(vote)) => vote.expire(*now_ns, &self.timeout),
            _ => return,
        };
        match progress {
            Progress::Wait | Progress::Refused(_) => self.wait(),
            Progress::Decided(_) => {
                // The others are waited for, to judge them; the timeout is by how unequal they are.
                if let Some(vote) = &self.vote {
                    vote.tune(&mut self.timeout);
                }
                self.wait();
            }
            Progress::Closed(voted) => outbox.post(Message::Voted(voted)),
        }
    }
}

impl Voter {
    fn wait(&self) {
        let deadline = self.vote.as_ref().and_then(|vote| vote.deadline_ns(&self.timeout));
        if let Some(at) = deadline {
            self.context.wake_at(at);
        }
    }
}
