//! Crashes, and what comes back from the disk: D1, D2, D4, D5; the cause of every local loss.
//!
//! ```text
//!   stop      shadow after the next opening
//!   killed    must be all of it: the page cache survives
//!   mid-step  all that was committed; the rest is read again (LogContent)
//!   power     at least what was flushed; the rest is read again, and may be older than it was
//!   damage    anything; the content is read again
//! ```
//!
//! Deliberately does not know files: a log is what its broker opened, or what the run loop read from the disk.
//!
//! Sources: KIP-966; KAFKA-10471; ALICE (OSDI 2014); "Can Applications Recover from fsync Failures?" (ATC 2020).

use super::ghost::{Doubt, Lost, Role, Struck};
use super::report::Check;
use super::shadow::{Cell, Shadow};
use super::{Checks, StopKind, batch, marks};
use kafka::types::{METADATA_PARTITION, Offset, TopicPartition};

impl Checks {
    /// A process ended.
    pub(super) fn stopped(&mut self, node: usize, how: StopKind) {
        if node >= self.context.brokers {
            return;
        }
        let doubt = match how {
            StopKind::Killed | StopKind::Exited { clean: true } => Doubt::None,
            // It gave up inside a step, for what its disk said.
            StopKind::KilledMidStep | StopKind::Exited { clean: false } => Doubt::MidStep,
            StopKind::PowerLost => Doubt::PowerLost,
        };
        let state = &mut self.ghost.nodes[node];
        // A process that never registered leaves a marker without a broker epoch, which the controller takes for none.
        let unclean = how != StopKind::Exited { clean: true } || (state.up && !state.registered);
        if how == (StopKind::Exited { clean: true }) {
            state.left_clean = state.registered;
        }
        state.up = false;
        state.unfenced = false;
        // One that was leaving may have written its marker already.
        state.dirty &= !state.shutting_down;
        state.power_lost = how == StopKind::PowerLost;
        let power_failure = (how == StopKind::PowerLost).then_some(Lost {
            what: "power failure",
            injected: true,
            destructive: false,
        });
        for partition in &mut self.ghost.partitions {
            let replica = &mut partition.replicas[node];
            replica.open = false;
            replica.role = Role::None;
            replica.isr = 0;
            replica.maximal_isr = 0;
            replica.proposed = None;
            replica.high_watermark = None;
            // A stop inside the recovery from a power failure does not make the failure undone.
            replica.fault = replica.fault.or(power_failure);
            replica.doubt = replica.doubt.max(doubt);
            // Until the next start: the power may fail next.
            replica.broken_off |= doubt == Doubt::MidStep;
            if unclean || replica.doubt == Doubt::Damaged {
                replica.crashed_at = Some(self.now);
            }
        }
        let metadata = self.ghost.find(&METADATA_PARTITION);
        let damaged = metadata.is_some_and(|at| self.ghost.partitions[at].replicas[node].doubt == Doubt::Damaged);
        if doubt >= Doubt::PowerLost || damaged {
            self.forget_obeyed(node);
        }
        if unclean {
            self.unguard(node);
        }
        if how == StopKind::KilledMidStep && self.quorum.leads(node) {
            self.ghost.partitions.iter_mut().for_each(|p| p.unsaid = true);
        }
        self.quorum.stopped(node);
    }

