//! C14 across clients: who asks after somebody was told the latest offset is not told less.
//!
//! Real time alone promises nothing of the kind: Kafka's leaders hold no lease, so one that does not know yet that it was
//! replaced may answer after its successor has, and its high watermark is older. But an answer names the leader epoch
//! in which it was given, and that a leader does not go below what its predecessors exposed is what KIP-207 promises:
//! it names no latest offset before its high watermark has reached the end of what it took over. A predecessor that
//! lives on cannot expose more, since its in-sync replicas include the new leader, which does not fetch from it. So an
//! answer is compared with those of the same or an earlier epoch that were given before the question.
//!
//! Guarantees: what a client was told before the question is all that counts, however long the answer took; after a
//! loss of committed records, permitted or reported elsewhere, the count begins anew.
//!
//! Sources: KIP-207; Redpanda's and Jepsen's stale-leader reads; linearizability (Herlihy, Wing 1990).

use super::Checks;
use super::report::Check;
use kafka::types::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

/// What anybody was told of one partition, by leader epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposed {
    /// Losses until then.
    losses: usize,
    highest: BTreeMap<i32, Offset>,
}

/// Everything about answers to questions for the latest offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    told: BTreeMap<usize, Exposed>,
}

impl Checks {
    fn losses_of(&mut self, partition: usize) -> usize {
        let at = self.link(partition, None);
        at.map_or(0, |at| self.ghost.partitions[at].drops.len())
    }

    /// What anybody was told until now: counts for a question that is asked now.
    pub(super) fn exposed(&self, partition: usize) -> Exposed {
        self.latest.told.get(&partition).cloned().unwrap_or_default()
    }

    /// C14. `before` is what had been told when the client asked; none if its question is not known.
    pub(super) fn latest_told(
        &mut self,
        client: u16,
        before: Option<Exposed>,
        partition: usize,
        (offset, epoch): (Offset, LeaderEpoch),
    ) {
        if epoch.0 < 0 {
            return;
        }
        let losses = self.losses_of(partition);
        // The name may stand for another topic by now.
        if let Some(before) = before.filter(|exposed| exposed.losses == losses) {
            let highest = before.highest.range(..=epoch.0).max_by_key(|(_, offset)| **offset);
            let (then, floor) = highest.map_or((epoch.0, 0), |(epoch, offset)| (*epoch, *offset));
            let seen = &self.history.partitions[partition];
            self.report
                .expect(Check::C14, self.now, Some(client.into()), offset >= floor, || {
                    format!(
                        "Who asks later is not told less. The latest offset of {}-{} was {floor} in leader epoch {then} before this client asked, and it was told {offset} in epoch {}.",
                        seen.topic, seen.partition, epoch.0
                    )
                });
        }
        let told = self.latest.told.entry(partition).or_default();
        if told.losses != losses {
            *told = Exposed {
                losses,
                highest: BTreeMap::new(),
            };
        }
        let highest = told.highest.entry(epoch.0).or_default();
        *highest = (*highest).max(offset);
    }
}
