//! How faults are carried out.

use super::life::Death;
use super::{Flap, World};
use crate::clock::MAX_DRIFT_PPM;
use crate::due::{Due, Ready};
use crate::fault::{DiskFault, Fault, NodeId};
use crate::host::Stopping;
use crate::net::Ending;
use crate::program::Boot;
use crate::step::{Label, StepKey, StepKind, Stepped};

/// The bit of [`Fault::Cut`] among the causes for which a link is cut; flaps have the others.
const CUT: u32 = 1;
/// Flaps at a time.
const FLAPS: usize = 31;

impl<B: Boot> World<B> {
    pub(super) fn applied_key(nth: u32) -> StepKey {
        StepKey {
            kind: StepKind::Applied,
            from: None,
            to: None,
            nth,
        }
    }

    /// Carries a fault out as a step; also whether it did anything.
    pub(super) fn carry_out_fault(&mut self, fault: &Fault, key: StepKey) -> (Stepped, bool) {
        let node = place_of(fault);
        let up = |world: &Self| node.is_some_and(|node| world.is_up(node));
        let was_up = up(self);
        let applied = self.is_known(fault) && self.inject(fault);
        if applied {
            *self.faults.entry(fault.kind()).or_default() += 1;
        }
        self.tell_later();
        let label = match (fault, node) {
            (Fault::Start { .. }, Some(node)) if applied => Label::Boot {
                incarnation: self.incarnation(node),
            },
            _ => Label::Fault {
                kind: fault.kind(),
                applied,
            },
        };
        let starts = applied && matches!(fault, Fault::Start { .. });
        let ended = (was_up || starts) && !up(self);
        let stepped = self.record(node.map(|node| node.0.into()), label, key, 0, ended);
        (stepped, applied)
    }

    /// Whether all nodes that it names exist.
    fn is_known(&self, fault: &Fault) -> bool {
        let known = |nodes: &[NodeId]| nodes.iter().all(|node| usize::from(node.0) < self.nodes.len());
        match fault {
            Fault::PowerLoss { nodes, .. } => known(nodes),
            Fault::Cut { from: a, to: b } | Fault::Flap { a, b, .. } => known(a) && known(b),
            Fault::Loss { from, to, .. } | Fault::SlowLink { from, to, .. } => known(&[*from, *to]),
            Fault::Reset { a, b } | Fault::HalfOpen { a, b } => known(&[*a, *b]),
            Fault::Disk {
                node,
                disk: DiskFault::Swap { other },
            } => known(&[*node, *other]),
            _ => place_of(fault).is_none_or(|node| known(&[node])),
        }
    }

