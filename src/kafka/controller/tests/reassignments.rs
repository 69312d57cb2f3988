//! Replicas that move.

use super::*;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

/// Four brokers; `t-0` on the first three.
fn of_four() -> Cluster {
    let mut cluster = Cluster::of_three();
    cluster.start(4, -1);
    cluster
}

fn reassign_with(cluster: &mut Cluster, topic: &str, replicas: Option<&[i32]>, may_resize: bool) -> E {
    let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
    let partition = ReassignablePartition::default().with_replicas(replicas);
    let topic = ReassignableTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_allow_replication_factor_change(may_resize)
        .with_topics(vec![topic]);
    let ResponseKind::AlterPartitionReassignments(response) = cluster.ask(request) else {
        panic!()
    };
    E(response.responses[0].partitions[0].error_code)
}

fn reassign(cluster: &mut Cluster, replicas: &[i32]) -> E {
    reassign_with(cluster, "t", Some(replicas), true)
}

fn cancel(cluster: &mut Cluster) -> E {
    reassign_with(cluster, "t", None, true)
}

/// Replicas, those on their way in, those on their way out.
fn moving(cluster: &Cluster) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let reassignment = cluster.mirror.reassignment(cluster.id("t", 0));
    let (adding, removing) = (ids(&reassignment.adding), ids(&reassignment.removing));
    (ids(&cluster.state().replicas), adding, removing)
}

/// The same, as a client is told; none if nothing is under way.
fn listed(cluster: &mut Cluster, topic: Option<&str>) -> Option<(Vec<i32>, Vec<i32>, Vec<i32>)> {
    let topics = topic.map(|topic| {
        let topic = ListPartitionReassignmentsTopics::default().with_name(topic_name(topic));
        vec![topic.with_partition_indexes(vec![0])]
    });
    let ResponseKind::ListPartitionReassignments(response) =
        cluster.ask(ListPartitionReassignmentsRequest::default().with_topics(topics))
    else {
        panic!()
    };
    let partition = response.topics.first()?.partitions.first()?;
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<_>>();
    Some((
        ids(&partition.replicas),
        ids(&partition.adding_replicas),
        ids(&partition.removing_replicas),
    ))
}

#[test]
fn who_leaves_goes_when_all_that_stay_are_in_sync() {
    let mut cluster = of_four();
    assert_eq!(reassign(&mut cluster, &[4, 2, 3]), E::NONE);
    let under_way = (vec![4, 2, 3, 1], vec![4], vec![1]);
    assert_eq!(moving(&cluster), under_way);
    assert_eq!(
        (listed(&mut cluster, None), listed(&mut cluster, Some("t"))),
        (Some(under_way.clone()), Some(under_way))
    );
    assert_eq!(listed(&mut cluster, Some("u")), None);
    assert_eq!(
        (cluster.state().leader_epoch.0, cluster.view().0),
        (0, 1),
        "the leader goes on"
    );
    assert_eq!(cluster.propose(&[1, 2]), E::NONE, "a shrink ends nothing");
    assert_eq!(
        cluster.propose(&[1, 2, 3, 4]),
        E::NEW_LEADER_ELECTED,
        "the leader was to go"
    );
    assert_eq!(moving(&cluster), (vec![4, 2, 3], vec![], vec![]));
    assert_eq!(cluster.view(), (4, vec![2, 3, 4], vec![]));
    assert_eq!(cluster.state().leader_epoch.0, 1);
    assert_eq!(listed(&mut cluster, None), None);
}

/// A leader that stays learns by a new epoch that somebody is no replica any more.
#[test]
fn the_end_begins_a_leader_epoch() {
    let mut cluster = of_four();
    assert_eq!(reassign(&mut cluster, &[1, 2, 4]), E::NONE);
    assert_eq!(cluster.propose(&[1, 2, 3, 4]), E::NONE);
    assert_eq!(moving(&cluster), (vec![1, 2, 4], vec![], vec![]));
    assert_eq!(
        (cluster.view(), cluster.state().leader_epoch.0),
        ((1, vec![1, 2, 4], vec![]), 1)
    );
}

