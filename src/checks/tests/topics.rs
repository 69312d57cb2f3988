//! Names and promises from the metadata log; the order of a stop and the notes of the last step.

use super::*;
use kafka::metadata::Record;

/// The controller writes records into its metadata log.
fn written(story: &mut Story, base: Offset, records: &[Record]) {
    let bodies: Vec<(i64, Option<Bytes>, Option<Bytes>)> =
        records.iter().map(|record| (0, None, Some(record.encode()))).collect();
    let batch = kafka::wire::batch::build(&bodies, None, false);
    let batch = kafka::wire::batch::assign(&batch, base, LeaderEpoch(1));
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

/// A broker has applied the metadata below `offset`, which is committed.
fn applied(story: &mut Story, node: usize, offset: Offset) {
    story.tick();
    let at = story.checks.partition(METADATA_PARTITION);
    story.checks.ghost.partitions[at].highest_high_watermark = offset;
    let image_digest = offset as u64;
    story.note(node, Note::MetadataApplied { offset, image_digest });
}

/// An acks=all success of the leader with these in sync.
fn answered_with(story: &mut Story, isr: &[usize]) {
    story.answer(0, 0, 0, Some(state(0, 0, 1, isr)), 0, 1);
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
    story.checks.terms.clear();
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
    answered_with(&mut story, &[0]);
    story.fires(&["I9"]);
}

#[test]
fn a_leader_is_held_to_what_it_has_heard_of() {
    let raised = |knows: Offset, isr: &[usize]| {
        let mut story = unnamed(2);
        story.write(0, "a");
        written(&mut story, 1, &[config("min.insync.replicas", "1")]);
        written(&mut story, 2, &[config("min.insync.replicas", "3")]);
        applied(&mut story, 0, knows);
        answered_with(&mut story, isr);
        story
    };
    raised(1, &[0, 1]).silent(&["I9"]);
    raised(1, &[0]).fires(&["I9"]);
    raised(2, &[0]).silent(&["I9"]);
    raised(3, &[0, 1, 2]).silent(&["I9"]);
    // That it was 1 in between does not count any more.
    raised(3, &[0, 1]).fires(&["I9"]);
}

#[test]
fn the_controller_is_held_to_what_it_has_written() {
    let decided = |isr: &[usize], elr: &[usize]| {
        let mut story = unnamed(2);
        written(&mut story, 1, &[config("min.insync.replicas", "3")]);
        written(&mut story, 2, &[config("min.insync.replicas", "2")]);
        story.decide(with_elr(state(0, 0, 1, isr), elr), false);
        story
    };
    decided(&[0], &[1]).silent(&["X7"]);
    // Two were too few a moment ago, and are enough now.
    decided(&[0, 1], &[2]).fires(&["X7"]);
}

#[test]
fn what_a_replaced_controller_wrote_counts_only_if_a_later_one_has_it() {
    let mut story = unnamed(2);
    let at = story.checks.partition(TP);
    let min_isr = |story: &Story| {
        let terms = &story.checks.ghost.partitions[at].terms;
        terms.below(Offset::MAX).min_insync_replicas
    };
    let deleted = |story: &Story| story.checks.ghost.partitions[at].deleted.is_some();
    let elected = |story: &mut Story, node: usize, epoch: i32, first: Offset| {
        story.tick();
        story.note(
            node,
            Note::BecameQuorumLeader {
                epoch: LeaderEpoch(epoch),
                epoch_start_offset: first,
            },
        );
    };
    written(&mut story, 1, &[config("min.insync.replicas", "1")]);
    written(&mut story, 2, &[Record::RemoveTopic { id: TP.topic }]);
    assert!(min_isr(&story) == 1 && deleted(&story));
    // Node 1 has none of it, writes something else there, and dies.
    metadata(&mut story, 1, 0, 1, "the topic");
    elected(&mut story, 1, 2, 1);
    assert!(min_isr(&story) == 2 && !deleted(&story));
    metadata(&mut story, 1, 1, 2, "something else");
    // Node 2 has not heard of that and writes on.
    written(&mut story, 3, &[config("flush.messages", "1")]);
    assert!(min_isr(&story) == 2, "it was replaced");
    elected(&mut story, 2, 3, 4);
    assert_eq!(min_isr(&story), 1, "nobody else heard of node 1 either");
    let promise = story.checks.ghost.partitions[at].terms.below(4);
    assert_eq!((promise.flush_messages, promise.min_insync_replicas), (1, 1));
}

#[test]
fn a_topic_that_is_created_again_promises_what_it_is_created_with() {
    let mut story = unnamed(2);
    written(&mut story, 1, &[config("min.insync.replicas", "3")]);
    let id = Uuid::from_u128(9);
    let name = "t".into();
    written(&mut story, 2, &[Record::RemoveTopic { id: TP.topic }]);
    written(&mut story, 3, &[Record::Topic { name, id }]);
    let at = story.checks.partition(TopicPartition {
        topic: id,
        partition: 0,
    });
    let promise = |story: &Story| story.checks.ghost.partitions[at].terms.below(Offset::MAX);
    assert_eq!(promise(&story), TopicPromise::default());
    written(&mut story, 4, &[config("flush.messages", "1")]);
    assert_eq!(promise(&story).flush_messages, 1);
}

/// 1 heard of flush.messages=1 before it copied the record, 2 only after.
#[test]
fn a_replica_has_flushed_what_it_appended_while_that_was_in_force() {
    let acked = || {
        let mut story = unnamed(1);
        written(&mut story, 1, &[config("flush.messages", "1")]);
        applied(&mut story, 0, 2);
        applied(&mut story, 1, 2);
        story.write(0, "a");
        applied(&mut story, 2, 2);
        story
    };
    let mut late = acked();
    late.power_cycle(2, 0, &[]);
    late.silent(&["D1"]);
    let mut flushed = acked();
    flushed.power_cycle(1, 0, &[]);
    flushed.fires(&["D2"]);
    let mut kept = acked();
    kept.power_cycle(1, 1, &[super::made(0, 0, &["a"])]);
    kept.silent(&["D2"]);
    assert_eq!(kept.checks.marks().count("acked_record_survived_power_loss"), 1);
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
fn unclean_election_is_not_permitted_once_it_was_switched_off() {
    let mut story = unnamed(1);
    written(&mut story, 1, &[config("unclean.leader.election.enable", "true")]);
    written(&mut story, 2, &[config("unclean.leader.election.enable", "false")]);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    story.high(0, 2, true, 0);
    story.decide(state(0, 0, 1, &[0]), false);
    let stolen = PartitionState {
        isr: ids(&[1]),
        ..state(1, 1, 2, &[1])
    };
    story.decide(stolen.clone(), true);
    story.lead(1, stolen, 1, 1);
    assert!(story.found().contains(&"X5"), "{:?}", story.found());
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
