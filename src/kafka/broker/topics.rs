//! What clients may expect of topics: that a name which is asked for comes into being, and that what the controller has
//! decided for them can be seen here.
//!
//! Guarantees: a name is asked of the controller by one request of this broker at a time; an answer of the controller
//! that this broker passes on leaves when its own Metadata shows what it says, or after [`SHOWN_WITHIN_MS`] at the
//! latest, since a broker that is cut off from the quorum does not learn it.
//! Does not know: who decides. A creation that fails is asked for again by the client's next Metadata request.
//!
//! Sources: `DefaultAutoTopicCreationManager`, `KafkaApis.getTopicMetadata`; KIP-361 (clients that do not want it).

use super::Broker;
use crate::config::Settings;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::MetadataImage;
use crate::types::{Nanos, Now, RequestId, flaw_of_topic_name};
use crate::wire::api;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, MetadataRequest, RequestKind, ResponseKind, TopicName};
use std::collections::BTreeMap;

/// Longest that a decision of the controller is kept from its client. Most are applied here within a fetch.
const SHOWN_WITHIN_MS: u64 = 1_000;
/// `request.timeout.ms` of the request that creates topics.
const TIMEOUT_MS: i32 = 30_000;

/// What Metadata must show of a topic: this many partitions at least, or nothing for none.
type Expected = (TopicName, i32);

/// What is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    /// Names that this broker has asked the controller to create, by the request.
    creating: BTreeMap<RequestId, Vec<TopicName>>,
    /// Answers that say what this broker does not know yet.
    early: Vec<Early>,
}

#[derive(Clone, Debug)]
struct Early {
    id: RequestId,
    response: ResponseKind,
    expected: Vec<Expected>,
    until: Nanos,
}

/// What a request changes that its client will look for.
pub(super) fn expected(request: &RequestKind) -> Vec<Expected> {
    match request {
        RequestKind::CreateTopics(request) if !request.validate_only => {
            request.topics.iter().map(|topic| (topic.name.clone(), 1)).collect()
        }
        RequestKind::CreatePartitions(request) if !request.validate_only => {
            let topics = request.topics.iter();
            topics.map(|topic| (topic.name.clone(), topic.count)).collect()
        }
        RequestKind::DeleteTopics(request) => {
            let newer = request.topics.iter().filter_map(|topic| topic.name.clone());
            request
                .topic_names
                .iter()
                .cloned()
                .chain(newer)
                .map(|name| (name, 0))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn succeeded(response: &ResponseKind, name: &TopicName) -> bool {
    match response {
        ResponseKind::CreateTopics(response) => {
            let mut topics = response.topics.iter();
            topics.any(|topic| topic.name == *name && topic.error_code == 0)
        }
        ResponseKind::CreatePartitions(response) => {
            let mut topics = response.results.iter();
            topics.any(|topic| topic.name == *name && topic.error_code == 0)
        }
        ResponseKind::DeleteTopics(response) => {
            let mut topics = response.responses.iter();
            topics.any(|topic| topic.name.as_ref() == Some(name) && topic.error_code == 0)
        }
        _ => false,
    }
}

fn is_shown((name, partitions): &Expected, image: &MetadataImage) -> bool {
    let shown = image.topic(name).map_or(0, |topic| topic.partitions.len() as i32);
    if *partitions == 0 {
        shown == 0
    } else {
        shown >= *partitions
    }
}

impl Topics {
    /// The controller's answer to a request of which [`expected`] was asked; sent now or when it is true here.
    pub fn answer(
        &mut self,
        id: RequestId,
        response: ResponseKind,
        mut expected: Vec<Expected>,
        image: &MetadataImage,
        now: Now,
        out: &mut Outbox,
    ) {
        expected.retain(|topic| succeeded(&response, &topic.0) && !is_shown(topic, image));
        if expected.is_empty() {
            out.reply(id, response);
        } else {
            let until = now.mono.plus_ms(SHOWN_WITHIN_MS);
            self.early.push(Early {
                id,
                response,
                expected,
                until,
            });
        }
    }

    /// Sends what has become true, and what has waited long enough.
    pub fn release(&mut self, image: &MetadataImage, now: Now, out: &mut Outbox) {
        let waits =
            |early: &Early| early.until > now.mono && !early.expected.iter().all(|topic| is_shown(topic, image));
        for early in self.early.extract_if(.., |early| !waits(early)) {
            out.reply(early.id, early.response);
        }
    }

    /// When [`Topics::release`] has something to do at the latest.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.early.iter().map(|early| early.until).min()
    }

    /// This request has its answer, or will have none.
    pub fn finished(&mut self, id: RequestId) {
        self.creating.remove(&id);
    }

    /// The request that creates what was asked for and does not exist, if there is such, and nobody creates it yet.
    fn missing(&self, request: &MetadataRequest, image: &MetadataImage, settings: &Settings) -> Vec<TopicName> {
        if settings.auto_create_topics_enable == 0 || !request.allow_auto_topic_creation {
            return Vec::new();
        }
        let asked = request.topics.iter().flatten().filter(|topic| topic.topic_id.is_nil());
        let mut names: Vec<TopicName> = asked.filter_map(|topic| topic.name.clone()).collect();
        names.retain(|name| {
            image.topic(name).is_none()
                && flaw_of_topic_name(name).is_none()
                && !self.creating.values().flatten().any(|other| other == name)
        });
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Broker {
    /// Creates what a client asked for and does not exist. The client hears that it is unknown, and asks again.
    pub(super) fn create_missing(
        &mut self,
        request: &MetadataRequest,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let settings = &self.config.settings;
        let names = self.topics.missing(request, &self.image, settings);
        if names.is_empty() || self.serving.is_none() {
            return Ok(());
        }
        let topics = names.iter().map(|name| {
            CreatableTopic::default()
                .with_name(name.clone())
                .with_num_partitions(settings.num_partitions as i32)
                .with_replication_factor(settings.default_replication_factor as i16)
        });
        let create = CreateTopicsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(TIMEOUT_MS);
        let id = self.listener.own_request();
        self.topics.creating.insert(id, names);
        self.decide_or_forward(id, api::newest(ApiKey::CreateTopics), create.into(), now, disk, out)
    }
}
