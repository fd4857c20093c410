//! Removing: segments below the log start, whole topics, and objects that nothing points into.
//!
//! Large removals go in steps of bounded transactions. Whatever a step leaves is found again by
//! looking where the next step would look, so no step depends on the one before having been the
//! last thing this process did.

use std::collections::BTreeMap;

use antiphon_common::{ErrorKind, ObjectId, Offset, PartitionId, TopicId};
use tracing::warn;

use super::SlateCatalog;
use super::database::{prefix_range, segments_below};
use super::flush::put_object;
use super::state::State;
use super::transaction::Transaction;
use crate::rows::Row;
use crate::{
    CatalogError, DeletionRow, ObjectRow, PartitionRow, ProducerRow, SegmentRow, TopicDeletionRow,
    TrimOutcome,
};

/// Rows that one transaction removes at most: some hundred kilobytes of log.
const ROWS_PER_STEP: usize = 1_000;

impl SlateCatalog {
    pub(super) async fn remove_segments_in_steps(
        &self,
        partition_id: PartitionId,
        log_start: Offset,
    ) -> Result<TrimOutcome, CatalogError> {
        const OPERATION: &str = "remove_segments_below";
        let mut outcome = TrimOutcome::default();
        loop {
            let step = self.remove_segments_step(OPERATION, partition_id, log_start, &mut outcome);
            if !self.bounded(OPERATION, step).await? {
                break;
            }
        }
        self.bounded(OPERATION, self.database.wait_until_durable(OPERATION)).await?;
        Ok(outcome)
    }

    /// Returns whether there may be more to remove.
    async fn remove_segments_step(
        &self,
        operation: &'static str,
        partition_id: PartitionId,
        log_start: Offset,
        outcome: &mut TrimOutcome,
    ) -> Result<bool, CatalogError> {
        let turn = self.turn().await;
        let row = turn.partition(partition_id);
        let row = row.ok_or(CatalogError::PartitionNotFound { partition_id })?;
        let log_start = log_start.max(row.log_start);
        let below = segments_below(partition_id, log_start);
        let dead: Vec<SegmentRow> = self.database.scan(operation, below, ROWS_PER_STEP).await?;
        let bytes: u64 = dead.iter().map(|segment| segment.length).sum();
        let history_bytes = row.history_bytes.saturating_sub(bytes);
        let row = PartitionRow { log_start, history_bytes, ..row.clone() };
        let mut transaction = Transaction::default();
        transaction.put_partition(row);
        let objects = self.remove_segments(operation, &dead, &mut transaction).await?;
        self.apply(operation, turn, transaction).await?;
        outcome.log_start = log_start;
        outcome.history_bytes = history_bytes;
        outcome.segments += dead.len() as u64;
        outcome.bytes += bytes;
        outcome.objects += objects;
        Ok(dead.len() == ROWS_PER_STEP)
    }

    /// Removes segments and what they kept alive. Returns how many objects nothing points into now.
    pub(super) async fn remove_segments(
        &self,
        operation: &'static str,
        segments: &[SegmentRow],
        transaction: &mut Transaction,
    ) -> Result<u64, CatalogError> {
        let mut released = BTreeMap::<ObjectId, (u32, u64)>::new();
        for segment in segments {
            transaction.remove(segment);
            let (sections, bytes) = released.entry(segment.object_id).or_default();
            (*sections, *bytes) = (*sections + 1, bytes.saturating_add(segment.length));
        }
        let due_at = self.deletion_due();
        let mut queued = 0;
        for (object_id, gone) in released {
            let object = self.release(operation, object_id, gone).await?;
            queued += u64::from(object.live_sections == 0);
            put_object(&object, due_at, transaction);
        }
        Ok(queued)
    }

    /// The object's row after so many of its segments, with so many bytes, are gone.
    async fn release(
        &self,
        operation: &'static str,
        object_id: ObjectId,
        (sections, bytes): (u32, u64),
    ) -> Result<ObjectRow, CatalogError> {
        let stored = self.database.get::<ObjectRow>(operation, ObjectRow::key_of(object_id));
        let stored = stored.await?;
        let live = stored.as_ref().and_then(|row| row.live_sections.checked_sub(sections));
        match stored.zip(live) {
            Some((row, live_sections)) => {
                let live_bytes = row.live_bytes.saturating_sub(bytes);
                Ok(ObjectRow { live_sections, live_bytes, ..row })
            }
            None => {
                let detail = format!("segments point into object {object_id}, it counts fewer");
                Err(CatalogError::Inconsistent { detail })
            }
        }
    }

    pub(super) async fn finish_deletions_now(
        &self,
        deleted: &[DeletionRow],
    ) -> Result<(), CatalogError> {
        let turn = self.turn().await;
        let mut transaction = Transaction::default();
        for row in deleted {
            transaction.remove(row);
            transaction.remove_key(ObjectRow::key_of(row.object_id));
        }
        self.commit("finish_deletions", turn, transaction).await
    }

    pub(super) async fn delete_topic_in_steps(
        &self,
        topic_id: TopicId,
    ) -> Result<(), CatalogError> {
        const OPERATION: &str = "delete_topic";
        self.bounded(OPERATION, self.begin_topic_deletion(OPERATION, topic_id)).await?;
        // The topic is gone durably; what follows can be done at any later time.
        match self.finish_topic_deletion(OPERATION, topic_id).await {
            Err(error) if error.kind() != ErrorKind::Fenced => {
                warn!(%topic_id, %error, "rows of a deleted topic remain; they will be removed later");
                Ok(())
            }
            result => result,
        }
    }

