//! The service: compares what the bucket lists with what the catalog names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_catalog::{Catalog, CatalogError};
use antiphon_common::{Clock, ErrorKind, ObjectId, Timestamp};
use futures::StreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::leftovers::{self, Leftover};
use super::options::SweepOptions;
use super::stats::{Counters, SweepReport, SweepStats};
use crate::engine::{Chain, FatalReport, ObjectIds};
use crate::store::{OBJECTS_PREFIX, Store, object_id_of_path};

/// Listed objects that are looked up together.
const PAGE_OBJECTS: usize = 1_000;
/// No sweep has found the store in order yet.
const NEVER: u64 = u64::MAX;

/// Why a sweep broke off. What it deleted until then were orphans.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The bucket did not list its objects.
    #[error("the objects could not be listed")]
    List(#[source] object_store::Error),
    /// The catalog did not say what it names, or another process owns it now.
    #[error("the catalog could not be asked")]
    Catalog(#[from] CatalogError),
    /// The folder of a local store could not be read.
    #[error("the store's folder could not be read")]
    Folder(#[source] std::io::Error),
}

impl SweepError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::List(_) | Self::Folder(_) => ErrorKind::Retry,
            Self::Catalog(source) => source.kind(),
        }
    }
}

/// An object that no catalog names.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    object: ObjectId,
    bytes: u64,
}

/// Removes from the store what nobody needs and nobody would ever delete.
#[derive(Debug)]
pub(crate) struct Sweeper {
    store: Store,
    catalog: Arc<dyn Catalog>,
    ids: Arc<ObjectIds>,
    clock: Arc<dyn Clock>,
    options: SweepOptions,
    on_fatal: FatalReport,
    counters: Counters,
    /// How many names had been handed out before the last sweep that left nothing to another.
    in_order: AtomicU64,
}

impl Sweeper {
    pub(crate) fn new(
        store: Store,
        catalog: Arc<dyn Catalog>,
        ids: Arc<ObjectIds>,
        clock: Arc<dyn Clock>,
        options: SweepOptions,
        on_fatal: FatalReport,
    ) -> Self {
        let (counters, in_order) = (Counters::default(), AtomicU64::new(NEVER));
        Self { store, catalog, ids, clock, options, on_fatal, counters, in_order }
    }

    /// Figures for operators.
    pub(crate) fn stats(&self) -> SweepStats {
        self.counters.read()
    }

