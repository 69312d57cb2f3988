//! DescribeConfigs: what a property's value is, and who has said so.
//!
//! ```text
//!   topic's own ▸ cluster's (changed while it runs) ▸ this node's (at its start) ▸ default
//! ```
//!
//! Guarantees: the value is the one that this node goes by; synonyms are all that have a say, the strongest first. A
//! node's property is read-only unless it is a default of topics, which the cluster can change.
//! Does not know: documentation of properties (null, as Kafka sends where it is not asked for).
//!
//! Sources: KIP-133, KIP-226 (sources and synonyms), KIP-569 (types); `ConfigHelper`.

use crate::config::{DEFAULTS_OF_TOPICS, NodeConfig, Settings, TopicConfig, Voter};
use crate::metadata::MetadataImage;
use crate::types::flaw_of_topic_name;
use crate::wire::error::ErrorCode;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult as Entry, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

/// Kafka's `ConfigSource`.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_CLUSTER: i8 = 3;
const SOURCE_NODE: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Kafka's `ConfigType`.
const TYPE_BOOLEAN: i8 = 1;
const TYPE_STRING: i8 = 2;
const TYPE_INT: i8 = 3;
const TYPE_LONG: i8 = 5;
const TYPE_LIST: i8 = 7;

/// Who says what of one property, the strongest first: name, value, source.
type Sayings = Vec<(String, String, i8)>;

/// Answers for topics, for the cluster's defaults, and for this node.
pub fn describe(request: &DescribeConfigsRequest, image: &MetadataImage, node: &NodeConfig) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(resource, image, node) {
            Ok(mut entries) => {
                if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
                    entries.retain(|entry| keys.contains(&entry.name));
                }
                if !request.include_synonyms {
                    entries.iter_mut().for_each(|entry| entry.synonyms.clear());
                }
                result.with_error_message(None).with_configs(entries)
            }
            Err((code, message)) => result
                .with_error_code(code.0)
                .with_error_message(Some(StrBytes::from_string(message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    resource: &DescribeConfigsResource,
    image: &MetadataImage,
    node: &NodeConfig,
) -> Result<Vec<Entry>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    let own_id = node.node_id.to_string();
    match resource.resource_type {
        RESOURCE_TOPIC => match (flaw_of_topic_name(name), image.topic(name)) {
            (Some(why), _) => {
                let message = format!("Topic name is invalid: {why}");
                Err((ErrorCode::INVALID_TOPIC_EXCEPTION, message))
            }
            (None, None) => Err((
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("There is no topic {name}."),
            )),
            (None, Some(_)) => Ok(of_topic(name, image, &node.settings)),
        },
        RESOURCE_BROKER if name.is_empty() => Ok(of_cluster(image)),
        RESOURCE_BROKER if name == own_id => Ok(of_node(image, node)),
        RESOURCE_BROKER => {
            let message = format!("Unexpected broker id, expected {own_id} or empty string, but received {name}");
            Err((ErrorCode::INVALID_REQUEST, message))
        }
        other => Err((
            ErrorCode::INVALID_REQUEST,
            format!("Unsupported resource type: {other}"),
        )),
    }
}

/// What the cluster, the node's start and the default say of a node's property.
fn sayings(name: &str, image: &MetadataImage, settings: &Settings) -> Sayings {
    let mut sayings = Sayings::new();
    let is_dynamic = DEFAULTS_OF_TOPICS.iter().any(|(_, node)| *node == name);
    if let Some(value) = image.configs.get("").and_then(|cluster| cluster.get(name))
        && is_dynamic
    {
        sayings.push((name.to_owned(), value.clone(), SOURCE_CLUSTER));
    }
    let (ours, default) = (settings.text(name), Settings::default().text(name));
    if let Some(ours) = ours.filter(|ours| Some(ours) != default.as_ref()) {
        sayings.push((name.to_owned(), ours, SOURCE_NODE));
    }
    sayings.extend(default.map(|default| (name.to_owned(), default, SOURCE_DEFAULT)));
    sayings
}

fn of_topic(topic: &str, image: &MetadataImage, settings: &Settings) -> Vec<Entry> {
    let own = image.configs.get(topic);
    let config = TopicConfig::in_cluster(settings, &image.configs, own);
    let describe = |name: &&'static str| {
        let value = config.text(name).expect("a name of the list");
        let default = DEFAULTS_OF_TOPICS.iter().find(|(topic, _)| topic == name);
        let mut said = default.map_or_else(Sayings::new, |(_, node)| sayings(node, image, settings));
        if own.is_some_and(|own| own.contains_key(*name)) {
            said.insert(0, ((*name).to_owned(), value.clone(), SOURCE_TOPIC));
        }
        let kind = kind(TopicConfig::words(name), TopicConfig::limits(name));
        entry(name, Some(value), said, kind)
    };
    TopicConfig::NAMES.iter().map(describe).collect()
}

