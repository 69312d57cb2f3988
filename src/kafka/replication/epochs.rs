//! Where two logs part: the questions and answers about leader epochs that truncation is made of.
//!
//! Pure arithmetic over an epoch cache `[(epoch, first offset)]`, ascending, and a log end.
//! It does not know logs, leaders or messages.
//!
//! ```text
//!   cache   (1,0) (2,10) (5,20)     log end 30
//!   end of   1 -> (1,10)   2 -> (2,20)   3 -> (2,20)   5 -> (5,30)   6 -> unknown
//! ```
//!
//! Sources: KIP-101, KIP-279, KIP-320, KIP-595, KAFKA-7415.

use crate::types::{LeaderEpoch, Offset};

/// An epoch cache: (epoch, first offset), ascending in both.
pub type Epochs<'a> = &'a [(LeaderEpoch, Offset)];

/// The largest epoch at most `requested` and its end. None where the cache cannot say: it is empty, or `requested` is
/// newer than all of it. An epoch older than all of it ends where the oldest known begins.
pub fn end_offset_for_epoch(epochs: Epochs<'_>, end: Offset, requested: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
    let (last, _) = *epochs.last()?;
    if requested == last {
        return Some((requested, end));
    }
    let above = epochs.partition_point(|(epoch, _)| *epoch <= requested);
    let (_, end) = *epochs.get(above)?;
    match above.checked_sub(1) {
        Some(floor) => Some((epochs[floor].0, end)),
        None => Some((requested, end)),
    }
}

/// Museum: the end of `requested` as before KIP-279, which is the start of the next larger epoch and says nothing of
/// which epoch was found. None: unknown, the follower falls back to its high watermark.
pub fn end_offset_before_kip_279(epochs: Epochs<'_>, end: Offset, requested: LeaderEpoch) -> Option<Offset> {
    let (first, _) = *epochs.first()?;
    if epochs.last()?.0 == requested {
        return Some(end);
    }
    if requested < first {
        return None;
    }
    epochs
        .iter()
        .find(|(epoch, _)| *epoch > requested)
        .map(|(_, start)| *start)
}

/// What a follower's next position must be, given its own cache and end, when its leader says that the largest epoch
/// in common may be `epoch`, which ends at `end_offset` there. Second value: the answer is final, no further question
/// is needed.
pub fn truncation_offset(epochs: Epochs<'_>, end: Offset, leader: (LeaderEpoch, Offset)) -> (Offset, bool) {
    let (leader_epoch, leader_end) = leader;
    match end_offset_for_epoch(epochs, end, leader_epoch) {
        // We never saw the leader's epoch: cut to the end of what we have below it, and ask again.
        Some((ours, our_end)) if ours != leader_epoch => (our_end.min(end), false),
        Some((_, our_end)) => (our_end.min(leader_end).min(end), true),
        None => (leader_end.min(end), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, Offset)]) -> Vec<(LeaderEpoch, Offset)> {
        entries
            .iter()
            .map(|(epoch, start)| (LeaderEpoch(*epoch), *start))
            .collect()
    }

    #[test]
    fn end_of_an_epoch_is_the_start_of_the_next_known_one() {
        let cache = cache(&[(1, 0), (2, 10), (5, 20)]);
        let end_of = |epoch| end_offset_for_epoch(&cache, 30, LeaderEpoch(epoch)).map(|(e, o)| (e.0, o));
        assert_eq!(end_of(0), Some((0, 0)));
        assert_eq!(end_of(1), Some((1, 10)));
        assert_eq!(end_of(2), Some((2, 20)));
        assert_eq!(end_of(4), Some((2, 20)));
        assert_eq!(end_of(5), Some((5, 30)));
        assert_eq!(end_of(6), None);
        assert_eq!(end_offset_for_epoch(&[], 30, LeaderEpoch(1)), None);
    }

    #[test]
    fn before_kip_279_the_epoch_found_is_not_told() {
        let cache = cache(&[(0, 0), (2, 1)]);
        let end_of = |epoch| end_offset_before_kip_279(&cache, 2, LeaderEpoch(epoch));
        // Epoch 1 is not in the leader's log at all, and still "ends" at 1.
        assert_eq!(end_of(1), Some(1));
        assert_eq!(end_of(0), Some(1));
        assert_eq!(end_of(2), Some(2));
        assert_eq!(end_of(3), None);
    }

    #[test]
    fn several_epochs_are_unwound_one_question_at_a_time() {
        // Ours: 1 at 0, 3 at 10, 5 at 20, end 30. The leader's: 1 at 0, 2 at 15, 6 at 18.
        let ours = cache(&[(1, 0), (3, 10), (5, 20)]);
        // Asked for 5 it answers (2, 18): we do not know 2.
        assert_eq!(truncation_offset(&ours, 30, (LeaderEpoch(2), 18)), (10, false));
        // Cut to 10, asked for 1 it answers (1, 15): our end of 1 is 10.
        assert_eq!(
            truncation_offset(&cache(&[(1, 0)]), 10, (LeaderEpoch(1), 15)),
            (10, true)
        );
    }

    #[test]
    fn never_beyond_the_own_end() {
        assert_eq!(
            truncation_offset(&cache(&[(1, 0)]), 10, (LeaderEpoch(1), 100)),
            (10, true)
        );
        assert_eq!(truncation_offset(&[], 10, (LeaderEpoch(1), 100)), (10, true));
    }
}
