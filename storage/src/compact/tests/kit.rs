//! A broker's storage with one compacted partition, over a bucket and a log in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{Catalog, Created, NewTopic, OpenOptions, SlateCatalog};
use antiphon_common::{
    BrokerId, Environment, Lsn, ManualClock, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use antiphon_records::{
    BatchBuilder, BatchHeader, Compression, NewRecord, OpenBatch, Sequence, batches_in,
};
use antiphon_wal::{Ending, MemoryWal, MemoryWalOptions, RecoveryReport, Replayed};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::store::Store;
use crate::store::faults::{FaultPlan, Outage};
use crate::{
    AckLatch, CompactionConfig, LogConfig, MergeOptions, OpenedWal, PartitionLog, Storage,
    StorageOptions, WalOpener,
};

pub(super) const STARTED_AT: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const RETENTION: Duration = Duration::from_secs(60);

/// Compacts whatever is flushed.
pub(super) fn eager() -> CompactionConfig {
    CompactionConfig {
        dirty_ratio_min: 0.0,
        delete_retention: RETENTION,
        active_age_max: Duration::ZERO,
        ..CompactionConfig::default()
    }
}

/// What outlives a process.
pub(super) struct World {
    bucket: Arc<dyn ObjectStore>,
    pub(super) clock: Arc<ManualClock>,
    environment: Environment,
    survivors: Vec<Replayed>,
    pub(super) config: LogConfig,
    pub(super) map_bytes: u64,
    pub(super) object_bytes: u64,
}

/// A record to be produced, or as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: i64,
}

/// A record as it was read, at its offset.
pub(super) type At = (i64, Entry);

pub(super) fn entry(key: &str, value: Option<&str>) -> Entry {
    let owned = |text: &str| text.as_bytes().to_vec();
    Entry { key: Some(owned(key)), value: value.map(owned), timestamp: STARTED_AT.get() }
}

/// A batch as a producer sends it.
pub(super) fn batch(entries: &[Entry], codec: Compression) -> Vec<u8> {
    batch_of(BatchBuilder::new(), entries, codec)
}

/// A batch of an idempotent producer.
pub(super) fn batch_by(producer: i64, sequence: i32, entries: &[Entry]) -> Vec<u8> {
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
    let builder = BatchBuilder::new().producer(id, epoch, Sequence(sequence));
    batch_of(builder, entries, Compression::None)
}

fn batch_of(builder: BatchBuilder, entries: &[Entry], codec: Compression) -> Vec<u8> {
    let mut builder = builder.compression(codec);
    for Entry { key, value, timestamp } in entries {
        let record = NewRecord::new(Timestamp(*timestamp), key.as_deref(), value.as_deref());
        builder.push(record).expect("small records");
    }
    builder.build().expect("a batch").to_vec()
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::starting_at(STARTED_AT));
        Self {
            bucket: Arc::new(InMemory::new()),
            environment: Environment::simulated(Arc::clone(&clock), 7),
            clock,
            survivors: Vec::new(),
            config: LogConfig { deletes: false, compaction: Some(eager()), ..LogConfig::default() },
            map_bytes: 1 << 20,
            object_bytes: 1 << 20,
        }
    }

    pub(super) async fn open(&self) -> Process {
        let faults = FaultPlan::seeded(1);
        let store = Store::in_memory().wrapped(|_| faults.wrap(Arc::clone(&self.bucket)));
        let options = OpenOptions {
            operation_limit: Duration::from_secs(5),
            ..OpenOptions::new(
                Arc::clone(&store.objects),
                "catalog",
                BrokerId(1),
                Uuid::from_u128(1),
                self.environment.clone(),
            )
        };
        let (catalog, snapshot) = SlateCatalog::open(options).await.expect("the catalog opens");
        let catalog: Arc<dyn Catalog> = catalog;
        let row = match snapshot.partitions.first() {
            Some(row) => row.clone(),
            None => create_topic(&*catalog).await,
        };
        let (options, wal) = self.storage_options();
        let config = Arc::new(self.config.clone());
        let opened = Storage::open(
            options,
            &self.environment,
            BrokerId(1),
            Arc::clone(&catalog),
            &snapshot,
            store,
            |_| Arc::clone(&config),
        );
        let (storage, _) = opened.await.expect("storage opens");
        let log = storage
            .partition(row.partition_id)
            .unwrap_or_else(|| storage.create_partition(row, config));
        let wal = wal.lock().take().expect("the log was opened");
        Process { storage, catalog, log, wal, faults }
    }

    fn storage_options(&self) -> (StorageOptions, Arc<Mutex<Option<Arc<MemoryWal>>>>) {
        let opened = Arc::new(Mutex::new(None));
        let (survivors, slot) = (self.survivors.clone(), Arc::clone(&opened));
        let opener = WalOpener(Arc::new(move |expected: Lsn| {
            let frames: Vec<Replayed> =
                survivors.iter().filter(|frame| frame.lsn >= expected).cloned().collect();
            let options =
                MemoryWalOptions { first_lsn_if_empty: expected, ..MemoryWalOptions::default() };
            let wal = Arc::new(MemoryWal::reopen(options, frames.clone(), &mut |_| {}));
            *slot.lock() = Some(Arc::clone(&wal));
            Ok(OpenedWal { wal, report: report_of(&frames), frames, deferred: 0 })
        }));
        let options = StorageOptions {
            wal_opener: Some(opener),
            compaction_map_bytes: self.map_bytes,
            compaction_object_bytes: self.object_bytes,
            merge: MergeOptions { segments_min: 3, bytes_small: 1, ..MergeOptions::default() },
            ..StorageOptions::new(Path::new("nowhere"))
        };
        (options, opened)
    }

    /// The process dies: whatever it still wants of the bucket fails.
    pub(super) async fn crash(&mut self, process: Process) -> Process {
        process.faults.set_outage(Outage::Refuses);
        self.survivors = process.wal.crash();
        drop(process);
        self.open().await
    }
}

