//! Which segments of a partition to merge: a function of their rows, and of nothing else.
//!
//! ```text
//!   settled                          | what the planner reads
//!   [full][full][  L2 ][full][ full ]|[ L1 ][ L1 ][ L1 ][L0][L0][L0][L0]
//!                                      one group          one group
//! ```
//!
//! Rows are divided into groups: neighbours of one level that may lie in one segment, as far as
//! the limits go. A group that is worth it becomes one segment of the next level.

use std::collections::HashSet;
use std::ops::Range;

use antiphon_catalog::SegmentRow;
use antiphon_common::{ObjectId, Offset, Timestamp};

use super::options::{Limits, MergeOptions};

/// Levels end here; what is merged at this level stays at it.
const LEVEL_MAX: u8 = 15;

/// What to do with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Merge these rows into one segment of this level.
    Merge {
        /// Which of the rows.
        rows: Range<usize>,
        /// The level of what comes out.
        level: u8,
    },
    /// Look again at this time, if no flush makes it worthwhile before; never if there is none.
    Wait {
        /// When.
        until: Option<Timestamp>,
        /// Flushed segments at the end, which the next flush adds to.
        open: Open,
    },
}

/// Flushed segments at the end of a partition that may still be merged with those to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// How many.
    pub(crate) segments: usize,
    /// How many bytes they have.
    pub(crate) bytes: u64,
}

/// What the planner goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) options: &'a MergeOptions,
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
}

/// Neighbours that may become one segment.
#[derive(Clone, Debug)]
struct Group {
    rows: Range<usize>,
    level: u8,
    bytes: u64,
    /// Bounds of the newest timestamps of its rows.
    newest: (i64, i64),
    /// When the oldest of its rows was built.
    built_at: Timestamp,
    /// Whether nothing will be added to it any more.
    closed: bool,
    /// Whether it is one segment that merging leaves as it is.
    full: bool,
}

