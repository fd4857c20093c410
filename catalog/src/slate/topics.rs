//! Creating, growing and configuring topics.

use std::collections::{BTreeMap, HashMap};

use antiphon_common::{Offset, PartitionId, PartitionIndex, TopicId};

use super::SlateCatalog;
use super::state::State;
use super::transaction::Transaction;
use crate::{
    CatalogError, Counter, CounterRow, Created, CreatedTopic, NewTopic, PartitionRow, TopicRow,
    epoch,
};

/// Hands out partition ids within one transaction.
struct PartitionIds {
    next: u64,
}

impl PartitionIds {
    fn from(state: &State) -> Self {
        Self { next: state.next(Counter::PartitionIds) }
    }

    fn take(&mut self) -> Result<PartitionId, CatalogError> {
        let id = PartitionId(self.next);
        let exhausted = CatalogError::IdsExhausted { what: "partition ids" };
        self.next = self.next.checked_add(1).ok_or(exhausted)?;
        Ok(id)
    }

    fn finish(self, transaction: &mut Transaction) {
        transaction.put_counter(CounterRow { counter: Counter::PartitionIds, next: self.next });
    }
}

impl SlateCatalog {
    pub(super) async fn create_topics_now(
        &self,
        requests: Vec<NewTopic>,
    ) -> Result<Vec<Created>, CatalogError> {
        let turn = self.turn().await;
        let mut transaction = Transaction::default();
        let mut ids = PartitionIds::from(&turn);
        let mut taken = HashMap::new();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let other = turn.topic_named(&request.name).or(taken.get(&request.name).copied());
            if let Some(other) = other {
                answers.push(Created::Exists(other));
                continue;
            }
            let created = self.plan_topic(request, &mut ids, &mut transaction)?;
            taken.insert(created.topic.name.clone(), created.topic.topic_id);
            answers.push(Created::Created(created));
        }
        if !taken.is_empty() {
            ids.finish(&mut transaction);
        }
        self.commit("create_topics", turn, transaction).await?;
        Ok(answers)
    }

    fn plan_topic(
        &self,
        request: NewTopic,
        ids: &mut PartitionIds,
        transaction: &mut Transaction,
    ) -> Result<CreatedTopic, CatalogError> {
        let mut topic = TopicRow {
            topic_id: TopicId(self.environment.entropy.uuid()),
            name: request.name,
            internal: request.internal,
            created_at: self.environment.clock.now(),
            configs: request.configs,
            partitions: Vec::new(),
        };
        let partitions = self.plan_partitions(&mut topic, request.partitions, ids, transaction)?;
        transaction.put_topic(topic.clone());
        Ok(CreatedTopic { topic, partitions })
    }

    /// Adds partitions until the topic has `total`, and lists them in `topic`.
    fn plan_partitions(
        &self,
        topic: &mut TopicRow,
        total: u32,
        ids: &mut PartitionIds,
        transaction: &mut Transaction,
    ) -> Result<Vec<PartitionRow>, CatalogError> {
        let mut rows = Vec::new();
        for index in topic.partitions.len()..total as usize {
            let row = self.new_partition(topic.topic_id, PartitionIndex(index as i32), ids.take()?);
            topic.partitions.push(row.partition_id);
            transaction.put_partition(row.clone());
            rows.push(row);
        }
        Ok(rows)
    }

    fn new_partition(
        &self,
        topic_id: TopicId,
        index: PartitionIndex,
        partition_id: PartitionId,
    ) -> PartitionRow {
        PartitionRow {
            partition_id,
            topic_id,
            index,
            leader: self.broker_id,
            leader_epoch: epoch::from_broker(self.broker_epoch),
            log_start: Offset::ZERO,
            flushed_end: Offset::ZERO,
            history_bytes: 0,
            settled_end: Offset::ZERO,
            epochs: Vec::new(),
        }
    }

    pub(super) async fn add_partitions_now(
        &self,
        topic_id: TopicId,
        total: u32,
    ) -> Result<CreatedTopic, CatalogError> {
        let turn = self.turn().await;
        let mut topic = turn.topic(topic_id)?.clone();
        let current = topic.partitions.len() as u32;
        if total <= current {
            let requested = total;
            return Err(CatalogError::PartitionCountNotLarger { topic_id, current, requested });
        }
        let mut transaction = Transaction::default();
        let mut ids = PartitionIds::from(&turn);
        let partitions = self.plan_partitions(&mut topic, total, &mut ids, &mut transaction)?;
        ids.finish(&mut transaction);
        transaction.put_topic(topic.clone());
        self.commit("add_partitions", turn, transaction).await?;
        Ok(CreatedTopic { topic, partitions })
    }

    pub(super) async fn set_topic_configs_now(
        &self,
        topic_id: TopicId,
        configs: BTreeMap<String, String>,
    ) -> Result<TopicRow, CatalogError> {
        let turn = self.turn().await;
        let topic = TopicRow { configs, ..turn.topic(topic_id)?.clone() };
        let mut transaction = Transaction::default();
        transaction.put_topic(topic.clone());
        self.commit("set_topic_configs", turn, transaction).await?;
        Ok(topic)
    }
}
