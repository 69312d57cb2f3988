//! KIP-966 (who lost what), KIP-903 (who is who), and controllers that follow one another.

use super::*;

#[test]
fn kip_966_who_came_back_uncleanly_neither_leads_nor_is_eligible() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[3]);
    cluster.silence(&[2]);
    assert_eq!(cluster.view(), (1, vec![1], vec![2]));
    cluster.silence(&[1]);
    assert_eq!(cluster.view(), (-1, vec![], vec![1, 2]));
    // The last one lost power and its tail. It must not lead, though it was the last.
    cluster.start(1, -1);
    assert_eq!(cluster.view(), (-1, vec![], vec![2]));
    assert!(!cluster.mirror.brokers[&NodeId(1)].fenced);
    // The third never was eligible.
    cluster.start(3, cluster.broker_epoch(3));
    assert_eq!(cluster.view(), (-1, vec![], vec![2]));
    // The second left in order: it has everything that was ever committed.
    cluster.start(2, cluster.broker_epoch(2));
    assert_eq!(cluster.view(), (2, vec![2], vec![]));
    assert_eq!(cluster.unclean, 0);
    assert_eq!(cluster.propose(&[2, 1]), E::NONE);
}

#[test]
fn kip_966_the_last_known_leader_leads_when_all_lost_something() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[1, 2, 3]);
    assert_eq!(cluster.view().0, -1);
    let last = cluster.mirror.last_known_elr(cluster.id("t", 0)).to_vec();
    let other = (1..=3).find(|id| last != [NodeId(*id)]).unwrap();
    for id in 1..=3 {
        cluster
            .register(Cluster::registration(id, 90 + id as u128, -1))
            .unwrap();
    }
    assert_eq!(cluster.view(), (-1, vec![], vec![]));
    cluster.beat(other);
    assert_eq!(cluster.view().0, -1);
    cluster.beat(last[0].0);
    assert_eq!(cluster.view(), (last[0].0, vec![last[0].0], vec![]));
    assert_eq!(cluster.unclean, 1, "records may be lost, and it is said");
    assert_eq!(cluster.mirror.last_known_elr(cluster.id("t", 0)), []);
}

#[test]
fn the_museums_last_replica_stands_and_leads_again() {
    let mut cluster = Cluster::of_three_with(Rules::NONE.with(Rule::LastReplicaStanding));
    cluster.silence(&[3]);
    cluster.silence(&[2]);
    cluster.silence(&[1]);
    assert_eq!(cluster.view(), (-1, vec![1], vec![]), "fenced and still in the ISR");
    cluster.start(2, cluster.broker_epoch(2));
    assert_eq!(cluster.view(), (-1, vec![1], vec![]));
    cluster.start(1, -1);
    assert_eq!(cluster.view(), (1, vec![1], vec![]), "whatever it lost");
}

/// The empty reincarnation of a follower, and the request that speaks of the old one.
fn kip_903(rules: Rules) -> (Cluster, E) {
    let mut cluster = Cluster::of_three_with(rules);
    cluster.silence(&[2]);
    cluster.start(2, -1);
    // 2 has caught up; the leader's proposal is on its way when 2 dies, loses its disk and comes back.
    let delayed = cluster.proposal(&[1, 3, 2]);
    cluster.silence(&[2]);
    cluster.start(2, -1);
    let code = cluster.alter(delayed);
    (cluster, code)
}

#[test]
fn kip_903_a_request_about_an_old_incarnation_is_refused() {
    let (mut cluster, code) = kip_903(Rules::NONE);
    assert_eq!(code, E::INELIGIBLE_REPLICA);
    assert_eq!(cluster.view(), (1, vec![1, 3], vec![]));
    assert_eq!(
        cluster.propose(&[1, 3, 2]),
        E::NONE,
        "the new one, once it has caught up"
    );
}

#[test]
fn kip_903_off_lets_the_empty_one_in() {
    let (cluster, code) = kip_903(Rules::NONE.with(Rule::AlterPartitionNoBrokerEpoch));
    assert_eq!(code, E::NONE);
    assert_eq!(cluster.view(), (1, vec![1, 3, 2], vec![]));
}

#[test]
fn a_new_controller_gives_everybody_a_whole_session() {
    let mut cluster = Cluster::of_three();
    cluster.pass(SESSION_MS - 1);
    cluster.fail_over();
    cluster.pass(SESSION_MS - 1);
    assert_eq!(cluster.last, []);
    cluster.pass(1);
    assert!(cluster.mirror.brokers.values().all(|broker| broker.fenced));
}

#[test]
fn a_controlled_shutdown_goes_on_after_a_failover() {
    let mut cluster = Cluster::of_three();
    cluster.want_shutdown(1);
    cluster.fail_over();
    assert!(cluster.want_shutdown(1).should_shut_down, "nothing is left to move");
}

