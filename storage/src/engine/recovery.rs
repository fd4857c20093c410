//! Opening: the catalog's rows, then the write-ahead log's frames on top.

use std::collections::HashMap;
use std::sync::Arc;

use antiphon_catalog::{Catalog, CatalogError, Snapshot};
use antiphon_common::{BrokerId, ByteCount, Environment, ErrorKind, Lsn, Offset, PartitionId};
use antiphon_records::{BatchHeader, ProducerEntry, ProducerStateLimits, ProducerStates};
use antiphon_wal::{FileWal, FileWalOptions, RecoveryReport, Replayed, Wal};
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};

use super::queue::TailQueue;
use super::{ObjectIds, Storage, StorageOptions, compaction, flush, frame};
use crate::budget::TailBudget;
use crate::cold::{ColdOptions, ColdReader};
use crate::log::{LogConfig, LogContext, PartitionLog, Restored, SegmentPages, TailBatch};
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
    /// Batches whose topic no longer exists.
    pub orphans: u64,
}

/// Restores the logs that the catalog knows, with the producers of each.
struct Restorer {
    context: Arc<LogContext>,
    logs: HashMap<PartitionId, Arc<PartitionLog>>,
    batches: u64,
    orphans: u64,
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
        let (frames, wal, report) = open_wal(&options, environment, snapshot)?;
        let context = new_context(&options, environment, catalog, &store, wal);
        let mut restorer = Restorer {
            context,
            logs: HashMap::new(),
            batches: 0,
            orphans: 0,
            broken: None,
            gap: None,
        };
        restorer.restore_logs(snapshot, producers, config_of);
        for (lsn, payload) in frames {
            restorer.replay(lsn, payload);
        }
        restorer.check()?;
        restorer.logs.values().for_each(|log| log.begin_epoch());
        let recovered =
            Recovered { wal: report, batches: restorer.batches, orphans: restorer.orphans };
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
            stop: watch::Sender::new(false),
            tasks: Mutex::new(Vec::new()),
            options,
        };
        Ok((Arc::new(storage), recovered))
    }
}

type Frames = Vec<(Lsn, bytes::Bytes)>;

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
        merges: MergeQueue::new(options.merge.clone()),
        clock: Arc::clone(&environment.clock),
        history: tokio::runtime::Handle::current(),
    })
}

fn open_wal(
    options: &StorageOptions,
    environment: &Environment,
    snapshot: &Snapshot,
) -> Result<(Frames, Arc<dyn Wal>, RecoveryReport), OpenError> {
    let flushed = snapshot.flushed_lsn;
    let mut frames = Vec::new();
    let mut keep = |frame: Replayed| {
        if frame.lsn > flushed {
            frames.push((frame.lsn, frame.payload));
        }
    };
    if let Some(opener) = &options.wal_opener {
        let opened = opener.open(flushed.next())?;
        opened.frames.into_iter().for_each(keep);
        opened.wal.trim(flushed);
        return Ok((frames, opened.wal, opened.report));
    }
    let on_fatal = options.on_fatal.clone();
    let wal_options = FileWalOptions {
        capacity_bytes: ByteCount(options.wal_bytes_max),
        // The budget of the tail makes producers wait long before this refuses anything.
        backlog_bytes: ByteCount(2 * options.tail_bytes_max),
        first_lsn_if_empty: flushed.next(),
        expected_start: flushed.next(),
        on_fatal: Some(Box::new(move |fault| on_fatal(&format!("{fault}")))),
        ..FileWalOptions::new(
            &options.wal_dir,
            antiphon_catalog::wal_epoch(snapshot.broker_epoch),
            environment.clone(),
        )
    };
    let (wal, report) = FileWal::open(wal_options, &mut keep)?;
    wal.trim(flushed);
    Ok((frames, Arc::new(wal), report))
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

    fn replay(&mut self, lsn: Lsn, payload: bytes::Bytes) {
        let Some(partition) = frame::partition_of(&payload) else {
            self.broken.get_or_insert(lsn);
            return;
        };
        let bytes = frame::batch_of(&payload);
        let Ok(header) = BatchHeader::parse(&bytes) else {
            self.broken.get_or_insert(lsn);
            return;
        };
        let Some(log) = self.logs.get(&partition) else {
            self.orphans += 1;
            return;
        };
        self.batches += 1;
        let continues = log.replay(TailBatch {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            record_count: header.record_count,
            leader_epoch: header.partition_leader_epoch,
            bytes,
            lsn,
        });
        if !continues {
            self.gap.get_or_insert((partition, header.base_offset));
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
