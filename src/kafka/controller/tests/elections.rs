//! ElectLeaders, unclean elections, and leaders that go home.

use super::*;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

fn elect(cluster: &mut Cluster, election_type: i8, topics: Option<&[(&str, &[i32])]>) -> Vec<E> {
    let topic = |(name, partitions): &(&str, &[i32])| {
        TopicPartitions::default()
            .with_topic(topic_name(name))
            .with_partitions(partitions.to_vec())
    };
    let request = ElectLeadersRequest::default()
        .with_election_type(election_type)
        .with_topic_partitions(topics.map(|topics| topics.iter().map(topic).collect()));
    let ResponseKind::ElectLeaders(response) = cluster.ask(request) else {
        panic!()
    };
    if response.error_code != 0 {
        return vec![E(response.error_code)];
    }
    let results = response
        .replica_election_results
        .iter()
        .flat_map(|topic| &topic.partition_result);
    results.map(|result| E(result.error_code)).collect()
}

const T0: Option<&[(&str, &[i32])]> = Some(&[("t", &[0])]);

/// 1 lost the leadership to 2, and is back in sync.
fn away_from_home() -> Cluster {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[1]);
    cluster.start(1, cluster.broker_epoch(1));
    assert_eq!(cluster.propose(&[2, 3, 1]), E::NONE);
    assert_eq!(cluster.view(), (2, vec![2, 3, 1], vec![]));
    cluster
}

#[test]
fn a_preferred_leader_is_elected_if_it_is_in_sync() {
    let mut cluster = Cluster::of_three();
    assert_eq!(elect(&mut cluster, PREFERRED, T0), [E::ELECTION_NOT_NEEDED]);
    assert_eq!(
        elect(&mut cluster, PREFERRED, None),
        [],
        "who asks for all hears only of what was done"
    );
    cluster.silence(&[1]);
    assert_eq!(elect(&mut cluster, PREFERRED, T0), [E::PREFERRED_LEADER_NOT_AVAILABLE]);
    cluster.start(1, cluster.broker_epoch(1));
    assert_eq!(
        elect(&mut cluster, PREFERRED, None),
        [E::PREFERRED_LEADER_NOT_AVAILABLE],
        "alive, not in sync"
    );
    let mut cluster = away_from_home();
    let epoch = cluster.state().leader_epoch.0;
    assert_eq!(elect(&mut cluster, PREFERRED, None), [E::NONE]);
    assert_eq!(cluster.view(), (1, vec![2, 3, 1], vec![]));
    assert_eq!(cluster.state().leader_epoch.0, epoch + 1);
}

#[test]
fn strange_elections_are_refused() {
    let mut cluster = Cluster::of_three();
    assert_eq!(elect(&mut cluster, 2, T0), [E::INVALID_REQUEST]);
    let unknown: Option<&[(&str, &[i32])]> = Some(&[("x", &[0]), ("t", &[5, -1])]);
    assert_eq!(
        elect(&mut cluster, PREFERRED, unknown),
        [E::UNKNOWN_TOPIC_OR_PARTITION; 3]
    );
}

#[test]
fn leaders_go_home_in_time() {
    let mut cluster = away_from_home();
    let settings = Settings {
        leader_imbalance_check_interval_ms: 5_000,
        ..settings()
    };
    let image = cluster.controller.image().clone();
    cluster.controller = Controller::activate(image, &settings, Rules::NONE, Entropy(1), cluster.now(), EPOCH);
    cluster.pass(4_999);
    assert_eq!(cluster.view().0, 2);
    cluster.pass(1);
    assert_eq!(cluster.view().0, 1);
    cluster.pass(3_000);
    assert_eq!(
        cluster.controller.next_deadline(),
        Some(Nanos::from_ms(cluster.now_ms + 1_000)),
        "the session"
    );
}

/// Only 3, which fell out of sync long ago, is alive.
fn only_a_laggard(unclean: bool) -> Cluster {
    let mut cluster = Cluster::of_three();
    if unclean {
        assert_eq!(
            cluster.set_config("t", "unclean.leader.election.enable", Some("true")),
            E::NONE
        );
    }
    assert_eq!(cluster.propose(&[1, 2]), E::NONE);
    cluster.silence(&[1, 2]);
    cluster
}

#[test]
fn without_permission_a_laggard_never_leads() {
    let mut cluster = only_a_laggard(false);
    assert_eq!(cluster.view(), (-1, vec![], vec![1, 2]));
    assert_eq!(cluster.unclean, 0);
    cluster.silence(&[3]);
    cluster.start(3, -1);
    assert_eq!(cluster.view(), (-1, vec![], vec![1, 2]));
}

#[test]
fn with_permission_it_leads_alone() {
    let cluster = only_a_laggard(true);
    assert_eq!(cluster.view(), (3, vec![3], vec![]));
    assert_eq!(cluster.unclean, 1);
}

#[test]
fn an_operator_may_force_it() {
    let mut cluster = only_a_laggard(false);
    assert_eq!(elect(&mut cluster, PREFERRED, T0), [E::PREFERRED_LEADER_NOT_AVAILABLE]);
    assert_eq!(elect(&mut cluster, UNCLEAN, T0), [E::NONE]);
    assert_eq!(cluster.view(), (3, vec![3], vec![]));
    assert_eq!(cluster.unclean, 1);
    assert_eq!(elect(&mut cluster, UNCLEAN, T0), [E::ELECTION_NOT_NEEDED]);
    cluster.silence(&[3]);
    assert_eq!(elect(&mut cluster, UNCLEAN, T0), [E::ELIGIBLE_LEADERS_NOT_AVAILABLE]);
}

#[test]
fn the_clusters_default_permits_too() {
    let mut cluster = Cluster::of_three();
    assert_eq!(
        cluster.set_config("", "unclean.leader.election.enable", Some("true")),
        E::NONE
    );
    cluster.propose(&[1, 2]);
    cluster.silence(&[1, 2]);
    assert_eq!(cluster.view(), (3, vec![3], vec![]));
    let mut cluster = Cluster::of_three();
    cluster.set_config("", "unclean.leader.election.enable", Some("true"));
    cluster.set_config("t", "unclean.leader.election.enable", Some("false"));
    cluster.propose(&[1, 2]);
    cluster.silence(&[1, 2]);
    assert_eq!(cluster.view().0, -1, "the topic's own word counts");
}
