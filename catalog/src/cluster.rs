//! Reading and creating the cluster object, which stands beside the database.

use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use crate::rows::ClusterRowError;
use crate::{CLUSTER_FORMAT_VERSION, ClusterRow, OpenError};

/// The cluster row, or `None` when there is no catalog.
pub(crate) async fn read(
    store: &dyn ObjectStore,
    location: &Path,
) -> Result<Option<ClusterRow>, OpenError> {
    let bytes = match store.get(location).await {
        Ok(found) => found.bytes().await.map_err(unavailable)?,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(unavailable(error)),
    };
    ClusterRow::decode(&bytes).map(Some).map_err(|source| refused(location, source))
}

/// Creates the cluster row, or returns the one that somebody else created meanwhile. An error of the
/// create may hide a success, so it too is answered by looking.
pub(crate) async fn create(
    store: &dyn ObjectStore,
    location: &Path,
    row: ClusterRow,
) -> Result<ClusterRow, OpenError> {
    let payload = PutPayload::from(row.encode());
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let Err(error) = store.put_opts(location, payload, options).await else {
        return Ok(row);
    };
    match read(store, location).await? {
        Some(winner) => Ok(winner),
        None => Err(unavailable(error)),
    }
}

fn unavailable(source: StoreError) -> OpenError {
    OpenError::Unavailable { source: source.into() }
}

fn refused(location: &Path, source: ClusterRowError) -> OpenError {
    match source {
        ClusterRowError::NewerFormat { found } => {
            OpenError::NewerFormat { found, supported: CLUSTER_FORMAT_VERSION }
        }
        source => OpenError::NotACatalog { location: location.to_string(), source: source.into() },
    }
}
