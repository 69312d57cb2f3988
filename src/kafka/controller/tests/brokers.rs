//! Registration, sessions, fencing, controlled shutdown.

use super::*;

#[test]
fn an_epoch_is_the_offset_of_its_registration() {
    let mut cluster = Cluster::of_three();
    for (id, registration) in &cluster.mirror.brokers {
        assert_eq!(
            registration.epoch.0,
            2 * (i64::from(id.0) - 1),
            "register and unfence take a record each"
        );
    }
    // Out of the ISR first, so the registration is not the first record.
    cluster.want_shutdown(1);
    let end = cluster.mirror.offset;
    cluster.start(1, -1);
    assert!(cluster.broker_epoch(1) >= end);
    let mut cluster = Cluster::of_three();
    cluster.pass(SESSION_MS);
    cluster.start(2, -1);
    let before = cluster.mirror.offset;
    let epoch = cluster.register(Cluster::registration(1, 9, -1)).unwrap();
    let at = cluster
        .last
        .iter()
        .position(|record| matches!(record, Record::RegisterBroker { .. }))
        .unwrap();
    assert_eq!(epoch, before + at as i64);
}

#[test]
fn other_clusters_and_nonsense_are_refused() {
    let mut cluster = Cluster::of_three();
    let good = || Cluster::registration(9, 9, -1);
    let stranger = good().with_cluster_id(text("other"));
    assert_eq!(cluster.register(stranger), Err(E::INCONSISTENT_CLUSTER_ID));
    assert_eq!(
        cluster.register(good().with_listeners(vec![])),
        Err(E::INVALID_REGISTRATION)
    );
    assert_eq!(
        cluster.register(good().with_broker_id(BrokerId(-1))),
        Err(E::INVALID_REGISTRATION)
    );
    assert_eq!(
        cluster.register(good().with_is_migrating_zk_broker(true)),
        Err(E::BROKER_ID_NOT_REGISTERED)
    );
    assert!(!cluster.mirror.brokers.contains_key(&NodeId(9)));
    assert!(cluster.register(good()).is_ok());
}

#[test]
fn the_same_incarnation_registers_again_without_harm() {
    let mut cluster = Cluster::of_three();
    let known = cluster.mirror.brokers[&NodeId(1)].clone();
    let again = Cluster::registration(1, known.incarnation.as_u128(), -1);
    assert_eq!(cluster.register(again.clone()), Ok(known.epoch.0));
    assert_eq!(cluster.last, []);
    // It may say more about itself; it keeps its epoch and stays unfenced (KAFKA-16952).
    assert_eq!(cluster.register(again.with_rack(Some(text("r")))), Ok(known.epoch.0));
    assert_eq!(
        cluster.mirror.brokers[&NodeId(1)],
        crate::metadata::BrokerRegistration {
            rack: Some("r".into()),
            ..known
        }
    );
    assert_eq!(cluster.view(), (1, vec![1, 2, 3], vec![]));
}

#[test]
fn another_incarnation_waits_for_the_end_of_the_session() {
    let mut cluster = Cluster::of_three();
    let other = || Cluster::registration(1, 77, -1);
    assert_eq!(cluster.register(other()), Err(E::DUPLICATE_BROKER_REGISTRATION));
    // Heard of a moment ago, so still alive; then silent for the whole session, not fenced yet.
    cluster.now_ms += SESSION_MS - 1;
    assert_eq!(cluster.register(other()), Err(E::DUPLICATE_BROKER_REGISTRATION));
    cluster.now_ms += 1;
    let epoch = cluster.register(other()).unwrap();
    assert!(epoch > 0 && cluster.mirror.brokers[&NodeId(1)].fenced);
    assert_eq!(cluster.view(), (2, vec![2, 3], vec![]), "the new one starts outside");
    // The old one speaks once more.
    let stale = cluster.heartbeat_request(1).with_broker_epoch(0);
    assert_eq!(cluster.heartbeat(stale).error_code, E::STALE_BROKER_EPOCH.0);
    let unknown = cluster.heartbeat_request(1).with_broker_id(BrokerId(50));
    assert_eq!(cluster.heartbeat(unknown).error_code, E::STALE_BROKER_EPOCH.0);
}

#[test]
fn a_leaving_broker_may_be_replaced_at_once() {
    let mut cluster = Cluster::of_three();
    assert!(!cluster.want_shutdown(1).should_shut_down);
    assert!(cluster.mirror.brokers[&NodeId(1)].in_controlled_shutdown);
    assert!(cluster.register(Cluster::registration(1, 77, -1)).is_ok());
    assert!(!cluster.mirror.brokers[&NodeId(1)].in_controlled_shutdown);
}

