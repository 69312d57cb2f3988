//! The administrator: one request for each operation, retried until it has an answer or its time is over.
//!
//! ```text
//!   Op ─▶ pending ─▶ any broker (it forwards to the controller), or the partition's leader ─▶ AdminAnswered
//!            ▲                                                    │
//!            └── lost connection, NOT_CONTROLLER, throttled; ─────┘
//!                for leaders: every retriable error
//! ```
//!
//! Guarantees: every operation ends exactly once. A broker's final answer is told as it came, also after an attempt that
//! was lost (TOPIC_ALREADY_EXISTS may then mean "made by me", as in Kafka). Giving up is told as the last refusal only
//! if every attempt was refused; if one has no answer, nobody knows what became of it, and the code is -1.
//! Does not know: whether an operation makes sense.
//!
//! Sources: Kafka 4.1 `KafkaAdminClient`, `DeleteRecordsHandler`, `PartitionLeaderStrategy`; KIP-590 (forwarding).

use super::backoff::{Alarm, after_ms, delay_ms};
use super::config::AdminConfig;
use super::network::{Network, Outcome};
use super::producer::stale_metadata;
use super::{ClientInput, Op};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::note::{ClientNote, Note};
use crate::types::{Nanos, Now, Offset};
use crate::wire::ErrorCode;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest, MetadataRequest, RequestKind,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// The client gave up without knowing.
const NO_ANSWER: i16 = -1;
/// Config resource type of a topic.
const TOPIC: i8 = 2;
/// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// An administrator.
#[derive(Clone, Debug)]
pub struct Admin {
    config: AdminConfig,
    entropy: Entropy,
    network: Network,
    pending: Vec<Pending>,
    deadline: Option<Nanos>,
}

#[derive(Clone, Debug)]
struct Pending {
    op: u64,
    api: &'static str,
    topic: String,
    request: RequestKind,
    /// The leader of this partition is to be asked; else anybody.
    leader_of: Option<i32>,
    since: Nanos,
    retry_at: Nanos,
    attempts: u32,
    in_flight: Option<u64>,
    /// The answer to the last attempt that has one.
    last_error: Option<ErrorCode>,
    /// Attempts without answer. A broker may have acted on them.
    unanswered: u32,
}

/// What an answer says.
struct Answer {
    error: ErrorCode,
    low_watermark: Option<(i32, Offset)>,
}