impl Planner<'_> {
    /// Plans for `rows`, which are the last ones of a partition. `sparse` are objects among theirs
    /// that are mostly dead.
    pub(crate) fn plan(&self, rows: &[SegmentRow], sparse: &HashSet<ObjectId>) -> Plan {
        let groups = self.groups(rows);
        let pins = |group: &Group| self.pins(group, rows, sparse);
        match groups.iter().find(|group| self.suffices(group) || pins(group)) {
            Some(group) => {
                let level = group.level.saturating_add(1).min(LEVEL_MAX);
                Plan::Merge { rows: group.rows.clone(), level }
            }
            None => self.wait(&groups),
        }
    }

    /// Rows whose objects are worth a look: flushed long ago, and not merged by now.
    pub(crate) fn aged<'a>(&self, rows: &'a [SegmentRow]) -> impl Iterator<Item = &'a SegmentRow> {
        let groups = self.groups(rows).into_iter();
        let aged = groups.filter(|group| self.is_aged(group) && !self.suffices(group));
        aged.flat_map(|group| rows.get(group.rows).unwrap_or_default())
    }

    /// The end of the rows at the front that no plan will ever touch.
    pub(crate) fn settled_end(&self, rows: &[SegmentRow]) -> Offset {
        let groups = self.groups(rows);
        let settled = groups.iter().take_while(|group| self.is_settled(group)).last();
        let last = settled.and_then(|group| rows.get(group.rows.clone())?.last());
        last.map_or(Offset::ZERO, |row| row.last_offset.next())
    }

    fn suffices(&self, group: &Group) -> bool {
        self.options.suffices(group.rows.len(), group.bytes)
    }

    /// Whether what is left of others' objects is kept for this group's sake, or the group will never
    /// grow to what suffices.
    fn pins(&self, group: &Group, rows: &[SegmentRow], sparse: &HashSet<ObjectId>) -> bool {
        if !self.is_aged(group) {
            return false;
        }
        let of_group = rows.get(group.rows.clone()).unwrap_or_default();
        let grown = group.closed || group.bytes >= self.options.bytes_small;
        (grown && group.rows.len() >= 2)
            || of_group.iter().any(|row| sparse.contains(&row.object_id))
    }

    fn is_aged(&self, group: &Group) -> bool {
        group.level == 0 && !group.full && self.due(group) <= self.now
    }

    fn due(&self, group: &Group) -> Timestamp {
        Timestamp(group.built_at.get().saturating_add(self.options.age_millis()))
    }

    /// A group that is closed is merged at once or never, except that flushed rows are once looked
    /// at for the sake of others' objects.
    fn is_settled(&self, group: &Group) -> bool {
        let looked_at = group.level > 0 || self.is_aged(group);
        group.full || (group.closed && looked_at && !self.suffices(group))
    }

    fn wait(&self, groups: &[Group]) -> Plan {
        let flushed = groups.iter().filter(|group| group.level == 0 && !group.full);
        let until = flushed.map(|group| self.next_look(group)).min();
        let open = groups.last().filter(|group| group.level == 0 && !group.closed);
        let open = open.map(|group| Open { segments: group.rows.len(), bytes: group.bytes });
        Plan::Wait { until, open: open.unwrap_or_default() }
    }

    /// The next look at a group that no flush adds to comes when it is twice as old: what it shares
    /// objects with may have died meanwhile.
    fn next_look(&self, group: &Group) -> Timestamp {
        let age = self.now.get().saturating_sub(group.built_at.get());
        self.due(group).max(Timestamp(self.now.get().saturating_add(age))).max(self.after_now())
    }

    fn after_now(&self) -> Timestamp {
        Timestamp(self.now.get().saturating_add(1))
    }

    fn groups(&self, rows: &[SegmentRow]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut before: Option<&SegmentRow> = None;
        for (index, row) in rows.iter().enumerate() {
            let fits = before.zip(groups.last()).is_some_and(|(b, group)| self.fits(group, b, row));
            match groups.last_mut().filter(|_| fits) {
                Some(group) => group.add(row),
                None => {
                    if let (Some(group), Some(before)) = (groups.last_mut(), before) {
                        group.closed = !may_become_alike(before, row);
                    }
                    groups.push(self.group_of(index, row));
                }
            }
            before = Some(row);
        }
        groups
    }

    fn group_of(&self, index: usize, row: &SegmentRow) -> Group {
        let newest = row.max_timestamp.get();
        Group {
            rows: index..index + 1,
            level: row.merge_level(),
            bytes: row.length,
            newest: (newest, newest),
            built_at: row.created_at,
            closed: false,
            full: self.is_full(row),
        }
    }

    /// Nothing could be added to such a row without making a segment that is too large, or it is
    /// large enough anyway. What compaction went over it will go over again, and group as it likes: to
    /// merge it meanwhile would be work for nothing.
    fn is_full(&self, row: &SegmentRow) -> bool {
        row.is_cleaned() || row.length >= self.options.bytes_full.min(self.limits.bytes_max)
    }

    fn fits(&self, group: &Group, before: &SegmentRow, row: &SegmentRow) -> bool {
        let alike = row.merge_level() == before.merge_level()
            && row.base_offset == before.last_offset.next();
        let newest = group.newest_with(row);
        let spans = newest.1.saturating_sub(newest.0);
        alike
            && !group.full
            && !self.is_full(row)
            && group.bytes.saturating_add(row.length) <= self.limits.bytes_max
            && self.limits.span_max.is_none_or(|max| spans <= max)
    }
}

impl Group {
    fn newest_with(&self, row: &SegmentRow) -> (i64, i64) {
        let newest = row.max_timestamp.get();
        (self.newest.0.min(newest), self.newest.1.max(newest))
    }

    fn add(&mut self, row: &SegmentRow) {
        self.newest = self.newest_with(row);
        self.rows.end += 1;
        self.bytes = self.bytes.saturating_add(row.length);
        self.built_at = self.built_at.min(row.created_at);
    }
}

/// Whether what follows may come to be of the level of what is before it.
fn may_become_alike(before: &SegmentRow, after: &SegmentRow) -> bool {
    let neighbours = after.base_offset == before.last_offset.next();
    neighbours && after.merge_level() < before.merge_level()
}
