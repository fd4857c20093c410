//! How to open a catalog.

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{BrokerId, Environment};
use object_store::ObjectStore;
use object_store::path::Path;
use uuid::Uuid;

/// How long an object outlives its last segment row: longer than any fetch that may have planned
/// its reads before.
const DELETION_GRACE: Duration = Duration::from_secs(600);
/// How long one call may take. The database below retries without end, because its log writer
/// cannot be revived after it gave up; it is the caller who must not wait without end.
const OPERATION_LIMIT: Duration = Duration::from_secs(30);

/// How to open a catalog for writing.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The bucket. On local files it must sync (`LocalFileSystem::with_fsync(true)`).
    pub store: Arc<dyn ObjectStore>,
    /// The catalog's place in it.
    pub prefix: Path,
    /// Whether `store` is a local file system, which cannot overwrite conditionally.
    pub local: bool,
    /// The broker that opens.
    pub broker_id: BrokerId,
    /// Identity of the local folder with the broker's write-ahead log.
    pub data_dir_id: Uuid,
    /// Open although the last run's unflushed records are in another folder: they are given up.
    pub give_up_other_data_dir: bool,
    /// Look at the rows of data folders by reading, before opening fences whoever has the catalog
    /// open: a start that is refused then ends nobody. Reads the database's log twice, so it is for
    /// folders that can hardly be the last run's, such as new ones.
    pub look_first: bool,
    /// Create the catalog if there is none.
    pub create_if_missing: bool,
    /// Time and randomness.
    pub environment: Environment,
    /// How long an object outlives its last segment row.
    pub deletion_grace: Duration,
    /// How long one call, or opening, may take.
    pub operation_limit: Duration,
}

impl OpenOptions {
    /// The usual: create if missing, insist on the data folder, ten minutes of grace, calls of up
    /// to thirty seconds, a store that is not local.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        prefix: impl Into<Path>,
        broker_id: BrokerId,
        data_dir_id: Uuid,
        environment: Environment,
    ) -> Self {
        Self {
            store,
            prefix: prefix.into(),
            local: false,
            broker_id,
            data_dir_id,
            give_up_other_data_dir: false,
            look_first: false,
            create_if_missing: true,
            environment,
            deletion_grace: DELETION_GRACE,
            operation_limit: OPERATION_LIMIT,
        }
    }

    pub(crate) fn cluster_location(&self) -> Path {
        cluster_location(&self.prefix)
    }

    pub(crate) fn database_location(&self) -> Path {
        database_location(&self.prefix)
    }
}

/// Where the cluster row is.
pub(crate) fn cluster_location(prefix: &Path) -> Path {
    prefix.clone().join("cluster")
}

/// Where the database is.
pub(crate) fn database_location(prefix: &Path) -> Path {
    prefix.clone().join("db")
}
