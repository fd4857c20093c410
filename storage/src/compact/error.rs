//! Why a partition could not be compacted. Whatever was committed before stays; the rest is tried
//! again at the next pass.

use antiphon_catalog::CatalogError;
use antiphon_common::{ErrorKind, Offset, PartitionId};
use antiphon_records::{BatchesError, RetainError};

use crate::cold::ColdReadError;
use crate::log::ReadColdError;
use crate::object::BuildObjectError;
use crate::store::PutObjectError;

/// A stored batch that compaction cannot go over. It must not be stepped over either: what a tombstone
/// in it deletes would stay, and come back when the tombstone goes.
#[derive(Debug, thiserror::Error)]
pub enum UncleanableBatch {
    /// A block holds something else than batches.
    #[error(transparent)]
    Block(#[from] BatchesError),
    /// The records of a batch cannot be read.
    #[error("the batch at offset {offset}")]
    Records {
        /// Its base offset.
        offset: Offset,
        /// What is wrong with it.
        source: RetainError,
    },
    /// One batch alone has more keys than the map holds (Kafka gives up on it, too).
    #[error("the batch at offset {offset} has more keys than the map of keys holds")]
    TooManyKeys {
        /// Its base offset.
        offset: Offset,
    },
}

/// Why a partition could not be compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The segment rows could not be read.
    #[error(transparent)]
    Rows(#[from] ReadColdError),
    /// A segment could not be read.
    #[error("a segment of partition {partition} could not be read")]
    Read {
        /// The partition.
        partition: PartitionId,
        /// What the store said.
        source: ColdReadError,
    },
    /// A batch cannot be cleaned. The partition cannot be compacted until it is gone.
    #[error("partition {partition} holds a batch that cannot be compacted")]
    Batch {
        /// The partition.
        partition: PartitionId,
        /// What is wrong.
        source: UncleanableBatch,
    },
    /// What is left does not make an object.
    #[error("an object could not be built")]
    Build(#[from] BuildObjectError),
    /// An object could not be put.
    #[error("a cleaned object could not be put")]
    Put(#[from] PutObjectError),
    /// The catalog did not commit.
    #[error("cleaned segments were not committed")]
    Commit(#[from] CatalogError),
    /// The broker stops.
    #[error("the broker is stopping")]
    Stopping,
}

impl CompactError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rows(source) => source.kind(),
            Self::Read { source, .. } => source.kind(),
            Self::Batch { .. } => ErrorKind::Corrupt,
            Self::Build(source) => source.kind(),
            Self::Put(source) => source.kind(),
            Self::Commit(source) => source.kind(),
            Self::Stopping => ErrorKind::Closed,
        }
    }

    /// Whether retention or the deletion of the topic took the segments away meanwhile: nothing is
    /// wrong, and the next pass sees what is left.
    pub(crate) fn was_overtaken(&self) -> bool {
        matches!(
            self,
            Self::Commit(
                CatalogError::MergeInputGone { .. } | CatalogError::PartitionNotFound { .. }
            )
        )
    }
}
