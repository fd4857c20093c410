//! Opening: the catalog's rows, then the write-ahead log's frames on top.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use antiphon_catalog::{Catalog, CatalogError, Snapshot};
use antiphon_common::{BrokerId, ByteCount, Environment, ErrorKind, Lsn, Offset, PartitionId};
use antiphon_records::{BatchHeader, ProducerEntry, ProducerStateLimits, ProducerStates};
use antiphon_wal::{
    DeferredFrame, FileWal, FileWalOptions, RecoveryReport, Replayed, Survivor, Wal,
};
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
use tracing::info;

use super::loading::{Loader, LoaderTask, Missing, Source, TailLoading};
use super::queue::TailQueue;
use super::{ObjectIds, OpenedWal, Storage, StorageOptions, compaction, flush, frame};
use crate::budget::TailBudget;
use crate::cold::{ColdOptions, ColdReader};
use crate::log::{
    LogConfig, LogContext, MissingBytes, PartitionLog, ReplayedBatch, Restored, SegmentPages,
    TailBatch, TailBytes,
};
use crate::merge::{Logs, MergeQueue, Merger};
use crate::store::Store;
use crate::sweep::Sweeper;
use crate::traffic::Traffic;

/// Why storage did not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The write-ahead log could not be opened or is damaged.
    #[error(transparent)]
    Wal(#[from] antiphon_wal::OpenError),
    /// The producers' rows could not be read.
    #[error("the catalog could not be read")]
    Catalog(#[from] CatalogError),
    /// A producer's row does not decode.
    #[error("the state of producer {producer_id} in partition {partition} is damaged")]
    Producer {
        /// The partition.
        partition: PartitionId,
        /// The producer.
        producer_id: antiphon_common::ProducerId,
        /// What is wrong.
        source: antiphon_records::RowError,
    },
    /// A frame of the write-ahead log holds something that storage never wrote.
    #[error("frame {lsn} of the write-ahead log does not hold a record batch")]
    Frame {
        /// The frame.
        lsn: Lsn,
    },
    /// Records between history and the write-ahead log are missing.
    #[error(
        "partition {partition} lacks the records before offset {offset}, which were acknowledged"
    )]
    Gap {
        /// The partition.
        partition: PartitionId,
        /// Where the log goes on.
        offset: Offset,
    },
}

/// What opening found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// What the write-ahead log said.
    pub wal: RecoveryReport,
    /// Batches that were put back into the tail.
    pub batches: u64,
    /// Those of them whose bytes are read while the broker serves.
    pub deferred: u64,
    /// Batches whose topic no longer exists.
    pub orphans: u64,
}

/// Restores the logs that the catalog knows, with the producers of each.
struct Restorer {
    context: Arc<LogContext>,
    logs: HashMap<PartitionId, Arc<PartitionLog>>,
    batches: u64,
    orphans: u64,
    /// Batches in the tail whose bytes are still to be read.
    missing: VecDeque<Missing>,
    broken: Option<Lsn>,
    gap: Option<(PartitionId, Offset)>,
}

impl Storage {
    /// Opens storage over a catalog that is already open for writing. `config_of` gives a
    /// partition's settings.
    pub async fn open(
        options: StorageOptions,
        environment: &Environment,
        broker_id: BrokerId,
        catalog: Arc<dyn Catalog>,
        snapshot: &Snapshot,
        store: Store,
        config_of: impl Fn(&antiphon_catalog::PartitionRow) -> Arc<LogConfig>,
    ) -> Result<(Arc<Self>, Recovered), OpenError> {
        let producers = load_producers(&*catalog).await?;
        let OpenLog { wal, survivors, report, source } = open_wal(&options, environment, snapshot)?;
        note_recovery(&report);
        let context = new_context(&options, environment, catalog, &store, wal);
        let mut restorer = Restorer {
            context,
            logs: HashMap::new(),
            batches: 0,
            orphans: 0,
            missing: VecDeque::new(),
            broken: None,
            gap: None,
        };
        restorer.restore_logs(snapshot, producers, config_of);
        restorer.replay_all(survivors)?;
        let recovered = Recovered {
            wal: report,
            batches: restorer.batches,
            deferred: restorer.missing.len() as u64,
            orphans: restorer.orphans,
        };
        let loader = restorer.start_loading(source, &options);
        let ids = Arc::new(ObjectIds::new(
            broker_id,
            snapshot.broker_epoch,
            Arc::clone(&environment.clock),
            Arc::clone(&environment.entropy),
        ));
        let compactor =
            compaction::compactor(&restorer.context, &store, environment, &ids, &options);
        let logs: Logs = Arc::new(RwLock::new(restorer.logs));
        let merger = Merger::new(
            Arc::clone(&restorer.context),
            store.clone(),
            Arc::clone(&ids),
            Arc::clone(&logs),
            options.on_fatal.clone(),
        );
        let sweeper = Sweeper::new(
            store.clone(),
            Arc::clone(&restorer.context.catalog),
            Arc::clone(&ids),
            Arc::clone(&environment.clock),
            options.sweep.clone(),
            options.on_fatal.clone(),
        );
        let storage = Self {
            context: restorer.context,
            store,
            broker_id,
            broker_epoch: snapshot.broker_epoch,
            logs,
            flush_turn: flush::FlushTurn::default(),
            compactor,
            ids,
            merger: Arc::new(merger),
            sweeper: Arc::new(sweeper),
            _loader: loader,
            stop: watch::Sender::new(false),
            tasks: Mutex::new(Vec::new()),
            options,
        };
        Ok((Arc::new(storage), recovered))
    }
}

