//! A broker's storage over a bucket that outlives it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{
    Catalog, Created, NewTopic, OpenOptions, PartitionRow, SegmentRow, SlateCatalog, Snapshot,
};
use antiphon_common::{
    BrokerId, ByteCount, Clock, Environment, Lsn, ManualClock, ObjectId, Offset, PartitionId,
    Timestamp, TopicId,
};
use antiphon_records::{BatchBuilder, BatchHeader, NewRecord};
use antiphon_wal::{Ending, MemoryWal, MemoryWalOptions, RecoveryReport, Replayed};
use bytes::Bytes;
use futures::TryStreamExt;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::cold::last_offset_of_run;
use crate::store::{OBJECTS_PREFIX, Store, object_id_of_path};
use crate::{
    AckLatch, FatalReport, LogConfig, MergeOptions, OpenedWal, PartitionLog, Storage,
    StorageOptions, WalOpener,
};

const BROKER: BrokerId = BrokerId(1);
const TOPIC: &str = "merged";
/// The year 2100: whatever the bucket writes now is old by this clock, so that only ids say when an
/// object was made.
const FUTURE: Timestamp = Timestamp(4_102_444_800_000);
/// What a catalog call may take where the store answers at once or never.
const CATALOG_LIMIT: Duration = Duration::from_secs(8);
pub(crate) const GRACE: Duration = Duration::from_secs(600);

/// A bucket and a disk.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) partitions: u32,
    pub(crate) config: LogConfig,
    pub(crate) merge: MergeOptions,
    pub(crate) own_object_bytes_min: u64,
    pub(crate) tail_bytes_max: u64,
    /// How many frames of its log a process has not read when it opens.
    pub(crate) deferred: usize,
    disk: Mutex<Vec<Replayed>>,
    seed: Mutex<u64>,
    pub(crate) fatal: Arc<Mutex<Vec<String>>>,
}

/// One process.
pub(crate) struct Process {
    pub(crate) storage: Arc<Storage>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) logs: Vec<Arc<PartitionLog>>,
    pub(crate) topic: TopicId,
    clock: Arc<ManualClock>,
    wal: Arc<MemoryWal>,
}

/// Merges of at least four and at most eight segments, whatever their size.
pub(crate) fn eager() -> MergeOptions {
    MergeOptions {
        segments_min: 4,
        segments_max: 8,
        bytes_small: 0,
        bytes_full: 64 << 10,
        bytes_max: 128 << 10,
        first_look_after: Duration::ZERO,
        ..MergeOptions::default()
    }
}

