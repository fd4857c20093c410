//! One change: what is written, and what it means for the state in memory.

use antiphon_common::{PartitionId, TopicId};
use slatedb::WriteBatch;

use crate::rows::Row;
use crate::{BrokerRow, CounterRow, PartitionRow, TopicDeletionRow, TopicRow};

/// What a transaction does to the rows that are kept in memory.
#[derive(Debug)]
pub(super) enum Effect {
    Broker(BrokerRow),
    Counter(CounterRow),
    Topic(TopicRow),
    TopicRemoved(TopicId),
    Partition(PartitionRow),
    PartitionRemoved(PartitionId),
    TopicDeletion(TopicDeletionRow),
    TopicDeletionRemoved(TopicId),
}

/// One change, planned and not yet applied.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) batch: WriteBatch,
    pub(super) effects: Vec<Effect>,
}

impl Transaction {
    /// Writes a row that is not kept in memory.
    pub(super) fn put(&mut self, row: &impl Row) {
        self.batch.put(row.key(), row.value());
    }

    /// Removes a row that is not kept in memory.
    pub(super) fn remove(&mut self, row: &impl Row) {
        self.batch.delete(row.key());
    }

    /// Removes the row under `key`, which is not kept in memory.
    pub(super) fn remove_key(&mut self, key: Vec<u8>) {
        self.batch.delete(key);
    }

    pub(super) fn put_broker(&mut self, row: BrokerRow) {
        self.put(&row);
        self.effects.push(Effect::Broker(row));
    }

    pub(super) fn put_counter(&mut self, row: CounterRow) {
        self.put(&row);
        self.effects.push(Effect::Counter(row));
    }

    pub(super) fn put_topic(&mut self, row: TopicRow) {
        self.put(&row);
        self.effects.push(Effect::Topic(row));
    }

    pub(super) fn remove_topic(&mut self, topic_id: TopicId) {
        self.remove_key(TopicRow::key_of(topic_id));
        self.effects.push(Effect::TopicRemoved(topic_id));
    }

    pub(super) fn put_partition(&mut self, row: PartitionRow) {
        self.put(&row);
        self.effects.push(Effect::Partition(row));
    }

    pub(super) fn remove_partition(&mut self, partition_id: PartitionId) {
        self.remove_key(PartitionRow::key_of(partition_id));
        self.effects.push(Effect::PartitionRemoved(partition_id));
    }

    pub(super) fn put_topic_deletion(&mut self, row: TopicDeletionRow) {
        self.put(&row);
        self.effects.push(Effect::TopicDeletion(row));
    }

    pub(super) fn remove_topic_deletion(&mut self, topic_id: TopicId) {
        self.remove_key(TopicDeletionRow::key_of(topic_id));
        self.effects.push(Effect::TopicDeletionRemoved(topic_id));
    }
}
