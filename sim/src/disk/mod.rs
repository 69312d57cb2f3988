//! One node's disk: page cache, dirty sectors, platter, directories.
//!
//! Guarantees: calls are those of the operating system's page cache, synchronous and cheap (an append costs its bytes);
//! what a sync covered is on the platter when it ends, unless a fault says otherwise; the death of the process changes
//! nothing of it [D1], a power failure leaves the platter and any part of the rest that the fault allows [D2 to D4, D7,
//! D8]; write-back makes data and names durable about thirty seconds after they were written. All chance comes from one
//! stream. It deliberately does not know what is in the files, who calls, or what time it is but by what the world says.
//!
//! ```text
//!   program ── calls ──> names (tree.rs) ── File ──> image of a file (file.rs)
//!   world ─── syncs, write-back, power failure (durable.rs, loss.rs), faults (faults.rs)
//!   observer ─ durable(), cached(), files(), stats()
//! ```
//! Sources: FAULTS D1 to D24 in ARCHITECTURE.md; Linux `vm.dirty_expire_centisecs`.

mod durable;
mod faults;
mod file;
mod loss;
mod pages;
mod stats;
#[cfg(test)]
mod tests;
mod tree;

pub use durable::PendingSync;
pub use stats::Stats;

use crate::random::Stream;
use bytes::Bytes;
use faults::Conditions;
use file::{FileImage, PAGE, SECTOR};
use stats::{NAME_NS, copy_ns};
use std::collections::{BTreeSet, VecDeque};
use tree::{Loose, Node, Tree, View};

/// Where a fault has taken or changed durable data, at the moment when it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Name of the fault's kind.
    pub what: &'static str,
    /// The file, or the directory whose names went; none: the whole disk.
    pub path: Option<String>,
}

/// What the operating system answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errno {
    /// ENOENT
    NotFound,
    /// EIO; also what a call gets that no program should make (opening a directory, replacing a full one).
    Io,
    /// ENOSPC
    NoSpace,
}

/// An open file of the running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File(pub u32);

#[derive(Clone, Copy, Debug)]
struct Handle {
    /// Its file, or [`CLOSED`].
    file: u32,
    next_read: u64,
    next_write: u64,
}

const CLOSED: u32 = u32::MAX;

/// Whether a call is carried out whole, or is the one in which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Whole,
    Last,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    stream: Stream,
    tree: Tree,
    files: Vec<Option<Box<FileImage>>>,
    handles: Vec<Handle>,
    closed_handles: Vec<u32>,
    /// Number of the last change, of data or of names.
    sequence: u64,
    /// Identity of the last file made.
    identity: u64,
    /// Files with unsynced changes; may name some that have none any more.
    dirty: Vec<u32>,
    /// True time and the last change then, of the last half minute: how write-back knows an age.
    marks: VecDeque<(u64, u64)>,
    /// Changes up to this one are due for write-back.
    expired: u64,
    /// True time, as far as the world has told.
    now: u64,
    /// Counts the times that all before it became void: a sync from an earlier one does nothing.
    epoch: u64,
    busy: u64,
    /// Calls left until the process dies; 0: it has.
    fuse: Option<u32>,
    conditions: Conditions,
    /// Not yet told.
    strikes: Vec<Strike>,
    /// Directories, and the last change to their names that a lying sync has called durable.
    lied_names: Vec<(u32, u64)>,
    /// Directories whose names a failed sync has left taken for durable.
    failed_names: Vec<u32>,
    /// Pages the cache may hold, and those it holds, oldest first; kept only when there is a limit.
    cache_pages: Option<u64>,
    cached_pages: VecDeque<(u32, u64, u64)>,
    stats: Stats,
}

