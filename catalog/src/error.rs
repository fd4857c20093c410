//! What can go wrong, and what the caller should do about it.

use std::time::Duration;

use antiphon_common::{BrokerEpoch, ErrorKind, ObjectId, Offset, PartitionId, TopicId};
use uuid::Uuid;

use crate::{RowError, RowKind};

/// The cause of an error, from the layer below. Its type is not part of this crate's interface.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the catalog failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The object store did not answer, or answered that it cannot now.
    #[error("the object store is not available for `{operation}`")]
    Unavailable {
        /// The call.
        operation: &'static str,
        /// What the store said.
        source: Cause,
    },
    /// The call took too long. It may still take effect.
    #[error("`{operation}` did not finish within {limit:?}")]
    TimedOut {
        /// The call.
        operation: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// Another process opened the catalog.
    #[error("another process owns the catalog now; `{operation}` was refused")]
    Fenced {
        /// The call.
        operation: &'static str,
    },
    /// An object was written under another epoch than the one that commits it.
    #[error("object {object_id} was written in epoch {found}, this process has epoch {current}")]
    StaleEpoch {
        /// The object.
        object_id: ObjectId,
        /// The epoch in its row.
        found: BrokerEpoch,
        /// The epoch of this process.
        current: BrokerEpoch,
    },
    /// The catalog was closed.
    #[error("the catalog is closed; `{operation}` was refused")]
    Closed {
        /// The call.
        operation: &'static str,
    },
    /// A stored row cannot be read.
    #[error("the {kind} row with key {key} cannot be read")]
    CorruptRow {
        /// What kind of row.
        kind: RowKind,
        /// Its key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        source: RowError,
    },
    /// A row that others refer to is not there, or says something that they contradict.
    #[error("the catalog contradicts itself: {detail}")]
    Inconsistent {
        /// What does not fit.
        detail: String,
    },
    /// The database below cannot be read.
    #[error("the catalog's database is damaged (during `{operation}`)")]
    CorruptStore {
        /// The call.
        operation: &'static str,
        /// What the database said.
        source: Cause,
    },
    /// There is no such topic.
    #[error("topic {topic_id} does not exist")]
    TopicNotFound {
        /// The topic.
        topic_id: TopicId,
    },
    /// There is no such partition.
    #[error("partition {partition_id} does not exist")]
    PartitionNotFound {
        /// The partition.
        partition_id: PartitionId,
    },
    /// A topic cannot get fewer partitions, nor as many as it has.
    #[error("topic {topic_id} has {current} partitions, {requested} were asked for")]
    PartitionCountNotLarger {
        /// The topic.
        topic_id: TopicId,
        /// What it has.
        current: u32,
        /// What was asked for.
        requested: u32,
    },
    /// Segments do not continue their partition.
    #[error("partition {partition_id} goes on at offset {expected}, the commit at {found}")]
    NotContiguous {
        /// The partition.
        partition_id: PartitionId,
        /// Where its next segment must begin.
        expected: Offset,
        /// Where the commit's begins, or would end.
        found: Offset,
    },
    /// A segment ends before it begins.
    #[error("a segment of partition {partition_id} reaches from {base_offset} to {last_offset}")]
    EmptySegment {
        /// The partition.
        partition_id: PartitionId,
        /// Its first offset.
        base_offset: Offset,
        /// Its last offset.
        last_offset: Offset,
    },
    /// A segment points into an object that the commit does not bring.
    #[error("partition {partition_id} has a segment in {object_id}, which is not in the commit")]
    ObjectNotInCommit {
        /// The partition.
        partition_id: PartitionId,
        /// The object.
        object_id: ObjectId,
    },
    /// Some objects of a commit are known and others are not: it is not a repetition.
    #[error("object {object_id} is in the catalog already, others of the same commit are not")]
    PartlyCommitted {
        /// A known object.
        object_id: ObjectId,
    },
    /// A segment that was to be merged is not there any more.
    #[error("partition {partition_id} has no such segment ending at {last_offset} any more")]
    MergeInputGone {
        /// The partition.
        partition_id: PartitionId,
        /// The segment's last offset.
        last_offset: Offset,
    },
    /// Every id of a kind was handed out.
    #[error("all {what} are used up")]
    IdsExhausted {
        /// Ids of what.
        what: &'static str,
    },
    /// A defect, here or in the database below.
    #[error("internal fault in `{operation}`")]
    Internal {
        /// The call.
        operation: &'static str,
        /// What is known about it.
        source: Cause,
    },
}

impl CatalogError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } => ErrorKind::Retry,
            Self::Fenced { .. } | Self::StaleEpoch { .. } => ErrorKind::Fenced,
            Self::Closed { .. } => ErrorKind::Closed,
            Self::CorruptRow { .. } | Self::Inconsistent { .. } | Self::CorruptStore { .. } => {
                ErrorKind::Corrupt
            }
            Self::TopicNotFound { .. }
            | Self::PartitionNotFound { .. }
            | Self::PartitionCountNotLarger { .. }
            | Self::NotContiguous { .. }
            | Self::EmptySegment { .. }
            | Self::ObjectNotInCommit { .. }
            | Self::PartlyCommitted { .. }
            | Self::MergeInputGone { .. }
            | Self::IdsExhausted { .. } => ErrorKind::Invalid,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// What the database below said, as an error of this crate.
    pub(crate) fn from_database(operation: &'static str, source: slatedb::Error) -> Self {
        use slatedb::{CloseReason, ErrorKind as Kind};
        match source.kind() {
            Kind::Closed(CloseReason::Fenced) => Self::Fenced { operation },
            Kind::Closed(CloseReason::Clean) => Self::Closed { operation },
            Kind::Unavailable | Kind::Transaction => {
                Self::Unavailable { operation, source: source.into() }
            }
            Kind::Data => Self::CorruptStore { operation, source: source.into() },
            // Both enums may grow; what this program does not know is a defect until it does.
            _ => Self::Internal { operation, source: source.into() },
        }
    }
}

/// Why the catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there, and creating was not asked for.
    #[error("there is no catalog at `{location}`")]
    NotFound {
        /// Where one was looked for.
        location: String,
    },
    /// A newer program wrote it. Nothing was changed.
    #[error("the catalog has format {found}, this program reads up to {supported}")]
    NewerFormat {
        /// The format it has.
        found: u32,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// Something else stands where the catalog's identity should be.
    #[error("the object `{location}` is not a catalog's identity")]
    NotACatalog {
        /// The object.
        location: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The last run did not stop cleanly, and what it had not flushed yet is in another local
    /// folder. Nothing was changed.
    #[error(
        "the last run left acknowledged records in the data folder {expected}, this is folder \
         {found}"
    )]
    OtherDataFolder {
        /// The folder of the last run.
        expected: Uuid,
        /// The folder that was given now.
        found: Uuid,
    },
    /// The object store did not answer, or answered that it cannot.
    #[error("the object store is not available")]
    Unavailable {
        /// What the store said.
        source: Cause,
    },
    /// Opening took too long.
    #[error("the catalog did not open within {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// The database opened, but its contents could not be loaded.
    #[error("the catalog could not be loaded")]
    Load(#[from] CatalogError),
}

impl OpenError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NewerFormat { .. } | Self::OtherDataFolder { .. } => {
                ErrorKind::Invalid
            }
            Self::NotACatalog { .. } => ErrorKind::Corrupt,
            Self::Unavailable { .. } | Self::TimedOut { .. } => ErrorKind::Retry,
            Self::Load(source) => source.kind(),
        }
    }
}
