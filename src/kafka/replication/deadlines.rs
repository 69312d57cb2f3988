//! What a replica manager does by the clock, and how it stops in order.
//!
//! Guarantees: a step costs what is due, not what exists; periodic rounds over all replicas are the only scans.
//! An orderly stop ends with every log synced and every checkpoint written, in this order; only then may the
//! clean-shutdown marker be.
//!
//! Sources: Kafka's ReplicaManager (isr-expiration, highwatermark-checkpoint), LogManager (retention, checkpoints,
//! shutdown).

use super::checkpoints::Kind;
use super::manager::{ReplicaManager, Stopping};
use super::partition::Partition;
use crate::disk::Disk;
use crate::log::LogError;
use crate::log::checkpoint::OffsetEntry;
use crate::machine::Outbox;
use crate::types::{Nanos, Now, Offset, TopicPartition};

impl ReplicaManager {
    /// When something is due.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.stopping == Stopping::Flushing && self.unflushed.is_empty() {
            return Some(Nanos(0));
        }
        let ticks = [
            self.ticks.isr,
            self.ticks.high_watermarks,
            self.ticks.log_offsets,
            self.ticks.retention,
            self.ticks.producers,
        ];
        let waits = [
            self.produces.next_deadline(),
            self.fetches.next_deadline(),
            self.deletes.next_deadline(),
            self.log_deadlines.first().map(|(at, _)| *at),
            self.alter.next_deadline().filter(|_| self.cluster.my_epoch.is_some()),
        ];
        let fetchers = self.fetchers.values().map(super::fetcher::Fetcher::next_deadline);
        ticks.into_iter().chain(waits).chain(fetchers).flatten().min()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.stopping == Stopping::Flushing && self.unflushed.is_empty() {
            self.write_last_checkpoints(disk, out)?;
        }
        self.expire_produces(now, out);
        self.expire_deletes(now, out);
        self.expire_fetches(now, disk, out)?;
        let due = self.log_deadlines.iter().take_while(|(at, _)| *at <= now.mono).copied();
        for (at, id) in due.collect::<Vec<_>>() {
            self.log_deadlines.remove(&(at, id));
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.log_deadline = None;
                partition.log.on_deadline(now, disk, out)?;
                self.watch_log(id);
            }
        }
        self.tick(now, disk, out)?;
        self.end_step(now, disk, out)
    }

    fn tick(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let working = self.takes_records();
        let due = |at: Option<Nanos>| at.is_some_and(|at| at <= now.mono);
        let next = |ms: i64| Some(now.mono.plus_ms(ms.clamp(1, i64::from(u32::MAX)).unsigned_abs()));
        if due(self.ticks.isr) {
            self.ticks.isr = next(self.settings.replica_lag_time_max_ms / 2);
            self.shrink_isrs(now, out);
            // One that has lagged out of the wait does not hold the high watermark any more.
            self.advance_all(now, disk, out)?;
        }
        if due(self.ticks.high_watermarks) {
            self.ticks.high_watermarks = next(self.settings.replica_high_watermark_checkpoint_interval_ms);
            if working {
                self.checkpoint(Kind::HighWatermarks, Partition::high_watermark, disk, out)?;
            }
        }
        if due(self.ticks.log_offsets) {
            self.ticks.log_offsets = next(self.settings.log_flush_offset_checkpoint_interval_ms);
            if working {
                self.checkpoint(Kind::RecoveryPoints, |p| p.log().recovery_point(), disk, out)?;
                self.checkpoint(Kind::LogStarts, |p| p.log().log_start_offset(), disk, out)?;
            }
        }
        if due(self.ticks.producers) {
            self.ticks.producers = next(self.settings.producer_id_expiration_check_interval_ms);
            for partition in self.partitions.values_mut().filter(|_| working) {
                let expiration_ms = self.settings.producer_id_expiration_ms;
                partition.log.expire_producers(expiration_ms, now.wall_ms, out);
            }
        }
        if due(self.ticks.retention) {
            self.ticks.retention = next(self.settings.log_retention_check_interval_ms);
            if working {
                let ids: Vec<TopicPartition> = self.partitions.keys().copied().collect();
                for id in ids {
                    if let Some(partition) = self.partitions.get_mut(&id) {
                        let high_watermark = partition.high_watermark();
                        partition.log.retain(high_watermark, now, disk, out)?;
                        self.watch_log(id);
                        self.complete(id, now, disk, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins every wait anew at `anew` and counts every name from the beginning: two brokers that differ only in how
    /// long they have lived become equal. `now` is the time of the last step; the next one must not be told of an
    /// earlier time than `anew`. A follower that was last caught up longer ago than `replica.lag.time.max.ms` stays so.
    pub fn forget_age(&mut self, now: Nanos, anew: Now) {
        let after = |ms: i64| anew.mono.plus_ms(ms.clamp(1, i64::from(u32::MAX)).unsigned_abs());
        let lag_max = self.cluster.lag_time_max;
        for partition in self.partitions.values_mut() {
            partition.forget_age(now, anew, lag_max);
        }
        let ids: Vec<TopicPartition> = self.partitions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.watch_log(id));
        self.alter.forget_age(&mut self.partitions, anew.mono);
        self.forget_age_of_fetchers(now, anew.mono);
        self.forget_age_of_identities();
        let settings = &self.settings;
        let ticks = &mut self.ticks;
        ticks.isr = ticks.isr.map(|_| after(settings.replica_lag_time_max_ms / 2));
        let interval_ms = settings.replica_high_watermark_checkpoint_interval_ms;
        ticks.high_watermarks = ticks.high_watermarks.map(|_| after(interval_ms));
        ticks.log_offsets = ticks
            .log_offsets
            .map(|_| after(settings.log_flush_offset_checkpoint_interval_ms));
        ticks.retention = ticks.retention.map(|_| after(settings.log_retention_check_interval_ms));
        let interval_ms = settings.producer_id_expiration_check_interval_ms;
        ticks.producers = ticks.producers.map(|_| after(interval_ms));
        let longest = after(i64::from(u32::MAX));
        self.produces.forget_age(longest);
        self.deletes.forget_age(longest);
        self.fetches.forget_age(after(settings.replica_fetch_wait_max_ms));
    }

    /// Writes one checkpoint file.
    pub(super) fn checkpoint(
        &mut self,
        kind: Kind,
        value: impl Fn(&Partition) -> Offset,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let entry = |p: &Partition| {
            let (topic, partition) = (p.topic().to_string(), p.id().partition);
            OffsetEntry {
                topic,
                partition,
                offset: value(p),
            }
        };
        let entries = self.partitions.values().map(entry).collect();
        if kind == Kind::RecoveryPoints {
            for partition in self.partitions.values_mut() {
                let written = value(partition);
                partition.claimed_recovery_point = partition.claimed_recovery_point.max(written);
            }
        }
        self.checkpoints.write(kind, entries, disk, out)
    }

    /// Not after the last flush has been asked for.
    pub(super) fn takes_records(&self) -> bool {
        matches!(self.stopping, Stopping::No | Stopping::Leaving)
    }

    /// A controlled shutdown begins: leaderships are being given away, and replicas outside their ISR stop copying.
    pub fn begin_shutdown(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Leaving;
        }
    }

    /// Stops taking and copying records, writes down what is known of producers, and asks for everything to be made
    /// durable.
    pub fn flush_all(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.takes_records() {
            self.stopping = Stopping::Flushing;
            self.fetchers.clear();
            for (id, partition) in &mut self.partitions {
                partition.log.take_producer_snapshot(disk)?;
                partition.log.flush_to_stop(out);
                if !partition.log.is_flushed() {
                    self.unflushed.insert(*id);
                }
            }
        }
        Ok(())
    }

    /// Everything is on the platter: the clean-shutdown marker may be written.
    pub fn all_flushed(&self) -> bool {
        self.stopping == Stopping::Flushed && self.checkpoints.is_idle()
    }

    /// Closes all files.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        for partition in self.partitions.values_mut() {
            partition.log.close(disk);
        }
    }

    /// A sync of a log has ended; in an orderly stop it may have been the last.
    pub(super) fn on_log_flushed(
        &mut self,
        id: TopicPartition,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if self.stopping != Stopping::Flushing {
            return Ok(());
        }
        let durable = self.partitions.get(&id).is_none_or(|p| p.log().is_flushed());
        if durable && self.unflushed.remove(&id) && self.unflushed.is_empty() {
            self.write_last_checkpoints(disk, out)?;
        }
        Ok(())
    }

    fn write_last_checkpoints(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.stopping = Stopping::Checkpointing;
        self.checkpoint(Kind::HighWatermarks, Partition::high_watermark, disk, out)?;
        self.checkpoint(Kind::RecoveryPoints, |p| p.log().recovery_point(), disk, out)?;
        self.checkpoint(Kind::LogStarts, |p| p.log().log_start_offset(), disk, out)?;
        self.on_checkpoints_written();
        Ok(())
    }

    /// Perhaps that was the last one.
    pub(super) fn on_checkpoints_written(&mut self) {
        if self.stopping == Stopping::Checkpointing && self.checkpoints.is_idle() {
            self.stopping = Stopping::Flushed;
        }
    }
}
