//! What clients of the world ask and hear.

use super::{FETCH_VERSION, P, World, name};
use crate::replication::codes;
use crate::types::{Offset, RequestId};
use crate::wire::batch;
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_records_response::DeleteRecordsPartitionResult;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{BrokerId, ResponseKind};
use kafka_protocol::protocol::StrBytes;

impl World {
    /// Sends one record; it is not waited for.
    pub fn send(&mut self, to: i32, value: &str, acks: i16) -> RequestId {
        self.send_for(to, value, acks, 30_000)
    }

    pub fn send_for(&mut self, to: i32, value: &str, acks: i16, timeout_ms: i32) -> RequestId {
        self.send_batch(to, &[value], acks, timeout_ms)
    }

    pub fn send_batch(&mut self, to: i32, values: &[&str], acks: i16, timeout_ms: i32) -> RequestId {
        self.produce(to, values, None, acks, timeout_ms)
    }

    /// Of producer 7 in epoch 0, from this sequence on.
    pub fn send_sequence(&mut self, to: i32, values: &[&str], sequence: i32) -> RequestId {
        self.produce(to, values, Some((7, 0, sequence)), -1, 30_000)
    }

    fn produce(
        &mut self,
        to: i32,
        values: &[&str],
        producer: Option<(i64, i16, i32)>,
        acks: i16,
        timeout_ms: i32,
    ) -> RequestId {
        let id = self.fresh();
        let record = |value: &&str| (self.now.wall_ms, None, Some(Bytes::from((*value).to_owned())));
        let records = batch::build(&values.iter().map(record).collect::<Vec<_>>(), producer, false);
        let partition = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(name("t"))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(timeout_ms)
            .with_topic_data(vec![topic]);
        self.step(to, |manager, image, now, disk, out| {
            manager.produce(id, &request, 12, image, now, disk, out).unwrap();
        });
        id
    }

    /// The answer to a produce request: error and base offset.
    pub fn produced(&self, id: RequestId) -> Option<(i16, Offset)> {
        let ResponseKind::Produce(response) = self.replies.get(&id)? else {
            panic!("not an answer to a produce request");
        };
        let data: &PartitionProduceResponse = &response.responses[0].partition_responses[0];
        Some((data.error_code, data.base_offset))
    }

    /// Sends a record, lets it replicate, and demands success.
    pub fn send_acked(&mut self, to: i32, value: &str) -> Offset {
        let id = self.send(to, value, -1);
        self.run();
        let (code, offset) = self.produced(id).expect("answered");
        assert_eq!(code, codes::NONE);
        offset
    }

    pub fn fetch_request(offset: Offset, rack: &str, wait_ms: i32, min_bytes: i32) -> FetchRequest {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic_id(P.topic)
            .with_partitions(vec![partition]);
        FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(min_bytes)
            .with_max_bytes(1 << 20)
            .with_rack_id(StrBytes::from_string(rack.to_owned()))
            .with_topics(vec![topic])
    }

    pub fn fetch(&mut self, from: i32, request: &FetchRequest) -> RequestId {
        let id = self.fresh();
        self.step(from, |manager, image, now, disk, out| {
            manager
                .fetch(id, request, FETCH_VERSION, image, now, disk, out)
                .unwrap();
        });
        id
    }

    pub fn fetched(&self, id: RequestId) -> Option<&PartitionData> {
        match self.replies.get(&id)? {
            ResponseKind::Fetch(response) => Some(&response.responses[0].partitions[0]),
            other => panic!("not an answer to a fetch: {other:?}"),
        }
    }

    /// A consumer's fetch that does not wait.
    pub fn consume(&mut self, from: i32, offset: Offset, rack: &str) -> PartitionData {
        let id = self.fetch(from, &World::fetch_request(offset, rack, 0, 1));
        self.fetched(id).expect("answered at once").clone()
    }

    pub fn list_offsets(&mut self, at: i32, timestamp: i64, version: i16) -> ListOffsetsPartitionResponse {
        let id = self.fresh();
        let partition = ListOffsetsPartition::default()
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        self.step(at, |manager, image, now, disk, out| {
            manager
                .list_offsets(id, &request, version, image, now, disk, out)
                .unwrap();
        });
        let Some(ResponseKind::ListOffsets(response)) = self.replies.get(&id) else {
            panic!("not answered");
        };
        response.topics[0].partitions[0].clone()
    }

    pub fn delete_records(&mut self, at: i32, before: Offset, timeout_ms: i32) -> RequestId {
        let id = self.fresh();
        let partition = DeleteRecordsPartition::default().with_offset(before);
        let topic = DeleteRecordsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default()
            .with_timeout_ms(timeout_ms)
            .with_topics(vec![topic]);
        self.step(at, |manager, image, now, disk, out| {
            manager.delete_records(id, &request, image, now, disk, out).unwrap();
        });
        id
    }

    pub fn deleted(&self, id: RequestId) -> Option<&DeleteRecordsPartitionResult> {
        match self.replies.get(&id)? {
            ResponseKind::DeleteRecords(response) => Some(&response.topics[0].partitions[0]),
            other => panic!("not an answer to DeleteRecords: {other:?}"),
        }
    }
}
