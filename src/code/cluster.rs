//! Some nodes of one kind, what is on its way between them, and the checks that watch: what the groups share.
//!
//! ```text
//!   Travel: a request reaches, an answer reaches, both at once; a connection is lost; a request is given up and late
//!   Driver::take: one event at one node ──▶ Change: node, letters, witness, what was said
//! ```
//!
//! Guarantees: a state's hash is made of the digests of its parts, none of which knows an age or a history that has no
//! consequence. Deliberately does not know what the machines do.

use super::disk::PageCache;
use super::letter::{Letter, Link, Net, Stage};
use super::node::{Effect, Machine, Node};
use super::witness::{Watch, Witness};
use crate::checks::{Fact, StopKind};
use bytes::Bytes;
use kafka::log::LogError;
use kafka::note::Note;
use kafka::{CallFailed, Channel, RequestId, TopicPartition};
use serde::Serialize;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a state that waits holds beside itself: its share of nodes, letters and witnesses, most of which it has in common
/// with others. Measured: the peak of a search over the states that waited then.
pub const SHARED_BYTES: usize = 3_300;

/// All nodes and all that lies between them.
#[derive(Clone, Debug)]
pub struct Cluster<M> {
    /// By index.
    pub nodes: Vec<Arc<Node<M>>>,
    /// On its way.
    pub net: Net,
    /// The checks of the world.
    pub witness: Arc<Witness>,
    /// An assertion of the code that broke.
    pub broken: Option<Arc<str>>,
}

impl<M: Machine> Cluster<M> {
    /// Nodes that were never started.
    pub fn new(nodes: usize, witness: Arc<Witness>) -> Cluster<M> {
        Cluster {
            nodes: (0..nodes).map(|_| Arc::new(Node::new())).collect(),
            net: Net::default(),
            witness,
            broken: None,
        }
    }

    /// The machine of a node, if its process runs.
    pub fn machine(&self, node: u8) -> Option<&M> {
        self.nodes.get(usize::from(node))?.machine.as_ref()
    }

    /// All machines that run.
    pub fn machines(&self) -> impl Iterator<Item = &M> {
        self.nodes.iter().filter_map(|node| node.machine.as_ref())
    }

    /// Something is broken: what follows says nothing new.
    pub fn is_over(&self) -> bool {
        self.broken.is_some() || self.witness.broken().next().is_some()
    }
}

impl<M> Hash for Cluster<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for node in &self.nodes {
            node.digest.hash(state);
        }
        (&self.net, self.witness.digest, &self.broken).hash(state);
    }
}

impl<M> PartialEq for Cluster<M> {
    fn eq(&self, other: &Cluster<M>) -> bool {
        let mut nodes = self.nodes.iter().zip(&other.nodes);
        nodes.all(|(one, other)| one.digest == other.digest)
            && (&self.net, self.witness.digest, &self.broken) == (&other.net, other.witness.digest, &other.broken)
    }
}

/// What happens to a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum How {
    /// A request reaches, and its answer comes back at once.
    Exchange,
    /// A request reaches; its answer stays on its way.
    Reach,
    /// An answer reaches.
    Answer,
    /// The connection is lost, and what travelled on it.
    Lose,
    /// The caller gives its request up; it may still reach.
    GiveUp,
    /// A request that was given up reaches.
    ReachLate,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Purpose {
    /// Votes, begin and end of epochs.
    Election,
    /// The metadata log or a partition's.
    Fetch,
    /// AlterPartition.
    Isr,
}

impl Purpose {
    fn of(channel: Channel) -> Purpose {
        match channel {
            Channel::Election => Purpose::Election,
            Channel::Controller => Purpose::Isr,
            _ => Purpose::Fetch,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Purpose::Election => "election request",
            Purpose::Fetch => "fetch",
            Purpose::Isr => "ISR proposal",
        }
    }
}

/// Something happens to the letter of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Travel {
    /// What.
    pub how: How,
    /// Index of the node that asks.
    pub from: u8,
    /// Index of the node that answers.
    pub to: u8,
    /// What for.
    pub purpose: Purpose,
}

/// How many letters go astray or are overtaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Letters {
    /// Answers that stay on their way while other things happen. Requests may always.
    pub delayed_answers: u8,
    /// Connections lost.
    pub lost_connections: u8,
    /// Requests that their callers have given up and that may still reach.
    pub late_requests: u8,
}

