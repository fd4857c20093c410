//! How the database below is set up.
//!
//! SlateDB's defaults are made for a busy database: they poll the object store several times a
//! second and keep 640 MiB of cache. This one is small and mostly idle, and requests cost money.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Settings;
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions,
};
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};

use super::collection::{COLLECTION_AGE_MIN, Files};

const BLOCK_CACHE_BYTES: u64 = 16 << 20;
const META_CACHE_BYTES: u64 = 8 << 20;
/// Rows in memory before they are written as a table.
const TABLE_BYTES: usize = 4 << 20;
/// Writers wait when this much is not yet uploaded.
const UNFLUSHED_BYTES_MAX: usize = 64 << 20;
/// How often the database looks whether somebody else changed its manifest: two requests each time,
/// 24 an hour, the only ones of an idle catalog. Being fenced shows at the next write, and the compactor's work
/// is announced, so this is for long idle times only.
const MANIFEST_POLL: Duration = Duration::from_secs(300);
/// Tables that may wait for the compactor before writers do.
pub(super) const TABLES_WAITING_MAX: usize = 64;
/// How often a running compactor looks for the next thing to do. It runs only while there is
/// something.
pub(super) const COMPACTOR_POLL: Duration = Duration::from_secs(1);

/// Settings of the database itself. Its compactor and collector are started when there is work; see
/// [`super::upkeep`].
pub(super) fn database() -> Settings {
    Settings {
        // Changes are uploaded by whoever waits for them, never by a timer.
        flush_interval: None,
        manifest_poll_interval: MANIFEST_POLL,
        l0_sst_size_bytes: TABLE_BYTES,
        max_unflushed_bytes: UNFLUSHED_BYTES_MAX,
        l0_max_ssts: TABLES_WAITING_MAX,
        l0_max_ssts_per_key: TABLES_WAITING_MAX,
        l0_flush_parallelism: 1,
        compactor_options: None,
        garbage_collector_options: None,
        ..Settings::default()
    }
}

pub(super) fn compactor() -> CompactorOptions {
    CompactorOptions {
        poll_interval: COMPACTOR_POLL,
        commit_compacted_interval: COMPACTOR_POLL,
        max_concurrent_compactions: 1,
        worker: Some(CompactionWorkerOptions {
            compactions_poll_interval: COMPACTOR_POLL,
            max_concurrent_compactions: 1,
            max_subcompactions: 1,
            max_sst_size: 16 << 20,
            max_fetch_tasks: 1,
            bytes_to_fetch: 1 << 20,
            ..CompactionWorkerOptions::default()
        }),
        ..CompactorOptions::default()
    }
}

/// Looks through one kind of files. Fences are kept for ever: a writer that stalled for longer than any
/// age could otherwise write under a number whose fence is gone, and believe it.
pub(super) fn collector(local: bool, files: Files) -> GarbageCollectorOptions {
    let looked_at = |kind| {
        (files == kind).then_some(GarbageCollectorDirectoryOptions {
            interval: None,
            min_age: COLLECTION_AGE_MIN,
            dry_run: false,
        })
    };
    GarbageCollectorOptions {
        manifest_options: looked_at(Files::Manifests),
        wal_options: looked_at(Files::Log),
        wal_fence_options: None,
        compacted_options: looked_at(Files::Tables),
        compactions_options: looked_at(Files::Compactions),
        detach_options: None,
        // Local file systems have no conditional overwrite, without which the collector would stop
        // collecting after its first pass.
        boundary_files_enabled: !local,
        ..GarbageCollectorOptions::default()
    }
}

pub(super) fn cache() -> Arc<dyn DbCache> {
    let part = |max_capacity| -> Option<Arc<dyn DbCache>> {
        let options = MokaCacheOptions { max_capacity, ..MokaCacheOptions::default() };
        Some(Arc::new(MokaCache::new_with_opts(options)))
    };
    let split = SplitCache::new().with_block_cache(part(BLOCK_CACHE_BYTES));
    Arc::new(split.with_meta_cache(part(META_CACHE_BYTES)).build())
}
