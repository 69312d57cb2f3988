//! Random work with crashes, against a model that is a list of batches.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    base: Offset,
    last: Offset,
    epoch: i32,
    bytes: Bytes,
}

const PRODUCERS: [i64; 3] = [7, 8, 9];

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// The epochs of a list of batches, from `start` on.
fn fold(batches: &[Batch], start: Offset) -> Vec<(i32, Offset)> {
    let mut epochs: Vec<(i32, Offset)> = Vec::new();
    for batch in batches.iter().filter(|batch| batch.last >= start) {
        if epochs.last().is_none_or(|last| last.0 != batch.epoch) {
            epochs.push((batch.epoch, batch.base.max(start)));
        }
    }
    epochs
}

fn stored(f: &mut Fixture) -> Vec<Batch> {
    let (mut at, end) = (f.log.log_start_offset(), f.log.log_end_offset());
    let mut found: Vec<Batch> = Vec::new();
    while at < end {
        let bytes = f.log.read(at, end, 500, true, &mut f.disk).unwrap();
        if bytes.is_empty() {
            break;
        }
        for next in batch::batches(&bytes) {
            let (header, bytes) = next.unwrap();
            batch::check(&bytes).unwrap();
            let (base, last, epoch) = (
                header.base_offset,
                header.last_offset(),
                header.partition_leader_epoch.0,
            );
            found.push(Batch {
                base,
                last,
                epoch,
                bytes,
            });
            at = last + 1;
        }
    }
    found
}

/// What the batches say of producer `id`: its epoch, and the first and last sequence and last offset of its newest five.
fn fold_producer(batches: &[Batch], id: i64) -> (i16, Vec<(i32, i32, Offset)>) {
    let mut state = (-1, Vec::new());
    for batch in batches {
        let header = batch::BatchHeader::parse(&batch.bytes).unwrap();
        if header.producer_id != id {
            continue;
        }
        if state.0 != header.producer_epoch {
            state = (header.producer_epoch, Vec::new());
        }
        let known = (header.base_sequence, header.last_sequence(), batch.last);
        state.1.push(known);
    }
    let newest = state.1.len().saturating_sub(5);
    (state.0, state.1.split_off(newest))
}

/// Every state the log was ever in, as a list of batches.
struct Model {
    now: Vec<Batch>,
    states: Vec<Vec<Batch>>,
    epoch: i32,
    /// The epoch that was assigned at the end without a record.
    assigned: Option<(i32, Offset)>,
}

impl Model {
    fn changed(&mut self) {
        self.states.push(self.now.clone());
    }

    fn check(&self, f: &mut Fixture, what: &str) {
        let start = f.log.log_start_offset();
        let expected: Vec<Batch> = self.now.iter().filter(|batch| batch.last >= start).cloned().collect();
        assert_eq!(stored(f), expected, "{what}");
        let mut epochs = fold(&self.now, start);
        if let Some(assigned) = self.assigned {
            epochs.push(assigned);
        } else if epochs.is_empty() && !f.log.epochs().is_empty() {
            // All records are below the start: the last epoch stays, at the start.
            epochs.push((epochs_of(&f.log)[0].0, start));
        }
        assert_eq!(epochs_of(&f.log), epochs, "{what}");
        let text = f.disk.content("t-0/leader-epoch-checkpoint").unwrap_or_default();
        let lines = String::from_utf8(text)
            .unwrap()
            .lines()
            .skip(2)
            .map(str::to_string)
            .collect::<Vec<_>>();
        let expected: Vec<String> = epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")).collect();
        assert_eq!(lines, expected, "{what}");
        assert!(f.log.recovery_point() <= f.log.log_end_offset());
        self.check_producers(f, what);
    }

    /// As the batches say; from a snapshot there may be fewer of a producer's, but the newest is there.
    fn check_producers(&self, f: &Fixture, what: &str) {
        let start = f.log.log_start_offset();
        for id in PRODUCERS {
            let (epoch, newest) = fold_producer(&self.now, id);
            let Some(state) = f.log.producers().get(id) else {
                let last = newest.last().map_or(-1, |batch| batch.2);
                assert!(last < start, "{what}: producer {id} is forgotten");
                continue;
            };
            let known = state.batches().iter();
            let known: Vec<_> = known
                .map(|batch| (batch.base_sequence(), batch.last_sequence, batch.last_offset))
                .collect();
            if newest.is_empty() {
                // Its records are gone from the model, which forgets what is deleted.
                assert!(known.last().is_some_and(|last| last.2 < start), "{what}: producer {id}");
                continue;
            }
            assert_eq!(state.epoch, epoch, "{what}: producer {id}");
            let of_model: Vec<_> = known.iter().filter(|batch| batch.2 >= newest[0].2).collect();
            assert!(
                !of_model.is_empty() && newest.iter().rev().zip(of_model.iter().rev()).all(|(a, b)| a == *b),
                "{what}: producer {id} is {known:?}, the log says {newest:?}"
            );
        }
    }

    /// After a power failure: a former state, as far as it goes, with all that was durable.
    fn adopt(&mut self, f: &mut Fixture, durable: &[Batch], what: &str) {
        let start = f.log.log_start_offset();
        let found = stored(f);
        let known = self.states.iter().any(|state| {
            let state: Vec<&Batch> = state.iter().filter(|batch| batch.last >= start).collect();
            found.len() <= state.len() && found.iter().zip(&state).all(|(a, b)| a == *b)
        });
        assert!(
            known,
            "{what}: a mixture of states {:?}",
            found.iter().map(|b| (b.base, b.epoch)).collect::<Vec<_>>()
        );
        for batch in durable.iter().filter(|batch| batch.last >= start) {
            assert!(
                found.contains(batch),
                "{what}: durable batch {} of {} is lost",
                batch.base,
                batch.epoch
            );
        }
        let mut now: Vec<Batch> = found;
        now.retain(|batch| batch.last >= start);
        self.now = now;
        self.assigned = None;
        self.changed();
    }
}