    /// A log is open: what it must still hold is compared now, its content when it is known.
    pub(super) fn log_opened(
        &mut self,
        node: usize,
        id: TopicPartition,
        start: Offset,
        end: Offset,
        recovery_point: Offset,
        clean: bool,
    ) {
        let at = self.partition(id);
        self.first_opened(at, node);
        let dirty = self.ghost.nodes[node].was_dirty;
        let power_lost = self.ghost.nodes[node].power_lost;
        let now = self.now;
        if end > start {
            self.marks.set(if clean {
                marks::CLEAN_START
            } else {
                marks::UNCLEAN_START
            });
        }
        let metadata = self.ghost.find(&METADATA_PARTITION);
        let clean_start = metadata.is_some_and(|at| self.ghost.partitions[at].replicas[node].opened_clean);
        let partition = &mut self.ghost.partitions[at];
        let never_cut = partition.never_cut(node);
        let replica = &mut partition.replicas[node];
        let was = replica.log.end();
        let doubt = replica.doubt;
        let known = replica.known;
        if doubt == Doubt::PowerLost && end < was {
            self.marks.set(marks::UNSYNCED_LOST);
        }
        // D1: the least that must have come back.
        let floor = match doubt {
            _ if !known => 0,
            Doubt::None => was,
            Doubt::MidStep => never_cut.min(was),
            Doubt::PowerLost if replica.broken_off => replica.durable.min(never_cut),
            Doubt::PowerLost => replica.durable,
            Doubt::Damaged => 0,
        };
        let must_hold = if doubt == Doubt::PowerLost {
            replica.must_hold
        } else {
            0
        };
        let opened = replica.opened;
        let same_twice = opened.is_none_or(|before| before == (start, end)) || doubt >= Doubt::MidStep;
        let synced = if power_lost {
            replica.synced.max(end)
        } else {
            replica.synced
        };
        let lying_checkpoint = known
            && matches!(doubt, Doubt::None | Doubt::PowerLost)
            && !replica.uncertain
            && recovery_point > synced.max(start);
        let wrongly_clean = clean && dirty && known && end > 0 && doubt < Doubt::Damaged;
        replica.floor = floor;
        replica.broken_off = false;
        replica.opened_in_doubt = doubt == Doubt::Damaged;
        // A log that a fault has taken away begins anew after a clean start, too, when its broker hears of it.
        replica.opened_clean = clean && self.ghost.nodes[node].left_clean || doubt == Doubt::Damaged && clean_start;
        replica.unknowing &= replica.opened_clean;
        replica.opened_end = known.then_some(end);
        replica.known = true;
        replica.open = true;
        replica.producers.doubt();
        replica.epochs.clear();
        if doubt > Doubt::None || (known && end != was) || (!known && end > start) {
            replica.uncertain = true;
            if !self.doubtful.contains(&(at, node)) {
                self.doubtful.push((at, node));
            }
            if replica.before.is_none() {
                replica.before = Some(replica.log.clone());
            }
        }
        if !known || start > replica.log.end() {
            replica.log = Shadow::at(start);
        }
        replica.cut(end);
        replica.log.truncate(end.max(start));
        replica.log.start = start;
        replica.log.fill_holes(end);
        replica.durable = replica.durable.max(recovery_point.min(end));
        // Of a disk that is new to us, or that a fault has put in another's place, the checkpoint is where we begin.
        let given = if known && doubt < Doubt::Damaged {
            0
        } else {
            recovery_point
        };
        replica.synced = synced.max(given).min(end);
        replica.opened = (doubt < Doubt::PowerLost || power_lost).then_some((start, end));
        if must_hold > 0 {
            self.report.look(Check::D2);
            if end >= must_hold {
                self.marks.set(marks::SURVIVED_POWER_LOSS);
            }
        }
        self.report.look(Check::D1);
        self.report.look(Check::D5);
        if opened.is_some() && doubt < Doubt::MidStep {
            self.report.look(Check::D4);
        }
        if end >= floor && end >= must_hold && same_twice && !lying_checkpoint && !wrongly_clean {
            return;
        }
        let name = self.topic_name(at);
        if end < floor {
            self.report.fire(Check::D1, now, Some(node), || {
                format!("A log comes back with all that the disk kept ({doubt:?}). {name} had to hold everything below {floor}, but ends at {end}.")
            });
        } else if end < must_hold {
            self.report.fire(Check::D2, now, Some(node), || {
                format!("With flush.messages=1 nothing is acknowledged before it is durable. {name} was acknowledged up to {must_hold} while this replica was in sync, but ends at {end} after a power failure.")
            });
        }
        if !same_twice {
            let before = opened.unwrap_or_default();
            self.report.fire(Check::D4, now, Some(node), || {
                format!("Recovery of a recovered log changes nothing. {name} was opened with offsets {} to {} and, with nothing written, again with {start} to {end}.", before.0, before.1)
            });
        }
        if lying_checkpoint {
            self.report.fire(Check::D5, now, Some(node), || {
                format!("A recovery point never passes what is durable. That of {name} is {recovery_point} at opening, but only {synced} was synced.")
            });
        }
        if wrongly_clean {
            self.report.fire(Check::D5, now, Some(node), || {
                format!("Only a clean shutdown skips recovery. {name} was opened as clean up to {end}, though the process before wrote and did not shut down.")
            });
        }
    }

