//! Which offsets of a commit are stored, and as what.

use antiphon_common::Timestamp;

use super::store::OffsetChanges;
use crate::error::GroupError;
use crate::limits::{GroupOptions, NAME_BYTES_MAX};
use crate::replies::CommittedOffset;
use crate::requests::{OffsetCommit, OffsetToCommit};

/// A commit, checked partition by partition.
#[derive(Debug)]
pub(crate) struct CheckedCommit {
    /// What to store.
    pub(crate) changes: OffsetChanges,
    /// The reply once that is durable, in the order of the request.
    pub(crate) results: Vec<Result<(), GroupError>>,
}

/// Checks each partition for itself: one bad offset does not spoil the others.
pub(crate) fn check(
    request: OffsetCommit,
    wall: Timestamp,
    options: &GroupOptions,
) -> CheckedCommit {
    let expire_timestamp = expire_timestamp(request.retention_ms, wall);
    let mut commit = CheckedCommit { changes: Vec::new(), results: Vec::new() };
    for asked in request.offsets {
        let result = check_one(&asked, options);
        commit.results.push(result);
        if result.is_err() {
            continue;
        }
        let value = CommittedOffset {
            offset: asked.offset,
            leader_epoch: asked.leader_epoch,
            metadata: asked.metadata,
            commit_timestamp: wall,
            expire_timestamp,
        };
        commit.changes.push((asked.partition, Some(value)));
    }
    commit
}

fn check_one(asked: &OffsetToCommit, options: &GroupOptions) -> Result<(), GroupError> {
    let metadata_bytes_max = options.offset_metadata_bytes_max.min(NAME_BYTES_MAX);
    if asked.metadata.len() > metadata_bytes_max {
        return Err(GroupError::OffsetMetadataTooLarge);
    }
    if asked.partition.topic.as_str().len() > NAME_BYTES_MAX {
        return Err(GroupError::InvalidRequest);
    }
    Ok(())
}

/// -1 is how old clients ask for the broker's retention.
fn expire_timestamp(retention_ms: Option<i64>, wall: Timestamp) -> Option<Timestamp> {
    let retention_ms = retention_ms.filter(|ms| *ms >= 0)?;
    Some(Timestamp(wall.get().saturating_add(retention_ms)))
}
