//! One moment of a cluster as text: each replica's log as cells in columns, so that what differs stands side by side.
//!
//! ```text
//!                97  98  99 100 101 102
//!   b1 leads    [0] [0] [0] [0] [0]|(0)    hw 102  end 103  e0  isr 1,2,3
//!   b2 follows  [0] [0] [0] [0] [0]|       hw 102  end 102  e0
//! ```
//!
//! The digit is the leader epoch of the record, modulo ten; `[0]` is durable, `(0)` would not survive a power failure; `|`
//! stands where the high watermark is.

use crate::text::cut;
use crate::view;

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// `topic-partition`.
    pub partition: String,
    /// Whether it leads, by its own knowledge.
    pub leads: bool,
    /// Leader epoch it knows.
    pub leader_epoch: i32,
    /// First offset.
    pub log_start_offset: i64,
    /// Exclusive.
    pub high_watermark: i64,
    /// Exclusive.
    pub log_end_offset: i64,
    /// Durable up to here.
    pub synced: i64,
    /// Epochs and their first offsets, ascending.
    pub epochs: Vec<(i32, i64)>,
    /// In-sync replicas as it knows them; empty on a follower.
    pub isr: Vec<i32>,
}

impl Replica {
    /// The replica of a view, under its partition's name.
    pub fn of(partition: String, replica: view::Replica) -> Replica {
        Replica {
            partition,
            leads: replica.leads,
            leader_epoch: replica.leader_epoch,
            log_start_offset: replica.log_start_offset,
            high_watermark: replica.high_watermark,
            log_end_offset: replica.log_end_offset,
            synced: replica.synced,
            epochs: replica.epochs,
            isr: replica.isr,
        }
    }
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Whether its process runs.
    pub up: bool,
    /// Whether it is the active controller.
    pub controls: bool,
    /// Its replicas.
    pub replicas: Vec<Replica>,
}

/// One moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Step, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Virtual nanoseconds.
    pub time_ns: u64,
    /// What this step was.
    pub what: String,
    /// What the machines said.
    pub notes: Vec<String>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Messages in flight, in words.
    pub in_flight: Vec<String>,
}

/// How to read [`picture`].
pub const LEGEND: &str = "A row is one replica's copy of the log. A cell is a record, below its offset; the digit is the leader \
epoch in which it was written. [0] is on the disk for good; (0) is in the page cache only, and a power failure would take it. \
| is the high watermark as this replica knows it: records to the left of it are committed. hw is its number, end the next \
offset to be written (the log end offset, LEO), e the leader epoch that the replica knows, isr the node ids of the in-sync \
replicas as the leader knows them. A replica that was opened and does not know its role yet has ? for hw and e.";

