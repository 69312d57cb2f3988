//! The real state of a replica as the model has it, and where the two differ.

use super::decisions::words;
use super::finding::Finding;
use super::track::{Doubt, Track};
use kafka::replication::{Leadership as RealLeadership, Partition, Role as RealRole};
use kafka::types::BrokerEpoch;
use model::replication::{Action, Answer, Leadership, Log, Message, Offset, Proposal, Replica, Role, Set, Version};

/// A replica in the model's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Projection {
    start: Offset,
    end: Offset,
    /// First offset of each epoch that has records.
    epochs: Vec<(u16, Offset)>,
    high_watermark: Offset,
    /// None: it has not acted on metadata yet.
    known: Option<(u32, Version)>,
    leadership: Option<Leadership>,
}

fn offset(real: i64) -> Offset {
    Offset::try_from(real).unwrap_or(Offset::MAX)
}

impl Track {
    /// A broker hears in which incarnation it is registered. One that another process of its own has overtaken registers
    /// again, and goes on with what it has asked.
    pub fn registered(&mut self, replica: Replica, epoch: BrokerEpoch) {
        let local = &self.local[usize::from(replica)];
        let known = local
            .incarnations
            .iter()
            .zip(1..)
            .find(|((known, _), _)| *known == epoch);
        let Some((since, number)) = known.map(|((_, since), number)| (*since, number)) else {
            return;
        };
        let before = self.protocol.question(&self.state, replica);
        let broker = &mut self.state.brokers[usize::from(replica)];
        (broker.epoch, broker.since) = (number, since);
        let after = self.protocol.question(&self.state, replica);
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            for message in std::mem::take(&mut self.state.network) {
                self.state.send(match message {
                    Message::Fetch(fetch) if fetch == before => Message::Fetch(after),
                    Message::Fetched { fetch, parked, answer } if fetch == before => Message::Fetched {
                        fetch: after,
                        parked,
                        answer,
                    },
                    other => other,
                });
            }
            self.remember_question(replica);
        }
    }

    /// What a leader knows of its followers now.
    pub fn see(&mut self, leader: Replica, real: &RealLeadership) {
        for follower in &real.followers {
            if let Some(replica) = self.replica(follower.id) {
                let by = follower
                    .broker_epoch
                    .map_or(0, |epoch| self.incarnation(replica, epoch));
                let seen = &mut self.local[usize::from(leader)].seen[usize::from(replica)];
                *seen = follower.log_end_offset.map(|end| (offset(end), by));
            }
        }
    }

    /// Whether nothing of a replica can have changed that leaves no note.
    pub fn is_quiet(&self, replica: Replica, real: Option<&Partition>) -> bool {
        let at = usize::from(replica);
        let (local, ours) = (&self.local[at], &self.state.brokers[at]);
        let Some(real) = real.filter(|_| ours.up) else {
            return !local.starting;
        };
        let known = u32::try_from(real.state().partition_epoch.0).ok();
        let same = known == Some(ours.known) || ours.role == Role::Idle && known.is_none();
        let counts = match (real.role(), &ours.role) {
            (RealRole::Leader(real), Role::Leader(ours)) => {
                let counted = real.followers.iter().all(|follower| {
                    self.replica(follower.id).is_none_or(|replica| {
                        let at = usize::from(replica);
                        let end = follower.log_end_offset.map(offset);
                        let epoch = follower.broker_epoch;
                        let incarnation = epoch.map_or(0, |epoch| self.incarnation(replica, epoch));
                        (end, incarnation) == (ours.ends[at], ours.incarnations[at])
                    })
                });
                counted && real.proposal.is_some() == ours.proposal.is_some()
            }
            (RealRole::Leader(_), _) => false,
            (RealRole::Follower, _) => true,
        };
        let ends = offset(real.log().log_end_offset()) == ours.log.end();
        !local.starting && same && counts && ends && offset(real.high_watermark()) == ours.high_watermark
    }

    fn project(&self, real: &Partition) -> Projection {
        let end = offset(real.log().log_end_offset());
        let epochs = real
            .epochs()
            .iter()
            .map(|(epoch, start)| (epoch.0 as u16, offset(*start)));
        let state = real.state();
        let version = Version {
            leader: state.leader.and_then(|leader| self.replica(leader)),
            leader_epoch: state.leader_epoch.0.max(0) as u16,
            isr: self.set(&state.isr),
            elr: self.set(&state.elr),
        };
        let known = u32::try_from(state.partition_epoch.0).ok();
        let leadership = match real.role() {
            RealRole::Follower => None,
            RealRole::Leader(leadership) => {
                let mut ends = [None; model::replication::MOST_REPLICAS];
                let mut incarnations = [0; model::replication::MOST_REPLICAS];
                for follower in &leadership.followers {
                    if let Some(replica) = self.replica(follower.id) {
                        ends[usize::from(replica)] = follower.log_end_offset.map(offset);
                        incarnations[usize::from(replica)] = follower
                            .broker_epoch
                            .map_or(0, |epoch| self.incarnation(replica, epoch));
                    }
                }
                let proposal = leadership.proposal.as_ref().map(|proposal| Proposal {
                    partition_epoch: proposal.partition_epoch.0.max(0) as u32,
                    isr: self.set(&proposal.isr),
                });
                Some(Leadership {
                    epoch_start: offset(leadership.epoch_start_offset),
                    ends,
                    incarnations,
                    proposal,
                })
            }
        };
        Projection {
            start: offset(real.log().log_start_offset()),
            end,
            epochs: above(self.deleted, epochs, end),
            high_watermark: offset(real.high_watermark()),
            known: known.map(|known| (known, version)),
            leadership,
        }
    }

    /// The step of a broker is over: takes what left no note, then compares.
    pub fn settle(&mut self, replica: Replica, clean: bool, real: Option<&Partition>) -> Result<(), Finding> {
        let at = usize::from(replica);
        if self.local[at].starting {
            self.start(replica, clean, real)?;
        }
        if !self.state.brokers[at].up {
            return Ok(());
        }
        let highest = self.state.brokers[at].high_watermark.max(self.local[at].highest);
        self.local[at].highest = highest;
        let Some(real) = real else {
            // Not created yet, since it has not heard of the partition.
            return Ok(());
        };
        let real = self.project(real);
        if std::mem::take(&mut self.local[at].copied) {
            self.copied(replica, &real)?;
        }
        if let Some((partition_epoch, _)) = real.known
            && (self.state.brokers[at].known < partition_epoch || self.state.brokers[at].role == Role::Idle)
        {
            // A follower takes over a version of its own leader epoch without a word.
            self.take(&Action::ApplyMetadata {
                broker: replica,
                partition_epoch,
            })?;
        }
        if let Some(leadership) = &real.leadership {
            self.lead(replica, leadership)?;
        }
        if self.dirty {
            for leader in 0..self.protocol.replicas {
                self.refresh_answers(leader)?;
            }
        }
        match self.difference(replica, &real) {
            None => Ok(()),
            Some(why) => Err(Finding::unexplained(
                format!("after this step of b{}", replica + 1),
                why,
                Some(replica),
            )),
        }
    }

    /// A follower has taken an answer, if anything is different now.
    fn copied(&mut self, follower: Replica, real: &Projection) -> Result<(), Finding> {
        let before = &self.state.brokers[usize::from(follower)];
        if (before.log.end(), before.high_watermark) == (real.end, real.high_watermark)
            && self.epochs(&before.log) == real.epochs
        {
            return Ok(());
        }
        let fetch = self.protocol.question(&self.state, follower).ok_or_else(|| {
            let (end, high_watermark) = (real.end, real.high_watermark);
            Finding::unexplained(
                format!(
                    "b{}'s log ends at {end} now, with the high watermark {high_watermark}",
                    follower + 1
                ),
                "it follows nobody",
                Some(follower),
            )
        })?;
        let restarted = self.local[usize::from(follower)].restarted.take();
        if let Some(to) = restarted {
            // What had been synced above is gone, whatever was written there since.
            let broker = &mut self.state.brokers[usize::from(follower)];
            broker.synced = broker.synced.min(to);
        }
        // Where a new leader's high watermark is below what an earlier one has deleted, the log's start is as low as it gets.
        let told = self.state.network.iter().find_map(|message| match message {
            Message::Fetched {
                fetch: to,
                answer: Answer::Records { high_watermark, .. },
                ..
            } if *to == fetch => Some(*high_watermark),
            _ => None,
        });
        let lifted = told.filter(|told| real.high_watermark == real.start && *told < real.start);
        let action = Action::HandleFetched {
            fetch,
            end: real.end,
            high_watermark: lifted.unwrap_or(real.high_watermark),
        };
        if restarted.is_some() && !self.try_take(&action) {
            return self.restarted(follower, fetch.leader, real, &action);
        }
        if restarted.is_none() {
            self.take(&action)?;
        }
        self.state.brokers[usize::from(follower)].high_watermark = real.high_watermark;
        Ok(())
    }

    /// A follower whose log ends below its leader's, or parts from it there, begins anew where the leader's log begins.
    fn restarted(
        &mut self,
        follower: Replica,
        leader: Replica,
        real: &Projection,
        action: &Action,
    ) -> Result<(), Finding> {
        let log = self.read(leader, real);
        let leaders = &self.state.brokers[usize::from(leader)];
        if !leaders.log.starts_with(&log) || log.end() != real.end {
            let why = format!("it is not the beginning of its leader's log {}", leaders.log);
            return Err(Finding::refused(action, &why));
        }
        let broker = &mut self.state.brokers[usize::from(follower)];
        broker.synced = broker.synced.min(real.end);
        broker.log = log;
        broker.high_watermark = real.high_watermark;
        *self.matched.entry("restart").or_default() += 1;
        self.assume(&Action::AskAgain { follower })?;
        self.remember_question(follower);
        Ok(())
    }

    /// What a leader does without a note: it counts a fetch that is no news but for its sender's incarnation, and hears
    /// that its proposal is refused.
    fn lead(&mut self, leader: Replica, real: &Leadership) -> Result<(), Finding> {
        for follower in Set::first(self.protocol.replicas).without(leader).iter() {
            let Role::Leader(ours) = &self.state.brokers[usize::from(leader)].role else {
                return Ok(());
            };
            let at = usize::from(follower);
            let Some(end) = real.ends[at] else { continue };
            if (ours.ends[at], ours.incarnations[at]) != (Some(end), real.incarnations[at]) {
                self.count(leader, follower, end, Some(real.incarnations[at]), false)?;
            }
        }
        match self.proposal(leader) {
            Some(proposal) if real.proposal.is_none() => self.refuse(leader, proposal),
            _ => Ok(()),
        }
    }

    /// A process has opened its logs: they hold what the last one left, or less where the model allows it.
    fn start(&mut self, replica: Replica, clean: bool, real: Option<&Partition>) -> Result<(), Finding> {
        let at = usize::from(replica);
        self.local[at].starting = false;
        let doubt = std::mem::take(&mut self.local[at].doubt);
        let (start, end, high_watermark, log) = match real {
            Some(real) => {
                let projection = self.project(real);
                let log = self.read(replica, &projection);
                (projection.start, projection.end, projection.high_watermark, log)
            }
            // A directory that was never durable.
            None => (0, 0, 0, Log::default()),
        };
        let before = &self.state.brokers[at];
        if log != before.log || log.end() != end {
            let synced = before.synced;
            let kept = log.common_prefix(&before.log);
            match doubt {
                Doubt::Unsynced if kept == log.end() => self.take(&Action::LosePower { broker: replica, end })?,
                // What was cut and never synced may come back.
                Doubt::Unsynced if kept >= synced => self.adopt(replica, log),
                Doubt::LastStep => self.adopt(replica, log),
                _ => {
                    let why = format!("it left {} with all below {synced} synced", before.log);
                    let step = format!("b{} starts with the log {log}, which ends at {end}", replica + 1);
                    return Err(Finding::unexplained(step, why, Some(replica)));
                }
            }
        }
        // What is deleted was committed: a log that begins there, as the step that killed its process has left it, says so.
        let highest = self.local[at].highest.max(start.min(self.deleted));
        let broker = &mut self.state.brokers[at];
        broker.high_watermark = highest.min(broker.log.end()).max(broker.high_watermark);
        broker.clean = clean;
        self.take(&Action::Start {
            broker: replica,
            high_watermark,
        })
    }

    /// Takes over a log as a disk has it.
    fn adopt(&mut self, replica: Replica, log: Log) {
        let broker = &mut self.state.brokers[usize::from(replica)];
        broker.synced = broker.synced.min(log.common_prefix(&broker.log));
        broker.log = log;
        *self.matched.entry("adopt").or_default() += 1;
    }

    /// The log behind a projection, by the names of its records. What only the step that killed a leader has appended
    /// gets names now.
    fn read(&mut self, replica: Replica, real: &Projection) -> Log {
        // What is deleted is nowhere; the model's logs still hold it.
        let start = real.epochs.first().map_or(real.end, |(_, start)| *start);
        let own = std::iter::once(&self.state.brokers[usize::from(replica)]);
        let holds = own.chain(&self.state.brokers).find(|broker| broker.log.end() >= start);
        let mut log = holds.map_or(Log::default(), |broker| broker.log.slice(0, start));
        let ends = real.epochs.iter().skip(1).map(|(_, start)| *start).chain([real.end]);
        for ((epoch, start), end) in real.epochs.iter().zip(ends.collect::<Vec<_>>()) {
            log.extend(&self.names.find(*epoch, *start, end));
            if log.end() < end {
                let (base, len, record) = (log.end(), end - log.end(), self.state.outside.sent);
                let epoch = *epoch;
                let run = model::replication::Run { epoch, record, len };
                self.state.outside.sent += len;
                self.names.learn(base, run);
                log.push(run);
            }
        }
        log
    }

    fn difference(&self, replica: Replica, real: &Projection) -> Option<String> {
        let ours = &self.state.brokers[usize::from(replica)];
        let differs = |what: &str, real: String, ours: String| {
            Some(format!("its {what} is {real}, by the specification it is {ours}"))
        };
        if ours.log.end() != real.end {
            return differs("log end", real.end.to_string(), ours.log.end().to_string());
        }
        if self.epochs(&ours.log) != real.epochs {
            let (real, ours) = (format!("{:?}", real.epochs), format!("{:?}", self.epochs(&ours.log)));
            return differs("epoch cache", real, ours);
        }
        if ours.high_watermark != real.high_watermark {
            let (real, ours) = (real.high_watermark.to_string(), ours.high_watermark.to_string());
            return differs("high watermark", real, ours);
        }
        let Some((known, version)) = real.known else {
            let is_idle = ours.role == Role::Idle;
            return (!is_idle).then(|| "it has not acted on metadata, by the specification it has".to_owned());
        };
        if ours.known != known {
            return differs("partition epoch", known.to_string(), ours.known.to_string());
        }
        let view = self.state.view(replica);
        // Of the eligible replicas a leader learns with the metadata alone.
        let version = Version {
            elr: view.elr,
            ..version
        };
        if *view != version {
            return differs("version", words(&version), words(view));
        }
        match (&real.leadership, &ours.role) {
            (None, Role::Follower { .. }) => None,
            (Some(real), Role::Leader(ours)) if real == ours => None,
            (real, ours) => {
                let real = real.as_ref().map_or("it follows".to_owned(), in_words);
                let ours = match ours {
                    Role::Leader(ours) => in_words(ours),
                    Role::Follower { .. } => "it follows".to_owned(),
                    Role::Idle => "it is idle".to_owned(),
                };
                differs("role", real, ours)
            }
        }
    }
}

