//! Names: directories as the program sees them, as the platter has them, and what lies between the two.
//!
//! Guarantees: a creation, removal or renaming is durable only by a sync of the directory it happened in (or in time,
//! by write-back); each takes effect whole or not at all; a file has one durable name at most; what nobody can reach any
//! more, now or after a power failure, is dropped. It does not know what is in a file, nor time or chance.
//! Stricter than any journaling file system, which also makes the directories above durable: POSIX promises no more.
//!
//! Sources: "All File Systems Are Not Created Equal" (OSDI 2014); POSIX rename().

use std::collections::{BTreeMap, BTreeSet};

/// What a name stands for, by its place in the list of files or of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    File(u32),
    Dir(u32),
}

/// The directory at the top.
pub(super) const ROOT: u32 = 0;

/// Which names are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Cached,
    Durable,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    cached: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// Place in the order of all changes of the disk.
    pub seq: u64,
    /// The directory that it belongs to: of a move between directories the target.
    pub dir: u32,
    name: String,
    node: Node,
    kind: OpKind,
}

#[derive(Clone, Debug)]
enum OpKind {
    Link,
    Unlink,
    /// The directory and the name it had before.
    Rename(u32, String),
}

impl Op {
    fn concerns(&self, dir: u32) -> bool {
        self.dir == dir || matches!(self.kind, OpKind::Rename(from, _) if from == dir)
    }
}

/// What may have lost its last name when names became durable.
#[derive(Debug, Default)]
pub(super) struct Loose {
    pub files: Vec<u32>,
    /// Whether directories may have, and with them what is in them.
    pub dirs: bool,
}

/// All names of a disk.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// By number; a number is never used again.
    dirs: Vec<Option<Directory>>,
    /// The durable name of each node that has one.
    homes: BTreeMap<Node, (u32, String)>,
    /// Oldest first.
    pub pending: Vec<Op>,
}

/// The parts of a path that say something.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

