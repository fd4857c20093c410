//! Finding out at start, in one bounded call, whether a store can be used.
//!
//! The probe writes one tiny object (`probe`, the same for all brokers), tries to create it a
//! second time and reads it back. That proves in three requests: the server answers, the bucket
//! exists, the credentials may write and read, and create-if-absent, on which all fencing rests, is
//! honoured.

use std::error::Error;
use std::io;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::error::ProbeError;
use super::open::Store;

const PROBE_KEY: &str = "probe";
const PROBE_BYTES: &[u8] = b"antiphon";

/// Bounds the whole probe, retries included.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

impl Store {
    /// Whether this store can be reached, written, read, and relied on for create-if-absent.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        match tokio::time::timeout(PROBE_TIMEOUT, self.probe_unbounded()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ProbeError::TimedOut {
                url: self.url().to_string(),
                endpoint: self.endpoint().to_owned(),
                seconds: PROBE_TIMEOUT.as_secs(),
            }),
        }
    }

    async fn probe_unbounded(&self) -> Result<(), ProbeError> {
        let (path, payload) = (Path::from(PROBE_KEY), PutPayload::from_static(PROBE_BYTES));
        let put = self.objects.put(&path, payload.clone()).await;
        put.map_err(|error| self.explain("writing", error))?;

        let create = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&path, payload, create).await {
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.explain("writing", error)),
            Ok(_) => return Err(self.create_ignored()),
        }
        match self.history.get_range(&path, 0..PROBE_BYTES.len() as u64).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain("reading", error)),
        }
    }

    fn create_ignored(&self) -> ProbeError {
        ProbeError::CreateIgnored {
            url: self.url().to_string(),
            endpoint: self.endpoint().to_owned(),
        }
    }

    fn explain(&self, operation: &'static str, error: object_store::Error) -> ProbeError {
        let (url, endpoint) = (self.url().to_string(), self.endpoint().to_owned());
        match error {
            object_store::Error::NotFound { .. } => ProbeError::NoSuchBucket { url, endpoint },
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                ProbeError::AccessDenied { url, endpoint, operation }
            }
            other if is_connection_error(&other) => {
                ProbeError::Unreachable { url, endpoint, reason: innermost(&other) }
            }
            other => ProbeError::Other { url, operation, reason: innermost(&other) },
        }
    }
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
}

/// Whether an HTTP client failed before it had an answer. A local store's I/O errors do not pass
/// through an HTTP client and are not this.
fn is_connection_error(error: &object_store::Error) -> bool {
    use object_store::client::{HttpError, HttpErrorKind};
    causes(error).filter_map(|cause| cause.downcast_ref::<HttpError>()).any(|http| {
        matches!(
            http.kind(),
            HttpErrorKind::Connect
                | HttpErrorKind::Request
                | HttpErrorKind::Timeout
                | HttpErrorKind::Interrupted
        )
    })
}

/// The innermost cause as one line: the system's own words, where it said something.
fn innermost(error: &object_store::Error) -> String {
    let system = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
    let text = match system {
        Some(error) => error.to_string(),
        None => causes(error).last().map(ToString::to_string).unwrap_or_default(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
