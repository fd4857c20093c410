//! The conformance suite over every kind of store, and what only this implementation can show.

mod local_files {
    crate::catalog_conformance!(super::StoreFixture::local_files());
}

mod memory {
    crate::catalog_conformance!(super::StoreFixture::memory());
}

mod faults;
mod format;
mod idle;
mod inspection;

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Environment, ManualClock, Timestamp};
use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use uuid::Uuid;

use crate::conformance::{BROKER, Fixture};
use crate::{Catalog, OpenError, OpenOptions, SlateCatalog, Snapshot};

const PREFIX: &str = "somewhere/catalog";
const DATA_DIR: Uuid = Uuid::from_u128(1);

/// A catalog over some object store.
pub(crate) struct StoreFixture {
    store: Arc<dyn ObjectStore>,
    local: bool,
    clock: Arc<ManualClock>,
    seed: std::sync::atomic::AtomicU64,
    _folder: Option<tempfile::TempDir>,
}

impl StoreFixture {
    fn over(store: Arc<dyn ObjectStore>) -> Self {
        let clock = Arc::new(ManualClock::starting_at(Timestamp(1_000_000)));
        Self { store, local: false, clock, seed: 0.into(), _folder: None }
    }

    pub(crate) fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    pub(crate) fn local_files() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = LocalFileSystem::new_with_prefix(folder.path()).expect("a local store");
        let fixture = Self::over(Arc::new(store.with_fsync(true)));
        Self { local: true, _folder: Some(folder), ..fixture }
    }

    /// Options of the next process; each has randomness of its own.
    pub(crate) fn options(&self) -> OpenOptions {
        let seed = self.seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let environment = Environment::simulated(Arc::clone(&self.clock), seed);
        let store = Arc::clone(&self.store);
        OpenOptions {
            local: self.local,
            deletion_grace: Duration::from_secs(60),
            ..OpenOptions::new(store, PREFIX, BROKER, DATA_DIR, environment)
        }
    }

    pub(crate) async fn open_slate(&self) -> Result<(Arc<SlateCatalog>, Snapshot), OpenError> {
        SlateCatalog::open(self.options()).await
    }
}

#[async_trait]
impl Fixture for StoreFixture {
    async fn open(&self) -> Result<(Arc<dyn Catalog>, Snapshot), OpenError> {
        let (catalog, snapshot) = self.open_slate().await?;
        Ok((catalog, snapshot))
    }

    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }
}