#[test]
fn what_is_replayed_is_what_was_decided() {
    let mut leader = Cluster::of_three();
    let mut follower = Cluster::new(Rules::NONE, &settings()).controller;
    for (offset, record) in leader.mirror.to_records().iter().enumerate() {
        Coordinator::replay(&mut follower, record, offset as Offset);
    }
    assert_eq!(follower.image().digest(), leader.controller.image().digest());
    leader.silence(&[1]);
    assert_ne!(follower.image().digest(), leader.controller.image().digest());
}

#[test]
fn an_idle_log_keeps_moving_if_it_is_told_to() {
    let mut cluster = Cluster::new(Rules::NONE, &Settings::default());
    cluster.pass(499);
    assert_eq!(cluster.last, []);
    cluster.pass(1);
    assert_eq!(cluster.last, [Record::NoOp]);
    cluster.pass(300);
    cluster.start(1, -1);
    cluster.pass(499);
    assert_eq!(cluster.last, [], "it was not idle");
    cluster.pass(1);
    assert_eq!(cluster.last, [Record::NoOp]);
}

/// Random brokers coming, going, lying about their past, and random proposals. What is asserted is in the controller
/// (well-formedness) and in `accept` (fold equality); here: that a clean history never has an unclean leader, and
/// that everything came about at least once.
#[test]
fn random_histories_keep_every_partition_well_formed() {
    let (mut leaderless, mut unclean, mut eligible, mut full) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut entropy = Entropy(seed);
        let rules = if seed % 4 == 0 {
            Rules::NONE.with(Rule::LastReplicaStanding)
        } else {
            Rules::NONE
        };
        let mut cluster = Cluster::of_three_with(rules);
        let all_clean = seed % 2 == 1;
        for _ in 0..80 {
            let id = 1 + entropy.below(3) as i32;
            match entropy.below(9) {
                0 => cluster.pass(entropy.below(SESSION_MS)),
                1 | 2 => drop(cluster.beat(id)),
                3 => drop(cluster.want_shutdown(id)),
                4 | 5 => {
                    let previous = if all_clean || entropy.below(2) == 0 {
                        cluster.broker_epoch(id)
                    } else {
                        -1
                    };
                    let incarnation = u128::from(entropy.next_u64());
                    let _ = cluster.register(Cluster::registration(id, incarnation, previous));
                }
                6 => {
                    let value = ["1", "2", "3"][entropy.below(3) as usize];
                    cluster.set_config("t", "min.insync.replicas", Some(value));
                }
                _ => {
                    let isr: Vec<i32> = (1..=3).filter(|_| entropy.below(3) > 0).collect();
                    let proposal = cluster.proposal(&isr);
                    if cluster.mirror.brokers.contains_key(&NodeId(proposal.0)) {
                        cluster.alter(proposal);
                    }
                }
            }
            let (leader, isr, elr) = cluster.view();
            leaderless += usize::from(leader < 0);
            eligible += usize::from(!elr.is_empty());
            full += usize::from(isr.len() == 3);
            assert!(!all_clean || cluster.unclean == 0, "seed {seed}");
        }
        unclean += cluster.unclean;
    }
    for (what, times) in [
        ("leaderless", leaderless),
        ("unclean", unclean),
        ("eligible", eligible),
        ("full", full),
    ] {
        assert!(times > 5, "{what}: {times}");
    }
}

#[test]
fn a_controller_finds_metadata_that_none_decides_before_it_decides_by_it() {
    let sound = Cluster::of_three();
    let partition = sound.id("t", 0);
    let lost = |record: Record| {
        let mut image = sound.mirror.clone();
        image.apply(&record, image.offset, EPOCH, &mut MetadataDelta::default());
        Controller::activate(image, &settings(), Rules::NONE, Entropy(5), sound.now(), EPOCH).flaw()
    };
    let change = |isr: Vec<NodeId>, elr: Vec<NodeId>| Record::PartitionChange {
        partition,
        leader: None,
        isr: Some(isr),
        elr: Some(elr),
        last_known_elr: None,
        replicas: None,
        adding: None,
        removing: None,
    };
    let node = NodeId;
    assert_eq!(lost(change(vec![node(1)], vec![node(2)])), None);
    assert_eq!(sound.controller.flaw(), None);
    // What takes a broker out of the ISR is a change of the partition; here only the broker's own is left.
    let fenced = Record::BrokerRegistrationChange {
        broker: node(2),
        broker_epoch: crate::types::BrokerEpoch(sound.broker_epoch(2)),
        fenced: Some(true),
        in_controlled_shutdown: None,
    };
    for (record, words) in [
        (change(vec![node(1), node(4)], vec![]), "no replica"),
        (change(vec![node(1)], vec![node(1)]), "overlap"),
        (change(vec![node(2)], vec![]), "a leader out of sync"),
        (change(vec![node(1), node(2)], vec![node(3)]), "beside a sufficient ISR"),
        (fenced, "is fenced or leaving and in the ISR"),
    ] {
        let flaw = lost(record).unwrap_or_default();
        assert!(flaw.contains(words), "{flaw} is not {words}");
    }
}
