//! Names and promises from the metadata log; the order of a stop and the notes of the last step.

use super::*;
use kafka::metadata::Record;

/// The controller writes records into its metadata log.
fn written(story: &mut Story, base: Offset, records: &[Record]) {
    let bodies: Vec<(i64, Option<Bytes>, Option<Bytes>)> =
        records.iter().map(|record| (0, None, Some(record.encode()))).collect();
    let batch = kafka::wire::batch::assign(&kafka::wire::batch::build(&bodies, None, false), base, LeaderEpoch(1));
    story.tick();
    if base == 0 {
        story.note(
            2,
            Note::EpochAssigned {
                partition: METADATA_PARTITION,
                epoch: LeaderEpoch(1),
                start_offset: 0,
            },
        );
    }
    story.note(
        2,
        Note::Appended {
            partition: METADATA_PARTITION,
            base_offset: base,
            last_offset: base + records.len() as Offset - 1,
            leader_epoch: LeaderEpoch(1),
            as_leader: true,
            batch,
        },
    );
}

fn config(name: &str, value: &str) -> Record {
    Record::Config {
        topic: "t".into(),
        name: name.into(),
        value: Some(value.into()),
    }
}

/// A story whose topic is named by the metadata log only.
fn unnamed(min: u32) -> Story {
    let mut story = Story::new(min);
    story.checks.topics.clear();
    story.checks.promises.clear();
    let topic = Record::Topic {
        name: "t".into(),
        id: TP.topic,
    };
    written(&mut story, 0, &[topic]);
    story.begin();
    story
}

#[test]
fn the_metadata_log_names_topics_and_their_promise() {
    let mut story = unnamed(2);
    story.write(0, "a");
    story.silent(&["I9"]);
    let at = story.checks.partition(TP);
    assert_eq!(story.checks.ghost.partitions[at].promise.min_insync_replicas, 2);
    story.answer(0, 0, 0, Some(state(0, 0, 1, &[0])), 0, 1);
    story.fires(&["I9"]);
}

#[test]
fn a_changed_promise_counts_at_its_weakest() {
    let mut story = unnamed(2);
    written(&mut story, 1, &[config("min.insync.replicas", "1")]);
    written(&mut story, 2, &[config("min.insync.replicas", "3")]);
    story.write(0, "a");
    story.answer(0, 0, 0, Some(state(0, 0, 1, &[0])), 0, 1);
    // Two in sync are too few for three, so an ELR is in order.
    story.decide(with_elr(state(0, 0, 1, &[0, 1]), &[2]), false);
    story.silent(&["I9", "X7"]);
}

#[test]
fn unclean_election_is_permitted_once_it_was_switched_on() {
    let mut story = unnamed(1);
    written(&mut story, 1, &[config("unclean.leader.election.enable", "true")]);
    story.write(0, "a");
    story.decide(state(0, 0, 1, &[0]), false);
    let stolen = PartitionState {
        isr: ids(&[1]),
        ..state(1, 1, 2, &[1])
    };
    story.decide(stolen.clone(), true);
    story.truncate(1, 1, 0);
    let found = story.found();
    assert_eq!(found, ["I11", "I2"], "before anybody leads, it is still wrong to cut");
    let before = story.checks.violations().len();
    story.lower(1, 0);
    story.lead(1, stolen, 0, 0);
    assert_eq!(story.checks.violations().len(), before);
}

#[test]
fn a_removed_topic_loses_nothing() {
    let mut story = unnamed(1);
    story.write(0, "a");
    written(&mut story, 1, &[Record::RemoveTopic { id: TP.topic }]);
    story.finish();
    story.silent(&["C3"]);
    assert!(story.checks.losses().is_empty());
}

#[test]
fn the_last_notes_of_a_process_may_come_after_its_end() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    for node in [1, 2] {
        story.copy(node, 0, 0, &["a"], true);
    }
    story.checks.fact(Fact::Stopped {
        node: 0,
        how: StopKind::Exited { clean: true },
    });
    story.high(0, 1, true, 0);
    story.note(0, Note::ShutdownCompleted);
    story.start(0);
    story.open(0, 1, 0, true);
    story.silent(&["I12", "D5"]);
}
