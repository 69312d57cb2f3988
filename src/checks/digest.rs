//! What the checks know, in canonical form: two histories with the same digest are judged alike from here on.
//!
//! For an exhaustive search, where many histories lead to one state of the machines: they are one only if the checks
//! cannot tell them apart either. Batches are named by their bytes, not by the order in which they were seen. Left out
//! is what no comparison of a search reads: counters, marks, violations, times, caches, liveness, what clients saw, and
//! trust in disks, which no search damages.

use super::Checks;
use super::ghost::Replica;
use super::partition::Partition;
use super::shadow::{Cell, Shadow};
use std::hash::{Hash, Hasher};

/// Names of batches that are the same in every history.
struct Names(Vec<u64>);

impl Names {
    fn of(partition: &Partition) -> Names {
        let mut names = vec![0; partition.contents.len()];
        for (hash, number) in &partition.by_hash {
            names[*number as usize] = *hash;
        }
        Names(names)
    }

    /// 0 for a hole.
    fn name(&self, cell: Cell) -> (i32, u64) {
        let name = self.0.get(cell.batch as usize);
        (cell.epoch, name.copied().unwrap_or(0))
    }

    fn log(&self, log: &Shadow, out: &mut impl Hasher) {
        let (base, runs) = log.runs();
        (log.start, base, runs.len()).hash(out);
        for (end, cell) in runs {
            (end, self.name(*cell)).hash(out);
        }
    }
}

fn replica(replica: &Replica, names: &Names, out: &mut impl Hasher) {
    // Named one by one, here and below, so that a new field is asked whether it belongs here.
    let Replica {
        log,
        known,
        open,
        agree: _,
        high_watermark,
        role,
        leader_epoch,
        partition_epoch,
        isr,
        maximal_isr,
        proposed,
        durable,
        synced,
        doubt,
        broken_off,
        struck,
        opened_in_doubt,
        opened_clean,
        unknowing,
        before,
        floor,
        uncertain,
        fault,
        lost,
        suspended,
        registered,
        crashed_at,
        unguarded_at,
        flushes,
        must_hold,
        epochs,
        matched,
        opened_end,
        opened,
        producers,
    } = replica;
    names.log(log, out);
    (known, open, high_watermark, role, leader_epoch, partition_epoch).hash(out);
    (isr, maximal_isr, proposed.map(|(epoch, isr, _)| (epoch, isr))).hash(out);
    (durable, synced, doubt, floor, uncertain, fault, lost, suspended).hash(out);
    (broken_off, struck, opened_in_doubt, opened_clean, unknowing).hash(out);
    if let Some(before) = before {
        names.log(before, out);
    }
    (
        before.is_some(),
        registered,
        crashed_at.is_some(),
        unguarded_at.is_some(),
    )
        .hash(out);
    (flushes, must_hold, epochs, matched, opened_end, opened).hash(out);
    producers.hash(out);
}

fn partition(partition: &Partition, out: &mut impl Hasher) {
    let names = Names::of(partition);
    let Partition {
        id,
        terms,
        deleted,
        replicas,
        contents,
        by_hash,
        by_place,
        values: _,
        committed,
        committed_in,
        deleted_to,
        highest_high_watermark,
        // What readers saw, and there are none.
        superseded_high_watermark: _,
        leaders,
        state,
        pending,
        unsaid,
        elected,
        unclean_epoch,
        unclean_allowed,
        reset_epoch,
        completed_epoch,
        acked_end,
        guards,
        drops,
        promises,
        // What each replica knows of them is.
        has_producers: _,
    } = partition;
    for (hash, number) in by_hash {
        let content = &contents[*number as usize];
        (hash, content.previous.map(|cell| names.name(cell)), content.claimed).hash(out);
    }
    for (place, number) in by_place {
        (place, names.0[*number as usize]).hash(out);
    }
    names.log(committed, out);
    replicas.iter().for_each(|known| replica(known, &names, out));
    (
        id,
        terms,
        deleted,
        committed_in,
        deleted_to,
        highest_high_watermark,
        leaders,
    )
        .hash(out);
    (state, pending, unsaid, elected).hash(out);
    (unclean_epoch, unclean_allowed, reset_epoch, completed_epoch).hash(out);
    (acked_end, guards, promises, drops.len()).hash(out);
}

impl Checks {
    /// A step of a node is over, and so is its stop, if it was one: what waits for that is compared.
    pub fn end_step(&mut self) {
        if let Some((stopped, how)) = self.ending.take() {
            self.step_ended();
            self.stopped(stopped.into(), how);
        }
        self.step_ended();
        self.step = None;
    }

    /// Feeds all that later comparisons depend on to `out`. Between steps only: see [`Checks::end_step`].
    pub fn digest(&self, out: &mut impl Hasher) {
        assert!(self.ending.is_none() && self.step.is_none(), "a step is not over");
        self.ghost.nodes.hash(out);
        for known in &self.ghost.partitions {
            partition(known, out);
        }
        self.quorum.digest(out);
        (&self.doubtful, self.metadata_epoch).hash(out);
    }
}
