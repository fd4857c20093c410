//! Which error becomes which Kafka code: the one table.

use antiphon_catalog::CatalogError;
use antiphon_common::ErrorKind;
use antiphon_coordinator::GroupError;
use antiphon_protocol::ErrorCode;
use antiphon_records::{BatchFault, SequenceFault};
use antiphon_storage::{AppendError, LookupError, ReadColdError, TrimError};

use crate::admin::AdminError;
use crate::config::InvalidConfig;

/// The code for an error of which only the kind matters to a client.
fn of_kind(kind: ErrorKind) -> ErrorCode {
    match kind {
        ErrorKind::Retry | ErrorKind::Corrupt => ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorKind::Fenced | ErrorKind::Closed => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorKind::Invalid => ErrorCode::INVALID_REQUEST,
        ErrorKind::Internal => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

/// Produce: what is wrong with a batch.
pub(super) fn of_batch_fault(fault: BatchFault) -> ErrorCode {
    match fault {
        BatchFault::CorruptMessage => ErrorCode::CORRUPT_MESSAGE,
        BatchFault::InvalidRecord => ErrorCode::INVALID_RECORD,
        BatchFault::MessageTooLarge => ErrorCode::MESSAGE_TOO_LARGE,
        BatchFault::UnsupportedCompressionType => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        BatchFault::InvalidTimestamp => ErrorCode::INVALID_TIMESTAMP,
        // Old formats: Kafka answers so since format 2 is the only one left.
        BatchFault::UnsupportedForMessageFormat => ErrorCode::INVALID_RECORD,
    }
}

/// Produce: why nothing was appended.
pub(super) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Sequence(fault) => of_sequence(fault),
        AppendError::Deleted(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AppendError::Full(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        AppendError::Unwritable(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        AppendError::OffsetsExhausted(_) => ErrorCode::INVALID_RECORD,
        AppendError::TooLarge(_) => ErrorCode::MESSAGE_TOO_LARGE,
    }
}

fn of_sequence(fault: &SequenceFault) -> ErrorCode {
    match fault {
        SequenceFault::OutOfOrder { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        SequenceFault::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
    }
}

/// Fetch: why history could not be read.
pub(super) fn of_cold_read(error: &ReadColdError) -> ErrorCode {
    of_kind(error.kind())
}

/// ListOffsets: why a lookup has no answer.
pub(super) fn of_lookup(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::History(source) => of_kind(source.kind()),
        LookupError::Batch { .. } => ErrorCode::CORRUPT_MESSAGE,
    }
}

/// DeleteRecords: why the start of the log did not move.
pub(super) fn of_trim(error: &TrimError) -> ErrorCode {
    match error {
        TrimError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        TrimError::Catalog(_) | TrimError::History(_) => of_kind(error.kind()),
    }
}

/// Topics and settings: why nothing changed.
pub(super) fn of_admin(error: &AdminError) -> ErrorCode {
    match error {
        AdminError::InvalidTopic(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        AdminError::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
        AdminError::InvalidPartitions(_) => ErrorCode::INVALID_PARTITIONS,
        AdminError::InvalidConfig(source) => of_config(source),
        AdminError::InvalidReplication(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
        AdminError::InvalidAssignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        AdminError::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
        AdminError::Policy(_) => ErrorCode::POLICY_VIOLATION,
        AdminError::UnknownTopic => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AdminError::Catalog(source) => of_catalog(source),
    }
}

fn of_config(error: &InvalidConfig) -> ErrorCode {
    match error {
        InvalidConfig::Unknown { .. }
        | InvalidConfig::Value { .. }
        | InvalidConfig::Conflict { .. } => ErrorCode::INVALID_CONFIG,
    }
}

/// The catalog did not commit.
pub(super) fn of_catalog(error: &CatalogError) -> ErrorCode {
    match error.kind() {
        // Admin clients retry this one until their own timeout.
        ErrorKind::Retry => ErrorCode::REQUEST_TIMED_OUT,
        ErrorKind::Fenced | ErrorKind::Closed => ErrorCode::NOT_CONTROLLER,
        ErrorKind::Invalid => ErrorCode::INVALID_REQUEST,
        ErrorKind::Corrupt | ErrorKind::Internal => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

/// Group requests: the coordinator's refusals carry Kafka's names already.
pub(super) fn of_group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        GroupError::CoordinatorLoadInProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        GroupError::NotCoordinator => ErrorCode::NOT_COORDINATOR,
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::UnknownMemberId => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        GroupError::FencedInstanceId => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::GroupMaxSizeReached => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::InconsistentGroupProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        GroupError::InvalidCommitOffsetSize => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        GroupError::GroupSubscribedToTopic => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        GroupError::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        GroupError::GroupIdNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::PolicyViolation => ErrorCode::POLICY_VIOLATION,
        GroupError::InvalidRequest => ErrorCode::INVALID_REQUEST,
        GroupError::UnknownServerError => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
