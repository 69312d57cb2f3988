//! What can be wrong with the disk, and how it shows.
//!
//! Guarantees: a fault changes the platter or a condition, never the cache itself; a page whose platter was damaged leaves
//! the cache, if it is clean, so that the next read sees the damage; a fault that finds nothing to damage says so and does
//! nothing. It does not know whether a fault is within what a program promises to survive.
//!
//! | fault | takes effect |
//! | --- | --- |
//! | bit flip, unreadable sector | at once, in a durable sector drawn from the seed |
//! | lost, misdirected write | in one sector of the next data that reaches the platter, by sync or write-back |
//! | failed sync | in the next sync that has something to write |
//! | lying sync, full, slow, hung | until healthy |
//!
//! Sources: "An Analysis of Data Corruption in the Storage Stack" (FAST 2008); "An Analysis of Latent Sector Errors in
//! Disk Drives" (SIGMETRICS 2007); "Parity Lost and Parity Regained" (FAST 2008).

use super::Disk;
use super::file::{FileImage, PAGE, Patch, SECTOR};
use super::tree::{Node, ROOT, Tree, View};
use crate::fault::DiskFault;
use std::collections::BTreeSet;

const NS_PER_MS: u64 = 1_000_000;

/// What is wrong for a while, or waits for its occasion.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub fail_sync: bool,
    /// How long the device may take to write what it says it has written.
    pub lying_ns: Option<u64>,
    pub full: bool,
    pub slow_factor: u64,
    pub hung: bool,
    lose_write: bool,
    misdirect_write: bool,
    /// Durable files and directories (those without contents) at the time of a snapshot.
    snapshot: Option<Vec<(String, Option<Vec<u8>>)>>,
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions {
            fail_sync: false,
            lying_ns: None,
            full: false,
            slow_factor: 1,
            hung: false,
            lose_write: false,
            misdirect_write: false,
            snapshot: None,
        }
    }
}

impl Disk {
    /// A fault begins (or ends, with Healthy); `now` is true time in nanoseconds. False if there was nothing to apply it to: no
    /// durable byte to damage, no snapshot to go back to, a disk in use (open files) to replace. Swap is the world's own
    /// (`mem::swap`). Healthy also calls off what still waits for its occasion; it repairs no damage.
    pub fn apply(&mut self, fault: &DiskFault, now: u64) -> bool {
        self.now = self.now.max(now);
        match fault {
            DiskFault::Healthy => {
                let snapshot = self.conditions.snapshot.take();
                self.conditions = Conditions {
                    snapshot,
                    ..Conditions::default()
                };
            }
            DiskFault::FailSync => self.conditions.fail_sync = true,
            DiskFault::LyingSync { for_ms } => self.conditions.lying_ns = Some(u64::from(*for_ms) * NS_PER_MS),
            DiskFault::LoseWrite => self.conditions.lose_write = true,
            DiskFault::MisdirectWrite => self.conditions.misdirect_write = true,
            DiskFault::Full => self.conditions.full = true,
            DiskFault::Slow { factor } => self.conditions.slow_factor = u64::from(*factor).max(1),
            DiskFault::Hung => self.conditions.hung = true,
            DiskFault::UnreadableSector | DiskFault::BitFlip => return self.damage(fault),
            DiskFault::Snapshot => self.conditions.snapshot = Some(self.durable_tree()),
            DiskFault::Wipe => return self.replace(fault, Vec::new()),
            DiskFault::Rollback => {
                return match self.conditions.snapshot.clone() {
                    Some(image) => self.replace(fault, image),
                    None => false,
                };
            }
            DiskFault::Swap { .. } => return false,
        }
        true
    }

    /// Flips a bit of a durable sector, or makes the sector unreadable.
    fn damage(&mut self, fault: &DiskFault) -> bool {
        let flip = *fault == DiskFault::BitFlip;
        let Some((file, offset)) = self.draw_durable() else {
            return false;
        };
        let bit = if flip { self.stream.below(8) } else { 0 };
        let image = self.image_mut(file);
        if flip {
            image.platter[offset as usize] ^= 1 << bit;
        } else {
            image.unreadable.insert(offset / SECTOR);
        }
        image.evict(offset / PAGE);
        self.struck_at(fault.kind(), Node::File(file));
        true
    }

