//! What happens by the passing of time and by the deletion of topics.

use super::GroupShard;
use crate::deadlines::Now;
use crate::effects::Effects;
use crate::limits::TOMBSTONES_PER_APPEND_MAX;
use crate::names::{GroupId, TopicName};
use crate::offsets::{expiry, store};
use crate::replies::GroupState;
use crate::requests::TopicPartition;

impl GroupShard {
    /// Does whatever is due: sessions and rebalances that time out, offsets that expire.
    pub fn tick(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        while let Some(group_id) = self.deadlines.pop_due(now.monotonic) {
            self.with_group(&group_id, now, &mut effects, |entry, step| entry.group.tick(step));
        }
        if self.next_expiry_check.is_some_and(|at| at <= now.monotonic) {
            self.next_expiry_check = Some(now.after(self.options.offsets_retention_check_interval));
            self.expire_offsets(now, &mut effects);
        }
        effects
    }

    /// Topics were deleted: nobody will need offsets in them.
    pub fn topics_deleted(&mut self, topics: &[TopicName], now: Now) -> Effects {
        let mut effects = Effects::default();
        if self.loading {
            return effects;
        }
        let group_ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for group_id in &group_ids {
            let Some(entry) = self.groups.get(group_id) else { continue };
            let partitions = topics.iter().flat_map(|topic| entry.offsets.partitions_of(topic));
            let partitions = partitions.collect();
            self.bury(group_id, partitions, now, &mut effects);
        }
        effects
    }

    fn expire_offsets(&mut self, now: Now, effects: &mut Effects) {
        let is_empty = |group_id: &&GroupId| {
            self.groups.get(*group_id).is_some_and(|e| e.group.state() == GroupState::Empty)
        };
        let group_ids: Vec<GroupId> = self.groups.keys().filter(is_empty).cloned().collect();
        for group_id in &group_ids {
            self.expire_offsets_of(group_id, now, effects);
        }
    }

    /// A group that loses its last offset goes with it.
    fn expire_offsets_of(&mut self, group_id: &GroupId, now: Now, effects: &mut Effects) {
        let Some(entry) = self.groups.get(group_id) else { return };
        let retention = self.options.offsets_retention;
        let since = entry.group.empty_since();
        let expired = expiry::expired(&entry.offsets, since, now.wall, retention);
        let nothing_left = expired.len() == entry.offsets.len();
        if nothing_left && entry.in_flight == 0 && !entry.group.expects_members() {
            tracing::debug!(group = %group_id, "group expired");
            self.begin_deletion(group_id, None, now, effects);
        } else {
            self.bury(group_id, expired, now, effects);
        }
    }

    fn bury(
        &mut self,
        group_id: &GroupId,
        partitions: Vec<TopicPartition>,
        now: Now,
        effects: &mut Effects,
    ) {
        for chunk in partitions.chunks(TOMBSTONES_PER_APPEND_MAX) {
            let changes = store::tombstones(chunk.iter().cloned());
            self.change_offsets(group_id, now, changes, None, effects);
        }
    }
}