impl Tree {
    /// Nothing but the directory at the top.
    pub fn new() -> Tree {
        Tree {
            dirs: vec![Some(Directory::default())],
            homes: BTreeMap::new(),
            pending: Vec::new(),
        }
    }
    fn dir(&self, dir: u32) -> &Directory {
        self.dirs[dir as usize].as_ref().expect("a directory that is reachable")
    }
    fn dir_mut(&mut self, dir: u32) -> &mut Directory {
        self.dirs[dir as usize].as_mut().expect("a directory that is reachable")
    }
    fn entries(&self, dir: u32, view: View) -> &BTreeMap<String, Node> {
        match view {
            View::Cached => &self.dir(dir).cached,
            View::Durable => &self.dir(dir).durable,
        }
    }
    /// What a path stands for.
    pub fn resolve(&self, path: &str, view: View) -> Option<Node> {
        let mut node = Node::Dir(ROOT);
        for part in parts(path) {
            let Node::Dir(dir) = node else { return None };
            node = *self.entries(dir, view).get(part)?;
        }
        Some(node)
    }
    /// The directory a path lies in, if there is one, and its last part.
    pub fn parent<'a>(&self, path: &'a str) -> Option<(u32, &'a str)> {
        let trimmed = path.trim_end_matches('/');
        let (dir, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        match self.resolve(dir, View::Cached)? {
            Node::Dir(dir) if !name.is_empty() => Some((dir, name)),
            _ => None,
        }
    }
    /// Names in a directory, sorted.
    pub fn names(&self, dir: u32) -> Vec<String> {
        self.dir(dir).cached.keys().cloned().collect()
    }
    /// Whether nothing is in it.
    pub fn is_empty(&self, dir: u32) -> bool {
        self.dir(dir).cached.is_empty()
    }
    /// Gives a node a name.
    pub fn link(&mut self, seq: u64, dir: u32, name: &str, node: Node) {
        self.dir_mut(dir).cached.insert(name.to_owned(), node);
        self.push(seq, dir, name, node, OpKind::Link);
    }
    /// Makes a directory.
    pub fn make_dir(&mut self, seq: u64, dir: u32, name: &str) {
        let new = self.dirs.len() as u32;
        self.dirs.push(Some(Directory::default()));
        self.link(seq, dir, name, Node::Dir(new));
    }
    /// Takes a name away, and says from what.
    pub fn unlink(&mut self, seq: u64, dir: u32, name: &str) -> Option<Node> {
        let node = self.dir_mut(dir).cached.remove(name)?;
        self.push(seq, dir, name, node, OpKind::Unlink);
        Some(node)
    }
    /// Moves a name; what had the new one is without a name.
    pub fn rename(&mut self, seq: u64, from: (u32, &str), to: (u32, &str)) {
        if let Some(node) = self.dir_mut(from.0).cached.remove(from.1) {
            self.dir_mut(to.0).cached.insert(to.1.to_owned(), node);
            self.push(seq, to.0, to.1, node, OpKind::Rename(from.0, from.1.to_owned()));
        }
    }
    fn push(&mut self, seq: u64, dir: u32, name: &str, node: Node, kind: OpKind) {
        self.pending.push(Op {
            seq,
            dir,
            name: name.to_owned(),
            node,
            kind,
        });
    }
    /// Whether a sync of this directory would have anything to do.
    pub fn has_pending(&self, dir: u32, upto: u64) -> bool {
        self.pending.iter().any(|op| op.seq <= upto && op.concerns(dir))
    }
    /// Makes the changes of a directory durable.
    pub fn sync(&mut self, dir: u32, upto: u64) -> Loose {
        self.commit(|op| op.seq <= upto && op.concerns(dir))
    }
    /// Takes them for durable though they are not.
    pub fn forget(&mut self, dir: u32, upto: u64) {
        self.pending.retain(|op| op.seq > upto || !op.concerns(dir));
    }
    /// Makes those that are chosen durable, in order, and with each what it builds on: earlier changes of the same node or
    /// of a name that it takes or leaves. The others stay pending.
    pub fn commit(&mut self, chosen: impl FnMut(&Op) -> bool) -> Loose {
        let mut chosen: Vec<bool> = self.pending.iter().map(chosen).collect();
        let (mut nodes, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (op, chosen) in self.pending.iter().zip(&mut chosen).rev() {
            let target = (op.dir, op.name.as_str());
            let source = match &op.kind {
                OpKind::Rename(dir, name) => (*dir, name.as_str()),
                OpKind::Link | OpKind::Unlink => target,
            };
            // IMPORTANT: carried out after what was built on it, it would undo that: a synced name would be gone.
            *chosen |= nodes.contains(&op.node) || names.contains(&target) || names.contains(&source);
            if *chosen {
                nodes.insert(op.node);
                names.extend([target, source]);
            }
        }
        let mut chosen = chosen.into_iter();
        let done: Vec<Op> = self.pending.extract_if(.., |_| chosen.next() == Some(true)).collect();
        let mut loose = Loose::default();
        for op in done {
            match self.carry_out(op) {
                Some(Node::File(file)) => loose.files.push(file),
                Some(Node::Dir(_)) => loose.dirs = true,
                None => {}
            }
        }
        loose
    }
    /// Carries out a change; also the node that may have lost its last name.
    fn carry_out(&mut self, op: Op) -> Option<Node> {
        let Op {
            dir, name, node, kind, ..
        } = op;
        self.dirs[dir as usize].as_ref()?;
        match kind {
            OpKind::Unlink => {
                if self.dir(dir).durable.get(&name) == Some(&node) {
                    self.dir_mut(dir).durable.remove(&name);
                    self.homes.remove(&node);
                }
                Some(node)
            }
            OpKind::Link | OpKind::Rename(..) => {
                self.leave_home(node);
                let replaced = self.dir_mut(dir).durable.insert(name.clone(), node);
                if let Some(replaced) = replaced {
                    self.homes.remove(&replaced);
                }
                self.homes.insert(node, (dir, name));
                replaced
            }
        }
    }
    fn leave_home(&mut self, node: Node) {
        if let Some((dir, name)) = self.homes.remove(&node)
            && let Some(directory) = &mut self.dirs[dir as usize]
            && directory.durable.get(&name) == Some(&node)
        {
            directory.durable.remove(&name);
        }
    }
    /// The platter's names become the program's, and nothing is pending.
    pub fn restart(&mut self) {
        self.pending.clear();
        for directory in self.dirs.iter_mut().flatten() {
            directory.cached.clone_from(&directory.durable);
        }
    }
    /// Whether a node that the program does not see has a durable name, or a change that could give it one.
    pub fn may_come_back(&self, node: Node) -> bool {
        self.homes.contains_key(&node) || self.pending.iter().any(|op| op.node == node)
    }
    /// All nodes that a name leads to now, or may lead to after a power failure; drops directories that are not among them.
    pub fn collect(&mut self) -> BTreeSet<Node> {
        let mut reached = BTreeSet::new();
        let mut todo = vec![Node::Dir(ROOT)];
        loop {
            while let Some(node) = todo.pop() {
                if !reached.insert(node) {
                    continue;
                }
                if let Node::Dir(dir) = node {
                    todo.extend(self.dir(dir).cached.values().chain(self.dir(dir).durable.values()));
                }
            }
            // A pending change may bring back what it names, in a directory that is itself reachable.
            let more = self.pending.iter().filter(|op| reached.contains(&Node::Dir(op.dir)));
            todo.extend(more.map(|op| op.node).filter(|node| !reached.contains(node)));
            if todo.is_empty() {
                break;
            }
        }
        self.pending.retain(|op| reached.contains(&Node::Dir(op.dir)));
        for (dir, slot) in self.dirs.iter_mut().enumerate() {
            if !reached.contains(&Node::Dir(dir as u32)) {
                *slot = None;
            }
        }
        self.homes
            .retain(|node, (dir, _)| reached.contains(node) && reached.contains(&Node::Dir(*dir)));
        reached
    }
    /// Every path and what it stands for, directories before what is in them.
    pub fn paths(&self, view: View) -> Vec<(String, Node)> {
        self.below(ROOT, "", view)
    }
    /// The same from a directory on.
    pub fn below(&self, dir: u32, prefix: &str, view: View) -> Vec<(String, Node)> {
        let mut found = Vec::new();
        for (name, node) in self.entries(dir, view) {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}/{name}")
            };
            found.push((path.clone(), *node));
            if let Node::Dir(inner) = node {
                found.extend(self.below(*inner, &path, view));
            }
        }
        found
    }
    /// Whether `dir` is `above` or lies in it.
    pub fn is_within(&self, dir: u32, above: u32) -> bool {
        let inside = |(_, node): (String, Node)| node == Node::Dir(dir);
        dir == above || self.below(above, "", View::Cached).into_iter().any(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree, view: View) -> Vec<String> {
        tree.paths(view).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_name_is_durable_by_the_sync_of_its_own_directory_only() {
        let mut tree = Tree::new();
        tree.make_dir(1, ROOT, "d");
        let (dir, name) = tree.parent("d/f").expect("d exists");
        tree.link(2, dir, name, Node::File(0));
        tree.sync(dir, 2);
        assert!(paths(&tree, View::Durable).is_empty(), "d itself is not durable");
        tree.sync(ROOT, 2);
        assert_eq!(paths(&tree, View::Durable), ["d", "d/f"]);
    }

    #[test]
    fn a_node_never_has_two_durable_names_whatever_survives() {
        for mask in 0..8u64 {
            let mut tree = Tree::new();
            tree.link(1, ROOT, "a", Node::File(0));
            tree.rename(2, (ROOT, "a"), (ROOT, "b"));
            tree.rename(3, (ROOT, "b"), (ROOT, "c"));
            tree.commit(|op| mask >> (op.seq - 1) & 1 == 1);
            let names = paths(&tree, View::Durable);
            let want: &[&str] = match mask {
                0 => &[],
                1 => &["a"],
                2 | 3 => &["b"],
                _ => &["c"],
            };
            assert_eq!(names, want, "mask {mask}");
        }
    }

    #[test]
    fn a_late_sync_does_not_undo_an_earlier_one() {
        let mut tree = Tree::new();
        for (seq, name) in [(1, "a"), (2, "b"), (3, "c")] {
            tree.make_dir(seq, ROOT, name);
        }
        let dir = |tree: &Tree, name| match tree.resolve(name, View::Cached) {
            Some(Node::Dir(dir)) => dir,
            _ => panic!("{name}"),
        };
        let (a, b, c) = (dir(&tree, "a"), dir(&tree, "b"), dir(&tree, "c"));
        tree.link(4, b, "x", Node::File(9));
        tree.commit(|_| true);
        tree.link(5, a, "x", Node::File(1));
        tree.rename(6, (a, "x"), (b, "x"));
        tree.rename(7, (b, "x"), (c, "x"));
        tree.commit(|op| op.seq == 7);
        let want = ["a", "b", "c", "c/x"];
        assert_eq!(
            paths(&tree, View::Durable),
            want,
            "what x replaced on its way is gone too"
        );
        tree.sync(a, 7);
        tree.sync(b, 7);
        assert_eq!(paths(&tree, View::Durable), want);
    }

    #[test]
    fn what_cannot_come_back_is_dropped() {
        let mut tree = Tree::new();
        tree.make_dir(1, ROOT, "d");
        let Some(Node::Dir(dir)) = tree.resolve("d", View::Cached) else {
            panic!("d")
        };
        tree.link(2, dir, "f", Node::File(7));
        tree.unlink(3, dir, "f");
        tree.unlink(4, ROOT, "d");
        assert!(
            tree.collect().contains(&Node::File(7)),
            "both creations may survive without the removals"
        );
        tree.sync(ROOT, 4);
        assert_eq!(tree.collect().len(), 1);
        assert!(tree.pending.is_empty());
    }
}
