//! What topics are called: notes know them by their ids, readers by their names.

use crate::fold;
use kafka::{METADATA_PARTITION, Note, TopicPartition, Uuid};
use std::collections::BTreeMap;

/// Names by ids, as a run tells them to its observers before the first word about each.
#[derive(Clone, Debug, Default)]
pub struct Topics(BTreeMap<Uuid, String>);

impl Topics {
    /// A topic is called so.
    pub fn learn(&mut self, id: Uuid, name: &str) {
        self.0.insert(id, name.to_owned());
    }

    /// What it is called, if that is known.
    pub fn name(&self, id: Uuid) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// All ids with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &str)> {
        self.0.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// `topic-0`, or `metadata`; the id where no name is known.
    pub fn partition(&self, partition: TopicPartition) -> String {
        if partition == METADATA_PARTITION {
            return "metadata".to_owned();
        }
        match self.name(partition.topic) {
            Some(name) => format!("{name}-{}", partition.partition),
            None => format!("{partition:?}"),
        }
    }

    /// A note's sentence, with its partition by name.
    pub fn sentence(&self, note: &Note) -> String {
        let words = note.to_string();
        match fold::partition_of(note) {
            Some(partition) => words.replace(&format!("{partition:?}"), &self.partition(partition)),
            None => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_its_partition_once_the_topic_is_known() {
        let partition = TopicPartition {
            topic: Uuid::from_u128(7 << 96),
            partition: 2,
        };
        let note = Note::Flushed { partition, to: 5 };
        let mut topics = Topics::default();
        assert_eq!(topics.sentence(&note), "00000007-2 is durable up to 5");
        topics.learn(partition.topic, "t");
        assert_eq!(topics.sentence(&note), "t-2 is durable up to 5");
        let metadata = Note::Flushed {
            partition: METADATA_PARTITION,
            to: 1,
        };
        assert_eq!(topics.sentence(&metadata), "metadata is durable up to 1");
    }
}
