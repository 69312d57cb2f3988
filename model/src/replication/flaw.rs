//! Published bugs of replication as variants: each a small delta on the one protocol, asked for at one place.

/// What an implementation used to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// A new follower cuts its log at its own high watermark (before KIP-101).
    TruncateToHw,
    /// A new follower asks where its last epoch ends and is told an offset alone, once (KIP-101 before KIP-279).
    EpochEndOffsetV0,
    /// Fetches carry no leader epoch, and only a new leader's name makes a follower compare logs (before KIP-320).
    NoFetchEpochFencing,
    /// A replica joins the ISR at the leader's high watermark, wherever the leader's epoch began (KAFKA-7128).
    IsrJoinAtLaggingHw,
    /// The high watermark is taken over the ISR that is only proposed (KAFKA-8836).
    HwFromProposedIsr,
    /// The controller does not compare the incarnations that a proposed ISR names (before KIP-903).
    AlterPartitionNoBrokerEpoch,
    /// The last member of an ISR never leaves it, and commits alone (before KIP-966).
    LastReplicaStanding,
    /// A fetch whose answer is a divergence counts as progress (KAFKA-13141).
    CreditDivergingFetch,
    /// A waiting producer is answered by the high watermark alone (KAFKA-2960).
    AckWithoutLeadershipRecheck,
}

impl Flaw {
    /// All of them, in the order of their history.
    pub const ALL: [Flaw; 9] = [
        Flaw::TruncateToHw,
        Flaw::EpochEndOffsetV0,
        Flaw::NoFetchEpochFencing,
        Flaw::IsrJoinAtLaggingHw,
        Flaw::HwFromProposedIsr,
        Flaw::AlterPartitionNoBrokerEpoch,
        Flaw::LastReplicaStanding,
        Flaw::CreditDivergingFetch,
        Flaw::AckWithoutLeadershipRecheck,
    ];

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Flaw::TruncateToHw => "truncate_to_hw",
            Flaw::EpochEndOffsetV0 => "epoch_end_offset_v0",
            Flaw::NoFetchEpochFencing => "no_fetch_epoch_fencing",
            Flaw::IsrJoinAtLaggingHw => "isr_join_at_lagging_hw",
            Flaw::HwFromProposedIsr => "hw_from_proposed_isr",
            Flaw::AlterPartitionNoBrokerEpoch => "alter_partition_no_broker_epoch",
            Flaw::LastReplicaStanding => "last_replica_standing",
            Flaw::CreditDivergingFetch => "credit_diverging_fetch",
            Flaw::AckWithoutLeadershipRecheck => "ack_without_leadership_recheck",
        }
    }

    /// The flaw of this name.
    pub fn by_name(name: &str) -> Option<Flaw> {
        Flaw::ALL.into_iter().find(|flaw| flaw.name() == name)
    }
}
