//! AlterPartition: every refusal, and what goes through.

use super::*;

#[test]
fn a_proposal_of_the_leader_is_taken() {
    let mut cluster = Cluster::of_three();
    assert_eq!(cluster.propose(&[1, 2]), E::NONE);
    assert_eq!(cluster.view(), (1, vec![1, 2], vec![]));
    assert_eq!(
        (cluster.state().leader_epoch.0, cluster.state().partition_epoch.0),
        (0, 1),
        "a shrink bumps no leader epoch"
    );
    let note = Note::PartitionDecided {
        partition: cluster.id("t", 0),
        state: cluster.state().clone(),
        unclean: false,
        epoch: EPOCH,
    };
    assert_eq!(cluster.out.notes, [note]);
    assert_eq!(cluster.propose(&[1]), E::NONE);
    assert_eq!(cluster.view(), (1, vec![1], vec![2]), "below the minimum of two");
    assert_eq!(cluster.propose(&[1, 3]), E::NONE);
    assert_eq!(cluster.view(), (1, vec![1, 3], vec![]));
    assert_eq!(cluster.propose(&[1, 3]), E::NONE);
    assert_eq!(cluster.last, [], "nothing changes, no record");
    assert_eq!(cluster.state().partition_epoch.0, 3);
}

#[test]
fn version_2_names_replicas_without_epochs() {
    let mut cluster = Cluster::of_three();
    let (from, data) = cluster.proposal(&[]);
    assert_eq!(
        cluster.alter((from, data.with_new_isr(vec![BrokerId(1), BrokerId(3)]))),
        E::NONE
    );
    assert_eq!(cluster.view(), (1, vec![1, 3], vec![]));
}

#[test]
fn stale_and_future_epochs_are_refused() {
    let mut cluster = Cluster::of_three();
    cluster.propose(&[1, 2]);
    cluster.heartbeat(cluster.heartbeat_request(1).with_want_fence(true));
    assert_eq!(
        (cluster.state().leader_epoch.0, cluster.state().partition_epoch.0),
        (1, 2)
    );
    let with = |leader_epoch: i32, partition_epoch: i32| {
        let (from, data) = cluster.proposal(&[2, 3]);
        (
            from,
            data.with_leader_epoch(leader_epoch)
                .with_partition_epoch(partition_epoch),
        )
    };
    let cases = [
        (with(2, 2), E::NOT_CONTROLLER),
        (with(1, 3), E::NOT_CONTROLLER),
        (with(0, 3), E::NOT_CONTROLLER),
        (with(0, 2), E::FENCED_LEADER_EPOCH),
        (with(1, 1), E::INVALID_UPDATE_VERSION),
        (with(1, 2), E::NONE),
    ];
    for (proposal, code) in cases {
        assert_eq!(cluster.alter(proposal), code);
    }
}

#[test]
fn only_the_leader_may_and_only_sets_with_itself() {
    let mut cluster = Cluster::of_three();
    let (_, data) = cluster.proposal(&[1, 2]);
    assert_eq!(cluster.alter((2, data.clone())), E::INVALID_REQUEST);
    for isr in [&[][..], &[2, 3], &[1, 1], &[1, 9], &[1, 2, 3, 1]] {
        assert_eq!(cluster.propose(isr), E::INVALID_REQUEST, "{isr:?}");
    }
    assert_eq!(
        cluster.alter((1, data.with_leader_recovery_state(1))),
        E::INVALID_REQUEST
    );
    assert_eq!(cluster.state().partition_epoch.0, 0);
}

#[test]
fn unknown_partitions_and_brokers() {
    let mut cluster = Cluster::of_three();
    let (from, data) = cluster.proposal(&[1, 2]);
    assert_eq!(
        cluster.alter((from, data.clone().with_partition_index(7))),
        E::UNKNOWN_TOPIC_OR_PARTITION
    );
    let request = cluster.alter_request(1, Uuid::from_u128(99), data.clone());
    let ResponseKind::AlterPartition(response) = cluster.ask(request) else {
        panic!()
    };
    assert_eq!(response.topics[0].partitions[0].error_code, E::UNKNOWN_TOPIC_ID.0);
    let stale = cluster
        .alter_request(1, cluster.id("t", 0).topic, data)
        .with_broker_epoch(99);
    let ResponseKind::AlterPartition(response) = cluster.ask(stale) else {
        panic!()
    };
    assert_eq!(response.error_code, E::STALE_BROKER_EPOCH.0);
}

#[test]
fn kip_841_fenced_and_leaving_replicas_stay_outside() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[2]);
    assert_eq!(cluster.propose(&[1, 3, 2]), E::INELIGIBLE_REPLICA, "fenced");
    cluster.start(2, -1);
    assert_eq!(cluster.propose(&[1, 3, 2]), E::NONE);
    assert_eq!(cluster.create("u", &[&[2, 1]], &[]), E::NONE);
    assert!(!cluster.want_shutdown(2).should_shut_down);
    assert_eq!(cluster.view(), (1, vec![1, 3], vec![]));
    assert_eq!(cluster.propose(&[1, 3, 2]), E::INELIGIBLE_REPLICA, "leaving");
}
