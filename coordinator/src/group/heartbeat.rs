//! Heartbeats, and offset commits, which count as heartbeats.

use crate::error::GroupError;
use crate::names::{Generation, InstanceId, MemberId};
use crate::replies::GroupState;
use crate::requests::{Heartbeat, OffsetCommit};

use super::{ClassicGroup, Step};

impl ClassicGroup {
    /// A member is alive. While the group prepares a rebalance the answer tells it to rejoin.
    pub(crate) fn heartbeat(
        &mut self,
        request: &Heartbeat,
        step: &Step<'_>,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.validate_current(
            &request.member_id,
            request.group_instance_id.as_ref(),
            request.generation,
        )?;
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.restart_session(&request.member_id, step);
                Ok(())
            }
            GroupState::PreparingRebalance => {
                self.restart_session(&request.member_id, step);
                Err(GroupError::RebalanceInProgress)
            }
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    /// Whether this commit may be stored. Commits of members are welcome while a rebalance is being
    /// prepared, which is when consumers give up partitions, but not between their JoinGroup reply
    /// and their assignment.
    pub(crate) fn validate_commit(&self, request: &OffsetCommit) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if request.generation < Generation::ZERO && self.state == GroupState::Empty {
            return Ok(());
        }
        let claims_membership = request.generation >= Generation::ZERO
            || !request.member_id.is_empty()
            || request.group_instance_id.is_some();
        if !claims_membership {
            return Err(GroupError::UnknownMemberId);
        }
        self.validate_current(
            &request.member_id,
            request.group_instance_id.as_ref(),
            request.generation,
        )?;
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// An accepted commit shows that its member is alive.
    pub(crate) fn commit_accepted(&mut self, member_id: &MemberId, step: &Step<'_>) {
        if matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.restart_session(member_id, step);
        }
    }

    fn validate_current(
        &self,
        member_id: &MemberId,
        instance_id: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(), GroupError> {
        self.validate_member(member_id, instance_id)?;
        self.validate_generation(generation)
    }
}
