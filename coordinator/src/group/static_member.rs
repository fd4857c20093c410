//! A static member (KIP-345) comes back as a new process: same instance id, no member id.

use crate::error::{AppendError, GroupError};
use crate::names::{InstanceId, MemberId};
use crate::replies::{GroupState, JoinedGroup, Reply, ReplyToken};
use crate::requests::JoinGroup;

use super::durability::AfterStore;
use super::join::refuse;
use super::member::Member;
use super::{ClassicGroup, Step, Store};

/// A replacement whose record is on its way to the log.
#[derive(Debug)]
pub(crate) struct StaticReplacement {
    token: ReplyToken,
    instance_id: InstanceId,
    /// As it was, to be put back if the record is lost.
    old: Member,
    new_id: MemberId,
    was_leader: bool,
    reply: JoinedGroup,
}

impl ClassicGroup {
    /// Gives the instance a new member id and fences the old one at once. A stable group stays
    /// stable if its protocol would; the assignment is the instance's, not the process's.
    pub(super) fn replace_static_member(
        &mut self,
        token: ReplyToken,
        new_id: MemberId,
        request: &JoinGroup,
        step: &mut Step<'_>,
    ) {
        let Some(instance_id) = request.group_instance_id.clone() else { return };
        let Some(old_id) = self.members.holder_of(&instance_id).cloned() else { return };
        let Some(old) = self.members.get(&old_id).cloned() else { return };
        let old_leader = self.leader.clone();
        let stays_stable = self.state == GroupState::Stable;
        self.rename_member(&old_id, &new_id, step);
        if let Some(member) = self.members.get_mut(&new_id) {
            member.client_id.clone_from(&request.client_id);
            member.client_host.clone_from(&request.client_host);
        }
        self.update_member(token, &new_id, request, step);
        if !stays_stable || self.elect_protocol() != self.protocol_name {
            return self.rebalance(step);
        }
        self.members.await_join(&new_id, None);
        self.restart_session(&new_id, step);
        let was_leader = old_leader.as_ref() == Some(&old_id);
        let reply = self.rejoined(&new_id, old_leader.unwrap_or_default(), request);
        let old = old.renamed(old_id);
        let replacement = StaticReplacement { token, instance_id, old, new_id, was_leader, reply };
        let record = self.record(|member| member.assignment.clone());
        step.stores.push(Store { record, then: AfterStore::StaticMemberReplaced(replacement) });
    }

    /// A client that does not know `skip_assignment` must not think that it leads: the stable group
    /// would ignore what it assigns. It is told the id that its predecessor had as leader's.
    fn rejoined(
        &self,
        new_id: &MemberId,
        old_leader: MemberId,
        request: &JoinGroup,
    ) -> JoinedGroup {
        let joined = self.joined(new_id);
        if request.skip_assignment_supported {
            JoinedGroup { skip_assignment: self.is_leader(new_id), ..joined }
        } else {
            JoinedGroup { leader: old_leader, members: Vec::new(), ..joined }
        }
    }

    /// Moves a member to a new id. Requests that the old process still has open are fenced.
    fn rename_member(&mut self, old_id: &MemberId, new_id: &MemberId, step: &mut Step<'_>) {
        let was_leader = self.is_leader(old_id);
        let Some(old) = self.members.get(old_id).cloned() else { return };
        let had_pending_sync = self.pending_sync.contains(old_id);
        self.remove_member(old_id, GroupError::FencedInstanceId, step);
        self.members.insert(old.renamed(new_id.clone()));
        if had_pending_sync {
            self.pending_sync.insert(new_id.clone());
        }
        if was_leader {
            self.leader = Some(new_id.clone());
        }
    }

    /// The record of a replacement is durable, or lost for good.
    pub(super) fn static_replacement_decided(
        &mut self,
        replacement: StaticReplacement,
        outcome: Result<(), AppendError>,
        step: &mut Step<'_>,
    ) {
        let StaticReplacement { token, instance_id, old, new_id, was_leader, reply } = replacement;
        let is_current = self.members.holder_of(&instance_id) == Some(&new_id);
        match outcome {
            Ok(()) if is_current => step.reply(token, Reply::Join(Ok(reply))),
            Ok(()) => refuse(token, GroupError::FencedInstanceId, new_id, step),
            Err(error) => {
                refuse(token, error.for_group(), MemberId::default(), step);
                if is_current {
                    self.undo_replacement(old, &new_id, was_leader, step);
                }
            }
        }
    }

    /// Puts the old member back, whose process may well be alive. If a rebalance has begun, the
    /// instance is taken out instead: it must rejoin anyway, and its offer of back then may no
    /// longer have anything in common with the others'.
    fn undo_replacement(
        &mut self,
        old: Member,
        new_id: &MemberId,
        was_leader: bool,
        step: &mut Step<'_>,
    ) {
        let old_id = old.id.clone();
        let leads = was_leader && self.is_leader(new_id);
        let had_pending_sync = self.pending_sync.contains(new_id);
        self.remove_member(new_id, GroupError::FencedInstanceId, step);
        if self.state != GroupState::Stable {
            return self.rebalance(step);
        }
        self.members.insert(old);
        if had_pending_sync {
            self.pending_sync.insert(old_id.clone());
        }
        if leads {
            self.leader = Some(old_id.clone());
        }
        self.restart_session(&old_id, step);
    }
}