/// The write-ahead log, open, and what it held.
struct OpenLog {
    wal: Arc<dyn Wal>,
    /// Everything that the catalog does not name as flushed, in order.
    survivors: Vec<Survivor>,
    report: RecoveryReport,
    /// What the deferred ones of `survivors` come from.
    source: Source,
}

/// What all partitions share.
fn new_context(
    options: &StorageOptions,
    environment: &Environment,
    catalog: Arc<dyn Catalog>,
    store: &Store,
    wal: Arc<dyn Wal>,
) -> Arc<LogContext> {
    let cold_options = ColdOptions {
        cache_bytes: options.cold_cache_bytes,
        hedge: options.hedge_reads,
        ..ColdOptions::default()
    };
    let appending = Arc::clone(&wal);
    let appended = move || appending.stats().appended_bytes;
    let traffic = Traffic::new(options.traffic.clone(), &cold_options, appended);
    Arc::new(LogContext {
        wal,
        catalog,
        cold: Arc::new(ColdReader::sharing(store.clone(), cold_options, Arc::clone(&traffic))),
        traffic,
        segments: SegmentPages::default(),
        budget: Arc::new(TailBudget::new(options.tail_bytes_max)),
        queue: TailQueue::new(options.flush_threshold()),
        loading: TailLoading::default(),
        merges: MergeQueue::new(options.merge.clone()),
        clock: Arc::clone(&environment.clock),
        history: tokio::runtime::Handle::current(),
    })
}

fn open_wal(
    options: &StorageOptions,
    environment: &Environment,
    snapshot: &Snapshot,
) -> Result<OpenLog, OpenError> {
    let flushed = snapshot.flushed_lsn;
    if let Some(opener) = &options.wal_opener {
        return Ok(open_simulated(opener.open(flushed.next())?, flushed));
    }
    let on_fatal = options.on_fatal.clone();
    let wal_options = FileWalOptions {
        capacity_bytes: ByteCount(options.wal_bytes_max),
        // The budget of the tail makes producers wait long before this refuses anything.
        backlog_bytes: ByteCount(2 * options.tail_bytes_max),
        first_lsn_if_empty: flushed.next(),
        expected_start: flushed.next(),
        summary_prefix_bytes: Some(frame::SUMMARY_PREFIX_BYTES),
        on_fatal: Some(Box::new(move |fault| on_fatal(&format!("{fault}")))),
        ..FileWalOptions::new(
            &options.wal_dir,
            antiphon_catalog::wal_epoch(snapshot.broker_epoch),
            environment.clone(),
        )
    };
    let mut survivors = Vec::new();
    let (wal, report, backlog) =
        FileWal::open_deferring(wal_options, &mut |survivor| survivors.push(survivor))?;
    wal.trim(flushed);
    Ok(OpenLog { wal: Arc::new(wal), survivors, report, source: Source::File(backlog) })
}

/// Where the time of a start goes, for whoever wonders.
fn note_recovery(report: &RecoveryReport) {
    info!(
        ending = ?report.ending,
        frames = report.frames,
        segments_read = report.segments_read,
        segments_deferred = report.segments_deferred,
        ms = report.elapsed.as_millis() as u64,
        "log recovered"
    );
}

/// A log that is not made of files holds all its frames, and is said to hold some of them only later.
fn open_simulated(opened: OpenedWal, flushed: Lsn) -> OpenLog {
    opened.wal.trim(flushed);
    let frames = opened.frames.into_iter().filter(|frame| frame.lsn > flushed);
    let (mut survivors, mut later) = (Vec::new(), VecDeque::new());
    for (index, frame) in frames.enumerate() {
        if index >= opened.deferred {
            survivors.push(Survivor::Frame(frame));
            continue;
        }
        let Replayed { lsn, epoch, payload } = &frame;
        survivors.push(Survivor::Deferred(DeferredFrame {
            lsn: *lsn,
            epoch: *epoch,
            payload_bytes: payload.len(),
            prefix: payload.slice(..payload.len().min(frame::SUMMARY_PREFIX_BYTES)),
        }));
        later.push_back(frame);
    }
    let source = Source::Simulated(later);
    OpenLog { wal: opened.wal, survivors, report: opened.report, source }
}

