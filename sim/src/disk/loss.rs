//! What a power failure leaves of a file.
//!
//! Guarantees: what was synced survives (a change that was not may take its place, as long as it survives itself); the
//! unit is the sector, each old or new as a whole unless sectors tear; length and data are settled apart from each
//! other, so a file may end in sectors that were never written, or before data that was. It does not know names.
//!
//! | mode | what survives |
//! | --- | --- |
//! | `Nothing` | no unsynced change |
//! | `Everything` | all of them |
//! | `UpTo` | a prefix of the changes; the first one lost may leave a prefix of its sectors |
//! | `Each` | each sector shows any of its versions, the length is any that the file has had |
//!
//! Sources: "Understanding the Robustness of SSDs under Power Fault" (FAST 2013); ALICE and BOB (OSDI 2014);
//! ext4 delayed allocation.

use super::file::{Change, FileImage, SECTOR};
use crate::random::Stream;

/// Which unsynced changes of a file survive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    Nothing,
    Everything,
    /// Those up to `seq`; of the change `torn` a part.
    UpTo {
        seq: u64,
        torn: Option<u64>,
    },
    Each,
}

/// How rough the failure is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roughness {
    /// A sector may be new at its beginning and old after it [D7].
    pub torn_sectors: bool,
    /// What was allocated but never written is garbage, not zeros [D3].
    pub garbage_tail: bool,
}

/// One of so many versions of a sector is torn, when sectors tear.
const TORN_ONE_IN: u64 = 8;

impl FileImage {
    /// Settles the unsynced changes on the platter and empties the cache.
    pub fn lose_power(&mut self, keep: Keep, rough: Roughness, stream: &mut Stream) {
        if !self.journal.is_empty() && !matches!(keep, Keep::Nothing) {
            self.rewind();
            let journal = std::mem::take(&mut self.journal);
            match keep {
                Keep::Nothing => {}
                Keep::Everything => self.keep_up_to(&journal, u64::MAX, None, rough, stream),
                Keep::UpTo { seq, torn } => self.keep_up_to(&journal, seq, torn, rough, stream),
                Keep::Each => self.keep_each(&journal, rough, stream),
            }
            let end = self.platter.len() as u64;
            self.unreadable.retain(|sector| sector * SECTOR < end);
        }
        self.restart();
    }

    /// Takes the cache back to the last sync and leaves in the journal what each change wrote.
    fn rewind(&mut self) {
        for change in self.journal.iter_mut().rev() {
            let at = change.offset as usize;
            let covered = std::mem::take(&mut change.old);
            if change.resize {
                self.cache.resize(at.min(change.before as usize), 0);
                self.cache.extend_from_slice(&covered);
            } else {
                // A failed sync may have taken changes from the middle, so the image may be shorter than it was.
                let end = at + change.len as usize;
                if self.cache.len() < end {
                    self.cache.resize(end, 0);
                }
                change.old = self.cache[at..end].into();
                let before = change.before as usize;
                if before < end {
                    self.cache.truncate(before);
                }
                self.cache[at.min(before)..][..covered.len()].copy_from_slice(&covered);
            }
        }
    }

    fn replay(&mut self, change: &Change) {
        let at = change.offset as usize;
        if change.resize {
            self.cache.resize(at, 0);
        } else {
            let end = at + change.len as usize;
            if self.cache.len() < end {
                self.cache.resize(end, 0);
            }
            self.cache[at..end].copy_from_slice(&change.old);
        }
    }

    /// The device writes a sector of the cached image, or its first `bytes` bytes.
    fn write_sector(&mut self, sector: u64, bytes: u64) {
        let from = (sector * SECTOR) as usize;
        let to = (from + bytes as usize).min(self.cache.len());
        if from < to {
            if self.platter.len() < to {
                self.platter.resize(to, 0);
            }
            self.platter[from..to].copy_from_slice(&self.cache[from..to]);
            self.unreadable.remove(&sector);
        }
    }

    fn keep_up_to(&mut self, journal: &[Change], seq: u64, torn: Option<u64>, rough: Roughness, stream: &mut Stream) {
        let mut len = self.platter.len() as u64;
        for change in journal {
            self.replay(change);
            let (first, last) = sectors(change);
            if change.seq <= seq {
                if change.resize {
                    // What lies behind a cut must not come back when the file grows again.
                    len = change.offset;
                    self.platter.resize(len as usize, 0);
                } else {
                    len = self.cache.len() as u64;
                    (first..last).for_each(|sector| self.write_sector(sector, SECTOR));
                }
            } else {
                if torn == Some(change.seq) && !change.resize {
                    let whole = stream.below(last - first + 1);
                    (first..first + whole).for_each(|sector| self.write_sector(sector, SECTOR));
                    let mut written = (first + whole) * SECTOR;
                    if rough.torn_sectors && first + whole < last {
                        let bytes = stream.below(SECTOR);
                        self.write_sector(first + whole, bytes);
                        written += bytes;
                    }
                    let full = self.cache.len() as u64;
                    if full > len {
                        // Length durable without data, or only as far as there is data.
                        let long = stream.below(2) == 0;
                        let before = len;
                        len = if long { full } else { written.clamp(len, full) };
                        self.platter.resize(len as usize, 0);
                        if long && rough.garbage_tail {
                            self.spoil(written.max(before).max(change.offset), full, stream);
                        }
                    }
                }
                break;
            }
        }
        self.platter.resize(len as usize, 0);
    }