    /// Sweeps at every interval, until told to stop.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut pause = self.options.first_after;
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => break,
            }
            pause = self.options.interval;
            if self.is_in_order() {
                continue;
            }
            tokio::select! {
                swept = self.sweep() => self.report(swept),
                _ = stop.changed() => break,
            }
        }
    }

    /// Whether there can be no orphan: the last sweep saw everything and nothing was made since. So an
    /// idle broker does not list its bucket again and again. A local store costs nothing to list, and
    /// its leftovers have no names.
    fn is_in_order(&self) -> bool {
        !self.store.is_local() && self.in_order.load(Ordering::Relaxed) == self.ids.begun()
    }

    fn report(&self, swept: Result<SweepReport, SweepError>) {
        match swept {
            Ok(report) if report.orphans + report.leftovers > 0 => {
                let SweepReport { listed, orphans, orphan_bytes, leftovers, .. } = report;
                info!(listed, orphans, orphan_bytes, leftovers, "removed what crashes had left");
            }
            Ok(report) => debug!(listed = report.listed, "nothing to sweep"),
            Err(error) if error.kind() == ErrorKind::Fenced => {
                (self.on_fatal)("another broker owns this store");
            }
            Err(error) => {
                warn!(error = %Chain(&error), "the sweep will be tried again");
            }
        }
    }

    /// Goes through the whole bucket once.
    pub(crate) async fn sweep(&self) -> Result<SweepReport, SweepError> {
        let mut report = SweepReport::default();
        let begun = self.ids.begun();
        let swept = match self.sweep_objects(&mut report).await {
            Ok(()) => self.sweep_leftovers(&mut report).await,
            Err(error) => Err(error),
        };
        let complete = swept.is_ok() && report.young == 0 && report.failures == 0;
        self.in_order.store(if complete { begun } else { NEVER }, Ordering::Relaxed);
        match swept {
            Ok(()) => self.counters.swept(&report),
            Err(_) => self.counters.failed(),
        }
        swept.map(|()| report)
    }

    /// Listings come in any order, so every object is looked up by itself.
    async fn sweep_objects(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        let listing = self.store.objects.list(Some(&Path::from(OBJECTS_PREFIX)));
        let mut pages = listing.ready_chunks(PAGE_OBJECTS);
        while let Some(page) = pages.next().await {
            let page: Result<Vec<ObjectMeta>, _> = page.into_iter().collect();
            let page = page.map_err(SweepError::List)?;
            report.listed += page.len() as u64;
            let orphans = self.orphans_among(&page, report).await?;
            self.delete_orphans(&orphans, report).await?;
        }
        Ok(())
    }

    async fn orphans_among(
        &self,
        page: &[ObjectMeta],
        report: &mut SweepReport,
    ) -> Result<Vec<Orphan>, SweepError> {
        let before = self.old_before();
        let mut orphans = Vec::new();
        for listed in page {
            let Some(object) = object_id_of_path(&listed.location) else {
                report.strangers += 1;
                continue;
            };
            if !is_older(listed, object, before) {
                report.young += 1;
                continue;
            }
            if self.is_needed(object).await? {
                continue;
            }
            orphans.push(Orphan { object, bytes: listed.size });
        }
        Ok(orphans)
    }

    /// First whether it is being made, then whether it is named: in this order an object that is
    /// finished in between is found to be named.
    async fn is_needed(&self, object: ObjectId) -> Result<bool, SweepError> {
        let unfinished = self.ids.is_unfinished(object);
        let named = self.catalog.object(object).await?.is_some();
        if unfinished && named {
            self.ids.finish(object);
        }
        Ok(unfinished || named)
    }

    async fn delete_orphans(
        &self,
        orphans: &[Orphan],
        report: &mut SweepReport,
    ) -> Result<(), SweepError> {
        if orphans.is_empty() {
            return Ok(());
        }
        // After they were listed: an owner that came later has made none of them, and one that came
        // before is noticed here. Without this, a process that slept through a takeover would take
        // its successor's history for orphans.
        self.catalog.confirm_ownership().await?;
        for orphan in orphans {
            match self.store.delete_object(orphan.object).await {
                Ok(()) => {
                    debug!(object = %orphan.object, "deleted an orphan");
                    report.orphans += 1;
                    report.orphan_bytes += orphan.bytes;
                }
                Err(error) => {
                    warn!(object = %orphan.object, error = %Chain(&error), "delete failed");
                    report.failures += 1;
                }
            }
        }
        Ok(())
    }

    async fn sweep_leftovers(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        let Some(files) = self.store.local_files() else { return Ok(()) };
        for folder in &self.options.local_folders {
            // A name in the folder that does not exist gives the folder without asking for it.
            let path = files.path_to_filesystem(&Path::from(folder.as_str()));
            let path = path.map_err(SweepError::List)?;
            let before = self.old_before();
            let found = tokio::task::spawn_blocking(move || leftovers::find(&path, before)).await;
            let found = found.map_err(std::io::Error::other).and_then(|found| found);
            for leftover in found.map_err(SweepError::Folder)? {
                self.delete_leftover(leftover, report).await;
            }
        }
        Ok(())
    }

    async fn delete_leftover(&self, leftover: Leftover, report: &mut SweepReport) {
        if leftover.object.is_some_and(|object| self.ids.is_unfinished(object)) {
            return;
        }
        match tokio::fs::remove_file(&leftover.path).await {
            Ok(()) => report.leftovers += 1,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(path = %leftover.path.display(), %error, "a leftover could not be deleted");
                report.failures += 1;
            }
        }
    }

    fn old_before(&self) -> Timestamp {
        let age = i64::try_from(self.options.age_min.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().get().saturating_sub(age))
    }
}

/// Whether both the writer's clock, in the id, and the bucket's say so.
fn is_older(listed: &ObjectMeta, object: ObjectId, before: Timestamp) -> bool {
    let made = i64::try_from(ulid::Ulid(object.0).timestamp_ms()).unwrap_or(i64::MAX);
    made < before.get() && listed.last_modified.timestamp_millis() < before.get()
}
