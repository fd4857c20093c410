//! JoinGroup.

use crate::error::GroupError;
use crate::limits::{
    GROUP_METADATA_BYTES_MAX, MEMBER_METADATA_BYTES_MAX, NAME_BYTES_MAX, PROTOCOLS_PER_MEMBER_MAX,
};
use crate::names::{InstanceId, MemberId};
use crate::replies::{GroupState, JoinRefused, Reply, ReplyToken};
use crate::requests::JoinGroup;

use super::member::{Member, metadata_bytes};
use super::timers::GroupTimer;
use super::{ClassicGroup, Step};
use crate::limits::GroupOptions;

/// Checks what can be checked without knowing the group.
pub(crate) fn validate(request: &JoinGroup, options: &GroupOptions) -> Result<(), GroupError> {
    let session_ms = i128::from(request.session_timeout_ms);
    let bounds_ms = options.session_timeout_min.as_millis() as i128
        ..=options.session_timeout_max.as_millis() as i128;
    if !bounds_ms.contains(&session_ms) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    let instance = request.group_instance_id.as_ref().map_or("", InstanceId::as_str);
    let mut names = [&request.client_id, &request.client_host, &request.protocol_type]
        .into_iter()
        .map(String::as_str)
        .chain([instance])
        .chain(request.protocols.iter().map(|protocol| protocol.name.as_str()));
    if names.any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(GroupError::InvalidRequest);
    }
    if request.protocols.len() > PROTOCOLS_PER_MEMBER_MAX
        || metadata_bytes(&request.protocols) > MEMBER_METADATA_BYTES_MAX
    {
        return Err(GroupError::PolicyViolation);
    }
    Ok(())
}

impl ClassicGroup {
    /// A member wants in. The reply may come with a later transition.
    pub(crate) fn join(&mut self, token: ReplyToken, request: &JoinGroup, step: &mut Step<'_>) {
        if let Err(error) = self.admit(request, step) {
            return refuse(token, error, request.member_id.clone(), step);
        }
        if request.member_id.is_empty() {
            self.join_without_id(token, request, step);
        } else if self.pending_members.contains(&request.member_id) {
            self.add_member(token, request.member_id.clone(), request, step);
        } else {
            self.rejoin(token, request, step);
        }
    }

    fn admit(&mut self, request: &JoinGroup, step: &mut Step<'_>) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if !self.has_room_for(request, step.options) {
            if self.members.contains(&request.member_id) {
                self.remove_member(&request.member_id, GroupError::GroupMaxSizeReached, step);
                self.complete_join_if_all_joined(step);
            }
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.supports_protocols_of(request) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let known = self.members.get(&request.member_id).map_or(0, Member::metadata_bytes);
        let total = self.metadata_bytes() - known + metadata_bytes(&request.protocols);
        if total > GROUP_METADATA_BYTES_MAX { Err(GroupError::PolicyViolation) } else { Ok(()) }
    }

    /// While a rebalance is being prepared, the first `group.max.size` to rejoin are in; afterwards
    /// members are, and others as long as there is room.
    fn has_room_for(&self, request: &JoinGroup, options: &GroupOptions) -> bool {
        let limit = options.group_size_limit();
        let member = self.members.get(&request.member_id);
        let replaces = self.static_member_of(request).is_some();
        match self.state {
            GroupState::PreparingRebalance => {
                replaces
                    || member.is_some_and(|member| member.awaiting_join().is_some())
                    || self.members.awaiting_join() < limit
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                replaces || member.is_some() || self.members.len() < limit
            }
            GroupState::Empty | GroupState::Dead => true,
        }
    }

    /// The current holder of the request's instance id.
    fn static_member_of(&self, request: &JoinGroup) -> Option<&MemberId> {
        self.members.holder_of(request.group_instance_id.as_ref()?)
    }

