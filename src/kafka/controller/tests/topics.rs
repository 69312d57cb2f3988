//! Topics and partitions.

use super::*;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;

fn by_count(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

fn code_of(cluster: &mut Cluster, topic: CreatableTopic) -> E {
    E(cluster.create_topics(vec![topic], false)[0].error_code)
}

#[test]
fn a_topic_is_created_whole() {
    let mut cluster = Cluster::of_three();
    let results = cluster.create_topics(vec![by_count("new", 6, 2)], false);
    let result = &results[0];
    assert_eq!(
        (result.error_code, result.num_partitions, result.replication_factor),
        (0, 6, 2)
    );
    assert_eq!(result.topic_id, cluster.mirror.topic_ids["new"]);
    assert_eq!(result.topic_id.get_version_num(), 4);
    let topic = cluster.mirror.topic("new").unwrap();
    assert_eq!(topic.partitions.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for state in topic.partitions.values() {
        assert_eq!(state.leader, Some(state.replicas[0]));
        assert_eq!((&state.isr, state.elr.len()), (&state.replicas, 0));
        assert_eq!((state.leader_epoch.0, state.partition_epoch.0), (0, 0));
    }
    let leads = |id| {
        topic
            .partitions
            .values()
            .filter(|state| state.leader == Some(NodeId(id)))
            .count()
    };
    assert_eq!((leads(1), leads(2), leads(3)), (2, 2, 2), "spread evenly");
    assert!(result.configs.as_ref().unwrap().iter().any(|config| {
        config.name.as_str() == "unclean.leader.election.enable" && config.value == Some(text("false"))
    }));
}

#[test]
fn defaults_come_from_the_settings() {
    let settings = Settings {
        num_partitions: 3,
        default_replication_factor: 2,
        ..settings()
    };
    let mut cluster = Cluster::new(Rules::NONE, &settings);
    cluster.start(1, -1);
    cluster.start(2, -1);
    assert_eq!(code_of(&mut cluster, by_count("d", -1, -1)), E::NONE);
    let topic = cluster.mirror.topic("d").unwrap();
    assert_eq!((topic.partitions.len(), topic.partitions[&0].replicas.len()), (3, 2));
}

#[test]
fn validate_only_writes_nothing() {
    let mut cluster = Cluster::of_three();
    let results = cluster.create_topics(vec![by_count("new", 2, 2), by_count("t", 1, 1)], true);
    assert_eq!(
        (results[0].error_code, results[1].error_code),
        (0, E::TOPIC_ALREADY_EXISTS.0)
    );
    assert_eq!(cluster.last, []);
    assert!(!cluster.mirror.topic_ids.contains_key("new"));
}

#[test]
fn names_are_checked() {
    let mut cluster = Cluster::of_three();
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "ä", "a/b", &long] {
        assert_eq!(
            code_of(&mut cluster, by_count(name, 1, 1)),
            E::INVALID_TOPIC_EXCEPTION,
            "{name}"
        );
    }
    assert_eq!(code_of(&mut cluster, by_count(&long[1..], 1, 1)), E::NONE);
    assert_eq!(code_of(&mut cluster, by_count("t", 1, 1)), E::TOPIC_ALREADY_EXISTS);
    assert_eq!(
        code_of(&mut cluster, by_count("__cluster_metadata", 1, 1)),
        E::INVALID_REQUEST
    );
    assert_eq!(code_of(&mut cluster, by_count("a.b", 1, 1)), E::NONE);
    assert_eq!(
        code_of(&mut cluster, by_count("a_b", 1, 1)),
        E::INVALID_TOPIC_EXCEPTION,
        "collides"
    );
    assert_eq!(code_of(&mut cluster, by_count("axb", 1, 1)), E::NONE);
    let twice = cluster.create_topics(
        vec![by_count("w", 1, 1), by_count("w", 1, 1), by_count("v", 1, 1)],
        false,
    );
    let codes: Vec<i16> = twice.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [E::INVALID_REQUEST.0, 0]);
}

#[test]
fn numbers_are_checked() {
    let mut cluster = Cluster::of_three();
    assert_eq!(
        code_of(&mut cluster, by_count("n", 1, 4)),
        E::INVALID_REPLICATION_FACTOR
    );
    assert_eq!(
        code_of(&mut cluster, by_count("n", 1, 0)),
        E::INVALID_REPLICATION_FACTOR
    );
    assert_eq!(
        code_of(&mut cluster, by_count("n", 1, -2)),
        E::INVALID_REPLICATION_FACTOR
    );
    assert_eq!(code_of(&mut cluster, by_count("n", 0, 1)), E::INVALID_PARTITIONS);
    assert_eq!(code_of(&mut cluster, by_count("n", -2, 1)), E::INVALID_PARTITIONS);
    assert_eq!(code_of(&mut cluster, by_count("n", i32::MAX, 1)), E::POLICY_VIOLATION);
    assert_eq!(code_of(&mut cluster, by_count("n", 10_001, 1)), E::POLICY_VIOLATION);
    cluster.silence(&[1, 2, 3]);
    assert_eq!(
        code_of(&mut cluster, by_count("n", 1, 1)),
        E::INVALID_REPLICATION_FACTOR,
        "all are fenced"
    );
}

