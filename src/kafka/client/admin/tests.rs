//! An administrator against brokers that answer as a test says.

use super::*;
use crate::client::testing::{Bench, Seen, bootstrap, topic_name};
use kafka_protocol::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

fn bench(settings: &[(&str, &str)]) -> Bench<Admin> {
    let mut config = AdminConfig::new("a", bootstrap());
    for (name, value) in settings {
        config.set(name, value).expect("a good setting");
    }
    Bench::new(Admin::new(config, Entropy(1)))
}

fn create(bench: &mut Bench<Admin>, assignment: Vec<Vec<i32>>) {
    bench.op(Op::CreateTopic {
        op: 7,
        name: "t".to_owned(),
        partitions: 3,
        replication_factor: 2,
        configs: vec![("min.insync.replicas".to_owned(), "2".to_owned())],
        assignment,
    });
}

fn created(error: ErrorCode) -> CreateTopicsResponse {
    let topic = CreatableTopicResult::default()
        .with_name(topic_name("t"))
        .with_error_code(error.code());
    CreateTopicsResponse::default().with_topics(vec![topic])
}

fn deleted(error: ErrorCode, low_watermark: Offset) -> DeleteRecordsResponse {
    let partition = DeleteRecordsPartitionResult::default()
        .with_partition_index(1)
        .with_error_code(error.code())
        .with_low_watermark(low_watermark);
    let topic = DeleteRecordsTopicResult::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    DeleteRecordsResponse::default().with_topics(vec![topic])
}

/// `op code`, with the low watermark where there is one.
fn told(bench: &mut Bench<Admin>) -> Vec<String> {
    let told = bench.notes().into_iter().map(|note| match note {
        ClientNote::AdminAnswered {
            op,
            error_code,
            low_watermark,
            ..
        } => match low_watermark {
            Some((partition, offset)) => format!("{op} {error_code} {partition}:{offset}"),
            None => format!("{op} {error_code}"),
        },
        other => panic!("an administrator says {other:?}"),
    });
    told.collect()
}

fn creatable(seen: &Seen) -> CreatableTopic {
    let RequestKind::CreateTopics(create) = &seen.request.body else {
        panic!("CreateTopics expected")
    };
    create.topics[0].clone()
}

#[test]
fn a_topic_is_created_by_any_broker() {
    let mut bench = bench(&[]);
    create(&mut bench, Vec::new());
    let seen = bench.one();
    let topic = creatable(&seen);
    assert_eq!((topic.num_partitions, topic.replication_factor), (3, 2));
    assert_eq!(topic.configs[0].value.as_deref(), Some("2"));
    bench.answer(&seen, created(ErrorCode::NONE));
    assert_eq!(told(&mut bench), ["7 0"]);
    assert_eq!(bench.machine.unsettled(), 0);
}

#[test]
fn an_assignment_takes_the_place_of_numbers() {
    let mut bench = bench(&[]);
    create(&mut bench, vec![vec![1, 2], vec![3, 1]]);
    let topic = creatable(&bench.one());
    assert_eq!((topic.num_partitions, topic.replication_factor), (-1, -1));
    let second = &topic.assignments[1];
    assert_eq!(
        (second.partition_index, second.broker_ids.as_slice()),
        (1, &[BrokerId(3), BrokerId(1)][..])
    );
}

#[test]
fn without_controller_it_is_tried_again() {
    let mut bench = bench(&[]);
    create(&mut bench, Vec::new());
    let seen = bench.one();
    bench.answer(&seen, created(ErrorCode::NOT_CONTROLLER));
    assert!(bench.seen().is_empty() && told(&mut bench).is_empty());
    bench.advance(150);
    let seen = bench.one();
    bench.lose(seen.broker);
    bench.advance(500);
    let seen = bench.one();
    bench.answer(&seen, created(ErrorCode::TOPIC_ALREADY_EXISTS));
    assert_eq!(told(&mut bench), ["7 36"], "perhaps by the attempt that was lost");
}