/// An event at a node; `E` are those of its kind.
#[derive(Hash)]
pub enum Event<'a, E> {
    /// A request reaches.
    Handle(RequestId, &'a Letter),
    /// An answer reaches, or there is none.
    Response(Link, Result<&'a Letter, CallFailed>),
    /// Nobody waits for the answer of this request any more.
    Disconnected(RequestId),
    /// The process ends.
    Stop {
        /// And what was not synced is gone.
        power: bool,
    },
    /// Another one.
    Own(E),
}

/// A step under way.
pub struct Change<'a, M> {
    /// As it is so far.
    pub after: Cluster<M>,
    /// Who said what.
    pub said: &'a mut Vec<(u8, Note)>,
}

impl<M: Machine> Change<'_, M> {
    /// Takes over what a step of a node led to.
    pub fn apply(&mut self, node: u8, effect: &Effect<M>, watch: &Watch, has_started: bool) {
        let after = &mut self.after;
        after.nodes[usize::from(node)] = effect.node.clone();
        after.witness = if has_started {
            watch.started(&after.witness, node, &effect.notes)
        } else {
            watch.notes(&after.witness, node, &effect.notes, effect.notes_digest)
        };
        for (call, letter) in &effect.calls {
            let link = Link {
                from: node,
                to: (call.to.0 - 1) as u8,
                channel: call.channel,
            };
            after.net.set(link, Some(Stage::Asked(letter.clone())));
        }
        for (id, letter) in &effect.replies {
            self.reply(node, *id, letter);
        }
        let after = &mut self.after;
        after.broken = after.broken.take().or_else(|| effect.broken.clone());
        self.said.extend(effect.notes.iter().map(|note| (node, note.clone())));
    }

    /// After an opening: what the recovered logs really hold, where the checks want to see it, as in a run.
    pub fn show_logs(&mut self, read: impl Fn(&M, TopicPartition, &mut PageCache) -> Result<Bytes, LogError>) {
        for (node, partition) in self.after.witness.wanted_logs() {
            let Node { machine, disk, .. } = &*self.after.nodes[usize::from(node)];
            let batches = machine
                .as_ref()
                .and_then(|machine| read(machine, partition, &mut disk.clone()).ok());
            let fact = Fact::LogContent {
                node,
                partition,
                batches: batches.unwrap_or_default(),
            };
            self.after.witness = self.after.witness.told([fact]);
        }
    }

    /// A node has answered, if anybody waits for it.
    pub fn reply(&mut self, node: u8, id: RequestId, letter: &Letter) {
        if let Some(link) = Link::of_request(id, node)
            && self.after.net.stage(link) == Some(&Stage::Taken)
        {
            self.after.net.set(link, Some(Stage::Answered(letter.clone())));
        }
    }
}

/// How a group lets its nodes take events.
pub trait Driver {
    /// Its machines.
    type Machine: Machine;
    /// Events of its own.
    type Own: Hash;

    /// One event at one node.
    fn take(&self, change: &mut Change<'_, Self::Machine>, node: u8, event: &Event<'_, Self::Own>);

    /// Remembers what the checks learnt.
    fn watch(&self) -> &Watch;

    /// The request of a link reaches.
    fn reach(&self, change: &mut Change<'_, Self::Machine>, link: Link) {
        if let Some(Stage::Asked(letter)) = change.after.net.stage(link).cloned() {
            change.after.net.set(link, Some(Stage::Taken));
            self.take(change, link.to, &Event::Handle(link.request_id(false), &letter));
        }
    }

    /// The answer of a link reaches, if there is one.
    fn answer(&self, change: &mut Change<'_, Self::Machine>, link: Link) -> bool {
        let Some(Stage::Answered(letter)) = change.after.net.stage(link).cloned() else {
            return false;
        };
        change.after.net.set(link, None);
        self.take(change, link.from, &Event::Response(link, Ok(&letter)));
        true
    }

    /// There will be no answer.
    fn fail(&self, change: &mut Change<'_, Self::Machine>, link: Link) {
        change.after.net.set(link, None);
        self.take(change, link.from, &Event::Response(link, Err(CallFailed::Disconnected)));
    }