impl World {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            clock: Arc::new(ManualClock::starting_at(FUTURE)),
            partitions: 2,
            config: LogConfig { retention_time: None, ..LogConfig::default() },
            merge: eager(),
            own_object_bytes_min: u64::MAX,
            tail_bytes_max: 256 << 20,
            deferred: 0,
            disk: Mutex::default(),
            seed: Mutex::default(),
            fatal: Arc::default(),
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(Store::in_memory())
    }

    pub(crate) async fn open(&self) -> Process {
        self.open_over(self.store.clone()).await
    }

    /// Opens a process that sees the bucket through `store`.
    pub(crate) async fn open_over(&self, store: Store) -> Process {
        let seed = {
            let mut seed = self.seed.lock();
            *seed += 1;
            *seed
        };
        let environment = Environment::simulated(Arc::clone(&self.clock), seed);
        let mut options = OpenOptions::new(
            Arc::clone(&store.objects),
            "catalog",
            BROKER,
            Uuid::from_u128(1),
            environment.clone(),
        );
        options.local = self.store.is_local();
        (options.deletion_grace, options.operation_limit) = (GRACE, CATALOG_LIMIT);
        let (catalog, snapshot) = SlateCatalog::open(options).await.expect("the catalog opens");
        let catalog: Arc<dyn Catalog> = catalog;
        let rows = self.rows(&*catalog, &snapshot).await;
        let wal: Arc<Mutex<Option<Arc<MemoryWal>>>> = Arc::default();
        let options = self.storage_options(Arc::clone(&wal));
        let config = Arc::new(self.config.clone());
        let opened = Storage::open(
            options,
            &environment,
            BROKER,
            Arc::clone(&catalog),
            &snapshot,
            store,
            |_| Arc::clone(&config),
        );
        let (storage, _) = opened.await.expect("storage opens");
        let topic = rows.first().map(|row| row.topic_id).expect("the topic has partitions");
        let log = |row: PartitionRow| {
            let known = storage.partition(row.partition_id);
            known.unwrap_or_else(|| storage.create_partition(row, Arc::clone(&config)))
        };
        let logs = rows.into_iter().map(log).collect();
        let wal = wal.lock().take().expect("the log was opened");
        let clock = Arc::clone(&self.clock);
        Process { storage, catalog, logs, topic, clock, wal }
    }

    async fn rows(&self, catalog: &dyn Catalog, snapshot: &Snapshot) -> Vec<PartitionRow> {
        let topic = snapshot.topics.iter().find(|topic| topic.name == TOPIC);
        let Some(topic) = topic else {
            return create_topic(catalog, TOPIC, self.partitions).await;
        };
        let ours = |row: &&PartitionRow| row.topic_id == topic.topic_id;
        snapshot.partitions.iter().filter(ours).cloned().collect()
    }

    fn storage_options(&self, wal: Arc<Mutex<Option<Arc<MemoryWal>>>>) -> StorageOptions {
        let (disk, deferred) = (self.disk.lock().clone(), self.deferred);
        let opener = WalOpener(Arc::new(move |expected_start| {
            let frames = disk.clone();
            let options =
                MemoryWalOptions { first_lsn_if_empty: expected_start, ..Default::default() };
            let opened = Arc::new(MemoryWal::reopen(options, frames.clone(), &mut |_| {}));
            let report = report_of(&frames, expected_start);
            *wal.lock() = Some(Arc::clone(&opened));
            Ok(OpenedWal { wal: opened, frames, deferred, report })
        }));
        let fatal = Arc::clone(&self.fatal);
        StorageOptions {
            wal_opener: Some(opener),
            merge: self.merge.clone(),
            own_object_bytes_min: self.own_object_bytes_min,
            tail_bytes_max: self.tail_bytes_max,
            tail_cache_bytes_max: self.tail_bytes_max / 2,
            on_fatal: FatalReport(Arc::new(move |reason| fatal.lock().push(reason.to_owned()))),
            ..StorageOptions::new(Path::new("nowhere"))
        }
    }

    /// Ends a process as a power cut would.
    pub(crate) fn crash(&self, process: Process) {
        *self.disk.lock() = process.wal.crash();
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The objects that are in the bucket.
    pub(crate) async fn listed(&self) -> BTreeSet<ObjectId> {
        let prefix = object_store::path::Path::from(OBJECTS_PREFIX);
        let listed: Vec<_> =
            self.store.objects.list(Some(&prefix)).try_collect().await.expect("a listing");
        listed.iter().filter_map(|meta| object_id_of_path(&meta.location)).collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn report_of(frames: &[Replayed], expected_start: Lsn) -> RecoveryReport {
    RecoveryReport {
        ending: Ending::Unclean,
        frames: frames.len() as u64,
        payload_bytes: frames.iter().map(|frame| frame.payload.len() as u64).sum(),
        first_lsn: frames.first().map(|frame| frame.lsn),
        next_lsn: frames.last().map_or(expected_start, |frame| frame.lsn.next()),
        segments_read: 1,
        segments_skipped: 0,
        segments_deferred: 0,
        elapsed: Duration::ZERO,
    }
}

pub(crate) async fn create_topic(
    catalog: &dyn Catalog,
    name: &str,
    partitions: u32,
) -> Vec<PartitionRow> {
    let topic = NewTopic { name: name.to_owned(), partitions, ..NewTopic::default() };
    let created = catalog.create_topics(vec![topic]).await.expect("the topic is created");
    match created.into_iter().next() {
        Some(Created::Created(topic)) => topic.partitions,
        other => panic!("not created: {other:?}"),
    }
}

/// A batch of three records whose values say where they belong.
fn batch(number: usize, bytes: usize, now: Timestamp) -> Bytes {
    let mut builder = BatchBuilder::new();
    for index in 0..3_u8 {
        let letter = b'a' + ((number * 7 + usize::from(index)) % 26) as u8;
        let value = vec![letter; bytes / 3];
        builder.push(NewRecord::new(now, None, Some(&value))).expect("the record fits");
    }
    builder.build().expect("the batch is built").freeze()
}

impl Process {
    /// Appends one batch of three records with so many bytes to a partition, durably.
    pub(crate) async fn append(&self, partition: usize, number: usize, bytes: usize) {
        let batch = batch(number, bytes, self.now());
        let header = BatchHeader::parse(&batch).expect("a header");
        let latch = AckLatch::new();
        self.logs[partition].append(&batch, &header, Some(&latch)).expect("the append is taken");
        latch.release();
        assert!(latch.wait().await, "the append is durable");
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `count` flushes; each brings every partition one batch.
    pub(crate) async fn flushes(&self, count: usize, bytes: usize) {
        for number in 0..count {
            for partition in 0..self.logs.len() {
                self.append(partition, number, bytes).await;
            }
            self.storage.flush().await.expect("the flush succeeds");
        }
    }

    /// All batches of a partition's history, as a consumer of old records reads them.
    pub(crate) async fn history(&self, partition: usize) -> Vec<u8> {
        let log = &self.logs[partition];
        let positions = log.positions();
        let (mut next, mut found) = (positions.log_start, Vec::new());
        while next < positions.flushed_end {
            let runs = log.read_cold(next, 64 << 10, true).await.expect("history is readable");
            let last = runs.last().and_then(|run| last_offset_of_run(run));
            next = last.expect("history has no hole").next();
            runs.iter().for_each(|run| found.extend_from_slice(run));
        }
        found
    }

    pub(crate) async fn histories(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for partition in 0..self.logs.len() {
            all.push(self.history(partition).await);
        }
        all
    }

    pub(crate) async fn segments(&self, partition: usize) -> Vec<SegmentRow> {
        self.catalog.segments(self.id(partition)).await.expect("segments")
    }

    pub(crate) fn id(&self, partition: usize) -> PartitionId {
        self.logs[partition].id()
    }

    /// The objects that the catalog names, also those that wait to be deleted.
    pub(crate) async fn known(&self) -> BTreeSet<ObjectId> {
        let known = self.catalog.known_objects(None, usize::MAX).await.expect("objects");
        known.iter().map(|row| row.object_id).collect()
    }

    /// Deletes what may be deleted: afterwards bucket and catalog must be one set.
    pub(crate) async fn quiesce(&self, world: &World) {
        world.advance(2 * GRACE + Duration::from_secs(3600));
        self.storage.delete_due_objects().await;
        self.storage.sweep().await.expect("the sweep comes to its end");
        assert_eq!(world.listed().await, self.known().await, "bucket and catalog differ");
    }
}

/// The first and last offsets of rows, with their levels.
pub(crate) fn shape(rows: &[SegmentRow]) -> Vec<(i64, i64, u8)> {
    let shape = |row: &SegmentRow| (row.base_offset.get(), row.last_offset.get(), row.level);
    rows.iter().map(shape).collect()
}

/// Settings that keep so many bytes.
pub(crate) fn keeping(bytes: u64) -> LogConfig {
    let retention_size = Some(ByteCount(bytes));
    LogConfig { retention_time: None, retention_size, ..LogConfig::default() }
}

/// The first offset after the last row.
pub(crate) fn end_of(rows: &[SegmentRow]) -> Offset {
    rows.last().map_or(Offset::ZERO, |row| row.last_offset.next())
}