    fn supports_protocols_of(&self, request: &JoinGroup) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|protocol| self.members.all_offer(&protocol.name))
    }

    fn join_without_id(&mut self, token: ReplyToken, request: &JoinGroup, step: &mut Step<'_>) {
        let member_id = new_member_id(request);
        if self.static_member_of(request).is_some() {
            self.replace_static_member(token, member_id, request, step);
        } else if request.group_instance_id.is_none() && request.require_known_member_id {
            self.expect_member(token, member_id, request, step);
        } else {
            self.add_member(token, member_id, request, step);
        }
    }

    /// Hands out an id and waits for its owner to come back with it, so that a client whose replies
    /// get lost does not leave a member behind with each attempt (KIP-394).
    fn expect_member(
        &mut self,
        token: ReplyToken,
        member_id: MemberId,
        request: &JoinGroup,
        step: &mut Step<'_>,
    ) {
        if self.pending_members.len() >= step.options.group_size_limit() {
            return refuse(token, GroupError::GroupMaxSizeReached, MemberId::default(), step);
        }
        let timeout = Member::new(member_id.clone(), request).session_timeout;
        self.pending_members.insert(member_id.clone());
        self.timers.set(GroupTimer::PendingMember(member_id.clone()), step.now.after(timeout));
        refuse(token, GroupError::MemberIdRequired, member_id, step);
    }

    fn add_member(
        &mut self,
        token: ReplyToken,
        member_id: MemberId,
        request: &JoinGroup,
        step: &mut Step<'_>,
    ) {
        self.pending_members.remove(&member_id);
        self.timers.cancel(&GroupTimer::PendingMember(member_id.clone()));
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(Member::new(member_id.clone(), request));
        self.members.await_join(&member_id, Some(token));
        if let Some(delay) = &mut self.initial_delay {
            delay.member_added = true;
        }
        self.restart_session(&member_id, step);
        self.rebalance(step);
    }

    fn rejoin(&mut self, token: ReplyToken, request: &JoinGroup, step: &mut Step<'_>) {
        let member_id = &request.member_id;
        let valid = self.validate_member(member_id, request.group_instance_id.as_ref());
        if let Err(error) = valid {
            return refuse(token, error, member_id.clone(), step);
        }
        let says_the_same =
            self.members.get(member_id).is_some_and(|known| known.protocols() == request.protocols);
        match self.state {
            GroupState::CompletingRebalance if says_the_same => {
                // Its reply to the first attempt was lost: tell it again.
                step.reply(token, Reply::Join(Ok(self.joined(member_id))));
            }
            GroupState::Stable if says_the_same && !self.is_leader(member_id) => {
                step.reply(token, Reply::Join(Ok(self.joined(member_id))));
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => {
                // In a stable group the leader rejoins in order to assign anew.
                self.update_member(token, member_id, request, step);
                self.rebalance(step);
            }
            GroupState::Empty | GroupState::Dead => {
                refuse(token, GroupError::UnknownMemberId, member_id.clone(), step);
            }
        }
    }

    /// Takes over what a member says about itself now and lets it wait for the rebalance.
    pub(super) fn update_member(
        &mut self,
        token: ReplyToken,
        member_id: &MemberId,
        request: &JoinGroup,
        step: &mut Step<'_>,
    ) {
        self.members.update(member_id, request);
        if let Some(earlier) = self.members.await_join(member_id, Some(token)) {
            refuse(earlier, GroupError::RebalanceInProgress, member_id.clone(), step);
        }
        self.restart_session(member_id, step);
    }
}

/// A fresh id that begins with a name people recognise.
fn new_member_id(request: &JoinGroup) -> MemberId {
    let name = request.group_instance_id.as_ref().map_or(&*request.client_id, InstanceId::as_str);
    MemberId::from(format!("{name}-{}", request.fresh_uuid.hyphenated()))
}

/// Answers a JoinGroup with an error.
pub(super) fn refuse(
    token: ReplyToken,
    error: GroupError,
    member_id: MemberId,
    step: &mut Step<'_>,
) {
    step.reply(token, Reply::Join(Err(JoinRefused { error, member_id })));
}