    /// A durable byte of a file that a program can open: one that will be seen if there is any, all bytes equally likely.
    fn draw_durable(&mut self) -> Option<(u32, u64)> {
        let named: Vec<u32> = self
            .tree
            .paths(View::Cached)
            .into_iter()
            .filter_map(|(_, node)| match node {
                Node::File(file) => Some(file),
                Node::Dir(_) => None,
            })
            .collect();
        let weighs: [fn(&FileImage) -> u64; 2] = [FileImage::settled, |image| image.platter.len() as u64];
        for weigh in weighs {
            let total: u64 = named.iter().map(|file| weigh(self.image(*file))).sum();
            if total == 0 {
                continue;
            }
            let mut at = self.stream.below(total);
            for file in &named {
                let weight = weigh(self.image(*file));
                if at < weight {
                    return Some((*file, at));
                }
                at -= weight;
            }
        }
        None
    }

    /// Data reaches the platter, if nothing happens to it on the way [D12, D14].
    pub(super) fn write_platter(&mut self, file: u32, patch: &Patch) {
        let sectors = patch.sectors();
        let misdirected = self.conditions.misdirect_write;
        if sectors == 0 || !(misdirected || self.conditions.lose_write) {
            self.image_mut(file).store(patch);
            return;
        }
        // A write can only go astray if there is another place.
        let target = if misdirected { self.draw_durable() } else { None };
        let intended = patch.sector(self.stream.below(sectors)).expect("one of its sectors");
        let image = self.image_mut(file);
        let from = (intended as usize).min(image.platter.len());
        let to = (from + SECTOR as usize).min(image.platter.len());
        let old = image.platter[from..to].to_vec();
        image.store(patch);
        let end = ((intended + SECTOR) as usize).min(image.platter.len());
        let new = image.platter[intended as usize..end].to_vec();
        if let Some((victim, offset)) = target {
            self.conditions.misdirect_write = false;
            let place = offset / SECTOR * SECTOR;
            if (victim, place) == (file, intended) {
                // It hit its own place by chance, which is no fault: try the next one.
                self.conditions.misdirect_write = true;
                return;
            }
            self.put_back(file, intended, &old, end);
            for struck in BTreeSet::from([file, victim]) {
                self.struck_at(DiskFault::MisdirectWrite.kind(), Node::File(struck));
            }
            let image = self.image_mut(victim);
            let end = (place as usize + new.len()).min(image.platter.len());
            let start = place as usize;
            if start < end {
                image.platter[start..end].copy_from_slice(&new[..end - start]);
            }
            image.evict(place / PAGE);
        } else if self.conditions.lose_write {
            self.conditions.lose_write = false;
            self.struck_at(DiskFault::LoseWrite.kind(), Node::File(file));
            self.put_back(file, intended, &old, end);
        }
    }

    /// What was there before stays; where nothing was, zeros.
    fn put_back(&mut self, file: u32, offset: u64, old: &[u8], end: usize) {
        let image = self.image_mut(file);
        let (start, end) = (offset as usize, end);
        let kept = old.len().min(end - start);
        image.platter[start..start + kept].copy_from_slice(&old[..kept]);
        image.platter[start + kept..end].fill(0);
        image.evict(offset / PAGE);
    }

    fn durable_tree(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let contents = |node| match node {
            Node::File(file) => Some(self.image(file).platter.clone()),
            Node::Dir(_) => None,
        };
        let paths = self.tree.paths(View::Durable).into_iter();
        paths.map(|(path, node)| (path, contents(node))).collect()
    }

    /// Another image in the place of this one, durable and cold. Not while files are open.
    fn replace(&mut self, fault: &DiskFault, image: Vec<(String, Option<Vec<u8>>)>) -> bool {
        if self.files.iter().flatten().any(|file| file.opens > 0) {
            return false;
        }
        self.tree = Tree::new();
        self.files.clear();
        for (path, contents) in image {
            let seq = self.next_sequence();
            let (dir, name) = self
                .tree
                .parent(&path)
                .expect("directories come before what is in them");
            match contents {
                None => self.tree.make_dir(seq, dir, name),
                Some(bytes) => {
                    let identity = self.next_identity();
                    let file = self.place(FileImage::stored(identity, bytes));
                    self.tree.link(seq, dir, name, Node::File(file));
                }
            }
        }
        self.tree.commit(|_| true);
        assert!(self.tree.pending.is_empty() && self.tree.resolve("", View::Durable) == Some(Node::Dir(ROOT)));
        self.start_cold();
        self.struck(fault.kind());
        true
    }
}
