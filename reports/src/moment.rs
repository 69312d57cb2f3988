//! One moment of a cluster as text: every broker's logs by epoch, what is in flight, what was just said.
//!
//! A log is drawn as its last cells, one for each offset: the digit is the leader epoch (modulo ten), a dot above the
//! high watermark turns the cell into `e.`; `|` stands where the high watermark is.
//!
//! ```text
//! b1 up   t-0 leads e1  start 0  hw 102  end 103  synced 0   isr 1,2,3
//!         ..95 000001111|1
//! ```

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

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// `up`, `down`, `paused`.
    pub state: String,
    /// Extra words: `controller`.
    pub office: String,
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

/// Cuts a line at `width` characters, showing that it was cut.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut text: String = line.chars().take(width.saturating_sub(1)).collect();
    text.push('…');
    text
}

/// The words of a sentence in lines of at most `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.into_iter()
}

/// The cells of a log that fit into `width`, its end first of all.
pub fn cells(replica: &Replica, width: usize) -> String {
    let room = width.saturating_sub(10).max(8) as i64;
    let from = replica.log_start_offset.max(replica.log_end_offset - room);
    let mut text = if from > replica.log_start_offset {
        format!("..{from} ")
    } else {
        format!("{from} ")
    };
    for offset in from..replica.log_end_offset {
        if offset == replica.high_watermark {
            text.push('|');
        }
        let epoch = replica
            .epochs
            .iter()
            .rev()
            .find(|(_, start)| *start <= offset)
            .map_or(0, |(epoch, _)| *epoch);
        text.push(char::from(b'0' + (epoch % 10) as u8));
    }
    if replica.high_watermark >= replica.log_end_offset {
        text.push('|');
    }
    text
}

/// Lines of at most `width` characters.
pub fn lines(moment: &Moment, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let seconds = moment.time_ns as f64 / 1e9;
    lines.push(format!(
        "step {} of {}   {seconds:.6} s   {}",
        moment.step, moment.steps, moment.what
    ));
    for note in &moment.notes {
        lines.extend(wrap(note, width.saturating_sub(4)).enumerate().map(|(i, line)| {
            let lead = if i == 0 { "  > " } else { "    " };
            format!("{lead}{line}")
        }));
    }
    lines.push(String::new());
    for node in &moment.nodes {
        lines.push(
            format!("{} {} {}", node.name, node.state, node.office)
                .trim_end()
                .to_owned(),
        );
        for replica in &node.replicas {
            let role = if replica.leads { "leads  " } else { "follows" };
            let isr = replica
                .isr
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",");
            let isr = if isr.is_empty() {
                String::new()
            } else {
                format!("  isr {isr}")
            };
            lines.push(format!(
                "   {} {role} e{}  start {} hw {} end {} synced {}{isr}",
                replica.partition,
                replica.leader_epoch,
                replica.log_start_offset,
                replica.high_watermark,
                replica.log_end_offset,
                replica.synced,
            ));
            lines.push(format!("      {}", cells(replica, width.saturating_sub(6))));
        }
    }
    if !moment.in_flight.is_empty() {
        lines.push(String::new());
        lines.push("in flight:".to_owned());
        lines.extend(moment.in_flight.iter().map(|message| format!("  {message}")));
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica() -> Replica {
        Replica {
            partition: "t-0".to_owned(),
            leads: true,
            leader_epoch: 1,
            log_start_offset: 0,
            high_watermark: 102,
            log_end_offset: 103,
            synced: 0,
            epochs: vec![(0, 0), (1, 100)],
            isr: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_log_shows_its_epochs_and_where_the_high_watermark_stands() {
        assert_eq!(cells(&replica(), 20), "..93 000000011|1");
        let all = Replica {
            high_watermark: 103,
            ..replica()
        };
        assert!(cells(&all, 20).ends_with("0111|"));
    }

    #[test]
    fn a_long_note_goes_on_in_the_next_line() {
        let moment = Moment {
            notes: vec!["one two three four five six seven".to_owned()],
            ..Moment::default()
        };
        let lines = lines(&moment, 24);
        assert_eq!(lines[1..3], ["  > one two three four", "    five six seven"]);
    }

    #[test]
    fn every_line_fits() {
        let node = Node {
            name: "b1".to_owned(),
            state: "up".to_owned(),
            office: String::new(),
            replicas: vec![replica()],
        };
        let moment = Moment {
            step: 7,
            steps: 9,
            what: "x".repeat(200),
            nodes: vec![node],
            ..Moment::default()
        };
        let lines = lines(&moment, 80);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("hw 102 end 103")), "{lines:#?}");
    }
}
