//! The second half of a round: going over segments and keeping what stays. Pure.

use std::sync::Arc;

use antiphon_common::Offset;
use antiphon_records::{Batch, BatchHeader, Batches};

use super::error::UncleanableBatch;
use super::output::Output;
use super::rules::{Fate, Rules};

/// Cleans a group of neighbouring segments, batch by batch.
#[derive(Debug)]
pub(super) struct Cleaning {
    rules: Arc<Rules>,
    /// The group's last offset.
    last_offset: Offset,
    pub(super) output: Output,
    pub(super) tally: Tally,
}

/// What cleaning a group did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Batches that are not what they were, or are gone.
    pub(super) changed_batches: u64,
    /// Records that are gone.
    pub(super) removed_records: u64,
    /// Bytes of batches read.
    pub(super) read_bytes: u64,
    /// Bytes of batches that stay.
    pub(super) kept_bytes: u64,
}

impl Cleaning {
    pub(super) fn new(rules: Arc<Rules>, last_offset: Offset, output: Output) -> Self {
        Self { rules, last_offset, output, tally: Tally::default() }
    }

    /// Takes the next batches of the group.
    pub(super) fn take(&mut self, batches: &[u8]) -> Result<(), UncleanableBatch> {
        for batch in Batches::whole(batches) {
            self.take_batch(&batch?)?;
        }
        Ok(())
    }

    fn take_batch(&mut self, batch: &Batch<'_>) -> Result<(), UncleanableBatch> {
        let Batch { header, bytes } = batch;
        let last_offset = header.last_offset();
        let covered = self.rules.covered;
        let is_boundary = last_offset == covered || last_offset == self.last_offset;
        let fate = self
            .rules
            .judge(header, bytes, is_boundary)
            .map_err(|source| UncleanableBatch::Records { offset: header.base_offset, source })?;
        self.tally.read_bytes += bytes.len() as u64;
        match fate {
            Fate::Stays => self.keep(header, bytes),
            Fate::Replaced { batch, removed } => {
                self.count(removed);
                // What was just written parses.
                self.keep(&BatchHeader::parse(&batch).unwrap_or(*header), &batch);
            }
            Fate::Goes { removed } => self.count(removed),
        }
        if is_boundary || self.output.is_full() {
            self.output.close_draft(last_offset <= covered);
        }
        Ok(())
    }

    fn keep(&mut self, header: &BatchHeader, bytes: &[u8]) {
        self.output.push(header, bytes);
        self.tally.kept_bytes += bytes.len() as u64;
    }

    fn count(&mut self, removed: i32) {
        self.tally.changed_batches += 1;
        self.tally.removed_records += u64::try_from(removed).unwrap_or(0);
    }
}
