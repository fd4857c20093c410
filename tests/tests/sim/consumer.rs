//! Clients that follow a partition from its start, as a consumer does that was assigned to it: each
//! poll begins where the last one ended.

use super::model::{Checked, ensure};

/// One that reads a partition to its end and waits for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) partition: usize,
    pub(crate) position: i64,
    /// Whether a poll is under way.
    pub(crate) polls: bool,
}

impl Consumer {
    pub(crate) fn new(partition: usize) -> Self {
        Self { partition, position: 0, polls: false }
    }

    /// A poll from the position returned everything up to `next`. That it began there and left
    /// nothing out is the model's to check.
    pub(crate) fn polled(&mut self, from: i64, next: i64) -> Checked {
        self.polls = false;
        ensure(from == self.position && next >= from, "poll", || format!("{self:?} to {next}"))?;
        self.position = next;
        Ok(())
    }

    /// The position is no longer in the log: go on where the log starts now, which is further on.
    pub(crate) fn reset(&mut self, log_start: i64) -> Checked {
        self.polls = false;
        ensure(log_start > self.position, "lost", || format!("{self:?} is out of range"))?;
        self.position = log_start;
        Ok(())
    }
}
