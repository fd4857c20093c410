//! Every limit of the coordinator, in one place.
//!
//! All of a group's state is in memory, and most of it is bytes that clients chose. What is not
//! bounded here is bounded by these products.

use std::time::Duration;

/// Groups in one partition of `__consumer_offsets`.
pub const GROUPS_PER_SHARD_MAX: usize = 20_000;
/// Committed offsets (of all groups together) in one partition of `__consumer_offsets`.
pub const OFFSETS_PER_SHARD_MAX: usize = 1_000_000;
/// Members of one group, counting those that hold a member id but have not joined yet, whatever
/// `group.max.size` says.
pub const GROUP_SIZE_MAX: usize = 10_000;
/// Metadata (subscriptions of all offered protocols) of one member, in bytes.
pub const MEMBER_METADATA_BYTES_MAX: usize = 1 << 20;
/// Metadata of all members of one group, in bytes.
pub const GROUP_METADATA_BYTES_MAX: usize = 32 << 20;
/// Metadata of all groups of one shard, in bytes.
pub const SHARD_METADATA_BYTES_MAX: usize = 128 << 20;
/// Protocols that one member may offer.
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 100;
/// Group, client, host, instance, topic and protocol names, in bytes. Kafka's records carry a
/// 16-bit signed length.
pub const NAME_BYTES_MAX: usize = 32_000;
/// What a generated member id adds to the client's or instance's name: a dash and a UUID.
pub const MEMBER_ID_SUFFIX_BYTES: usize = 37;
/// Tombstones in one append when offsets expire or a group is deleted.
pub const TOMBSTONES_PER_APPEND_MAX: usize = 5_000;
/// Ids in one block of producer ids, as in Kafka.
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1_000;

const _: () = {
    assert!(
        NAME_BYTES_MAX + MEMBER_ID_SUFFIX_BYTES <= i16::MAX as usize,
        "names must fit a record"
    );
    assert!(MEMBER_METADATA_BYTES_MAX <= GROUP_METADATA_BYTES_MAX, "one member must fit its group");
    assert!(GROUP_METADATA_BYTES_MAX <= SHARD_METADATA_BYTES_MAX, "one group must fit its shard");
    assert!(GROUP_METADATA_BYTES_MAX <= i32::MAX as usize, "a record's size is 32 bits");
    assert!(TOMBSTONES_PER_APPEND_MAX > 0 && GROUPS_PER_SHARD_MAX > 0);
};

/// What the operator can set. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`; never more than [`GROUP_SIZE_MAX`].
    pub group_size_max: usize,
    /// How long a member that joins for the first time may wait for the rebalance. It cannot send
    /// heartbeats, for it does not know its id yet.
    pub new_member_join_timeout: Duration,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: GROUP_SIZE_MAX,
            new_member_join_timeout: Duration::from_secs(5 * 60),
            offset_metadata_bytes_max: 4_096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
        }
    }
}

impl GroupOptions {
    /// The members one group may have.
    pub(crate) fn group_size_limit(&self) -> usize {
        self.group_size_max.min(GROUP_SIZE_MAX)
    }
}
