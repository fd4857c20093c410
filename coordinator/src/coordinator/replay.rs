//! Taking a partition over, and giving it up.

use bytes::Bytes;

use super::{Entry, GroupShard};
use crate::deadlines::Now;
use crate::effects::Effects;
use crate::error::{AppendError, GroupError};
use crate::group::ClassicGroup;
use crate::names::GroupId;
use crate::offsets_records::{GroupMetadataValue, GroupRecord, OffsetCommitKey};
use crate::replies::CommittedOffset;

/// What became of a replayed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It changed the shard's state.
    Applied,
    /// It belongs to a kind of group, or is of a version, that this code does not know.
    Unknown,
    /// It is not what its version says.
    Corrupt,
}

/// How many records the replay met, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayStats {
    /// Applied.
    pub applied: u64,
    /// Skipped because unknown.
    pub unknown: u64,
    /// Skipped because damaged. A person should look.
    pub corrupt: u64,
}

impl GroupShard {
    /// Takes in the next record of the partition. Records that cannot be understood are skipped and
    /// counted: one of them must not take all groups of the partition down.
    pub fn replay(&mut self, key: &Bytes, value: Option<&Bytes>) -> Replayed {
        debug_assert!(self.loading, "replay precedes load_finished");
        match GroupRecord::decode(key, value) {
            Ok(Some(record)) => {
                self.apply(record);
                self.replay_stats.applied += 1;
                Replayed::Applied
            }
            Ok(None) | Err(crate::DecodeError::Version { .. }) => {
                self.replay_stats.unknown += 1;
                Replayed::Unknown
            }
            Err(_) => {
                self.replay_stats.corrupt += 1;
                Replayed::Corrupt
            }
        }
    }

    /// What the replay met so far.
    pub fn replay_stats(&self) -> ReplayStats {
        self.replay_stats
    }

    fn apply(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { key, value } => self.apply_offset(key, value),
            GroupRecord::GroupMetadata { group_id, value } => self.apply_group(group_id, value),
        }
    }

    /// Limits do not apply to what is already in the log.
    fn apply_offset(&mut self, key: OffsetCommitKey, value: Option<CommittedOffset>) {
        if value.is_none() && !self.groups.contains_key(&key.group_id) {
            return;
        }
        let group_id = key.group_id.clone();
        let entry = self.groups.entry(key.group_id).or_insert_with(|| Entry::new(group_id));
        let before = entry.offsets.len();
        entry.offsets.apply(key.partition, value);
        self.offset_count = self.offset_count - before + entry.offsets.len();
    }

    fn apply_group(&mut self, group_id: GroupId, value: Option<GroupMetadataValue>) {
        let group = match value {
            Some(value) => ClassicGroup::restored(group_id.clone(), value),
            None if self.groups.contains_key(&group_id) => ClassicGroup::new(group_id.clone()),
            None => return,
        };
        let entry = self.groups.entry(group_id.clone()).or_insert_with(|| Entry::new(group_id));
        let before = entry.group.metadata_bytes();
        entry.group = group;
        self.metadata_bytes = self.metadata_bytes - before + entry.group.metadata_bytes();
    }

    /// The replay is over: the shard serves requests, and restored members have a full session to
    /// report back.
    pub fn load_finished(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        if !std::mem::replace(&mut self.loading, false) {
            return effects;
        }
        self.next_expiry_check = Some(now.after(self.options.offsets_retention_check_interval));
        let group_ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for group_id in &group_ids {
            self.with_group(group_id, now, &mut effects, |entry, step| {
                entry.group.load_finished(step);
            });
        }
        effects
    }

    /// The partition has moved to another broker, or this one stops: answers everybody who still
    /// waits with `NOT_COORDINATOR`, and forgets everything. Appends in flight count as lost here;
    /// the next owner will find those that were not.
    pub fn resign(mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        for group_id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.with_group(&group_id, now, &mut effects, |entry, step| {
                entry.group.resign(GroupError::NotCoordinator, step);
            });
        }
        self.appends.decide_all(Err(AppendError::NotLeader));
        while let Some((append, outcome)) = self.appends.pop_decided() {
            self.act_on(append, outcome, now, &mut effects);
        }
        effects.appends.clear();
        effects
    }
}
