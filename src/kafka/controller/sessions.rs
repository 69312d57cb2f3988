//! Heartbeat sessions: when the controller last heard of each broker. The only state that a failover forgets.
//!
//! Guarantees: after a failover every broker gets a whole new session, so a new controller fences nobody for the old
//! one's silence.
//! Deliberately does not know: who is fenced; that is metadata.
//!
//! Sources: `BrokerHeartbeatManager`.

use crate::metadata::MetadataImage;
use crate::types::{Nanos, NodeId, Offset};
use std::collections::BTreeMap;

/// What was heard of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub last_contact: Nanos,
    /// Last metadata record that it has applied; -1 before its first heartbeat.
    pub metadata_offset: Offset,
    /// It may leave once all others have applied this record, which moved its leaderships.
    pub controlled_shutdown_offset: Option<Offset>,
}

/// Of all registered brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sessions {
    by_broker: BTreeMap<NodeId, Session>,
    timeout_ms: i64,
}

/// `ms` milliseconds (not negative) after `instant`; saturating, since settings can be as large as they like.
pub(super) fn after(instant: Nanos, ms: i64) -> Nanos {
    Nanos(instant.0.saturating_add((ms as u64).saturating_mul(1_000_000)))
}

impl Sessions {
    /// Fresh sessions for all brokers of the image.
    pub fn start(image: &MetadataImage, timeout_ms: i64, now: Nanos) -> Sessions {
        let mut sessions = Sessions {
            by_broker: BTreeMap::new(),
            timeout_ms,
        };
        for broker in image.brokers.keys() {
            sessions.open(*broker, now);
        }
        sessions
    }

    /// Everybody has just been heard of.
    pub fn forget_age(&mut self, anew: Nanos) {
        for session in self.by_broker.values_mut() {
            session.last_contact = anew;
        }
    }

    /// A new incarnation: nothing of the old one counts.
    pub fn open(&mut self, broker: NodeId, now: Nanos) {
        let session = Session {
            last_contact: now,
            metadata_offset: -1,
            controlled_shutdown_offset: None,
        };
        self.by_broker.insert(broker, session);
    }

    pub fn get_mut(&mut self, broker: NodeId, now: Nanos) -> &mut Session {
        self.by_broker.entry(broker).or_insert(Session {
            last_contact: now,
            metadata_offset: -1,
            controlled_shutdown_offset: None,
        })
    }

    /// A broker spoke.
    pub fn touch(&mut self, broker: NodeId, metadata_offset: Offset, now: Nanos) {
        let session = self.get_mut(broker, now);
        session.last_contact = now;
        session.metadata_offset = metadata_offset;
    }

    /// The last metadata record that a broker says it has applied.
    pub fn metadata_offset(&self, broker: NodeId) -> Option<Offset> {
        self.by_broker.get(&broker).map(|session| session.metadata_offset)
    }

    /// A broker was fenced: whatever it was leaving for, it may go.
    pub fn fence(&mut self, broker: NodeId) {
        if let Some(session) = self.by_broker.get_mut(&broker) {
            session.controlled_shutdown_offset = None;
        }
    }

    fn expiry(&self, session: &Session) -> Nanos {
        after(session.last_contact, self.timeout_ms)
    }

    /// Whether a broker that is not fenced was heard of within the session timeout.
    pub fn is_valid(&self, broker: NodeId, image: &MetadataImage, now: Nanos) -> bool {
        image.brokers.get(&broker).is_some_and(|broker| !broker.fenced)
            && self
                .by_broker
                .get(&broker)
                .is_some_and(|session| now < self.expiry(session))
    }

    fn unfenced<'a>(&'a self, image: &'a MetadataImage) -> impl Iterator<Item = (NodeId, &'a Session)> {
        let is_unfenced = |broker: &NodeId| image.brokers.get(broker).is_some_and(|broker| !broker.fenced);
        let sessions = self.by_broker.iter().filter(move |(broker, _)| is_unfenced(broker));
        sessions.map(|(broker, session)| (*broker, session))
    }

    /// Brokers that were silent for too long, the most silent first.
    pub fn expired(&self, image: &MetadataImage, now: Nanos) -> Vec<NodeId> {
        let expired = self.unfenced(image).filter(|(_, session)| self.expiry(session) <= now);
        let mut expired: Vec<_> = expired
            .map(|(broker, session)| (session.last_contact, broker))
            .collect();
        expired.sort_unstable();
        expired.into_iter().map(|(_, broker)| broker).collect()
    }

    /// When the next session ends.
    pub fn next_expiry(&self, image: &MetadataImage) -> Option<Nanos> {
        self.unfenced(image).map(|(_, session)| self.expiry(session)).min()
    }

    /// How far the slowest broker is that will go on serving; beyond every offset if there is none.
    pub fn lowest_active_offset(&self, image: &MetadataImage) -> Offset {
        let active = self
            .unfenced(image)
            .filter(|(_, session)| session.controlled_shutdown_offset.is_none());
        active
            .map(|(_, session)| session.metadata_offset)
            .min()
            .unwrap_or(Offset::MAX)
    }
}
