//! What a sweep must have met at least once, or it has tested less than it claims: the `sometimes` beside every
//! `always`. Scenario files name marks; a mark is only ever counted from facts.
//!
//! Sources: TigerBeetle `src/testing/marks.zig`; Antithesis "sometimes assertions".

use std::collections::BTreeMap;

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkInfo {
    /// As in scenario files.
    pub name: &'static str,
    /// When it counts, in one sentence.
    pub title: &'static str,
}

macro_rules! marks {
    ($($constant:ident $name:literal $title:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)] // One list names constants, their order and their text.
        enum Order { $($constant),* }
        $(#[doc = $title] pub(crate) const $constant: usize = Order::$constant as usize;)*
        const LIST: &[MarkInfo] = &[$(MarkInfo { name: $name, title: $title }),*];
    };
}

marks! {
    ELECTION_ABOVE_HW "election_with_record_above_high_watermark" "A replica became leader with records above its high watermark."
    TRUNCATION "truncation_happened" "A follower truncated what its leader does not have."
    TRUNCATION_TO_HW "truncation_to_high_watermark" "A follower truncated to its own high watermark."
    TORN_TAIL "recovered_torn_tail" "Recovery cut garbage off the end of a log."
    LOG_RESTARTED "log_restarted" "A follower behind its leader's log start began anew."
    ISR_SHRANK "isr_shrank" "A replica left the in-sync replicas."
    ISR_EXPANDED "isr_expanded" "A replica joined the in-sync replicas."
    ISR_PROPOSED "isr_proposed" "A leader asked for another ISR."
    UNCLEAN_ELECTION "unclean_election" "A leader was taken from outside the in-sync and eligible replicas."
    PREFERRED_ELECTION "preferred_election" "Leadership went to the preferred replica while the old leader was in sync."
    LEADER_CHANGED "leader_changed" "A partition got another leader."
    ELR_USED "elr_used" "A replica was elected that was eligible but not in-sync."
    ELR_FILLED "elr_filled" "A replica became eligible because the in-sync replicas were too few."
    SURVIVED_CRASH "acked_record_survived_leader_crash" "A new leader held acknowledged records of a leader that had crashed."
    SURVIVED_POWER_LOSS "acked_record_survived_power_loss" "With flush.messages=1 an in-sync replica lost power and kept all that was acknowledged."
    UNSYNCED_LOST "unsynced_data_lost" "A power failure took records that were never synced."
    COMMITTED_LOST_LOCALLY "committed_records_lost_on_a_replica" "A fault took committed records from one replica."
    NOT_ENOUGH_REPLICAS "not_enough_replicas_answered" "A produce request was refused for want of in-sync replicas."
    NOT_LEADER "not_leader_answered" "A produce request met a broker that does not lead."
    DIVERGENCE_FOUND "divergence_found" "A follower learnt from its leader that its log diverges."
    PERMITTED_LOSS "permitted_loss" "An acknowledged record was lost in a way that its promise does not cover."
    CONTROLLER_FAILOVER "controller_failover" "Another node became the active controller."
    QUORUM_ELECTION_LOST "quorum_election_repeated" "A candidate of the quorum stood again without a leader in between."
    OFFSET_NOT_AVAILABLE "offset_not_available_answered" "A new leader refused to name the latest offset."
    TRUNCATION_DETECTED "truncation_detected_by_consumer" "A consumer learnt that what it had read was truncated."
    POSITION_RESET "position_reset" "A consumer's position was out of range."
    SNAPSHOT_WRITTEN "snapshot_written" "A metadata snapshot was written."
    SNAPSHOT_LOADED "snapshot_loaded" "A node loaded a metadata snapshot."
    EPOCH_FENCED "epoch_fenced" "A request of another epoch was refused."
    BROKER_FENCED "broker_fenced" "The controller fenced a broker."
    CONTROLLED_SHUTDOWN "controlled_shutdown" "A broker left in order."
    CLEAN_START "clean_start" "A log was opened after a clean shutdown."
    UNCLEAN_START "unclean_start" "A log with records was recovered after an unclean stop."
    LOG_START_ADVANCED "log_start_advanced" "Records were deleted from the beginning of a log."
    SEND_UNKNOWN "send_of_unknown_fate" "A producer gave up without knowing whether its record is in the log."
    UNKNOWN_SEND_FOUND "unknown_send_was_written" "A record of unknown fate was read."
    READ_FROM_FOLLOWER "read_from_follower" "A consumer read from a replica that does not lead."
    LOG_DIR_FAILED "log_dir_failed" "A broker gave up its log directory."
    REASSIGNED "partition_reassigned" "The controller gave a partition other replicas."
    FRAME_REFUSED "frame_refused" "A broker closed a connection because its bytes were no request."
    FRAME_IN_PIECES "frame_in_pieces" "A request reached the connection driver in more than one piece."
    FRAME_IN_MANY_PIECES "frame_in_many_pieces" "A request reached the connection driver in eight pieces or more."
    WRITE_HELD_UP "write_held_up" "The driver had something to send and the NIC took no more of it."
    ANSWERS_PILED_UP "answers_piled_up" "More than 1 MiB of answers waited for a peer that does not read, so its requests were not taken up."
    LEFT_UNREAD "left_unread" "The driver left bytes unread, so that its peer was held up."
    LENGTH_REFUSED "length_refused" "The driver ended a connection because of the length of a frame."
    RESET_IN_FRAME "reset_in_frame" "A connection broke in the middle of a frame."
    END_IN_FRAME "end_in_frame" "A peer closed a connection in the middle of a frame."
    GIVEN_UP "peer_given_up" "A connection was closed although its peer had not read the last answers."
    IDEMPOTENT_WRITE "idempotent_write" "A batch of an idempotent producer was added to a log."
    DUPLICATE_FOUND "duplicate_found" "A leader knew a batch again and acknowledged it with its old offset."
    SEQUENCE_REFUSED "sequence_refused" "A leader refused a producer's batch for its sequence or epoch."
    PRODUCERS_LOADED "producers_loaded" "A broker read back what it knows of producers, at a start or after a cut."
    DUPLICATE_WRITTEN "duplicate_written" "A record of a producer that is not idempotent stands at two offsets."
    REPLICA_DAMAGED "disk_damaged" "A fault changed data that was durable."
}