type Producers = HashMap<PartitionId, (ProducerStates, ProducerStates)>;

/// Producer states as of each partition's `flushed_end`, twice: one copy follows the tail, the
/// other the flushes.
async fn load_producers(catalog: &dyn Catalog) -> Result<Producers, OpenError> {
    let mut producers = Producers::new();
    for row in catalog.all_producers().await? {
        let entry = ProducerEntry::decode(&row.state).map_err(|source| OpenError::Producer {
            partition: row.partition_id,
            producer_id: row.producer_id,
            source,
        })?;
        let (live, flushed) = producers.entry(row.partition_id).or_insert_with(no_producers);
        live.restore(entry.clone());
        flushed.restore(entry);
    }
    Ok(producers)
}

fn no_producers() -> (ProducerStates, ProducerStates) {
    let limits = ProducerStateLimits::default();
    (ProducerStates::new(limits), ProducerStates::new(limits))
}

impl Restorer {
    /// Whether everything that was acknowledged was found.
    fn check(&self) -> Result<(), OpenError> {
        match (self.broken, self.gap) {
            (Some(lsn), _) => Err(OpenError::Frame { lsn }),
            (None, Some((partition, offset))) => Err(OpenError::Gap { partition, offset }),
            (None, None) => Ok(()),
        }
    }

    fn restore_logs(
        &mut self,
        snapshot: &Snapshot,
        mut producers: Producers,
        config_of: impl Fn(&antiphon_catalog::PartitionRow) -> Arc<LogConfig>,
    ) {
        let now = self.context.clock.now();
        for row in &snapshot.partitions {
            self.context.merges.restore(row, now);
            let (live, flushed) = producers.remove(&row.partition_id).unwrap_or_else(no_producers);
            let restored = Restored {
                row: row.clone(),
                leader_epoch: antiphon_catalog::effective_leader_epoch(
                    row.leader_epoch,
                    snapshot.broker_epoch,
                ),
                producers: live,
                flushed_producers: flushed,
                config: config_of(row),
            };
            let log = PartitionLog::restore(Arc::clone(&self.context), restored);
            self.logs.insert(row.partition_id, log);
        }
    }

    fn replay_all(&mut self, survivors: Vec<Survivor>) -> Result<(), OpenError> {
        survivors.into_iter().for_each(|survivor| self.replay(survivor));
        self.check()?;
        self.logs.values().for_each(|log| log.begin_epoch());
        Ok(())
    }

    fn start_loading(&mut self, source: Source, options: &StorageOptions) -> Option<LoaderTask> {
        let loader = Loader {
            context: Arc::clone(&self.context),
            source,
            missing: std::mem::take(&mut self.missing),
            on_fatal: options.on_fatal.clone(),
        };
        loader.start()
    }

    fn replay(&mut self, survivor: Survivor) {
        match survivor {
            Survivor::Frame(Replayed { lsn, payload, .. }) => {
                let bytes = TailBytes::in_memory(frame::batch_of(&payload));
                self.replay_frame(lsn, &payload, bytes);
            }
            Survivor::Deferred(DeferredFrame { lsn, payload_bytes, prefix, .. }) => {
                let length = payload_bytes.saturating_sub(frame::HEADER_LENGTH);
                let missing = MissingBytes::default();
                let bytes = TailBytes::in_log(length, Arc::clone(&missing));
                if self.replay_frame(lsn, &prefix, bytes) {
                    let cost = TailQueue::cost_of(length);
                    self.missing.push_back(Missing { lsn, bytes: missing, cost });
                }
            }
        }
    }

    /// Puts a batch, of whose frame at least the beginning is here, back into its tail. Says whether it
    /// is there now.
    fn replay_frame(&mut self, lsn: Lsn, beginning: &[u8], bytes: TailBytes) -> bool {
        let batch = beginning.get(frame::HEADER_LENGTH..).unwrap_or_default();
        let (Some(partition), Ok(header)) =
            (frame::partition_of(beginning), BatchHeader::parse(batch))
        else {
            self.broken.get_or_insert(lsn);
            return false;
        };
        let Some(log) = self.logs.get(&partition) else {
            self.orphans += 1;
            return false;
        };
        self.batches += 1;
        let batch = TailBatch {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            record_count: header.record_count,
            leader_epoch: header.partition_leader_epoch,
            bytes,
            lsn,
        };
        match log.replay(&header, batch) {
            ReplayedBatch::Taken => true,
            ReplayedBatch::Known => false,
            ReplayedBatch::Gap => {
                self.gap.get_or_insert((partition, header.base_offset));
                false
            }
        }
    }
}

impl OpenError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Wal(source) => source.kind(),
            Self::Catalog(source) => source.kind(),
            Self::Producer { .. } | Self::Frame { .. } | Self::Gap { .. } => ErrorKind::Corrupt,
        }
    }
}
