//! Steps by name: what is pending, and how the one that a script names comes about.
//!
//! While a script plays, what programs are to be told waits in their inboxes until it is named; all below them goes on
//! in time order. So a script that was recorded from a run repeats it, and one made by hand may let a program learn of
//! things later than it would, never of things that have not reached its node.

use super::turn::key;
use super::{Plan, World};
use crate::connection::Payload;
use crate::due::{Due, NetDue, Ready};
use crate::fault::NodeId;
use crate::program::Boot;
use crate::schedule::{Pending, ScriptError};
use crate::step::{StepKey, StepKind, Stepped};

impl<B: Boot> World<B> {
    /// All steps that may come next, by time: what waits for a node, and what is on its way.
    pub fn pending(&self) -> Vec<Pending> {
        let mut pending = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let time = node.busy_until.max(self.now);
            let keys = node.inbox.iter().filter_map(|ready| self.name_of(i, ready));
            pending.extend(keys.map(|key| Pending { time, key }));
        }
        let time = self.now;
        let held = self.held.iter().filter_map(|index| self.name_of_plan(*index));
        pending.extend(held.map(|key| Pending { time, key }));
        for (time, _, due) in self.agenda.entries() {
            pending.extend(self.foresee(due).map(|key| Pending { time, key }));
        }
        pending.sort_unstable_by_key(|pending| (pending.time, pending.key));
        pending
    }

    pub(super) fn name_of(&self, i: usize, ready: &Ready) -> Option<StepKey> {
        match *ready {
            Ready::Accepted { conn, nth } => {
                let (_, from) = self.net.visible(conn, 1)?;
                Some(key(StepKind::Accepted, Some(from), i, nth))
            }
            Ready::Connected { conn, nth } => {
                let (_, to) = self.net.visible(conn, 0)?;
                Some(key(StepKind::Connected, Some(to), i, nth))
            }
            Ready::Readable { conn, half } => {
                let (from, to, nth, data) = self.net.peek(conn, half.into())?;
                let kind = if data { StepKind::Received } else { StepKind::Closed };
                Some(key(kind, Some(from), to.0.into(), nth))
            }
            Ready::Writable { conn, half, nth } => {
                let (_, peer) = self.net.visible(conn, half.into())?;
                Some(key(StepKind::Writable, Some(peer), i, nth))
            }
            Ready::Sync { nth, .. } => Some(key(StepKind::SyncDone, None, i, nth)),
            Ready::Deadline => Some(key(StepKind::Deadline, None, i, self.nodes[i].alarm.count + 1)),
            Ready::Terminate { nth } => Some(key(StepKind::Terminate, None, i, nth)),
        }
    }

    fn name_of_plan(&self, index: u32) -> Option<StepKey> {
        let (plan, nth) = &self.plans[index as usize];
        let kind = match plan.as_ref()? {
            Plan::Fault(_) => StepKind::Fault,
            Plan::Marker(_) => StepKind::Marker,
        };
        Some(StepKey {
            kind,
            from: None,
            to: None,
            nth: *nth,
        })
    }

    /// What an entry of the queue will be to a program, if nothing comes between.
    fn foresee(&self, due: &Due) -> Option<StepKey> {
        match *due {
            Due::Net(NetDue::Arrive { conn, half, nth } | NetDue::Entered { conn, half, nth }) => {
                let (from, to, segment) = self.net.foresee(conn, half.into(), nth)?;
                let kind = match segment.payload {
                    Payload::Data(_) => StepKind::Received,
                    Payload::Hello => StepKind::Accepted,
                    Payload::Fin => StepKind::Closed,
                };
                Some(key(kind, Some(from), to.0.into(), nth))
            }
            Due::Net(NetDue::SynAck { conn, nth }) => {
                let (_, to) = self.net.visible(conn, 0)?;
                let from = self.net.visible_at(conn, 0)?;
                Some(key(StepKind::Connected, Some(to), from.0.into(), nth))
            }
            Due::Net(NetDue::Rst { conn, end, nth }) => {
                let (_, peer) = self.net.visible(conn, end.into())?;
                let at = self.net.visible_at(conn, end.into())?;
                Some(key(StepKind::Closed, Some(peer), at.0.into(), nth))
            }
            Due::Net(NetDue::Reread { conn, half }) => {
                let (from, to, nth, data) = self.net.peek(conn, half.into())?;
                data.then(|| key(StepKind::Received, Some(from), to.0.into(), nth))
            }
            Due::Net(_) | Due::Wake { .. } | Due::WriteBack { .. } | Due::Flap { .. } => None,
            Due::Deadline { node, arming } => {
                let alarm = &self.nodes[usize::from(node)].alarm;
                (alarm.arming == arming && alarm.wanted.is_some())
                    .then(|| key(StepKind::Deadline, None, node.into(), alarm.count + 1))
            }
            Due::Sync { node, nth } => {
                let known = self.nodes[usize::from(node)].syncs.iter().any(|sync| sync.nth == nth);
                known.then(|| key(StepKind::SyncDone, None, node.into(), nth))
            }
            Due::Scheduled { index } => self.name_of_plan(index),
        }
    }

    /// The step of this name, if it is pending or becomes so soon enough; the clock moves to when it can happen.
    pub(super) fn step_named(&mut self, wanted: StepKey) -> Option<Stepped> {
        let asked = self.now;
        let busy_until = wanted.to.and_then(|node| self.nodes.get(usize::from(node.0)));
        let busy_until = busy_until.map_or(0, |node| node.busy_until);
        let until = (asked + self.config.script_patience_ns).max(busy_until);
        let mut pending = None;
        loop {
            if let Some(stepped) = self.take_named(&wanted) {
                self.scheduler.played();
                return Some(stepped);
            }
            // Those that were pending when the script asked, not what is left after the wait.
            pending.get_or_insert_with(|| self.pending());
            let alive = self.agenda.len() > self.background;
            if !alive || self.agenda.next_time().is_none_or(|time| time > until) {
                break;
            }
            self.below();
        }
        let position = match &self.scheduler {
            crate::schedule::Scheduler::Scripted(script) => script.played(),
            crate::schedule::Scheduler::Seeded => 0,
        };
        self.script_error = Some(ScriptError {
            position,
            wanted,
            time: asked,
            pending: pending.unwrap_or_default(),
        });
        None
    }

    /// Carries out the next entry of the queue; no program takes part.
    fn below(&mut self) {
        if let Some((time, due)) = self.agenda.pop() {
            self.now = self.now.max(time);
            let stepped = self.carry_out(due);
            assert!(stepped.is_none(), "a script decides which steps there are: {stepped:?}");
        }
    }

    fn take_named(&mut self, wanted: &StepKey) -> Option<Stepped> {
        let means = |key: Option<StepKey>| key.is_some_and(|key| wanted.means(&key));
        if let Some(place) = self.held.iter().position(|index| means(self.name_of_plan(*index))) {
            let index = self.held.remove(place);
            return self.carry_out_plan(index);
        }
        let NodeId(node) = wanted.to?;
        let i = usize::from(node);
        let host = self.nodes.get(i).filter(|host| !host.paused)?;
        let place = host.inbox.iter().position(|ready| means(self.name_of(i, ready)))?;
        if host.wake_armed || host.busy_until > self.now {
            // Below it things go on until it is free.
            self.arm_wake(i);
            return None;
        }
        let ready = self.nodes[i].inbox.remove(place)?;
        let stepped = self.run(i, ready);
        self.arm_wake(i);
        stepped
    }
}
