//! The coordinator of consumer groups: pure state machines that decide who consumes what, and
//! remember how far.
//!
//! ```text
//!             request + ReplyToken + Now
//!   broker ------------------------------>  GroupShard  (one per partition of __consumer_offsets)
//!     ^                                        |
//!     |   Effects { replies, appends }         |   ClassicGroup   who is in, who leads, what next
//!     +----------------------------------------+   OffsetStore    what was committed
//!     |                                        |   Deadlines      who was silent too long
//!     |   append_succeeded / append_failed     |
//!     +--------------------------------------->+
//! ```
//!
//! Nothing here does I/O, reads a clock or makes up a random number. The caller brings the time
//! ([`Now`]), fresh UUIDs and a token for each request that may be answered later; it sends the
//! replies and appends the records that come back as [`Effects`]. So one sequence of calls is one
//! history, a test can walk through a three-day rebalance in a microsecond, and a crash is the
//! [`replay`](GroupShard::replay) of a prefix of the records.
//!
//! The durability rule is kept inside: no reply that depends on a record leaves before the caller
//! has reported the record's append. The rules of the classic protocol are Kafka's (KIP-62, KIP-211,
//! KIP-345, KIP-394, KIP-496, KIP-814), and so are the names. Records are Kafka's own, byte for byte.
//!
//! Neighbours: `broker` translates between the wire and these types and owns the log; `common` has
//! the positions and identities.

mod coordinator;
mod deadlines;
mod effects;
mod error;
mod group;
pub mod limits;
mod names;
mod offsets;
mod offsets_records;
mod producer_ids;
mod replies;
mod requests;

pub use coordinator::{GroupShard, ReplayStats, Replayed, partition_for};
pub use deadlines::Now;
pub use effects::{Append, AppendId, Effects};
pub use error::{AppendError, GroupError};
pub use limits::GroupOptions;
pub use names::{Generation, GroupId, InstanceId, MemberId, TopicName};
pub use offsets_records::{
    DecodeError, EncodedRecord, GroupMetadataValue, GroupRecord, MemberMetadata, OffsetCommitKey,
};
pub use producer_ids::{ProducerId, ProducerIdAllocator, ProducerIdBlock, ProducerIdBlockError};
pub use replies::{
    CommittedOffset, DescribedMember, GroupDescription, GroupListing, GroupState, JoinRefused,
    JoinedGroup, JoinedMember, Reply, ReplyToken, SyncedGroup,
};
pub use requests::{
    Heartbeat, JoinGroup, LeaveGroup, LeavingMember, ListFilter, OffsetCommit, OffsetDelete,
    OffsetToCommit, Protocol, SyncGroup, TopicPartition,
};
