//! Fetch sessions: a client names its partitions once, and from then on only what is new; so does the answer.
//!
//! ```text
//!   epoch 0 ─▶ full answer, session opened ─▶ epoch 1, 2, ..: changes ─▶ only partitions with news
//!   epoch -1 ─▶ session closed, full answer      wrong epoch, unknown id ─▶ error: the client begins anew
//! ```
//!
//! Guarantees: what a fetch of a session reads is what a full one with the same partitions would; a partition is left out
//! of the answer only if it has no records, no error, and the bounds that the client was told last. Partitions that
//! gave records are asked last the next time, so that a small limit starves nobody. There are at most
//! `max.incremental.fetch.session.cache.slots` sessions: one that was not used for [`EVICTION_MS`], or that is smaller
//! and not a follower's, makes room; else there is no session, and the client sends full requests.
//!
//! Sources: KIP-227; `FetchSession.scala`.

use super::codes;
use crate::machine::Entropy;
use crate::types::{Nanos, Uuid};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use std::collections::BTreeMap;

/// A session that was not used for this long makes room for any other.
const EVICTION_MS: u64 = 120_000;
/// Session epochs of requests that are no part of a session's course.
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
/// The version from which topics go by id.
const TOPIC_IDS_SINCE: i16 = 13;

/// A partition as the client names it.
pub(super) type Named = (TopicName, Uuid, i32);

/// One partition of a fetch: what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub name: TopicName,
    pub topic_id: Uuid,
    pub index: i32,
    pub fetch_offset: i64,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
    pub max_bytes: i32,
}

impl Asked {
    fn of(name: &TopicName, topic_id: Uuid, partition: &FetchPartition) -> Asked {
        Asked {
            name: name.clone(),
            topic_id,
            index: partition.partition,
            fetch_offset: partition.fetch_offset,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            max_bytes: partition.partition_max_bytes,
        }
    }

    fn named(&self) -> Named {
        (self.name.clone(), self.topic_id, self.index)
    }
}

