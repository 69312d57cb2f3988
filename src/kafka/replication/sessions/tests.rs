//! The courses of sessions, and who makes room.

use super::*;
use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};
use kafka_protocol::protocol::StrBytes;

const SLOTS: usize = 2;

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

fn at(ms: u64) -> Nanos {
    Nanos::from_ms(ms)
}

/// A request with these partitions (and their offsets) and these forgotten.
fn request(id: i32, epoch: i32, partitions: &[(i32, i64)], forgotten: &[i32]) -> FetchRequest {
    let partitions = partitions.iter().map(|(index, offset)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
    });
    let topic = FetchTopic::default()
        .with_topic(name())
        .with_partitions(partitions.collect());
    let gone = ForgottenTopic::default()
        .with_topic(name())
        .with_partitions(forgotten.to_vec());
    FetchRequest::default()
        .with_session_id(id)
        .with_session_epoch(epoch)
        .with_topics(vec![topic])
        .with_forgotten_topics_data(vec![gone])
}

/// What a leader has to say of every partition: high watermark, records.
fn said(high_watermark: i64, records: &'static [u8]) -> PartitionData {
    PartitionData::default()
        .with_high_watermark(high_watermark)
        .with_log_start_offset(0)
        .with_records(Some(Bytes::from_static(records)))
}

struct Broker {
    sessions: Sessions,
    entropy: Entropy,
}

/// Session, and index and offset of what was read, in that order; then which indexes were answered.
type Outcome = (i32, Vec<(i32, i64)>, Vec<i32>);

impl Broker {
    fn new() -> Broker {
        Broker {
            sessions: Sessions::default(),
            entropy: Entropy(4),
        }
    }

    fn fetch_as(
        &mut self,
        is_follower: bool,
        request: &FetchRequest,
        now: Nanos,
        say: impl Fn(i32) -> PartitionData,
    ) -> Result<Outcome, i16> {
        let (course, asked) = self.sessions.enter(request, 12, is_follower, now)?;
        let read: Vec<_> = asked.iter().map(|asked| (asked.index, asked.fetch_offset)).collect();
        let data = asked
            .iter()
            .map(|asked| Some(say(asked.index).with_partition_index(asked.index)));
        let data = data.collect();
        let (response, data) = self.sessions.answer(course, asked, data, SLOTS, &mut self.entropy, now);
        let told = data.iter().flatten().map(|data| data.partition_index).collect();
        match response.error_code {
            0 => Ok((response.session_id, read, told)),
            code => Err(code),
        }
    }

    fn fetch(&mut self, request: &FetchRequest, say: impl Fn(i32) -> PartitionData) -> Result<Outcome, i16> {
        self.fetch_as(false, request, at(0), say)
    }
}

#[test]
fn a_session_says_only_what_is_new() {
    let mut broker = Broker::new();
    let (id, read, told) = broker
        .fetch(&request(0, 0, &[(0, 5), (1, 6)], &[]), |_| said(7, b""))
        .unwrap();
    assert!(id > 0);
    assert_eq!((read, told), (vec![(0, 5), (1, 6)], vec![0, 1]));
    let quiet = broker.fetch(&request(id, 1, &[], &[]), |_| said(7, b"")).unwrap();
    assert_eq!(quiet, (id, vec![(0, 5), (1, 6)], vec![]));
    // A new offset of one, a new partition, a high watermark that has moved for one.
    let moved = |index| said(if index == 1 { 8 } else { 7 }, b"");
    let next = broker.fetch(&request(id, 2, &[(1, 7), (2, 0)], &[]), moved).unwrap();
    assert_eq!(next, (id, vec![(0, 5), (1, 7), (2, 0)], vec![1, 2]));
    // Records are told, and their partition has its next turn last.
    let records = |index| if index == 0 { said(7, b"records") } else { moved(index) };
    assert_eq!(broker.fetch(&request(id, 3, &[], &[]), records).unwrap().2, [0]);
    let forgotten = broker.fetch(&request(id, 4, &[], &[2]), moved).unwrap();
    assert_eq!(forgotten, (id, vec![(1, 7), (0, 5)], vec![]));
    // Errors, better replicas and divergences are always told.
    let error = |_| said(7, b"").with_error_code(6);
    assert_eq!(broker.fetch(&request(id, 5, &[], &[]), error).unwrap().2, [1, 0]);
    let better = |_| said(7, b"").with_preferred_read_replica(BrokerId(3));
    assert_eq!(broker.fetch(&request(id, 6, &[], &[]), better).unwrap().2, [1, 0]);
    assert_eq!(broker.fetch(&request(id, 7, &[], &[]), better).unwrap().2, [1, 0]);
}

