//! Faults in words, where they strike, and how long they last.

use sim::fault::{DiskFault, Fault, NodeId, Refusal, Survival};
use std::collections::BTreeMap;

/// Where links that come and go have their place.
pub const FLAP: &str = "flap";

/// What a fault does to what lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It lasts until another of this kind at the same place.
    Begins(String),
    /// What had begun there is over.
    Ends,
}

/// The one node that a fault strikes: the subject of its [`words`].
pub fn node_of(fault: &Fault) -> Option<NodeId> {
    match fault {
        Fault::PowerLoss { nodes, .. } if nodes.len() == 1 => nodes.first().copied(),
        _ => fault.node(),
    }
}

/// A sentence without its subject where that is [`node_of`] it.
pub fn words(fault: &Fault, name: &dyn Fn(NodeId) -> String) -> String {
    let all = |nodes: &[NodeId]| nodes.iter().map(|node| name(*node)).collect::<Vec<_>>().join(", ");
    match fault {
        Fault::Kill { .. } => "is killed (kill -9); its disk and page cache stay".to_owned(),
        Fault::PowerLoss { nodes, survival, .. } => {
            let what = match survival {
                Survival::None => "nothing unsynced survives",
                Survival::All => "everything written survives",
                Survival::Subset | Survival::Ordered | Survival::Prefix => "some of what was not synced survives",
            };
            match nodes.as_slice() {
                [_] => format!("loses power; {what}"),
                nodes => format!("{} lose power at once; {what}", all(nodes)),
            }
        }
        Fault::Start { .. } => "is started".to_owned(),
        Fault::Terminate { .. } => "is told to stop (SIGTERM)".to_owned(),
        Fault::Pause { suspend: false, .. } => "is paused (SIGSTOP); its kernel goes on".to_owned(),
        Fault::Pause { suspend: true, .. } => "is suspended with its whole host".to_owned(),
        Fault::Resume { .. } => "goes on".to_owned(),
        Fault::SlowCpu { factor, .. } => format!("has a processor {factor} times as slow"),
        Fault::CrashInRecovery { .. } => "will crash while it recovers".to_owned(),
        Fault::CrashAtDiskCall { .. } => "will crash in the middle of a disk call".to_owned(),
        Fault::Cut { from, to } => format!("no byte goes from {} to {} any more", all(from), all(to)),
        Fault::HealLinks => "all links work again".to_owned(),
        Fault::Flap { a, b, period_ms } => {
            format!(
                "links between {} and {} come and go every {period_ms} ms",
                all(a),
                all(b)
            )
        }
        Fault::Loss { from, to, ppm } => {
            format!(
                "{ppm} of a million segments from {} to {} are lost",
                name(*from),
                name(*to)
            )
        }
        Fault::SlowLink { from, to, factor } => {
            format!(
                "the link from {} to {} is {factor} times as slow",
                name(*from),
                name(*to)
            )
        }
        Fault::Bandwidth { bytes_per_s, .. } => format!("has a network card of {bytes_per_s} bytes a second"),
        Fault::Fragment { .. } => "reads its bytes in pieces".to_owned(),
        Fault::StopReading { .. } => "has a kernel that hands no bytes on".to_owned(),
        Fault::Reset { a, b } => format!("connections between {} and {} are reset", name(*a), name(*b)),
        Fault::HalfOpen { a, b } => format!("a connection between {} and {} is half open", name(*a), name(*b)),
        Fault::RefuseConnects { how, .. } => match how {
            Some(Refusal::Refused) => "refuses connections".to_owned(),
            Some(Refusal::BlackHoled) => "does not answer who connects".to_owned(),
            _ => "accepts connections and resets them".to_owned(),
        },
        Fault::ClockOffset { offset_ms, .. } => format!("has a wall clock that is {offset_ms} ms off"),
        Fault::ClockDrift { ppm, .. } => format!("has clocks that drift by {ppm} of a million"),
        Fault::ClockStep { by_ms, .. } => format!("has its wall clock set by {by_ms} ms"),
        Fault::LateTimers { up_to_ms, .. } => format!("has timers that are up to {up_to_ms} ms late"),
        Fault::Disk { disk, .. } => self::disk(disk, name),
    }
}

fn disk(fault: &DiskFault, name: &dyn Fn(NodeId) -> String) -> String {
    match fault {
        DiskFault::Healthy => "has a healthy disk again".to_owned(),
        DiskFault::FailSync => "has a disk whose next sync fails".to_owned(),
        DiskFault::LyingSync { for_ms } => format!("has a disk that lies about syncs for {for_ms} ms"),
        DiskFault::UnreadableSector => "has a sector that cannot be read".to_owned(),
        DiskFault::BitFlip => "has a bit flipped on its disk".to_owned(),
        DiskFault::MisdirectWrite => "has a disk that writes to the wrong place once".to_owned(),
        DiskFault::LoseWrite => "has a disk that loses a write".to_owned(),
        DiskFault::Full => "has a full disk".to_owned(),
        DiskFault::Slow { factor } => format!("has a disk {factor} times as slow"),
        DiskFault::Hung => "has a disk that hangs".to_owned(),
        DiskFault::Wipe => "has its disk wiped".to_owned(),
        DiskFault::Rollback => "has its disk set back to an earlier state".to_owned(),
        DiskFault::Snapshot => "has the state of its disk kept".to_owned(),
        DiskFault::Swap { other } => format!("has its disk exchanged with that of {}", name(*other)),
    }
}

