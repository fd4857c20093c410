//! Fetch (key 1), versions 4-18: the request, and a response that never copies a record.
//!
//! | version | request | response |
//! |--------:|---------|----------|
//! | 5 | `log_start_offset` | `log_start_offset` |
//! | 7 | sessions, forgotten topics (KIP-227) | `error_code`, `session_id` |
//! | 9 | `current_leader_epoch` (KIP-320) | |
//! | 11 | `rack_id` (KIP-392) | `preferred_read_replica` |
//! | 12 | flexible, `last_fetched_epoch` (KIP-595) | diverging epoch, leader, snapshot |
//! | 13 | topics by id (KIP-516) | topics by id |
//! | 15 | replica id moves into a tag (KIP-903) | |
//! | 16 | | `node_endpoints` (KIP-951) |
//! | 17, 18 | directory id, high watermark: of followers only | |

mod request;
mod response;

pub use request::{
    FetchDecodeError, FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, IsolationLevel,
};
pub use response::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchResponse, FetchTopicResponse,
    SnapshotId,
};

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;
const FIRST_WITH_LOG_START_OFFSET: i16 = 5;
const FIRST_WITH_SESSIONS: i16 = 7;
const FIRST_WITH_LEADER_EPOCH: i16 = 9;
const FIRST_WITH_RACK: i16 = 11;
const FIRST_FLEXIBLE: i16 = 12;
const FIRST_WITH_REPLICA_STATE: i16 = 15;
const FIRST_WITH_ENDPOINTS: i16 = 16;
const FIRST_WITH_DIRECTORY: i16 = 17;
const FIRST_WITH_HIGH_WATERMARK: i16 = 18;