    /// The process of a node ends; what it has asked for is lost, and what it was asked and has not answered.
    fn stop(&self, change: &mut Change<'_, Self::Machine>, node: u8, power: bool) {
        let how = if power { StopKind::PowerLost } else { StopKind::Killed };
        self.take(change, node, &Event::Stop { power });
        change.after.witness = self.watch().stopped(&change.after.witness, node, how);
        for (link, stage) in change.after.net.links().cloned().collect::<Vec<_>>() {
            if link.from == node {
                change.after.net.set(link, None);
                if stage == Stage::Taken {
                    self.take(change, link.to, &Event::Disconnected(link.request_id(false)));
                }
            } else if link.to == node && stage == Stage::Taken {
                self.fail(change, link);
            }
        }
    }

    /// Something happens to a letter. False if that is no step of its own.
    fn travel(&self, change: &mut Change<'_, Self::Machine>, travel: Travel, spent: &mut Letters) -> bool {
        let is_meant = |link: &&(Link, Stage)| {
            let (link, _) = link;
            (link.from, link.to, Purpose::of(link.channel)) == (travel.from, travel.to, travel.purpose)
        };
        let found = change.after.net.links().find(is_meant).cloned();
        if travel.how == How::ReachLate {
            let late = change.after.net.late().iter().map(|(link, _)| *link);
            let mut late = late.filter(|link| (link.from, link.to) == (travel.from, travel.to));
            let Some(link) = late.find(|link| Purpose::of(link.channel) == travel.purpose) else {
                return false;
            };
            if let Some(letter) = change.after.net.take_late(link) {
                self.take(change, link.to, &Event::Handle(link.request_id(true), &letter));
                // Its connection is gone: should it wait, nobody is there for the answer.
                self.take(change, link.to, &Event::Disconnected(link.request_id(true)));
            }
            return true;
        }
        let Some((link, stage)) = found else {
            return false;
        };
        match travel.how {
            How::Exchange => {
                self.reach(change, link);
                self.answer(change, link);
            }
            How::Reach => {
                spent.delayed_answers += 1;
                self.reach(change, link);
                // Without an answer nothing is delayed: that is the step above.
                return matches!(change.after.net.stage(link), Some(Stage::Answered(_)));
            }
            How::Answer => return self.answer(change, link),
            How::Lose => {
                spent.lost_connections += 1;
                if stage == Stage::Taken {
                    self.take(change, link.to, &Event::Disconnected(link.request_id(false)));
                }
                self.fail(change, link);
            }
            How::GiveUp => {
                spent.late_requests += 1;
                if let Stage::Asked(letter) = stage {
                    change.after.net.add_late(link, letter);
                }
                self.fail(change, link);
            }
            How::ReachLate => unreachable!("it has no link any more"),
        }
        true
    }
}

/// All that can happen to letters within `bounds`.
pub fn travels<M: Machine>(
    cluster: &Cluster<M>,
    is_up: impl Fn(u8) -> bool,
    (spent, bounds): (Letters, Letters),
) -> Vec<Travel> {
    let mut travels = Vec::new();
    for (link, stage) in cluster.net.links() {
        let mut add = |how| {
            travels.push(Travel {
                how,
                from: link.from,
                to: link.to,
                purpose: Purpose::of(link.channel),
            });
        };
        match stage {
            Stage::Asked(_) if is_up(link.to) => {
                add(How::Exchange);
                if spent.delayed_answers < bounds.delayed_answers {
                    add(How::Reach);
                }
                if spent.late_requests < bounds.late_requests {
                    add(How::GiveUp);
                }
            }
            Stage::Asked(_) | Stage::Taken => {}
            Stage::Answered(_) => add(How::Answer),
        }
        if spent.lost_connections < bounds.lost_connections {
            add(How::Lose);
        }
    }
    for (link, _) in cluster.net.late() {
        if is_up(link.to) {
            travels.push(Travel {
                how: How::ReachLate,
                from: link.from,
                to: link.to,
                purpose: Purpose::of(link.channel),
            });
        }
    }
    travels
}

/// What happens to a letter, in words; `name` names a node.
pub fn sentence(travel: Travel, name: impl Fn(u8) -> String) -> String {
    let (from, to, what) = (name(travel.from), name(travel.to), travel.purpose.word());
    match travel.how {
        How::Exchange => format!("{from}'s {what} reaches {to}, and the answer {from}"),
        How::Reach => format!("{from}'s {what} reaches {to}"),
        How::Answer => format!("{to}'s answer to the {what} reaches {from}"),
        How::Lose => format!("the connection of {from}'s {what} to {to} is lost"),
        How::GiveUp => format!("{from} gives up its {what} to {to}, which is still on its way"),
        How::ReachLate => format!("the {what} that {from} gave up reaches {to}"),
    }
}
