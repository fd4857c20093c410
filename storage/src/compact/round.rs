//! One round over one partition: reading, cleaning, putting, committing.

use std::sync::Arc;

use antiphon_catalog::{MergeCommit, ObjectRow, SegmentRow};
use antiphon_common::{Entropy, ErrorKind, Offset, Timestamp};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tracing::{debug, info};

use super::cleaning::Cleaning;
use super::config::CompactionConfig;
use super::dirty_keys::DirtyKeys;
use super::error::{CompactError, UncleanableBatch};
use super::offset_map::OffsetMap;
use super::output::{Draft, Output};
use super::plan::{Plan, plan};
use super::rules::Rules;
use super::source::Source;
use super::stats::{CompactionStats, Counters};
use crate::engine::ObjectIds;
use crate::log::{LogContext, PartitionLog};
use crate::object::{BuiltObject, ObjectBuilder, WriterIdentity};
use crate::store::Store;
use crate::traffic::TrafficClass;

/// The most segments that one transaction replaces.
const GROUP_SEGMENTS_MAX: usize = 256;
/// The level of what compaction wrote: it need not be merged like what a flush wrote.
const LEVEL: u8 = 1;

/// Limits of compaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactorOptions {
    /// Bytes of the map from keys to offsets: 16 MiB hold 629,000 keys. (Kafka's
    /// `log.cleaner.dedupe.buffer.size` is 128 MiB.) At least two entries are held.
    pub(crate) map_bytes_max: u64,
    /// How long an object becomes that compaction writes, and how much one transaction replaces.
    pub(crate) object_bytes: u64,
}

/// Compacts partitions.
#[derive(Debug)]
pub(crate) struct Compactor {
    context: Arc<LogContext>,
    store: Store,
    source: Source,
    ids: Arc<ObjectIds>,
    entropy: Arc<dyn Entropy>,
    options: CompactorOptions,
    counters: Counters,
}

/// Whether a partition wants a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outlook {
    /// Now; the more urgent the larger.
    Due { urgency: f64 },
    /// Not before this time, unless more is flushed or the settings change.
    Later(Option<Timestamp>),
}

/// An object that was put, and the segment that it will be.
struct Written {
    object: ObjectRow,
    segment: SegmentRow,
    _name: Name,
}

/// A new object's name, unfinished until this is dropped: then the catalog names the object, or will
/// never be asked to.
struct Name {
    identity: WriterIdentity,
    ids: Arc<ObjectIds>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.ids.finish(self.identity.object);
    }
}

impl Compactor {
    pub(crate) fn new(
        context: Arc<LogContext>,
        store: Store,
        ids: Arc<ObjectIds>,
        entropy: Arc<dyn Entropy>,
        options: CompactorOptions,
    ) -> Self {
        let source = Source::new(Arc::clone(&store.history), Arc::clone(&context.traffic));
        Self { context, store, source, ids, entropy, options, counters: Counters::default() }
    }

    /// What was done so far.
    pub(crate) fn stats(&self) -> CompactionStats {
        self.counters.read()
    }

    /// Whether a round over `log` is due. Those that are overdue (KIP-354) come before those that
    /// are merely dirty.
    pub(crate) async fn outlook(&self, log: &PartitionLog) -> Result<Outlook, CompactError> {
        let Some(config) = log.config().compaction else { return Ok(Outlook::Later(None)) };
        let plan = plan(&log.segment_rows().await?, &config, self.context.clock.now());
        Ok(match plan {
            Plan { due: true, overdue, dirty_ratio, .. } => {
                Outlook::Due { urgency: dirty_ratio + f64::from(u8::from(overdue)) }
            }
            Plan { due_at, .. } => Outlook::Later(due_at),
        })
    }

