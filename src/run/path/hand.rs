//! Requests by hand: what a client would send, put into the node that the path names, whoever leads by now.

use super::walk::{Stop, Walk, refuse};
use crate::checks::Fact;
use bytes::Bytes;
use kafka::wire::batch;
use kafka::{ClientNote, Note};
use kafka_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use sim::fault::NodeId;

/// Milliseconds that the hand waits for an answer.
const PATIENCE_MS: i32 = 3_600_000;

/// Records that the hand has sent, and whose fate it has not told yet.
pub(super) struct Sent {
    question: u64,
    values: Vec<Bytes>,
}

impl Walk<'_, '_> {
    fn topic(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.run.scenario.topics[0].name.clone()))
    }

    /// Asks a node; gives the name of the question.
    fn ask(&mut self, node: NodeId, request: &RequestKind) -> Result<u64, Stop> {
        let (conn, frame) = self.valve.borrow_mut().hand(request);
        let put = self.run.world.poke(node, |process, now, disk, effects| {
            process.by_hand(now, conn, frame, disk, effects);
        });
        self.hear();
        match put {
            Some(()) => Ok(conn),
            None => refuse("the node is down"),
        }
    }

    /// Hands `count` records to a node. The answer may come much later.
    pub fn produce(&mut self, node: NodeId, acks: i16, first: u32, count: u32) -> Result<u64, Stop> {
        let now = self.run.world.node_now(node).wall_ms;
        let values: Vec<Bytes> = (0..count)
            .map(|n| Bytes::from(format!("record {}", first + n)))
            .collect();
        for value in &values {
            self.say(ClientNote::SendInvoked {
                topic: self.topic().0.to_string(),
                partition: 0,
                value: value.clone(),
                acks,
                idempotent: false,
            });
        }
        let records: Vec<_> = values.iter().map(|value| (now, None, Some(value.clone()))).collect();
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch::build(&records, None, false)));
        let topic = TopicProduceData::default()
            .with_name(self.topic())
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(PATIENCE_MS)
            .with_topic_data(vec![topic]);
        let question = self.ask(node, &RequestKind::Produce(request))?;
        self.sent.push(Sent { question, values });
        Ok(question)
    }

    /// What the hand does and hears, as a client's user would: the checks are to know it too.
    fn say(&mut self, said: ClientNote) {
        let (time_ns, node) = (self.run.world.now(), self.run.layout.setup().0);
        let note = &Note::Client(said);
        self.run.checks.fact(Fact::Note { time_ns, node, note });
    }

    /// Tells the fate of records whose answers have come.
    pub fn tell_fates(&mut self) {
        for Sent { question, values } in std::mem::take(&mut self.sent) {
            let Some((error_code, base)) = self.answer_to(question) else {
                self.sent.push(Sent { question, values });
                continue;
            };
            for (offset, value) in (base..).zip(values) {
                let (topic, partition) = (self.topic().0.to_string(), 0);
                self.say(match error_code {
                    0 => ClientNote::SendAcked {
                        topic,
                        partition,
                        value,
                        offset: Some(offset),
                    },
                    error_code => ClientNote::SendFailed {
                        topic,
                        partition,
                        value,
                        definite: false,
                        error_code,
                    },
                });
            }
        }
    }

    /// Nobody will learn what became of the rest.
    pub fn forget_fates(&mut self) {
        for Sent { values, .. } in std::mem::take(&mut self.sent) {
            for value in values {
                self.say(ClientNote::SendFailed {
                    topic: self.topic().0.to_string(),
                    partition: 0,
                    value,
                    definite: false,
                    error_code: 0,
                });
            }
        }
    }

    /// Error code and base offset of the answer to some records.
    fn answer_to(&self, question: u64) -> Option<(i16, i64)> {
        let ResponseKind::Produce(response) = self.valve.borrow().answer(question, ApiKey::Produce)? else {
            return None;
        };
        let answer = response.responses.first()?.partition_responses.first()?;
        Some((answer.error_code, answer.base_offset))
    }

    /// The error code of the answer to some records, once it is there.
    pub fn produced(&self, question: u64) -> Option<i16> {
        self.answer_to(question).map(|(code, _)| code)
    }

    /// Asks the controller for an election.
    pub fn elect(&mut self, unclean: bool) -> Result<(), Stop> {
        let topic = TopicPartitions::default()
            .with_topic(self.topic())
            .with_partitions(vec![0]);
        let request = ElectLeadersRequest::default()
            .with_election_type(i8::from(unclean))
            .with_timeout_ms(PATIENCE_MS)
            .with_topic_partitions(Some(vec![topic]));
        self.ask(self.controller(), &RequestKind::ElectLeaders(request))
            .map(|_| ())
    }
}
