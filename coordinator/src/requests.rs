//! What the broker asks of a [`GroupShard`](crate::GroupShard), in domain words. Versions of the
//! wire protocol end at the broker; where behaviour differs by version, a field says so.

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex};
use bytes::Bytes;
use uuid::Uuid;

use crate::names::{Generation, GroupId, InstanceId, MemberId, TopicName};

/// One way of assigning partitions that a member offers, with what it has to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// For consumers the assignor's name, such as `range`.
    pub name: String,
    /// Opaque; for consumers the encoded subscription.
    pub metadata: Bytes,
}

/// A request to become or stay a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group to join.
    pub group_id: GroupId,
    /// Empty on the first attempt.
    pub member_id: MemberId,
    /// Set for static members (KIP-345).
    pub group_instance_id: Option<InstanceId>,
    /// From the request header.
    pub client_id: String,
    /// The peer's address as Kafka prints it, `/10.0.0.1`.
    pub client_host: String,
    /// Silence after which the member is removed, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the member needs to rejoin, in milliseconds; the session timeout if negative
    /// (version 0 has no such field).
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect` or another; fixed by the first member.
    pub protocol_type: String,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// Whether a first attempt is answered with `MEMBER_ID_REQUIRED` (KIP-394): version 4 and
    /// later. Static members are exempt whatever this says.
    pub require_known_member_id: bool,
    /// Whether the client understands `skip_assignment` (KIP-814): version 9 and later.
    pub skip_assignment_supported: bool,
    /// Fresh randomness, from which a new member's id is made.
    pub fresh_uuid: Uuid,
}

/// A member's wish for its assignment, and if it leads, everybody's assignments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// As told by the JoinGroup reply.
    pub generation: Generation,
    /// Checked when present (version 5).
    pub protocol_type: Option<String>,
    /// Checked when present (version 5).
    pub protocol_name: Option<String>,
    /// From the leader: opaque bytes per member. Members left out get empty bytes.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// The generation the member believes in.
    pub generation: Generation,
}

/// Who leaves: by member id, or by instance id with an empty member id (as admins do).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty to name the member by its instance.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
}

/// One or more members leave at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group.
    pub group_id: GroupId,
    /// In the order in which the reply answers.
    pub members: Vec<LeavingMember>,
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition in it.
    pub partition: PartitionIndex,
}

/// One partition's offset to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// What is consumed.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// Of the last record read, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// The client's own words; returned as they are.
    pub metadata: String,
}

/// A commit of consumed positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The group, which need not have members.
    pub group_id: GroupId,
    /// Empty for callers outside group membership.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// [`Generation::NONE`] for callers outside group membership.
    pub generation: Generation,
    /// Versions 2 to 4 may ask for another retention than the broker's, in milliseconds.
    pub retention_ms: Option<i64>,
    /// In the order in which the reply answers.
    pub offsets: Vec<OffsetToCommit>,
}

/// An administrator's wish to forget positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetDelete {
    /// The group.
    pub group_id: GroupId,
    /// In the order in which the reply answers.
    pub partitions: Vec<TopicPartition>,
}

/// Which groups to list. An empty list means no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// State names, in any case.
    pub states: Vec<String>,
    /// Group types, in any case. All groups here are `classic`.
    pub types: Vec<String>,
}
