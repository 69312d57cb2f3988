//! What `flush.messages` holds back until it is durable: answers, the high watermark, fetches.

use super::World;

fn flushing(n: i32) -> World {
    let mut world = World::with(n, None);
    world.set_config("flush.messages", "1");
    world.advance(600);
    world
}

fn disk_works(world: &mut World, id: i32) {
    world.hung_disks.remove(&id);
    world.complete_syncs(id);
    world.run();
}

#[test]
fn nothing_is_acknowledged_before_every_replica_in_sync_has_flushed_it() {
    let mut world = flushing(3);
    world.hung_disks.extend([1, 3]);
    let sent = world.send(1, "a", -1);
    world.run();
    assert_eq!((world.end(1), world.end(2), world.end(3)), (1, 1, 1));
    assert_eq!(world.produced(sent), None, "neither the leader nor 3 has flushed");
    disk_works(&mut world, 3);
    assert_eq!(world.produced(sent), None, "the leader has not");
    assert_eq!(world.high_watermark(1), 0, "and nobody may read it");
    disk_works(&mut world, 1);
    assert_eq!(world.produced(sent), Some((0, 0)));
    for id in 1..=3 {
        assert_eq!(world.partition(id).log().recovery_point(), 1);
    }
}

#[test]
fn a_follower_does_not_fetch_beyond_what_it_has_not_flushed() {
    let mut world = flushing(2);
    world.hung_disks.insert(2);
    let sent = world.send(1, "a", -1);
    world.run();
    world.advance(5_000);
    assert_eq!((world.end(2), world.produced(sent)), (1, None));
    assert!(world.calls.is_empty(), "it is still in its append");
    disk_works(&mut world, 2);
    assert_eq!(world.produced(sent), Some((0, 0)));
}

#[test]
fn one_replica_is_enough_for_acks_1_but_it_has_flushed() {
    let mut world = flushing(2);
    world.hung_disks.insert(1);
    let one = world.send(1, "a", 1);
    let none = world.send(1, "b", 0);
    world.run();
    assert_eq!((world.produced(one), world.produced(none)), (None, None));
    disk_works(&mut world, 1);
    assert_eq!(world.produced(one), Some((0, 0)));
    assert_eq!(world.produced(none), None, "acks=0 is never answered");
}

/// The record is in the log of the broker that was asked, and acks=1 asks for nothing else. An error would say that it
/// is certainly nowhere.
#[test]
fn acks_1_is_a_success_though_leadership_went_while_it_was_flushed() {
    let mut world = flushing(2);
    world.hung_disks.insert(1);
    let sent = world.send(1, "a", 1);
    world.run();
    world.elect(2, &[1, 2]);
    assert_eq!(world.produced(sent), Some((0, 0)));
}

/// Others of the same leader are held up by a flush, as by Kafka's fetcher thread, but not for longer than it lasts.
#[test]
fn a_replica_that_turns_to_another_leader_frees_the_fetcher_that_waited_for_it() {
    let mut world = flushing(3);
    world.hung_disks.insert(2);
    world.send(1, "a", 1);
    world.run();
    assert_eq!(world.end(2), 1);
    world.elect(3, &[1, 2, 3]);
    disk_works(&mut world, 2);
    world.advance(1_000);
    let sent = world.send(3, "b", -1);
    world.run();
    assert!(world.produced(sent).is_some_and(|(code, _)| code == 0));
}

#[test]
fn a_process_that_comes_back_flushes_what_it_finds_before_it_fetches() {
    let mut world = flushing(2);
    world.hung_disks.insert(2);
    let sent = world.send(1, "a", -1);
    world.run();
    world.restart(2);
    world.publish(2);
    world.run();
    world.advance(5_000);
    assert_eq!(world.end(2), 1, "the page cache had it");
    assert_eq!(world.produced(sent), None, "a power failure could still take it");
    disk_works(&mut world, 2);
    world.advance(1_000);
    assert_eq!(world.produced(sent), Some((0, 0)));
}
