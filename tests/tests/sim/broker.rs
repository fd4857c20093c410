//! One process: storage and catalog opened over what the world holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{
    Catalog, Created, NewTopic, OpenOptions, PartitionRow, SlateCatalog, Snapshot,
};
use antiphon_common::{BrokerId, ByteCount, ErrorKind, WalEpoch};
use antiphon_storage::store::faults::Operation;
use antiphon_storage::store::{OBJECTS_PREFIX, Store};
use antiphon_storage::{
    Chain, CompactionConfig, FatalReport, LogConfig, MergeOptions, OpenError, OpenedWal,
    PartitionLog, Storage, StorageOptions, SweepOptions, WalOpener,
};
use antiphon_wal::Wal;
use antiphon_wal::simulated::{SimulatedDisk, SimulatedWal, SimulatedWalOptions};
use bytes::BytesMut;
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use parking_lot::Mutex;

use super::bucket::CarelessStore;
use super::groups::Groups;
use super::keyed::{Promises, promises_of};
use super::model::{Checked, Violation};
use super::world::{Mutation, PARTITIONS, World};

const BROKER: BrokerId = BrokerId(1);
const TOPIC: &str = "simulated";
/// How long a catalog call may take, and how long deleted objects are kept. Shorter than in
/// production, so that both happen within a run.
const CATALOG_LIMIT: Duration = Duration::from_secs(8);
pub(crate) const DELETION_GRACE: Duration = Duration::from_secs(60);
/// How old an object must be that the sweep takes for an orphan.
pub(crate) const ORPHAN_AGE: Duration = Duration::from_secs(90);
/// Expiry of partition 0 by size and of partition 1 by age.
const RETENTION_SIZE: ByteCount = ByteCount(24 << 10);
const RETENTION_TIME: Duration = Duration::from_secs(30);
/// So small that a run fills several segments, and an outage all of them.
const SEGMENT_BYTES: usize = 32 << 10;
const LOG_BYTES: usize = 14 * SEGMENT_BYTES;
/// Room for seven keys: any batch's, but not all that a partition has.
const MAP_BYTES: u64 = 8 * 24;

pub(crate) struct Broker {
    pub(crate) storage: Arc<Storage>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) wal: Arc<SimulatedWal>,
    /// Of the partitions that producers write to.
    pub(crate) logs: Vec<Arc<PartitionLog>>,
    pub(crate) groups: Groups,
}

impl Broker {
    /// Opens. `None` if that failed for a reason that passes.
    pub(crate) async fn open(world: &mut World) -> Checked<Option<Self>> {
        let store = faulty_store(world);
        let Some((catalog, snapshot)) = open_catalog(world, &store).await? else { return Ok(None) };
        let Some(rows) = partitions(&*catalog, &snapshot).await else { return Ok(None) };
        let opened_wal = Opened::default();
        world.openings += 1;
        let mutation = world.mutation;
        let options = storage_options(opener(world, Arc::clone(&opened_wal)));
        let opened = Storage::open(
            options,
            &world.environment,
            BROKER,
            Arc::clone(&catalog),
            &snapshot,
            store,
            |row| config_of(row, mutation),
        );
        let storage = match opened.await {
            Ok((storage, recovered)) => {
                world.history.note(format!("log {:?}", recovered.wal.ending));
                storage
            }
            Err(error) => return refused(world, &error),
        };
        world.before_rot = None;
        let Some(wal) = opened_wal.lock().take() else { return Ok(None) };
        if world.mutation == Some(Mutation::TrimsEarly) {
            let early = Arc::clone(&wal);
            world.plan.on_applied(Some(Arc::new(move |operation, path: &StorePath| {
                if operation == Operation::Put && path.as_ref().starts_with(OBJECTS_PREFIX) {
                    early.trim(early.durable());
                }
            })));
        }
        let logs = rows.into_iter().map(|row| {
            let config = config_of(&row, mutation);
            storage
                .partition(row.partition_id)
                .unwrap_or_else(|| storage.create_partition(row, config))
        });
        let mut logs: Vec<_> = logs.collect();
        let groups = logs.pop().expect("the last partition holds the groups' records");
        let forgets = world.mutation == Some(Mutation::ForgetsMembers);
        let groups = Groups::new(groups, world.environment.clone(), forgets);
        Ok(Some(Self { catalog, wal, logs, groups, storage }))
    }
}

fn faulty_store(world: &World) -> Store {
    let mut bucket = Arc::clone(&world.bucket);
    if world.mutation == Some(Mutation::IgnoresCreate) {
        bucket = Arc::new(CarelessStore(bucket));
    }
    let bucket: Arc<dyn ObjectStore> = world.plan.wrap(bucket);
    Store::in_memory().wrapped(move |_| Arc::clone(&bucket))
}

