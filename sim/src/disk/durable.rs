//! How things become durable, or do not: syncs, write-back, power failure.
//!
//! Guarantees: a sync covers what was written before it was asked for and nothing after; a failed one reports once, leaves
//! its pages clean and readable and not durable [D5]; a lying one leaves its data to the next power failure until the
//! device has written it [D6]; a sync that a power failure overtook does nothing.
//! It does not know files' names, nor when the world will call.
//!
//! Sources: "Can Applications Recover from fsync Failures?" (USENIX ATC 2020); Linux `vm.dirty_expire_centisecs`.

use super::file::Patch;
use super::loss::{Keep, Roughness};
use super::stats::sync_ns;
use super::tree::{Node, ROOT, View};
use super::{CLOSED, Disk, Errno, File};
use crate::fault::{DiskFault, Survival};
use std::collections::{BTreeMap, BTreeSet};

/// Age in nanoseconds at which the kernel writes dirty data back by itself.
const DIRTY_EXPIRE_NS: u64 = 30_000_000_000;
/// Share of due files that a call of write-back gets to, in a million: the flusher is not everywhere at once.
const WRITTEN_BACK_PPM: u32 = 750_000;

/// A sync under way: what was dirty when it was asked for.
#[derive(Debug)]
pub struct PendingSync {
    epoch: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    File { file: u32, identity: u64, patch: Patch },
    Dir { dir: u32, upto: u64 },
    Clean,
    Fails(Errno),
}

impl Disk {
    /// Starts a sync; also how long it will take in nanoseconds (None: hung; ask again when the disk is healthy).
    pub fn begin_sync_file(&mut self, file: File) -> (PendingSync, Option<u64>) {
        let open = self.handles.get(file.0 as usize).filter(|handle| handle.file != CLOSED);
        let what = match open {
            None => What::Fails(Errno::Io),
            Some(handle) => {
                let image = self.image(handle.file);
                image.capture().map_or(What::Clean, |patch| What::File {
                    file: handle.file,
                    identity: image.identity,
                    patch,
                })
            }
        };
        self.begin(what)
    }

    /// The same for the names in a directory.
    pub fn begin_sync_dir(&mut self, path: &str) -> (PendingSync, Option<u64>) {
        let what = match self.tree.resolve(path, View::Cached) {
            Some(Node::Dir(dir)) => What::Dir {
                dir,
                upto: self.sequence,
            },
            Some(Node::File(_)) => What::Fails(Errno::Io),
            None => What::Fails(Errno::NotFound),
        };
        self.begin(what)
    }

    fn begin(&mut self, what: What) -> (PendingSync, Option<u64>) {
        let bytes = match &what {
            What::File { patch, .. } => patch.bytes(),
            _ => 0,
        };
        let takes = sync_ns(bytes, &mut self.stream) * self.conditions.slow_factor;
        let pending = PendingSync {
            epoch: self.epoch,
            what,
        };
        (pending, (!self.conditions.hung).then_some(takes))
    }

    /// Ends it: what it covered is durable, or an error is reported once and the pages are clean but not durable.
    pub fn finish_sync(&mut self, sync: PendingSync) -> Result<(), Errno> {
        if sync.epoch != self.epoch {
            return Err(Errno::Io);
        }
        let result = match sync.what {
            What::File { file, identity, patch } => self.finish_file(file, identity, &patch),
            What::Dir { dir, upto } => self.finish_dir(dir, upto),
            What::Clean => Ok(()),
            What::Fails(errno) => Err(errno),
        };
        match result {
            Ok(()) => self.stats.syncs += 1,
            Err(_) => self.stats.failed_syncs += 1,
        }
        result
    }

