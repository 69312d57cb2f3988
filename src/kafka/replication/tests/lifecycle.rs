//! Starts, stops, identities, and metadata that is late, early or old.

use super::{P, World};
use crate::machine::CallFailed;
use crate::metadata::MetadataDelta;
use crate::note::Note;
use crate::replication::codes;
use crate::rules::Rules;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, TopicPartition, Uuid};
use std::collections::BTreeSet;

fn stop_cleanly_but_open(world: &mut World, id: i32) {
    world.step(id, |manager, _, _, disk, out| {
        manager.begin_shutdown();
        manager.flush_all(disk, out).unwrap();
    });
    world.advance(0);
}

fn stop_cleanly(world: &mut World, id: i32) {
    stop_cleanly_but_open(world, id);
    let flushed = world.step(id, |manager, _, _, disk, _| {
        let flushed = manager.all_flushed();
        manager.close(disk);
        flushed
    });
    assert!(flushed, "everything is on the platter");
}

#[test]
fn after_a_clean_stop_nothing_is_lost_not_even_with_the_power() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.send_acked(1, "b");
    world.advance(600);
    stop_cleanly(&mut world, 1);
    world.kill(1, true);
    world.boot(1, true);
    assert_eq!((world.end(1), world.high_watermark(1)), (2, 2));
    assert_eq!(world.partition(1).log().recovery_point(), 2);
}

#[test]
fn a_broker_that_flushes_takes_and_copies_nothing_more() {
    let mut world = World::with(2, None);
    for id in [1, 2] {
        stop_cleanly_but_open(&mut world, id);
    }
    let refused = world.send(1, "a", 1);
    assert_eq!(world.produced(refused), Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    world.calls.clear();
    world.elect(1, &[1, 2]);
    assert!(world.calls.is_empty() && world.asked.is_empty());
    let due = world.nodes[&2]
        .manager
        .as_ref()
        .and_then(|manager| manager.next_deadline());
    assert!(due.is_some_and(|at| at > world.now.mono), "or its driver would spin");
}

#[test]
fn a_stop_with_nothing_to_flush_ends_too() {
    let mut world = World::silent(1, Rules::NONE, |_| {});
    stop_cleanly(&mut world, 1);
}

#[test]
fn the_high_watermark_is_written_now_and_then_and_is_a_hint_only() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.advance(6_000);
    world.isolate(2);
    world.send(1, "b", 1);
    world.restart(1);
    assert_eq!((world.end(1), world.high_watermark(1)), (2, 1));
    assert!(!world.partition(1).is_leader());
    // The power fails before anything of the log was synced: the checkpoint is ahead of the log.
    world.kill(1, true);
    world.boot(1, false);
    assert!(world.high_watermark(1) <= world.end(1));
}

#[test]
fn after_a_cut_nothing_is_written_before_the_recovery_point_on_the_disk_knows_of_it() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.isolate(1);
    world.send(1, "lost", 1);
    stop_cleanly(&mut world, 1);
    world.kill(1, true);
    world.elect(2, &[2]);
    for value in ["c", "d"] {
        world.send(2, value, 1);
    }
    // The checkpoint says 2, and the log is cut to 1. Had it copied c, a crash would take c for durable.
    world.boot(1, true);
    world.hung_disks.insert(1);
    world.publish(1);
    world.heal();
    world.advance(1_000);
    assert_eq!(world.end(1), 1);
    let said = world.nodes[&1].disk.content("recovery-point-offset-checkpoint");
    assert_eq!(said.unwrap(), b"0\n1\nt 0 2\n");
    world.hung_disks.clear();
    world.complete_syncs(1);
    world.run();
    world.advance(1_000);
    assert_eq!(world.log(1), ["a@0", "c@1", "d@1"]);
    world.restart(1);
    let opened = |id, note: &Note| {
        id == 1
            && matches!(
                note,
                Note::LogOpened {
                    log_end_offset: 3,
                    recovery_point: 1,
                    ..
                }
            )
    };
    assert_eq!(world.noted(opened), 1);
}