/// Where a fault lasts, and whether it begins or ends there. Cut links and stopped nodes are states of their own.
pub fn lasting(fault: &Fault, name: &dyn Fn(NodeId) -> String) -> Option<(String, Lasting)> {
    let place = match fault {
        Fault::SlowCpu { .. }
        | Fault::Bandwidth { .. }
        | Fault::Fragment { .. }
        | Fault::StopReading { .. }
        | Fault::RefuseConnects { .. }
        | Fault::ClockOffset { .. }
        | Fault::ClockDrift { .. }
        | Fault::LateTimers { .. }
        | Fault::CrashInRecovery { .. }
        | Fault::CrashAtDiskCall { .. } => format!("{} {}", name(node_of(fault)?), fault.kind()),
        Fault::Loss { from, to, .. } | Fault::SlowLink { from, to, .. } => {
            format!("{} {} {}", name(*from), name(*to), fault.kind())
        }
        Fault::Flap { .. } => FLAP.to_owned(),
        Fault::Disk {
            node,
            disk:
                DiskFault::Full
                | DiskFault::Slow { .. }
                | DiskFault::Hung
                | DiskFault::LyingSync { .. }
                | DiskFault::Healthy,
        } => format!("{} disk", name(*node)),
        _ => return None,
    };
    let subject = node_of(fault).map_or(String::new(), |node| name(node) + " ");
    let lasting = if fault.disturbs() {
        Lasting::Begins(subject + &words(fault, name))
    } else {
        Lasting::Ends
    };
    Some((place, lasting))
}

/// The faults that last, while a run goes on.
#[derive(Debug, Default)]
pub struct Standing(BTreeMap<String, String>);

impl Standing {
    /// What a fault says that was not so before, and of which node: a sentence without its subject. Nothing where it ends
    /// what had not begun: that all is healed is not told of what was well.
    pub fn news(&mut self, fault: &Fault, name: &dyn Fn(NodeId) -> String) -> Option<(Option<NodeId>, String)> {
        match lasting(fault, name) {
            Some((place, Lasting::Ends)) => Some((None, format!("is over: {}", self.0.remove(&place)?))),
            begins => {
                if let Some((place, Lasting::Begins(sentence))) = begins {
                    self.0.insert(place, sentence);
                }
                Some((node_of(fault), words(fault, name)))
            }
        }
    }

    /// Links no longer come and go; whether they did.
    pub fn steadies(&mut self) -> bool {
        self.0.remove(FLAP).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(node: NodeId) -> String {
        format!("b{}", node.0 + 1)
    }

    #[test]
    fn what_begins_at_a_place_ends_there() {
        let slow = |factor| Fault::SlowLink {
            from: NodeId(0),
            to: NodeId(1),
            factor,
        };
        let (place, begins) = lasting(&slow(9), &name).expect("it lasts");
        assert_eq!(
            begins,
            Lasting::Begins("the link from b1 to b2 is 9 times as slow".to_owned())
        );
        assert_eq!(lasting(&slow(1), &name), Some((place, Lasting::Ends)));
        let disk = |disk| Fault::Disk { node: NodeId(1), disk };
        let (place, begins) = lasting(&disk(DiskFault::Hung), &name).expect("it lasts");
        assert_eq!(begins, Lasting::Begins("b2 has a disk that hangs".to_owned()));
        assert_eq!(lasting(&disk(DiskFault::Healthy), &name), Some((place, Lasting::Ends)));
        assert_eq!(lasting(&disk(DiskFault::BitFlip), &name), None);
        assert_eq!(lasting(&Fault::Kill { node: NodeId(0) }, &name), None);
    }

    #[test]
    fn an_end_is_news_only_of_what_had_begun() {
        let full = |disk| Fault::Disk { node: NodeId(1), disk };
        let mut standing = Standing::default();
        assert_eq!(standing.news(&full(DiskFault::Healthy), &name), None);
        let begun = (Some(NodeId(1)), "has a full disk".to_owned());
        assert_eq!(standing.news(&full(DiskFault::Full), &name), Some(begun));
        let over = (None, "is over: b2 has a full disk".to_owned());
        assert_eq!(standing.news(&full(DiskFault::Healthy), &name), Some(over));
        assert_eq!(standing.news(&full(DiskFault::Healthy), &name), None);
        assert!(!standing.steadies());
    }
}
