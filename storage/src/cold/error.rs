//! Why history could not be read.

use std::sync::Arc;

use antiphon_common::{ErrorKind, ObjectId, PartitionId};

use crate::object::DecodeObjectError;

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// The bytes are not the ones that were written.
    #[error("CRC-32C {found:#010x} where the table records {expected:#010x}")]
    Checksum {
        /// The recorded checksum.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The object ends, or the answer ended, inside the block.
    #[error("{found} bytes where the table records {expected}")]
    Short {
        /// The recorded length.
        expected: u64,
        /// How many bytes there were.
        found: u64,
    },
    /// The bytes are the ones that were written, and are no sequence of record batches.
    #[error("no record batch at byte {at}")]
    Batch {
        /// Where in the block.
        at: usize,
    },
}

/// Why history could not be read. Clonable because one failed load fails all who wait for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ColdReadError {
    /// The store did not give the bytes.
    #[error("reading object {object} at byte {position}")]
    Store {
        /// The object.
        object: ObjectId,
        /// Where in the object.
        position: u64,
        /// What the store said.
        source: Arc<object_store::Error>,
    },
    /// The file of a local store could not be read.
    #[error("reading object {object} at byte {position}")]
    File {
        /// The object.
        object: ObjectId,
        /// Where in the object.
        position: u64,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The section's entry in the object's table is damaged.
    #[error("object {object}, index at byte {position}: {fault}")]
    Index {
        /// The object.
        object: ObjectId,
        /// Where the entry starts.
        position: u64,
        /// What is wrong with it.
        fault: DecodeObjectError,
    },
    /// The table has no section like the segment that the catalog names.
    #[error("object {object} has no section of partition {partition} at byte {position}")]
    NoSection {
        /// The object.
        object: ObjectId,
        /// The partition.
        partition: PartitionId,
        /// Where the section should be.
        position: u64,
    },
    /// A block is damaged.
    #[error("object {object}, block at byte {position}: {fault}")]
    Corrupt {
        /// The object.
        object: ObjectId,
        /// Where the block starts.
        position: u64,
        /// What is wrong with it.
        fault: BlockFault,
    },
    /// The task that was loading went away: the runtime is shutting down.
    #[error("the read was abandoned")]
    Abandoned,
}

impl ColdReadError {
    /// Whether the object does not exist: the plan that named it is older than its deletion.
    pub(crate) fn object_is_gone(&self) -> bool {
        match self {
            Self::Store { source, .. } => {
                matches!(**source, object_store::Error::NotFound { .. })
            }
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { .. } | Self::File { .. } => ErrorKind::Retry,
            Self::Index { .. } | Self::NoSection { .. } | Self::Corrupt { .. } => {
                ErrorKind::Corrupt
            }
            Self::Abandoned => ErrorKind::Closed,
        }
    }
}
