//! The museum: published correctness bugs that can be switched on, one at a time.
//!
//! A rule names the historical behaviour. The place that decides asks [`Rules::has`] in one `match` arm or one
//! `if`, never through a flag that travels. With no rule on, the code is what we hold to be correct.

/// A historical bug. The name in scenario files is [`Rule::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Rule {
    /// A new follower truncates to its own high watermark instead of asking for the leader's epochs (before KIP-101).
    TruncateToHw,
    /// OffsetForLeaderEpoch answers without the epoch it found, so only one step of truncation happens (before KIP-279, KAFKA-6361).
    EpochEndOffsetV0,
    /// Fetch carries no leader epoch, so a zombie fetcher is neither fenced nor truncated (before KIP-320, KAFKA-6880).
    NoFetchEpochFencing,
    /// A replica joins the ISR at the leader's high watermark even if that lags the epoch's start (KAFKA-7128).
    IsrJoinAtLaggingHw,
    /// The leader computes the high watermark over the ISR it has only proposed (KIP-497, KAFKA-8836).
    HwFromProposedIsr,
    /// AlterPartition names brokers without their epochs, so an empty reincarnation enters the ISR (before KIP-903).
    AlterPartitionNoBrokerEpoch,
    /// The last replica of the ISR acknowledges alone and is elected again after losing its tail (before KIP-966).
    LastReplicaStanding,
    /// A fetch that is answered with a divergence still counts as progress (KAFKA-13141).
    CreditDivergingFetch,
    /// A waiting produce request is answered by the high watermark alone, without looking at who leads (KAFKA-2960, Redpanda #3003).
    AckWithoutLeadershipRecheck,
    /// The clean-shutdown marker outlives the start, so a later crash skips recovery (KAFKA-10471: it went only after all
    /// logs were loaded).
    CleanMarkerSurvives,
    /// The quorum's leader commits entries of earlier epochs before one of its own (KAFKA-12619).
    RaftCommitPrevEpoch,
    /// A voter that hears of its own epoch again forgets whom it voted for (Redpanda 9ff1818afd).
    VoteForgottenSameEpoch,
}

impl Rule {
    /// All, in the order of the museum.
    pub const ALL: [Rule; 12] = [
        Rule::TruncateToHw,
        Rule::EpochEndOffsetV0,
        Rule::NoFetchEpochFencing,
        Rule::IsrJoinAtLaggingHw,
        Rule::HwFromProposedIsr,
        Rule::AlterPartitionNoBrokerEpoch,
        Rule::LastReplicaStanding,
        Rule::CreditDivergingFetch,
        Rule::AckWithoutLeadershipRecheck,
        Rule::CleanMarkerSurvives,
        Rule::RaftCommitPrevEpoch,
        Rule::VoteForgottenSameEpoch,
    ];

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::TruncateToHw => "truncate_to_hw",
            Rule::EpochEndOffsetV0 => "epoch_end_offset_v0",
            Rule::NoFetchEpochFencing => "no_fetch_epoch_fencing",
            Rule::IsrJoinAtLaggingHw => "isr_join_at_lagging_hw",
            Rule::HwFromProposedIsr => "hw_from_proposed_isr",
            Rule::AlterPartitionNoBrokerEpoch => "alter_partition_no_broker_epoch",
            Rule::LastReplicaStanding => "last_replica_standing",
            Rule::CreditDivergingFetch => "credit_diverging_fetch",
            Rule::AckWithoutLeadershipRecheck => "ack_without_leadership_recheck",
            Rule::CleanMarkerSurvives => "clean_marker_survives",
            Rule::RaftCommitPrevEpoch => "raft_commit_prev_epoch",
            Rule::VoteForgottenSameEpoch => "vote_forgotten_same_epoch",
        }
    }

    /// The rule of this name.
    pub fn by_name(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// The rules that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules(u32);

impl Rules {
    /// None: the code as we mean it.
    pub const NONE: Rules = Rules(0);

    /// With `rule` on as well.
    #[must_use]
    pub const fn with(self, rule: Rule) -> Rules {
        Rules(self.0 | 1 << rule as u32)
    }

    /// Whether `rule` is on.
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}