    fn keep_each(&mut self, journal: &[Change], rough: Roughness, stream: &mut Stream) {
        let stored = self.platter.len() as u64;
        // Lengths are the file system's own journal: they survive up to a point in time.
        let lengths = stream.below(journal.len() as u64 + 1) as usize;
        let mut len = stored;
        // Beyond a cut that did not survive nothing written after it can have.
        let mut barrier = u64::MAX;
        let lowest = journal.iter().map(|change| change.range().0).min().unwrap_or(0) / SECTOR;
        // Of each sector: how many versions so far, and whether one of them was taken.
        let mut versions: Vec<(u32, bool)> = Vec::new();
        for (index, change) in journal.iter().enumerate() {
            self.replay(change);
            if index < lengths {
                len = self.cache.len() as u64;
            }
            if change.resize {
                if change.offset >= change.before {
                    continue;
                }
                if index >= lengths {
                    barrier = barrier.min(change.offset);
                } else if (change.offset as usize) < self.platter.len() {
                    self.platter.truncate(change.offset as usize);
                }
                continue;
            }
            let (first, last) = sectors(change);
            for sector in first..last {
                if (sector + 1) * SECTOR > barrier {
                    break;
                }
                let place = (sector - lowest) as usize;
                if versions.len() <= place {
                    versions.resize(place + 1, (0, false));
                }
                versions[place].0 += 1;
                // The nth version takes the place of the earlier ones once in n + 1: all are equally likely in the end.
                if stream.below(u64::from(versions[place].0) + 1) == 0 {
                    let torn = rough.torn_sectors && stream.below(TORN_ONE_IN) == 0;
                    let bytes = if torn { stream.below(SECTOR) } else { SECTOR };
                    self.write_sector(sector, bytes);
                    versions[place].1 = true;
                }
            }
        }
        self.platter.resize(len as usize, 0);
        if rough.garbage_tail {
            for (place, (count, taken)) in versions.iter().enumerate() {
                let from = (lowest + place as u64) * SECTOR;
                if *count > 0 && !taken && from + SECTOR > stored {
                    self.spoil(from.max(stored), from + SECTOR, stream);
                }
            }
        }
    }

    /// Fills with what a stranger's file may have left there.
    fn spoil(&mut self, from: u64, to: u64, stream: &mut Stream) {
        let to = to.min(self.platter.len() as u64);
        if from >= to {
            return;
        }
        let mut state = stream.next_u64() | 1;
        for byte in &mut self.platter[from as usize..to as usize] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
    }
}

