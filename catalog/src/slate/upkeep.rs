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

use super::clock::DatabaseClock;
use super::collection::{Files, Schedule};
use super::settings;

/// The first look where earlier runs left tables, so that a broker that restarts often still gets
/// its files compacted and collected, but not while it starts.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(120);
/// Compact when so many tables wait; stop when fewer than SlateDB merges at once are left.
const TABLES_TO_START: usize = 4;
const TABLES_TO_STOP: usize = 4;
/// A compaction that takes longer is given up and tried again after the next table.
const COMPACTION_LIMIT: Duration = Duration::from_secs(600);

/// What upkeep works on.
pub(super) struct Upkeep {
    pub(super) db: Db,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) location: Path,
    pub(super) local: bool,
    pub(super) table_written: Arc<Notify>,
    /// Files carry times of the database's clock, and are judged by it.
    pub(super) clock: Arc<DatabaseClock>,
}

/// Why upkeep woke up.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    Closed,
    TableWritten,
    InTime,
}

impl Upkeep {
    /// Runs until the database is closed.
    pub(super) async fn run(self) {
        let started = tokio::time::Instant::now();
        let mut collection = Schedule::default();
        if self.has_tables() {
            collection.round_at(FIRST_LOOK_AFTER);
        }
        loop {
            match self.wait_for_work(collection.until_due(started.elapsed())).await {
                Woken::Closed => return,
                Woken::TableWritten => collection.garbage_made(started.elapsed()),
                Woken::InTime => {}
            }
            if self.tables_waiting() >= TABLES_TO_START {
                self.compact().await;
                collection.garbage_made(started.elapsed());
            }
            if let Some(files) = collection.take_due(started.elapsed()) {
                self.collect(files).await;
            }
        }
    }

    /// Waits for a table, at most for `pause`.
    async fn wait_for_work(&self, pause: Option<Duration>) -> Woken {
        let mut status = self.db.subscribe();
        tokio::select! {
            _ = status.wait_for(|status| status.close_reason.is_some()) => Woken::Closed,
            () = self.table_written.notified() => Woken::TableWritten,
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)) => Woken::InTime,
        }
    }

    /// Whether a table was ever written, and with it garbage made.
    fn has_tables(&self) -> bool {
        let manifest = self.db.manifest();
        !manifest.l0().is_empty() || !manifest.compacted().is_empty()
    }

    fn tables_waiting(&self) -> usize {
        self.db.manifest().l0().len()
    }

    /// Runs a compactor until few tables are left.
    async fn compact(&self) {
        let compactor = CompactorBuilder::new(self.location.clone(), Arc::clone(&self.store))
            .with_options(settings::compactor())
            .with_system_clock(Arc::clone(&self.clock) as _)
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

    async fn collect(&self, files: Files) {
        debug!(?files, "looking for garbage of the catalog");
        GarbageCollectorBuilder::new(self.location.clone(), Arc::clone(&self.store))
            .with_options(settings::collector(self.local, files))
            .with_system_clock(Arc::clone(&self.clock) as _)
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
        let clock = Arc::new(DatabaseClock::new(Arc::new(antiphon_common::SystemClock::default())));
        let upkeep = Upkeep { db: db.clone(), store, location, local: false, table_written, clock };
        assert_eq!(upkeep.tables_waiting(), TABLES_TO_START);
        upkeep.compact().await;
        assert!(upkeep.tables_waiting() < TABLES_TO_STOP);
        for files in [Files::Manifests, Files::Log, Files::Tables, Files::Compactions] {
            upkeep.collect(files).await;
        }
        for number in 0..TABLES_TO_START {
            assert!(db.get(number.to_be_bytes()).await.expect("get").is_some());
        }
        db.close().await.expect("close");
        assert_eq!(
            upkeep.wait_for_work(None).await,
            Woken::Closed,
            "upkeep ends with the database"
        );
    }
}