#[test]
fn a_wrong_turn_is_refused_and_a_session_ends() {
    let mut broker = Broker::new();
    let quiet = |_| said(7, b"");
    let (id, ..) = broker.fetch(&request(0, 0, &[(0, 5)], &[]), quiet).unwrap();
    for epoch in [2, 7] {
        let refused = broker.fetch(&request(id, epoch, &[], &[]), quiet);
        assert_eq!(refused, Err(codes::INVALID_FETCH_SESSION_EPOCH));
    }
    assert_eq!(
        broker.fetch(&request(id + 1, 1, &[], &[]), quiet),
        Err(codes::FETCH_SESSION_ID_NOT_FOUND)
    );
    let by_id = broker.sessions.enter(&request(id, 1, &[], &[]), 13, false, at(0));
    assert_eq!(by_id, Err(codes::FETCH_SESSION_TOPIC_ID_ERROR));
    assert!(broker.fetch(&request(id, 1, &[], &[]), quiet).is_ok());
    // The last request of a session is a full one, and so is every request outside of any.
    let last = broker.fetch(&request(id, -1, &[(0, 5)], &[]), quiet);
    assert_eq!(last, Ok((0, vec![(0, 5)], vec![0])));
    assert_eq!(
        broker.fetch(&request(id, 2, &[], &[]), quiet),
        Err(codes::FETCH_SESSION_ID_NOT_FOUND)
    );
    // Nothing is left of a session without partitions.
    let (id, ..) = broker.fetch(&request(0, 0, &[(0, 5)], &[]), quiet).unwrap();
    assert_eq!(broker.fetch(&request(id, 1, &[], &[0]), quiet), Ok((0, vec![], vec![])));
    assert_eq!(broker.sessions, Sessions::default());
}

#[test]
fn an_answer_that_was_overtaken_says_so() {
    let mut broker = Broker::new();
    let (id, ..) = broker.fetch(&request(0, 0, &[(0, 5)], &[]), |_| said(7, b"")).unwrap();
    let (course, asked) = broker
        .sessions
        .enter(&request(id, 1, &[], &[]), 12, false, at(0))
        .unwrap();
    assert!(broker.fetch(&request(id, 2, &[], &[]), |_| said(7, b"")).is_ok());
    let data = vec![Some(said(7, b"records"))];
    let (response, data) = broker
        .sessions
        .answer(course, asked, data, SLOTS, &mut Entropy(1), at(0));
    assert_eq!(
        (response.error_code, data),
        (codes::INVALID_FETCH_SESSION_EPOCH, vec![None])
    );
}

#[test]
fn who_makes_room() {
    let quiet = |_| said(7, b"");
    let one = request(0, 0, &[(0, 5)], &[]);
    let two = request(0, 0, &[(0, 5), (1, 5)], &[]);
    let mut broker = Broker::new();
    let mut open = |is_follower, request, ms| broker.fetch_as(is_follower, request, at(ms), quiet).unwrap().0;
    let (first, second) = (open(false, &one, 0), open(false, &two, 0));
    assert_eq!(open(false, &two, 10), 0, "full, and nobody is idle");
    assert!(
        open(true, &one, 20) > 0,
        "a follower takes the smallest consumer's place"
    );
    assert!(open(true, &one, 20) > 0, "and the next one's");
    assert_eq!(open(true, &two, 30), 0, "followers do not give way to each other");
    for gone in [first, second] {
        let refused = broker.fetch(&request(gone, 1, &[], &[]), quiet);
        assert_eq!(refused, Err(codes::FETCH_SESSION_ID_NOT_FOUND));
    }
    let opened = broker.fetch_as(false, &one, at(120_021), quiet).unwrap();
    assert!(opened.0 > 0, "who was idle for two minutes gives way to anybody");
}