/// What a request says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Course {
    /// Nothing, or that it ends.
    Sessionless,
    /// A session begins with the answer.
    Opens { is_follower: bool, topic_ids: bool },
    /// This session goes on; `epoch` is that of the next request.
    Goes { id: i32, epoch: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cached {
    asked: Asked,
    /// High watermark and log start as the client was told.
    told: (i64, i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    is_follower: bool,
    topic_ids: bool,
    /// Of the next request.
    epoch: i32,
    created: Nanos,
    used: Nanos,
    /// In the order in which they are read.
    parts: BTreeMap<u64, Cached>,
    places: BTreeMap<Named, u64>,
    next_place: u64,
}

impl Session {
    /// Takes in what is asked anew or otherwise.
    fn put(&mut self, asked: Asked) {
        if let Some(place) = self.places.get(&asked.named()) {
            self.parts.get_mut(place).expect("every place has its partition").asked = asked;
            return;
        }
        self.append(Cached { asked, told: (-1, -1) });
    }

    fn append(&mut self, cached: Cached) {
        self.places.insert(cached.asked.named(), self.next_place);
        self.parts.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, named: &Named) -> Option<Cached> {
        let place = self.places.remove(named)?;
        self.parts.remove(&place)
    }

    /// Whether the client must hear of this partition; remembers that it does.
    fn tells(&mut self, named: &Named, data: &PartitionData) -> bool {
        let Some(place) = self.places.get(named) else {
            return true;
        };
        let cached = self.parts.get_mut(place).expect("every place has its partition");
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let bounds = (data.high_watermark, data.log_start_offset);
        let is_news = has_records
            || data.error_code != 0
            || data.diverging_epoch.end_offset >= 0
            || data.preferred_read_replica.0 >= 0
            || cached.told != bounds;
        cached.told = bounds;
        if has_records && let Some(cached) = self.remove(named) {
            self.append(cached);
        }
        is_news
    }
}

/// All sessions of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sessions {
    sessions: BTreeMap<i32, Session>,
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Sessions {
    /// What this request is part of, and all that it asks for; or the error of the whole request.
    pub fn enter(
        &mut self,
        request: &FetchRequest,
        version: i16,
        is_follower: bool,
        now: Nanos,
    ) -> Result<(Course, Vec<Asked>), i16> {
        let topic_ids = version >= TOPIC_IDS_SINCE;
        let asked = request.topics.iter().flat_map(|topic| {
            let of = |partition| Asked::of(&topic.topic, topic.topic_id, partition);
            topic.partitions.iter().map(of)
        });
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.sessions.remove(&id);
            let opens = epoch == INITIAL_EPOCH && version >= 7;
            let course = if opens {
                Course::Opens { is_follower, topic_ids }
            } else {
                Course::Sessionless
            };
            return Ok((course, asked.collect()));
        }
        let session = self.sessions.get_mut(&id).ok_or(codes::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.topic_ids != topic_ids {
            return Err(codes::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.epoch != epoch {
            return Err(codes::INVALID_FETCH_SESSION_EPOCH);
        }
        asked.for_each(|asked| session.put(asked));
        for topic in &request.forgotten_topics_data {
            for index in &topic.partitions {
                session.remove(&(topic.topic.clone(), topic.topic_id, *index));
            }
        }
        if session.parts.is_empty() {
            self.sessions.remove(&id);
            return Ok((Course::Sessionless, Vec::new()));
        }
        session.epoch = next_epoch(epoch);
        session.used = now;
        let epoch = session.epoch;
        let all = session.parts.values().map(|cached| cached.asked.clone());
        Ok((Course::Goes { id, epoch }, all.collect()))
    }

    /// The answer in the course of its session: opens it, or leaves out what the client knows. `asked` and `data` are in
    /// the same order.
    pub fn answer(
        &mut self,
        course: Course,
        asked: Vec<Asked>,
        mut data: Vec<Option<PartitionData>>,
        slots: usize,
        entropy: &mut Entropy,
        now: Nanos,
    ) -> (FetchResponse, Vec<Option<PartitionData>>) {
        assert_eq!(asked.len(), data.len(), "one answer for each partition");
        let mut response = FetchResponse::default();
        match course {
            Course::Sessionless => {}
            Course::Opens { is_follower, topic_ids } => {
                if self.makes_room(is_follower, asked.len(), slots, now) {
                    let mut session = Session {
                        is_follower,
                        topic_ids,
                        epoch: next_epoch(INITIAL_EPOCH),
                        created: now,
                        used: now,
                        parts: BTreeMap::new(),
                        places: BTreeMap::new(),
                        next_place: 0,
                    };
                    for (asked, data) in asked.into_iter().zip(data.iter().flatten()) {
                        let named = asked.named();
                        session.put(asked);
                        session.tells(&named, data);
                    }
                    response.session_id = self.fresh_id(entropy);
                    self.sessions.insert(response.session_id, session);
                }
            }
            Course::Goes { id, epoch } => {
                response.session_id = id;
                match self.sessions.get_mut(&id) {
                    // Another request of this session has come in between.
                    Some(session) if session.epoch != epoch => {
                        response.error_code = codes::INVALID_FETCH_SESSION_EPOCH;
                        data.iter_mut().for_each(|data| *data = None);
                    }
                    Some(session) => {
                        for (asked, slot) in asked.iter().zip(&mut data) {
                            let told = slot.take_if(|data| !session.tells(&asked.named(), data));
                            drop(told);
                        }
                    }
                    // It had to make room meanwhile: the client hears everything now, and that there is no session next.
                    None => {}
                }
            }
        }
        (response, data)
    }

    fn fresh_id(&self, entropy: &mut Entropy) -> i32 {
        loop {
            let id = 1 + entropy.below(i32::MAX as u64) as i32;
            if id > 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Whether there is, or can be made, a slot for a session of so many partitions.
    fn makes_room(&mut self, is_follower: bool, size: usize, slots: usize, now: Nanos) -> bool {
        if self.sessions.len() < slots {
            return true;
        }
        let eviction = Nanos::from_ms(EVICTION_MS);
        let idlest = self.sessions.iter().min_by_key(|(id, session)| (session.used, **id));
        let idle = idlest.filter(|(_, session)| now.since(session.used) > eviction);
        let victim = idle.map(|(id, _)| *id).or_else(|| {
            // A young one gives way to a follower only, and followers' to nobody.
            let gives_way =
                |session: &&Session| now.since(session.created) > eviction || is_follower && !session.is_follower;
            let candidates = self.sessions.iter().filter(|(_, session)| gives_way(session));
            let key = |(id, session): (&i32, &Session)| (session.is_follower, session.parts.len(), *id);
            let smallest = candidates.map(key).min();
            smallest
                .filter(|smallest| (is_follower, size, 0) >= *smallest)
                .map(|(_, _, id)| id)
        });
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests;