    /// What a log really holds: the shadow is replaced; D1.
    pub(super) fn log_content(&mut self, node: usize, id: TopicPartition, content: &[u8]) {
        let at = self.partition(id);
        let damaged = self.ghost.partitions[at].replicas[node].doubt == Doubt::Damaged;
        let replica = &mut self.ghost.partitions[at].replicas[node];
        if !replica.uncertain {
            // Nothing was in doubt: all of it must be as the notes say.
            replica.before = Some(replica.log.clone());
            replica.floor = replica.log.end();
        }
        let committed_before = self.ghost.partitions[at].held_before(node);
        let (start, end) = (
            self.ghost.partitions[at].replicas[node].log.start,
            self.ghost.partitions[at].replicas[node].log.end(),
        );
        let (read, torn) = self.read_log(at, start, content);
        // A flipped bit may have moved its first batch, and then been cut away: what was below is missing unseen.
        let complete = read.runs().0 <= start && read.end() >= end;
        let whole = torn.is_none() && complete && self.ghost.partitions[at].knows(&read);
        let name = self.topic_name(at);
        let now = self.now;
        self.report.look(Check::D1);
        if let Some(why) = torn
            && !damaged
        {
            self.report.fire(Check::D1, now, Some(node), || {
                format!(
                    "An opened log has nothing torn in it. In {name} the batch at {} {why}.",
                    read.end()
                )
            });
        }
        let partition = &mut self.ghost.partitions[at];
        let replica = &mut partition.replicas[node];
        let before = replica.before.take();
        let floor = replica.floor.min(replica.log.end());
        let mut changed = None;
        let mut gone = false;
        if let Some(before) = before {
            // What was not handed over is not known; that the log reaches its floor was compared at its opening.
            let from = start.max(before.start);
            changed = before.differs(&read, from, floor);
            gone = end < before.end() || before.differs(&read, from, before.end()).is_some();
        }
        replica.log = read;
        let told = replica.producers.take_unjudged();
        replica.producers.doubt();
        replica.log.fill_holes(end);
        replica.uncertain = false;
        self.doubtful.retain(|log| *log != (at, node));
        partition.reset_agreement(node);
        let held = partition.agreed(node);
        let replica = &mut partition.replicas[node];
        let fault = replica.fault;
        if held < committed_before {
            self.marks.set(marks::COMMITTED_LOST_LOCALLY);
            replica.lose(fault.unwrap_or(Lost {
                what: "lost without a fault",
                injected: false,
                destructive: false,
            }));
        } else if gone && let Some(fault) = fault {
            // Its leader may have counted what nobody had committed yet, and goes on counting it until the controller
            // hears of the new incarnation and takes it out of the ISR (KIP-966).
            replica.lose(fault);
        }
        let reset_epoch = partition.reset_epoch;
        let replica = &mut partition.replicas[node];
        if damaged && replica.log.get(held).is_some_and(|cell| cell.epoch < reset_epoch) {
            // An older disk may bring back what was committed once and lawfully lost since: it goes when it follows again.
            replica.suspended = Some(replica.log.end());
        }
        if !damaged || whole && self.ghost.partitions[at].replicas[node].struck < Struck::Beside {
            self.doubt_ended(at, node);
        }
        if let Some(offset) = changed
            && !damaged
        {
            self.report.fire(Check::D1, now, Some(node), || {
                format!("What was durable comes back as it was. In {name} the record at {offset} is another one after the crash, though everything below {floor} had to survive.")
            });
        }
        if self.ghost.partitions[at].replicas[node].role == Role::Leader {
            self.leads_in_doubt(at, node);
            self.complete_leader(at, node);
        }
        self.judge_loaded(node, at, told);
    }