#[test]
fn a_broker_is_unfenced_once_it_knows_its_registration() {
    let mut cluster = Cluster::of_three();
    let epoch = cluster.register(Cluster::registration(4, 4, -1)).unwrap();
    let behind = cluster.heartbeat_request(4).with_current_metadata_offset(epoch - 1);
    let response = cluster.heartbeat(behind);
    assert!(response.is_fenced && !response.is_caught_up);
    let unwilling = cluster.heartbeat_request(4).with_want_fence(true);
    let response = cluster.heartbeat(unwilling);
    assert!(response.is_fenced && response.is_caught_up);
    let caught_up = cluster.heartbeat_request(4).with_current_metadata_offset(epoch);
    let response = cluster.heartbeat(caught_up);
    assert!(!response.is_fenced && response.is_caught_up && !response.should_shut_down);
    assert!(!cluster.mirror.brokers[&NodeId(4)].fenced);
    let note = Note::BrokerDecided {
        broker: NodeId(4),
        broker_epoch: crate::types::BrokerEpoch(epoch),
        fenced: false,
        in_controlled_shutdown: false,
    };
    assert!(cluster.out.notes.contains(&note));
    cluster.beat(4);
    assert_eq!(cluster.last, [], "nothing new, no record");
}

#[test]
fn a_silent_broker_is_fenced_exactly_at_the_end_of_its_session() {
    let mut cluster = Cluster::of_three();
    cluster.pass(1);
    cluster.beat(2);
    cluster.beat(3);
    assert_eq!(
        cluster.controller.next_deadline(),
        Some(Nanos::from_ms(1_000 + SESSION_MS))
    );
    cluster.pass(SESSION_MS - 2);
    assert_eq!(cluster.last, []);
    cluster.pass(1);
    assert_eq!(cluster.view(), (2, vec![2, 3], vec![]));
    assert!(cluster.mirror.brokers[&NodeId(1)].fenced);
    assert_eq!(
        (cluster.state().leader_epoch.0, cluster.state().partition_epoch.0),
        (1, 1)
    );
    assert!(matches!(
        cluster.last[..],
        [Record::PartitionChange { .. }, Record::BrokerRegistrationChange { .. }]
    ));
    cluster.pass(1);
    assert!(cluster.mirror.brokers.values().all(|broker| broker.fenced));
    assert_eq!(cluster.view().0, -1);
}

#[test]
fn a_broker_is_fenced_when_it_asks() {
    let mut cluster = Cluster::of_three();
    let response = cluster.heartbeat(cluster.heartbeat_request(1).with_want_fence(true));
    assert!(response.is_fenced && !response.should_shut_down);
    assert_eq!(cluster.view(), (2, vec![2, 3], vec![]));
    let response = cluster.heartbeat(
        cluster
            .heartbeat_request(2)
            .with_want_fence(true)
            .with_want_shut_down(true),
    );
    assert!(response.is_fenced && response.should_shut_down);
    assert_eq!(cluster.view(), (3, vec![3], vec![2]));
}

#[test]
fn controlled_shutdown_moves_leaders_and_waits_for_the_others() {
    let mut cluster = Cluster::of_three();
    let response = cluster.want_shutdown(1);
    assert!(!response.is_fenced && !response.should_shut_down);
    assert_eq!(cluster.view(), (2, vec![2, 3], vec![]));
    let leave = cluster.mirror.offset - 1;
    // The others have not applied the move yet.
    assert!(!cluster.want_shutdown(1).should_shut_down);
    assert_eq!(cluster.last, []);
    let behind = cluster.heartbeat_request(2).with_current_metadata_offset(leave - 1);
    cluster.heartbeat(behind);
    cluster.beat(3);
    assert!(!cluster.want_shutdown(1).should_shut_down);
    cluster.beat(2);
    let response = cluster.want_shutdown(1);
    assert!(response.should_shut_down && response.is_fenced);
    assert!(cluster.mirror.brokers[&NodeId(1)].fenced);
}

#[test]
fn who_leads_nothing_may_go_at_once() {
    let mut cluster = Cluster::of_three();
    assert!(cluster.want_shutdown(3).should_shut_down);
    assert_eq!(cluster.view(), (1, vec![1, 2], vec![]));
    assert!(cluster.want_shutdown(3).should_shut_down, "fenced and still asking");
    assert_eq!(cluster.last, []);
}

#[test]
fn the_last_in_sync_replica_may_leave_and_stays_eligible() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[2, 3]);
    assert_eq!(
        cluster.view(),
        (1, vec![1], vec![3]),
        "2 went while the ISR was still large enough"
    );
    cluster.want_shutdown(1);
    assert_eq!(cluster.view(), (-1, vec![], vec![1, 3]));
    assert!(cluster.want_shutdown(1).should_shut_down);
    let epoch = cluster.broker_epoch(1);
    cluster.start(1, epoch);
    assert_eq!(
        cluster.view(),
        (1, vec![1], vec![3]),
        "it left in order, so it may lead"
    );
    assert_eq!(cluster.unclean, 0);
}

#[test]
fn a_broker_in_controlled_shutdown_that_changes_its_mind_gets_no_leadership() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[2, 3]);
    cluster.want_shutdown(1);
    cluster.silence(&[1]);
    // Fenced, still marked as leaving; nothing but a new registration ends that.
    assert!(!cluster.beat(1).is_fenced);
    assert_eq!(cluster.view(), (-1, vec![], vec![1, 3]));
}