fn report_of(frames: &[Replayed]) -> RecoveryReport {
    RecoveryReport {
        ending: Ending::Unclean,
        frames: frames.len() as u64,
        payload_bytes: 0,
        first_lsn: frames.first().map(|frame| frame.lsn),
        next_lsn: frames.last().map_or(Lsn::FIRST, |frame| frame.lsn.next()),
        segments_read: 1,
        segments_skipped: 0,
        segments_deferred: 0,
        elapsed: Duration::ZERO,
    }
}

async fn create_topic(catalog: &dyn Catalog) -> antiphon_catalog::PartitionRow {
    let topic = NewTopic { name: "compacted".to_owned(), partitions: 1, ..NewTopic::default() };
    let created = catalog.create_topics(vec![topic]).await.expect("a topic");
    let Some(Created::Created(topic)) = created.into_iter().next() else { panic!("it is new") };
    topic.partitions.into_iter().next().expect("one partition")
}

/// One run of the broker.
pub(super) struct Process {
    pub(super) storage: Arc<Storage>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) log: Arc<PartitionLog>,
    wal: Arc<MemoryWal>,
    pub(super) faults: FaultPlan,
}

impl Process {
    /// Appends a batch and waits until it is durable. Returns its base offset.
    pub(super) async fn produce(&self, batch: &[u8]) -> i64 {
        let header = BatchHeader::parse(batch).expect("a batch");
        let latch = AckLatch::new();
        let appended = self.log.append(batch, &header, Some(&latch)).expect("room");
        latch.release();
        assert!(latch.wait().await, "the log is fine");
        appended.base_offset.get()
    }

    pub(super) async fn flush(&self) {
        self.storage.flush().await.expect("a flush");
    }

    /// Produces batches and flushes them together.
    pub(super) async fn flush_of(&self, batches: &[Vec<u8>]) {
        for batch in batches {
            self.produce(batch).await;
        }
        self.flush().await;
    }

    pub(super) async fn rows(&self) -> Vec<antiphon_catalog::SegmentRow> {
        self.catalog.segments(self.log.id()).await.expect("rows")
    }

    /// All batches of history from `from` on, as a consumer fetches them.
    pub(super) async fn batches_from(&self, from: i64) -> Vec<(BatchHeader, Bytes)> {
        let positions = self.log.positions();
        let mut next = Offset(from).max(positions.log_start);
        let mut all = Vec::new();
        while next < positions.flushed_end {
            let runs = self.log.read_cold(next, 200, true).await.expect("history reads");
            assert!(!runs.is_empty(), "there is something at or after offset {next}");
            for run in &runs {
                for batch in batches_in(run) {
                    let (header, bytes) = batch.expect("whole batches");
                    assert!(header.last_offset() >= next, "nothing comes twice");
                    next = header.next_offset();
                    all.push((header, bytes));
                }
            }
        }
        assert!(next >= positions.flushed_end, "history ends where it ended");
        all
    }

    /// All records of history.
    pub(super) async fn records(&self) -> Vec<At> {
        let batches = self.batches_from(0).await;
        let mut all = Vec::new();
        for (header, bytes) in &batches {
            let open = OpenBatch::open(bytes, 1 << 20).expect("it opens");
            for record in open.records() {
                let record = record.expect("a record");
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let entry = Entry {
                    key: owned(record.key),
                    value: owned(record.value),
                    timestamp: record.timestamp(header).get(),
                };
                all.push((record.offset(header).get(), entry));
            }
        }
        all
    }
}
