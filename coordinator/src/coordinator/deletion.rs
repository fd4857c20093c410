//! DeleteGroups, and the end of groups that nobody needs any more.

use super::GroupShard;
use super::in_flight::AfterAppend;
use crate::deadlines::Now;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::limits::TOMBSTONES_PER_APPEND_MAX;
use crate::names::GroupId;
use crate::offsets::store;
use crate::offsets_records::GroupRecord;
use crate::replies::{GroupState, Reply, ReplyToken};

impl GroupShard {
    /// Deletes a group without members, with its offsets (one group of a DeleteGroups).
    pub fn delete_group(&mut self, token: ReplyToken, group_id: &GroupId, now: Now) -> Effects {
        if let Err(error) = self.check_deletable(group_id) {
            return Effects::reply(token, Reply::DeleteGroup(Err(error)));
        }
        let mut effects = Effects::default();
        self.begin_deletion(group_id, Some(token), now, &mut effects);
        effects
    }

    fn check_deletable(&self, group_id: &GroupId) -> Result<(), GroupError> {
        self.check_group_id(group_id)?;
        match self.groups.get(group_id).map(|entry| entry.group.state()) {
            None | Some(GroupState::Dead) => Err(GroupError::GroupIdNotFound),
            Some(GroupState::Empty) => Ok(()),
            Some(_) => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Buries the group's offsets, in several appends if there are many, and with the last of them
    /// the group itself. The group is dead to clients from now on, and gone when that append is
    /// durable. Offsets that are still on their way are buried too: their records come first.
    pub(super) fn begin_deletion(
        &mut self,
        group_id: &GroupId,
        asked: Option<ReplyToken>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(entry) = self.groups.get_mut(group_id) else { return };
        entry.group.deletion_begun();
        self.deadlines.cancel(group_id);
        let mut partitions: Vec<_> = entry.offsets.partitions().into_iter().collect();
        while partitions.len() > TOMBSTONES_PER_APPEND_MAX {
            let chunk = partitions.split_off(partitions.len() - TOMBSTONES_PER_APPEND_MAX);
            self.change_offsets(group_id, now, store::tombstones(chunk), None, effects);
        }
        let changes = store::tombstones(partitions);
        self.begin_changes(group_id, &changes);
        let mut records = store::records(group_id, &changes);
        records.push(GroupRecord::GroupMetadata { group_id: group_id.clone(), value: None });
        let then = AfterAppend::Deletion { changes, asked };
        effects.appends.push(self.append(group_id, now, records, then));
    }
}
