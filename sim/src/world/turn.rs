//! One turn: an entry of the queue is carried out, and what comes of it at a program.

use super::life::Death;
use super::{Plan, World};
use crate::due::{Due, Ready};
use crate::fault::NodeId;
use crate::host::Sync;
use crate::link::CONTROL;
use crate::net::{Arrival, Ending, Read};
use crate::program::{Boot, Effect, Event, Now, Program};
use crate::step::{Label, StepKey, StepKind, Stepped};
use xxhash_rust::xxh3::xxh3_64;

/// How long a sync takes that had to wait for a hung disk, nanoseconds.
const SYNC_AFTER_HANG_NS: u64 = 1_000_000;
/// Deadlines later than this are never reached; nanoseconds of true time (146 years).
const NEVER: u64 = u64::MAX / 4;

pub(super) fn key(kind: StepKind, from: Option<NodeId>, to: usize, nth: u32) -> StepKey {
    StepKey {
        kind,
        from,
        to: Some(NodeId(to as u16)),
        nth: nth & !CONTROL,
    }
}

impl<B: Boot> World<B> {
    /// Carries out one entry of the queue; a step if a program, a fault or a marker came of it.
    #[inline]
    pub(super) fn carry_out(&mut self, due: Due) -> Option<Stepped> {
        match due {
            Due::Net(due) => match self.net.handle(due, self.now, &mut self.agenda) {
                Some(arrival) => self.deliver(arrival),
                None => self.tell(),
            },
            Due::Wake { node, wake } => self.wake(node.into(), wake),
            Due::Deadline { node, arming } => self.ring(node.into(), arming),
            Due::Sync { node, nth } => self.sync_ends(node.into(), nth),
            Due::WriteBack { node } => {
                self.nodes[usize::from(node)].disk.write_back(self.now);
                self.agenda
                    .push(self.now + self.config.write_back_ns, Due::WriteBack { node });
                None
            }
            Due::Flap { index, round } => {
                self.background -= 1;
                self.flap(index.into(), round);
                None
            }
            Due::Scheduled { index } if self.scripted => {
                self.held.push(index);
                None
            }
            Due::Scheduled { index } => self.carry_out_plan(index),
        }
    }

    pub(super) fn carry_out_plan(&mut self, index: u32) -> Option<Stepped> {
        let (plan, nth) = &mut self.plans[index as usize];
        let nth = *nth;
        let kind = StepKind::Fault;
        let key = StepKey {
            kind,
            from: None,
            to: None,
            nth,
        };
        match plan.take()? {
            Plan::Fault(fault) => Some(self.carry_out_fault(&fault, key).0),
            Plan::Marker(id) => {
                let kind = StepKind::Marker;
                Some(self.record(None, Label::Marker(id), StepKey { kind, ..key }, 0, false))
            }
        }
    }

    /// A step has been carried out.
    #[inline]
    pub(super) fn record(
        &mut self,
        node: Option<usize>,
        label: Label,
        key: StepKey,
        payload: u64,
        ended: bool,
    ) -> Stepped {
        self.steps += 1;
        let stepped = Stepped {
            seq: self.steps,
            time: self.now,
            node: node.map(|node| NodeId(node as u16)),
            label,
            key,
            ended,
        };
        self.trace.step(&stepped, payload);
        stepped
    }

    /// Bytes reached a node: at once to its program if it is free, else into its kernel.
    #[inline]
    fn deliver(&mut self, arrival: Arrival) -> Option<Stepped> {
        if arrival.direct && !self.scripted && self.nodes[arrival.node].is_free(self.now) {
            return self.receive(arrival.node, arrival.name, arrival.from, arrival.nth, arrival.bytes);
        }
        self.net.keep(arrival);
        self.tell()
    }

    #[inline]
    fn receive(&mut self, node: usize, conn: u64, from: NodeId, nth: u32, bytes: bytes::Bytes) -> Option<Stepped> {
        let len = bytes.len() as u32;
        self.bytes += u64::from(len);
        self.nodes[node].bytes += u64::from(len);
        let payload = xxh3_64(&bytes);
        let label = Label::Received { conn, from, len };
        let key = key(StepKind::Received, Some(from), node, nth);
        self.execute(node, Event::Received { conn, bytes }, label, key, payload)
    }