/// The epochs of what is not deleted: one that began before begins where the rest begins.
fn above(deleted: Offset, epochs: impl Iterator<Item = (u16, Offset)>, end: Offset) -> Vec<(u16, Offset)> {
    let mut above: Vec<(u16, Offset)> = Vec::new();
    for (epoch, start) in epochs.filter(|(_, start)| *start < end) {
        if start <= deleted {
            above.clear();
        }
        if above.last().is_none_or(|(last, _)| *last != epoch) {
            above.push((epoch, start.max(deleted)));
        }
    }
    above.retain(|(_, start)| *start < end);
    above
}

impl Track {
    /// First offset of each epoch.
    fn epochs(&self, log: &Log) -> Vec<(u16, Offset)> {
        let starts = log.runs().iter().scan(0, |start, run| {
            let first = *start;
            *start += run.len;
            Some((run.epoch, first))
        });
        above(self.deleted, starts, log.end())
    }
}

impl std::fmt::Display for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "log to {}, epochs from {:?}", self.end, self.epochs)?;
        write!(f, ", high watermark {}", self.high_watermark)?;
        match &self.known {
            None => write!(f, ", has not acted on metadata"),
            Some((known, version)) => write!(f, "\npartition epoch {known}: {}", words(version)),
        }?;
        match &self.leadership {
            None => Ok(()),
            Some(leadership) => write!(f, "\n{}", in_words(leadership)),
        }
    }
}

/// What a leader has, in words.
fn in_words(leadership: &Leadership) -> String {
    let mut words = format!("leads from offset {}", leadership.epoch_start);
    let counted = (1..).zip(leadership.ends.iter().zip(leadership.incarnations));
    for (name, (end, incarnation)) in counted {
        if let Some(end) = end {
            words += &format!(", counts b{name} (incarnation {incarnation}) to {end}");
        }
    }
    if let Some(proposal) = leadership.proposal {
        words += &format!(
            ", wants ISR {} on partition epoch {}",
            proposal.isr, proposal.partition_epoch
        );
    }
    words
}

impl Track {
    /// The real state in words.
    pub fn picture(&self, real: &Partition) -> String {
        self.project(real).to_string()
    }
}