/// The end of every replica's log, partition by partition, in lines of at most `width` characters.
pub fn picture(moment: &Moment, width: usize) -> Vec<String> {
    let replicas = moment.nodes.iter().flat_map(|node| &node.replicas);
    let mut partitions: Vec<&str> = replicas.map(|replica| replica.partition.as_str()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let is_only = partitions.len() == 1;
    let mut lines = Vec::new();
    for partition in partitions {
        let of = |node: &Node| {
            let found = node.replicas.iter().find(|replica| replica.partition == partition);
            found.cloned()
        };
        let rows: Vec<(&Node, Replica)> = moment.nodes.iter().filter_map(|node| Some((node, of(node)?))).collect();
        if !is_only {
            lines.push(format!("  {partition}"));
        }
        lines.extend(grid(&rows, width));
    }
    let controller = moment.nodes.iter().find(|node| node.controls);
    let silent = moment.nodes.iter().filter(|node| node.replicas.is_empty() && !node.up);
    let mut others: Vec<String> = silent.map(|node| format!("{} is down", node.name)).collect();
    others.extend(controller.map(|node| format!("controller: {}", node.name)));
    if !others.is_empty() {
        lines.push(format!("  {}", others.join(", ")));
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

fn grid(rows: &[(&Node, Replica)], width: usize) -> Vec<String> {
    let name = |node: &Node, replica: &Replica| {
        let state = match (node.up, replica.leads) {
            (false, _) => "down",
            (_, true) => "leads",
            (_, false) if replica.leader_epoch < 0 => "opened",
            (_, false) => "follows",
        };
        format!("  {} {state}", node.name)
    };
    let names: Vec<String> = rows.iter().map(|(node, replica)| name(node, replica)).collect();
    let facts: Vec<String> = rows.iter().map(|(node, replica)| facts(node, replica)).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let (left, right) = (widest(&names).max(11) + 1, widest(&facts));
    let end = rows
        .iter()
        .map(|(_, replica)| replica.log_end_offset)
        .max()
        .unwrap_or(0)
        .max(1);
    let start = rows
        .iter()
        .map(|(_, replica)| replica.log_start_offset)
        .min()
        .unwrap_or(0);
    let cell = (end - 1).to_string().len().max(3) + 1;
    let room = width.saturating_sub(left + 1 + 2 + right) / cell;
    let from = start.max(end - room.clamp(1, 10) as i64);
    let header: String = (from..end).map(|offset| format!(" {offset:^0$}", cell - 1)).collect();
    let mut lines = vec![format!("{:left$}{header}", "").trim_end().to_owned()];
    for ((name, facts), (_, replica)) in names.iter().zip(&facts).zip(rows) {
        let mut text: String = (from..end).map(|offset| cell_of(replica, offset, cell)).collect();
        text.push(if replica.high_watermark == end { '|' } else { ' ' });
        lines.push(format!("{name:left$}{text}  {facts}"));
    }
    lines
}

fn cell_of(replica: &Replica, offset: i64, width: usize) -> String {
    let mark = if offset == replica.high_watermark && offset >= replica.log_start_offset {
        '|'
    } else {
        ' '
    };
    let inner = width - 1;
    if !(replica.log_start_offset..replica.log_end_offset).contains(&offset) {
        return format!("{mark}{:inner$}", "");
    }
    let epoch = replica.epochs.iter().rfind(|(_, start)| *start <= offset);
    let digit = epoch.map_or(0, |(epoch, _)| epoch % 10);
    let (open, close) = if offset < replica.synced {
        ('[', ']')
    } else {
        ('(', ')')
    };
    format!("{mark}{:^inner$}", format!("{open}{digit}{close}"))
}

fn facts(node: &Node, replica: &Replica) -> String {
    let known = |number: i64| if number < 0 { "?".to_owned() } else { number.to_string() };
    let mut text = format!(
        "hw {}  end {}  e{}",
        known(replica.high_watermark),
        replica.log_end_offset,
        known(replica.leader_epoch.into())
    );
    if node.up && !replica.isr.is_empty() {
        let isr: Vec<String> = replica.isr.iter().map(ToString::to_string).collect();
        text += &format!("  isr {}", isr.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, leads: bool, log_end_offset: i64, synced: i64) -> Node {
        let replica = Replica {
            partition: "t-0".to_owned(),
            leads,
            leader_epoch: 1,
            log_start_offset: 0,
            high_watermark: 102,
            log_end_offset,
            synced,
            epochs: vec![(0, 0), (1, 100)],
            isr: if leads { vec![1, 2, 3] } else { Vec::new() },
        };
        Node {
            name: name.to_owned(),
            up: true,
            controls: leads,
            replicas: vec![replica],
        }
    }

    fn moment(nodes: Vec<Node>) -> Moment {
        Moment {
            step: 7,
            steps: 9,
            nodes,
            ..Moment::default()
        }
    }

    #[test]
    fn logs_stand_side_by_side_with_epochs_durability_and_high_watermark() {
        let lines = picture(&moment(vec![node("b1", true, 103, 101), node("b2", false, 102, 0)]), 80);
        let wanted = [
            "              95  96  97  98  99  100 101 102",
            "  b1 leads    [0] [0] [0] [0] [0] [1] (1)|(1)   hw 102  end 103  e1  isr 1,2,3",
            "  b2 follows  (0) (0) (0) (0) (0) (1) (1)|      hw 102  end 102  e1",
            "  controller: b1",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn every_line_fits() {
        let mut late = node("b2", false, 1_000_000_102, 0);
        late.replicas[0].epochs.push((12, 1_000_000_000));
        for width in [40, 80, 120] {
            let lines = picture(&moment(vec![node("b1", true, 103, 0), late.clone()]), width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
        }
    }

    #[test]
    fn an_empty_log_has_its_mark_and_a_dead_node_says_so() {
        let mut dead = node("b1", true, 0, 0);
        dead.up = false;
        dead.replicas[0].high_watermark = 0;
        let lines = picture(&moment(vec![dead]), 80);
        assert!(lines[1].starts_with("  b1 down"), "{lines:#?}");
        assert!(lines[1].contains("|      hw 0  end 0  e1"), "{lines:#?}");
        assert!(!lines[1].contains("isr"), "a dead leader knows nothing: {lines:#?}");
    }
}
