//! The rows that are kept in memory: small ones that every change is checked against.
//!
//! Segments, objects and producers are not among them; there may be millions. A partition takes
//! some hundred bytes here.

use std::collections::{BTreeMap, HashMap};

use antiphon_common::{PartitionId, TopicId};

use super::transaction::Effect;
use crate::{
    BrokerRow, CatalogError, Counter, CounterRow, PartitionRow, TopicDeletionRow, TopicRow,
};

/// The rows that are kept in memory.
#[derive(Debug)]
pub(super) struct State {
    pub(super) broker: BrokerRow,
    topics: BTreeMap<TopicId, TopicRow>,
    names: HashMap<String, TopicId>,
    partitions: BTreeMap<PartitionId, PartitionRow>,
    deletions: BTreeMap<TopicId, TopicDeletionRow>,
    next_partition_id: u64,
    next_producer_id: u64,
}

impl State {
    pub(super) fn new(broker: BrokerRow) -> Self {
        Self {
            broker,
            topics: BTreeMap::new(),
            names: HashMap::new(),
            partitions: BTreeMap::new(),
            deletions: BTreeMap::new(),
            next_partition_id: 0,
            next_producer_id: 0,
        }
    }

    pub(super) fn apply(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            self.apply_one(effect);
        }
    }

    fn apply_one(&mut self, effect: Effect) {
        match effect {
            Effect::Broker(row) => self.broker = row,
            Effect::Counter(row) => self.apply_counter(row),
            Effect::Topic(row) => self.apply_topic(row),
            Effect::TopicRemoved(topic_id) => self.remove_topic(topic_id),
            Effect::Partition(row) => {
                self.partitions.insert(row.partition_id, row);
            }
            Effect::PartitionRemoved(partition_id) => {
                self.partitions.remove(&partition_id);
            }
            Effect::TopicDeletion(row) => {
                self.deletions.insert(row.topic_id, row);
            }
            Effect::TopicDeletionRemoved(topic_id) => {
                self.deletions.remove(&topic_id);
            }
        }
    }

    fn apply_counter(&mut self, row: CounterRow) {
        match row.counter {
            Counter::PartitionIds => self.next_partition_id = row.next,
            Counter::ProducerIds => self.next_producer_id = row.next,
        }
    }

    fn apply_topic(&mut self, row: TopicRow) {
        self.names.insert(row.name.clone(), row.topic_id);
        self.topics.insert(row.topic_id, row);
    }

    fn remove_topic(&mut self, topic_id: TopicId) {
        if let Some(row) = self.topics.remove(&topic_id) {
            self.names.remove(&row.name);
        }
    }

    pub(super) fn next(&self, counter: Counter) -> u64 {
        match counter {
            Counter::PartitionIds => self.next_partition_id,
            Counter::ProducerIds => self.next_producer_id,
        }
    }

    pub(super) fn topic(&self, topic_id: TopicId) -> Result<&TopicRow, CatalogError> {
        self.topics.get(&topic_id).ok_or(CatalogError::TopicNotFound { topic_id })
    }

    pub(super) fn topic_named(&self, name: &str) -> Option<TopicId> {
        self.names.get(name).copied()
    }

    pub(super) fn partition(&self, partition_id: PartitionId) -> Option<&PartitionRow> {
        self.partitions.get(&partition_id)
    }

    pub(super) fn deletion(&self, topic_id: TopicId) -> Option<&TopicDeletionRow> {
        self.deletions.get(&topic_id)
    }

    pub(super) fn deletions(&self) -> Vec<TopicId> {
        self.deletions.keys().copied().collect()
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &TopicRow> {
        self.topics.values()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &PartitionRow> {
        self.partitions.values()
    }

    /// Checks that topics, names and partitions agree; a catalog that contradicts itself must not
    /// be served.
    pub(super) fn check(&self) -> Result<(), CatalogError> {
        if self.names.len() != self.topics.len() {
            return Err(inconsistent("two topics have one name".to_owned()));
        }
        let listed: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        if listed != self.partitions.len() {
            let stored = self.partitions.len();
            return Err(inconsistent(format!("{listed} partitions listed, {stored} stored")));
        }
        self.partitions.values().try_for_each(|row| self.check_partition(row))
    }

    fn check_partition(&self, row: &PartitionRow) -> Result<(), CatalogError> {
        let id = row.partition_id;
        let index = usize::try_from(row.index.0).ok();
        let topic = self.topics.get(&row.topic_id);
        let listed = topic.zip(index).and_then(|(topic, index)| topic.partitions.get(index));
        if listed != Some(&id) {
            return Err(inconsistent(format!("partition {id} is not where its topic lists it")));
        }
        if id.0 >= self.next_partition_id {
            return Err(inconsistent(format!("partition {id} was never handed out")));
        }
        Ok(())
    }
}

fn inconsistent(detail: String) -> CatalogError {
    CatalogError::Inconsistent { detail }
}
