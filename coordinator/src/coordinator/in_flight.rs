//! Appends whose fate is not known yet, in order.

use std::collections::VecDeque;

use crate::effects::AppendId;
use crate::error::AppendError;
use crate::group::AfterStore;
use crate::names::GroupId;
use crate::offsets::store::OffsetChanges;
use crate::replies::{Reply, ReplyToken};

/// What to do once an append is decided.
#[derive(Debug)]
pub(super) enum AfterAppend {
    /// The group's own business.
    Group(AfterStore),
    /// Offsets change; then somebody may be told.
    Offsets {
        changes: OffsetChanges,
        /// Who asked, and the answer if the append succeeds.
        asked: Option<(ReplyToken, Reply)>,
    },
    /// The last offsets go, and the group with them.
    Deletion { changes: OffsetChanges, asked: Option<ReplyToken> },
}

/// An append and what waits for it.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: AppendId,
    pub(super) group_id: GroupId,
    pub(super) then: AfterAppend,
    outcome: Option<Result<(), AppendError>>,
}

/// Appends in the order in which they were handed out. Their outcomes are acted on in that order
/// whatever the order of the reports, so that of two commits of one offset the later one stays.
#[derive(Debug, Default)]
pub(super) struct InFlightAppends {
    last_id: u64,
    queue: VecDeque<InFlight>,
}

impl InFlightAppends {
    pub(super) fn push(&mut self, group_id: GroupId, then: AfterAppend) -> AppendId {
        self.last_id += 1;
        let id = AppendId(self.last_id);
        self.queue.push_back(InFlight { id, group_id, then, outcome: None });
        id
    }

    /// Notes an outcome. A report about an append that is unknown or decided changes nothing.
    pub(super) fn decide(&mut self, id: AppendId, outcome: Result<(), AppendError>) {
        let position = self.queue.binary_search_by_key(&id, |append| append.id);
        let found = position.ok().and_then(|position| self.queue.get_mut(position));
        match found {
            Some(append) if append.outcome.is_none() => append.outcome = Some(outcome),
            _ => tracing::warn!(append = id.0, "outcome of an unknown append"),
        }
    }

    /// Gives every append that is not decided yet the same outcome.
    pub(super) fn decide_all(&mut self, outcome: Result<(), AppendError>) {
        for append in &mut self.queue {
            append.outcome.get_or_insert(outcome);
        }
    }

    /// Takes the oldest append if its outcome is known.
    pub(super) fn pop_decided(&mut self) -> Option<(InFlight, Result<(), AppendError>)> {
        let outcome = self.queue.front()?.outcome?;
        self.queue.pop_front().map(|append| (append, outcome))
    }
}