    fn inject(&mut self, fault: &Fault) -> bool {
        let now = self.now;
        match fault {
            Fault::Kill { node } => self.kill(index(*node)),
            Fault::PowerLoss {
                nodes,
                survival,
                torn_sectors,
                garbage_tail,
            } => {
                let mut any = false;
                for node in nodes {
                    if self.net.hosts[index(*node)].up {
                        self.lose_power(index(*node), *survival, *torn_sectors, *garbage_tail);
                        any = true;
                    }
                }
                any
            }
            Fault::Start { node } => {
                let stopped = !self.is_up(*node);
                let stopping = &mut self.nodes[index(*node)].stopping;
                if stopped {
                    self.start_process(index(*node));
                } else if *stopping == Stopping::Told {
                    *stopping = Stopping::ToStartAgain;
                }
                stopped
            }
            Fault::Terminate { node } => {
                let up = self.is_up(*node);
                if up {
                    let host = &mut self.nodes[index(*node)];
                    host.terminates += 1;
                    host.stopping = Stopping::Told;
                    let nth = host.terminates;
                    self.enqueue(index(*node), Ready::Terminate { nth });
                }
                up
            }
            Fault::Pause { node, suspend } => self.pause(index(*node), *suspend),
            Fault::Resume { node } => self.resume(index(*node)),
            Fault::SlowCpu { node, factor } => {
                self.nodes[index(*node)].cpu_factor = u64::from(*factor).max(1);
                true
            }
            Fault::CrashInRecovery { node, count, calls } => {
                let host = &mut self.nodes[index(*node)];
                host.crash_in_recovery = (*count, *calls);
                if *count == 0 {
                    // Also for a process that has recovered with fewer calls.
                    host.disk.die_after_calls(None);
                }
                true
            }
            Fault::CrashAtDiskCall { node, calls } => {
                let up = self.is_up(*node);
                if up {
                    self.nodes[index(*node)]
                        .disk
                        .die_after_calls(calls.gt(&0).then_some(*calls));
                }
                up
            }

            Fault::Cut { from, to } => {
                let pairs = pairs(from, to);
                self.cut(&pairs, CUT, true);
                !pairs.is_empty()
            }
            Fault::HealLinks => {
                for flap in &mut self.flaps {
                    flap.round += 1;
                    flap.pairs.clear();
                }
                let mut any = false;
                for link in self.net.links.all_mut() {
                    any |= std::mem::take(&mut link.cuts) != 0;
                }
                any
            }
            Fault::Flap { a, b, period_ms } => self.begin_flap(a, b, *period_ms),
            Fault::Loss { from, to, ppm } => {
                self.net.links.get_mut(index(*from), index(*to)).loss_ppm = *ppm;
                true
            }
            Fault::SlowLink { from, to, factor } => {
                self.net.links.get_mut(index(*from), index(*to)).factor = (*factor).max(1);
                true
            }
            Fault::Bandwidth { node, bytes_per_s } => {
                let limit = match bytes_per_s {
                    0 => self.config.nic_bytes_per_s,
                    limit => *limit,
                };
                self.net.limit(index(*node), limit, now, &mut self.agenda);
                true
            }
            Fault::Fragment { node, on } => {
                self.net.hosts[index(*node)].fragment = *on;
                true
            }
            Fault::StopReading { node, on } => {
                self.net.stop_reading(index(*node), *on);
                true
            }
            Fault::Reset { a, b } => self.net.reset(index(*a), index(*b), now, &mut self.agenda),
            Fault::HalfOpen { a, b } => self.net.half_open(index(*a), index(*b)),
            Fault::RefuseConnects { node, how } => {
                self.net.hosts[index(*node)].refusal = *how;
                true
            }

            Fault::ClockOffset { node, offset_ms } => {
                self.nodes[index(*node)].clock.set_offset(now, *offset_ms);
                true
            }
            Fault::ClockDrift { node, ppm } => {
                let possible = (-MAX_DRIFT_PPM..=MAX_DRIFT_PPM).contains(ppm);
                if possible {
                    self.nodes[index(*node)].clock.set_drift(now, *ppm);
                    self.rearm_alarm(index(*node));
                }
                possible
            }
            Fault::ClockStep { node, by_ms } => {
                self.nodes[index(*node)].clock.step_wall(now, *by_ms);
                true
            }
            Fault::LateTimers { node, up_to_ms } => {
                self.nodes[index(*node)].late_ms = *up_to_ms;
                true
            }
            Fault::Disk { node, disk } => self.disk_fault(index(*node), disk),
        }
    }

    fn kill(&mut self, i: usize) -> bool {
        // Nobody can reach into a suspended machine.
        let can = self.nodes[i].program.is_some() && !self.net.hosts[i].suspended;
        if can {
            self.end_process(i, Ending::Killed, Death::Killed);
        }
        can
    }

    fn pause(&mut self, i: usize, suspend: bool) -> bool {
        let node = &mut self.nodes[i];
        if node.program.is_none() || node.paused {
            return false;
        }
        node.paused = true;
        if suspend {
            node.clock.set_suspended(self.now, true);
            self.net.hosts[i].suspended = true;
        }
        true
    }

