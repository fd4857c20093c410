//! LeaveGroup, and every other way out of a group.

use crate::error::GroupError;
use crate::names::MemberId;
use crate::replies::{GroupState, JoinRefused, Reply, ReplyToken};
use crate::requests::LeavingMember;

use super::timers::GroupTimer;
use super::{ClassicGroup, Step};

impl ClassicGroup {
    /// Members leave; one rebalance follows for all of them.
    pub(crate) fn leave(
        &mut self,
        token: ReplyToken,
        leaving: &[LeavingMember],
        step: &mut Step<'_>,
    ) {
        if self.state == GroupState::Dead {
            let error = GroupError::CoordinatorNotAvailable;
            return step.reply(token, Reply::Leave(Err(error)));
        }
        let results: Vec<_> = leaving.iter().map(|member| self.leave_one(member, step)).collect();
        let anybody_left = results.iter().any(Result::is_ok);
        step.reply(token, Reply::Leave(Ok(results)));
        if anybody_left && self.state != GroupState::Empty {
            self.rebalance(step);
        }
    }

    fn leave_one(
        &mut self,
        leaving: &LeavingMember,
        step: &mut Step<'_>,
    ) -> Result<(), GroupError> {
        if self.pending_members.remove(&leaving.member_id) {
            self.timers.cancel(&GroupTimer::PendingMember(leaving.member_id.clone()));
            return Ok(());
        }
        let member_id = self.resolve(leaving)?;
        self.remove_member(&member_id, GroupError::UnknownMemberId, step);
        Ok(())
    }

    /// Administrators name a static member by its instance id alone.
    fn resolve(&self, leaving: &LeavingMember) -> Result<MemberId, GroupError> {
        match &leaving.group_instance_id {
            Some(instance_id) if leaving.member_id.is_empty() => {
                self.members.holder_of(instance_id).cloned().ok_or(GroupError::UnknownMemberId)
            }
            instance_id => {
                self.validate_member(&leaving.member_id, instance_id.as_ref())?;
                Ok(leaving.member_id.clone())
            }
        }
    }

    /// Takes a member out and answers what it still waits for. The caller rebalances.
    pub(super) fn remove_member(
        &mut self,
        member_id: &MemberId,
        error: GroupError,
        step: &mut Step<'_>,
    ) {
        let Some(member) = self.members.remove(member_id) else { return };
        step.reply_if_any(member.awaiting_join(), || {
            Reply::Join(Err(JoinRefused { error, member_id: member_id.clone() }))
        });
        step.reply_if_any(member.awaiting_sync, || Reply::Sync(Err(error)));
        self.pending_sync.remove(member_id);
        self.timers.cancel(&GroupTimer::Session(member_id.clone()));
        if self.is_leader(member_id) {
            self.leader = self.members.iter().next().map(|member| member.id.clone());
        }
    }
}
