//! From what a broker says it did to the model's actions: one match arm a note.

use super::finding::Finding;
use super::track::{Doubt, Track};
use crate::checks::StopKind;
use kafka::Note;
use model::replication::{Acks, Action, Message, Replica, Role, Run};

/// What goes beyond the numbers of the model.
fn narrow<T: TryFrom<U>, U>(number: U) -> Result<T, Finding> {
    let narrowed = T::try_from(number);
    narrowed.map_err(|_| Finding::unexplained("a number", "it is beyond what the specification has room for", None))
}

impl Track {
    /// A broker said something of its replica. `next` is what it said after that.
    pub fn note(&mut self, replica: Replica, note: &Note, next: Option<&Note>) -> Result<(), Finding> {
        let at = usize::from(replica);
        if !self.state.brokers[at].up && !self.local[at].starting {
            return Ok(());
        }
        if self.local[at].starting {
            // What a log holds after recovery is looked at as a whole.
            return Ok(());
        }
        match note {
            Note::Appended {
                base_offset,
                last_offset,
                leader_epoch,
                as_leader: true,
                ..
            } => self.appended(replica, (*base_offset, *last_offset), leader_epoch.0),
            Note::Appended { as_leader: false, .. }
            | Note::HighWatermarkLowered { .. }
            | Note::HighWatermarkAdvanced { as_leader: false, .. } => {
                self.local[at].copied = true;
                Ok(())
            }
            Note::Truncated { to, .. } | Note::Restarted { at: to, .. } => {
                self.local[at].copied = true;
                let to = narrow::<u32, _>(*to)?;
                if to <= self.deleted {
                    let lowest = self.local[at].restarted.map_or(to, |lowest| lowest.min(to));
                    self.local[at].restarted = Some(lowest);
                }
                Ok(())
            }
            Note::LogStartAdvanced { to, .. } => self.deleted(replica, narrow(*to)?),
            Note::HighWatermarkAdvanced {
                to, as_leader: true, ..
            } => self.take(&Action::AdvanceHighWatermark {
                leader: replica,
                to: narrow(*to)?,
            }),
            Note::ProduceAnswered {
                error_code,
                base_offset,
                last_offset,
                acks,
                ..
            } if *error_code == 0 => self.answered(replica, narrow(*base_offset)?, narrow(*last_offset)?, *acks),
            Note::DuplicateFound {
                base_offset,
                last_offset,
                ..
            } => {
                let batch = (narrow(*base_offset)?, narrow(*last_offset)?);
                self.local[at].again.push(batch);
                Ok(())
            }
            Note::FollowerProgressed {
                follower,
                log_end_offset,
                ..
            } => {
                let Some(follower) = self.replica(*follower) else {
                    return Ok(());
                };
                let joins = match next {
                    Some(Note::IsrProposed { isr, .. }) => {
                        self.set(isr).has(follower) && !self.state.view(replica).isr.has(follower)
                    }
                    _ => false,
                };
                let end = narrow(*log_end_offset)?;
                let seen = self.local[at].seen[usize::from(follower)].filter(|(seen, _)| *seen == end);
                self.count(replica, follower, end, seen.map(|(_, incarnation)| incarnation), joins)
            }
            Note::IsrProposed { isr, .. } => self.proposed(replica, isr),
            Note::BecameLeader { state, .. } | Note::BecameFollower { state, .. } => {
                self.take(&Action::ApplyMetadata {
                    broker: replica,
                    partition_epoch: narrow(state.partition_epoch.0)?,
                })
            }
            Note::IsrUpdated { state, .. } => self.updated(replica, narrow(state.partition_epoch.0)?),
            Note::Flushed { to, .. } => {
                let end = narrow(*to)?;
                if end <= self.state.brokers[at].synced {
                    return Ok(());
                }
                self.take(&Action::Flush { broker: replica, end })
            }
            _ => Ok(()),
        }
    }

    fn appended(&mut self, leader: Replica, (base, last): (i64, i64), epoch: i32) -> Result<(), Finding> {
        let (base, count) = (narrow(base)?, narrow::<u32, _>(last - base + 1)?);
        let before = &self.state.brokers[usize::from(leader)];
        let (end, ours) = (before.log.end(), i32::from(self.state.leader_epoch(leader)));
        if base != end || epoch != ours {
            return Err(Finding::unexplained(
                format!("b{} appends at offset {base} in leader epoch {epoch}", leader + 1),
                format!("its log ends at {end} and it is in leader epoch {ours}"),
                Some(leader),
            ));
        }
        let record = self.state.outside.sent;
        // What its producer waits for is known only when it is answered.
        let produce = |acks| Action::Produce { leader, acks, count };
        if !self.try_take(&produce(Acks::All)) {
            self.take(&produce(Acks::One))?;
        }
        let epoch = self.state.leader_epoch(leader);
        let len = count;
        self.names.learn(base, Run { epoch, record, len });
        Ok(())
    }