    fn finish_file(&mut self, file: u32, identity: u64, patch: &Patch) -> Result<(), Errno> {
        let slot = self.files.get_mut(file as usize).and_then(Option::as_mut);
        // Removed, and nothing could bring it back: there is nothing to keep.
        let Some(image) = slot.filter(|image| image.identity == identity && image.wants(patch)) else {
            return Ok(());
        };
        if std::mem::take(&mut self.conditions.fail_sync) {
            // What a lie left in the device's cache is beyond the reach of this failure.
            image.forget(image.lied.map_or(0, |(seq, _)| seq), patch.seq);
            image.failed = true;
            return Err(Errno::Io);
        }
        if let Some(for_ns) = self.conditions.lying_ns {
            let until = self.now + self.stream.below(for_ns);
            image.lied = Some((patch.seq, until));
            return Ok(());
        }
        self.stats.synced += patch.bytes();
        self.write_platter(file, patch);
        Ok(())
    }

    fn finish_dir(&mut self, dir: u32, upto: u64) -> Result<(), Errno> {
        if !self.tree.has_pending(dir, upto) {
            return Ok(());
        }
        if std::mem::take(&mut self.conditions.fail_sync) {
            self.tree.forget(dir, upto);
            self.failed_names.push(dir);
            return Err(Errno::Io);
        }
        // They stay pending, and write-back ends the lie.
        if self.conditions.lying_ns.is_some() {
            self.lied_names.push((dir, upto));
        } else {
            let loose = self.tree.sync(dir, upto);
            self.drop_replaced(&loose);
        }
        Ok(())
    }

    /// Background write-back; true time in nanoseconds. The world calls it now and then, every few seconds: what is due is
    /// made durable here. Nothing is while the disk hangs or lies, but for what the lie has promised by now.
    pub fn write_back(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some((_, seq)) = self.marks.front().filter(|(at, _)| at + DIRTY_EXPIRE_NS <= now) {
            self.expired = *seq;
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|(_, seq)| *seq != self.sequence) {
            self.marks.push_back((now, self.sequence));
        }
        if self.conditions.hung {
            return;
        }
        let lying = self.conditions.lying_ns.is_some();
        for file in std::mem::take(&mut self.dirty) {
            let Some(image) = &mut self.files[file as usize] else {
                continue;
            };
            let Some(oldest) = image.journal.first().map(|change| change.seq) else {
                image.listed = false;
                continue;
            };
            let drained = image.lied.is_some_and(|(_, until)| until <= now);
            let due = oldest <= self.expired && !lying && self.stream.chance(WRITTEN_BACK_PPM);
            if !drained && !due {
                self.dirty.push(file);
                continue;
            }
            image.listed = false;
            let patch = image.capture().expect("its journal is not empty");
            self.stats.written_back += patch.bytes();
            self.write_platter(file, &patch);
        }
        let expired = self.expired;
        let due = self.tree.pending.first().is_some_and(|op| op.seq <= expired);
        if due && !lying && self.stream.chance(WRITTEN_BACK_PPM) {
            let loose = self.tree.commit(|op| op.seq <= expired);
            self.drop_replaced(&loose);
        }
    }

    /// The host lost power: resolves what was not durable [D2 to D4, D7, D8].
    pub fn power_loss(&mut self, survival: Survival, torn_sectors: bool, garbage_tail: bool) {
        let rough = Roughness {
            torn_sectors,
            garbage_tail,
        };
        self.show_broken_promises();
        let (cut, torn) = self.point_in_time(survival);
        for index in 0..self.files.len() {
            if self.files[index].as_ref().is_none_or(|image| image.journal.is_empty()) {
                continue;
            }
            let image = self.files[index].as_mut().expect("just seen");
            let keep = match survival {
                Survival::None => Keep::Nothing,
                Survival::All => Keep::Everything,
                Survival::Ordered => Keep::UpTo { seq: cut, torn },
                Survival::Prefix => {
                    let kept = self.stream.below(image.journal.len() as u64 + 1) as usize;
                    Keep::UpTo {
                        seq: if kept == 0 { 0 } else { image.journal[kept - 1].seq },
                        torn: image.journal.get(kept).map(|change| change.seq),
                    }
                }
                // Files differ: else no file of many sectors would ever survive whole beside one that is lost.
                Survival::Subset => match self.stream.below(4) {
                    0 => Keep::Nothing,
                    1 => Keep::Everything,
                    _ => Keep::Each,
                },
            };
            image.lose_power(keep, rough, &mut self.stream);
        }
        self.lose_names(survival, cut);
        self.start_cold();
    }