    /// Hands on what the network has for programs.
    #[inline]
    fn tell(&mut self) -> Option<Stepped> {
        match self.net.ready.len() {
            0 => None,
            1 => {
                let (node, ready) = self.net.ready.pop().expect("there is one");
                self.dispatch(node.0.into(), ready)
            }
            _ => {
                self.tell_later();
                None
            }
        }
    }

    /// The same, when this is no moment for a step.
    pub(super) fn tell_later(&mut self) {
        if self.net.ready.is_empty() {
            return;
        }
        let mut ready = std::mem::take(&mut self.net.ready);
        for (node, ready) in ready.drain(..) {
            self.enqueue(node.0.into(), ready);
        }
        self.net.ready = ready;
    }

    fn dispatch(&mut self, node: usize, ready: Ready) -> Option<Stepped> {
        if !self.nodes[node].is_free(self.now) {
            self.enqueue(node, ready);
            return None;
        }
        if self.scripted {
            // It could happen at this very moment, if the script says so.
            self.nodes[node].inbox.push_back(ready);
            return None;
        }
        self.run(node, ready)
    }

    pub(super) fn enqueue(&mut self, node: usize, ready: Ready) {
        if self.nodes[node].program.is_some() {
            self.nodes[node].inbox.push_back(ready);
            self.arm_wake(node);
        }
    }

    /// Sees to it that what waits in the inbox is looked at when the node is free.
    pub(super) fn arm_wake(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if node.inbox.is_empty() || node.paused || node.wake_armed {
            return;
        }
        node.wake_armed = true;
        node.wake += 1;
        let (node, wake, at) = (i as u16, node.wake, node.busy_until.max(self.now));
        self.agenda.push(at, Due::Wake { node, wake });
    }

    fn wake(&mut self, i: usize, wake: u32) -> Option<Stepped> {
        let node = &mut self.nodes[i];
        if node.wake != wake {
            return None;
        }
        node.wake_armed = false;
        if node.paused {
            return None;
        }
        if self.scripted {
            self.forget_stale(i);
            return None;
        }
        let mut stepped = None;
        if node.busy_until <= self.now {
            while stepped.is_none()
                && let Some(ready) = self.nodes[i].inbox.pop_front()
            {
                stepped = self.run(i, ready);
            }
        }
        self.arm_wake(i);
        stepped
    }

    /// Drops what heads the inbox and is no longer so, as happens when nobody but the seed decides.
    fn forget_stale(&mut self, i: usize) {
        while let Some(ready) = self.nodes[i].inbox.front().copied()
            && self.name_of(i, &ready).is_none()
        {
            self.nodes[i].inbox.pop_front();
            let stepped = self.run(i, ready);
            assert!(stepped.is_none(), "what has no name is no step: {stepped:?}");
        }
    }

    /// The program of node `i` is told of something, if it still is so.
    pub(super) fn run(&mut self, i: usize, ready: Ready) -> Option<Stepped> {
        match ready {
            Ready::Readable { conn, half } => match self.net.read(conn, half.into(), self.now, &mut self.agenda) {
                Read::Data { name, from, nth, bytes } => self.receive(i, name, from, nth, bytes),
                Read::Closed {
                    name,
                    from,
                    nth,
                    in_order,
                } => {
                    let label = Label::Closed { conn: name, peer: from };
                    let key = key(StepKind::Closed, Some(from), i, nth);
                    self.execute(i, Event::Closed { conn: name, in_order }, label, key, 0)
                }
                Read::Nothing => None,
            },
            Ready::Accepted { conn, nth } => {
                let (conn, from) = self.net.visible(conn, 1)?;
                let key = key(StepKind::Accepted, Some(from), i, nth);
                self.execute(i, Event::Accepted { conn }, Label::Accepted { conn, from }, key, 0)
            }
            Ready::Connected { conn, nth } => {
                let (conn, to) = self.net.visible(conn, 0)?;
                let key = key(StepKind::Connected, Some(to), i, nth);
                self.execute(i, Event::Connected { conn }, Label::Connected { conn, to }, key, 0)
            }
            Ready::Writable { conn, half, nth } => {
                let (conn, peer) = self.net.visible(conn, half.into())?;
                let key = key(StepKind::Writable, Some(peer), i, nth);
                self.execute(i, Event::Writable { conn }, Label::Writable { conn, peer }, key, 0)
            }
            Ready::Sync { nth, token, result } => {
                let ok = result.is_ok();
                let key = key(StepKind::SyncDone, None, i, nth);
                self.execute(
                    i,
                    Event::SyncDone { token, result },
                    Label::SyncDone { token, ok },
                    key,
                    0,
                )
            }
            Ready::Deadline => {
                let node = &mut self.nodes[i];
                node.alarm.rung = false;
                let mono = node.clock.now(self.now).mono;
                let due = node.program.as_ref()?.next_deadline().is_some_and(|at| at <= mono);
                if !due {
                    self.arm_alarm(i);
                    return None;
                }
                node.alarm.count += 1;
                let key = key(StepKind::Deadline, None, i, node.alarm.count);
                self.execute(i, Event::Deadline, Label::Deadline, key, 0)
            }
            Ready::Terminate { nth } => {
                let key = key(StepKind::Terminate, None, i, nth);
                self.execute(i, Event::Terminate, Label::Terminate, key, 0)
            }
        }
    }

