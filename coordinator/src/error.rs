//! What can be wrong with a request to the coordinator. Each variant is one of Kafka's error codes
//! by name; the broker's table turns it into the number.

use antiphon_common::ErrorKind;

/// A refusal, named after the Kafka error code it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// The coordinator cannot serve this group right now; find it again and retry.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// The partition that holds the group is still being replayed.
    #[error("the coordinator is loading")]
    CoordinatorLoadInProgress,
    /// Another broker coordinates this group.
    #[error("this broker is not the group's coordinator")]
    NotCoordinator,
    /// The group id is empty or longer than can be stored.
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// The member is not (or no longer) part of the group.
    #[error("the member is unknown")]
    UnknownMemberId,
    /// The request belongs to another generation than the current one.
    #[error("the generation is not the current one")]
    IllegalGeneration,
    /// A newer process holds the same `group.instance.id`.
    #[error("the instance id belongs to another member")]
    FencedInstanceId,
    /// The member must first rejoin.
    #[error("a rebalance is in progress")]
    RebalanceInProgress,
    /// Join again with the member id in this reply (KIP-394).
    #[error("a member id is required")]
    MemberIdRequired,
    /// The group is full.
    #[error("the group has its maximum number of members")]
    GroupMaxSizeReached,
    /// No protocol in common with the group, or another protocol type than the group's.
    #[error("the group protocol is inconsistent")]
    InconsistentGroupProtocol,
    /// The session timeout is outside the configured bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The offset's metadata string is too long.
    #[error("the offset metadata is too large")]
    OffsetMetadataTooLarge,
    /// The commit is too large to be stored as one batch.
    #[error("the offset commit is too large")]
    InvalidCommitOffsetSize,
    /// The group still consumes the topic whose offsets should be deleted.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The group still has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// No such group.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// A limit of this broker (see `limits`) would be exceeded.
    #[error("a limit of this broker is exceeded")]
    PolicyViolation,
    /// A field holds what it never may.
    #[error("the request is invalid")]
    InvalidRequest,
    /// The record could not be stored and the client cannot help it.
    #[error("the coordinator failed")]
    UnknownServerError,
}

impl GroupError {
    /// What the caller should do about it.
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::CoordinatorNotAvailable
            | Self::CoordinatorLoadInProgress
            | Self::NotCoordinator
            | Self::RebalanceInProgress
            | Self::MemberIdRequired => ErrorKind::Retry,
            Self::UnknownMemberId | Self::IllegalGeneration | Self::FencedInstanceId => {
                ErrorKind::Fenced
            }
            Self::InvalidGroupId
            | Self::GroupMaxSizeReached
            | Self::InconsistentGroupProtocol
            | Self::InvalidSessionTimeout
            | Self::OffsetMetadataTooLarge
            | Self::InvalidCommitOffsetSize
            | Self::GroupSubscribedToTopic
            | Self::NonEmptyGroup
            | Self::GroupIdNotFound
            | Self::PolicyViolation
            | Self::InvalidRequest => ErrorKind::Invalid,
            Self::UnknownServerError => ErrorKind::Internal,
        }
    }
}

/// Why an [`Append`](crate::Append) did not become durable, as far as clients care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AppendError {
    /// This broker no longer owns the partition, or its storage failed.
    #[error("not the leader of the partition")]
    NotLeader,
    /// The append did not finish in time or the log is out of budget; a retry may succeed.
    #[error("the partition is not available")]
    Unavailable,
    /// The batch exceeds what the partition accepts.
    #[error("the batch is too large")]
    TooLarge,
    /// Anything else.
    #[error("the append failed")]
    Failed,
}

impl AppendError {
    /// The answer to a JoinGroup, SyncGroup or DeleteGroups whose record was lost.
    pub const fn for_group(self) -> GroupError {
        match self {
            Self::NotLeader => GroupError::NotCoordinator,
            Self::Unavailable => GroupError::CoordinatorNotAvailable,
            Self::TooLarge | Self::Failed => GroupError::UnknownServerError,
        }
    }

    /// The answer to an OffsetCommit or OffsetDelete whose records were lost.
    pub const fn for_offsets(self) -> GroupError {
        match self {
            Self::TooLarge => GroupError::InvalidCommitOffsetSize,
            Self::NotLeader | Self::Unavailable | Self::Failed => self.for_group(),
        }
    }
}