    /// What a sync has called durable, or a failed one has left taken for it: the power failure may take it, or does.
    fn show_broken_promises(&mut self) {
        let (lied, failed) = (DiskFault::LyingSync { for_ms: 0 }.kind(), DiskFault::FailSync.kind());
        let mut broken = Vec::new();
        for (file, image) in self.files.iter().enumerate() {
            let Some(image) = image else { continue };
            let oldest = image.journal.first().map(|change| change.seq);
            if image
                .lied
                .is_some_and(|(lied, _)| oldest.is_some_and(|oldest| oldest <= lied))
            {
                broken.push((lied, Node::File(file as u32)));
            }
            if image.failed {
                broken.push((failed, Node::File(file as u32)));
            }
        }
        let names = std::mem::take(&mut self.lied_names).into_iter();
        let names = names.filter(|(dir, upto)| self.tree.has_pending(*dir, *upto));
        let dirs: BTreeSet<_> = names
            .map(|(dir, _)| (lied, dir))
            .chain(self.failed_names.drain(..).map(|dir| (failed, dir)))
            .collect();
        broken.extend(dirs.into_iter().map(|(what, dir)| (what, Node::Dir(dir))));
        for (what, node) in broken {
            match node {
                Node::Dir(ROOT) => self.struck(what),
                _ => self.struck_at(what, node),
            }
        }
    }

    /// Where an ordered loss cuts the history, and the change it cuts through.
    fn point_in_time(&mut self, survival: Survival) -> (u64, Option<u64>) {
        if survival != Survival::Ordered {
            return (0, None);
        }
        let images = self.files.iter().flatten();
        let mut pending: Vec<u64> = images
            .flat_map(|image| image.journal.iter().map(|change| change.seq))
            .collect();
        pending.extend(self.tree.pending.iter().map(|op| op.seq));
        pending.sort_unstable();
        let kept = self.stream.below(pending.len() as u64 + 1) as usize;
        let cut = if kept == 0 { 0 } else { pending[kept - 1] };
        (cut, pending.get(kept).copied())
    }

    fn lose_names(&mut self, survival: Survival, cut: u64) {
        let stream = &mut self.stream;
        match survival {
            Survival::None => {}
            Survival::All => drop(self.tree.commit(|_| true)),
            Survival::Ordered => drop(self.tree.commit(|op| op.seq <= cut)),
            Survival::Prefix | Survival::Subset => {
                let mut of_dir: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
                for op in &self.tree.pending {
                    of_dir.entry(op.dir).or_default().push(op.seq);
                }
                let mut kept: BTreeSet<u64> = BTreeSet::new();
                for seqs in of_dir.values() {
                    if survival == Survival::Subset && stream.below(2) == 0 {
                        kept.extend(seqs.iter().copied().filter(|_| stream.below(2) == 0));
                    } else {
                        let count = stream.below(seqs.len() as u64 + 1) as usize;
                        kept.extend(seqs[..count].iter().copied());
                    }
                }
                self.tree.commit(|op| kept.contains(&op.seq));
            }
        }
    }

    /// The platter is all there is: no handle, no cached page, nothing dirty, no sync under way.
    pub(super) fn start_cold(&mut self) {
        self.epoch += 1;
        self.handles.clear();
        self.closed_handles.clear();
        self.fuse = None;
        self.dirty.clear();
        self.marks.clear();
        self.cached_pages.clear();
        self.lied_names.clear();
        self.failed_names.clear();
        self.tree.restart();
        for image in self.files.iter_mut().flatten() {
            image.restart();
        }
        self.collect();
        for image in self.files.iter_mut().flatten() {
            image.named = true;
        }
    }
}
