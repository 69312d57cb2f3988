//! From committed metadata records to this node's image, and from there to its replicas; and snapshots of it.
//!
//! A broker learns who leads only here: by fetching and applying the metadata log, never by a call of the controller.
//!
//! Sources: KIP-631, KIP-630 (snapshots).

use super::Broker;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::{MetadataDelta, MetadataImage, Record};
use crate::note::Note;
use crate::types::{LeaderEpoch, Now, Offset};
use crate::wire::batch;
use bytes::Bytes;

/// Bytes applied in one go.
const APPLY_MAX_BYTES: usize = 1024 * 1024;
/// Bit of a batch's attributes that marks control records.
const CONTROL_BIT: i16 = 0x20;

/// Folds batches into `image`. Their bytes come from the disk, so each is checked again, as Kafka's does
/// (RecordsBatchReader, RecordsSnapshotReader: "Validate batch CRC").
fn fold(batches: &Bytes, image: &mut MetadataImage, delta: &mut MetadataDelta) -> Result<(), LogError> {
    for batch in batch::batches(batches) {
        let (header, bytes) = batch.map_err(|_| LogError::Corrupt)?;
        batch::check(&bytes).map_err(|_| LogError::Corrupt)?;
        // A damaged disk may hand out a batch of another place: applying it would go back, and round in circles.
        if header.last_offset() < image.offset {
            return Err(LogError::Corrupt);
        }
        if header.attributes & CONTROL_BIT == 0 {
            for record in batch::records(&bytes) {
                let record = record.map_err(|_| LogError::Corrupt)?;
                let value = record.value.ok_or(LogError::Corrupt)?;
                let value = Record::decode(&value).map_err(|_| LogError::Corrupt)?;
                image.apply(&value, record.offset, header.partition_leader_epoch, delta);
            }
        }
        image.offset = header.last_offset() + 1;
        image.epoch = header.partition_leader_epoch;
    }
    Ok(())
}

impl Broker {
    /// Applies what is committed and not applied yet.
    pub(super) fn apply_committed(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if let Some((end, epoch)) = self.quorum.latest_snapshot()
            && end > self.image.offset
        {
            self.load_snapshot(end, epoch, now, disk, out)?;
        }
        while self
            .quorum
            .high_watermark()
            .is_some_and(|high_watermark| high_watermark > self.image.offset)
        {
            let batches = self.quorum.read_committed(self.image.offset, APPLY_MAX_BYTES, disk)?;
            if batches.is_empty() {
                break;
            }
            let mut delta = MetadataDelta::default();
            let before = self.image.offset;
            fold(&batches, &mut self.image, &mut delta)?;
            if self.image.offset == before {
                // Bytes that hold no whole batch any more: asking again would not end.
                return Err(LogError::Corrupt);
            }
            self.since_snapshot += batches.len() as u64;
            self.on_image(&delta, now, disk, out)?;
        }
        self.follow_leadership(now, out)?;
        if let (Some(active), Some(high_watermark)) = (&mut self.active, self.quorum.high_watermark()) {
            active.on_committed(high_watermark, out);
        }
        self.maybe_snapshot(now, disk, out)
    }

    fn on_image(
        &mut self,
        delta: &MetadataDelta,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        out.note(Note::MetadataApplied {
            offset: self.image.offset,
            image_digest: self.image.digest(),
        });
        if self.serving.is_none() {
            return Ok(());
        }
        self.unpublished.extend(delta);
        self.publish(now, disk, out)
    }

    /// Hands what has changed to the replicas. A broker that has just started first catches up with its own
    /// registration: before that its image may be older than what its last incarnation has already obeyed.
    pub(super) fn publish(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let controller = self.quorum.leader();
        let Some(serving) = &mut self.serving else {
            return Ok(());
        };
        let own = self
            .image
            .brokers
            .get(&self.config.node_id)
            .map(|registration| registration.epoch);
        self.published |= own.is_some() && own == serving.lifecycle.epoch();
        if self.published {
            let delta = std::mem::take(&mut self.unpublished);
            serving.replicas.set_controller(controller);
            serving.replicas.apply_metadata(&self.image, &delta, now, disk, out)?;
        }
        Ok(())
    }

    /// Replaces the image by that of a snapshot: the log below it is gone.
    fn load_snapshot(
        &mut self,
        end: Offset,
        epoch: LeaderEpoch,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let batches = self.quorum.read_snapshot((end, epoch), disk)?;
        let mut image = MetadataImage::default();
        let mut delta = MetadataDelta::default();
        fold(&batches, &mut image, &mut delta)?;
        image.offset = end;
        image.epoch = epoch;
        // What the old image had and the new one has not was removed in between.
        delta
            .removed_topics
            .extend(self.image.topics.keys().filter(|id| !image.topics.contains_key(id)));
        delta
            .brokers
            .extend(self.image.brokers.keys().filter(|id| !image.brokers.contains_key(id)));
        delta.configs.extend(
            self.image
                .configs
                .keys()
                .filter(|name| !image.configs.contains_key(*name))
                .cloned(),
        );
        self.image = image;
        self.since_snapshot = 0;
        out.note(Note::SnapshotLoaded { end_offset: end, epoch });
        self.on_image(&delta, now, disk, out)
    }

    fn maybe_snapshot(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.since_snapshot <= self.config.settings.metadata_log_max_record_bytes_between_snapshots as u64 {
            return Ok(());
        }
        self.since_snapshot = 0;
        let values: Vec<Bytes> = self.image.to_records().iter().map(Record::encode).collect();
        self.quorum
            .write_snapshot(self.image.offset, self.image.epoch, &values, now, disk, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Uuid;
    use bytes::BytesMut;

    #[test]
    fn a_flipped_bit_is_noticed_before_anything_of_its_batch_is_applied() {
        let topic = Record::Topic {
            name: "orders".to_owned(),
            id: Uuid::from_u128(7),
        };
        let built = batch::build(&[(0, None, Some(topic.encode()))], None, false);
        let good = batch::assign(&built, 0, LeaderEpoch(1));
        let at = good.windows(6).position(|bytes| bytes == b"orders").expect("the name");
        let mut bad = BytesMut::from(&good[..]);
        bad[at] ^= 1;
        for (bytes, expected, topics) in [(good, Ok(()), 1), (bad.freeze(), Err(LogError::Corrupt), 0)] {
            let mut image = MetadataImage::default();
            assert_eq!(fold(&bytes, &mut image, &mut MetadataDelta::default()), expected);
            assert_eq!((image.topics.len(), image.offset), (topics, topics as Offset));
        }
    }
}