/// A log that rotted must be refused; then somebody brings the backup.
fn refused<T>(world: &mut World, error: &OpenError) -> Checked<Option<T>> {
    if error.kind() == ErrorKind::Corrupt
        && let Some(whole) = world.before_rot.take()
    {
        world.history.note("rot refused");
        world.disk = whole;
        return Ok(None);
    }
    passing("storage", error.kind(), error)
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
            partitions: PARTITIONS as u32 + 1,
            ..NewTopic::default()
        };
        let created = catalog.create_topics(vec![topic]).await.ok()?;
        let Some(Created::Created(topic)) = created.into_iter().next() else { return None };
        rows = topic.partitions;
    }
    rows.sort_by_key(|row| row.index);
    Some(rows)
}

fn config_of(row: &PartitionRow, mutation: Option<Mutation>) -> Arc<LogConfig> {
    let index = row.index.0 as usize;
    let (retention_time, retention_size) = match index {
        0 => (None, Some(RETENTION_SIZE)),
        1 | 5 => (Some(RETENTION_TIME), None),
        _ => (None, None),
    };
    let deletes = expires(index);
    let compaction = promises_of(index).map(|promises| compaction_of(promises, mutation));
    let config =
        LogConfig { retention_time, retention_size, deletes, compaction, ..LogConfig::default() };
    Arc::new(config)
}

/// Whether a partition loses records to time or size.
pub(crate) fn expires(index: usize) -> bool {
    matches!(index, 0 | 1 | 5)
}

/// Everything that may be compacted is, as soon as somebody looks.
fn compaction_of(promises: Promises, mutation: Option<Mutation>) -> CompactionConfig {
    let kept = |defect, promised| if mutation == Some(defect) { Duration::ZERO } else { promised };
    CompactionConfig {
        lag_min: kept(Mutation::CompactsYoung, promises.lag_min),
        lag_max: None,
        dirty_ratio_min: if mutation == Some(Mutation::NeverCompacts) { 1.0 } else { 0.0 },
        delete_retention: kept(Mutation::ForgetsTombstones, promises.delete_retention),
        active_age_max: Duration::ZERO,
    }
}

type Opened = Arc<Mutex<Option<Arc<SimulatedWal>>>>;

/// Opens the log over the world's disk, as often as it is asked.
fn opener(world: &World, opened: Opened) -> WalOpener {
    let (disk, scratch) = (world.disk.clone(), world.scratch.path().to_owned());
    let (epoch, salt) = (WalEpoch(world.openings), world.environment.entropy.u64() as u32);
    let syncs = world.mutation != Some(Mutation::AcksBeforeDurable);
    let mangles = world.mutation == Some(Mutation::SkipsLogCrc);
    WalOpener(Arc::new(move |expected_start| {
        let options = SimulatedWalOptions {
            epoch,
            expected_start,
            segment_bytes: SEGMENT_BYTES,
            capacity_bytes: LOG_BYTES,
            salt,
            syncs,
            scratch: scratch.clone(),
        };
        let (wal, mut frames, report) = SimulatedWal::open(SimulatedDisk::clone(&disk), options)?;
        if let Some(frame) = frames.last_mut().filter(|_| mangles) {
            let mut mangled = BytesMut::from(&frame.payload[..]);
            flip_bit(&mut mangled, u64::from(salt));
            frame.payload = mangled.freeze();
        }
        *opened.lock() = Some(Arc::clone(&wal));
        // Any number of them: a start may know of frames long before it has read them.
        let deferred = salt as usize % (frames.len() + 1);
        Ok(OpenedWal { wal, frames, deferred, report })
    }))
}

/// Turns over one bit of `bytes`, which one `bit` says.
pub(crate) fn flip_bit(bytes: &mut [u8], bit: u64) {
    let position = (bit / 8) as usize % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(position) {
        *byte ^= 1 << (bit % 8);
    }
}

/// Budgets so small that a run of a few hundred batches goes through all of them.
fn storage_options(opener: WalOpener) -> StorageOptions {
    StorageOptions {
        wal_opener: Some(opener),
        tail_bytes_max: 48 << 10,
        tail_cache_bytes_max: 24 << 10,
        flush_bytes_max: 24 << 10,
        own_object_bytes_min: 8 << 10,
        cold_cache_bytes: 64 << 10,
        compaction_map_bytes: MAP_BYTES,
        compaction_object_bytes: 8 << 10,
        merge: MergeOptions {
            segments_min: 3,
            segments_max: 8,
            bytes_small: 4 << 10,
            bytes_full: 48 << 10,
            bytes_max: 96 << 10,
            age: Duration::from_secs(10),
            first_look_after: Duration::ZERO,
            ..MergeOptions::default()
        },
        sweep: SweepOptions { age_min: ORPHAN_AGE, ..SweepOptions::default() },
        on_fatal: FatalReport(Arc::new(|_| {})),
        ..StorageOptions::new(Path::new("nowhere"))
    }
}