#[test]
fn a_fenced_replica_is_assigned_but_not_in_sync() {
    let mut cluster = Cluster::of_three();
    cluster.silence(&[2]);
    assert_eq!(code_of(&mut cluster, by_count("n", 4, 3)), E::NONE);
    for state in cluster.mirror.topic("n").unwrap().partitions.values() {
        assert!(state.replicas.contains(&NodeId(2)) && !state.isr.contains(&NodeId(2)));
        assert_eq!(state.isr.len(), 2);
    }
}

#[test]
fn assignments_by_hand_are_checked() {
    let mut cluster = Cluster::of_three();
    let refused = |cluster: &mut Cluster, replicas: &[&[i32]]| cluster.create("m", replicas, &[]);
    for replicas in [&[&[1, 1][..]][..], &[&[1, 9]], &[&[]], &[&[1, 2], &[1]], &[&[-1]]] {
        assert_eq!(
            refused(&mut cluster, replicas),
            E::INVALID_REPLICA_ASSIGNMENT,
            "{replicas:?}"
        );
    }
    let good = Cluster::topic_request("m", &[&[3, 1], &[2, 3]], &[]);
    let assignments = good.assignments.clone();
    let gap = vec![assignments[0].clone(), assignments[1].clone().with_partition_index(2)];
    let twice = vec![assignments[0].clone(), assignments[1].clone().with_partition_index(0)];
    for wrong in [gap, twice] {
        assert_eq!(
            code_of(&mut cluster, good.clone().with_assignments(wrong)),
            E::INVALID_REPLICA_ASSIGNMENT
        );
    }
    assert_eq!(
        code_of(&mut cluster, good.clone().with_num_partitions(2)),
        E::INVALID_REQUEST
    );
    assert_eq!(
        code_of(&mut cluster, good.clone().with_replication_factor(2)),
        E::INVALID_REQUEST
    );
    assert_eq!(code_of(&mut cluster, good), E::NONE);
    assert_eq!(ids(&cluster.state_of("m", 0).replicas), [3, 1]);
    assert_eq!(cluster.state_of("m", 1).leader, Some(NodeId(2)));
    cluster.silence(&[3]);
    assert_eq!(
        cluster.create("o", &[&[3]], &[]),
        E::INVALID_REPLICA_ASSIGNMENT,
        "nobody could lead"
    );
}

#[test]
fn configs_are_checked_at_creation() {
    let mut cluster = Cluster::of_three();
    assert_eq!(cluster.create("c", &[&[1]], &[("no.such", "1")]), E::INVALID_CONFIG);
    assert_eq!(
        cluster.create("c", &[&[1]], &[("min.insync.replicas", "0")]),
        E::INVALID_CONFIG
    );
    assert_eq!(
        cluster.create("c", &[&[1]], &[("min.insync.replicas", "x")]),
        E::INVALID_CONFIG
    );
    let mut null = Cluster::topic_request("c", &[&[1]], &[("min.insync.replicas", "1")]);
    null.configs[0].value = None;
    assert_eq!(code_of(&mut cluster, null), E::INVALID_CONFIG);
    assert_eq!(cluster.create("c", &[&[1]], &[("retention.ms", "5")]), E::NONE);
    assert_eq!(cluster.mirror.configs["c"]["retention.ms"], "5");
}

fn delete(cluster: &mut Cluster, topics: &[(Option<&str>, Uuid)]) -> Vec<E> {
    let state = |(name, id): &(Option<&str>, Uuid)| {
        DeleteTopicState::default()
            .with_name(name.map(topic_name))
            .with_topic_id(*id)
    };
    let request = DeleteTopicsRequest::default().with_topics(topics.iter().map(state).collect());
    let ResponseKind::DeleteTopics(response) = cluster.ask(request) else {
        panic!()
    };
    response
        .responses
        .iter()
        .map(|response| E(response.error_code))
        .collect()
}

