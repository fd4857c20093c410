//! The topics that exist, as every request needs them: by name and by id, without I/O.
//!
//! The catalog is the truth; this is its image in memory. Changes go to the catalog first, and one
//! at a time, so that the image never shows what is not durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use antiphon_catalog::TopicRow;
use antiphon_common::{PartitionIndex, TopicId};
use antiphon_storage::PartitionLog;
use kafka_protocol::protocol::StrBytes;
use parking_lot::RwLock;

use crate::config::TopicSettings;

/// One topic. Replaced as a whole when it changes.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name, ready for responses.
    pub name: StrBytes,
    /// Its identity for life.
    pub id: TopicId,
    /// Whether it belongs to the broker (KIP-4's `is_internal`).
    pub internal: bool,
    /// What was set on the topic itself.
    pub overrides: BTreeMap<String, String>,
    /// Everything resolved.
    pub settings: TopicSettings,
    /// Its partitions, by index.
    pub partitions: Vec<Arc<PartitionLog>>,
}

impl Topic {
    /// A partition by its number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<PartitionLog>> {
        usize::try_from(index.0).ok().and_then(|index| self.partitions.get(index))
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }

    pub(crate) fn from_row(
        row: &TopicRow,
        partitions: Vec<Arc<PartitionLog>>,
        broker_defaults: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            name: StrBytes::from_string(row.name.clone()),
            id: row.topic_id,
            internal: row.internal,
            overrides: row.configs.clone(),
            settings: TopicSettings::resolve(&row.configs, broker_defaults),
            partitions,
        }
    }
}

#[derive(Debug, Default)]
struct Maps {
    by_name: BTreeMap<StrBytes, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
    partition_count: usize,
}

/// All topics.
#[derive(Debug, Default)]
pub struct Topics {
    maps: RwLock<Maps>,
}

impl Topics {
    /// A topic by name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.maps.read().by_name.get(name.as_bytes()).cloned()
    }

    /// A topic by id.
    pub fn by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.maps.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.maps.read().by_name.values().cloned().collect()
    }

    /// How many topics and partitions there are.
    pub fn counts(&self) -> (usize, usize) {
        let maps = self.maps.read();
        (maps.by_name.len(), maps.partition_count)
    }

    /// Adds a topic, or replaces the one with its name.
    pub(crate) fn put(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut maps = self.maps.write();
        maps.partition_count += topic.partitions.len();
        if let Some(before) = maps.by_name.insert(topic.name.clone(), Arc::clone(&topic)) {
            maps.partition_count -= before.partitions.len();
            if before.id != topic.id {
                maps.by_id.remove(&before.id);
            }
        }
        maps.by_id.insert(topic.id, Arc::clone(&topic));
        topic
    }

    /// Forgets a topic.
    pub(crate) fn remove(&self, id: TopicId) -> Option<Arc<Topic>> {
        let mut maps = self.maps.write();
        let topic = maps.by_id.remove(&id)?;
        maps.by_name.remove(&topic.name);
        maps.partition_count -= topic.partitions.len();
        Some(topic)
    }
}

/// The longest topic name (Kafka's limit, so that a name plus a suffix fits a file name there).
const NAME_BYTES_MAX: usize = 249;

/// Whether a topic may have this name (Kafka's rules), and if not, why.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err("Topic name is invalid: '.' or '..' is not allowed".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "Topic name is invalid: it is longer than {NAME_BYTES_MAX} characters"
        ));
    }
    if !name.bytes().all(legal) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII \
             alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Two names collide when they differ only in '.' and '_', which Kafka's metrics cannot tell apart.
pub(crate) fn names_collide(first: &str, second: &str) -> bool {
    let fold = |byte: u8| if byte == b'.' { b'_' } else { byte };
    first.len() == second.len() && first.bytes().map(fold).eq(second.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(names_collide("a.b", "a_b"));
        assert!(!names_collide("a.b", "a-b"));
    }
}