#[test]
fn the_controllers_answer_is_final_also_where_its_code_is_retriable() {
    let mut bench = bench(&[]);
    create(&mut bench, Vec::new());
    let seen = bench.one();
    bench.answer(&seen, created(ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!(told(&mut bench), ["7 7"]);
}

#[test]
fn giving_up_is_told_as_no_answer() {
    let mut bench = bench(&[("default.api.timeout.ms", "5000"), ("request.timeout.ms", "60000")]);
    create(&mut bench, Vec::new());
    let seen = bench.one();
    bench.advance(5_000);
    assert_eq!(told(&mut bench), ["7 -1"]);
    bench.answer(&seen, created(ErrorCode::NONE));
    assert!(told(&mut bench).is_empty(), "told once");
}

#[test]
fn giving_up_between_attempts_tells_the_last_answer() {
    let mut bench = bench(&[("default.api.timeout.ms", "90"), ("retry.backoff.ms", "1000")]);
    create(&mut bench, Vec::new());
    let seen = bench.one();
    bench.answer(&seen, created(ErrorCode::NOT_CONTROLLER));
    bench.advance(100);
    assert_eq!(told(&mut bench), ["7 41"]);
}

#[test]
fn a_refusal_does_not_hide_an_attempt_that_was_lost() {
    let mut bench = bench(&[
        ("default.api.timeout.ms", "2300"),
        ("retry.backoff.ms", "1000"),
        ("retry.backoff.max.ms", "9000"),
    ]);
    create(&mut bench, Vec::new());
    let lost = bench.one();
    bench.lose(lost.broker);
    bench.advance(1_250);
    let seen = bench.one();
    bench.answer(&seen, created(ErrorCode::NOT_CONTROLLER));
    bench.advance(1_050);
    assert!(bench.seen().is_empty(), "no third attempt was made");
    assert_eq!(told(&mut bench), ["7 -1"]);
}

#[test]
fn records_are_deleted_at_the_leader_wherever_it_goes() {
    let mut bench = bench(&[]);
    bench.op(Op::DeleteRecords {
        op: 1,
        topic: "t".to_owned(),
        partition: 1,
        before: 40,
    });
    let seen = bench.one();
    assert_eq!(seen.broker, 2);
    bench.lead(1, 3, 6);
    bench.answer(&seen, deleted(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    bench.advance(500);
    let seen = bench.one();
    assert_eq!(seen.broker, 3);
    bench.answer(&seen, deleted(ErrorCode::NONE, 40));
    assert_eq!(told(&mut bench), ["1 0 1:40"]);
}

#[test]
fn a_final_error_of_a_leader_is_told() {
    let mut bench = bench(&[]);
    bench.op(Op::DeleteRecords {
        op: 1,
        topic: "t".to_owned(),
        partition: 1,
        before: 4_000,
    });
    let seen = bench.one();
    bench.answer(&seen, deleted(ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(told(&mut bench), ["1 1"]);
}

#[test]
fn an_election_that_is_not_needed_is_an_answer() {
    let mut bench = bench(&[]);
    bench.op(Op::ElectLeaders {
        op: 3,
        unclean: true,
        topic: "t".to_owned(),
        partition: 0,
    });
    let seen = bench.one();
    let RequestKind::ElectLeaders(elect) = &seen.request.body else {
        panic!("ElectLeaders expected")
    };
    assert_eq!(elect.election_type, 1);
    let partition = PartitionResult::default().with_error_code(ErrorCode::ELECTION_NOT_NEEDED.code());
    let result = ReplicaElectionResult::default()
        .with_topic(topic_name("t"))
        .with_partition_result(vec![partition]);
    bench.answer(
        &seen,
        ElectLeadersResponse::default().with_replica_election_results(vec![result]),
    );
    assert_eq!(told(&mut bench), ["3 84"]);
}

#[test]
fn every_operation_has_a_request_that_brokers_serve() {
    let topic = || "t".to_owned();
    let ops = [
        Op::DeleteTopic { op: 1, name: topic() },
        Op::CreatePartitions {
            op: 2,
            name: topic(),
            count: 5,
        },
        Op::AlterConfig {
            op: 3,
            topic: topic(),
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
        },
        Op::AlterConfig {
            op: 4,
            topic: topic(),
            name: "retention.ms".to_owned(),
            value: None,
        },
        Op::Reassign {
            op: 5,
            topic: topic(),
            partition: 1,
            replicas: Some(vec![3, 1]),
        },
    ];
    for op in ops {
        let mut bench = bench(&[]);
        bench.op(op);
        let seen = bench.one();
        match &seen.request.body {
            RequestKind::DeleteTopics(body) => assert_eq!(body.topics[0].name, Some(topic_name("t"))),
            RequestKind::CreatePartitions(body) => assert_eq!(body.topics[0].count, 5),
            RequestKind::IncrementalAlterConfigs(body) => {
                let config = &body.resources[0].configs[0];
                let set = config.value.is_some();
                assert_eq!(config.config_operation, if set { SET } else { DELETE });
            }
            RequestKind::AlterPartitionReassignments(body) => {
                let partition = &body.topics[0].partitions[0];
                assert_eq!(partition.replicas, Some(vec![BrokerId(3), BrokerId(1)]));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut bench = bench(&[]);
    bench.op(Op::DescribeMetadata { op: 5, topic: None });
    assert_eq!(told(&mut bench), ["5 0"]);
}
