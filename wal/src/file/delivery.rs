//! Runs completions in log order, one at a time, outside every other lock.
//!
//! Writers finish groups in any order. Whoever finishes the group that was next delivers it and
//! everything contiguous behind it; a writer that finishes another group meanwhile only leaves it
//! here and goes back to writing.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use antiphon_common::Lsn;
use bytes::Bytes;
use parking_lot::Mutex;

use super::group::Group;
use super::log::Ticketed;
use crate::{AppendFailed, Completion, FatalFault};

/// Why a group did not become durable.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    Failed(FatalFault),
    Closed,
}

impl Lost {
    fn of(&self, lsn: Lsn) -> AppendFailed {
        match self {
            Self::Failed(fault) => AppendFailed::Failed { lsn, fault: fault.clone() },
            Self::Closed => AppendFailed::Closed { lsn },
        }
    }
}

struct Finished {
    group: Group,
    outcome: Result<(), Lost>,
}

#[derive(Default)]
struct Order {
    next: u64,
    finished: BTreeMap<u64, Finished>,
    delivering: bool,
    /// Once one group is lost, every later one is: only a contiguous prefix is acknowledged.
    lost: Option<Lost>,
}

impl Order {
    fn take_next(&mut self) -> Option<Finished> {
        let mut finished = self.finished.remove(&self.next)?;
        self.next += 1;
        match &self.lost {
            Some(lost) => finished.outcome = Err(lost.clone()),
            None => self.lost = finished.outcome.as_ref().err().cloned(),
        }
        Some(finished)
    }
}

#[derive(Default)]
pub(crate) struct Delivery {
    order: Mutex<Order>,
}

impl Delivery {
    /// Hands in a group that is written or lost. `durable` is told about each group of the
    /// contiguous prefix before its completions run. Returns whether a completion panicked.
    pub(crate) fn finish(
        &self,
        Ticketed { ticket, group }: Ticketed,
        outcome: Result<(), Lost>,
        durable: &dyn Fn(&Group),
    ) -> bool {
        let mut order = self.order.lock();
        order.finished.insert(ticket, Finished { group, outcome });
        if std::mem::replace(&mut order.delivering, true) {
            return false;
        }
        let mut panicked = false;
        while let Some(next) = order.take_next() {
            drop(order);
            panicked |= deliver(next, durable);
            order = self.order.lock();
        }
        order.delivering = false;
        panicked
    }
}

fn deliver(Finished { group, outcome }: Finished, durable: &dyn Fn(&Group)) -> bool {
    if outcome.is_ok() {
        durable(&group);
    }
    let mut panicked = false;
    for (lsn, payload, completion) in group.into_frames() {
        let result = match &outcome {
            Ok(()) => Ok(payload),
            Err(lost) => Err(lost.of(lsn)),
        };
        panicked |= run(completion, result);
    }
    panicked
}

/// A panic is the caller's defect; the frames behind it still get their answer.
pub(crate) fn run(completion: Completion, result: Result<Bytes, AppendFailed>) -> bool {
    catch_unwind(AssertUnwindSafe(|| completion(result))).is_err()
}