impl Disk {
    /// What all its chance comes from.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// An empty disk; all its chance comes from `stream`.
    pub fn new(stream: Stream) -> Disk {
        Disk {
            stream,
            tree: Tree::new(),
            files: Vec::new(),
            handles: Vec::new(),
            closed_handles: Vec::new(),
            sequence: 0,
            identity: 0,
            dirty: Vec::new(),
            marks: VecDeque::new(),
            expired: 0,
            now: 0,
            epoch: 0,
            busy: 0,
            fuse: None,
            conditions: Conditions::default(),
            strikes: Vec::new(),
            lied_names: Vec::new(),
            failed_names: Vec::new(),
            cache_pages: None,
            cached_pages: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    // --- what a program calls: the page cache ---

    /// Opens a file; makes it if it is missing and `create` is set. A directory, or a path through a file, is an error.
    pub fn open(&mut self, path: &str, create: bool) -> Result<File, Errno> {
        let turn = self.enter(NAME_NS)?;
        let file = match self.tree.resolve(path, View::Cached) {
            Some(Node::File(file)) => file,
            Some(Node::Dir(_)) => return Err(Errno::Io),
            None if !create => return Err(Errno::NotFound),
            None => {
                let (dir, name) = self.tree.parent(path).ok_or(Errno::NotFound)?;
                if self.conditions.full {
                    return Err(Errno::NoSpace);
                }
                self.happens(turn)?;
                let identity = self.next_identity();
                let mut image = FileImage::new(identity);
                image.named = true;
                let file = self.place(image);
                let seq = self.next_sequence();
                self.tree.link(seq, dir, name, Node::File(file));
                file
            }
        };
        self.survives(turn)?;
        self.image_mut(file).opens += 1;
        let handle = Handle {
            file,
            next_read: 0,
            next_write: u64::MAX,
        };
        Ok(match self.closed_handles.pop() {
            Some(index) => {
                self.handles[index as usize] = handle;
                File(index)
            }
            None => {
                self.handles.push(handle);
                File(self.handles.len() as u32 - 1)
            }
        })
    }

    /// Closes it; its unsynced data stays in the page cache. Closing twice does nothing.
    pub fn close(&mut self, file: File) {
        if let Some(handle) = self.handles.get_mut(file.0 as usize)
            && handle.file != CLOSED
        {
            let index = std::mem::replace(&mut handle.file, CLOSED);
            self.closed_handles.push(file.0);
            let image = self.image_mut(index);
            image.opens -= 1;
            if image.opens == 0 && !image.named {
                self.drop_loose(&[index]);
            }
        }
    }

    /// Length in bytes.
    pub fn len(&self, file: File) -> u64 {
        self.image(self.handle(file).file).len()
    }

    /// Up to `len` bytes from `offset`; fewer at the end of the file. [`Errno::Io`] if the platter cannot be read there.
    pub fn read_at(&mut self, file: File, offset: u64, len: usize) -> Result<Bytes, Errno> {
        let turn = self.enter(copy_ns(len as u64))?;
        self.survives(turn)?;
        let handle = &mut self.handles[file.0 as usize];
        let index = handle.file;
        let sequential = handle.next_read == offset;
        let image = self.files[index as usize].as_ref().expect("an open file");
        let end = offset.saturating_add(len as u64).min(image.len());
        if offset >= end {
            return Ok(Bytes::new());
        }
        handle.next_read = end;
        if image.has_cold() {
            self.fault_in(index, offset / PAGE, (end - 1) / PAGE, sequential)?;
        }
        self.stats.read += end - offset;
        if sequential {
            self.stats.read_sequentially += end - offset;
        }
        let bytes = Bytes::copy_from_slice(&self.image(index).cache[offset as usize..end as usize]);
        self.shrink_cache();
        Ok(bytes)
    }

    /// Writes all of `data` at `offset`. On [`Errno::NoSpace`] the part that fits in the last allocated page was written.
    pub fn write_at(&mut self, file: File, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let turn = self.enter(copy_ns(data.len() as u64))?;
        let mut data = data;
        let mut result = Ok(());
        if turn == Turn::Last {
            // The kernel looks for a deadly signal between pieces of a long write.
            let pieces = (data.len() as u64).div_ceil(SECTOR);
            let kept = self.stream.below(pieces + 1) * SECTOR;
            data = &data[..data.len().min(kept as usize)];
            result = Err(Errno::Io);
        }
        let index = self.handle(file).file;
        let before = self.image(index).len();
        if self.conditions.full {
            let allocated = before.next_multiple_of(PAGE);
            if offset + data.len() as u64 > allocated {
                data = &data[..allocated.saturating_sub(offset) as usize];
                result = result.and(Err(Errno::NoSpace));
            }
        }
        if data.is_empty() {
            return result;
        }
        let end = offset + data.len() as u64;
        if self.image(index).has_cold() {
            self.fault_in_edges(index, offset, end)?;
        }
        self.sequence += 1;
        let seq = self.sequence;
        let image = self.files[index as usize].as_mut().expect("an open file");
        if !image.listed {
            image.listed = true;
            self.dirty.push(index);
        }
        image.write(seq, offset, data);
        let handle = &mut self.handles[file.0 as usize];
        self.stats.written += data.len() as u64;
        if offset == before || offset == handle.next_write {
            self.stats.written_sequentially += data.len() as u64;
        }
        handle.next_write = end;
        if self.cache_pages.is_some() {
            for page in before.div_ceil(PAGE)..end.div_ceil(PAGE) {
                self.note_cached(index, page);
            }
            self.shrink_cache();
        }
        result
    }

    /// Cuts or extends (with zeros) to `len` bytes. Extending takes no space.
    pub fn set_len(&mut self, file: File, len: u64) -> Result<(), Errno> {
        let turn = self.enter(NAME_NS)?;
        self.happens(turn)?;
        let index = self.handle(file).file;
        let before = self.image(index).len();
        if len < before && !len.is_multiple_of(PAGE) && self.image(index).has_cold() {
            self.fault_in(index, len / PAGE, len / PAGE, false)?;
        }
        if len != before {
            let seq = self.next_sequence();
            let image = self.files[index as usize].as_mut().expect("an open file");
            if !image.listed {
                image.listed = true;
                self.dirty.push(index);
            }
            image.resize(seq, len);
        }
        self.survives(turn)
    }

    /// Moves a file or a directory; replaces a file or an empty directory of that name. Atomic.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let turn = self.enter(NAME_NS)?;
        let node = self.tree.resolve(from, View::Cached).ok_or(Errno::NotFound)?;
        let (from, to_parent) = (self.tree.parent(from), self.tree.parent(to));
        let (from, to_parent) = (from.ok_or(Errno::NotFound)?, to_parent.ok_or(Errno::NotFound)?);
        if from == to_parent {
            return self.survives(turn);
        }
        let replaced = self.tree.resolve(to, View::Cached);
        match (node, replaced) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::Dir(_), Some(Node::Dir(dir))) if self.tree.is_empty(dir) => {}
            _ => return Err(Errno::Io),
        }
        if let Node::Dir(dir) = node
            && self.tree.is_within(to_parent.0, dir)
        {
            return Err(Errno::Io);
        }
        self.happens(turn)?;
        let seq = self.next_sequence();
        self.tree.rename(seq, from, to_parent);
        if let Some(Node::File(file)) = replaced {
            self.image_mut(file).named = false;
        }
        self.survives(turn)
    }

    /// Removes a file, or a directory with all that is in it. Open files stay readable.
    pub fn remove(&mut self, path: &str) -> Result<(), Errno> {
        let turn = self.enter(NAME_NS)?;
        let node = self.tree.resolve(path, View::Cached).ok_or(Errno::NotFound)?;
        self.tree.parent(path).ok_or(Errno::Io)?;
        let mut doomed = vec![path.to_owned()];
        if let Node::Dir(dir) = node {
            let path = path.trim_end_matches('/');
            doomed.extend(
                self.tree
                    .below(dir, path, View::Cached)
                    .into_iter()
                    .map(|(path, _)| path),
            );
        }
        // What is in a directory goes before it: a process that dies in between leaves the rest.
        doomed.reverse();
        if turn == Turn::Last {
            doomed.truncate(self.stream.below(doomed.len() as u64 + 1) as usize);
        }
        for path in doomed {
            let seq = self.next_sequence();
            if let Some((dir, name)) = self.tree.parent(&path)
                && let Some(Node::File(file)) = self.tree.unlink(seq, dir, name)
            {
                self.image_mut(file).named = false;
            }
        }
        self.survives(turn)
    }

    /// Makes a directory in one that exists; nothing happens if it is there.
    pub fn create_dir(&mut self, path: &str) -> Result<(), Errno> {
        let turn = self.enter(NAME_NS)?;
        match self.tree.resolve(path, View::Cached) {
            Some(Node::Dir(_)) => return self.survives(turn),
            Some(Node::File(_)) => return Err(Errno::Io),
            None => {}
        }
        let (dir, name) = self.tree.parent(path).ok_or(Errno::NotFound)?;
        if self.conditions.full {
            return Err(Errno::NoSpace);
        }
        self.happens(turn)?;
        let seq = self.next_sequence();
        self.tree.make_dir(seq, dir, name);
        self.survives(turn)
    }

    /// Names in a directory, sorted; none if it does not exist.
    pub fn list(&mut self, dir: &str) -> Result<Vec<String>, Errno> {
        let turn = self.enter(NAME_NS)?;
        self.survives(turn)?;
        match self.tree.resolve(dir, View::Cached) {
            Some(Node::Dir(dir)) => Ok(self.tree.names(dir)),
            Some(Node::File(_)) => Err(Errno::Io),
            None => Ok(Vec::new()),
        }
    }

    /// Whether a file or directory of this name exists. No for a dead process.
    pub fn exists(&mut self, path: &str) -> bool {
        let alive = self.enter(copy_ns(0)).and_then(|turn| self.survives(turn));
        alive.is_ok() && self.tree.resolve(path, View::Cached).is_some()
    }

    // --- what the world calls, besides durable.rs and faults.rs ---

    /// Nanoseconds of the node's time that calls since the last question have cost (reads that miss, slow disk).
    pub fn take_busy(&mut self) -> u64 {
        std::mem::take(&mut self.busy)
    }

    /// Where faults have taken or changed durable data since the last question.
    pub fn take_strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.strikes)
    }

    /// A fault has struck the whole disk.
    pub(crate) fn struck(&mut self, what: &'static str) {
        self.strikes.push(Strike { what, path: None });
    }

    /// A fault has struck a file or a directory. What has no name and cannot get it back is nobody's loss.
    fn struck_at(&mut self, what: &'static str, node: Node) {
        let views = [View::Cached, View::Durable];
        let named = views.into_iter().flat_map(|view| self.tree.paths(view));
        let paths: BTreeSet<String> = named
            .filter(|(_, found)| *found == node)
            .map(|(path, _)| path)
            .collect();
        self.strikes
            .extend(paths.into_iter().map(|path| Strike { what, path: Some(path) }));
    }

    /// The process is gone: open files close, the page cache stays [D1].
    pub fn process_died(&mut self) {
        self.handles.clear();
        self.closed_handles.clear();
        self.fuse = None;
        for image in self.files.iter_mut().flatten() {
            image.opens = 0;
        }
        self.collect();
    }

    /// The process dies at the nth disk call from now (1 and 0: the next). A write then leaves a prefix of its sectors, another
    /// change happens or does not; that call and all later ones fail with [`Errno::Io`]. `None` calls it off.
    pub fn die_after_calls(&mut self, calls: Option<u32>) {
        if !self.died() {
            self.fuse = calls.map(|calls| calls.max(1));
        }
    }

    /// Whether that happened. [`Disk::process_died`] clears it.
    pub fn died(&self) -> bool {
        self.fuse == Some(0)
    }

    // --- what an observer calls ---

    /// What of a file is durable right now: its bytes after a power failure with [`Survival::None`](crate::fault::Survival).
    /// `None` if the name itself is not.
    pub fn durable(&self, path: &str) -> Option<Vec<u8>> {
        match self.tree.resolve(path, View::Durable)? {
            Node::File(file) => Some(self.image(file).platter.clone()),
            Node::Dir(_) => None,
        }
    }

    /// What reads of it would return; bytes of sectors that cannot be read as they were.
    pub fn cached(&self, path: &str) -> Option<Vec<u8>> {
        match self.tree.resolve(path, View::Cached)? {
            Node::File(file) => Some(self.image(file).contents()),
            Node::Dir(_) => None,
        }
    }

    /// Paths of all files that the program could open, sorted by directory.
    pub fn files(&self) -> Vec<String> {
        let paths = self.tree.paths(View::Cached).into_iter();
        paths
            .filter(|(_, node)| matches!(node, Node::File(_)))
            .map(|(path, _)| path)
            .collect()
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    // --- inside ---

    #[inline]
    fn enter(&mut self, cost: u64) -> Result<Turn, Errno> {
        self.stats.calls += 1;
        self.busy += cost * self.conditions.slow_factor;
        match &mut self.fuse {
            None => Ok(Turn::Whole),
            Some(0) => Err(Errno::Io),
            Some(calls) => {
                *calls -= 1;
                Ok(if *calls == 0 { Turn::Last } else { Turn::Whole })
            }
        }
    }

    /// Whether an atomic change still takes place in the call in which the process dies.
    fn happens(&mut self, turn: Turn) -> Result<(), Errno> {
        match turn {
            Turn::Last if self.stream.below(2) == 0 => Err(Errno::Io),
            _ => Ok(()),
        }
    }

    /// The answer never reaches a process that died in the call.
    fn survives(&self, turn: Turn) -> Result<(), Errno> {
        match turn {
            Turn::Whole => Ok(()),
            Turn::Last => Err(Errno::Io),
        }
    }

    #[inline]
    fn handle(&self, file: File) -> &Handle {
        let handle = &self.handles[file.0 as usize];
        assert!(handle.file != CLOSED, "a file used after it was closed");
        handle
    }

    #[inline]
    fn image(&self, file: u32) -> &FileImage {
        self.files[file as usize]
            .as_ref()
            .expect("a file that has a name or a handle")
    }

    #[inline]
    fn image_mut(&mut self, file: u32) -> &mut FileImage {
        self.files[file as usize]
            .as_mut()
            .expect("a file that has a name or a handle")
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn next_identity(&mut self) -> u64 {
        self.identity += 1;
        self.identity
    }

    fn place(&mut self, image: FileImage) -> u32 {
        let image = Some(Box::new(image));
        match self.files.iter().position(Option::is_none) {
            Some(index) => {
                self.files[index] = image;
                index as u32
            }
            None => {
                self.files.push(image);
                self.files.len() as u32 - 1
            }
        }
    }

    /// Drops those of these files that no name can lead to and no handle holds.
    fn drop_loose(&mut self, files: &[u32]) {
        for &file in files {
            let slot = &mut self.files[file as usize];
            if slot.as_ref().is_some_and(|image| !image.named && image.opens == 0)
                && !self.tree.may_come_back(Node::File(file))
            {
                *slot = None;
            }
        }
    }

    /// The same after names became durable.
    fn drop_replaced(&mut self, loose: &Loose) {
        if loose.dirs {
            self.collect();
        } else {
            self.drop_loose(&loose.files);
        }
    }

    /// Drops all files that no name can lead to and no handle holds. It looks at every name.
    fn collect(&mut self) {
        let reached = self.tree.collect();
        for (index, slot) in self.files.iter_mut().enumerate() {
            let held = slot.as_ref().is_some_and(|image| image.opens > 0);
            if !held && !reached.contains(&Node::File(index as u32)) {
                *slot = None;
            }
        }
    }
}