    /// After a crash, before the next start: D1 against the platter itself.
    pub(super) fn durable_log(&mut self, node: usize, id: TopicPartition, content: &[u8]) {
        let at = self.partition(id);
        let replica = &self.ghost.partitions[at].replicas[node];
        if replica.doubt == Doubt::Damaged || replica.uncertain {
            return;
        }
        let (start, mut durable) = (replica.log.start, replica.durable);
        if replica.broken_off {
            durable = durable.min(self.ghost.partitions[at].never_cut(node));
        }
        let (read, _) = self.read_log(at, start, content);
        let log = &self.ghost.partitions[at].replicas[node].log;
        let missing = log.find(&read, start, durable, |ours, its| match (ours, its) {
            (Some(ours), Some(its)) => !ours.agrees(its),
            (ours, None) => ours.is_some(),
            _ => false,
        });
        self.report.look(Check::D1);
        if let Some(offset) = missing {
            let name = self.topic_name(at);
            self.report.fire(Check::D1, self.now, Some(node), || {
                format!("What a broker calls flushed is on the disk. {name} was flushed up to {durable}, but offset {offset} is not there as it was written.")
            });
        }
    }

    /// The shadow of a run of batches, and why reading stopped, if it was not at the end.
    fn read_log(&mut self, at: usize, start: Offset, mut content: &[u8]) -> (Shadow, Option<&'static str>) {
        let mut log: Option<Shadow> = None;
        while !content.is_empty() {
            let batch = match batch::first(content) {
                Ok(batch) => batch,
                Err(why) => return (log.unwrap_or(Shadow::at(start)), Some(why)),
            };
            content = &content[batch.bytes.len()..];
            let cell = self.ghost.partitions[at].intern(&batch, None);
            let log = log.get_or_insert_with(|| Shadow::at(batch.base));
            if batch.base < log.end() {
                return (log.clone(), Some("has offsets that do not continue the log"));
            }
            log.append(batch.base, batch.last, cell);
        }
        let mut log = log.unwrap_or(Shadow::at(start));
        log.start = log.start.max(start.min(log.end()));
        (log, None)
    }

    /// A replica has all that is committed, whatever it had lost.
    pub(super) fn caught_up(&mut self, at: usize, node: usize) {
        let partition = &mut self.ghost.partitions[at];
        if partition.replicas[node].lost.is_some() && !partition.replicas[node].uncertain {
            let held = partition.agreed(node);
            if held >= partition.committed.end() {
                partition.replicas[node].lost = None;
            }
        }
        if self.ghost.partitions[at].is_metadata() {
            self.voter_made_up(node);
        }
    }
}

impl super::partition::Partition {
    /// How much of the committed log a replica held before a crash.
    fn held_before(&mut self, node: usize) -> Offset {
        let committed = &self.committed;
        let replica = &self.replicas[node];
        let log = replica.before.as_ref().unwrap_or(&replica.log);
        let from = self.compared_from(log.start);
        let end = committed.end().min(log.end());
        committed.differs(log, from, end).unwrap_or(end).max(from)
    }

    /// The next comparison begins at the beginning.
    pub(super) fn reset_agreement(&mut self, node: usize) {
        self.replicas[node].forget_agreement();
    }

    /// The epoch in which a value was written at an offset.
    pub(super) fn epoch_of(&self, offset: Offset, hash: u64) -> Option<i32> {
        (0..)
            .map_while(|batch| {
                self.content(Cell { epoch: 0, batch })
                    .copied()
                    .map(|content| (batch, content))
            })
            .find_map(|(batch, content)| {
                let inside = content.base <= offset && offset <= content.last;
                let cell = Cell {
                    epoch: content.epoch,
                    batch,
                };
                (inside && self.value(cell, offset) == Some(hash)).then_some(content.epoch)
            })
    }
}
