//! Why a merge came to nothing.

use antiphon_catalog::CatalogError;
use antiphon_common::{ErrorKind, Offset};

use crate::cold::ColdReadError;
use crate::object::BuildObjectError;
use crate::store::PutObjectError;

/// Why a merge came to nothing. History is as it was before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// The catalog did not say what there is.
    #[error("the segments to merge could not be listed")]
    List(#[source] CatalogError),
    /// A segment could not be read.
    #[error("a segment could not be read")]
    Read(#[from] ColdReadError),
    /// The batches that were read do not make an object.
    #[error("the merged object could not be built")]
    Build(#[from] BuildObjectError),
    /// What was read is not what the rows say.
    #[error(
        "segments of {expected_records} records in {expected_bytes} bytes up to offset {expected_last} \
         hold {records} records in {bytes} bytes up to offset {last}"
    )]
    Differs {
        /// Records by the rows.
        expected_records: u64,
        /// Bytes by the rows.
        expected_bytes: u64,
        /// The last offset by the rows.
        expected_last: Offset,
        /// Records that were read.
        records: u64,
        /// Bytes that were read.
        bytes: u64,
        /// The last offset that was read.
        last: Offset,
    },
    /// The merged object could not be put.
    #[error("the merged object could not be put")]
    Put(#[from] PutObjectError),
    /// The catalog did not commit.
    #[error("the merge was not committed")]
    Commit(#[source] CatalogError),
    /// The broker stops.
    #[error("the broker stops")]
    Stopped,
}

impl MergeError {
    /// What the caller should do.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::List(source) | Self::Commit(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::Build(source) => source.kind(),
            Self::Differs { .. } => ErrorKind::Corrupt,
            Self::Put(source) => source.kind(),
            Self::Stopped => ErrorKind::Closed,
        }
    }
}
