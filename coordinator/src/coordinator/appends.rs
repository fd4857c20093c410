//! Appends become durable, or do not.

use super::GroupShard;
use super::in_flight::{AfterAppend, InFlight};
use crate::deadlines::Now;
use crate::effects::{AppendId, Effects};
use crate::error::{AppendError, GroupError};
use crate::group::AfterStore;
use crate::names::GroupId;
use crate::offsets::store::OffsetChanges;
use crate::replies::{Reply, ReplyToken};

impl GroupShard {
    /// The append is durable. What waited for it, and for nothing older, is done and answered.
    pub fn append_succeeded(&mut self, id: AppendId, now: Now) -> Effects {
        self.append_decided(id, Ok(()), now)
    }

    /// The append is certainly not durable and never will be. Clients are told, and a group whose
    /// assignments were lost rebalances.
    pub fn append_failed(&mut self, id: AppendId, error: AppendError, now: Now) -> Effects {
        self.append_decided(id, Err(error), now)
    }

    fn append_decided(
        &mut self,
        id: AppendId,
        outcome: Result<(), AppendError>,
        now: Now,
    ) -> Effects {
        let mut effects = Effects::default();
        self.appends.decide(id, outcome);
        while let Some((append, outcome)) = self.appends.pop_decided() {
            self.act_on(append, outcome, now, &mut effects);
        }
        effects
    }

    /// Does what waited for an append.
    pub(super) fn act_on(
        &mut self,
        append: InFlight,
        outcome: Result<(), AppendError>,
        now: Now,
        effects: &mut Effects,
    ) {
        let InFlight { group_id, then, .. } = append;
        if let Some(entry) = self.groups.get_mut(&group_id) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
        match then {
            AfterAppend::Group(then) => self.group_decided(&group_id, then, outcome, now, effects),
            AfterAppend::Offsets { changes, asked } => {
                self.finish_changes(&group_id, changes, outcome, now, effects);
                if let Some((token, reply)) = asked {
                    effects.replies.push((token, offsets_reply(reply, outcome)));
                }
            }
            AfterAppend::Deletion { changes, asked } => {
                self.deletion_decided(&group_id, changes, outcome, now, effects);
                let reply = Reply::DeleteGroup(outcome.map_err(AppendError::for_group));
                effects.replies.extend(asked.map(|token: ReplyToken| (token, reply)));
            }
        }
    }

    fn group_decided(
        &mut self,
        group_id: &GroupId,
        then: AfterStore,
        outcome: Result<(), AppendError>,
        now: Now,
        effects: &mut Effects,
    ) {
        let found = self.with_group(group_id, now, effects, |entry, step| {
            entry.group.store_decided(then, outcome, step);
        });
        debug_assert!(found.is_some(), "a group stays as long as its appends are in flight");
    }

    fn finish_changes(
        &mut self,
        group_id: &GroupId,
        changes: OffsetChanges,
        outcome: Result<(), AppendError>,
        now: Now,
        effects: &mut Effects,
    ) {
        self.with_group(group_id, now, effects, |entry, _| {
            entry.offsets.finish(changes, outcome.is_ok());
        });
    }

    fn deletion_decided(
        &mut self,
        group_id: &GroupId,
        changes: OffsetChanges,
        outcome: Result<(), AppendError>,
        now: Now,
        effects: &mut Effects,
    ) {
        self.with_group(group_id, now, effects, |entry, _| {
            entry.offsets.finish(changes, outcome.is_ok());
            match outcome {
                Ok(()) => entry.group.deletion_succeeded(),
                Err(_) => entry.group.deletion_failed(),
            }
        });
    }
}

/// The prepared answer, or the failure in its place.
fn offsets_reply(reply: Reply, outcome: Result<(), AppendError>) -> Reply {
    let Err(error) = outcome else { return reply };
    let error = error.for_offsets();
    let fail = |result: Result<(), GroupError>| result.and(Err(error));
    match reply {
        Reply::OffsetCommit(results) => {
            Reply::OffsetCommit(results.into_iter().map(fail).collect())
        }
        Reply::OffsetDelete(_) => Reply::OffsetDelete(Err(error)),
        other => other,
    }
}
