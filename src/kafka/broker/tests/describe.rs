//! What a node says of itself, its versions, its properties and its topics.

use super::*;
use crate::wire::ErrorCode;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
    create_partitions_request::CreatePartitionsTopic,
};

const NONE: i16 = ErrorCode::NONE.0;

fn versions(response: ResponseKind) -> ApiVersionsResponse {
    match response {
        ResponseKind::ApiVersions(response) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_zero_and_the_connection_goes_on() {
    let mut node = Node::start(&[]);
    let mut bytes = BytesMut::new();
    // Version 99, correlation id 9, and a header and body that nobody knows.
    bytes.put_slice(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 9, 1, 2, 3]);
    node.send(bytes.freeze());
    let answer = node.frame().unwrap();
    let (correlation_id, response) = frame::decode_response(answer, ApiKey::ApiVersions, 0).unwrap();
    let response = versions(response);
    assert_eq!(
        (correlation_id, response.error_code),
        (9, ErrorCode::UNSUPPORTED_VERSION.0)
    );
    let [own] = &response.api_keys[..] else {
        panic!("{response:?}")
    };
    assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("a-client"))
        .with_client_software_version(text("1.0"));
    assert_eq!(versions(node.ask(request)).error_code, NONE);
}

#[test]
fn the_table_is_what_is_advertised() {
    let mut node = Node::start(&[]);
    let response = versions(node.ask_in(0, ApiVersionsRequest::default()));
    let rows: Vec<_> = response
        .api_keys
        .iter()
        .map(|row| (row.api_key, row.min_version, row.max_version))
        .collect();
    let table: Vec<_> = api::APIS
        .iter()
        .map(|row| (row.key as i16, row.advertised_min, row.max))
        .collect();
    assert_eq!(rows, table);
    assert_eq!(rows[0], (0, 0, 12), "Produce from 0, or librdkafka does not compress");
    let odd = ApiVersionsRequest::default()
        .with_client_software_name(text("a client\n"))
        .with_client_software_version(text("1.0"));
    assert_eq!(versions(node.ask(odd)).error_code, ErrorCode::INVALID_REQUEST.0);
}

#[test]
fn what_is_not_served_closes_the_connection() {
    for (key, version) in [(11, 5), (1, 3), (0, 2), (0, 13), (999, 0)] {
        let mut node = Node::start(&[]);
        let mut bytes = BytesMut::new();
        bytes.put_i32(10);
        bytes.put_i16(key);
        bytes.put_i16(version);
        bytes.put_slice(&[0; 6]);
        node.send(bytes.freeze());
        assert_eq!(
            (node.closed.clone(), node.frame()),
            (vec![CLIENT], None),
            "{key} {version}"
        );
    }
}

#[test]
fn the_cluster_is_described_to_who_asks_for_brokers() {
    let mut node = Node::start(&[]);
    let mut ask = |endpoint_type| {
        let ResponseKind::DescribeCluster(response) =
            node.ask(DescribeClusterRequest::default().with_endpoint_type(endpoint_type))
        else {
            panic!("another answer")
        };
        (
            ErrorCode(response.error_code),
            response.brokers.len(),
            response.controller_id.0,
        )
    };
    assert_eq!(ask(1), (ErrorCode::NONE, 1, 1));
    assert_eq!(ask(2).0, ErrorCode::MISMATCHED_ENDPOINT_TYPE);
    assert_eq!(ask(3).0, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE);
}

