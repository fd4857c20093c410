//! A group's way back from the log, and its way out.

use antiphon_common::Timestamp;

use crate::error::GroupError;
use crate::names::GroupId;
use crate::offsets_records::GroupMetadataValue;
use crate::replies::GroupState;

use super::member::Member;
use super::{ClassicGroup, Step};

impl ClassicGroup {
    /// The group as a record remembers it: stable with members, empty without. Everything between
    /// two rebalances is lost, and clients find out by `REBALANCE_IN_PROGRESS` or their session.
    pub(crate) fn restored(id: GroupId, record: GroupMetadataValue) -> Self {
        let mut group = Self::new(id);
        let protocol = record.protocol.as_deref().unwrap_or_default();
        for restored in record.members {
            group.members.insert(Member::restored(restored, protocol));
        }
        let is_empty = group.members.is_empty();
        group.state = if is_empty { GroupState::Empty } else { GroupState::Stable };
        group.state_since =
            Some(record.current_state_timestamp).filter(|since| *since != Timestamp::NONE);
        group.generation = record.generation;
        group.protocol_type = Some(record.protocol_type).filter(|kind| !kind.is_empty());
        group.protocol_name = record.protocol.filter(|_| !is_empty);
        group.leader = record.leader.filter(|leader| group.members.contains(leader));
        group
    }

    /// Replay is over: members get a full session to report back.
    pub(crate) fn load_finished(&mut self, step: &mut Step<'_>) {
        let member_ids = self.members.ids();
        for member_id in &member_ids {
            self.restart_session(member_id, step);
        }
        if self.members.len() > step.options.group_size_limit() {
            self.rebalance(step);
        }
    }

    /// The group's deletion is on its way to the log. It is refused everything until that is
    /// decided.
    pub(crate) fn deletion_begun(&mut self) {
        self.state = GroupState::Dead;
        self.pending_members.clear();
        self.timers.clear();
    }

    /// The deletion is lost: the group is as empty as it was.
    pub(crate) fn deletion_failed(&mut self) {
        self.state = GroupState::Empty;
    }

    /// The deletion is durable: nothing is left that would need to be kept.
    pub(crate) fn deletion_succeeded(&mut self) {
        *self = Self::new(self.id.clone());
    }

    /// Another broker coordinates the group now: nobody must wait for this one any longer.
    pub(crate) fn resign(&mut self, error: GroupError, step: &mut Step<'_>) {
        self.timers.clear();
        let member_ids = self.members.ids();
        for member_id in &member_ids {
            self.remove_member(member_id, error, step);
        }
        self.state = GroupState::Dead;
    }
}
