//! How processes begin and end.

use super::World;
use crate::fault::{Fault, NodeId, Survival};
use crate::host::Stopping;
use crate::net::Ending;
use crate::program::Boot;

/// How the last process of a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// kill -9 between two steps.
    Killed,
    /// kill -9 in the middle of a step: what it did on the disk stays, what it meant to say is unsaid.
    MidStep,
    /// The host lost power.
    PowerLost,
    /// By itself; `clean` as it said.
    Exited {
        /// In order.
        clean: bool,
    },
}

impl<B: Boot> World<B> {
    /// How the last process of this node ended; none if none has.
    pub fn last_death(&self, node: NodeId) -> Option<Death> {
        self.nodes[usize::from(node.0)].last_death
    }

    /// Bytes under way between kernels: from, to, whether from the end that connected.
    pub fn in_flight(&self) -> impl Iterator<Item = (NodeId, NodeId, bool, &bytes::Bytes)> {
        self.net.in_flight()
    }

    /// Looks into a process and its disk between two steps. Not a step: it must leave no trace in either.
    pub fn peek<R>(
        &mut self,
        node: NodeId,
        look: impl FnOnce(&mut B::Program, &mut crate::disk::Disk) -> R,
    ) -> Option<R> {
        let node = &mut self.nodes[usize::from(node.0)];
        let result = look(node.program.as_mut()?, &mut node.disk);
        node.disk.take_busy();
        Some(result)
    }

    /// Starts a process on every node, in order, as steps.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.apply(&Fault::Start {
                node: NodeId(node as u16),
            });
        }
    }

    /// Starts the process of node `i`, which must have none. True if it runs.
    pub(super) fn start_process(&mut self, i: usize) -> bool {
        let node = &mut self.nodes[i];
        assert!(node.program.is_none(), "one process a node");
        self.net.hosts[i].up = true;
        node.incarnation += 1;
        node.busy_until = self.now;
        if node.crash_in_recovery.0 > 0 {
            node.crash_in_recovery.0 -= 1;
            node.disk.die_after_calls(Some(node.crash_in_recovery.1));
        }
        let now = node.clock.now(self.now);
        let entropy = node.entropy.next_u64();
        let id = NodeId(i as u16);
        let program = self.boot.boot(id, now, entropy, &mut node.disk, &mut self.effects);
        if program.is_none() {
            self.effects.clear();
            node.disk.take_busy();
            node.forget_process();
            return false;
        }
        node.program = program;
        self.net.hosts[i].listening = true;
        !self.finish(i)
    }

    /// The process of node `i` ends, and with it all that waited for it.
    pub(super) fn end_process(&mut self, i: usize, ending: Ending, death: Death) {
        let node = &mut self.nodes[i];
        node.last_death = Some(death);
        if node.stopping == Stopping::ToStartAgain && matches!(death, Death::Exited { .. }) {
            let node = NodeId(i as u16);
            self.schedule_fault(self.now, Fault::Start { node });
        }
        self.net.process_gone(i, ending, self.now, &mut self.agenda);
        self.nodes[i].forget_process();
        self.tell_later();
    }

    /// The host of node `i` loses power.
    pub(super) fn lose_power(&mut self, i: usize, survival: Survival, torn_sectors: bool, garbage_tail: bool) {
        if self.net.hosts[i].suspended {
            self.nodes[i].clock.set_suspended(self.now, false);
        }
        self.end_process(i, Ending::PowerLost, Death::PowerLost);
        self.nodes[i].disk.power_loss(survival, torn_sectors, garbage_tail);
        self.nodes[i].disk.take_busy();
    }
}
