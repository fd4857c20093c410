//! What can be wrong with the bytes of an object.

use std::sync::Arc;

use antiphon_common::{ErrorKind, ObjectId, PartitionId};

/// An object's footer or table does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeObjectError {
    /// A structure ends before its last field.
    #[error("{needed} bytes are needed, {found} are there")]
    Truncated {
        /// Bytes the structure takes.
        needed: u64,
        /// Bytes that were there.
        found: u64,
    },
    /// The last 64 bytes are not a footer of this format.
    #[error("the object does not end in an Antiphon footer (magic {found:#018x})")]
    Magic {
        /// What stood where the magic should.
        found: u64,
    },
    /// The object was written by a newer version of the program.
    #[error(
        "object format version {found} is newer than {}, the newest known",
        super::FORMAT_VERSION
    )]
    Version {
        /// The version in the footer.
        found: u16,
    },
    /// A checksum does not match the bytes it covers.
    #[error("the {structure} has CRC-32C {found:#010x} where {expected:#010x} is recorded")]
    Checksum {
        /// Which structure.
        structure: &'static str,
        /// The recorded checksum.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A recorded position or length does not fit the object.
    #[error("the {structure} at {position}+{length} does not fit in {limit} bytes")]
    OutOfBounds {
        /// Which structure.
        structure: &'static str,
        /// Its recorded position.
        position: u64,
        /// Its recorded length.
        length: u64,
        /// The end of the space it must lie in.
        limit: u64,
    },
    /// The fields of a section contradict each other.
    #[error("the section of partition {partition} contradicts itself: {reason}")]
    Inconsistent {
        /// The section's partition.
        partition: PartitionId,
        /// Which rule is broken.
        reason: &'static str,
    },
}

/// An object's table could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadLayoutError {
    /// The bucket did not give the bytes.
    #[error("reading the table of object {object}")]
    Store {
        /// The object.
        object: ObjectId,
        /// What the bucket said.
        source: Arc<object_store::Error>,
    },
    /// The bytes are not a table.
    #[error("object {object} has a damaged footer or table")]
    Corrupt {
        /// The object.
        object: ObjectId,
        /// What is wrong with it.
        source: DecodeObjectError,
    },
    /// The footer names another object: the file is in the wrong place.
    #[error("object {object} says of itself that it is object {found}")]
    WrongObject {
        /// The object that was asked for.
        object: ObjectId,
        /// The object that the footer names.
        found: ObjectId,
    },
}

impl LoadLayoutError {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { .. } => ErrorKind::Retry,
            Self::Corrupt { .. } | Self::WrongObject { .. } => ErrorKind::Corrupt,
        }
    }
}