fn of_cluster(image: &MetadataImage) -> Vec<Entry> {
    let cluster = image.configs.get("").into_iter().flatten();
    let describe = |(name, value): (&String, &String)| {
        let said = vec![(name.clone(), value.clone(), SOURCE_CLUSTER)];
        let kind = kind(Settings::words(name), Settings::limits(name));
        entry(name, Some(value.clone()), said, kind)
    };
    cluster.map(describe).collect()
}

fn of_node(image: &MetadataImage, node: &NodeConfig) -> Vec<Entry> {
    let describe = |name: &&'static str| {
        let said = sayings(name, image, &node.settings);
        let kind = kind(Settings::words(name), Settings::limits(name));
        let is_dynamic = DEFAULTS_OF_TOPICS.iter().any(|(_, node)| node == name);
        let value = said.first().map(|(_, value, _)| value.clone());
        entry(name, value, said, kind).with_read_only(!is_dynamic)
    };
    let fixed = |name: &str, value: Option<String>, kind: i8| {
        let said = value.iter().map(|value| (name.to_owned(), value.clone(), SOURCE_NODE));
        entry(name, value.clone(), said.collect(), kind).with_read_only(true)
    };
    let mut entries: Vec<Entry> = Settings::NAMES.iter().map(describe).collect();
    entries.push(fixed("node.id", Some(node.node_id.to_string()), TYPE_INT));
    entries.push(fixed("broker.id", Some(node.node_id.to_string()), TYPE_INT));
    entries.push(fixed("broker.rack", node.rack.clone(), TYPE_STRING));
    let listener = format!("PLAINTEXT://{}:{}", node.host, node.port);
    entries.push(fixed("advertised.listeners", Some(listener), TYPE_STRING));
    let roles = [("broker", node.is_broker), ("controller", node.is_controller)];
    let roles: Vec<&str> = roles.iter().filter(|(_, has)| *has).map(|(role, _)| *role).collect();
    entries.push(fixed("process.roles", Some(roles.join(",")), TYPE_LIST));
    let voter = |voter: &Voter| format!("{}@{}:{}", voter.id, voter.host, voter.port);
    let voters: Vec<String> = node.voters.iter().map(voter).collect();
    entries.push(fixed("controller.quorum.voters", Some(voters.join(",")), TYPE_LIST));
    entries
}

fn kind(words: &[&str], limits: Option<(i64, i64)>) -> i8 {
    match (words, limits) {
        (["false", "true"], _) => TYPE_BOOLEAN,
        ([_, ..], _) => TYPE_STRING,
        (_, Some((_, most))) if most <= i64::from(i32::MAX) => TYPE_INT,
        _ => TYPE_LONG,
    }
}

fn entry(name: &str, value: Option<String>, said: Sayings, kind: i8) -> Entry {
    let source = said.first().map_or(SOURCE_DEFAULT, |(_, _, source)| *source);
    let synonyms = said.into_iter().map(|(name, value, source)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_source(source)
    });
    Entry::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(value.map(StrBytes::from_string))
        .with_config_source(source)
        .with_config_type(kind)
        .with_documentation(None)
        .with_synonyms(synonyms.collect())
}