impl Admin {
    /// Not connected; the first operation connects.
    pub fn new(config: AdminConfig, mut entropy: Entropy) -> Admin {
        let of_network = Entropy(entropy.next_u64());
        Admin {
            network: Network::new(&config.client_id, &config.bootstrap, config.network(), of_network),
            config,
            entropy,
            pending: Vec::new(),
            deadline: None,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// On an operation of another kind of client.
    pub fn step(&mut self, now: Now, input: ClientInput, out: &mut Outbox) {
        let input = match input {
            ClientInput::Net(Input::Shutdown) => {
                self.network.connections.close_all(out);
                out.outputs.push(Output::Exit {
                    reason: "administrator closed".to_owned(),
                    clean: true,
                });
                self.deadline = None;
                return;
            }
            ClientInput::Net(input) => Some(input),
            ClientInput::Op(op) => {
                let pending = self.pending_of(op, now);
                if pending.leader_of.is_some() {
                    self.network.metadata.want(&pending.topic);
                }
                self.pending.push(pending);
                None
            }
        };
        for outcome in self.network.input(input, now, out) {
            self.answered(outcome, now, out);
        }
        self.give_up(now, out);
        self.send(now, out);
        self.network.poll(now, out);
        self.deadline = self.alarms(now);
    }

    /// When the machine wants to be woken.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Operations without answer.
    pub fn unsettled(&self) -> usize {
        self.pending.len()
    }

    fn pending_of(&self, op: Op, now: Now) -> Pending {
        let timeout_ms = self.config.settings.request_timeout_ms as i32;
        let (op, api, topic, leader_of, request) = request_of(op, timeout_ms);
        Pending {
            op,
            api,
            topic,
            request,
            leader_of,
            since: now.mono,
            retry_at: Nanos(0),
            attempts: 0,
            in_flight: None,
            last_error: None,
            unanswered: 0,
        }
    }

    fn send(&mut self, now: Now, out: &mut Outbox) {
        for pending in &mut self.pending {
            if pending.in_flight.is_some() || now.mono < pending.retry_at {
                continue;
            }
            let node = match pending.leader_of {
                Some(partition) => {
                    let leader = self.network.metadata.leader(&pending.topic, partition);
                    let leader = leader.and_then(|leader| leader.leader);
                    if leader.is_none() {
                        self.network.metadata.request_update();
                    }
                    leader
                }
                None => self.network.connections.least_loaded(now),
            };
            let Some(node) = node else { continue };
            if self.network.connections.ready(node, now, out) {
                pending.attempts = pending.attempts.saturating_add(1);
                // Until its answer comes.
                pending.unanswered += 1;
                pending.in_flight = Some(self.network.send(node, &pending.request, now, out));
            }
        }
    }

    fn answered(&mut self, outcome: Outcome, now: Now, out: &mut Outbox) {
        // An operation that was given up has left nothing to answer.
        let Some(i) = self
            .pending
            .iter()
            .position(|pending| pending.in_flight == Some(outcome.tag))
        else {
            return;
        };
        let pending = &mut self.pending[i];
        pending.in_flight = None;
        let answer = outcome
            .response
            .and_then(|response| answer_of(&response, &pending.topic, pending.leader_of));
        if let Some(answer) = &answer {
            pending.last_error = Some(answer.error);
            pending.unanswered -= 1;
        }
        let error = answer
            .as_ref()
            .map_or(ErrorCode::NETWORK_EXCEPTION, |answer| answer.error);
        let again = match pending.leader_of {
            Some(_) => error.retriable(),
            // The controller's own answers are final, retriable in general or not: UNKNOWN_TOPIC_OR_PARTITION, say.
            None => matches!(
                error,
                ErrorCode::NETWORK_EXCEPTION | ErrorCode::NOT_CONTROLLER | ErrorCode::THROTTLING_QUOTA_EXCEEDED
            ),
        };
        if !again || i64::from(pending.attempts) > self.config.settings.retries {
            let pending = self.pending.remove(i);
            note(&pending, answer, out);
            return;
        }
        if stale_metadata(error) && pending.leader_of.is_some() {
            self.network.metadata.request_update();
        }
        let settings = &self.config.settings;
        let delay = delay_ms(
            settings.retry_backoff_ms,
            settings.retry_backoff_max_ms,
            pending.attempts,
            &mut self.entropy,
        );
        pending.retry_at = now.mono.plus_ms(delay);
    }

    fn give_up(&mut self, now: Now, out: &mut Outbox) {
        let timeout_ms = self.config.settings.default_api_timeout_ms;
        let late = |pending: &mut Pending| after_ms(pending.since, timeout_ms) <= now.mono;
        for pending in self.pending.extract_if(.., late).collect::<Vec<_>>() {
            let refused = pending.last_error.filter(|_| pending.unanswered == 0);
            let answer = refused.map(|error| Answer {
                error,
                low_watermark: None,
            });
            note(&pending, answer, out);
        }
    }

    fn alarms(&self, now: Now) -> Option<Nanos> {
        let mut alarm = Alarm::new(now.mono);
        self.network.alarms(&mut alarm);
        for pending in &self.pending {
            alarm.at(after_ms(pending.since, self.config.settings.default_api_timeout_ms));
            if pending.in_flight.is_none() {
                alarm.at(pending.retry_at);
            }
        }
        alarm.earliest()
    }
}

fn note(pending: &Pending, answer: Option<Answer>, out: &mut Outbox) {
    out.note(Note::Client(ClientNote::AdminAnswered {
        op: pending.op,
        error_code: answer.as_ref().map_or(NO_ANSWER, |answer| answer.error.code()),
        api: pending.api,
        topic: pending.topic.clone(),
        low_watermark: answer.and_then(|answer| answer.low_watermark),
    }));
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn brokers(ids: Vec<i32>) -> Vec<BrokerId> {
    ids.into_iter().map(BrokerId).collect()
}

/// Number, API, topic, the partition whose leader is to be asked, and the request.
fn request_of(op: Op, timeout_ms: i32) -> (u64, &'static str, String, Option<i32>, RequestKind) {
    match op {
        Op::CreateTopic {
            op,
            name: topic,
            partitions,
            replication_factor,
            configs,
            assignment,
        } => {
            let configs = configs.iter().map(|(key, value)| {
                let config = CreatableTopicConfig::default().with_name(text(key));
                config.with_value(Some(text(value)))
            });
            let manual = !assignment.is_empty();
            let assignments = assignment.into_iter().zip(0..).map(|(replicas, partition)| {
                let assignment = CreatableReplicaAssignment::default().with_partition_index(partition);
                assignment.with_broker_ids(brokers(replicas))
            });
            let creatable = CreatableTopic::default()
                .with_name(name(&topic))
                .with_num_partitions(if manual { -1 } else { partitions })
                .with_replication_factor(if manual { -1 } else { replication_factor })
                .with_assignments(assignments.collect())
                .with_configs(configs.collect());
            let request = CreateTopicsRequest::default()
                .with_topics(vec![creatable])
                .with_timeout_ms(timeout_ms);
            (op, "CreateTopics", topic, None, RequestKind::CreateTopics(request))
        }
        Op::DeleteTopic { op, name: topic } => {
            let state = DeleteTopicState::default().with_name(Some(name(&topic)));
            let request = DeleteTopicsRequest::default()
                .with_topics(vec![state])
                .with_timeout_ms(timeout_ms);
            (op, "DeleteTopics", topic, None, RequestKind::DeleteTopics(request))
        }
        Op::CreatePartitions { op, name: topic, count } => {
            let more = CreatePartitionsTopic::default()
                .with_name(name(&topic))
                .with_count(count)
                .with_assignments(None);
            let request = CreatePartitionsRequest::default()
                .with_topics(vec![more])
                .with_timeout_ms(timeout_ms);
            (
                op,
                "CreatePartitions",
                topic,
                None,
                RequestKind::CreatePartitions(request),
            )
        }
        Op::AlterConfig {
            op,
            topic,
            name: key,
            value,
        } => {
            let config = AlterableConfig::default()
                .with_name(text(&key))
                .with_config_operation(if value.is_some() { SET } else { DELETE })
                .with_value(value.as_deref().map(text));
            let resource = AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(&topic))
                .with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            let request = RequestKind::IncrementalAlterConfigs(request);
            (op, "IncrementalAlterConfigs", topic, None, request)
        }
        Op::DeleteRecords {
            op,
            topic,
            partition,
            before,
        } => {
            let records = DeleteRecordsPartition::default()
                .with_partition_index(partition)
                .with_offset(before);
            let of_topic = DeleteRecordsTopic::default()
                .with_name(name(&topic))
                .with_partitions(vec![records]);
            let request = DeleteRecordsRequest::default()
                .with_topics(vec![of_topic])
                .with_timeout_ms(timeout_ms);
            let request = RequestKind::DeleteRecords(request);
            (op, "DeleteRecords", topic, Some(partition), request)
        }
        Op::ElectLeaders {
            op,
            unclean,
            topic,
            partition,
        } => {
            let partitions = TopicPartitions::default()
                .with_topic(name(&topic))
                .with_partitions(vec![partition]);
            let request = ElectLeadersRequest::default()
                .with_election_type(i8::from(unclean))
                .with_topic_partitions(Some(vec![partitions]))
                .with_timeout_ms(timeout_ms);
            (op, "ElectLeaders", topic, None, RequestKind::ElectLeaders(request))
        }
        Op::Reassign {
            op,
            topic,
            partition,
            replicas,
        } => {
            let partition = ReassignablePartition::default()
                .with_partition_index(partition)
                .with_replicas(replicas.map(brokers));
            let of_topic = ReassignableTopic::default()
                .with_name(name(&topic))
                .with_partitions(vec![partition]);
            let request = AlterPartitionReassignmentsRequest::default()
                .with_topics(vec![of_topic])
                .with_timeout_ms(timeout_ms);
            let request = RequestKind::AlterPartitionReassignments(request);
            (op, "AlterPartitionReassignments", topic, None, request)
        }
        Op::DescribeMetadata { op, topic } => {
            let topics = topic
                .as_deref()
                .map(|topic| vec![MetadataRequestTopic::default().with_name(Some(name(topic)))]);
            let request = MetadataRequest::default()
                .with_topics(topics)
                .with_allow_auto_topic_creation(false);
            let topic = topic.unwrap_or_default();
            (op, "Metadata", topic, None, RequestKind::Metadata(request))
        }
        other => panic!("an administrator cannot do {other:?}"),
    }
}

/// What an answer says of the operation; `None` if it says nothing of it, which is as good as no answer.
fn answer_of(response: &ResponseKind, topic: &str, partition: Option<i32>) -> Option<Answer> {
    let code = |code: i16| Answer {
        error: ErrorCode(code),
        low_watermark: None,
    };
    let named = |name: &Option<TopicName>| name.as_ref().is_some_and(|name| name.as_str() == topic);
    match response {
        ResponseKind::CreateTopics(answer) => {
            let found = answer.topics.iter().find(|found| found.name.as_str() == topic)?;
            Some(code(found.error_code))
        }
        ResponseKind::DeleteTopics(answer) => {
            let found = answer.responses.iter().find(|found| named(&found.name))?;
            Some(code(found.error_code))
        }
        ResponseKind::CreatePartitions(answer) => {
            let found = answer.results.iter().find(|found| found.name.as_str() == topic)?;
            Some(code(found.error_code))
        }
        ResponseKind::IncrementalAlterConfigs(answer) => {
            let found = answer
                .responses
                .iter()
                .find(|found| found.resource_name.as_str() == topic)?;
            Some(code(found.error_code))
        }
        ResponseKind::DeleteRecords(answer) => {
            let of_topic = answer.topics.iter().find(|found| found.name.as_str() == topic)?;
            let mut partitions = of_topic.partitions.iter();
            let found = partitions.find(|found| Some(found.partition_index) == partition)?;
            Some(Answer {
                error: ErrorCode(found.error_code),
                low_watermark: (found.error_code == 0).then_some((found.partition_index, found.low_watermark)),
            })
        }
        ResponseKind::ElectLeaders(answer) if answer.error_code != 0 => Some(code(answer.error_code)),
        ResponseKind::ElectLeaders(answer) => {
            let mut topics = answer.replica_election_results.iter();
            let of_topic = topics.find(|found| found.topic.as_str() == topic)?;
            Some(code(of_topic.partition_result.first()?.error_code))
        }
        ResponseKind::AlterPartitionReassignments(answer) if answer.error_code != 0 => Some(code(answer.error_code)),
        ResponseKind::AlterPartitionReassignments(answer) => {
            let of_topic = answer.responses.iter().find(|found| found.name.as_str() == topic)?;
            Some(code(of_topic.partitions.first()?.error_code))
        }
        ResponseKind::Metadata(answer) => match answer.topics.iter().find(|found| named(&found.name)) {
            Some(found) => Some(code(found.error_code)),
            None => topic.is_empty().then(|| code(0)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