fn run(seed: u64) {
    let mut chance = Chance(seed);
    let segment = ["256", "400", "1000"][chance.below(3) as usize];
    let mut f = Fixture::new(&[
        ("segment.bytes", segment),
        ("index.interval.bytes", "100"),
        ("flush.messages", "9"),
    ]);
    let mut model = Model {
        now: vec![],
        states: vec![vec![]],
        epoch: 0,
        assigned: None,
    };
    for step in 0..60 {
        f.later(chance.below(3_000));
        let what = format!("seed {seed} step {step}");
        match chance.below(20) {
            0..=8 => {
                let count = 1 + chance.below(4) as usize;
                let id = [-1].into_iter().chain(PRODUCERS).nth(chance.below(4) as usize).unwrap();
                let state = f.log.producers().get(id).copied();
                let records = match (id, state, chance.below(8)) {
                    (-1, ..) => records(count, f.now.wall_ms),
                    (_, None, _) => produced(id, 0, 0, count),
                    (_, Some(state), 0) => produced(id, state.epoch + 1, 0, count),
                    (_, Some(state), _) => {
                        let next = state.last_sequence().checked_add(1).unwrap_or(0);
                        produced(id, state.epoch, next, count)
                    }
                };
                let appended = f.produce(model.epoch, &records).unwrap();
                let bytes = f
                    .log
                    .read(appended.base_offset, f.log.log_end_offset(), 9_999, true, &mut f.disk)
                    .unwrap();
                let (base, last) = (appended.base_offset, appended.last_offset);
                assert_eq!(base, model.now.last().map_or(base, |batch| batch.last + 1), "{what}");
                model.now.push(Batch {
                    base,
                    last,
                    epoch: model.epoch,
                    bytes,
                });
                model.assigned = None;
                model.changed();
            }
            9 | 10 => {
                model.epoch += 1;
                let end = f.log.log_end_offset();
                f.log
                    .assign_epoch(LeaderEpoch(model.epoch), &mut f.disk, &mut f.out)
                    .unwrap();
                model.assigned = Some((model.epoch, end));
                if fold(&model.now, f.log.log_start_offset()).is_empty() {
                    // The start's own entry gives way to one at the same offset.
                    assert_eq!(epochs_of(&f.log), [(model.epoch, end)]);
                }
            }
            11 | 12 => {
                let (start, end) = (f.log.log_start_offset(), f.log.log_end_offset());
                // Where a batch begins, as leaders' epochs do.
                let bases: Vec<Offset> = model
                    .now
                    .iter()
                    .map(|batch| batch.base)
                    .filter(|base| *base >= start)
                    .collect();
                let to = if bases.is_empty() {
                    end
                } else {
                    bases[chance.below(bases.len() as u64) as usize]
                };
                let cut = f.truncate(to);
                assert_eq!(cut, to < end, "{what}");
                assert_eq!(f.log.log_end_offset(), to, "{what}");
                model.now.retain(|batch| batch.last < to);
                model.assigned = model.assigned.filter(|assigned| assigned.1 < to);
                model.epoch += 1;
                model.changed();
            }
            13 => {
                let (start, end) = (f.log.log_start_offset(), f.log.log_end_offset());
                let to = start + chance.below((end - start + 1) as u64) as i64;
                // Not under an assigned epoch: the model keeps that apart.
                if model.assigned.is_none() {
                    f.log.advance_log_start(to, f.now, &mut f.disk, &mut f.out).unwrap();
                }
            }
            14 | 15 => f.log.flush(&mut f.out),
            16 => {
                f.disk.take_syncs(&mut f.out);
                for _ in 0..chance.below(4) {
                    if let Some(tag) = f.disk.complete_one() {
                        f.log.on_sync_done(&tag, Ok(()), &mut f.out).unwrap();
                    }
                }
            }
            17 => f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap(),
            18 if chance.below(3) == 0 => {
                // A clean stop.
                f.log.take_producer_snapshot(&mut f.disk).unwrap();
                f.log.flush_to_stop(&mut f.out);
                f.settle();
                assert!(f.log.is_flushed(), "{what}");
                f.disk.crash_power();
                f.reopen(true, f.log.recovery_point());
                model.assigned = None;
            }
            18 => {
                let recovery_point = f.log.recovery_point();
                f.disk.crash_process();
                // The checkpoint may be old.
                f.reopen(false, if chance.below(3) == 0 { 0 } else { recovery_point });
                model.assigned = None;
            }
            _ => {
                let recovery_point = f.log.recovery_point();
                let durable: Vec<Batch> = model
                    .now
                    .iter()
                    .filter(|batch| batch.last < recovery_point)
                    .cloned()
                    .collect();
                f.disk.take_syncs(&mut f.out);
                match chance.below(2) {
                    0 => f.disk.crash_power(),
                    _ => f.disk.crash_torn(&mut || chance.next()),
                }
                // The checkpoint may be old.
                f.reopen(false, if chance.below(3) == 0 { 0 } else { recovery_point });
                model.adopt(&mut f, &durable, &what);
                model.epoch += 1;
            }
        }
        f.disk.take_syncs(&mut f.out);
        model.check(&mut f, &what);
    }
}

#[test]
fn the_log_is_its_model_through_cuts_and_crashes() {
    (0..400).for_each(run);
}
