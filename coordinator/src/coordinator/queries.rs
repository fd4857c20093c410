//! Questions that change nothing.

use super::GroupShard;
use crate::error::GroupError;
use crate::names::GroupId;
use crate::replies::{GroupDescription, GroupListing};
use crate::requests::ListFilter;

/// The type of all groups that this coordinator keeps.
const GROUP_TYPE: &str = "classic";

impl GroupShard {
    /// The groups that pass the filter, by name (ListGroups).
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<GroupListing>, GroupError> {
        if self.loading {
            return Err(GroupError::CoordinatorLoadInProgress);
        }
        if !passes(&filter.types, GROUP_TYPE) {
            return Ok(Vec::new());
        }
        let listings = self.groups.values().map(|entry| entry.group.listing());
        Ok(listings.filter(|listing| passes(&filter.states, listing.state.name())).collect())
    }

    /// A group in full, or `GROUP_ID_NOT_FOUND` (DescribeGroups; before version 6 the broker
    /// answers that with a dead group instead).
    pub fn describe(&self, group_id: &GroupId) -> Result<GroupDescription, GroupError> {
        self.check_group_id(group_id)?;
        let entry = self.groups.get(group_id).ok_or(GroupError::GroupIdNotFound)?;
        Ok(entry.group.description())
    }

    /// How many groups the shard keeps.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// How many offsets the shard keeps, counting those on their way to the log.
    pub fn offset_count(&self) -> usize {
        self.offset_count
    }
}

fn passes(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
