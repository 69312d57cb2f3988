//! One node of an exhaustive search: a real machine, if its process runs, and its disk.
//!
//! ```text
//!   Node ──event──▶ machine.step ──▶ syncs that end at once ──▶ forget age, retry ──▶ Node'   + what left it, notes
//! ```
//!
//! Guarantees: the node after a step is in canonical form, so that two nodes with one digest have one future. Time
//! stands still at [`NOW`] but for the steps in which a timer fires. A broken assertion of the code is a result.

use super::cluster::Event;
use super::digest::{Digester, digest};
use super::disk::PageCache;
use super::letter::Letter;
use super::memo::Memo;
use crate::run::panics;
use kafka::log::LogError;
use kafka::note::Note;
use kafka::{Call, Nanos, Now, Outbox, Output, RequestId, SyncTag};
use std::hash::Hash;
use std::sync::Arc;

/// The time at every node, always.
pub const NOW: Now = Now {
    mono: Nanos::from_ms(1_000_000_000),
    wall_ms: 1_700_000_000_000,
};

/// `ms` after [`NOW`]: a timer fires.
pub fn later(ms: u64) -> Now {
    Now {
        mono: NOW.mono.plus_ms(ms),
        ..NOW
    }
}

/// What an exhaustive search needs of a machine.
pub trait Machine: Clone + Hash + Send + Sync {
    /// A sync ended well.
    fn on_sync_done(&mut self, tag: &SyncTag, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError>;

    /// Forgets its age, after a step that was taken at `now`, and asks again at once what it would ask again soon.
    fn rest(&mut self, now: Now, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError>;
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node<M> {
    /// None: no process runs.
    pub machine: Option<M>,
    /// What is on it.
    pub disk: PageCache,
    /// Of both.
    pub digest: u128,
}

impl<M: Hash> Node<M> {
    /// A node that was never started.
    pub fn new() -> Node<M> {
        let disk = PageCache::default();
        let digest = digest(&(None::<M>, &disk));
        let machine = None;
        Node { machine, disk, digest }
    }
}

/// What one step of a node led to.
pub struct Effect<M> {
    /// The node after it.
    pub node: Arc<Node<M>>,
    /// Requests to peers.
    pub calls: Vec<(Call, Letter)>,
    /// Answers.
    pub replies: Vec<(RequestId, Letter)>,
    /// What it said.
    pub notes: Vec<Note>,
    /// Of the notes.
    pub notes_digest: u128,
    /// An assertion that broke, or why the process would end.
    pub broken: Option<Arc<str>>,
}

/// The steps of all nodes of one kind.
pub struct Steps<M> {
    memo: Memo<Effect<M>>,
    /// Syncs that end by an action of their own; all others end at once.
    is_slow: fn(&SyncTag) -> bool,
}

impl<M: Machine> Steps<M> {
    /// No step was taken yet.
    pub fn new(is_slow: fn(&SyncTag) -> bool) -> Steps<M> {
        Steps {
            memo: Memo::new(17),
            is_slow,
        }
    }

    /// Takes one step at `now`. `event` names what `enter` does, with all that it depends on but the node.
    pub fn take(
        &self,
        node: &Arc<Node<M>>,
        event: &Event<'_, impl Hash>,
        now: Now,
        enter: impl FnOnce(&mut Option<M>, &mut PageCache, &mut Outbox) -> Result<(), LogError>,
    ) -> Arc<Effect<M>> {
        let mut key = Digester::default();
        (node.digest, event).hash(&mut key);
        self.memo.get_or(key.all(), || match event {
            Event::Stop { power } => self.compute(node, now, |machine, disk, _| {
                *machine = None;
                if *power {
                    disk.lose_power()
                } else {
                    disk.crash()
                }
                Ok(())
            }),
            _ => self.compute(node, now, enter),
        })
    }

    fn compute(
        &self,
        node: &Node<M>,
        now: Now,
        enter: impl FnOnce(&mut Option<M>, &mut PageCache, &mut Outbox) -> Result<(), LogError>,
    ) -> Effect<M> {
        let (mut machine, mut disk) = (node.machine.clone(), node.disk.clone());
        let mut out = Outbox::default();
        let result = panics::catch(|| {
            enter(&mut machine, &mut disk, &mut out)?;
            self.end_syncs(&mut machine, &mut disk, &mut out)?;
            if let Some(machine) = &mut machine {
                machine.rest(now, &mut disk, &mut out)?;
            }
            self.end_syncs(&mut machine, &mut disk, &mut out)
        });
        let broken = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Arc::from(format!("the process ends: {error}"))),
            Err(panic) => Some(Arc::from(panic)),
        };
        disk.renumber();
        let digest = digest(&(&machine, &disk));
        let letter = |call: Call| {
            let letter = Letter::request(call.request.clone());
            (call, letter)
        };
        Effect {
            node: Arc::new(Node { machine, disk, digest }),
            calls: out.calls.into_iter().map(letter).collect(),
            replies: (out.replies.into_iter())
                .map(|(id, response)| (id, Letter::response(response)))
                .collect(),
            notes_digest: super::digest::digest(&out.notes),
            notes: out.notes,
            broken,
        }
    }

    fn end_syncs(&self, machine: &mut Option<M>, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        loop {
            for output in std::mem::take(&mut out.outputs) {
                if let Output::Sync { tag, target } = output {
                    disk.ask_sync(tag, &target);
                }
            }
            let Some(tag) = disk.end_sync(|tag| !(self.is_slow)(tag)) else {
                return Ok(());
            };
            if let Some(machine) = machine {
                machine.on_sync_done(&tag, disk, out)?;
            }
        }
    }
}
