//! Compaction and collection of the database's files, when there is something to do.
//!
//! SlateDB can run both by itself, but then claims an epoch for the compactor while opening (three
//! more synced writes, half of the time that opening takes) and polls for ever after. Here a task
//! waits until tables were written, and an idle catalog makes no requests for upkeep at all.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::{CompactorBuilder, Db, GarbageCollectorBuilder};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::settings;

/// The first look, so that a broker that restarts often still gets its files compacted and
/// collected, but not while it starts.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(120);
/// Compact when so many tables wait; stop when fewer than SlateDB merges at once are left.
const TABLES_TO_START: usize = 8;
const TABLES_TO_STOP: usize = 4;
/// A compaction that takes longer is given up and tried again after the next table.
const COMPACTION_LIMIT: Duration = Duration::from_secs(600);
/// Collecting lists every file of the database.
const COLLECTION_INTERVAL: Duration = Duration::from_secs(3_600);

/// What upkeep works on.
pub(super) struct Upkeep {
    pub(super) db: Db,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) location: Path,
    pub(super) local: bool,
    pub(super) table_written: Arc<Notify>,
}

impl Upkeep {
    /// Runs until the database is closed.
    pub(super) async fn run(self) {
        let mut collected: Option<tokio::time::Instant> = None;
        let mut pause = FIRST_LOOK_AFTER;
        while self.wait_for_work(pause).await {
            pause = Duration::MAX;
            if self.tables_waiting() >= TABLES_TO_START {
                self.compact().await;
            }
            if collected.is_none_or(|time| time.elapsed() >= COLLECTION_INTERVAL) {
                self.collect().await;
                collected = Some(tokio::time::Instant::now());
            }
        }
    }

    /// Waits for a table, at most for `pause`. Returns false when the database was closed.
    async fn wait_for_work(&self, pause: Duration) -> bool {
        let mut status = self.db.subscribe();
        tokio::select! {
            _ = status.wait_for(|status| status.close_reason.is_some()) => false,
            () = self.table_written.notified() => true,
            () = tokio::time::sleep(pause) => true,
        }
    }

    fn tables_waiting(&self) -> usize {
        self.db.manifest().l0().len()
    }

    /// Runs a compactor until few tables are left.
    async fn compact(&self) {
        let compactor = CompactorBuilder::new(self.location.clone(), Arc::clone(&self.store))
            .with_options(settings::compactor())
            .build();
        let before = self.tables_waiting();
        let done = tokio::select! {
            stopped = compactor.run() => stopped.is_ok(),
            few = tokio::time::timeout(COMPACTION_LIMIT, self.few_tables_left()) => few.is_ok(),
        };
        if let Err(error) = compactor.stop().await {
            debug!(%error, "the catalog's compactor did not stop cleanly");
        }
        match done {
            true => debug!(before, after = self.tables_waiting(), "compacted the catalog"),
            false => {
                warn!(tables = before, "the catalog was not compacted; it will be tried again")
            }
        }
    }

    async fn few_tables_left(&self) {
        while self.tables_waiting() >= TABLES_TO_STOP {
            tokio::time::sleep(settings::COMPACTOR_POLL).await;
            if self.db.refresh_manifest().await.is_err() {
                break;
            }
        }
    }

    async fn collect(&self) {
        GarbageCollectorBuilder::new(self.location.clone(), Arc::clone(&self.store))
            .with_options(settings::collector(self.local))
            .build()
            .run_gc_once()
            .await;
    }
}

#[cfg(test)]
mod tests {
    use slatedb::config::{FlushOptions, FlushType};

    use super::*;

    /// Many small tables become few, and what they held stays.
    #[tokio::test]
    async fn tables_are_compacted_and_collected() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let location = Path::from("db");
        let db = Db::builder(location.clone(), Arc::clone(&store))
            .with_settings(settings::database())
            .build()
            .await
            .expect("open");
        for number in 0..TABLES_TO_START {
            db.put(number.to_be_bytes(), [1; 100]).await.expect("put");
            let table = FlushOptions { flush_type: FlushType::MemTable };
            db.flush_with_options(table).await.expect("table");
        }
        let table_written = Arc::new(Notify::new());
        let upkeep = Upkeep { db: db.clone(), store, location, local: false, table_written };
        assert_eq!(upkeep.tables_waiting(), TABLES_TO_START);
        upkeep.compact().await;
        assert!(upkeep.tables_waiting() < TABLES_TO_STOP);
        upkeep.collect().await;
        for number in 0..TABLES_TO_START {
            assert!(db.get(number.to_be_bytes()).await.expect("get").is_some());
        }
        db.close().await.expect("close");
        assert!(!upkeep.wait_for_work(Duration::MAX).await, "upkeep ends with the database");
    }
}
