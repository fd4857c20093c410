//! OffsetCommit, OffsetFetch and OffsetDelete.

use super::GroupShard;
use super::in_flight::AfterAppend;
use crate::deadlines::Now;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::limits::OFFSETS_PER_SHARD_MAX;
use crate::names::{Generation, GroupId};
use crate::offsets::commit::{self, CheckedCommit};
use crate::offsets::store::{self, OffsetChanges};
use crate::replies::{CommittedOffset, GroupState, Reply, ReplyToken};
use crate::requests::{OffsetCommit, OffsetDelete, TopicPartition};

impl GroupShard {
    /// Stores offsets (OffsetCommit). They can be fetched once the append succeeded, which is when
    /// the reply comes.
    pub fn commit_offsets(
        &mut self,
        token: ReplyToken,
        request: OffsetCommit,
        now: Now,
    ) -> Effects {
        let mut effects = Effects::default();
        let group_id = request.group_id.clone();
        if let Err(error) = self.admit_commit(&request, now, &mut effects) {
            let results = vec![Err(error); request.offsets.len()];
            effects.replies.push((token, Reply::OffsetCommit(results)));
            return effects;
        }
        let CheckedCommit { changes, results } = commit::check(request, now.wall, &self.options);
        let reply = Reply::OffsetCommit(results);
        if changes.is_empty() {
            effects.replies.push((token, reply));
            self.after_transition(&group_id);
        } else {
            self.change_offsets(&group_id, now, changes, Some((token, reply)), &mut effects);
        }
        effects
    }

    /// Checks the commit against its group, which comes into being if nobody claims to be a member.
    fn admit_commit(
        &mut self,
        request: &OffsetCommit,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let group_id = &request.group_id;
        self.check_group_id(group_id)?;
        if self.offset_count.saturating_add(request.offsets.len()) > OFFSETS_PER_SHARD_MAX {
            return Err(GroupError::PolicyViolation);
        }
        if !self.groups.contains_key(group_id) {
            if request.generation >= Generation::ZERO {
                // Left over from a group that is gone.
                return Err(GroupError::IllegalGeneration);
            }
            return self.ensure_group(group_id);
        }
        let validated = self.with_group(group_id, now, effects, |entry, step| {
            entry.group.validate_commit(request)?;
            entry.group.commit_accepted(&request.member_id, step);
            Ok(())
        });
        validated.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    /// Sends changes of a group's offsets on their way to the log.
    pub(super) fn change_offsets(
        &mut self,
        group_id: &GroupId,
        now: Now,
        changes: OffsetChanges,
        asked: Option<(ReplyToken, Reply)>,
        effects: &mut Effects,
    ) {
        self.begin_changes(group_id, &changes);
        let records = store::records(group_id, &changes);
        let then = AfterAppend::Offsets { changes, asked };
        effects.appends.push(self.append(group_id, now, records, then));
    }

    pub(super) fn begin_changes(&mut self, group_id: &GroupId, changes: &OffsetChanges) {
        let Some(entry) = self.groups.get_mut(group_id) else { return };
        let before = entry.offsets.len();
        entry.offsets.begin(changes);
        self.offset_count = self.offset_count - before + entry.offsets.len();
    }

    /// The committed offsets of these partitions, in order; `None` where nothing was committed
    /// (OffsetFetch). An unknown group has committed nothing.
    pub fn fetch_offsets(
        &self,
        group_id: &GroupId,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, GroupError> {
        self.check_group_id(group_id)?;
        let offsets = self.groups.get(group_id).map(|entry| &entry.offsets);
        let fetch = |partition| offsets.and_then(|offsets| offsets.get(partition)).cloned();
        Ok(partitions.iter().map(fetch).collect())
    }

    /// All committed offsets of a group, by topic and partition (OffsetFetch of "all topics").
    pub fn fetch_all_offsets(
        &self,
        group_id: &GroupId,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>, GroupError> {
        self.check_group_id(group_id)?;
        let Some(entry) = self.groups.get(group_id) else { return Ok(Vec::new()) };
        let owned = |(partition, value): (&TopicPartition, &CommittedOffset)| {
            (partition.clone(), value.clone())
        };
        Ok(entry.offsets.iter().map(owned).collect())
    }

    /// Forgets offsets of topics that the group does not consume (OffsetDelete, KIP-496).
    pub fn delete_offsets(
        &mut self,
        token: ReplyToken,
        request: OffsetDelete,
        now: Now,
    ) -> Effects {
        let mut effects = Effects::default();
        let results = match self.check_offset_delete(&request) {
            Ok(results) => results,
            Err(error) => return Effects::reply(token, Reply::OffsetDelete(Err(error))),
        };
        let stored = self.groups.get(&request.group_id).map(|entry| entry.offsets.partitions());
        let stored = stored.unwrap_or_default();
        let allowed = request.partitions.into_iter().zip(&results);
        let doomed =
            allowed.filter(|(partition, allowed)| allowed.is_ok() && stored.contains(partition));
        let changes = store::tombstones(doomed.map(|(partition, _)| partition));
        let reply = Reply::OffsetDelete(Ok(results));
        if changes.is_empty() {
            effects.replies.push((token, reply));
        } else {
            let asked = Some((token, reply));
            self.change_offsets(&request.group_id, now, changes, asked, &mut effects);
        }
        effects
    }

    fn check_offset_delete(
        &self,
        request: &OffsetDelete,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        self.check_group_id(&request.group_id)?;
        let entry = self.groups.get(&request.group_id).ok_or(GroupError::GroupIdNotFound)?;
        let group = &entry.group;
        match group.state() {
            GroupState::Dead => return Err(GroupError::GroupIdNotFound),
            GroupState::Empty => return Ok(vec![Ok(()); request.partitions.len()]),
            // What members of another protocol type consume cannot be known.
            _ if !group.uses_consumer_protocol() => return Err(GroupError::NonEmptyGroup),
            _ => {}
        }
        let subscribed = group.subscribed_topics();
        let check = |partition: &TopicPartition| match &subscribed {
            Some(topics) if !topics.contains(&partition.topic) => Ok(()),
            _ => Err(GroupError::GroupSubscribedToTopic),
        };
        Ok(request.partitions.iter().map(check).collect())
    }
}
