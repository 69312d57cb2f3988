//! The active controller on this node: decisions become records, records are committed, then answers leave.
//!
//! An answer never runs ahead of what it rests on: a decision that wrote nothing still waits for everything that was
//! written before it, since it may have looked at that. When leadership of the quorum is lost, nobody knows the fate of
//! what was not committed, so those who wait are hung up on instead of being told a lie.
//!
//! Sources: KIP-631; `QuorumController` in Kafka.

use crate::config::NodeConfig;
use crate::controller::Controller;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::{Entropy, Outbox};
use crate::metadata::{MetadataImage, Record};
use crate::note::Note;
use crate::quorum::Quorum;
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset, RequestId};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use std::collections::VecDeque;

/// The active controller, for as long as this node leads the quorum.
#[derive(Clone, Debug)]
pub struct Active {
    controller: Controller,
    epoch: LeaderEpoch,
    /// Answers that wait until everything below their offset is committed, in that order.
    waiting: VecDeque<(Offset, RequestId, ResponseKind)>,
    /// End of what this controller has written.
    written: Offset,
}

impl Active {
    /// Takes over from the committed image.
    ///
    /// Errors: `Invalid` if that is not what controllers decide; whatever followed from it would be wrong, too.
    pub fn activate(
        config: &NodeConfig,
        image: &MetadataImage,
        entropy: Entropy,
        epoch: LeaderEpoch,
        now: Now,
        out: &mut Outbox,
    ) -> Result<Active, LogError> {
        let controller = Controller::activate(image.clone(), &config.settings, config.rules, entropy, now, epoch)
            .of_cluster(&config.cluster_id);
        if controller.flaw().is_some() {
            return Err(LogError::Invalid("the metadata says what no controller decides"));
        }
        out.note(Note::ControllerActivated { epoch });
        Ok(Active {
            controller,
            epoch,
            waiting: VecDeque::new(),
            written: image.offset,
        })
    }

    /// The metadata as it has been decided.
    pub fn image(&self) -> &MetadataImage {
        self.controller.image()
    }

    /// The quorum epoch in which it is active.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Decides one request. False if this node turned out not to lead any more.
    #[allow(clippy::too_many_arguments)] // the whole context of a decision, used in one place
    pub fn handle(
        &mut self,
        id: RequestId,
        from: Option<NodeId>,
        request: &RequestKind,
        quorum: &mut Quorum,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, LogError> {
        let decision = self.controller.decide(now, from, request, quorum.log_end_offset(), out);
        if !self.write(&decision.records, quorum, now, disk, out)? {
            return Ok(false);
        }
        self.waiting.push_back((self.written, id, decision.response));
        self.on_committed(quorum.high_watermark().unwrap_or(0), out);
        Ok(true)
    }

    /// Fencing, balancing and whatever else time brings. False if this node turned out not to lead any more.
    pub fn on_deadline(
        &mut self,
        quorum: &mut Quorum,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, LogError> {
        let records = self.controller.on_deadline(now, quorum.log_end_offset(), out);
        self.write(&records, quorum, now, disk, out)
    }

    /// When that is.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.controller.next_deadline()
    }

    fn write(
        &mut self,
        records: &[Record],
        quorum: &mut Quorum,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, LogError> {
        if records.is_empty() {
            return Ok(quorum.is_leader());
        }
        let values: Vec<_> = records.iter().map(Record::encode).collect();
        let Some((_, last)) = quorum.append(&values, now, disk, out)? else {
            return Ok(false);
        };
        self.written = last + 1;
        Ok(true)
    }

    /// Everything below `high_watermark` is committed: whoever waited for it is answered.
    pub fn on_committed(&mut self, high_watermark: Offset, out: &mut Outbox) {
        while self.waiting.front().is_some_and(|(end, ..)| *end <= high_watermark) {
            let (_, id, response) = self.waiting.pop_front().expect("looked at above");
            out.reply(id, response);
        }
    }

    /// No longer active; gives the requests whose fate nobody knows.
    pub fn deactivate(self, out: &mut Outbox) -> Vec<RequestId> {
        out.note(Note::ControllerDeactivated { epoch: self.epoch });
        self.waiting.into_iter().map(|(_, id, _)| id).collect()
    }
}