    /// One round, if it is due and nobody else rewrites the partition. Returns whether there was one.
    /// Call again until there is none: the map may not have held all keys.
    pub(crate) async fn round(
        &self,
        log: &PartitionLog,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, CompactError> {
        let done = self.try_round(log, stop).await;
        match &done {
            Ok(true) => self.counters.round(),
            Err(error) if error.was_overtaken() => {
                debug!(partition = log.id().0, %error, "a round of compaction was overtaken");
                return Ok(false);
            }
            Err(error) if error.kind() != ErrorKind::Closed => self.counters.failure(),
            Ok(false) | Err(_) => {}
        }
        done
    }

    async fn try_round(
        &self,
        log: &PartitionLog,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, CompactError> {
        let Some(config) = log.config().compaction else { return Ok(false) };
        let Some(_turn) = log.try_rewrite() else { return Ok(false) };
        let rows = log.segment_rows().await?;
        let plan = plan(&rows, &config, self.context.clock.now());
        let dirty = rows.get(plan.first_dirty..plan.until).filter(|_| plan.due);
        let Some(dirty) = dirty else { return Ok(false) };
        let Some(keys) = self.read_keys(dirty, stop).await? else { return Ok(false) };
        let rules = Arc::new(self.rules(log, &config, keys));
        let concerned = rows.partition_point(|row| row.base_offset <= rules.covered);
        let before = self.counters.read();
        for group in groups(rows.get(..concerned).unwrap_or_default(), self.options.object_bytes) {
            self.clean(log, group, &rules, stop).await?;
        }
        let removed_records = self.counters.read().removed_records - before.removed_records;
        info!(
            partition = log.id().0,
            segments = concerned,
            removed_records,
            cleaned_to = rules.covered.next().get(),
            "compacted"
        );
        Ok(true)
    }

    fn rules(
        &self,
        log: &PartitionLog,
        config: &CompactionConfig,
        (newest, covered): (OffsetMap, Offset),
    ) -> Rules {
        let now = self.context.clock.now();
        let retention = i64::try_from(config.delete_retention.as_millis()).unwrap_or(i64::MAX);
        let horizon = Timestamp(now.get().saturating_add(retention));
        let producers = log.last_batches_of_producers(now);
        Rules { newest, covered, now, horizon, producers }
    }

    async fn read_keys(
        &self,
        dirty: &[SegmentRow],
        stop: &watch::Receiver<bool>,
    ) -> Result<Option<(OffsetMap, Offset)>, CompactError> {
        let records = dirty.iter().map(|row| row.record_count).sum();
        let hash_key = (self.entropy.u64(), self.entropy.u64());
        let map = OffsetMap::for_records(records, self.options.map_bytes_max, hash_key);
        let mut keys = DirtyKeys::new(map);
        for row in dirty {
            for piece in self.source.pieces_of(row).await? {
                if keys.is_closed() {
                    return Ok(keys.finish());
                }
                go_on(stop)?;
                let batches = self.source.read(row, &piece).await?;
                keys = off_thread(row, keys, move |keys| {
                    batches.iter().try_for_each(|batch| keys.read(&batch.bytes))
                })
                .await?;
            }
        }
        Ok(keys.finish())
    }

    /// Cleans neighbouring segments and replaces them.
    async fn clean(
        &self,
        log: &PartitionLog,
        group: &[SegmentRow],
        rules: &Arc<Rules>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), CompactError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let output = Output::new(first.base_offset, self.options.object_bytes);
        let mut cleaning = Cleaning::new(Arc::clone(rules), last.last_offset, output);
        let mut drafts: Vec<Draft> = Vec::new();
        let mut written = Vec::new();
        for row in group {
            for piece in self.source.pieces_of(row).await? {
                go_on(stop)?;
                let batches = self.source.read(row, &piece).await?;
                cleaning = off_thread(row, cleaning, move |cleaning| {
                    batches.iter().try_for_each(|batch| cleaning.take(&batch.bytes))
                })
                .await?;
                // The last draft waits: if nothing changes, nothing need be written.
                drafts.extend(cleaning.output.take_finished());
                while drafts.len() > 1 {
                    written.push(self.put(log, group, drafts.remove(0)).await?);
                }
            }
        }
        let is_news = cleaning.tally.changed_batches > 0 || !written.is_empty();
        if is_news || !group.iter().all(SegmentRow::is_cleaned) {
            for draft in drafts {
                written.push(self.put(log, group, draft).await?);
            }
            self.commit(log, group, written, stop).await?;
        }
        self.counters.group(&cleaning.tally);
        Ok(())
    }

    async fn put(
        &self,
        log: &PartitionLog,
        group: &[SegmentRow],
        draft: Draft,
    ) -> Result<Written, CompactError> {
        let (base_offset, cleaned) = (draft.base_offset, draft.cleaned);
        let name = Name { identity: self.ids.begin(), ids: Arc::clone(&self.ids) };
        let mut builder = ObjectBuilder::new(name.identity);
        builder.section(log.id(), draft.slices)?;
        let object = builder.finish()?;
        let _turn = self.context.traffic.admit(TrafficClass::Compaction, object.size).await;
        self.store.put_object(&object).await?;
        self.counters.put(object.size);
        let now = self.context.clock.now();
        // The dirty rest of a segment is as old as the segment was.
        let created_at = group.iter().map(|row| row.created_at).min().unwrap_or(now);
        let segment = segment_row(&object, base_offset, created_at).with_cleaned(cleaned);
        Ok(Written { object: object_row(&object, now), segment, _name: name })
    }

    async fn commit(
        &self,
        log: &PartitionLog,
        group: &[SegmentRow],
        written: Vec<Written>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), CompactError> {
        let commit = MergeCommit {
            partition_id: log.id(),
            inputs: group.to_vec(),
            objects: written.iter().map(|written| written.object.clone()).collect(),
            outputs: written.iter().map(|written| written.segment.clone()).collect(),
            settled_end: Offset::ZERO,
        };
        Ok(log.replace_segments(&commit, stop).await?)
    }
}

/// Divides rows into groups, each replaced by one transaction: of about `bytes`, or one segment.
fn groups(rows: &[SegmentRow], bytes: u64) -> Vec<&[SegmentRow]> {
    let mut groups = Vec::new();
    let (mut start, mut length) = (0, 0);
    for (index, row) in rows.iter().enumerate() {
        let is_full = length + row.length > bytes || index - start == GROUP_SEGMENTS_MAX;
        if index > start && is_full {
            groups.extend(rows.get(start..index));
            (start, length) = (index, 0);
        }
        length += row.length;
    }
    groups.extend(rows.get(start..).filter(|rest| !rest.is_empty()));
    groups
}

fn go_on(stop: &watch::Receiver<bool>) -> Result<(), CompactError> {
    if *stop.borrow() { Err(CompactError::Stopping) } else { Ok(()) }
}

/// Lets `work` have `state` on a thread that may be kept busy, and gives it back. A runtime with one
/// thread does it there: a second thread would race with it, and a simulation repeats its history to
/// the line only if nothing does.
async fn off_thread<T: Send + 'static>(
    row: &SegmentRow,
    mut state: T,
    work: impl FnOnce(&mut T) -> Result<(), UncleanableBatch> + Send + 'static,
) -> Result<T, CompactError> {
    let partition = row.partition_id;
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        let done = work(&mut state).map(|()| state);
        return done.map_err(|source| CompactError::Batch { partition, source });
    }
    let working = tokio::task::spawn_blocking(move || work(&mut state).map(|()| state));
    match working.await {
        Ok(done) => done.map_err(|source| CompactError::Batch { partition, source }),
        Err(failed) if failed.is_cancelled() => Err(CompactError::Stopping),
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn segment_row(object: &BuiltObject, base_offset: Offset, created_at: Timestamp) -> SegmentRow {
    // The builder made exactly one section.
    let section = &object.sections[0];
    SegmentRow {
        partition_id: section.partition,
        base_offset,
        last_offset: section.last_offset,
        object_id: object.identity.object,
        position: section.position,
        length: section.length,
        index_position: section.index_position,
        // The builder refuses tables that a 32-bit length could not describe.
        index_length: u32::try_from(section.index_length).unwrap_or(u32::MAX),
        base_timestamp: Timestamp::NONE,
        max_timestamp: section.max_timestamp,
        record_count: section.record_count,
        leader_epoch: section.leader_epoch,
        level: LEVEL,
        created_at,
        crc: Some(section.crc),
    }
}

fn object_row(object: &BuiltObject, created_at: Timestamp) -> ObjectRow {
    ObjectRow {
        object_id: object.identity.object,
        size: object.size,
        created_at,
        broker_id: object.identity.broker,
        broker_epoch: object.identity.broker_epoch,
        live_sections: object.sections.len() as u32,
        level: LEVEL,
        live_bytes: 0,
    }
}