    /// One step of the program of node `i`, to its end.
    #[inline]
    fn execute(&mut self, i: usize, event: Event, label: Label, key: StepKey, payload: u64) -> Option<Stepped> {
        let node = &mut self.nodes[i];
        assert!(
            node.busy_until <= self.now && !node.paused,
            "node {i} takes one event at a time"
        );
        let now = node.clock.now(self.now);
        let program = node.program.as_mut()?;
        program.step(now, event, &mut node.disk, &mut self.effects);
        let ended = self.finish(i);
        Some(self.record(Some(i), label, key, payload, ended))
    }

    /// Lets the harness act in the place of an event: one step of the node's program, now, even if its processor is
    /// taken. `None` without a process, or with a frozen one.
    pub fn poke<R>(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut B::Program, Now, &mut crate::disk::Disk, &mut Vec<Effect>) -> R,
    ) -> Option<R> {
        let i = usize::from(node.0);
        let host = self.nodes.get_mut(i).filter(|host| !host.paused)?;
        let now = host.clock.now(self.now);
        let result = act(host.program.as_mut()?, now, &mut host.disk, &mut self.effects);
        let ended = self.finish(i);
        self.pokes += 1;
        let key = key(StepKind::Poke, None, i, self.pokes);
        self.record(Some(i), Label::Poke, key, 0, ended);
        Some(result)
    }

    /// What every step ends with: its price, its effects, the next deadline. True if the process ended.
    #[inline]
    pub(super) fn finish(&mut self, i: usize) -> bool {
        let node = &mut self.nodes[i];
        node.steps += 1;
        let cost = self.config.step_ns * node.cpu_factor + node.disk.take_busy();
        node.busy_until = node.busy_until.max(self.now) + cost;
        if node.disk.died() {
            // It was killed in the middle of a call: nothing that it meant to do happens.
            self.effects.clear();
            self.end_process(i, Ending::Killed, Death::MidStep);
            return true;
        }
        let end = node.busy_until;
        let mut effects = std::mem::take(&mut self.effects);
        let mut ended = false;
        for effect in effects.drain(..) {
            if let Effect::Exit { clean } = effect {
                self.now_at(end, |world| {
                    world.end_process(
                        i,
                        if clean { Ending::Clean } else { Ending::Killed },
                        Death::Exited { clean },
                    );
                });
                ended = true;
                break;
            }
            self.perform(i, effect, end);
        }
        self.effects = effects;
        if !ended {
            self.arm_alarm(i);
            self.tell_later();
            self.arm_wake(i);
        }
        ended
    }

    /// Does something as of a time that is not yet: the end of the step under way.
    fn now_at(&mut self, time: u64, act: impl FnOnce(&mut Self)) {
        let now = std::mem::replace(&mut self.now, time);
        act(self);
        self.now = now;
    }

    #[inline]
    fn perform(&mut self, i: usize, effect: Effect, at: u64) {
        match effect {
            Effect::Send { conn, bytes } => self.net.send(i, conn, bytes, at, &mut self.agenda),
            Effect::Connect { conn, to } => self.net.connect(i, conn, to, at, &mut self.agenda),
            Effect::Close { conn } => self.net.close(i, conn, at, &mut self.agenda),
            Effect::PauseReading { conn } => self.net.set_reading(i, conn, false),
            Effect::ResumeReading { conn } => self.net.set_reading(i, conn, true),
            Effect::AwaitRoom { conn } => self.net.await_room(i, conn),
            Effect::SyncFile { token, file } => {
                let (pending, takes) = self.nodes[i].disk.begin_sync_file(file);
                self.sync_begins(i, token, pending, takes, at);
            }
            Effect::SyncDir { token, path } => {
                let (pending, takes) = self.nodes[i].disk.begin_sync_dir(&path);
                self.sync_begins(i, token, pending, takes, at);
            }
            Effect::Exit { .. } => unreachable!("the step has ended before"),
        }
    }

    fn sync_begins(&mut self, i: usize, token: u64, pending: crate::disk::PendingSync, takes: Option<u64>, at: u64) {
        let node = &mut self.nodes[i];
        node.sync_count += 1;
        let nth = node.sync_count;
        let hung = takes.is_none();
        node.syncs.push(Sync {
            nth,
            token,
            pending,
            hung,
        });
        if let Some(takes) = takes {
            let node = i as u16;
            self.agenda.push(at + takes, Due::Sync { node, nth });
        }
    }

    fn sync_ends(&mut self, i: usize, nth: u32) -> Option<Stepped> {
        let node = &mut self.nodes[i];
        let place = node.syncs.iter().position(|sync| sync.nth == nth)?;
        if node.disk_hung {
            node.syncs[place].hung = true;
            return None;
        }
        let sync = node.syncs.remove(place);
        let result = node.disk.finish_sync(sync.pending);
        let token = sync.token;
        self.dispatch(i, Ready::Sync { nth, token, result })
    }

    /// The disk of node `i` is healthy again: what hung completes.
    pub(super) fn resume_syncs(&mut self, i: usize) {
        for sync in &mut self.nodes[i].syncs {
            if std::mem::take(&mut sync.hung) {
                let (node, nth) = (i as u16, sync.nth);
                self.agenda.push(self.now + SYNC_AFTER_HANG_NS, Due::Sync { node, nth });
            }
        }
    }

    // --- deadlines: one entry of the queue a node, never later than the deadline; looked at again when it comes ---

    /// Arms what the program wants, if that is new.
    #[inline]
    pub(super) fn arm_alarm(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let Some(program) = &node.program else { return };
        let wanted = program.next_deadline();
        if wanted == node.alarm.wanted && !node.alarm.rung {
            return;
        }
        if node.alarm.rung {
            let mono = node.clock.now(self.now).mono;
            if wanted.is_some_and(|at| at <= mono) {
                return;
            }
            node.alarm.rung = false;
            node.inbox.retain(|ready| *ready != Ready::Deadline);
        }
        node.alarm.wanted = wanted;
        let Some(at) = wanted.and_then(|wanted| node.clock.true_time(wanted)) else {
            return;
        };
        let at = at.max(self.now);
        if at < NEVER && node.alarm.scheduled.is_none_or(|scheduled| scheduled > at) {
            self.schedule_alarm(i, at);
        }
    }

    fn schedule_alarm(&mut self, i: usize, at: u64) {
        let alarm = &mut self.nodes[i].alarm;
        alarm.arming += 1;
        alarm.scheduled = Some(at);
        let (node, arming) = (i as u16, alarm.arming);
        self.agenda.push(at, Due::Deadline { node, arming });
    }

    /// The clock of node `i` was bent: what was armed by it is armed anew.
    pub(super) fn rearm_alarm(&mut self, i: usize) {
        let alarm = &mut self.nodes[i].alarm;
        alarm.arming += 1;
        alarm.scheduled = None;
        alarm.wanted = None;
        self.arm_alarm(i);
    }

    fn ring(&mut self, i: usize, arming: u32) -> Option<Stepped> {
        let node = &mut self.nodes[i];
        if node.alarm.arming != arming {
            return None;
        }
        node.alarm.scheduled = None;
        let wanted = node.alarm.wanted?;
        let at = node.clock.true_time(wanted)?;
        if at > self.now {
            if at < NEVER {
                self.schedule_alarm(i, at);
            }
            return None;
        }
        if node.late_ms > 0 && node.alarm.late_for != Some(wanted) {
            node.alarm.late_for = Some(wanted);
            let late = node.timers.below(u64::from(node.late_ms) * 1_000_000 + 1);
            let at = self.now + late;
            self.schedule_alarm(i, at);
            return None;
        }
        node.alarm.late_for = None;
        node.alarm.wanted = None;
        node.alarm.rung = true;
        self.dispatch(i, Ready::Deadline)
    }
}