/// First and one past the last sector that a write touches.
fn sectors(change: &Change) -> (u64, u64) {
    (change.offset / SECTOR, (change.offset + change.len).div_ceil(SECTOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;
    use std::collections::BTreeSet;

    const SMOOTH: Roughness = Roughness {
        torn_sectors: false,
        garbage_tail: false,
    };

    fn stored(bytes: &[u8]) -> FileImage {
        let mut file = FileImage::stored(1, bytes.to_vec());
        (0..100).for_each(|page| {
            file.load(page);
        });
        file
    }

    fn outcomes(file: &FileImage, keep: Keep, rough: Roughness) -> BTreeSet<Vec<u8>> {
        (0..400)
            .map(|seed| {
                let mut file = file.clone();
                file.lose_power(keep, rough, &mut Streams::new(seed).stream("loss"));
                file.platter
            })
            .collect()
    }

    #[test]
    fn everything_is_what_the_cache_had() {
        let mut file = stored(&[9; 2000]);
        file.write(1, 100, &[1; 300]);
        file.resize(2, 600);
        file.write(3, 900, &[2; 50]);
        file.write(4, 950, &[3; 3000]);
        let want = file.cache.clone();
        assert_eq!(outcomes(&file, Keep::Everything, SMOOTH), BTreeSet::from([want]));
        assert_eq!(outcomes(&file, Keep::Nothing, SMOOTH), BTreeSet::from([vec![9; 2000]]));
    }

    #[test]
    fn a_sector_written_twice_shows_any_version_and_no_other() {
        let mut file = stored(&[0; 1024]);
        file.write(1, 0, &[1; 1024]);
        file.write(2, 0, &[2; 512]);
        let seen: BTreeSet<(u8, u8)> = outcomes(&file, Keep::Each, SMOOTH)
            .into_iter()
            .map(|bytes| {
                assert!(bytes.len() == 1024 && bytes.chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0])));
                (bytes[0], bytes[512])
            })
            .collect();
        assert_eq!(seen, BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]));
    }

    #[test]
    fn a_torn_call_leaves_a_prefix_of_its_sectors() {
        let mut file = stored(&[]);
        file.write(1, 0, &[1; 512]);
        file.write(2, 512, &[2; 1536]);
        let seen = outcomes(&file, Keep::UpTo { seq: 1, torn: Some(2) }, SMOOTH);
        let mut lengths = BTreeSet::new();
        for bytes in seen {
            let data = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            assert!(data % 512 == 0 && data >= 512 && bytes[512..data].iter().all(|byte| *byte == 2));
            assert!(
                bytes[data..].iter().all(|byte| *byte == 0),
                "length without data: zeros"
            );
            lengths.insert((data, bytes.len()));
        }
        let want = [
            (512, 512),
            (512, 2048),
            (1024, 1024),
            (1024, 2048),
            (1536, 1536),
            (1536, 2048),
            (2048, 2048),
        ];
        assert_eq!(lengths, BTreeSet::from(want));
    }

    #[test]
    fn length_and_data_are_apart_and_the_gap_is_zeros_or_garbage() {
        let mut file = stored(&[7; 512]);
        file.write(1, 512, &[1; 1024]);
        let zeros = outcomes(&file, Keep::Each, SMOOTH);
        assert!(zeros.contains(&vec![7; 512]), "shorter than its data");
        assert!(
            zeros.contains(&[vec![7; 512], vec![0; 1024]].concat()),
            "length without data"
        );
        assert!(
            zeros.contains(&[vec![7; 512], vec![0; 512], vec![1; 512]].concat()),
            "a hole"
        );
        let rough = Roughness {
            torn_sectors: false,
            garbage_tail: true,
        };
        let spoiled = outcomes(&file, Keep::Each, rough);
        assert!(
            spoiled
                .iter()
                .any(|bytes| bytes.len() == 1536 && bytes[600..].iter().any(|b| *b > 1))
        );
        assert!(
            spoiled.iter().all(|bytes| bytes[..512] == [7; 512]),
            "the synced part is untouched"
        );
    }

    #[test]
    fn a_sector_tears_inside_only_when_asked() {
        let mut file = stored(&[0; 512]);
        file.write(1, 0, &[1; 512]);
        let rough = Roughness {
            torn_sectors: true,
            garbage_tail: false,
        };
        let torn = |bytes: &Vec<u8>| bytes.contains(&0) && bytes.contains(&1);
        assert!(outcomes(&file, Keep::Each, rough).iter().any(torn));
        assert!(!outcomes(&file, Keep::Each, SMOOTH).iter().any(torn));
        let keep = Keep::UpTo { seq: 0, torn: Some(1) };
        assert!(outcomes(&file, keep, rough).iter().any(torn));
        assert!(!outcomes(&file, keep, SMOOTH).iter().any(torn));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back_behind_what_was_written_later() {
        let mut file = stored(&[9; 2048]);
        file.resize(1, 512);
        file.write(2, 512, &[2; 512]);
        file.write(3, 1024, &[3; 1024]);
        for bytes in outcomes(&file, Keep::Each, SMOOTH) {
            let (old, new) = (
                bytes[512..].contains(&9),
                bytes[512..].iter().any(|b| *b == 2 || *b == 3),
            );
            assert!(!(old && new), "old and new mixed behind the cut");
            assert!(!old || bytes == [9; 2048]);
        }
    }

    #[test]
    fn reconstruction_agrees_with_a_plain_model() {
        for seed in 0..300 {
            let mut stream = Streams::new(seed).stream("model");
            let mut model: Vec<Vec<u8>> = vec![vec![5; stream.below(3000) as usize]];
            let mut file = stored(&model[0]);
            for seq in 1..=12u64 {
                let mut next = model[model.len() - 1].clone();
                let at = stream.below(3500) as usize;
                if stream.below(4) == 0 {
                    next.resize(at, 0);
                    file.resize(seq, at as u64);
                } else {
                    let data = vec![10 + seq as u8; 1 + stream.below(900) as usize];
                    next.resize(next.len().max(at + data.len()), 0);
                    next[at..at + data.len()].copy_from_slice(&data);
                    file.write(seq, at as u64, &data);
                }
                assert!(file.cache == next, "seed {seed}");
                model.push(next);
            }
            for (seq, want) in model.iter().enumerate() {
                let mut file = file.clone();
                let keep = Keep::UpTo {
                    seq: seq as u64,
                    torn: None,
                };
                file.lose_power(keep, SMOOTH, &mut stream);
                assert!(&file.platter == want, "seed {seed}, up to {seq}");
            }
        }
    }
}
