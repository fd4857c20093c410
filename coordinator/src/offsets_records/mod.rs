//! The records of `__consumer_offsets`, byte for byte as Kafka writes them, so that its tools can
//! read ours and a coordinator can take over from one.
//!
//! The version at the front of a key tells what the record is: 0 and 1 an offset, 2 a group. Later
//! numbers belong to group types that this coordinator does not keep (KIP-848, KIP-932); they are
//! skipped.

mod group_metadata_key;
mod group_metadata_value;
mod offset_commit_key;
mod offset_commit_value;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use group_metadata_value::{GroupMetadataValue, MemberMetadata};
pub use offset_commit_key::OffsetCommitKey;

use bytes::Bytes;

use crate::names::GroupId;
use crate::replies::CommittedOffset;
use wire::Reader;

/// Why a record's bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    #[error("the record is truncated")]
    Truncated,
    /// A length is negative or absurd.
    #[error("a length is out of range")]
    Length,
    /// A field that must be there is null.
    #[error("a field is null that must not be")]
    Null,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// The value's version is newer than this code.
    #[error("value version {version} is unknown")]
    Version {
        /// The version found.
        version: i16,
    },
}

/// One record of `__consumer_offsets`. A value of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A committed offset.
    OffsetCommit {
        /// Whose and where.
        key: OffsetCommitKey,
        /// The position.
        value: Option<CommittedOffset>,
    },
    /// A group's last completed rebalance.
    GroupMetadata {
        /// The group.
        group_id: GroupId,
        /// Its state.
        value: Option<GroupMetadataValue>,
    },
}

/// A record's key and value as they stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Never empty.
    pub key: Bytes,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl GroupRecord {
    /// The bytes to append.
    pub fn encode(&self) -> EncodedRecord {
        match self {
            Self::OffsetCommit { key, value } => EncodedRecord {
                key: key.encode(),
                value: value.as_ref().map(offset_commit_value::encode),
            },
            Self::GroupMetadata { group_id, value } => EncodedRecord {
                key: group_metadata_key::encode(group_id),
                value: value.as_ref().map(group_metadata_value::encode),
            },
        }
    }

    /// Reads a record back; `None` for kinds of records that this coordinator does not keep.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key);
        let version = reader.i16()?;
        if offset_commit_key::VERSIONS.contains(&version) {
            let key = OffsetCommitKey::decode(&mut reader)?;
            let value = value.map(offset_commit_value::decode).transpose()?;
            return Ok(Some(Self::OffsetCommit { key, value }));
        }
        if version == group_metadata_key::VERSION {
            let group_id = group_metadata_key::decode(&mut reader)?;
            let value = value.map(group_metadata_value::decode).transpose()?;
            return Ok(Some(Self::GroupMetadata { group_id, value }));
        }
        Ok(None)
    }
}
