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
struct Told {
    /// Losses until then.
    losses: usize,
    highest: BTreeMap<i32, Offset>,
}

/// Everything about questions for the latest offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    told: BTreeMap<usize, Told>,
    /// Client and number of a question: its partition, and what had been told.
    asked: BTreeMap<(u16, u64), (usize, Told)>,
}

impl Checks {
    fn losses_of(&mut self, partition: usize) -> usize {
        let at = self.link(partition, None);
        at.map_or(0, |at| self.ghost.partitions[at].drops.len())
    }

    /// A user asks; what was told until now counts.
    pub(super) fn latest_asked(&mut self, client: u16, number: u64, partition: usize) {
        let told = self.latest.told.get(&partition).cloned().unwrap_or_default();
        self.latest.asked.insert((client, number), (partition, told));
    }

    /// C14.
    pub(super) fn latest_told(
        &mut self,
        client: u16,
        number: u64,
        partition: usize,
        timestamp: i64,
        (offset, epoch): (Option<Offset>, LeaderEpoch),
    ) {
        let asked = self.latest.asked.remove(&(client, number));
        let Some(offset) = offset.filter(|_| timestamp == -1 && epoch.0 >= 0) else {
            return;
        };
        let losses = self.losses_of(partition);
        // The name may stand for another topic by now.
        if let Some((_, before)) = asked.filter(|(place, told)| *place == partition && told.losses == losses) {
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
            *told = Told {
                losses,
                highest: BTreeMap::new(),
            };
        }
        let highest = told.highest.entry(epoch.0).or_default();
        *highest = (*highest).max(offset);
    }
}