#[test]
fn topics_are_deleted_by_name_or_id() {
    let mut cluster = Cluster::of_three();
    for name in ["u", "v", "w"] {
        cluster.create(name, &[&[1]], &[("retention.ms", "5")]);
    }
    let id = |cluster: &Cluster, name: &str| cluster.mirror.topic_ids[name];
    let (u, v) = (id(&cluster, "u"), id(&cluster, "v"));
    let codes = delete(
        &mut cluster,
        &[
            (Some("t"), Uuid::nil()),
            (None, u),
            (Some("nothing"), Uuid::nil()),
            (None, Uuid::from_u128(9)),
            (None, Uuid::nil()),
            (Some("w"), u),
            (Some("v"), Uuid::nil()),
            (None, v),
        ],
    );
    let expected = [
        E::NONE,
        E::NONE,
        E::UNKNOWN_TOPIC_OR_PARTITION,
        E::UNKNOWN_TOPIC_ID,
        E::INVALID_REQUEST,
        E::INVALID_REQUEST,
        E::INVALID_REQUEST,
    ];
    assert_eq!(codes, expected);
    let names: Vec<&String> = cluster.mirror.topic_ids.keys().collect();
    assert_eq!(names, ["v", "w"]);
    assert!(!cluster.mirror.configs.contains_key("u"));
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("w")]);
    let ResponseKind::DeleteTopics(response) = cluster.ask(request) else {
        panic!()
    };
    assert_eq!(response.responses[0].error_code, 0);
    // Again under the same name: another topic.
    assert_eq!(cluster.create("u", &[&[1]], &[]), E::NONE);
    assert_ne!(id(&cluster, "u"), u);
}

#[allow(clippy::type_complexity)] // A table, read where it is written.
fn grow(cluster: &mut Cluster, topics: &[(&str, i32, Option<&[&[i32]]>)], validate_only: bool) -> Vec<E> {
    let topic = |(name, count, assignments): &(&str, i32, Option<&[&[i32]]>)| {
        let by_hand = |ids: &&[i32]| {
            CreatePartitionsAssignment::default().with_broker_ids(ids.iter().map(|id| BrokerId(*id)).collect())
        };
        CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(*count)
            .with_assignments(assignments.map(|assignments| assignments.iter().map(by_hand).collect()))
    };
    let request = CreatePartitionsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_validate_only(validate_only);
    let ResponseKind::CreatePartitions(response) = cluster.ask(request) else {
        panic!()
    };
    response.results.iter().map(|result| E(result.error_code)).collect()
}

#[test]
fn partitions_are_added() {
    let mut cluster = Cluster::of_three();
    assert_eq!(grow(&mut cluster, &[("t", 3, None)], true), [E::NONE]);
    assert_eq!(cluster.last, []);
    assert_eq!(grow(&mut cluster, &[("t", 3, None)], false), [E::NONE]);
    assert_eq!(cluster.mirror.topic("t").unwrap().partitions.len(), 3);
    assert_eq!(
        cluster.state_of("t", 2).replicas.len(),
        3,
        "as many replicas as the first partition"
    );
    assert_eq!(grow(&mut cluster, &[("t", 4, Some(&[&[3, 2, 1]]))], false), [E::NONE]);
    assert_eq!(ids(&cluster.state_of("t", 3).replicas), [3, 2, 1]);
}

#[test]
fn partitions_that_cannot_be_added() {
    let mut cluster = Cluster::of_three();
    let one = |cluster: &mut Cluster, count, assignments| grow(cluster, &[("t", count, assignments)], false)[0];
    assert_eq!(one(&mut cluster, 1, None), E::INVALID_PARTITIONS);
    assert_eq!(one(&mut cluster, 0, None), E::INVALID_PARTITIONS);
    assert_eq!(one(&mut cluster, i32::MIN, None), E::INVALID_PARTITIONS);
    assert_eq!(one(&mut cluster, i32::MAX, None), E::POLICY_VIOLATION);
    assert_eq!(one(&mut cluster, 3, Some(&[&[1, 2, 3]])), E::INVALID_REPLICA_ASSIGNMENT);
    assert_eq!(
        one(&mut cluster, 2, Some(&[&[1, 2]])),
        E::INVALID_REPLICA_ASSIGNMENT,
        "another replication factor"
    );
    assert_eq!(one(&mut cluster, 2, Some(&[&[1, 2, 9]])), E::INVALID_REPLICA_ASSIGNMENT);
    assert_eq!(
        grow(&mut cluster, &[("x", 2, None)], false),
        [E::UNKNOWN_TOPIC_OR_PARTITION]
    );
    assert_eq!(
        grow(&mut cluster, &[("t", 2, None), ("t", 3, None)], false),
        [E::INVALID_REQUEST]
    );
    assert_eq!(cluster.mirror.topic("t").unwrap().partitions.len(), 1);
    cluster.silence(&[1, 2, 3]);
    assert_eq!(one(&mut cluster, 2, None), E::INVALID_REPLICATION_FACTOR);
}
