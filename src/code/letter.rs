//! Requests and answers on their way between nodes.
//!
//! ```text
//!   call ─▶ Asked ──reaches──▶ Taken ──answered──▶ Answered ──reaches──▶ gone
//!             │                  └ the connection is lost: both sides learn it ┘
//!             └ given up: the caller goes on, the request may still reach (late)
//! ```
//!
//! Guarantees: one request at a time on each link, as the broker's connections have it; links are independent, so what
//! travels on one may be overtaken by what travels on another, for ever.

use kafka::{Channel, RequestId};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a letter says.
#[derive(Debug)]
pub enum Content {
    /// To be answered.
    Request(RequestKind),
    /// The answer.
    Response(ResponseKind),
}

/// A request or an answer; cheap to copy, equal by what it says.
#[derive(Clone, Debug)]
pub struct Letter {
    content: Arc<Content>,
    digest: u64,
}

impl Letter {
    fn new(content: Content) -> Letter {
        // The library's message types cannot be hashed; their debug text names every field.
        let digest = xxhash_rust::xxh3::xxh3_64(format!("{content:?}").as_bytes());
        let content = Arc::new(content);
        Letter { content, digest }
    }

    /// A request.
    pub fn request(request: RequestKind) -> Letter {
        Letter::new(Content::Request(request))
    }

    /// An answer.
    pub fn response(response: ResponseKind) -> Letter {
        Letter::new(Content::Response(response))
    }

    /// What it says.
    pub fn content(&self) -> &Content {
        &self.content
    }
}

impl PartialEq for Letter {
    fn eq(&self, other: &Letter) -> bool {
        self.digest == other.digest
    }
}

impl Hash for Letter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// One connection: who asks whom, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Index of the node that asks.
    pub from: u8,
    /// Index of the node that answers.
    pub to: u8,
    /// Which of the caller's connections to it.
    pub channel: Channel,
}

impl Link {
    /// The name of its request at the one who answers. A late request has another one, and nobody waits for its answer.
    pub fn request_id(self, late: bool) -> RequestId {
        RequestId(u64::from(self.from) << 8 | (self.channel as u64) << 1 | u64::from(late))
    }

    /// The link of a request at node `to`; none if it was late.
    pub fn of_request(id: RequestId, to: u8) -> Option<Link> {
        const CHANNELS: [Channel; 7] = [
            Channel::Election,
            Channel::Quorum,
            Channel::Fetcher,
            Channel::Heartbeat,
            Channel::Controller,
            Channel::Forward,
            Channel::ProducerIds,
        ];
        // Above are requests of clients.
        let is_late = id.0 & 1 == 1 || id.0 >> 16 > 0;
        let channel = CHANNELS.get((id.0 >> 1 & 0x7f) as usize).copied();
        channel.filter(|_| !is_late).map(|channel| Link {
            from: (id.0 >> 8) as u8,
            to,
            channel,
        })
    }
}

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Stage {
    /// It has not reached the one who answers.
    Asked(Letter),
    /// It has, and waits there.
    Taken,
    /// The answer has not reached the one who asked.
    Answered(Letter),
}

/// All that is on its way.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Net {
    /// By link.
    links: Vec<(Link, Stage)>,
    /// Requests that nobody waits for any more and that may still reach.
    late: Vec<(Link, Letter)>,
}

impl Net {
    /// Where a link's request is.
    pub fn stage(&self, link: Link) -> Option<&Stage> {
        let at = self.links.binary_search_by_key(&link, |(link, _)| *link).ok()?;
        Some(&self.links[at].1)
    }

    /// All links with a request.
    pub fn links(&self) -> impl Iterator<Item = &(Link, Stage)> {
        self.links.iter()
    }

    /// Changes, begins or (none) ends a link's request.
    pub fn set(&mut self, link: Link, stage: Option<Stage>) {
        match (self.links.binary_search_by_key(&link, |(link, _)| *link), stage) {
            (Ok(at), Some(stage)) => self.links[at].1 = stage,
            (Ok(at), None) => {
                self.links.remove(at);
            }
            (Err(at), Some(stage)) => self.links.insert(at, (link, stage)),
            (Err(_), None) => {}
        }
    }

    /// Late requests.
    pub fn late(&self) -> &[(Link, Letter)] {
        &self.late
    }

    /// The caller gives a request up that may still reach.
    pub fn add_late(&mut self, link: Link, letter: Letter) {
        self.late.retain(|(known, _)| *known != link);
        self.late.push((link, letter));
        self.late.sort_by_key(|(link, _)| *link);
    }

    /// A late request reaches.
    pub fn take_late(&mut self, link: Link) -> Option<Letter> {
        let at = self.late.iter().position(|(known, _)| *known == link)?;
        Some(self.late.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_at_its_node_names_its_link() {
        for channel in [
            Channel::Election,
            Channel::Quorum,
            Channel::Fetcher,
            Channel::Controller,
        ] {
            let link = Link {
                from: 2,
                to: 1,
                channel,
            };
            assert_eq!(Link::of_request(link.request_id(false), 1), Some(link));
            assert_eq!(Link::of_request(link.request_id(true), 1), None);
        }
    }
}