    fn resume(&mut self, i: usize) -> bool {
        let node = &mut self.nodes[i];
        if !std::mem::take(&mut node.paused) {
            return false;
        }
        if std::mem::take(&mut self.net.hosts[i].suspended) {
            node.clock.set_suspended(self.now, false);
            self.rearm_alarm(i);
        }
        self.arm_wake(i);
        true
    }

    fn cut(&mut self, pairs: &[(usize, usize)], bit: u32, on: bool) {
        for (from, to) in pairs {
            let cuts = &mut self.net.links.get_mut(*from, *to).cuts;
            *cuts = if on { *cuts | bit } else { *cuts & !bit };
        }
    }

    fn begin_flap(&mut self, a: &[NodeId], b: &[NodeId], period_ms: u32) -> bool {
        let mut both = pairs(a, b);
        both.extend(pairs(b, a));
        let free = self.flaps.iter().position(|flap| flap.pairs.is_empty());
        let index = free.unwrap_or(self.flaps.len());
        if both.is_empty() || period_ms == 0 || index >= FLAPS {
            return false;
        }
        if index == self.flaps.len() {
            self.flaps.push(Flap {
                pairs: Vec::new(),
                bit: CUT << (index + 1),
                period: 0,
                round: 0,
                down: false,
            });
        }
        let flap = &mut self.flaps[index];
        flap.pairs = both;
        flap.period = u64::from(period_ms) * 1_000_000;
        flap.down = false;
        let round = flap.round;
        self.flap(index, round);
        true
    }

    /// A flap toggles.
    pub(super) fn flap(&mut self, index: usize, round: u32) {
        let flap = &mut self.flaps[index];
        if flap.round != round {
            return;
        }
        flap.down = !flap.down;
        let (pairs, bit, down) = (flap.pairs.clone(), flap.bit, flap.down);
        let at = self.now + flap.period;
        self.cut(&pairs, bit, down);
        let index = index as u16;
        self.agenda.push(at, Due::Flap { index, round });
        self.background += 1;
    }

    fn disk_fault(&mut self, i: usize, fault: &DiskFault) -> bool {
        let stopped = self.nodes[i].program.is_none();
        match fault {
            DiskFault::Wipe | DiskFault::Rollback if !stopped => false,
            DiskFault::Swap { other } => {
                let j = index(*other);
                if i == j || !stopped || self.nodes[j].program.is_some() {
                    return false;
                }
                let (low, high) = self.nodes.split_at_mut(i.max(j));
                let (a, b) = (&mut low[i.min(j)], &mut high[0]);
                std::mem::swap(&mut a.disk, &mut b.disk);
                std::mem::swap(&mut a.disk_hung, &mut b.disk_hung);
                a.disk.struck(fault.kind());
                b.disk.struck(fault.kind());
                true
            }
            _ => {
                let applied = self.nodes[i].disk.apply(fault, self.now);
                match fault {
                    DiskFault::Hung => self.nodes[i].disk_hung = true,
                    DiskFault::Healthy => {
                        self.nodes[i].disk_hung = false;
                        self.resume_syncs(i);
                    }
                    _ => {}
                }
                applied
            }
        }
    }
}

fn index(node: NodeId) -> usize {
    node.0.into()
}

/// All pairs of different nodes: a host reaches itself whatever is cut.
fn pairs(from: &[NodeId], to: &[NodeId]) -> Vec<(usize, usize)> {
    let all = from.iter().flat_map(|a| to.iter().map(|b| (index(*a), index(*b))));
    all.filter(|(a, b)| a != b).collect()
}

/// The node at which a fault happens, if it is one.
fn place_of(fault: &Fault) -> Option<NodeId> {
    match fault {
        Fault::PowerLoss { nodes, .. } => nodes.first().copied(),
        Fault::Loss { to, .. } | Fault::SlowLink { to, .. } => Some(*to),
        Fault::Reset { a, .. } | Fault::HalfOpen { a, .. } => Some(*a),
        _ => fault.node(),
    }
}