/// How often each mark was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([u64; LIST.len()]);

impl Default for Marks {
    fn default() -> Marks {
        Marks([0; LIST.len()])
    }
}

impl Marks {
    /// Counts one.
    pub(crate) fn set(&mut self, mark: usize) {
        self.0[mark] += 1;
    }

    /// How often a mark was met; 0 also for a name that is not known.
    pub fn count(&self, name: &str) -> u64 {
        LIST.iter()
            .position(|mark| mark.name == name)
            .map_or(0, |mark| self.0[mark])
    }

    /// Names and counts of all marks.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        LIST.iter()
            .zip(self.0)
            .map(|(mark, count)| (mark.name, count))
            .collect()
    }

    /// Whether a scenario may ask for this mark.
    pub fn is_known(name: &str) -> bool {
        LIST.iter().any(|mark| mark.name == name)
    }

    /// All marks.
    pub fn list() -> &'static [MarkInfo] {
        LIST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_name() {
        let mut marks = Marks::default();
        marks.set(ISR_SHRANK);
        marks.set(ISR_SHRANK);
        assert_eq!(
            (
                marks.count("isr_shrank"),
                marks.count("isr_expanded"),
                marks.count("nonsense")
            ),
            (2, 0, 0)
        );
        assert!(Marks::is_known("elr_used") && !Marks::is_known("nonsense"));
        assert_eq!(marks.all().len(), LIST.len());
    }
}