    async fn begin_topic_deletion(
        &self,
        operation: &'static str,
        topic_id: TopicId,
    ) -> Result<(), CatalogError> {
        let turn = self.turn().await;
        let topic = turn.topic(topic_id)?;
        let mut transaction = Transaction::default();
        transaction.put_topic_deletion(TopicDeletionRow {
            topic_id,
            name: topic.name.clone(),
            deleted_at: self.environment.clock.now(),
            partitions: topic.partitions.clone(),
        });
        transaction.remove_topic(topic_id);
        for partition_id in &topic.partitions {
            transaction.remove_partition(*partition_id);
        }
        self.commit(operation, turn, transaction).await
    }

    pub(super) async fn finish_topic_deletions(&self) -> Result<usize, CatalogError> {
        const OPERATION: &str = "resume_topic_deletions";
        let unfinished = self.turn().await.deletions();
        for topic_id in &unfinished {
            self.finish_topic_deletion(OPERATION, *topic_id).await?;
        }
        Ok(unfinished.len())
    }

    async fn finish_topic_deletion(
        &self,
        operation: &'static str,
        topic_id: TopicId,
    ) -> Result<(), CatalogError> {
        while self.bounded(operation, self.topic_deletion_step(operation, topic_id)).await? {}
        self.bounded(operation, self.database.wait_until_durable(operation)).await
    }

    /// Removes some rows of a deleted topic. Returns whether there are more.
    async fn topic_deletion_step(
        &self,
        operation: &'static str,
        topic_id: TopicId,
    ) -> Result<bool, CatalogError> {
        let turn = self.turn().await;
        let Some(mut deletion) = State::deletion(&turn, topic_id).cloned() else {
            return Ok(false);
        };
        let mut transaction = Transaction::default();
        let dead = self.plan_deletion_step(operation, &mut deletion, &mut transaction).await?;
        self.remove_segments(operation, &dead, &mut transaction).await?;
        let more = !deletion.partitions.is_empty();
        if more {
            transaction.put_topic_deletion(deletion);
        } else {
            transaction.remove_topic_deletion(topic_id);
        }
        self.apply(operation, turn, transaction).await?;
        Ok(more)
    }

    /// Takes finished partitions off the deletion and removes producers; returns the segments that
    /// this step removes. All together at most [`ROWS_PER_STEP`] rows.
    async fn plan_deletion_step(
        &self,
        operation: &'static str,
        deletion: &mut TopicDeletionRow,
        transaction: &mut Transaction,
    ) -> Result<Vec<SegmentRow>, CatalogError> {
        let mut segments: Vec<SegmentRow> = Vec::new();
        let mut room = ROWS_PER_STEP;
        while let Some(partition_id) = deletion.partitions.last().copied() {
            let all = prefix_range(SegmentRow::prefix_of(partition_id));
            let found = self.database.scan(operation, all, room).await?;
            room -= found.len();
            segments.extend(found);
            let all = prefix_range(ProducerRow::prefix_of(partition_id));
            let producers: Vec<ProducerRow> = self.database.scan(operation, all, room).await?;
            room -= producers.len();
            for producer in &producers {
                transaction.remove_key(producer.key());
            }
            if room == 0 {
                break;
            }
            deletion.partitions.pop();
        }
        Ok(segments)
    }
}

#[cfg(test)]
mod tests {
    use crate::Catalog;
    use crate::conformance::{create_topic, flush};
    use crate::tests::StoreFixture;

    use super::ROWS_PER_STEP;

    /// A crash after the first transaction, and one after some steps: the topic is gone either way,
    /// and the next run finishes.
    #[tokio::test]
    async fn a_deletion_goes_on_after_a_crash() {
        for steps in 0..2 {
            let fixture = StoreFixture::memory();
            let (catalog, _) = fixture.open_slate().await.expect("open");
            let created = create_topic(&*catalog, "gone", 3).await;
            let topic_id = created.topic.topic_id;
            let ids: Vec<_> = created.partitions.iter().map(|row| row.partition_id).collect();
            let rows = (ROWS_PER_STEP / 2) as i64;
            let runs: Vec<_> =
                ids.iter().flat_map(|id| (0..rows).map(move |at| (*id, at, at))).collect();
            catalog.commit_flush(flush(&*catalog, 1, &runs)).await.expect("flush");
            catalog.begin_topic_deletion("test", topic_id).await.expect("begin");
            for _ in 0..steps {
                assert!(catalog.topic_deletion_step("test", topic_id).await.expect("step"));
            }
            catalog.database.wait_until_durable("test").await.expect("durable");
            drop(catalog);

            let (catalog, snapshot) = fixture.open_slate().await.expect("open after the crash");
            assert!(snapshot.topics.is_empty() && snapshot.partitions.is_empty());
            assert_eq!(snapshot.unfinished_deletions, [topic_id]);
            assert!(!catalog.segments(ids[0]).await.expect("segments").is_empty());
            assert_eq!(catalog.resume_topic_deletions().await.expect("resume"), 1);
            for id in ids {
                assert!(catalog.segments(id).await.expect("segments").is_empty());
            }
            let far = antiphon_common::Timestamp(i64::MAX);
            assert_eq!(catalog.due_deletions(far, 10).await.expect("queue").len(), 1);
            let (_, snapshot) = fixture.open_slate().await.expect("open again");
            assert!(snapshot.unfinished_deletions.is_empty());
        }
    }
}
