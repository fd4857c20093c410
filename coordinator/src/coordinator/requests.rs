//! Membership: requests find their group.

use super::GroupShard;
use crate::deadlines::Now;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group;
use crate::limits::SHARD_METADATA_BYTES_MAX;
use crate::names::GroupId;
use crate::replies::{Reply, ReplyToken};
use crate::requests::{Heartbeat, JoinGroup, LeaveGroup, SyncGroup};

impl GroupShard {
    /// A client wants to become or stay a member (JoinGroup).
    pub fn join(&mut self, token: ReplyToken, request: &JoinGroup, now: Now) -> Effects {
        if let Err(error) = self.admit(request) {
            return Effects::refuse_join(token, error, request.member_id.clone());
        }
        let mut effects = Effects::default();
        self.with_group(&request.group_id, now, &mut effects, |entry, step| {
            entry.group.join(token, request, step);
        });
        effects
    }

    /// Only somebody who joins for the first time brings a group into being.
    fn admit(&mut self, request: &JoinGroup) -> Result<(), GroupError> {
        self.check_member_group_id(&request.group_id)?;
        group::validate_join(request, &self.options)?;
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            return Err(GroupError::UnknownMemberId);
        }
        let asked: usize = request.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
        if self.metadata_bytes.saturating_add(asked) > SHARD_METADATA_BYTES_MAX {
            return Err(GroupError::PolicyViolation);
        }
        self.ensure_group(&request.group_id)
    }

    /// A member asks for its assignment; the leader brings everybody's (SyncGroup).
    pub fn sync(&mut self, token: ReplyToken, request: SyncGroup, now: Now) -> Effects {
        if let Err(error) = self.check_member_group_id(&request.group_id) {
            return Effects::reply(token, Reply::Sync(Err(error)));
        }
        let mut effects = Effects::default();
        let group_id = request.group_id.clone();
        let found = self.with_group(&group_id, now, &mut effects, |entry, step| {
            entry.group.sync(token, request, step);
        });
        if found.is_none() {
            effects.replies.push((token, Reply::Sync(Err(GroupError::UnknownMemberId))));
        }
        effects
    }

    /// A member is alive (Heartbeat). Answered on the spot: it never changes more than a deadline.
    pub fn heartbeat(&mut self, request: &Heartbeat, now: Now) -> Result<(), GroupError> {
        self.check_member_group_id(&request.group_id)?;
        let mut effects = Effects::default();
        let result = self.with_group(&request.group_id, now, &mut effects, |entry, step| {
            entry.group.heartbeat(request, step)
        });
        debug_assert_eq!(effects, Effects::default(), "a heartbeat has no effects");
        result.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    /// Members leave, or are removed by an administrator (LeaveGroup).
    pub fn leave(&mut self, token: ReplyToken, request: &LeaveGroup, now: Now) -> Effects {
        if let Err(error) = self.check_member_group_id(&request.group_id) {
            return Effects::reply(token, Reply::Leave(Err(error)));
        }
        let mut effects = Effects::default();
        let found = self.with_group(&request.group_id, now, &mut effects, |entry, step| {
            entry.group.leave(token, &request.members, step);
        });
        if found.is_none() {
            let results = vec![Err(GroupError::UnknownMemberId); request.members.len()];
            effects.replies.push((token, Reply::Leave(Ok(results))));
        }
        effects
    }

    /// Members need a group with a name; offsets may belong to the empty one, as in Kafka.
    fn check_member_group_id(&self, group_id: &GroupId) -> Result<(), GroupError> {
        if group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        self.check_group_id(group_id)
    }
}
