//! Kafka's error codes.
//!
//! Names, numbers and retriability are those of Kafka 4.3's `Errors`. kafka-protocol's
//! `ResponseError` stops at 4.1 and loses the number of a code it does not know, so responses carry
//! this type instead.

use std::fmt;

/// A code as it stands on the wire. Numbers that Kafka has not assigned can be held as well.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

/// One assigned code.
struct Assigned {
    name: &'static str,
    retriable: bool,
}

/// Whether clients retry a request that failed with the code: Kafka's `RetriableException`.
const RETRIABLE: bool = true;
const FINAL: bool = false;

macro_rules! codes {
    ($($name:ident = $code:literal $retriable:ident,)*) => {
        #[allow(missing_docs, reason = "Kafka's names; the module's page gives their source")]
        impl ErrorCode {
            $(pub const $name: Self = Self($code);)*
        }

        /// Sorted by code, from -1 on, without gaps.
        const ASSIGNED: &[Assigned] = &[
            $(Assigned {
                name: stringify!($name),
                retriable: $retriable,
            },)*
        ];

        /// The codes of [`ASSIGNED`], one for one.
        #[cfg(test)]
        const CODES: &[ErrorCode] = &[$(ErrorCode::$name,)*];
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1 FINAL,
    NONE = 0 FINAL,
    OFFSET_OUT_OF_RANGE = 1 FINAL,
    CORRUPT_MESSAGE = 2 RETRIABLE,
    UNKNOWN_TOPIC_OR_PARTITION = 3 RETRIABLE,
    INVALID_FETCH_SIZE = 4 FINAL,
    LEADER_NOT_AVAILABLE = 5 RETRIABLE,
    NOT_LEADER_OR_FOLLOWER = 6 RETRIABLE,
    REQUEST_TIMED_OUT = 7 RETRIABLE,
    BROKER_NOT_AVAILABLE = 8 FINAL,
    REPLICA_NOT_AVAILABLE = 9 RETRIABLE,
    MESSAGE_TOO_LARGE = 10 FINAL,
    STALE_CONTROLLER_EPOCH = 11 FINAL,
    OFFSET_METADATA_TOO_LARGE = 12 FINAL,
    NETWORK_EXCEPTION = 13 RETRIABLE,
    COORDINATOR_LOAD_IN_PROGRESS = 14 RETRIABLE,
    COORDINATOR_NOT_AVAILABLE = 15 RETRIABLE,
    NOT_COORDINATOR = 16 RETRIABLE,
    INVALID_TOPIC_EXCEPTION = 17 FINAL,
    RECORD_LIST_TOO_LARGE = 18 FINAL,
    NOT_ENOUGH_REPLICAS = 19 RETRIABLE,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20 RETRIABLE,
    INVALID_REQUIRED_ACKS = 21 FINAL,
    ILLEGAL_GENERATION = 22 FINAL,
    INCONSISTENT_GROUP_PROTOCOL = 23 FINAL,
    INVALID_GROUP_ID = 24 FINAL,
    UNKNOWN_MEMBER_ID = 25 FINAL,
    INVALID_SESSION_TIMEOUT = 26 FINAL,
    REBALANCE_IN_PROGRESS = 27 FINAL,
    INVALID_COMMIT_OFFSET_SIZE = 28 FINAL,
    TOPIC_AUTHORIZATION_FAILED = 29 FINAL,
    GROUP_AUTHORIZATION_FAILED = 30 FINAL,
    CLUSTER_AUTHORIZATION_FAILED = 31 FINAL,
    INVALID_TIMESTAMP = 32 FINAL,
    UNSUPPORTED_SASL_MECHANISM = 33 FINAL,
    ILLEGAL_SASL_STATE = 34 FINAL,
    UNSUPPORTED_VERSION = 35 FINAL,
    TOPIC_ALREADY_EXISTS = 36 FINAL,
    INVALID_PARTITIONS = 37 FINAL,
    INVALID_REPLICATION_FACTOR = 38 FINAL,
    INVALID_REPLICA_ASSIGNMENT = 39 FINAL,
    INVALID_CONFIG = 40 FINAL,
    NOT_CONTROLLER = 41 RETRIABLE,
    INVALID_REQUEST = 42 FINAL,
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43 FINAL,
    POLICY_VIOLATION = 44 FINAL,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45 FINAL,
    DUPLICATE_SEQUENCE_NUMBER = 46 FINAL,
    INVALID_PRODUCER_EPOCH = 47 FINAL,
    INVALID_TXN_STATE = 48 FINAL,
    INVALID_PRODUCER_ID_MAPPING = 49 FINAL,
    INVALID_TRANSACTION_TIMEOUT = 50 FINAL,
    CONCURRENT_TRANSACTIONS = 51 RETRIABLE,
    TRANSACTION_COORDINATOR_FENCED = 52 FINAL,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53 FINAL,
    SECURITY_DISABLED = 54 FINAL,
    OPERATION_NOT_ATTEMPTED = 55 FINAL,
    KAFKA_STORAGE_ERROR = 56 RETRIABLE,
    LOG_DIR_NOT_FOUND = 57 FINAL,
    SASL_AUTHENTICATION_FAILED = 58 FINAL,
    UNKNOWN_PRODUCER_ID = 59 FINAL,
    REASSIGNMENT_IN_PROGRESS = 60 FINAL,
    DELEGATION_TOKEN_AUTH_DISABLED = 61 FINAL,
    DELEGATION_TOKEN_NOT_FOUND = 62 FINAL,
    DELEGATION_TOKEN_OWNER_MISMATCH = 63 FINAL,
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64 FINAL,
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65 FINAL,
    DELEGATION_TOKEN_EXPIRED = 66 FINAL,
    INVALID_PRINCIPAL_TYPE = 67 FINAL,
    NON_EMPTY_GROUP = 68 FINAL,
    GROUP_ID_NOT_FOUND = 69 FINAL,
    FETCH_SESSION_ID_NOT_FOUND = 70 RETRIABLE,
    INVALID_FETCH_SESSION_EPOCH = 71 RETRIABLE,
    LISTENER_NOT_FOUND = 72 RETRIABLE,
    TOPIC_DELETION_DISABLED = 73 FINAL,
    FENCED_LEADER_EPOCH = 74 RETRIABLE,
    UNKNOWN_LEADER_EPOCH = 75 RETRIABLE,
    UNSUPPORTED_COMPRESSION_TYPE = 76 FINAL,
    STALE_BROKER_EPOCH = 77 FINAL,
    OFFSET_NOT_AVAILABLE = 78 RETRIABLE,
    MEMBER_ID_REQUIRED = 79 FINAL,
    PREFERRED_LEADER_NOT_AVAILABLE = 80 RETRIABLE,
    GROUP_MAX_SIZE_REACHED = 81 FINAL,
    FENCED_INSTANCE_ID = 82 FINAL,
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83 RETRIABLE,
    ELECTION_NOT_NEEDED = 84 RETRIABLE,
    NO_REASSIGNMENT_IN_PROGRESS = 85 FINAL,
    GROUP_SUBSCRIBED_TO_TOPIC = 86 FINAL,
    INVALID_RECORD = 87 FINAL,
    UNSTABLE_OFFSET_COMMIT = 88 RETRIABLE,
    THROTTLING_QUOTA_EXCEEDED = 89 RETRIABLE,
    PRODUCER_FENCED = 90 FINAL,
    RESOURCE_NOT_FOUND = 91 FINAL,
    DUPLICATE_RESOURCE = 92 FINAL,
    UNACCEPTABLE_CREDENTIAL = 93 FINAL,
    INCONSISTENT_VOTER_SET = 94 FINAL,
    INVALID_UPDATE_VERSION = 95 FINAL,
    FEATURE_UPDATE_FAILED = 96 FINAL,
    PRINCIPAL_DESERIALIZATION_FAILURE = 97 FINAL,
    SNAPSHOT_NOT_FOUND = 98 FINAL,
    POSITION_OUT_OF_RANGE = 99 FINAL,
    UNKNOWN_TOPIC_ID = 100 RETRIABLE,
    DUPLICATE_BROKER_REGISTRATION = 101 FINAL,
    BROKER_ID_NOT_REGISTERED = 102 FINAL,
    INCONSISTENT_TOPIC_ID = 103 RETRIABLE,
    INCONSISTENT_CLUSTER_ID = 104 FINAL,
    TRANSACTIONAL_ID_NOT_FOUND = 105 FINAL,
    FETCH_SESSION_TOPIC_ID_ERROR = 106 RETRIABLE,
    INELIGIBLE_REPLICA = 107 FINAL,
    NEW_LEADER_ELECTED = 108 FINAL,
    OFFSET_MOVED_TO_TIERED_STORAGE = 109 FINAL,
    FENCED_MEMBER_EPOCH = 110 FINAL,
    UNRELEASED_INSTANCE_ID = 111 FINAL,
    UNSUPPORTED_ASSIGNOR = 112 FINAL,
    STALE_MEMBER_EPOCH = 113 FINAL,
    MISMATCHED_ENDPOINT_TYPE = 114 FINAL,
    UNSUPPORTED_ENDPOINT_TYPE = 115 FINAL,
    UNKNOWN_CONTROLLER_ID = 116 FINAL,
    UNKNOWN_SUBSCRIPTION_ID = 117 FINAL,
    TELEMETRY_TOO_LARGE = 118 FINAL,
    INVALID_REGISTRATION = 119 FINAL,
    TRANSACTION_ABORTABLE = 120 FINAL,
    INVALID_RECORD_STATE = 121 FINAL,
    SHARE_SESSION_NOT_FOUND = 122 RETRIABLE,
    INVALID_SHARE_SESSION_EPOCH = 123 RETRIABLE,
    FENCED_STATE_EPOCH = 124 FINAL,
    INVALID_VOTER_KEY = 125 FINAL,
    DUPLICATE_VOTER = 126 FINAL,
    VOTER_NOT_FOUND = 127 FINAL,
    INVALID_REGULAR_EXPRESSION = 128 FINAL,
    REBOOTSTRAP_REQUIRED = 129 FINAL,
    STREAMS_INVALID_TOPOLOGY = 130 FINAL,
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131 FINAL,
    STREAMS_TOPOLOGY_FENCED = 132 FINAL,
    SHARE_SESSION_LIMIT_REACHED = 133 RETRIABLE,
}

impl ErrorCode {
    /// The code as the wire carries it.
    pub const fn get(self) -> i16 {
        self.0
    }

    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Kafka's name, or `None` for a number it has not assigned.
    pub fn name(self) -> Option<&'static str> {
        self.assigned().map(|assigned| assigned.name)
    }

    /// Whether clients retry the request by themselves. Unassigned codes are final, as they are
    /// for Kafka's clients.
    pub fn is_retriable(self) -> bool {
        self.assigned().is_some_and(|assigned| assigned.retriable)
    }

    fn assigned(self) -> Option<&'static Assigned> {
        // The table starts at -1 and has no gaps.
        let index = usize::try_from(i32::from(self.0) + 1).ok()?;
        ASSIGNED.get(index)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.0
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        Self(code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;

    #[test]
    fn the_table_is_indexed_by_code() {
        assert_eq!(CODES.len(), ASSIGNED.len());
        for (index, code) in CODES.iter().enumerate() {
            assert_eq!(i32::from(code.0), index as i32 - 1, "{code}");
        }
        assert_eq!(ErrorCode::NOT_LEADER_OR_FOLLOWER.to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
        assert_eq!((ErrorCode(999).name(), ErrorCode(999).is_retriable()), (None, false));
        assert_eq!(ErrorCode(i16::MIN).name(), None);
    }

    /// A second opinion on the numbers, as far as the crate's list goes.
    #[test]
    fn names_agree_with_kafka_protocol() {
        let mut compared = 0;
        for (code, assigned) in CODES.iter().zip(ASSIGNED) {
            let Some(theirs) = ResponseError::try_from_code(code.0) else { continue };
            if matches!(theirs, ResponseError::Unknown(_)) {
                continue;
            }
            let ours: String = assigned.name.split('_').collect();
            assert_eq!(format!("{theirs:?}").to_uppercase(), ours);
            compared += 1;
        }
        assert!(compared > 120, "{compared}");
    }
}
