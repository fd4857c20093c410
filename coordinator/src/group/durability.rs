//! What a group does once it is known whether a record of its is durable.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::AppendError;
use crate::names::{Generation, MemberId};
use crate::replies::GroupState;

use super::static_member::StaticReplacement;
use super::{ClassicGroup, Step};

/// What waits for a record.
#[derive(Debug)]
pub(crate) enum AfterStore {
    /// The leader's assignments.
    AssignmentsStored(Assignments),
    /// A static member's new id.
    StaticMemberReplaced(StaticReplacement),
    /// The last member left. Nobody waits for this record.
    GroupEmptied,
}

/// Assignments that are on their way to the log.
#[derive(Debug)]
pub(crate) struct Assignments {
    pub(super) generation: Generation,
    pub(super) by_member: BTreeMap<MemberId, Bytes>,
}

impl ClassicGroup {
    /// The record is durable, or lost for good.
    pub(crate) fn store_decided(
        &mut self,
        then: AfterStore,
        outcome: Result<(), AppendError>,
        step: &mut Step<'_>,
    ) {
        match then {
            AfterStore::AssignmentsStored(assignments) => {
                self.assignments_decided(&assignments, outcome, step);
            }
            AfterStore::StaticMemberReplaced(replacement) => {
                self.static_replacement_decided(replacement, outcome, step);
            }
            AfterStore::GroupEmptied => {
                if let Err(error) = outcome {
                    // The members time out once more after the next replay: late, but not wrong.
                    tracing::warn!(group = %self.id, %error, "empty group could not be recorded");
                }
            }
        }
    }

    /// A rebalance that began meanwhile has already answered everybody; then this changes nothing.
    fn assignments_decided(
        &mut self,
        assignments: &Assignments,
        outcome: Result<(), AppendError>,
        step: &mut Step<'_>,
    ) {
        if self.storing == Some(assignments.generation) {
            self.storing = None;
        }
        let is_current = self.state == GroupState::CompletingRebalance
            && self.generation == assignments.generation;
        match outcome {
            _ if !is_current => {}
            Ok(()) => self.become_stable(assignments, step),
            Err(error) => {
                self.fail_sync(error.for_group(), step);
                self.rebalance(step);
            }
        }
    }
}
