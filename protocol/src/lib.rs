//! The Kafka wire without I/O.
//!
//! Bytes from a socket go in, requests come out; responses go in, bytes for a socket come out.
//! Nothing here reads a clock, a socket or a file, so every function can be fuzzed.
//!
//! ```text
//!  bytes --FrameDecoder--> Frame --split_request--> RequestHeader + body
//!                                                         |
//!              +------------------------+-----------------+------------------+
//!              v                        v                                    v
//!   ProduceRequest::decode   FetchRequest::decode        decode_request: check_request,
//!   (records stay slices)                                then kafka-protocol
//!              |                        |                                    |
//!   ProduceResponse::encode  FetchResponse::encode             encode_response
//!   one buffer               a rope: records not copied        one buffer
//! ```
//!
//! Produce and Fetch are written by hand because they carry the records; every other API goes
//! through the `kafka-protocol` crate. That crate believes array counts (`Vec::with_capacity` of
//! what the wire says aborts the process), so [`decode_request`] is the only way to it and runs the
//! shape check first. [`Api`] is the table of what is advertised and served.
//!
//! Neighbours: `common` for identities and positions below, `broker` above. The contents of record
//! batches belong to `records`.

mod api_versions;
mod codes;
mod consumer_protocol;
mod encode;
mod fetch;
mod frame;
mod header;
mod produce;
mod shape;
mod topic;
mod versions;
mod wire;

/// The messages of the control plane, from `kafka-protocol`.
pub use kafka_protocol::messages;
/// A string that shares the frame it came in.
pub use kafka_protocol::protocol::StrBytes;

pub use api_versions::{
    Features, FinalizedFeature, SupportedFeature, api_versions_error, api_versions_response,
    names_its_software, unsupported_api_versions_response,
};
pub use codes::ErrorCode;
pub use consumer_protocol::{decode_consumer_assignment, decode_consumer_subscription};
pub use encode::{DecodeError, EncodeError, decode_request, encode_response};
pub use fetch::{
    AbortedTransaction, DivergingEpoch, FetchDecodeError, FetchPartition, FetchPartitionResponse,
    FetchRequest, FetchResponse, FetchTopic, FetchTopicResponse, ForgottenTopic, IsolationLevel,
    SnapshotId,
};
pub use frame::{AuthState, Frame, FrameDecoder, FrameError, FrameLimits};
pub use header::{HeaderError, RequestHeader, split_request};
pub use produce::{
    ProduceDecodeError, ProducePartition, ProducePartitionResponse, ProduceRequest,
    ProduceResponse, ProduceTopic, ProduceTopicResponse, RecordError,
};
#[cfg(any(test, feature = "test-util"))]
pub use shape::{SampleRequest, sample_request};
pub use shape::{ShapeError, ShapeReport, check_request, check_request_within};
pub use topic::{CurrentLeader, NodeEndpoint, TopicRef};
pub use versions::{Api, ApiKey, Status};
pub use wire::{Defect, Malformed};
