//! One process: storage and catalog opened over what the world holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{
    Catalog, Created, NewTopic, OpenOptions, PartitionRow, SlateCatalog, Snapshot,
};
use antiphon_common::{BrokerId, ByteCount, ErrorKind, Lsn};
use antiphon_storage::store::Store;
use antiphon_storage::{
    Chain, FatalReport, LogConfig, OpenedWal, PartitionLog, Storage, StorageOptions, WalOpener,
};
use antiphon_wal::{Ending, RecoveryReport, Replayed};
use object_store::ObjectStore;
use parking_lot::Mutex;

use super::bucket::FaultyStore;
use super::disk::SimWal;
use super::model::{Checked, Violation};
use super::world::{Mutation, PARTITIONS, World};

const BROKER: BrokerId = BrokerId(1);
const TOPIC: &str = "simulated";
/// How long a catalog call may take, and how long deleted objects are kept. Shorter than in
/// production, so that both happen within a run.
const CATALOG_LIMIT: Duration = Duration::from_secs(8);
const DELETION_GRACE: Duration = Duration::from_secs(60);
/// Expiry of partition 0 by size and of partition 1 by age.
const RETENTION_SIZE: ByteCount = ByteCount(24 << 10);
const RETENTION_TIME: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    pub(crate) storage: Arc<Storage>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) wal: Arc<SimWal>,
    pub(crate) logs: Vec<Arc<PartitionLog>>,
}

impl Broker {
    /// Opens. `None` if that failed for a reason that passes.
    pub(crate) async fn open(world: &mut World) -> Checked<Option<Self>> {
        let store = faulty_store(world);
        let Some((catalog, snapshot)) = open_catalog(world, &store).await? else { return Ok(None) };
        let Some(rows) = partitions(&*catalog, &snapshot).await else { return Ok(None) };
        let opened_wal = Opened::default();
        let options = storage_options(world.disk.clone(), Arc::clone(&opened_wal));
        let opened = Storage::open(
            options,
            &world.environment,
            BROKER,
            Arc::clone(&catalog),
            &snapshot,
            store,
            config_of,
        );
        let storage = match opened.await {
            Ok((storage, _)) => storage,
            Err(error) => return passing("storage", error.kind(), &error),
        };
        let Some(wal) = opened_wal.lock().take() else { return Ok(None) };
        if world.mutation == Some(Mutation::TrimsEarly) {
            world.weather.lock().trims_early = Some(Arc::clone(&wal));
        }
        let logs = rows.into_iter().map(|row| {
            let config = config_of(&row);
            storage
                .partition(row.partition_id)
                .unwrap_or_else(|| storage.create_partition(row, config))
        });
        let logs = logs.collect();
        Ok(Some(Self { catalog, wal, logs, storage }))
    }
}

fn faulty_store(world: &World) -> Store {
    let bucket =
        FaultyStore { inner: Arc::clone(&world.bucket), weather: Arc::clone(&world.weather) };
    let bucket: Arc<dyn ObjectStore> = Arc::new(bucket);
    Store::in_memory().wrapped(move |_| Arc::clone(&bucket))
}

async fn open_catalog(
    world: &World,
    store: &Store,
) -> Checked<Option<(Arc<dyn Catalog>, Snapshot)>> {
    let mut options = OpenOptions::new(
        Arc::clone(&store.objects),
        "catalog",
        BROKER,
        world.data_dir_id,
        world.environment.clone(),
    );
    (options.deletion_grace, options.operation_limit) = (DELETION_GRACE, CATALOG_LIMIT);
    match SlateCatalog::open(options).await {
        Ok((catalog, snapshot)) => Ok(Some((catalog, snapshot))),
        Err(error) => passing("catalog", error.kind(), &error),
    }
}

/// What a broker that did not open means: it will, later, or something is broken for good.
fn passing<T>(what: &str, kind: ErrorKind, error: &dyn std::error::Error) -> Checked<Option<T>> {
    match kind {
        ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Closed => Ok(None),
        _ => Err(Violation { rule: "not-opened", detail: format!("{what}: {}", Chain(error)) }),
    }
}

/// The partitions in order; created if this is the first process.
async fn partitions(catalog: &dyn Catalog, snapshot: &Snapshot) -> Option<Vec<PartitionRow>> {
    let mut rows = snapshot.partitions.clone();
    if rows.is_empty() {
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: PARTITIONS as u32,
            ..NewTopic::default()
        };
        let created = catalog.create_topics(vec![topic]).await.ok()?;
        let Some(Created::Created(topic)) = created.into_iter().next() else { return None };
        rows = topic.partitions;
    }
    rows.sort_by_key(|row| row.index);
    Some(rows)
}

fn config_of(row: &PartitionRow) -> Arc<LogConfig> {
    let (retention_time, retention_size) = match row.index.0 {
        0 => (None, Some(RETENTION_SIZE)),
        1 => (Some(RETENTION_TIME), None),
        _ => (None, None),
    };
    Arc::new(LogConfig { retention_time, retention_size, ..LogConfig::default() })
}

type Opened = Arc<Mutex<Option<Arc<SimWal>>>>;

/// Budgets so small that a run of a few hundred batches goes through all of them.
fn storage_options(disk: Vec<Replayed>, opened: Opened) -> StorageOptions {
    let opener = WalOpener(Arc::new(move |expected_start| {
        let frames = disk.clone();
        let report = report_of(&frames, expected_start);
        let wal = SimWal::open(frames.clone(), expected_start)
            .map_err(|found| antiphon_wal::OpenError::Gap { expected: expected_start, found })?;
        *opened.lock() = Some(Arc::clone(&wal));
        Ok(OpenedWal { wal, frames, report })
    }));
    StorageOptions {
        wal_opener: Some(opener),
        tail_bytes_max: 48 << 10,
        flush_bytes_max: 24 << 10,
        own_object_bytes_min: 8 << 10,
        cold_cache_bytes: 64 << 10,
        on_fatal: FatalReport(Arc::new(|_| {})),
        ..StorageOptions::new(Path::new("nowhere"))
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
        elapsed: Duration::ZERO,
    }
}
