//! One group's committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{GroupId, TopicName};
use crate::offsets_records::{GroupRecord, OffsetCommitKey};
use crate::replies::CommittedOffset;
use crate::requests::TopicPartition;

/// New values of some partitions' offsets; `None` forgets the offset.
pub(crate) type OffsetChanges = Vec<(TopicPartition, Option<CommittedOffset>)>;

/// One group's committed offsets, ordered by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct OffsetStore {
    durable: BTreeMap<TopicPartition, CommittedOffset>,
    /// How many appends in flight change each partition's offset.
    in_flight: BTreeMap<TopicPartition, usize>,
}

impl OffsetStore {
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&CommittedOffset> {
        self.durable.get(partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.durable.iter()
    }

    /// Offsets that take up memory, or will.
    pub(crate) fn len(&self) -> usize {
        self.durable.len() + self.in_flight.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn has_in_flight(&self, partition: &TopicPartition) -> bool {
        self.in_flight.contains_key(partition)
    }

    /// Everything that is stored or may yet be.
    pub(crate) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.durable.keys().chain(self.in_flight.keys()).cloned().collect()
    }

    /// The partitions of `topic` that are stored or may yet be.
    pub(crate) fn partitions_of(&self, topic: &TopicName) -> Vec<TopicPartition> {
        let all = self.partitions();
        all.into_iter().filter(|partition| partition.topic == *topic).collect()
    }

    /// The changes are on their way to the log.
    pub(crate) fn begin(&mut self, changes: &OffsetChanges) {
        for (partition, _) in changes {
            *self.in_flight.entry(partition.clone()).or_default() += 1;
        }
    }

    /// The changes are durable, or lost for good.
    pub(crate) fn finish(&mut self, changes: OffsetChanges, is_durable: bool) {
        for (partition, value) in changes {
            if let Some(count) = self.in_flight.get_mut(&partition) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.in_flight.remove(&partition);
                }
            }
            if is_durable {
                self.apply(partition, value);
            }
        }
    }

    /// Makes a durable change visible.
    pub(crate) fn apply(&mut self, partition: TopicPartition, value: Option<CommittedOffset>) {
        match value {
            Some(value) => self.durable.insert(partition, value),
            None => self.durable.remove(&partition),
        };
    }
}

/// The records that make `changes` durable.
pub(crate) fn records(group_id: &GroupId, changes: &OffsetChanges) -> Vec<GroupRecord> {
    let record = |(partition, value): &(TopicPartition, Option<CommittedOffset>)| {
        let key = OffsetCommitKey { group_id: group_id.clone(), partition: partition.clone() };
        GroupRecord::OffsetCommit { key, value: value.clone() }
    };
    changes.iter().map(record).collect()
}

/// Changes that forget `partitions`.
pub(crate) fn tombstones(partitions: impl IntoIterator<Item = TopicPartition>) -> OffsetChanges {
    partitions.into_iter().map(|partition| (partition, None)).collect()
}