#[test]
fn what_adds_nobody_ends_at_once() {
    let mut cluster = of_four();
    assert_eq!(reassign(&mut cluster, &[3, 1, 2]), E::NONE);
    assert_eq!(
        (moving(&cluster), cluster.state().leader_epoch.0),
        ((vec![3, 1, 2], vec![], vec![]), 0)
    );
    assert_eq!(reassign(&mut cluster, &[3, 1, 2]), E::NONE);
    assert_eq!(cluster.last, [], "that is how it is");
    assert_eq!(reassign(&mut cluster, &[2, 3]), E::NONE);
    assert_eq!(moving(&cluster), (vec![2, 3], vec![], vec![]));
    assert_eq!(cluster.view(), (2, vec![2, 3], vec![]));
    // One that stays is not in sync: nobody goes yet.
    let mut cluster = of_four();
    assert_eq!(cluster.propose(&[1, 2]), E::NONE);
    assert_eq!(reassign(&mut cluster, &[2, 3]), E::NONE);
    assert_eq!(moving(&cluster), (vec![2, 3, 1], vec![], vec![1]));
    assert_eq!(cluster.propose(&[1, 2, 3]), E::NEW_LEADER_ELECTED);
    assert_eq!(moving(&cluster), (vec![2, 3], vec![], vec![]));
}

#[test]
fn a_cancelled_move_leaves_what_there_was() {
    let mut cluster = of_four();
    assert_eq!(cancel(&mut cluster), E::NO_REASSIGNMENT_IN_PROGRESS);
    assert_eq!(cluster.propose(&[1, 2]), E::NONE);
    assert_eq!(reassign(&mut cluster, &[4, 3]), E::NONE);
    assert_eq!(cluster.propose(&[1, 2, 4]), E::NONE);
    assert_eq!(moving(&cluster), (vec![4, 3, 1, 2], vec![4], vec![1, 2]));
    assert_eq!(cancel(&mut cluster), E::NONE);
    assert_eq!(moving(&cluster), (vec![3, 1, 2], vec![], vec![]));
    assert_eq!(cluster.view(), (1, vec![1, 2], vec![]));
    assert_eq!(cancel(&mut cluster), E::NO_REASSIGNMENT_IN_PROGRESS);
}

/// Only who was added is left in sync: going back would lose what was committed since.
#[test]
fn a_move_that_cannot_be_taken_back_cleanly_goes_on() {
    let mut cluster = of_four();
    assert_eq!(reassign(&mut cluster, &[4, 3]), E::NONE);
    assert_eq!(cluster.propose(&[1, 2, 4]), E::NONE);
    cluster.silence(&[1, 2]);
    assert_eq!(cluster.view().1, [4]);
    assert_eq!(cancel(&mut cluster), E::INVALID_REPLICA_ASSIGNMENT);
    assert_eq!(moving(&cluster).1, [4]);
    assert_eq!(
        cluster.set_config("t", "unclean.leader.election.enable", Some("true")),
        E::NONE
    );
    assert_eq!(cancel(&mut cluster), E::NONE);
    assert_eq!(moving(&cluster), (vec![3, 1, 2], vec![], vec![]));
    assert_eq!(cluster.view().0, 3);
}

#[test]
fn what_no_partition_can_have_is_refused() {
    let mut cluster = of_four();
    for bad in [&[][..], &[1, 1], &[1, 9]] {
        assert_eq!(reassign(&mut cluster, bad), E::INVALID_REPLICA_ASSIGNMENT, "{bad:?}");
    }
    assert_eq!(
        reassign_with(&mut cluster, "x", Some(&[1]), true),
        E::UNKNOWN_TOPIC_OR_PARTITION
    );
    let fewer = reassign_with(&mut cluster, "t", Some(&[1, 2]), false);
    assert_eq!(fewer, E::INVALID_REPLICATION_FACTOR);
    assert_eq!(cluster.last, []);
}