fn describe(node: &mut Node, kind: i8, resource: &str, keys: &[&str]) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys((!keys.is_empty()).then(|| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let ResponseKind::DescribeConfigs(mut response) = node.ask(request) else {
        panic!("another answer")
    };
    response.results.remove(0)
}

/// Value, source, and the synonyms with theirs.
fn shown(entry: &DescribeConfigsResourceResult) -> (String, i8, Vec<(String, String, i8)>) {
    let value = |value: &Option<StrBytes>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    let synonyms = entry.synonyms.iter();
    let synonyms = synonyms.map(|synonym| (synonym.name.to_string(), value(&synonym.value), synonym.source));
    (value(&entry.value), entry.config_source, synonyms.collect())
}

fn replace(node: &mut Node, kind: i8, resource: &str, configs: &[(&str, &str)], validate_only: bool) -> ErrorCode {
    let configs = configs.iter().map(|(name, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configs(configs.collect());
    let request = AlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let ResponseKind::AlterConfigs(response) = node.ask(request) else {
        panic!("another answer")
    };
    ErrorCode(response.responses[0].error_code)
}

#[test]
fn a_property_says_who_has_set_it() {
    let mut node = Node::start(&[("log.retention.ms", "5")]);
    node.create("t", &[("retention.ms", "7")]);
    let own = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    let (node_says, default) = (own("log.retention.ms", "5", 4), own("log.retention.ms", "604800000", 5));
    let described = describe(&mut node, 2, "t", &["retention.ms"]);
    let topic_says = own("retention.ms", "7", 1);
    assert_eq!(
        shown(&described.configs[0]),
        ("7".into(), 1, vec![topic_says, node_says.clone(), default.clone()])
    );
    assert!(!described.configs[0].read_only && described.configs[0].config_type == 5);

    assert_eq!(
        replace(&mut node, 4, "", &[("log.retention.ms", "6")], false),
        ErrorCode::NONE
    );
    assert_eq!(
        replace(&mut node, 2, "t", &[("segment.ms", "9")], false),
        ErrorCode::NONE
    );
    let described = describe(&mut node, 2, "t", &["retention.ms"]);
    let cluster_says = own("log.retention.ms", "6", 3);
    let said = vec![cluster_says.clone(), node_says.clone(), default.clone()];
    assert_eq!(
        shown(&described.configs[0]),
        ("6".into(), 3, said.clone()),
        "AlterConfigs takes the rest away"
    );
    assert_eq!(
        shown(&describe(&mut node, 4, "", &[]).configs[0]),
        ("6".into(), 3, vec![cluster_says])
    );
    let of_node = describe(
        &mut node,
        4,
        "1",
        &["log.retention.ms", "broker.session.timeout.ms", "node.id"],
    );
    let find = |name: &str| {
        of_node
            .configs
            .iter()
            .find(|entry| entry.name.as_str() == name)
            .unwrap()
    };
    assert_eq!(shown(find("log.retention.ms")), ("6".into(), 3, said));
    assert!(!find("log.retention.ms").read_only && find("broker.session.timeout.ms").read_only);
    assert_eq!(shown(find("node.id")).0, "1");
}

#[test]
fn what_cannot_be_described_or_altered_is_refused() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    let code = |kind, name, node: &mut Node| ErrorCode(describe(node, kind, name, &[]).error_code);
    assert_eq!(code(2, "x", &mut node), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(code(2, "x y", &mut node), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(code(4, "2", &mut node), ErrorCode::INVALID_REQUEST);
    assert_eq!(code(8, "1", &mut node), ErrorCode::INVALID_REQUEST);
    let set = [("compression.type", "gzip")];
    assert_eq!(replace(&mut node, 2, "t", &set, false), ErrorCode::INVALID_CONFIG);
    let fixed = [("broker.session.timeout.ms", "1")];
    assert_eq!(replace(&mut node, 4, "", &fixed, false), ErrorCode::INVALID_REQUEST);
    assert_eq!(
        replace(&mut node, 2, "t", &[("retention.ms", "1")], true),
        ErrorCode::NONE
    );
    let described = describe(&mut node, 2, "t", &["retention.ms"]);
    assert_eq!(described.configs[0].config_source, 5, "it was only tried");
}

/// Name, error and partitions of each topic, and where the next page begins.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn page(node: &mut Node, topics: &[&str], cursor: Option<(&str, i32)>, limit: i32) -> Page {
    let topics = topics
        .iter()
        .map(|topic| TopicRequest::default().with_name(name(topic)));
    let cursor = cursor.map(|(topic, partition)| {
        Cursor::default()
            .with_topic_name(name(topic))
            .with_partition_index(partition)
    });
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics.collect())
        .with_cursor(cursor)
        .with_response_partition_limit(limit);
    let ResponseKind::DescribeTopicPartitions(response) = node.ask(request) else {
        panic!("another answer")
    };
    let topics = response.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        (
            topic.name.as_ref().unwrap().to_string(),
            topic.error_code,
            indexes.collect(),
        )
    });
    let next = response
        .next_cursor
        .map(|next| (next.topic_name.to_string(), next.partition_index));
    (topics.collect(), next)
}

#[test]
fn topics_come_page_by_page() {
    let mut node = Node::start(&[]);
    for topic in ["a", "b", "c"] {
        node.create(topic, &[]);
    }
    let grow = CreatePartitionsTopic::default()
        .with_name(name("b"))
        .with_count(3)
        .with_assignments(None);
    node.ask(CreatePartitionsRequest::default().with_topics(vec![grow]));
    let of = |topic: &str, partitions: &[i32]| (topic.to_owned(), NONE, partitions.to_vec());
    let next = |topic: &str, partition| Some((topic.to_owned(), partition));
    let all = vec![of("a", &[0]), of("b", &[0, 1, 2]), of("c", &[0])];
    assert_eq!(page(&mut node, &[], None, 100), (all, None));
    assert_eq!(page(&mut node, &[], None, 1), (vec![of("a", &[0])], next("b", 0)));
    assert_eq!(
        page(&mut node, &[], None, 3),
        (vec![of("a", &[0]), of("b", &[0, 1])], next("b", 2))
    );
    let rest = vec![of("b", &[2]), of("c", &[0])];
    assert_eq!(page(&mut node, &[], Some(("b", 2)), 3), (rest, None));
    let unknown = ("x".to_owned(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, vec![]);
    assert_eq!(
        page(&mut node, &["x", "c"], None, 3),
        (vec![of("c", &[0]), unknown], None)
    );
    let refused = ("c".to_owned(), ErrorCode::INVALID_REQUEST.0, vec![]);
    assert_eq!(
        page(&mut node, &["c"], Some(("b", 0)), 3),
        (vec![refused.clone()], None)
    );
    assert_eq!(page(&mut node, &["c"], Some(("c", -1)), 3), (vec![refused], None));
}

#[test]
fn who_asks_hears_what_it_may_do() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    let mut ask = |asks| {
        let request = MetadataRequest::default()
            .with_include_cluster_authorized_operations(asks)
            .with_include_topic_authorized_operations(asks);
        let ResponseKind::Metadata(response) = node.ask_in(8, request.with_topics(None)) else {
            panic!("another answer")
        };
        let of_topic = response.topics[0].topic_authorized_operations;
        (response.cluster_authorized_operations, of_topic)
    };
    assert_eq!(ask(false), (i32::MIN, i32::MIN));
    assert_eq!(ask(true), (8_096, 3_576), "every operation that Kafka knows of them");
}
