//! All groups of one partition of `__consumer_offsets`.
//!
//! ```text
//!   replay(key, value)*  load_finished      requests, ticks          append_succeeded / _failed
//!          |                   |                   |                              |
//!          v                   v                   v                              v
//!   +---------------------------------- GroupShard ------------------------------------------+
//!   |  groups: { ClassicGroup + OffsetStore }    deadlines by group    appends in flight      |
//!   +------------------------------------------------------------------------------------------+
//!          |
//!          v   Effects { replies, appends }
//! ```

mod appends;
mod deletion;
mod in_flight;
mod maintenance;
mod offset_requests;
mod partition;
mod queries;
mod replay;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use partition::partition_for;
pub use replay::{ReplayStats, Replayed};

use crate::deadlines::{Deadlines, Now};
use crate::effects::{Append, Effects};
use crate::error::GroupError;
use crate::group::{ClassicGroup, Step};
use crate::limits::{GROUPS_PER_SHARD_MAX, GroupOptions, NAME_BYTES_MAX};
use crate::names::GroupId;
use crate::offsets::store::OffsetStore;
use crate::offsets_records::GroupRecord;
use in_flight::{AfterAppend, InFlightAppends};

/// A group and its offsets.
#[derive(Debug)]
struct Entry {
    group: ClassicGroup,
    offsets: OffsetStore,
    /// Appends of this group whose fate is not known.
    in_flight: usize,
}

/// The coordinator of all groups that share one partition of `__consumer_offsets`.
///
/// A new shard knows nothing and refuses everything with `COORDINATOR_LOAD_IN_PROGRESS`. It is fed
/// the partition's records with [`replay`](Self::replay), then told
/// [`load_finished`](Self::load_finished). From then on its state is a function of the calls it
/// gets. When the partition moves away, [`resign`](Self::resign) answers whoever still waits.
#[derive(Debug)]
pub struct GroupShard {
    options: GroupOptions,
    loading: bool,
    groups: BTreeMap<GroupId, Entry>,
    deadlines: Deadlines<GroupId>,
    next_expiry_check: Option<Duration>,
    appends: InFlightAppends,
    replay_stats: ReplayStats,
    /// Sum of all groups' member metadata.
    metadata_bytes: usize,
    /// Sum of all groups' offsets.
    offset_count: usize,
}

impl GroupShard {
    /// A shard that waits to be fed its partition's records.
    pub fn new(options: GroupOptions) -> Self {
        Self {
            options,
            loading: true,
            groups: BTreeMap::new(),
            deadlines: Deadlines::default(),
            next_expiry_check: None,
            appends: InFlightAppends::default(),
            replay_stats: ReplayStats::default(),
            metadata_bytes: 0,
            offset_count: 0,
        }
    }

    /// The monotonic time of the next [`tick`](Self::tick), if one is needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.deadlines.next(), self.next_expiry_check].into_iter().flatten().min()
    }

    /// Whether requests for this group can be served at all.
    fn check_group_id(&self, group_id: &GroupId) -> Result<(), GroupError> {
        if group_id.as_str().len() > NAME_BYTES_MAX {
            Err(GroupError::InvalidGroupId)
        } else if self.loading {
            Err(GroupError::CoordinatorLoadInProgress)
        } else {
            Ok(())
        }
    }

    /// Makes sure that the group exists, if there is room for one more.
    fn ensure_group(&mut self, group_id: &GroupId) -> Result<(), GroupError> {
        if self.groups.contains_key(group_id) {
            return Ok(());
        }
        if self.groups.len() >= GROUPS_PER_SHARD_MAX {
            return Err(GroupError::PolicyViolation);
        }
        self.groups.insert(group_id.clone(), Entry::new(group_id.clone()));
        Ok(())
    }

    /// Runs one transition of one group, collects what it leaves, and brings everything that is
    /// kept about groups as a whole up to date. `None` if there is no such group.
    fn with_group<T>(
        &mut self,
        group_id: &GroupId,
        now: Now,
        effects: &mut Effects,
        transition: impl FnOnce(&mut Entry, &mut Step<'_>) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(group_id)?;
        let (metadata_bytes, offsets) = (entry.group.metadata_bytes(), entry.offsets.len());
        let mut step = Step::new(now, &self.options);
        let result = transition(entry, &mut step);
        self.metadata_bytes = self.metadata_bytes - metadata_bytes + entry.group.metadata_bytes();
        self.offset_count = self.offset_count - offsets + entry.offsets.len();
        let Step { replies, stores, .. } = step;
        effects.replies.extend(replies);
        for store in stores {
            let then = AfterAppend::Group(store.then);
            effects.appends.push(self.append(group_id, now, vec![store.record], then));
        }
        self.after_transition(group_id);
        Some(result)
    }

    /// Keeps the group's deadline, or forgets a group that nobody would miss.
    fn after_transition(&mut self, group_id: &GroupId) {
        let Some(entry) = self.groups.get(group_id) else { return };
        if entry.is_forgettable() {
            self.groups.remove(group_id);
            self.deadlines.cancel(group_id);
            return;
        }
        match entry.group.next_deadline() {
            Some(at) => self.deadlines.set(group_id.clone(), at),
            None => self.deadlines.cancel(group_id),
        }
    }

    /// Hands out records under the next append id.
    fn append(
        &mut self,
        group_id: &GroupId,
        now: Now,
        records: Vec<GroupRecord>,
        then: AfterAppend,
    ) -> Append {
        debug_assert!(!records.is_empty(), "an append has records");
        if let Some(entry) = self.groups.get_mut(group_id) {
            entry.in_flight += 1;
        }
        let id = self.appends.push(group_id.clone(), then);
        Append { id, timestamp: now.wall, records }
    }
}

impl Entry {
    fn new(group_id: GroupId) -> Self {
        Self { group: ClassicGroup::new(group_id), offsets: OffsetStore::default(), in_flight: 0 }
    }

    /// Whether neither a client nor the log would notice if the entry went.
    fn is_forgettable(&self) -> bool {
        self.in_flight == 0 && self.offsets.is_empty() && self.group.is_forgettable()
    }
}
