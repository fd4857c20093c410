//! What happens to a group by the passing of time.

use crate::error::GroupError;
use crate::names::MemberId;
use crate::replies::GroupState;

use super::{ClassicGroup, Step};

/// What a group waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupTimer {
    /// A sign of life from a member.
    Session(MemberId),
    /// The second JoinGroup of a member that was handed an id.
    PendingMember(MemberId),
    /// More members for a group that was empty.
    InitialRebalance,
    /// The members of the last generation to rejoin.
    Rebalance,
    /// The members of the new generation to ask for their assignments.
    PendingSync,
}

impl ClassicGroup {
    /// Does whatever is due.
    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        while let Some(timer) = self.timers.pop_due(step.now.monotonic) {
            match timer {
                GroupTimer::Session(member_id) => self.expire_session(&member_id, step),
                GroupTimer::PendingMember(member_id) => self.expire_pending(&member_id, step),
                GroupTimer::InitialRebalance => self.extend_or_complete_initial_delay(step),
                GroupTimer::Rebalance => self.complete_join(step),
                GroupTimer::PendingSync => self.expire_pending_sync(step),
            }
        }
    }

    /// Starts the member's session over, unless it waits for us rather than we for it.
    pub(super) fn restart_session(&mut self, member_id: &MemberId, step: &Step<'_>) {
        let Some(member) = self.members.get(member_id) else { return };
        let timer = GroupTimer::Session(member_id.clone());
        let waits = member.awaiting_join().is_some() || member.awaiting_sync.is_some();
        if member.is_new {
            self.timers.set(timer, step.now.after(step.options.new_member_join_timeout));
        } else if waits {
            self.timers.cancel(&timer);
        } else {
            let timeout = member.session_timeout;
            self.timers.set(timer, step.now.after(timeout));
        }
    }

    fn expire_session(&mut self, member_id: &MemberId, step: &mut Step<'_>) {
        if self.members.contains(member_id) {
            tracing::debug!(group = %self.id, member = %member_id, "member's session expired");
            self.remove_member(member_id, GroupError::UnknownMemberId, step);
            self.rebalance(step);
        }
    }

    fn expire_pending(&mut self, member_id: &MemberId, step: &mut Step<'_>) {
        if self.pending_members.remove(member_id) {
            self.complete_join_if_all_joined(step);
        }
    }

    fn expire_pending_sync(&mut self, step: &mut Step<'_>) {
        if !matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        let silent = std::mem::take(&mut self.pending_sync);
        if silent.is_empty() {
            return;
        }
        for member_id in &silent {
            tracing::debug!(group = %self.id, member = %member_id, "member never synced");
            self.remove_member(member_id, GroupError::UnknownMemberId, step);
        }
        self.rebalance(step);
    }
}
