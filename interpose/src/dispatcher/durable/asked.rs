//! Images of checkpoints that somebody has asked for.
//!
//! ```text
//!   ask ─► (an image is being written: later) ─► cut ─► taken ─► how far? … ─► written, or why not
//! ```
//!
//! Invariant: a checkpoint that answers a request goes into an image, if the run writes any, or it is said
//! why it does not. What has become of it is lost with the ARMOR, and so is the image.

use chameleon_proto::runs::ImageState;

use super::{Dispatcher, Stage};

impl Dispatcher {
    /// Whether the run writes images.
    pub fn writes_images(&self) -> bool {
        self.durable.is_some()
    }

    /// How far the image of the checkpoint that answered this request is.
    pub fn image_answer(&self, ticket: u64) -> ImageState {
        let none = |why: &str| ImageState::Failed { why: why.to_owned() };
        let Some(durable) = &self.durable else {
            return none("it was started without --checkpoint-dir");
        };
        let image = durable.writing.as_ref().map(|writing| writing.image);
        match (&durable.became, image) {
            (Some((serves, state)), _) if *serves >= ticket => state.clone(),
            (_, Some(image)) => {
                let h = self.arena.header();
                ImageState::Writing { image, read: h.image_read, of: h.image_bytes }
            }
            _ if durable.stage != Stage::No || self.owes_image() => {
                ImageState::Writing { image: self.arena.header().image + 1, read: 0, of: 0 }
            }
            _ => none(
                "the checkpoint went into none: its writer was killed, or it waits and has a timer",
            ),
        }
    }

    /// Whether a checkpoint that was taken because somebody asked has had no image yet, nor been told why not.
    pub(super) fn owes_image(&self) -> bool {
        let h = self.arena.header();
        let Some(durable) = &self.durable else { return false };
        let served = durable.became.as_ref().map_or(0, |(serves, _)| *serves);
        h.refused_checkpoint == 0 && h.taken_checkpoint > served
    }

    /// Requests that a checkpoint made now answers: while an image is being written, those that it serves.
    pub(in crate::dispatcher) fn asked_until(&self) -> u64 {
        let busy = self.durable.as_ref().filter(|d| d.writing.is_some());
        busy.map_or(self.arena.header().asked_checkpoint, |durable| durable.serving)
    }

    /// An image is begun, which answers all requests so far.
    pub(super) fn serve_requests(&mut self) {
        let asked = self.arena.header().asked_checkpoint;
        if let Some(durable) = &mut self.durable {
            durable.serving = asked;
        }
    }

    /// What has become of the image that was begun.
    pub(super) fn answer_requests(&mut self, state: ImageState) {
        if let Some(durable) = &mut self.durable {
            durable.became = Some((durable.serving, state));
        }
    }

    /// The latest image answers the requests since, too.
    pub(super) fn answer_requests_again(&mut self) {
        if let Some(durable) = &mut self.durable
            && let Some((serves, _)) = &mut durable.became
        {
            *serves = durable.serving;
        }
    }
}
