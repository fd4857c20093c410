//! SyncGroup.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::GroupError;
use crate::names::MemberId;
use crate::replies::{GroupState, Reply, ReplyToken, SyncedGroup};
use crate::requests::SyncGroup;

use super::durability::{AfterStore, Assignments};
use super::timers::GroupTimer;
use super::{ClassicGroup, Step, Store};

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings everybody's. Nobody is told an
    /// assignment before it is durable.
    pub(crate) fn sync(&mut self, token: ReplyToken, request: SyncGroup, step: &mut Step<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            return step.reply(token, Reply::Sync(Err(error)));
        }
        let member_id = request.member_id.clone();
        self.member_synced(&member_id);
        if self.state == GroupState::Stable {
            let reply = self.synced(&member_id);
            step.reply(token, Reply::Sync(reply));
            self.restart_session(&member_id, step);
            return;
        }
        self.await_assignment(token, &member_id, step);
        // A leader that repeats itself waits for what it said first: were both stored, the log would
        // end with assignments that nobody was told.
        if self.is_leader(&member_id) && self.storing != Some(self.generation) {
            self.store_assignments(request.assignments, step);
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        self.validate_generation(request.generation)?;
        let differs =
            |asked: &Option<String>, actual: &Option<String>| asked.is_some() && asked != actual;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    fn member_synced(&mut self, member_id: &MemberId) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.timers.cancel(&GroupTimer::PendingSync);
        }
    }

    fn await_assignment(&mut self, token: ReplyToken, member_id: &MemberId, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(earlier) = member.awaiting_sync.replace(token) {
            step.reply(earlier, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
        self.restart_session(member_id, step);
    }

    fn store_assignments(&mut self, assignments: Vec<(MemberId, Bytes)>, step: &mut Step<'_>) {
        self.storing = Some(self.generation);
        let assignments: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        let record = self.record(|member| assigned(&assignments, &member.id));
        let assignments = Assignments { generation: self.generation, by_member: assignments };
        step.stores.push(Store { record, then: AfterStore::AssignmentsStored(assignments) });
    }

    /// The assignments are durable: everybody who waits is told, and the group is stable.
    pub(super) fn become_stable(&mut self, assignments: &Assignments, step: &mut Step<'_>) {
        self.transition_to(GroupState::Stable, step.now);
        let member_ids = self.members.ids();
        for member_id in &member_ids {
            let mut token = None;
            if let Some(member) = self.members.get_mut(member_id) {
                member.assignment = assigned(&assignments.by_member, member_id);
                token = member.awaiting_sync.take();
            }
            if token.is_some() {
                let reply = self.synced(member_id);
                step.reply_if_any(token, || Reply::Sync(reply));
                self.restart_session(member_id, step);
            }
        }
    }

    fn synced(&self, member_id: &MemberId) -> Result<SyncedGroup, GroupError> {
        let member = self.members.get(member_id).ok_or(GroupError::UnknownMemberId)?;
        Ok(SyncedGroup {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.assignment.clone(),
        })
    }
}

/// A member that the leader left out gets nothing to do.
fn assigned(assignments: &BTreeMap<MemberId, Bytes>, member_id: &MemberId) -> Bytes {
    assignments.get(member_id).cloned().unwrap_or_default()
}
