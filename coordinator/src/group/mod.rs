//! One classic consumer group (KIP-62's protocol, with KIP-345 static members, KIP-394 member ids,
//! KIP-814 skipped assignments).
//!
//! ```text
//!              first member joins                     all rejoined, or time is up
//!    Empty ---------------------> PreparingRebalance ---------------------------> CompletingRebalance
//!      ^                           ^   |    ^    ^                                   |        |
//!      |     nobody is left        |   |    |    |   member joins, leaves, is silent |        |
//!      +---------------------------|---+    |    +-----------------------------------+        |
//!                                  |        |                                                 |
//!                                  |      Stable <--------------------------------------------+
//!                                  |        |              the leader's assignment is durable
//!                                  +--------+
//!                  member joins, changes, leaves, is silent
//! ```
//!
//! Every method takes a [`Step`]: the time, the options, and where replies and records go. `Dead`
//! is the state of a group whose deletion is on its way to the log.

mod describe;
mod durability;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod restore;
mod static_member;
mod sync;
mod timers;

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_common::Timestamp;

pub(crate) use durability::AfterStore;
pub(crate) use join::validate as validate_join;
use member::{Member, Members};

use crate::deadlines::{Deadlines, Now};
use crate::error::GroupError;
use crate::limits::GroupOptions;
use crate::names::{Generation, GroupId, InstanceId, MemberId};
use crate::offsets_records::{GroupMetadataValue, GroupRecord};
use crate::replies::{GroupState, Reply, ReplyToken};
use timers::GroupTimer;

/// A record of the group, and what to do once its fate is known.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) record: GroupRecord,
    pub(crate) then: AfterStore,
}

/// What one transition reads and what it leaves behind.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) options: &'a GroupOptions,
    pub(crate) replies: Vec<(ReplyToken, Reply)>,
    pub(crate) stores: Vec<Store>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(now: Now, options: &'a GroupOptions) -> Self {
        Self { now, options, replies: Vec::new(), stores: Vec::new() }
    }

    fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.replies.push((token, reply));
    }

    fn reply_if_any(&mut self, token: Option<ReplyToken>, reply: impl FnOnce() -> Reply) {
        if let Some(token) = token {
            self.reply(token, reply());
        }
    }
}

/// A classic group. Maps are ordered so that one history gives one behaviour.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    id: GroupId,
    state: GroupState,
    /// When the group entered `state`; unknown for groups that were never recorded.
    state_since: Option<Timestamp>,
    generation: Generation,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    leader: Option<MemberId>,
    members: Members,
    /// Ids handed out with `MEMBER_ID_REQUIRED` that did not come back yet.
    pending_members: BTreeSet<MemberId>,
    /// Members of this generation that did not ask for their assignment yet.
    pending_sync: BTreeSet<MemberId>,
    /// The generation whose assignments are on their way to the log.
    storing: Option<Generation>,
    /// While an empty group waits for more members.
    initial_delay: Option<InitialDelay>,
    timers: Deadlines<GroupTimer>,
}

/// The wait of a group that was empty: it is extended while members keep arriving, up to their
/// rebalance timeout.
#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    current: Duration,
    remaining: Duration,
    member_added: bool,
}

impl ClassicGroup {
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_since: None,
            generation: Generation::ZERO,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: Members::default(),
            pending_members: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            storing: None,
            initial_delay: None,
            timers: Deadlines::default(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Metadata of all members, in bytes.
    pub(crate) fn metadata_bytes(&self) -> usize {
        self.members.metadata_bytes()
    }

    /// Whether the log holds, or may hold, a record of this group.
    pub(crate) fn is_recorded(&self) -> bool {
        self.generation > Generation::ZERO
    }

    /// Whether nothing would be lost if the group were forgotten: it has no members, expects none
    /// and was never recorded.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.state == GroupState::Empty && self.pending_members.is_empty() && !self.is_recorded()
    }

    /// Whether somebody was handed a member id and has not come back with it.
    pub(crate) fn expects_members(&self) -> bool {
        !self.pending_members.is_empty()
    }

    fn transition_to(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since = Some(now.wall);
    }

    fn is_leader(&self, member_id: &MemberId) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    /// Whether the member, if static under the same instance id, may speak for the group.
    fn validate_member(
        &self,
        member_id: &MemberId,
        instance_id: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.members.holder_of(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if current != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn validate_generation(&self, generation: Generation) -> Result<(), GroupError> {
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    /// The group's record, with `assignment_of` each member.
    fn record(&self, assignment_of: impl Fn(&Member) -> bytes::Bytes) -> GroupRecord {
        let protocol = self.protocol_name.as_deref();
        let members = self.members.iter();
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since.unwrap_or(Timestamp::NONE),
            members: members
                .map(|member| member.as_record(protocol, assignment_of(member)))
                .collect(),
        };
        GroupRecord::GroupMetadata { group_id: self.id.clone(), value: Some(value) }
    }
}