#[test]
fn nothing_leads_before_this_incarnation_is_known() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    world.restart(1);
    world.step(1, |manager, _, _, _, _| manager.set_broker_epoch(BrokerEpoch(5_000)));
    world.publish(1);
    let refused = world.send(1, "b", 1);
    assert_eq!(world.produced(refused), Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    world.image.brokers.get_mut(&NodeId(1)).unwrap().epoch = BrokerEpoch(5_000);
    let delta = MetadataDelta {
        brokers: BTreeSet::from([NodeId(1)]),
        ..MetadataDelta::default()
    };
    world.publish_delta(1, &delta);
    assert!(world.partition(1).is_leader());
    assert_eq!(world.log(1), ["a@0"]);
}

#[test]
fn nothing_leads_before_its_identity_is_durable() {
    let mut world = World::silent(1, Rules::NONE, |_| {});
    world.hung_disks.insert(1);
    world.publish(1);
    assert!(!world.partition(1).is_leader());
    world.hung_disks.clear();
    world.complete_syncs(1);
    assert!(world.partition(1).is_leader());
    // From here on a power failure may take records, but never the replica.
    world.kill(1, true);
    world.boot(1, false);
    assert_eq!(world.end(1), 0);
}

#[test]
fn a_topic_of_the_same_name_gets_nothing_of_its_predecessor() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    world.send(1, "b", 1);
    world.delete_records(1, 1, 1_000);
    world.advance(70_000);
    world.kill(1, false);
    let state = world.state().clone();
    let again = Uuid::from_u128(0x8);
    world.image.topics.clear();
    world.create_topic(again, state);
    world.boot(1, false);
    assert_eq!(world.end(1), 2, "it is not known yet that the topic is gone");
    world.publish(1);
    let manager = world.nodes[&1].manager.as_ref().unwrap();
    assert!(manager.partition(P).is_none());
    let replica = manager
        .partition(TopicPartition {
            topic: again,
            partition: 0,
        })
        .unwrap();
    let log = replica.log();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset(), replica.high_watermark()),
        (0, 0, 0)
    );
}

#[test]
fn removed_topics_and_strays_go_with_their_files() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    let waiting = world.fetch(1, &World::fetch_request(1, "", 5_000, 1));
    world.image.topics.clear();
    let delta = MetadataDelta {
        removed_topics: BTreeSet::from([P.topic]),
        ..MetadataDelta::default()
    };
    world.publish_delta(1, &delta);
    assert_eq!(
        world.fetched(waiting).unwrap().error_code,
        codes::NOT_LEADER_OR_FOLLOWER
    );
    let files = |world: &World| {
        world.nodes[&1]
            .disk
            .paths()
            .iter()
            .filter(|path| path.starts_with("t-0"))
            .count()
    };
    assert_eq!(files(&world), 0);
    let stopped = |id, note: &Note| id == 1 && matches!(note, Note::ReplicaStopped { deleted: true, .. });
    assert_eq!(world.noted(stopped), 1);

    let mut world = World::with(1, None);
    world.kill(1, false);
    world.image.topics.clear();
    world.boot(1, false);
    world.publish(1);
    assert!(files(&world) > 0, "perhaps the image is merely old");
    world.step(1, |manager, image, now, disk, out| {
        manager.remove_strays(image, now, disk, out).unwrap()
    });
    assert_eq!(files(&world), 0);
}

#[test]
fn a_directory_that_nobody_recognises_is_removed() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    world
        .nodes
        .get_mut(&1)
        .unwrap()
        .disk
        .put("t-0/partition.metadata", b"version: 0\ntopic_id: gar");
    world.restart(1);
    assert!(world.nodes[&1].manager.as_ref().unwrap().partition(P).is_none());
}

#[test]
fn metadata_older_than_what_is_known_changes_nothing() {
    let mut world = World::with(2, None);
    let old = world.state().clone();
    world.elect(2, &[1, 2]);
    let new = world.state().clone();
    *world.state_mut() = old;
    world.publish_all();
    assert!(world.partition(2).is_leader() && !world.partition(1).is_leader());
    assert_eq!(world.partition(1).state(), &new);
}

