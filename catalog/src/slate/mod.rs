//! The catalog over SlateDB.
//!
//! A change goes through four steps. It takes its *turn* (one planner at a time, holding the
//! in-memory [`State`]); it *plans*, which reads rows and may refuse but changes nothing; it is
//! *applied*: written as one batch and reflected in the state, by a task of its own so that a caller
//! who goes away cannot leave one done without the other; and it *waits* until the write-ahead log
//! of the database has reached the object store. The turn ends before the wait, so that changes
//! arriving during one upload share the next.

mod clock;
mod collection;
mod commits;
mod database;
mod deletions;
mod flush;
mod merge;
mod open;
mod settings;
mod state;
mod topics;
mod transaction;
mod upkeep;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{
    BrokerEpoch, BrokerId, Environment, Lsn, ObjectId, Offset, PartitionId, ProducerId, Timestamp,
    TopicId,
};
use async_trait::async_trait;
use tokio::task::AbortHandle;

use crate::{
    Catalog, CatalogError, ConfigScope, Created, CreatedTopic, DeletionRow, FlushCommit,
    FlushOutcome, MergeCommit, NewTopic, ObjectRow, OpenError, OpenOptions, ProducerRow, RowKind,
    SegmentRow, Snapshot, TopicRow, TrimOutcome,
};
use database::Database;
use state::State;

pub(crate) use database::{BULK_READ, hexadecimal, prefix_range};

/// The catalog over SlateDB, open for writing.
#[derive(Debug)]
pub struct SlateCatalog {
    database: Arc<Database>,
    state: Arc<tokio::sync::Mutex<State>>,
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    environment: Environment,
    deletion_grace: Duration,
    operation_limit: Duration,
    upkeep: AbortHandle,
}

impl Drop for SlateCatalog {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

impl SlateCatalog {
    /// Opens the catalog for writing, fences whoever had it open, and raises the broker's epoch.
    pub async fn open(options: OpenOptions) -> Result<(Arc<Self>, Snapshot), OpenError> {
        let limit = options.operation_limit;
        let opening = tokio::time::timeout(limit, open::open(options)).await;
        opening.unwrap_or(Err(OpenError::TimedOut { limit }))
    }

    /// Runs one call, or one step of a call, within its time.
    async fn bounded<T>(
        &self,
        operation: &'static str,
        step: impl Future<Output = Result<T, CatalogError>> + Send,
    ) -> Result<T, CatalogError> {
        let limit = self.operation_limit;
        let step = tokio::time::timeout(limit, step).await;
        step.unwrap_or(Err(CatalogError::TimedOut { operation, limit }))
    }
}

#[async_trait]
impl Catalog for SlateCatalog {
    fn broker_epoch(&self) -> BrokerEpoch {
        self.broker_epoch
    }

    async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<Created>, CatalogError> {
        self.bounded("create_topics", self.create_topics_now(topics)).await
    }

    async fn delete_topic(&self, topic_id: TopicId) -> Result<(), CatalogError> {
        self.delete_topic_in_steps(topic_id).await
    }

    async fn resume_topic_deletions(&self) -> Result<usize, CatalogError> {
        self.finish_topic_deletions().await
    }

    async fn add_partitions(
        &self,
        topic_id: TopicId,
        total: u32,
    ) -> Result<CreatedTopic, CatalogError> {
        self.bounded("add_partitions", self.add_partitions_now(topic_id, total)).await
    }

    async fn set_topic_configs(
        &self,
        topic_id: TopicId,
        configs: BTreeMap<String, String>,
    ) -> Result<TopicRow, CatalogError> {
        self.bounded("set_topic_configs", self.set_topic_configs_now(topic_id, configs)).await
    }

    async fn set_broker_configs(
        &self,
        scope: ConfigScope,
        configs: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        self.bounded("set_broker_configs", self.set_broker_configs_now(scope, configs)).await
    }

    async fn commit_flush(&self, commit: FlushCommit) -> Result<FlushOutcome, CatalogError> {
        self.bounded("commit_flush", self.commit_flush_now(commit)).await
    }

    async fn commit_merge(&self, commit: MergeCommit) -> Result<FlushOutcome, CatalogError> {
        self.bounded("commit_merge", self.commit_merge_now(commit)).await
    }

    async fn segments_from(
        &self,
        partition_id: PartitionId,
        offset: Offset,
        limit: usize,
    ) -> Result<Vec<SegmentRow>, CatalogError> {
        const OPERATION: &str = "segments_from";
        let range = database::segments_at_or_after(partition_id, offset);
        self.bounded(OPERATION, self.database.scan(OPERATION, range, limit)).await
    }

    async fn remove_segments_below(
        &self,
        partition_id: PartitionId,
        log_start: Offset,
    ) -> Result<TrimOutcome, CatalogError> {
        self.remove_segments_in_steps(partition_id, log_start).await
    }

    async fn due_deletions(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeletionRow>, CatalogError> {
        const OPERATION: &str = "due_deletions";
        let range = database::deletions_due_at(now);
        self.bounded(OPERATION, self.database.scan(OPERATION, range, limit)).await
    }

    async fn finish_deletions(&self, deleted: &[DeletionRow]) -> Result<(), CatalogError> {
        self.bounded("finish_deletions", self.finish_deletions_now(deleted)).await
    }

    async fn known_objects(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<ObjectRow>, CatalogError> {
        const OPERATION: &str = "known_objects";
        let range = database::objects_after(after);
        self.bounded(OPERATION, self.database.scan(OPERATION, range, limit)).await
    }

    async fn object(&self, object_id: ObjectId) -> Result<Option<ObjectRow>, CatalogError> {
        const OPERATION: &str = "object";
        let key = ObjectRow::key_of(object_id);
        self.bounded(OPERATION, self.database.get(OPERATION, key)).await
    }

    async fn confirm_ownership(&self) -> Result<(), CatalogError> {
        self.bounded("confirm_ownership", self.confirm_ownership_now()).await
    }

    async fn producers(&self, partition_id: PartitionId) -> Result<Vec<ProducerRow>, CatalogError> {
        const OPERATION: &str = "producers";
        let range = prefix_range(ProducerRow::prefix_of(partition_id));
        self.bounded(OPERATION, self.database.scan(OPERATION, range, usize::MAX)).await
    }

    async fn all_producers(&self) -> Result<Vec<ProducerRow>, CatalogError> {
        const OPERATION: &str = "all_producers";
        let range = prefix_range(vec![RowKind::Producer.tag()]);
        self.bounded(OPERATION, self.database.scan(OPERATION, range, usize::MAX)).await
    }

    async fn allocate_producer_ids(&self, count: u32) -> Result<ProducerId, CatalogError> {
        self.bounded("allocate_producer_ids", self.allocate_producer_ids_now(count)).await
    }

    async fn mark_clean_stop(&self, flushed_lsn: Lsn) -> Result<(), CatalogError> {
        self.bounded("mark_clean_stop", self.mark_clean_stop_now(flushed_lsn)).await
    }

    async fn close(&self) -> Result<(), CatalogError> {
        const OPERATION: &str = "close";
        self.bounded(OPERATION, self.database.close(OPERATION)).await
    }
}
