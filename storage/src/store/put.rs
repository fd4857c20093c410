//! Putting an object: create-if-absent, and knowing one's own work when it is already there.
//!
//! A create is not idempotent for the HTTP client: after a timeout it does not try again, and when
//! it tries again after a server error it may find the object that its first attempt did write. So
//! the answer "already exists" has three meanings, told apart by the footer that lies under the
//! key:
//!
//! | under the key | meaning | what happens |
//! |---|---|---|
//! | our very footer | an earlier attempt landed | done |
//! | nothing | S3's 409: two conditional writes met, neither landed | try again |
//! | another footer, or no object | ids are unique, so this cannot be | error, a person must look |
//!
//! Comparing the footer compares everything: it carries the id, the writer and the CRC of a table
//! that carries the CRC of every block.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::error::PutObjectError;
use super::file_put;
use super::key::object_path;
use super::open::Store;
use crate::object::{BuiltObject, FOOTER_BYTES, LoadLayoutError, footer_of_tail};

const ATTEMPTS_MAX: u32 = 5;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What lies under the key of an object that is being put.
enum Occupant {
    Nobody,
    Ourselves,
    Another,
}

impl Store {
    /// Puts `object` under its key. When this returns `Ok`, the object is durable and complete.
    ///
    /// Safe to call again with the same object after any error. Tries up to five times within the
    /// client's own limits, backing off from 100 ms to 2 s.
    pub async fn put_object(&self, object: &BuiltObject) -> Result<(), PutObjectError> {
        let path = object_path(object.identity.object);
        let mut backoff = BACKOFF_FIRST;
        let mut attempts = 1;
        loop {
            let error = match self.try_put(&path, object).await? {
                None => return Ok(()),
                Some(error) => error,
            };
            if attempts == ATTEMPTS_MAX || !may_pass(&error) {
                let object = object.identity.object;
                return Err(PutObjectError::Store { object, attempts, source: Arc::new(error) });
            }
            tracing::debug!(object = %object.identity.object, attempts, %error, "put again");
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            attempts += 1;
        }
    }

    /// One attempt. `Some` is an error that another attempt may not meet.
    async fn try_put(
        &self,
        path: &Path,
        object: &BuiltObject,
    ) -> Result<Option<object_store::Error>, PutObjectError> {
        let error = match self.create(path, object.payload.clone()).await {
            Ok(()) => return Ok(None),
            Err(error @ object_store::Error::AlreadyExists { .. }) => error,
            Err(error) => return Ok(Some(error)),
        };
        match self.occupant(path, object).await? {
            Occupant::Ourselves => Ok(None),
            Occupant::Nobody => Ok(Some(error)),
            Occupant::Another => Err(PutObjectError::Taken { object: object.identity.object }),
        }
    }

    async fn create(&self, path: &Path, payload: PutPayload) -> Result<(), object_store::Error> {
        let Some(files) = self.local_files() else {
            let create = PutOptions::from(PutMode::Create);
            return self.uploads.put_opts(path, payload, create).await.map(drop);
        };
        let file = files.path_to_filesystem(path)?;
        let put = tokio::task::spawn_blocking(move || file_put::put(&file, &payload));
        let done = put.await.unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
        done.map_err(|error| as_client_error(path, error))
    }

    /// Whether the object lies in the bucket as it was built.
    pub(super) async fn holds(&self, built: &BuiltObject) -> Result<bool, PutObjectError> {
        let path = object_path(built.identity.object);
        Ok(matches!(self.occupant(&path, built).await?, Occupant::Ourselves))
    }

    async fn occupant(&self, path: &Path, built: &BuiltObject) -> Result<Occupant, PutObjectError> {
        let object = built.identity.object;
        let failed =
            |source| PutObjectError::Store { object, attempts: 1, source: Arc::new(source) };
        let size = match self.uploads.head(path).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(Occupant::Nobody),
            Err(error) => return Err(failed(error)),
        };
        let tail_start = size.saturating_sub(FOOTER_BYTES as u64);
        let tail = self.uploads.get_range(path, tail_start..size).await.map_err(failed)?;
        let footer = footer_of_tail(&tail, size).map_err(|source| {
            let source = LoadLayoutError::Corrupt { object, source };
            PutObjectError::TakenByStranger { object, source }
        })?;
        match size == built.size && footer == built.footer {
            true => Ok(Occupant::Ourselves),
            false => Ok(Occupant::Another),
        }
    }
}

/// The error in the words that the client library has for it.
pub(super) fn as_client_error(path: &Path, error: std::io::Error) -> object_store::Error {
    let (path, source) = (path.to_string(), Box::new(error));
    match source.kind() {
        std::io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        std::io::ErrorKind::PermissionDenied => {
            object_store::Error::PermissionDenied { path, source }
        }
        _ => object_store::Error::Generic { store: "LocalFileSystem", source },
    }
}

/// Whether the same request may succeed later. What the bucket refuses on principle it will refuse
/// again.
fn may_pass(error: &object_store::Error) -> bool {
    use object_store::Error;
    !matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::InvalidPath { .. }
            | Error::NotFound { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}