    /// Records are gone: below the high watermark of a leader, or as a leader has said.
    fn deleted(&mut self, replica: Replica, to: u32) -> Result<(), Finding> {
        let broker = &self.state.brokers[usize::from(replica)];
        let leads = matches!(broker.role, Role::Leader(_));
        let most = if leads { broker.high_watermark } else { self.deleted };
        if to > most {
            return Err(Finding::unexplained(
                format!("b{} deletes all below {to}", replica + 1),
                format!("only what is below {most} may be deleted by now (KIP-107)"),
                Some(replica),
            ));
        }
        self.deleted = self.deleted.max(to);
        Ok(())
    }

    /// A disk was replaced by an empty one.
    pub fn wiped(&mut self, replica: Replica) -> Result<(), Finding> {
        if self.state.brokers[usize::from(replica)].log.is_empty() {
            return Ok(());
        }
        self.local[usize::from(replica)].highest = 0;
        self.take(&Action::Wipe { broker: replica })
    }

    /// A producer was told success.
    fn answered(&mut self, leader: Replica, base: u32, last: u32, acks: i16) -> Result<(), Finding> {
        let waiting = &self.state.brokers[usize::from(leader)].waiting;
        let is_waited_for = waiting.iter().any(|waiting| waiting.base == base);
        let again = &mut self.local[usize::from(leader)].again;
        let known = again.iter().position(|batch| *batch == (base, last));
        if acks == -1
            && !is_waited_for
            && let Some(known) = known
        {
            again.remove(known);
            self.answered_again(leader, base, last)?;
        } else if acks == -1 {
            self.take(&Action::Acknowledge { leader, base })?;
        }
        // Nobody waits any more for what the same request has appended after it, or without acks=all.
        let waiting = &self.state.brokers[usize::from(leader)].waiting;
        let done = waiting.iter().filter(|waiting| (base..=last).contains(&waiting.base));
        let done: Vec<u32> = done.map(|waiting| waiting.base).collect();
        done.into_iter()
            .try_for_each(|base| self.assume(&Action::GiveUp { leader, base }))
    }

    /// A producer that had sent a batch again was told success. In the model a record is acknowledged once, so what it
    /// asks of an acknowledgement is asked here.
    fn answered_again(&mut self, leader: Replica, base: u32, last: u32) -> Result<(), Finding> {
        let broker = &self.state.brokers[usize::from(leader)];
        let leads = matches!(broker.role, Role::Leader(_));
        if leads && last < broker.high_watermark {
            return Ok(());
        }
        Err(Finding::unexplained(
            format!("b{} acknowledges offsets {base} to {last} again", leader + 1),
            "only a leader does, and only below its high watermark",
            Some(leader),
        ))
    }

    fn proposed(&mut self, leader: Replica, isr: &[kafka::NodeId]) -> Result<(), Finding> {
        let isr = self.set(isr);
        let before = self.state.view(leader).isr;
        if let Role::Leader(leadership) = &self.state.brokers[usize::from(leader)].role {
            if leadership.proposal.is_some_and(|proposal| proposal.isr == isr) {
                // With the fetch that showed it.
                self.watch_proposals();
                return Ok(());
            }
            if let Some(joiner) = isr.minus(before).iter().next() {
                let seen = self.local[usize::from(leader)].seen[usize::from(joiner)];
                let end = leadership.ends[usize::from(joiner)].unwrap_or(0);
                let (end, incarnation) = seen.map_or((end, None), |(end, by)| (end, Some(by)));
                self.count(leader, joiner, end, incarnation, true)?;
                self.watch_proposals();
                return Ok(());
            }
        }
        self.take(&Action::ProposeIsr { leader, isr })?;
        self.watch_proposals();
        Ok(())
    }

    /// A leader has another version of its own epoch: from the controller's answer, or from the metadata.
    fn updated(&mut self, leader: Replica, partition_epoch: u32) -> Result<(), Finding> {
        let Role::Leader(leadership) = &self.state.brokers[usize::from(leader)].role else {
            let step = format!("b{} leads with partition epoch {partition_epoch}", leader + 1);
            return Err(Finding::unexplained(step, "it does not lead", Some(leader)));
        };
        let answered = self.state.network.iter().find_map(|message| match message {
            Message::Altered {
                leader: to,
                proposal,
                accepted,
                ..
            } if *to == leader && leadership.proposal == Some(*proposal) && *accepted == Some(partition_epoch) => {
                Some(*proposal)
            }
            _ => None,
        });
        match answered {
            Some(proposal) => self.take(&Action::HandleAltered { leader, proposal }),
            None => self.take(&Action::ApplyMetadata {
                broker: leader,
                partition_epoch,
            }),
        }
    }

    /// A process has ended; `clean` is what the next one will find.
    pub fn stopped(&mut self, replica: Replica, how: StopKind, clean: bool) -> Result<(), Finding> {
        let local = &mut self.local[usize::from(replica)];
        (local.copied, local.restarted, local.starting) = (false, None, false);
        match how {
            StopKind::PowerLost if local.doubt == Doubt::None => local.doubt = Doubt::Unsynced,
            StopKind::KilledMidStep => local.doubt = Doubt::LastStep,
            _ => {}
        }
        if !self.state.brokers[usize::from(replica)].up {
            return Ok(());
        }
        self.take(&match how {
            StopKind::Exited { clean: true } => Action::Stop { broker: replica },
            _ => Action::Kill { broker: replica },
        })?;
        self.state.brokers[usize::from(replica)].clean = clean;
        Ok(())
    }
}
