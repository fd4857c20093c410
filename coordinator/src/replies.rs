//! What a [`GroupShard`](crate::GroupShard) answers.

use antiphon_common::{LeaderEpoch, Offset, Timestamp};
use bytes::Bytes;

use crate::error::GroupError;
use crate::names::{Generation, GroupId, InstanceId, MemberId};

/// The broker's own number for a request that may be answered later. Each token handed to the shard
/// comes back in exactly one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// An answer to an earlier request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`JoinGroup`](crate::JoinGroup).
    Join(Result<JoinedGroup, JoinRefused>),
    /// To [`SyncGroup`](crate::SyncGroup).
    Sync(Result<SyncedGroup, GroupError>),
    /// To [`LeaveGroup`](crate::LeaveGroup): one result per leaving member, in request order.
    Leave(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To [`OffsetCommit`](crate::OffsetCommit): one result per partition, in request order.
    OffsetCommit(Vec<Result<(), GroupError>>),
    /// To [`OffsetDelete`](crate::OffsetDelete): one result per partition, in request order, or an
    /// error for the request as a whole.
    OffsetDelete(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To `delete_group`.
    DeleteGroup(Result<(), GroupError>),
}

/// The member is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedGroup {
    /// The generation to name in later requests.
    pub generation: Generation,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The protocol the members voted for.
    pub protocol_name: Option<String>,
    /// The member that assigns.
    pub leader: MemberId,
    /// The leader need not assign: the group is stable and stays so (KIP-814).
    pub skip_assignment: bool,
    /// The id by which the group knows the asker.
    pub member_id: MemberId,
    /// All members for the leader, nobody for the others.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// What it said about the chosen protocol.
    pub metadata: Bytes,
}

/// The member is not in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub error: GroupError,
    /// With [`GroupError::MemberIdRequired`] the id to join with, else the id of the request.
    pub member_id: MemberId,
}

/// A member's share of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedGroup {
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The protocol the assignment belongs to.
    pub protocol_name: Option<String>,
    /// Opaque bytes from the leader; empty if it left this member out.
    pub assignment: Bytes,
}

/// A position as the group committed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// Of the last record read, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// The client's own words.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, if the client said so itself (OffsetCommit versions 2 to 4).
    pub expire_timestamp: Option<Timestamp>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; maybe offsets.
    Empty,
    /// Waiting for members to join or rejoin.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl GroupState {
    /// The name that Kafka's tools show and filter by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// One line of a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// The group.
    pub group_id: GroupId,
    /// Empty for groups that only hold offsets.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group.
    pub group_id: GroupId,
    /// Its state.
    pub state: GroupState,
    /// The current generation.
    pub generation: Generation,
    /// Empty for groups that only hold offsets.
    pub protocol_type: String,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol_name: String,
    /// The member that assigns.
    pub leader: Option<MemberId>,
    /// Everybody in the group.
    pub members: Vec<DescribedMember>,
}

/// A member as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// From its request header.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// What it said about the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its share; empty unless the group is stable.
    pub assignment: Bytes,
}
