//! I6.

use super::*;
use crate::checks::batch::tests::made_by;
use kafka::log::producer_state::Producers;
use kafka::note::ProducerEntry;
use kafka::wire::batch::BatchHeader;

/// Batches of one record of producer 7: epoch and sequence. The first stands at offset 0.
const SIX: [(i16, i32); 6] = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5)];

fn batch_at(offset: usize, (epoch, sequence): (i16, i32)) -> Bytes {
    made_by((7, epoch, sequence), offset as Offset, 0, &["v"])
}

/// What a broker knows that has read the batches from `first` on.
fn known(batches: &[(i16, i32)], first: usize) -> ProducerEntry {
    let mut producers = Producers::default();
    for (offset, batch) in batches.iter().enumerate().skip(first) {
        let bytes = batch_at(offset, *batch);
        producers.append(&BatchHeader::parse(&bytes).expect("a header"));
    }
    let state = *producers.get(7).expect("it has written");
    ProducerEntry { id: 7, state }
}

impl Story {
    /// The leader adds a batch and says what it knows then.
    fn produce(&mut self, offset: usize, batch: (i16, i32), told: Option<ProducerEntry>) {
        self.tick();
        self.note(
            0,
            Note::Appended {
                partition: TP,
                base_offset: offset as Offset,
                last_offset: offset as Offset,
                leader_epoch: LeaderEpoch(0),
                as_leader: true,
                batch: batch_at(offset, batch),
            },
        );
        if let Some(producer) = told {
            self.note(
                0,
                Note::ProducerAdvanced {
                    partition: TP,
                    producer: Box::new(producer),
                },
            );
        }
        self.tick();
        self.high(0, 0, true, 0);
    }

    fn loaded(&mut self, told: Vec<ProducerEntry>) {
        self.note(
            0,
            Note::ProducersLoaded {
                partition: TP,
                producers: told,
            },
        );
        self.tick();
        self.flush(0, 0);
    }
}

/// A leader that has taken these and known them all.
fn written(batches: &[(i16, i32)]) -> Story {
    let mut story = Story::begun(1);
    for (offset, batch) in batches.iter().enumerate() {
        story.produce(offset, *batch, Some(known(&batches[..=offset], 0)));
    }
    story
}

#[test]
fn i6_the_newest_five_batches_of_the_newest_epoch() {
    let mut lawful = written(&[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0), (1, 1)]);
    lawful.silent(&["I6"]);
    // It forgets a batch that it knew, is behind, or has another sequence or epoch.
    let wrong = [
        known(&SIX, 2),
        known(&SIX[..5], 0),
        known(&[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 9)], 0),
        known(&[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 5)], 0),
    ];
    for told in wrong {
        let mut story = written(&SIX[..5]);
        story.produce(5, SIX[5], Some(told));
        story.fires(&["I6"]);
    }
    let mut deaf = written(&SIX[..5]);
    deaf.produce(5, SIX[5], None);
    deaf.fires(&["I6"]);
}

#[test]
fn i6_after_a_start_the_newest_batch_is_known_at_least_and_what_is_known_stays() {
    let restarted = |told: Vec<ProducerEntry>| {
        let mut story = written(&SIX);
        story.checks.fact(Fact::Stopped {
            node: 0,
            how: StopKind::Killed,
        });
        story.checks.fact(Fact::Started {
            node: 0,
            incarnation: 1,
        });
        story.open(0, 6, 0, false);
        story.loaded(told);
        story
    };
    restarted(vec![known(&SIX, 0)]).silent(&["I6"]);
    restarted(vec![known(&SIX, 5)]).silent(&["I6"]);
    restarted(vec![]).fires(&["I6"]);
    restarted(vec![known(&SIX[..5], 4)]).fires(&["I6"]);
    let mut stranger = known(&SIX, 0);
    stranger.id = 8;
    restarted(vec![known(&SIX, 0), stranger]).fires(&["I6"]);
}

#[test]
fn i6_a_cut_takes_the_state_back() {
    let cut = |told: ProducerEntry| {
        let mut story = written(&SIX);
        story.follow(0, state(1, 1, 1, &[0, 1, 2]), 0);
        story.truncate(0, 6, 4);
        story.loaded(vec![told]);
        story
    };
    cut(known(&SIX[..4], 0)).silent(&["I6"]);
    cut(known(&SIX[..4], 3)).silent(&["I6"]);
    cut(known(&SIX, 0)).fires(&["I6"]);
    cut(known(&SIX[..3], 0)).fires(&["I6"]);
}

#[test]
fn i6_a_forgotten_producer_begins_anew() {
    let mut story = written(&SIX);
    story.note(
        0,
        Note::ProducersExpired {
            partition: TP,
            producer_ids: vec![7],
        },
    );
    let mut batches = SIX.to_vec();
    batches.push((0, 40));
    story.produce(6, (0, 40), Some(known(&batches, 6)));
    story.silent(&["I6"]);
}