#[test]
fn an_answer_of_a_former_leader_changes_nothing() {
    let mut world = World::with(3, None);
    world.send_acked(1, "a");
    world.advance(100);
    // 3's fetch is at 1. The answer, with b, is on its way when 3 becomes leader.
    world.cut.insert((1, 3));
    world.send(1, "b", 1);
    world.run();
    assert_eq!(world.end(3), 1);
    world.decide(3, &[1, 2, 3]);
    world.publish(3);
    world.cut.clear();
    world.run();
    assert_eq!(world.log(3), ["a@0"], "KAFKA-13207");
    assert!(world.partition(3).is_leader());
}

#[test]
fn an_answer_of_an_earlier_epoch_changes_nothing() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.cut.insert((1, 2));
    world.send(1, "b", 1);
    world.run();
    world.decide(1, &[1, 2]);
    world.publish(2);
    world.cut.insert((2, 1));
    world.cut.remove(&(1, 2));
    world.run();
    assert_eq!(world.log(2), ["a@0"]);
    world.publish(1);
    world.heal();
    world.advance(1_000);
    assert_eq!(world.log(2), ["a@0", "b@0"]);
}

#[test]
fn a_follower_ahead_of_its_leaders_metadata_tries_again() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.advance(600);
    world.decide(1, &[1, 2]);
    world.publish(2);
    world.run();
    world.advance(50);
    world.publish(1);
    world.send(1, "b", -1);
    world.run();
    world.advance(1_000);
    assert_eq!(world.log(2), ["a@0", "b@1"]);
    assert_eq!(world.high_watermark(1), 2);
}

#[test]
fn a_follower_behind_its_leaders_metadata_waits_for_its_own() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.decide(1, &[1, 2]);
    world.publish(1);
    world.run();
    world.send(1, "b", 1);
    world.advance(10_000);
    assert_eq!(world.end(2), 1, "fenced");
    assert!(
        world.asked.is_empty() && world.calls.is_empty(),
        "and it does not ask again and again"
    );
    world.publish(2);
    world.run();
    assert_eq!(world.log(2), ["a@0", "b@1"]);
}

#[test]
fn a_dead_leader_is_tried_again_after_a_rest() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.kill(1, false);
    world.run();
    assert!(world.calls.is_empty(), "it rests");
    world.boot(1, false);
    world.publish(1);
    world.send(1, "b", 1);
    world.advance(200);
    assert_eq!(world.log(2), ["a@0", "b@0"]);
}

#[test]
fn a_replica_that_leaves_stops_copying_once_it_is_out_of_the_isr() {
    let mut world = World::with(3, None);
    world.step(3, |manager, _, _, _, _| manager.begin_shutdown());
    world.decide(1, &[1, 2]);
    world.publish_all();
    world.send_acked(1, "a");
    world.advance(2_000);
    assert_eq!((world.end(2), world.end(3)), (1, 0));
}

#[test]
fn the_epoch_starts_at_the_log_end_even_without_a_record() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.elect(1, &[1, 2]);
    world.elect(1, &[1, 2]);
    // KAFKA-7415: both epochs are known although nothing was written in them.
    assert_eq!(
        world.partition(1).end_offset_for_epoch(LeaderEpoch(2)),
        Some((LeaderEpoch(2), 1))
    );
    assert_eq!(
        world.partition(1).end_offset_for_epoch(LeaderEpoch(0)),
        Some((LeaderEpoch(0), 1))
    );
    let led = |id, note: &Note| {
        id == 1
            && matches!(
                note,
                Note::BecameLeader {
                    epoch_start_offset: 1,
                    ..
                }
            )
    };
    assert_eq!(world.noted(led), 2);
}

#[test]
fn lost_answers_to_alter_partition_of_the_dead_do_no_harm() {
    let mut world = World::with(2, None);
    world.alter_response(1, 12_345, Err(CallFailed::Disconnected));
    assert!(world.partition(1).is_leader());
}
